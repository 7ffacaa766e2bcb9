"""A setting that changes nothing is a promise that nobody keeps: each one is tried."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import pytest

from tests.platform_stack.conftest import sections

THEIRS = {"kind": "existing", "namespace": "ingress", "address": "192.0.2.8"}
ACME = {"issuer": "acme", "acme_server": "https://acme.example.org/directory"}
RFC2136 = {"kind": "rfc2136", "nameserver": "192.0.2.53", "key_name": "jhaas", "key_secret": "c2VjcmV0"}
ROUTE53 = {"kind": "route53", "zone_id": "Z1"}
CLOUDFLARE = {"kind": "cloudflare", "api_token": "token"}
DNS01 = {"issuer": "letsencrypt", "challenge": "dns01"}
NFS = {"kind": "nfs", "server": "nfs.example.org", "share": "/export"}
AWS = {"region": "eu-central-1"}

TRIED: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    # key, a configuration, and what makes it another one
    ("ingress.kind", {}, {"ingress": THEIRS}),
    ("ingress.class_name", {}, {"ingress": {"class_name": "edge"}}),
    ("ingress.default_class", {}, {"ingress": {"default_class": False}}),
    ("ingress.exposure", {"ingress": {"address": "192.0.2.7"}}, {"ingress": {"exposure": "node-port"}}),
    ("ingress.address", {}, {"ingress": {"address": "192.0.2.7"}}),
    ("ingress.service_annotations", {}, {"ingress": {"service_annotations": {"a": "b"}}}),
    ("ingress.replicas", {}, {"ingress": {"replicas": 3}}),
    ("ingress.read_timeout_seconds", {}, {"ingress": {"read_timeout_seconds": 7200}}),
    ("ingress.idle_timeout_seconds", {}, {"ingress": {"idle_timeout_seconds": 900}}),
    ("ingress.trusted_proxies", {}, {"ingress": {"trusted_proxies": ["192.0.2.0/24"]}}),
    ("ingress.namespace", {"ingress": THEIRS, "certificates": {"wildcard": True}}, {"ingress": {"namespace": "edge"}}),
    ("certificates.issuer", {}, {"certificates": {"issuer": "letsencrypt"}}),
    ("certificates.install", {}, {"certificates": {"install": False}}),
    ("certificates.namespace", {}, {"certificates": {"namespace": "certs"}}),
    (
        "certificates.challenge",
        {"certificates": {"issuer": "letsencrypt"}, "dns": {"provider": CLOUDFLARE}},
        {"certificates": {"challenge": "dns01"}},
    ),
    ("certificates.email", {"certificates": {"issuer": "letsencrypt"}}, {"certificates": {"email": "ca@example.org"}}),
    ("certificates.acme_server", {"certificates": ACME}, {"certificates": {"acme_server": "https://ca.example.org/x"}}),
    ("certificates.eab_key_id", {"certificates": ACME}, {"certificates": {"eab_key_id": "k", "eab_hmac_key": "h"}}),
    (
        "certificates.eab_hmac_key",
        {"certificates": {**ACME, "eab_key_id": "k", "eab_hmac_key": "h"}},
        {"certificates": {"eab_hmac_key": "i"}},
    ),
    (
        "certificates.cluster_issuer",
        {"certificates": {"issuer": "existing", "cluster_issuer": "a", "wildcard": True}},
        {"certificates": {"cluster_issuer": "b"}},
    ),
    ("certificates.wildcard", {}, {"certificates": {"wildcard": False}}),
    ("dns.records", {}, {"dns": {"records": "unchecked"}}),
    ("dns.wait_minutes", {}, {"dns": {"wait_minutes": 5}}),
    ("dns.nameservers", {}, {"dns": {"nameservers": ["9.9.9.9:53"]}}),
    ("dns.provider", {"certificates": DNS01, "dns": {"provider": CLOUDFLARE}}, {"dns": {"provider": RFC2136}}),
    *(
        (
            f"dns.provider.{key}",
            {"certificates": DNS01, "dns": {"provider": RFC2136}},
            {"dns": {"provider": {**RFC2136, key: value}}},
        )
        for key, value in (
            ("nameserver", "192.0.2.54:5353"),
            ("key_name", "other"),
            ("key_algorithm", "HMACSHA512"),
            ("key_secret", "b3RoZXI="),
        )
    ),
    *(
        (
            f"dns.provider.{key}",
            {"certificates": DNS01, "dns": {"provider": ROUTE53, "records": "provider"}, "aws": AWS},
            {"dns": {"provider": {**ROUTE53, key: "Z2"}}},
        )
        for key in ("zone_id", "hub_zone_id")
    ),
    (
        "dns.provider.api_token",
        {"certificates": DNS01, "dns": {"provider": CLOUDFLARE}},
        {"dns": {"provider": {**CLOUDFLARE, "api_token": "other"}}},
    ),
    ("shared_storage.kind", {}, {"shared_storage": NFS}),
    ("shared_storage.storage_class", {"shared_storage": NFS}, {"shared_storage": {"storage_class": "files"}}),
    ("shared_storage.server", {"shared_storage": NFS}, {"shared_storage": {"server": "other.example.org"}}),
    ("shared_storage.share", {"shared_storage": NFS}, {"shared_storage": {"share": "/other"}}),
    ("shared_storage.mount_options", {"shared_storage": NFS}, {"shared_storage": {"mount_options": ["soft"]}}),
    ("shared_storage.replicas", {"shared_storage": {"kind": "longhorn"}}, {"shared_storage": {"replicas": 4}}),
]
LOOKED_AT = ("ingress", "certificates", "dns", "shared_storage")
"""Sections whose every key must be in the list."""
ELSEWHERE = {
    # told to the parts that make an Ingress (`Edge`)
    "ingress.annotations",
    # chosen by their sections' kinds above
    "dns.provider.kind",
}


@cache
def outcome(given: str) -> Any:
    """Everything that a configuration (as JSON) makes and tells."""
    from rehearsal import rehearse

    made = rehearse(json.loads(given))
    return [(one.urn, one.inputs, one.after) for one in made.made], made.exports


@pytest.mark.parametrize(("key", "given", "change"), TRIED, ids=[f"{key} {n}" for n, (key, _, _) in enumerate(TRIED)])
def test_h16_a_setting_that_is_changed_changes_what_is_made(
    key: str, given: dict[str, Any], change: dict[str, Any]
) -> None:
    before = sections(**given)
    after = {**before, **{name: {**before.get(name, {}), **keys} for name, keys in change.items()}}
    assert outcome(json.dumps(before)) != outcome(json.dumps(after)), key


def test_every_setting_of_these_sections_is_tried() -> None:
    from config import PlatformConfig
    from tests.platform_stack.test_jhaas_variables import paths

    known = {path for path in paths(PlatformConfig) if path.partition(".")[0] in LOOKED_AT and "." in path}
    assert known - {key for key, _, _ in TRIED} - ELSEWHERE == set()
