"""What may stand in a stack's configuration, and how mistakes are told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pulumi
import pytest
from pydantic import BaseModel

from tests.platform_stack.conftest import LEAST, Rehearse, sections


def mistakes(**changes: Any) -> str:
    from stack_file import ConfigError, parsed

    with pytest.raises(ConfigError) as caught:
        parsed(sections(**changes))
    return str(caught.value)


def test_six_settings_are_enough() -> None:
    from stack_file import parsed

    config = parsed(LEAST)
    assert sum(len(section) for section in LEAST.values()) == 6
    assert config.site.login_host == "login.courses.example.org"
    assert (config.database.kind, config.object_storage.kind, config.identity.kind) == (
        "bundled",
        "bundled",
        "authentik",
    )
    assert not config.uses_aws


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"sites": {}}, "jhaas-platform:sites: there is no such key (nearest: site)"),
        ({"ingress": {"replica": 3}}, "jhaas-platform:ingress.replica: there is no such key (nearest: replicas)"),
        (
            {"database": {"storage": "10Gi"}},
            "jhaas-platform:database.storage: there is no such key (nearest: storage_size)",
        ),
        (
            {"charts": {"traefik": {"verison": "1"}}},
            "jhaas-platform:charts.traefik.verison: there is no such key (nearest: version)",
        ),
        (
            {"dns": {"provider": {"kind": "rfc2136", "server": "1.2.3.4", "key_name": "k", "key_secret": "s"}}},
            "jhaas-platform:dns.provider.server: there is no such key (nearest: nameserver)",
        ),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest(changes: dict[str, Any], told: str) -> None:
    assert told in mistakes(**changes).splitlines()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {"certificates": {"issuer": "letsencript"}},
            "certificates.issuer: 'letsencript' is not allowed; allowed: 'selfsigned', 'letsencrypt-staging', ",
        ),
        (
            {"database": {"kind": "extern"}},
            "jhaas-platform:database.kind: 'extern' is not allowed; allowed: 'bundled', 'external', 'rds'",
        ),
        (
            {"dns": {"provider": {}}},
            "jhaas-platform:dns.provider.kind is needed; allowed: cloudflare, none, rfc2136, route53",
        ),
        (
            {"certificates": {"issuer": "letsencrypt", "challenge": "dns01"}},
            "certificates.challenge is dns01, which needs dns.provider; allowed: rfc2136, route53, cloudflare",
        ),
        ({"certificates": {"issuer": "letsencrypt", "wildcard": True}}, "wildcard needs challenge dns01"),
        ({"certificates": {"issuer": "existing"}}, "cluster_issuer is needed where issuer is existing"),
        ({"object_storage": {"kind": "aws"}}, "aws.region is needed: object_storage.kind makes something at AWS"),
        ({"dns": {"records": "provider"}}, "records cannot be set by provider none; allowed: route53"),
        ({"ingress": {"exposure": "host-port"}}, "address is needed where exposure is host-port"),
        ({"mail": {"user": "mail"}}, "user and password belong together"),
        (
            {"mail": {"user": "mail", "password": "secret", "tls": "none"}},
            "tls none would send the password in clear text; allowed: starttls, tls",
        ),
        ({"portal": None}, "jhaas-platform:portal.image is needed"),
        (
            {"database": {"storage_size": "10"}},
            "jhaas-platform:database.storage_size: '10' does not have its form, for example 20Gi",
        ),
        ({"charts": {"traefik": {"chart": "traefik"}}}, "repository is needed where chart is neither"),
    ],
)
def test_a_wrong_value_is_refused_with_what_is_allowed(changes: dict[str, Any], told: str) -> None:
    assert told in mistakes(**changes)


@pytest.mark.parametrize(
    ("domain", "how"),
    [
        ("courses.example.org", "equal to portal_host"),
        ("example.org", "above portal_host"),
        ("hubs.courses.example.org", "below portal_host"),
        ("login.courses.example.org", "below portal_host"),
    ],
)
def test_hubs_do_not_share_the_portals_domain(domain: str, how: str) -> None:
    assert f"hub_domain ({domain}) is {how}" in mistakes(site={"hub_domain": domain})


@pytest.mark.parametrize(
    ("domain", "how"),
    [("sso.example.net", "equal to"), ("example.net", "above"), ("hubs.sso.example.net", "below")],
)
def test_hubs_do_not_share_the_sign_ins_domain(domain: str, how: str) -> None:
    told = mistakes(site={"hub_domain": domain, "identity_host": "sso.example.net"})
    assert f"hub_domain ({domain}) is {how} identity_host (sso.example.net)" in told


def test_names_that_only_look_alike_lie_apart() -> None:
    from stack_file import parsed

    parsed(sections(site={"hub_domain": "my-courses.example.org"}))


def test_all_mistakes_are_told_at_once() -> None:
    told = mistakes(ingress={"replica": 3}, certificates={"issuer": "x"}, portal=None)
    assert len(told.splitlines()) == 3


def test_the_program_fails_with_the_mistakes_before_anything_is_made(rehearse: Rehearse) -> None:
    with pytest.raises(pulumi.RunError, match=r"jhaas-platform:ingress\.replica: there is no such key"):
        rehearse(ingress={"replica": 3})


def test_a_secret_in_clear_text_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import stack_file

    given = sections(mail={"host": "mail.example.org", "user": "jhaas", "password": "open-to-all"})
    texts = {f"jhaas-platform:{name}": json.dumps(section) for name, section in given.items()}
    monkeypatch.setenv("PULUMI_CONFIG", json.dumps(texts))
    with pytest.raises(stack_file.ConfigError) as caught:
        stack_file.of_pulumi()
    assert "pulumi config set --secret --path 'jhaas-platform:mail.password'" in str(caught.value)
    assert "open-to-all" not in str(caught.value)
    monkeypatch.setenv("PULUMI_CONFIG_SECRET_KEYS", json.dumps(["jhaas-platform:mail"]))
    password = stack_file.of_pulumi().mail.password
    assert password is not None
    assert password.get_secret_value() == "open-to-all"


def test_a_section_that_is_no_section_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import stack_file

    monkeypatch.setenv("PULUMI_CONFIG", json.dumps({"jhaas-platform:site": "courses.example.org"}))
    with pytest.raises(stack_file.ConfigError, match="jhaas-platform:site: must have keys below it: portal_host"):
        stack_file.of_pulumi()


def test_a_chart_in_a_mirror_keeps_its_pin_and_leaves_its_repository() -> None:
    from stack_file import parsed

    charts = parsed(
        sections(
            charts={
                "authentik": {"chart": "oci://mirror.example.org/charts/authentik"},
                "traefik": {"chart": "/srv/charts/traefik"},
                "longhorn": {"repository": "https://mirror.example.org/charts"},
            }
        )
    ).charts
    assert (charts.authentik.repository, charts.authentik.version) == (None, "2026.8.5")
    assert (charts.traefik.repository, charts.traefik.version) == (None, None)
    assert (charts.longhorn.chart, charts.longhorn.version) == ("longhorn", "1.12.1")


def test_h17_the_ways_to_a_sites_own_services_are_encrypted_unless_it_says_otherwise() -> None:
    from config import ExternalDatabase
    from stack_file import parsed

    assert parsed(LEAST).mail.tls == "starttls"
    assert ExternalDatabase.model_fields["tls"].default == "verify-full"
    store = {"kind": "external", "endpoint": "s3.example.org"}
    assert "for example https://s3.example.org" in mistakes(object_storage=store)


def test_every_key_says_what_it_means() -> None:
    from config import PlatformConfig

    for model in _models(PlatformConfig):
        for name, field in model.model_fields.items():
            assert field.description, f"{model.__name__}.{name}"
            assert field.description.endswith((".", ":")), f"{model.__name__}.{name}"


def _models(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    from stack_file import models_in

    yield model
    for field in model.model_fields.values():
        for inner in models_in(field.annotation):
            yield from _models(inner)
