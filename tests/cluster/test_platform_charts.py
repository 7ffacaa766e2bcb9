"""The whole platform with its real charts, by the Pulumi CLI: from an empty cluster, by parts that are switched off and
on again, to a restored database, and gone.

JHAAS_TEST_PLATFORM names the file of a stack as an operator writes one, for a cluster without a platform ("Trials on a
cluster" in docs/developing.md).
"""

from __future__ import annotations

import re
import secrets
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.cluster import kube
from tests.cluster.leftovers import everything_but_ours, left
from tests.cluster.platform_database import NAMESPACE as DATABASE
from tests.cluster.platform_database import archive, backed_up, sql
from tests.cluster.platform_project import DESTROY, UP, Project
from tests.cluster.test_by_hand import MISSING
from tests.platform_stack.conftest import ROOT, Sections
from tests.support.waiting import wait_for

pytestmark = [
    pytest.mark.cluster,
    # images are fetched, servers started, and a database is read back
    pytest.mark.timeout(2 * 60 * 60),
    pytest.mark.skipif(bool(MISSING), reason=f"not on PATH: {', '.join(MISSING)}"),
]

MINUTE = 60
STORE, PORTAL = "jhaas-object-storage", "jhaas-portal"
GUIDE = (ROOT / "docs/platform.md").read_text()


@dataclass(frozen=True)
class Switch:
    """A part that comes and goes by keys of sections."""

    there: Sections
    """Laid over the file's own sections."""
    away: Sections
    """In the place of the file's own sections."""
    word: str
    """In the names of everything of its chart, and of its namespace."""
    chart: str | None = None
    """It is not tried where `charts` does not say where this one is."""
    ahead: list[dict[str, Any]] = field(default_factory=list)
    """What a site has that brings the part itself."""


THEIR_ROOM = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "theirs"}}
THEIR_ISSUER = {
    "apiVersion": "cert-manager.io/v1",
    "kind": "ClusterIssuer",
    "metadata": {"name": "theirs"},
    "spec": {"selfSigned": {}},
}
SWITCHES = {
    "ingress": Switch(
        {},
        {"ingress": {"kind": "existing", "class_name": "theirs", "namespace": "theirs"}},
        "traefik",
        ahead=[THEIR_ROOM],
    ),
    "certificates": Switch(
        {},
        {"certificates": {"issuer": "existing", "cluster_issuer": "theirs", "install": False}},
        "cert-manager",
        ahead=[THEIR_ISSUER],
    ),
    "monitoring": Switch({"monitoring": {"install": True}}, {}, "prometheus", chart="kube_prometheus_stack"),
    "shared storage": Switch(
        {"shared_storage": {"kind": "nfs", "server": "192.0.2.7", "share": "/x"}}, {}, "csi-", chart="csi_driver_nfs"
    ),
}
BY_HAND = {
    "apiVersion": "postgresql.cnpg.io/v1",
    "kind": "Backup",
    "metadata": {"name": "by-hand", "namespace": DATABASE},
    "spec": {
        "method": "plugin",
        "cluster": {"name": "postgres-1"},
        "pluginConfiguration": {"name": "barman-cloud.cloudnative-pg.io"},
    },
}
HELD = {
    "database": (
        {
            "kind": "external",
            "host": "postgres.example.org",
            "portal": {"database": "portal", "user": "portal", "owner": "portal_owner"},
        },
        ("portal.password", "portal.owner_password"),
    ),
    "object_storage": (
        {
            "kind": "external",
            "endpoint": "https://s3.example.org",
            **{use: {"access_key_id": use} for use in ("state", "archives", "backups")},
        },
        ("state.secret_access_key", "archives.secret_access_key", "backups.secret_access_key"),
    ),
}
"""Part that holds data → a site's own in its place, and what of that is secret."""


@pytest.fixture(scope="module")
def before(platform_file: dict[str, Any]) -> set[tuple[str, ...]]:
    """What the cluster has without a platform."""
    return everything_but_ours()


@pytest.fixture(scope="module")
def platform(
    platform_file: dict[str, Any], before: set[tuple[str, ...]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Project]:
    """The platform, as one `up` from nothing made it."""
    project = Project.of(platform_file, tmp_path_factory.mktemp("platform"), seconds=30 * MINUTE)
    try:
        project.pulumi(*UP)
        yield project
    finally:
        project.pulumi(*DESTROY)


def test_a_second_up_changes_nothing(platform: Project) -> None:
    platform.pulumi(*UP, "--expect-no-changes")
    assert "https://" in platform.pulumi("stack", "output", "next_steps")


def test_up_ends_when_everything_runs(platform: Project) -> None:
    for kind in ("deployments", "statefulsets", "daemonsets"):
        for one in kube.show(kind, "--all-namespaces"):
            wanted = one["status"].get("desiredNumberScheduled", one["spec"].get("replicas"))
            ready = one["status"].get("numberReady", one["status"].get("readyReplicas", 0))
            assert ready == wanted, (kind, one["metadata"]["name"])


def test_the_edge_shows_hubs_their_wildcard_and_the_portal_its_own_certificate(platform: Project) -> None:
    if platform.sections["certificates"]["issuer"] != "selfsigned":
        pytest.skip("who signs is not of this cluster")
    site, address = platform.sections["site"], platform.sections["ingress"]["address"]
    trusting = ssl.create_default_context(cadata=kube.secret("cert-manager", "jhaas-authority")["tls.crt"])
    for host in (f"some-course.{site['hub_domain']}", site["portal_host"]):
        # refused where the certificate is another host's, or of another authority
        with socket.create_connection((address, 443), 10) as way, trusting.wrap_socket(way, server_hostname=host):
            pass


def test_each_role_gets_into_its_own_database_and_the_portals_changes_no_table(platform: Project) -> None:
    assert sql(platform, "portal", "SELECT current_user") == "portal"
    assert sql(platform, "portal_owner", "SELECT current_user") == "portal_owner"
    with pytest.raises(kube.CommandFailed, match=r"pg_hba\.conf rejects connection"):
        sql(platform, "portal", "SELECT 1", database="postgres")
    with pytest.raises(kube.CommandFailed, match="permission denied"):
        sql(platform, "portal", "CREATE TABLE not_mine (id int)")


@pytest.mark.parametrize("name", SWITCHES)
def test_a_part_that_is_switched_off_leaves_nothing_and_works_again_when_it_is_on(
    platform: Project, name: str, before: set[tuple[str, ...]]
) -> None:
    switch, own = SWITCHES[name], platform.sections
    if switch.chart is not None and switch.chart not in own.get("charts", {}):
        pytest.skip(f"charts.{switch.chart} is not in the file: there is nothing to install")
    there = {section: {**own.get(section, {}), **keys} for section, keys in switch.there.items()}
    away = {section: dict(keys) for section, keys in switch.away.items()}
    if "ingress" in away:
        away["ingress"] |= {"address": own["ingress"]["address"]}
    kube.apply(switch.ahead)
    try:
        _configure(platform, own, there)
        platform.pulumi(*UP)
        _configure(platform, own, away)
        platform.pulumi(*UP)
        wait_for(lambda: _of(switch.word, before) == set(), f"nothing is left; {_of(switch.word, before)}", 2 * MINUTE)
        platform.pulumi(*UP, "--expect-no-changes")
        assert sql(platform, "portal", "SELECT current_user") == "portal"

        _configure(platform, own, there)
        platform.pulumi(*UP)
        platform.pulumi(*UP, "--expect-no-changes")
    finally:
        _configure(platform, own)
        platform.pulumi(*UP)
        for one in switch.ahead:
            kube.kubectl("delete", one["kind"], one["metadata"]["name"], "--ignore-not-found")
    test_up_ends_when_everything_runs(platform)
    test_the_edge_shows_hubs_their_wildcard_and_the_portal_its_own_certificate(platform)


@pytest.mark.parametrize("section", HELD)
def test_a_part_that_holds_data_does_not_go_by_a_switch(platform: Project, section: str) -> None:
    own = platform.sections
    others, secret = HELD[section]
    try:
        platform.configure(**{section: others})
        for key in secret:
            platform.pulumi("config", "set", "--secret", "--path", f"jhaas-platform:{section}.{key}", "of-the-trial")
        told = platform.pulumi("preview", fails=True)
        assert "protected" in told
        assert ("seal" if section == "database" else "PersistentVolumeClaim") in told
    finally:
        _configure(platform, own)
    platform.pulumi(*UP, "--expect-no-changes")


def test_a_destroy_that_does_not_say_so_takes_neither_database_nor_store(platform: Project) -> None:
    sql(platform, "portal_owner", "CREATE TABLE dear AS SELECT 'still here' AS said")
    told = platform.pulumi(*(one for one in DESTROY if one != "--ignore-protect"), fails=True)
    assert "protected" in told
    assert sql(platform, "portal_owner", "SELECT said FROM dear") == "still here"
    assert kube.show("persistentvolumeclaims", "-n", STORE)
    platform.pulumi(*UP)
    assert sql(platform, "portal_owner", "SELECT said FROM dear") == "still here"
    test_up_ends_when_everything_runs(platform)


def test_backups_go_on_when_they_were_switched_off_and_on_again(platform: Project) -> None:
    wait_for(backed_up, "the first backup is complete", 10 * MINUTE)
    kept = platform.sections.get("database", {})
    platform.configure(database={**kept, "backups": {"enabled": False}})
    platform.pulumi(*UP)
    # the server starts anew, without the plugin beside it
    wait_for(lambda: _server() == ["postgres"], "the server is there again", 5 * MINUTE)
    assert kube.show("scheduledbackups.postgresql.cnpg.io", "-n", DATABASE) == []
    platform.pulumi(*UP, "--expect-no-changes")
    assert sql(platform, "portal", "SELECT current_user") == "portal"

    platform.configure(database=kept)
    platform.pulumi(*UP)
    wait_for(lambda: _server() == ["plugin-barman-cloud", "postgres"], "the server is there again", 5 * MINUTE)
    platform.pulumi(*UP, "--expect-no-changes")
    archive(platform)
    # the first that is scheduled comes while the server starts anew, and may fail: one by hand, as the guide says
    kube.kubectl("delete", "backups.postgresql.cnpg.io", "--all", "-n", DATABASE)
    kube.apply([BY_HAND])
    wait_for(backed_up, "there is a backup of the time after", 10 * MINUTE)


def test_a_store_that_is_away_is_told_by_the_numbers_that_alerts_ask_for(platform: Project) -> None:
    import monitoring_rules

    asked = {
        name
        for group in monitoring_rules.rules()
        for rule in group["rules"]
        for name in re.findall(r"\b(?:cnpg|barman)_\w+", rule["expr"])
    }
    assert asked
    assert asked <= _numbers(platform).keys()

    def fails() -> bool:
        told = _numbers(platform)
        return told["cnpg_pg_stat_archiver_last_failed_time"] > told["cnpg_pg_stat_archiver_last_archived_time"]

    assert not fails()
    kube.kubectl("scale", "statefulset/silo", "--replicas=0", "-n", STORE)
    try:
        sql(platform, "postgres", "SELECT pg_switch_wal()")
        wait_for(fails, "what was written cannot be backed up", 10 * MINUTE)
    finally:
        kube.kubectl("scale", "statefulset/silo", "--replicas=1", "-n", STORE)
    wait_for(lambda: not fails(), "it is backed up", 10 * MINUTE)


def test_secrets_that_were_deleted_in_the_cluster_come_back_the_same(platform: Project) -> None:
    kept = kube.secret(PORTAL, "portal-worker")
    kube.kubectl("delete", "secret", "portal-worker", "-n", PORTAL)
    platform.pulumi(*UP, "--refresh")
    assert kube.secret(PORTAL, "portal-worker") == kept
    platform.pulumi(*UP, "--expect-no-changes")


def test_a_password_is_replaced_as_the_guide_says(platform: Project) -> None:
    old = kube.secret(DATABASE, "role-portal")["password"]
    platform.pulumi(*UP, "--replace", _urn(platform, "database-portal"))
    assert kube.secret(DATABASE, "role-portal")["password"] != old
    assert sql(platform, "portal", "SELECT current_user") == "portal"
    test_up_ends_when_everything_runs(platform)


def test_the_stacks_passphrase_is_changed_as_the_guide_says(platform: Project) -> None:
    old, new = platform.passphrase, secrets.token_hex(8)
    platform.pulumi("stack", "change-secrets-provider", "passphrase", stdin=f"{new}\n")
    assert "incorrect passphrase" in platform.pulumi("preview", fails=True)
    platform.passphrase = new
    platform.pulumi(*UP, "--expect-no-changes")
    assert old != new


def test_the_passphrase_of_the_courses_changes_only_when_it_is_said_and_reaches_workers_last(platform: Project) -> None:
    old = kube.secret(PORTAL, "portal-worker")["state-passphrase"]
    urn = _urn(platform, "portal-state-passphrase")
    assert "marked for protection" in platform.pulumi(*UP, "--replace", urn, fails=True)
    platform.pulumi(*UP, "--ignore-protect", "--target-replace", urn)
    assert kube.secret(PORTAL, "portal-worker")["state-passphrase"] == old
    platform.pulumi(*UP)
    assert kube.secret(PORTAL, "portal-worker")["state-passphrase"] != old
    test_up_ends_when_everything_runs(platform)


def test_a_state_that_was_emptied_is_brought_back_as_the_guide_says(platform: Project) -> None:
    line = re.search(r"\$ (kubectl exec -n jhaas-object-storage .* mc cp (?:.*\\\n)*.*)", GUIDE)
    assert line
    client = f"{line[1].partition(' mc cp ')[0]} mc {{}}'".replace("kubectl exec", "kubectl exec -i").format
    platform.bash(client("pipe store/jhaas-state/.pulumi/stacks/jhaas-course/one.json"), stdin="all of it")
    moment = datetime.now(UTC) + timedelta(seconds=1)
    wait_for(lambda: datetime.now(UTC) > moment, "the moment is over", MINUTE)
    platform.bash(client("rm --recursive --force store/jhaas-state/.pulumi/"))
    assert "one.json" not in platform.bash(client("ls --recursive store/jhaas-state/"))
    platform.bash(line[1].replace("2026-11-22T10:30:00Z", f"{moment:%Y-%m-%dT%H:%M:%SZ}"))
    assert platform.bash(client("cat store/jhaas-state/.pulumi/stacks/jhaas-course/one.json")) == "all of it"


def test_a_restore_brings_back_what_was_deleted(platform: Project) -> None:
    wait_for(backed_up, "the first backup is complete", 10 * MINUTE)
    sql(platform, "portal_owner", "CREATE TABLE kept AS SELECT 'until then' AS said")
    # a moment is a whole second: the next one
    moment = sql(
        platform,
        "portal_owner",
        "SELECT to_char(clock_timestamp() + interval '1 second', 'YYYY-MM-DD\"T\"HH24:MI:SSTZH:TZM')",
    )
    sql(platform, "portal_owner", "SELECT pg_sleep(2)")
    sql(platform, "portal_owner", "DROP TABLE kept")
    archive(platform)

    kube.kubectl("scale", "deployment", "--all", "--replicas=0", "-n", "jhaas-portal")
    kept = platform.sections.get("database", {})
    platform.configure(database={**kept, "generation": 2, "restore": {"generation": 1, "until": moment}})
    platform.pulumi(*UP)

    assert sql(platform, "portal_owner", "SELECT said FROM kept") == "until then"
    assert sql(platform, "portal", "SELECT current_user") == "portal"
    platform.pulumi(*UP, "--expect-no-changes")
    test_up_ends_when_everything_runs(platform)
    # the new server's own backups are the next way back
    wait_for(backed_up, "the first backup of the new server is complete", 10 * MINUTE)


def test_destroy_leaves_nothing_but_definitions(platform: Project, before: set[tuple[str, ...]]) -> None:
    platform.pulumi(*DESTROY)
    wait_for(lambda: left(before) == set(), f"nothing is left; {sorted(left(before))}", 2 * MINUTE)


def _configure(platform: Project, own: Sections, changes: Sections | None = None) -> None:
    """Nothing but these sections, with the changes in their place."""
    platform.sections = own
    platform.configure(**(changes or {}))


def _of(word: str, before: set[tuple[str, ...]]) -> set[tuple[str, ...]]:
    """What there is with this word in its name or its namespace's, beside definitions."""
    return {one for one in left(before) if word in one[1] or word in one[2]}


def _server() -> list[str]:
    """The containers that are ready in the database's pods."""
    statuses = [
        one["status"] for one in kube.show("pods", "-n", DATABASE) if "deletionTimestamp" not in one["metadata"]
    ]
    # the plugin's counts as one of those that start before
    kinds = ("initContainerStatuses", "containerStatuses")
    containers = [one for status in statuses for kind in kinds for one in status.get(kind, [])]
    return sorted(one["name"] for one in containers if one["ready"] and "running" in one["state"])


def _numbers(platform: Project) -> dict[str, float]:
    """What the server tells Prometheus; of numbers with labels, one of them."""
    pod = f"postgres-{platform.sections.get('database', {}).get('generation', 1)}-1"
    told = kube.kubectl("get", "--raw", f"/api/v1/namespaces/{DATABASE}/pods/{pod}:9187/proxy/metrics")
    lines = (line.rpartition(" ") for line in told.splitlines() if not line.startswith("#"))
    return {name.partition("{")[0]: float(value) for name, _, value in lines}


def _urn(platform: Project, name: str) -> str:
    (urn,) = re.findall(rf"URN: (\S+::{name})\s", platform.pulumi("stack", "--show-urns"))
    return str(urn)
