"""Configurations as a tired operator writes them: each stops the preview, with the key and what is allowed there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pulumi
import pytest
import yaml

from tests.platform_stack import switches
from tests.platform_stack.conftest import ROOT, Sections, sections

AWS = {"region": "eu-central-1"}
RDS = switches.SWITCHES["database"]["rds"]
EXTERNAL = switches.SWITCHES["database"]["external"]["database"]
STORE = switches.SWITCHES["object_storage"]["external"]["object_storage"]


def without(keys: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in keys.items() if name not in names}


MISTAKES: dict[str, tuple[Sections, str]] = {
    # a key in the wrong place, or none at all
    "a section's name": ({"databse": {}}, "databse: there is no such key (nearest: database)"),
    "a key below a key": (
        {"database": {"backups": {"enabeld": False}}},
        "database.backups.enabeld: there is no such key (nearest: enabled)",
    ),
    "the path without --path": (
        {"mail.host": "mail.example.org"},
        "mail.host: there is no such key; with `--path`, `pulumi config set` sets host in its section",
    ),
    "keys without their kind": (
        {"database": {"host": "postgres.example.org"}},
        "database.host: kind bundled has no such key; it belongs to database.kind: external",
    ),
    "keys of another kind": (
        {"ingress": {"kind": "existing", "namespace": "ingress", "replicas": 2}},
        "ingress.replicas: kind existing has no such key; it belongs to ingress.kind: traefik",
    ),
    "a class without its kind": (
        {"shared_storage": {"storage_class": "cephfs"}},
        "shared_storage.storage_class: kind none has no such key; it belongs to shared_storage.kind: existing or nfs",
    ),
    "a chart's name": (
        {"charts": {"treafik": {"version": "1"}}},
        "charts.treafik: there is no such key (nearest: traefik)",
    ),
    "a setting of the portal": (
        {"portal": {"settings": {"lead_working_day": 3}}},
        "portal.settings.lead_working_day: this setting does not exist (nearest: lead_working_days)",
    ),
    "a setting of another section": (
        {"portal": {"settings": {"smtp_host": "mail.example.org"}}},
        "portal.settings.smtp_host: this setting is said by another section",
    ),
    "a key of the target": (
        {"portal": {"target": {"capcity": {"memory": 64}}}},
        "portal.target.capcity: there is no such key (nearest: capacity)",
    ),
    # not what it should be
    "a section that is text": (
        {"mail": "mail.example.org"},
        "mail: must have keys below it: host, port, tls, user, password, sender",
    ),
    "a section that is a list": (
        {"ingress": [{"replicas": 2}]},
        "ingress: must have keys below it, among them kind: existing or traefik",
    ),
    "a section that is empty": ({"site": None}, "site: must have keys below it: portal_host, hub_domain"),
    "a key that is empty": ({"site": {"portal_host": None}}, "site.portal_host: must not be empty"),
    "a switch with a typo": (
        {"certificates": {"install": "flase"}},
        "certificates.install: 'flase' is not allowed; allowed: true, false",
    ),
    "a number in words": (
        {"ingress": {"replicas": "three"}},
        "ingress.replicas: 'three' is not allowed; allowed: whole numbers from 1 to 20",
    ),
    "too many": (
        {"ingress": {"replicas": 200}},
        "ingress.replicas: 200 is not allowed; allowed: whole numbers from 1 to 20",
    ),
    "none of them": (
        {"database": {"instances": 0}},
        "database.instances: 0 is not allowed; allowed: whole numbers from 1 to 9",
    ),
    "half of one": (
        {"portal": {"web_replicas": 2.5}},
        "portal.web_replicas: 2.5 is not allowed; allowed: whole numbers from 1 to 20",
    ),
    "a port that is none": (
        {"mail": {"host": "mail.example.org", "port": 0}},
        "mail.port: 0 is not allowed; allowed: whole numbers from 1 to 65535",
    ),
    "a version that YAML reads as a number": (
        {**RDS, "database": {**RDS["database"], "version": 18}},
        "database.version: 18 is no text; put it into quotes",
    ),
    "a list that is text": (
        {**RDS, "database": {**RDS["database"], "subnet_ids": "subnet-1,subnet-2"}},
        "database.subnet_ids: must be a list, each entry on a line of its own after `- `",
    ),
    "too short a list": (
        {**RDS, "database": {**RDS["database"], "subnet_ids": ["subnet-1"]}},
        "database.subnet_ids: needs at least 2 entries",
    ),
    "a setting's value": (
        {"portal": {"settings": {"lead_working_days": "soon"}}},
        "portal.settings.lead_working_days: 'soon' is not allowed; allowed: whole numbers from 0 to 30",
    ),
    "a capacity in words": (
        {"portal": {"target": {"capacity": {"memory": "much"}}}},
        "portal.target.capacity.memory: 'much' is not allowed; allowed: numbers from 1",
    ),
    # not in its form
    "a size without unit": (
        {"database": {"storage_size": "10"}},
        "database.storage_size: '10' does not have its form, for example 20Gi",
    ),
    "a size in other units": (
        {"object_storage": {"storage_size": "100GB"}},
        "object_storage.storage_size: '100GB' does not have its form, for example 20Gi",
    ),
    "a host with its scheme": (
        {"site": {"portal_host": "https://courses.example.org"}},
        "site.portal_host: 'https://courses.example.org' does not have its form, for example courses.example.org",
    ),
    "a host with its port": (
        {"database": {**EXTERNAL, "host": "postgres.example.org:5432"}},
        "database.host: 'postgres.example.org:5432' does not have its form, for example postgres.example.org",
    ),
    "a domain with its star": ({"site": {"hub_domain": "*.example-hubs.org"}}, "does not have its form, for example"),
    "an address without its scheme": (
        {"object_storage": {**STORE, "endpoint": "s3.example.org"}},
        "object_storage.endpoint: 's3.example.org' does not have its form, for example https://s3.example.org",
    ),
    "an image without its version": (
        {"portal": {"image": "registry.example.org/jhaas/portal"}},
        "does not have its form, for example registry.example.org/jhaas/portal:0.1.0",
    ),
    "a range without its length": (
        {"ingress": {"trusted_proxies": ["10.0.0.1"]}},
        "ingress.trusted_proxies.0: 10.0.0.1 is no range of addresses; write for example 10.0.0.0/8",
    ),
    "a crontab's five fields": (
        {"database": {"backups": {"schedule": "30 1 * * *"}}},
        "database.backups.schedule: '30 1 * * *' does not have its form, for example 0 30 1 * * *",
    ),
    "a file's name for what is in it": (
        {"database": {**EXTERNAL, "ca": "/etc/ssl/ca.crt"}},
        "database.ca: '/etc/ssl/ca.crt' does not have its form, for example -----BEGIN CERTIFICATE-----",
    ),
    "a moment without its zone": (
        {"database": {"generation": 2, "restore": {"generation": 1, "until": "2026-11-22 10:30"}}},
        "database.restore.until: '2026-11-22 10:30' does not have its form, for example 2026-11-22T10:30:00+01:00",
    ),
    "a town for a zone": ({"site": {"timezone": "Berlin"}}, "site.timezone: Berlin is no time zone; write for example"),
    "a region by its town": (
        {"object_storage": {"kind": "aws"}, "aws": {"region": "Frankfurt"}},
        "aws.region: 'Frankfurt' does not have its form, for example eu-central-1",
    ),
    # half of it
    "nothing of a section": ({"certificates": None}, "certificates: must have keys below it: issuer"),
    "half a database": (
        {"database": {"kind": "external", "host": "postgres.example.org"}},
        "database.portal.owner_password is needed: Its password.",
    ),
    "no secret": (
        {"identity": {"kind": "oidc", "issuer": "https://sso.example.org", "client_id": "jhaas"}},
        "identity.client_secret is needed: Its secret.",
    ),
    "half a key": (
        {"object_storage": {**STORE, "state": {"access_key_id": "id"}}},
        "object_storage.state.secret_access_key is needed: Its secret.",
    ),
    "a user without password": (
        {"mail": {"host": "mail.example.org", "user": "jhaas"}},
        "mail: user and password belong together: give both or neither",
    ),
    "a user without server": ({"mail": {"user": "jhaas", "password": "p"}}, "mail: host is needed where user is given"),
    "AWS without its section": ({"object_storage": {"kind": "aws"}}, "aws.region is needed: object_storage.kind makes"),
    "AWS without region": (
        {"object_storage": {"kind": "aws"}, "aws": {"prefix": "university"}},
        "aws.region is needed: Region of everything that is made.",
    ),
    "RDS without AWS": (without(RDS, "aws"), "aws.region is needed: database.kind makes something at AWS"),
    "a zone that nobody names": (
        {"dns": {"provider": {"kind": "route53"}}, "aws": AWS},
        "dns.provider.zone_id is needed: Hosted zone that holds the host names.",
    ),
    "a file that is not there": (
        {"identity": {"sources": ["nowhere.yaml"]}},
        "identity.sources: nowhere.yaml cannot be read (No such file or directory)",
    ),
    "a password for the registry's login": (
        {"portal": {"registry": "hunter2"}},
        'portal.registry: what is given is no JSON; write {"auths": {"REGISTRY": {"auth": "…"}}}',
    ),
    "the login of one registry without its name": (
        {"portal": {"registry": '{"username": "jhaas", "password": "hunter2"}'}},
        "portal.registry: what is given names no registry; write",
    ),
    "a login that docker keeps elsewhere": (
        {"portal": {"registry": '{"auths": {"registry.example.org": {}}, "credsStore": "desktop"}'}},
        "portal.registry: there is no password for registry.example.org: docker keeps it elsewhere (credsStore)",
    ),
    # switches that contradict each other
    "one group for two roles": (
        {"portal": {"governance_group": "staff", "teachers_group": "staff"}},
        "portal: governance_group and teachers_group must differ (both are staff)",
    ),
    "a class that the chart makes itself": (
        {"shared_storage": {"kind": "longhorn", "storage_class": "longhorn"}},
        "shared_storage.storage_class: longhorn is a class that Longhorn makes itself; give another name",
    ),
    "a proof without provider": (
        {"certificates": {"issuer": "letsencrypt", "challenge": "dns01"}},
        "certificates.challenge is dns01, which needs dns.provider; allowed: rfc2136, route53, cloudflare",
    ),
    "records without provider": ({"dns": {"records": "provider"}}, "dns: records cannot be set by provider none"),
    "ports of nodes without address": (
        {"ingress": {"exposure": "node-port"}},
        "ingress: address is needed where exposure is node-port",
    ),
    "accounts that nobody can prove": (
        {"identity": {"enrolment": "open"}},
        "mail.host is needed: identity.verify_email sends a mail",
    ),
    "TLS at the other port": (
        {"mail": {"host": "mail.example.org", "tls": "tls"}},
        "mail: port 587 is for tls: starttls; with tls: tls, give the port of your server",
    ),
    "one bucket for two": (
        {"object_storage": {"state_bucket": "jhaas", "archives_bucket": "jhaas"}},
        "object_storage: state_bucket, archives_bucket and backups_bucket must differ",
    ),
    "one role for two": (
        {"database": {**EXTERNAL, "portal": {**EXTERNAL["portal"], "owner": EXTERNAL["portal"]["user"]}}},
        "database.portal: user and owner must be two roles",
    ),
    "backups without a key": (
        {"object_storage": without(STORE, "backups")},
        "object_storage.backups is needed: database.backups.enabled writes there",
    ),
    "labels of nothing": (
        {"monitoring": {"labels": {"release": "prometheus"}}},
        "monitoring: labels are of monitors and rules",
    ),
    "a restore into the same server": (
        {"database": {"restore": {"generation": 1}}},
        "database: generation must be greater than restore.generation (1)",
    ),
    "values of the hubs' chart": (
        {"charts": {"jupyterhub": {"values": {"hub": {}}}}},
        "charts.jupyterhub.values: hubs are told by the course and its target; set portal.target",
    ),
}


def configuration(changes: Sections) -> Sections:
    """The fewest settings, with these over them; what is no mapping replaces its section."""
    mappings = {name: keys for name, keys in changes.items() if isinstance(keys, dict)}
    return {**sections(**mappings), **{name: keys for name, keys in changes.items() if name not in mappings}}


@pytest.mark.parametrize("name", MISTAKES)
def test_h15_a_mistake_stops_the_preview_with_its_key_and_what_is_allowed(name: str) -> None:
    from rehearsal import rehearse

    changes, told = MISTAKES[name]
    with pytest.raises(pulumi.RunError) as caught:
        rehearse(configuration(changes))
    lines = str(caught.value).splitlines()
    assert any(line.startswith("jhaas-platform:") and told in line for line in lines), lines
    assert "hunter2" not in str(caught.value)
    # what pydantic says by itself names neither bounds nor an example
    assert not [line for line in lines if "Input should" in line or "String should" in line]


def test_at_least_forty_are_known() -> None:
    assert len(MISTAKES) >= 40


def test_what_is_missing_altogether_is_asked_for_key_by_key() -> None:
    from stack_file import ConfigError, parsed

    with pytest.raises(ConfigError) as caught:
        parsed({})
    asked = [line.partition(" is needed")[0].removeprefix("jhaas-platform:") for line in caught.value.problems]
    assert asked == [
        *("site.portal_host", "site.hub_domain", "site.contact", "cluster.context"),
        *("certificates.issuer", "portal.image"),
    ]


def test_a_secret_of_the_wrong_kind_is_not_shown() -> None:
    from stack_file import ConfigError, parsed

    with pytest.raises(ConfigError) as caught:
        parsed(sections(mail={"host": "mail.example.org", "user": "jhaas", "password": 20261122}))
    assert "jhaas-platform:mail.password: " in str(caught.value)
    assert "20261122" not in str(caught.value)


@pytest.mark.parametrize("command", ["plan", "manifests"])
def test_a_mistake_that_the_program_finds_is_told_without_its_inside(command: str, tmp_path: Path) -> None:
    import subprocess
    import sys

    path = tmp_path / "Pulumi.wrong.yaml"
    given = sections(portal={"settings": {"lead_working_days": "soon"}})
    path.write_text(yaml.safe_dump({"config": {f"jhaas-platform:{name}": keys for name, keys in given.items()}}))
    done = subprocess.run(
        [sys.executable, ROOT / "platform/show.py", command, path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert "portal.settings.lead_working_days: 'soon' is not allowed" in done.stderr
    assert "Traceback" not in done.stderr
