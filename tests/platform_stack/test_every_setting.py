"""A setting that changes nothing is a promise that nobody keeps: each one is tried, of every kind of every section."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cache, reduce
from typing import Any

import pytest
from pydantic import BaseModel

from tests.platform_stack import switches
from tests.platform_stack.conftest import ROOT, Sections, sections

KEY = {"access_key_id": "id", "secret_access_key": "secret"}
ACME = {"issuer": "acme", "acme_server": "https://acme.example.org/directory"}
DNS01 = {"issuer": "letsencrypt", "challenge": "dns01"}
ROUTE53 = {"kind": "route53", "zone_id": "Z1"}
AWS = {"region": "eu-central-1"}
PEM = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
RDS = switches.SWITCHES["database"]["rds"]
EXTERNAL_STORE = switches.SWITCHES["object_storage"]["external"]


@dataclass(frozen=True)
class With:
    """A value that shows only beside other settings."""

    value: Any
    beside: Sections = field(default_factory=dict)


TRIED: dict[str, tuple[Sections, dict[str, Any]]] = {
    # section (and its kind), the configuration in which it counts, and another value for each of its keys
    "site": (
        {"mail": {"host": "mail.example.org"}},
        {
            "portal_host": "portal.example.org",
            "hub_domain": "other-hubs.org",
            "identity_host": "sso.example.org",
            "contact": "desk@example.org",
            "name": "Courses",
            "timezone": "Europe/Lisbon",
        },
    ),
    "cluster": (
        {},
        {
            "context": "other",
            "storage_class": "fast-disks",
            "network_policies": False,
            "release_timeout": 1200,
        },
    ),
    "ingress[traefik]": (
        {},
        {
            "class_name": "edge",
            "default_class": False,
            "exposure": With("node-port", {"ingress": {"address": "192.0.2.7"}}),
            "address": "192.0.2.7",
            "service_annotations": {"a": "b"},
            "replicas": 3,
            "read_timeout_seconds": 7200,
            "idle_timeout_seconds": 900,
            "trusted_proxies": ["192.0.2.0/24"],
        },
    ),
    "ingress[existing]": (
        {"ingress": {"kind": "existing", "namespace": "ingress", "address": "192.0.2.8"}},
        {"class_name": "nginx", "namespace": "edge", "address": "192.0.2.9", "annotations": {"a": "b"}},
    ),
    "certificates": (
        {},
        {
            "issuer": "letsencrypt",
            "install": False,
            "namespace": "certs",
            "challenge": With(
                "dns01",
                {
                    "certificates": {"issuer": "letsencrypt"},
                    "dns": {"provider": {"kind": "cloudflare", "api_token": "t"}},
                },
            ),
            "email": With("ca@example.org", {"certificates": {"issuer": "letsencrypt"}}),
            "acme_server": With("https://ca.example.org/other", {"certificates": ACME}),
            "eab_key_id": With("other", {"certificates": {**ACME, "eab_key_id": "k", "eab_hmac_key": "h"}}),
            "eab_hmac_key": With("other", {"certificates": {**ACME, "eab_key_id": "k", "eab_hmac_key": "h"}}),
            "ca": PEM,
            "cluster_issuer": With("other", {"certificates": {"issuer": "existing", "cluster_issuer": "theirs"}}),
            "wildcard": False,
        },
    ),
    "dns": ({}, {"records": "unchecked", "wait_minutes": 5, "nameservers": ["9.9.9.9:53"]}),
    "dns.provider[none]": ({}, {}),
    "dns.provider[rfc2136]": (
        switches.SWITCHES["certificates"]["staging rfc2136"],
        {
            "nameserver": "192.0.2.54:5353",
            "key_name": "other",
            "key_algorithm": "HMACSHA512",
            "key_secret": "b3RoZXI=",
        },
    ),
    "dns.provider[route53]": (
        {"certificates": DNS01, "dns": {"provider": ROUTE53, "records": "provider"}, "aws": AWS},
        {"zone_id": "Z2", "hub_zone_id": "Z2"},
    ),
    "dns.provider[cloudflare]": (switches.SWITCHES["certificates"]["cloudflare"], {"api_token": "other"}),
    "database[bundled]": (
        {},
        {
            "install_operator": False,
            "operator_namespace": "operators",
            "generation": 2,
            "instances": 3,
            "storage_size": "20Gi",
            "storage_class": "fast-disks",
            "memory": "2Gi",
            "cpu_millicores": 1000,
            "image": "registry.example.org/postgresql:18.5",
            "backups.enabled": False,
            "backups.schedule": "0 0 3 * * *",
            "backups.retention": "60d",
            "restore.generation": With(2, {"database": {"generation": 3, "restore": {"generation": 1}}}),
            "restore.until": With(
                "2026-11-22T10:30:00+01:00", {"database": {"generation": 3, "restore": {"generation": 1}}}
            ),
        },
    ),
    "database[external]": (
        switches.SWITCHES["database"]["external"],
        {
            "host": "other.example.org",
            "port": 5433,
            "tls": "require",
            "ca": PEM,
            **{f"portal.{key}": "other" for key in ("database", "user", "password", "owner", "owner_password")},
            **{f"identity.{key}": "other" for key in ("database", "user", "password")},
        },
    ),
    "database[rds]": (
        RDS,
        {
            "instance_class": "db.m7g.large",
            "storage_gib": 40,
            "multi_az": False,
            "backup_days": 7,
            "version": "17",
            "subnet_ids": ["subnet-1", "subnet-3"],
            "client_cidrs": ["10.1.0.0/16"],
            "vpc_id": "vpc-2",
            "deletion_protection": False,
            "ca": PEM,
            "client_image": "registry.example.org/postgresql:18.5",
        },
    ),
    "object_storage[bundled]": (
        {},
        {
            **{f"{use}_bucket": "other-bucket" for use in ("state", "archives", "backups")},
            "deleted_days": 60,
            "history_days": 365,
            "storage_size": "200Gi",
            "storage_class": "large-disks",
            "memory": "2Gi",
            "image": "registry.example.org/silo:1",
        },
    ),
    "object_storage[external]": (
        EXTERNAL_STORE,
        {
            **{f"{use}_bucket": "other-bucket" for use in ("state", "archives", "backups")},
            "endpoint": "https://other.example.org",
            "region": "eu-central-1",
            "path_style": False,
            "ca": PEM,
            **{f"{use}.{key}": "other" for use in ("state", "archives", "backups", "courses") for key in KEY},
            "key_api": "minio",
            "role_arn": With(
                "arn:aws:iam::123456789012:role/two",
                {
                    "object_storage": {
                        **EXTERNAL_STORE["object_storage"],
                        "state": None,
                        "key_api": "aws",
                        "role_arn": "arn:aws:iam::123456789012:role/one",
                    }
                },
            ),
        },
    ),
    "object_storage[aws]": (
        {"object_storage": {"kind": "aws"}, "aws": AWS},
        {
            **{f"{use}_bucket": "other-bucket" for use in ("state", "archives", "backups")},
            "deleted_days": 60,
            "history_days": 365,
        },
    ),
    "identity[authentik]": (
        {"mail": {"host": "mail.example.org"}},
        {
            "enrolment": "open",
            "verify_email": False,
            "terms_url": "https://example.org/terms",
            "require_mfa": False,
            "server_replicas": 3,
            "worker_replicas": 2,
            "log_level": "debug",
            "admin_email": "admin@example.org",
            "image": "registry.example.org/authentik:1",
            "sources": [str(ROOT / "examples/identity/university-ldap.yaml")],
            "source_secrets": With(
                {"university_bind_password": "other"},
                {
                    "identity": {
                        "sources": [str(ROOT / "examples/identity/university-ldap.yaml")],
                        "source_secrets": {"university_bind_password": "one"},
                    }
                },
            ),
        },
    ),
    "identity[oidc]": (
        switches.SWITCHES["identity"]["oidc"],
        {
            "issuer": "https://other.example.org",
            "client_id": "other",
            "client_secret": "other",
            "internal_url": "https://sso.campus",
        },
    ),
    "identity[oidc].courses": (
        switches.SWITCHES["identity"]["oidc with an API"],
        {"api": "canaille", "url": "https://other.example.org", "key": {"token": "other"}},
    ),
    "portal": (
        {},
        {
            "image": "registry.example.org/jhaas/portal:2",
            "registry": '{"auths": {"registry.example.org": {"auth": "bmFtZTpwYXNzd29yZA=="}}}',
            "web_replicas": 3,
            "worker_replicas": 3,
            "governance_group": "deans",
            "teachers_group": "lecturers",
            "settings": {"lead_working_days": 3},
            "target": {"capacity": {"memory": 64, "cpu": 16, "storage": 500}},
        },
    ),
    "mail": (
        switches.SWITCHES["mail"]["starttls"],
        {
            "host": "other.example.org",
            "port": 2525,
            "tls": With("tls", {"mail": {"port": 2525}}),
            "user": "other",
            "password": "other",
            "sender": "courses@example.org",
        },
    ),
    "monitoring": (
        {},
        {
            "rules": True,
            "dashboards": True,
            "install": True,
            "labels": With({"release": "prometheus"}, {"monitoring": {"rules": True}}),
        },
    ),
    "shared_storage[none]": ({}, {}),
    "shared_storage[existing]": (switches.SWITCHES["shared_storage"]["existing"], {"storage_class": "files"}),
    "shared_storage[nfs]": (
        switches.SWITCHES["shared_storage"]["nfs"],
        {"storage_class": "files", "server": "other.example.org", "share": "/other", "mount_options": ["soft"]},
    ),
    "shared_storage[longhorn]": (
        switches.SWITCHES["shared_storage"]["longhorn"],
        {"storage_class": "files", "replicas": 4},
    ),
    "aws": (
        {"object_storage": {"kind": "aws"}, "aws": AWS},
        {
            "region": "eu-west-1",
            "profile": "courses",
            "prefix": "courses",
            "oidc_provider_arn": "arn:aws:iam::123456789012:oidc-provider/oidc.eks.eu-central-1.amazonaws.com/id/A",
            "tags": {"owner": "it"},
        },
    ),
}
CHANGED = [(f"{place}.{key}", place, key) for place, (_, keys) in TRIED.items() for key in keys]


@cache
def outcome(given: str) -> Any:
    """Everything that a configuration (as JSON) makes and tells."""
    from rehearsal import rehearse

    made = rehearse(json.loads(given))
    return [(one.urn, one.inputs, one.after) for one in made.made], made.exports


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Sections over sections; a section's own keys are replaced."""
    return {**below, **{name: {**below.get(name, {}), **keys} for name, keys in above.items()}}


def changed(given: Sections, path: str, value: Any) -> Sections:
    """The same with another value at `SECTION.KEY…`."""
    made = deepcopy(given)
    *places, last = path.split(".")
    reduce(lambda below, name: below.setdefault(name, {}), places, made)[last] = value
    return made


@pytest.mark.parametrize(("place", "key"), [one[1:] for one in CHANGED], ids=[one[0] for one in CHANGED])
def test_h16_a_setting_that_is_changed_changes_what_is_made(place: str, key: str) -> None:
    given, values = TRIED[place]
    value = values[key] if isinstance(values[key], With) else With(values[key])
    before = sections(**merged(given, value.beside))
    section = re.sub(r"\[\w+\]", "", place)
    after = changed(before, f"{section}.{key}", value.value)
    assert before != after
    assert outcome(json.dumps(before)) != outcome(json.dumps(after))


@pytest.mark.parametrize("section", sorted({place.partition("[")[0] for place in TRIED if "[" in place}))
def test_h16_each_kind_of_a_section_makes_something_else(section: str) -> None:
    given = [sections(**given) for place, (given, _) in TRIED.items() if place.startswith(f"{section}[")]
    made = [outcome(json.dumps(one)) for one in given]
    assert len(made) > 1
    assert not [index for index, one in enumerate(made) if one in made[:index]]


PLACES = {
    "chart": "oci://mirror.example.org/charts/other",
    "repository": "https://mirror.example.org/charts",
    "version": "99.9.9",
    "values": {"tolerations": [{"operator": "Exists"}]},
}
ALL_CHARTS = {"monitoring": {"install": True}}
SHARED = {"nfs": "csi_driver_nfs", "longhorn": "longhorn"}
"""Of which only one can be there."""


@pytest.mark.parametrize("key", PLACES)
@pytest.mark.parametrize("shared", SHARED)
def test_h16_what_is_said_of_a_chart_holds_for_that_chart(shared: str, key: str) -> None:
    from charts import Charts

    names = Charts.model_fields.keys() - ({*SHARED.values()} - {SHARED[shared]})
    # hubs are told by their target, and refuse values
    told = {name for name in names if key != "values" or name != "jupyterhub"}
    theirs = {name: {key: PLACES[key]} for name in told}
    if key == "repository":
        # what is at an OCI address has none
        theirs = {name: {"chart": "other", **one} for name, one in theirs.items()}
    before = sections(**ALL_CHARTS, **switches.SWITCHES["shared_storage"][shared])
    after = outcome(json.dumps({**before, "charts": theirs}))
    seen = {
        inputs["name"].replace("-", "_")
        for _, inputs, _ in after[0]
        if inputs.get("compat") and _says(inputs, key, PLACES[key])
    }
    if any("99.9.9" in text or "mirror.example.org" in text for text in _target(after)):
        seen.add("jupyterhub")
    # what the release is called, where that is not the key
    assert {"barman_plugin" if name == "plugin_barman_cloud" else name for name in seen} == told


def _says(inputs: dict[str, Any], key: str, value: Any) -> bool:
    if key == "repository":
        return bool(inputs["repositoryOpts"]["repo"] == value)
    if key == "values":
        return bool(inputs["values"].items() >= value.items())
    return bool(inputs[key] == value)


def _target(made: Any) -> Iterator[str]:
    """The file of the target."""
    for _, inputs, _ in made[0]:
        if inputs.get("kind") == "ConfigMap":
            yield from (text for name, text in inputs["data"].items() if name == "cluster.yaml")


def settings(model: type[BaseModel], place: str = "") -> Iterator[str]:
    """Every key, with the kind of a section that has more than one: `database[rds].version`."""
    from stack_file import models_in, tags

    for name, one in model.model_fields.items():
        inner = [*models_in(one.annotation)]
        path = f"{place}.{name}" if place else name
        if len(inner) > 1:
            for kind in inner:
                yield from settings(kind, f"{path}[{tags(kind)[0]}]")
        elif inner:
            yield from settings(inner[0], path)
        elif name != "kind":
            yield path


def test_every_setting_is_tried() -> None:
    from config import PlatformConfig

    known = {one for one in settings(PlatformConfig) if not one.startswith("charts.")}
    assert len(known) > 100
    assert {one[0] for one in CHANGED} == known
    of_charts = {one.rpartition(".")[2] for one in settings(PlatformConfig) if one.startswith("charts.")}
    assert of_charts == {*PLACES}
