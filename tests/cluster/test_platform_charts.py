"""The whole platform with its real charts, by the Pulumi CLI: from an empty cluster to a restored database, and gone.

JHAAS_TEST_PLATFORM names the file of a stack as an operator writes one, for a cluster without a platform ("Trials on a
cluster" in docs/developing.md).
"""

from __future__ import annotations

import base64
import socket
import ssl
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster import kube
from tests.cluster.platform_project import DESTROY, UP, Project
from tests.cluster.test_by_hand import MISSING
from tests.support.waiting import wait_for

pytestmark = [
    pytest.mark.cluster,
    # images are fetched, servers started, and a database is read back
    pytest.mark.timeout(2 * 60 * 60),
    pytest.mark.skipif(bool(MISSING), reason=f"not on PATH: {', '.join(MISSING)}"),
]

MINUTE = 60
PASSING = {
    "events",
    "events.events.k8s.io",
    "leases.coordination.k8s.io",
    "endpointslices.discovery.k8s.io",
    "endpoints",
}
"""Kinds of objects that come and go by themselves."""
DEFINITIONS = {"CustomResourceDefinition", "APIService"}
"""Kinds of what stays: docs/platform.md says so, and how to take it away."""
DATABASE = "jhaas-database"


@pytest.fixture(scope="module")
def before(platform_file: dict[str, Any]) -> set[tuple[str, ...]]:
    """What the cluster has without a platform."""
    found = everything()
    assert ("Namespace", "<none>", "jhaas-portal") not in found, (
        "this cluster has a platform, which the trial would take"
    )
    return found


@pytest.fixture(scope="module")
def platform(
    platform_file: dict[str, Any], before: set[tuple[str, ...]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Project]:
    """The platform, as one `up` from nothing made it."""
    sections = {name.removeprefix("jhaas-platform:"): keys for name, keys in platform_file["config"].items()}
    folder = tmp_path_factory.mktemp("platform")
    project = Project(folder, sections, closed=platform_file.get("secrets"), seconds=30 * MINUTE)
    try:
        project.pulumi(*UP)
        yield project
    finally:
        project.pulumi(*DESTROY)


def everything() -> set[tuple[str, ...]]:
    """Kind, namespace and name of every object that does not pass by itself."""
    kinds = kube.kubectl("api-resources", "--verbs=list,delete", "--output=name").split()
    columns = "KIND:.kind,NAMESPACE:.metadata.namespace,NAME:.metadata.name"
    listed = kube.kubectl(
        *("get", ",".join(kind for kind in kinds if kind not in PASSING), "--all-namespaces"),
        *("--ignore-not-found", "--no-headers", f"--output=custom-columns={columns}"),
    )
    return {tuple(line.split()) for line in listed.splitlines()}


def test_a_second_up_changes_nothing(platform: Project) -> None:
    platform.pulumi(*UP, "--expect-no-changes")


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
    trusting = ssl.create_default_context(cadata=_secret("cert-manager", "jhaas-authority")["tls.crt"])
    for host in (f"some-course.{site['hub_domain']}", site["portal_host"]):
        # refused where the certificate is another host's, or of another authority
        with socket.create_connection((address, 443), 10) as way, trusting.wrap_socket(way, server_hostname=host):
            pass


def test_each_role_gets_into_its_own_database_and_the_portals_changes_no_table(platform: Project) -> None:
    assert _sql(platform, "portal", "SELECT current_user") == "portal"
    assert _sql(platform, "portal_owner", "SELECT current_user") == "portal_owner"
    with pytest.raises(kube.CommandFailed, match=r"pg_hba\.conf rejects connection"):
        _sql(platform, "portal", "SELECT 1", database="postgres")
    with pytest.raises(kube.CommandFailed, match="permission denied"):
        _sql(platform, "portal", "CREATE TABLE not_mine (id int)")


def test_a_restore_brings_back_what_was_deleted(platform: Project) -> None:
    wait_for(_backed_up, "the first backup is complete", 10 * MINUTE)
    _sql(platform, "portal_owner", "CREATE TABLE kept AS SELECT 'until then' AS said")
    # a moment is a whole second: the next one
    moment = _sql(
        platform,
        "portal_owner",
        "SELECT to_char(clock_timestamp() + interval '1 second', 'YYYY-MM-DD\"T\"HH24:MI:SSTZH:TZM')",
    )
    _sql(platform, "portal_owner", "SELECT pg_sleep(2)")
    _sql(platform, "portal_owner", "DROP TABLE kept")
    written = _sql(platform, "postgres", "SELECT pg_walfile_name(pg_switch_wal())")
    wait_for(
        lambda: _sql(platform, "postgres", f"SELECT last_archived_wal >= '{written}' FROM pg_stat_archiver") == "t",
        "what was written is backed up",
        5 * MINUTE,
    )

    kube.kubectl("scale", "deployment", "--all", "--replicas=0", "-n", "jhaas-portal")
    kept = platform.sections.get("database", {})
    platform.configure(database={**kept, "generation": 2, "restore": {"generation": 1, "until": moment}})
    platform.pulumi(*UP)

    assert _sql(platform, "portal_owner", "SELECT said FROM kept") == "until then"
    assert _sql(platform, "portal", "SELECT current_user") == "portal"
    platform.pulumi(*UP, "--expect-no-changes")
    test_up_ends_when_everything_runs(platform)
    # the new server's own backups are the next way back
    wait_for(_backed_up, "the first backup of the new server is complete", 10 * MINUTE)


def test_destroy_leaves_nothing_but_definitions(platform: Project, before: set[tuple[str, ...]]) -> None:
    platform.pulumi(*DESTROY)
    wait_for(lambda: _left(before) == set(), f"nothing is left; {sorted(_left(before))}", 2 * MINUTE)


def _left(before: set[tuple[str, ...]]) -> set[tuple[str, ...]]:
    return {one for one in everything() - before if one[0] not in DEFINITIONS}


def _backed_up() -> bool:
    backups = kube.show("backups.postgresql.cnpg.io", "-n", DATABASE)
    return bool(backups) and all(one.get("status", {}).get("phase") == "completed" for one in backups)


def _sql(platform: Project, role: str, statement: str, *, database: str = "portal") -> str:
    """What the server answers to a role that signs in as clients do (`postgres`: as the operator does)."""
    server = f"postgres-{platform.sections.get('database', {}).get('generation', 1)}"
    way = f"dbname={database}"
    if role != "postgres":
        host = f"host={server}-rw.{DATABASE}.svc sslmode=verify-full sslrootcert=/controller/certificates/server-ca.crt"
        way = f"{way} user={role} {host}"
    password = _secret(DATABASE, f"role-{role.replace('_', '-')}")["password"] if role != "postgres" else ""
    answer = kube.kubectl(
        *("exec", "-i", "-n", DATABASE, f"{server}-1", "-c", "postgres", "--"),
        *("sh", "-c", 'read -r PGPASSWORD; export PGPASSWORD; exec psql -X -q -A -t -v ON_ERROR_STOP=1 "$0" -c "$1"'),
        *(way, statement),
        stdin=f"{password}\n",
    )
    return answer.strip()


def _secret(namespace: str, name: str) -> dict[str, str]:
    (found,) = [one for one in kube.show("secrets", "-n", namespace) if one["metadata"]["name"] == name]
    return {key: base64.b64decode(value).decode() for key, value in found["data"].items()}
