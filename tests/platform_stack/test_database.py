"""Postgres in the cluster: who owns what, who gets in, what is backed up, and how it comes back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.platform_stack import switches
from tests.platform_stack.conftest import Rehearse, sections
from tests.support import network
from tests.support.network import Outside, Pod

if TYPE_CHECKING:
    from rehearsal import Made, Rehearsal

NAMESPACE = "jhaas-database"


@pytest.fixture(scope="module")
def made(rehearse: Rehearse) -> Rehearsal:
    return rehearse()


def one(made: Rehearsal, kind: str, name: str) -> Made:
    (found,) = [each for each in made.objects if (each.inputs["kind"], each.inputs["metadata"]["name"]) == (kind, name)]
    return found


def spec(made: Rehearsal, kind: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = one(made, kind, name).inputs["spec"]
    return found


def test_the_portal_has_a_role_that_owns_its_tables_and_one_that_does_not(made: Rehearsal) -> None:
    first = spec(made, "Cluster", "postgres-1")["bootstrap"]["initdb"]
    assert (first["database"], first["owner"], first["encoding"]) == ("portal", "portal_owner", "UTF8")
    role = spec(made, "DatabaseRole", "postgres-1-portal")
    assert role["name"] == "portal"
    assert not role.keys() & {"superuser", "createdb", "createrole", "inRoles", "bypassrls", "replication"}


def test_each_role_gets_into_its_own_database_alone_and_by_tls(made: Rehearsal) -> None:
    lines = spec(made, "Cluster", "postgres-1")["postgresql"]["pg_hba"]
    assert lines == [
        "hostssl portal portal,portal_owner all scram-sha-256",
        "hostssl authentik authentik all scram-sha-256",
        "host all all all reject",
    ]


def test_nobody_has_the_superusers_password(made: Rehearsal) -> None:
    assert spec(made, "Cluster", "postgres-1")["enableSuperuserAccess"] is False


def test_a_server_that_starts_anew_does_not_wait_for_clients_that_never_leave(made: Rehearsal) -> None:
    assert 0 < spec(made, "Cluster", "postgres-1")["smartShutdownTimeout"] < 30


def test_passwords_are_read_anew_when_they_change(made: Rehearsal) -> None:
    secrets = [
        each.inputs for each in made.of("core/v1:Secret") if each.inputs.get("type") == "kubernetes.io/basic-auth"
    ]
    assert {each["stringData"]["username"] for each in secrets} == {"portal", "portal_owner", "authentik"}
    assert len({each["stringData"]["password"] for each in secrets}) == 3
    for each in secrets:
        assert each["metadata"]["labels"]["cnpg.io/reload"] == "true"


def test_what_comes_after_waits_for_the_server_its_roles_and_databases(made: Rehearsal) -> None:
    cluster, role = one(made, "Cluster", "postgres-1"), one(made, "DatabaseRole", "postgres-1-authentik")
    database = one(made, "Database", "postgres-1-authentik")
    assert cluster.inputs["metadata"]["annotations"]["pulumi.com/waitFor"] == "condition=Ready"
    for each in (role, database):
        assert each.inputs["metadata"]["annotations"]["pulumi.com/waitFor"] == "jsonpath={.status.applied}=true"
    assert cluster.urn in made.before(role)
    assert role.urn in made.before(database)


def test_the_servers_certificate_is_for_the_name_that_clients_are_told(made: Rehearsal) -> None:
    certificate = spec(made, "Certificate", "postgres-1-tls")
    assert "postgres-1-rw.jhaas-database.svc" in certificate["dnsNames"]
    own = spec(made, "Cluster", "postgres-1")["certificates"]
    assert own["serverTLSSecret"] == certificate["secretName"]
    assert own["serverCASecret"] == spec(made, "Certificate", "postgres-authority")["secretName"]
    # whoever was told the authority's certificate need not be told another one for years
    assert spec(made, "Certificate", "postgres-authority")["privateKey"]["rotationPolicy"] == "Never"
    assert spec(made, "Certificate", "postgres-authority")["duration"] == "87600h0m0s"


def test_one_server_can_leave_its_node_and_three_keep_one(rehearse: Rehearse, made: Rehearsal) -> None:
    assert spec(made, "Cluster", "postgres-1")["enablePDB"] is False
    assert spec(rehearse(database={"instances": 3}), "Cluster", "postgres-1")["enablePDB"] is True


def test_portal_and_identity_get_in_and_notebooks_do_not(made: Rehearsal) -> None:
    policies = [each.inputs for each in made.of("NetworkPolicy")]
    server = Pod(NAMESPACE, {"cnpg.io/cluster": "postgres-1"})
    # what lets others out is theirs
    policies = [each for each in policies if each["metadata"]["namespace"] == NAMESPACE]
    for namespace in ("jhaas-portal", "jhaas-identity", "cnpg-system", NAMESPACE):
        assert network.allowed(policies, Pod(namespace, {}), server, 5432), namespace
    for namespace in ("jhaas-python", "default"):
        assert not network.allowed(policies, Pod(namespace, {"component": "singleuser-server"}), server, 5432)
    assert not network.allowed(policies, Outside("192.0.2.9"), server, 5432)
    assert network.allowed(policies, Pod("cnpg-system", {}), server, 8000)
    assert not network.allowed(policies, Pod("jhaas-portal", {}), server, 8000)


def test_backups_go_to_their_bucket_with_a_key_for_it_and_begin_at_once(made: Rehearsal) -> None:
    store = spec(made, "ObjectStore", "backups")
    assert store["configuration"]["destinationPath"] == "s3://jhaas-backups/"
    assert store["retentionPolicy"] == "30d"
    key = one(made, "Secret", "backup-key").inputs["stringData"]
    assert key["access_key_id"] == "jhaas-backups"
    variables = {each["name"]: each["value"] for each in store["instanceSidecarConfiguration"]["env"]}
    assert variables["AWS_REQUEST_CHECKSUM_CALCULATION"] == "when_required"
    assert variables["AWS_RESPONSE_CHECKSUM_VALIDATION"] == "when_required"
    schedule = spec(made, "ScheduledBackup", "postgres-1")
    assert (schedule["immediate"], schedule["method"]) == (True, "plugin")
    (archive,) = spec(made, "Cluster", "postgres-1")["plugins"]
    assert archive["isWALArchiver"] is True
    assert archive["parameters"] == {"barmanObjectName": "backups", "serverName": "postgres-1"}
    cluster = one(made, "Cluster", "postgres-1")
    (setup,) = [each for each in made.of("batch/v1:Job") if each.inputs["metadata"]["name"] == "setup"]
    # the bucket is there before anything is archived to it
    assert {setup.urn, made.named("plugin-barman-cloud").urn} <= made.before(cluster)


def test_backups_that_are_switched_off_keep_the_way_for_the_last_changes(rehearse: Rehearse) -> None:
    """The server that ran with them ends only when its last changes are in the bucket."""
    made = rehearse(database={"backups": {"enabled": False}})
    assert "plugins" not in spec(made, "Cluster", "postgres-1")
    assert made.of("ScheduledBackup") == []
    assert len(made.of("ObjectStore")) == 1
    assert one(made, "Secret", "backup-key")
    assert made.named("plugin-barman-cloud")


def test_without_a_bucket_for_backups_neither_plugin_nor_store_is_waited_for(rehearse: Rehearse) -> None:
    given = switches.SWITCHES["object_storage"]["external"]["object_storage"]
    store = {name: key for name, key in given.items() if name != "backups"}
    made = rehearse(object_storage=store, database={"backups": {"enabled": False}})
    assert not [each for each in made.of("Release") if each.name == "plugin-barman-cloud"]
    assert made.of("ObjectStore") == made.of("ScheduledBackup") == []
    assert "plugins" not in spec(made, "Cluster", "postgres-1")


def test_a_restore_is_a_new_server_that_reads_the_old_ones_backups_and_writes_its_own(rehearse: Rehearse) -> None:
    moment = "2026-11-22T10:30:00+01:00"
    made = rehearse(database={"generation": 2, "restore": {"generation": 1, "until": moment}})
    cluster = spec(made, "Cluster", "postgres-2")
    recovery = cluster["bootstrap"]["recovery"]
    assert recovery["source"] == "postgres-1"
    assert recovery["recoveryTarget"] == {"targetTime": moment}
    # its owner gets the password that this stack knows
    assert (recovery["database"], recovery["owner"]) == ("portal", "portal_owner")
    assert recovery["secret"] == {"name": "role-portal-owner"}
    (source,) = cluster["externalClusters"]
    assert source["name"] == "postgres-1"
    assert source["plugin"]["parameters"] == {"barmanObjectName": "backups", "serverName": "postgres-1"}
    assert cluster["plugins"][0]["parameters"]["serverName"] == "postgres-2"
    assert not [each for each in made.objects if each.inputs["metadata"]["name"].startswith("postgres-1")]


@pytest.mark.parametrize(
    ("database", "told"),
    [
        ({"restore": {"generation": 1}}, "generation must be greater than restore.generation (1)"),
        ({"generation": 2, "restore": {"generation": 1}, "backups": {"enabled": False}}, "backups.enabled is needed"),
        ({"generation": 2, "restore": {"generation": 1, "until": "yesterday"}}, "database.restore.until"),
    ],
)
def test_a_restore_that_cannot_work_is_refused(database: dict[str, Any], told: str) -> None:
    from stack_file import ConfigError, parsed

    with pytest.raises(ConfigError) as refused:
        parsed(sections(database=database))
    assert told in str(refused.value)


def test_an_operator_that_is_there_is_not_installed_again(rehearse: Rehearse) -> None:
    made = rehearse(database={"install_operator": False, "operator_namespace": "postgres-operator"})
    assert {"cloudnative-pg", "plugin-barman-cloud"}.isdisjoint(each.name for each in made.of("Release"))
    policies = [each.inputs for each in made.of("NetworkPolicy")]
    assert network.allowed(policies, Pod("postgres-operator", {}), Pod(NAMESPACE, {}), 8000)


def test_a_server_of_the_sites_is_used_and_nothing_is_made(rehearse: Rehearse) -> None:
    made = rehearse(**switches.SWITCHES["database"]["external"])
    assert not [each for each in made.objects if each.inputs["metadata"].get("namespace") == NAMESPACE]
    assert "cloudnative-pg" not in {each.name for each in made.of("Release")}


@pytest.mark.parametrize(("size", "buffers"), [("512Mi", "128MB"), ("1Gi", "256MB"), ("1Ti", "262144MB")])
def test_a_quarter_of_the_memory_is_for_pages(rehearse: Rehearse, size: str, buffers: str) -> None:
    parameters = spec(rehearse(database={"memory": size}), "Cluster", "postgres-1")["postgresql"]["parameters"]
    assert parameters["shared_buffers"] == buffers


def test_passwords_need_no_quoting_in_an_address(made: Rehearsal) -> None:
    passwords = [
        each.inputs for each in made.made if each.type.startswith("random:") and each.name.startswith("database-")
    ]
    assert len(passwords) == 3
    assert {each["special"] for each in passwords} == {False}
    assert min(each["length"] for each in passwords) >= 32


def test_whoever_takes_the_servers_away_is_stopped_before_they_go_and_a_restore_is_not(
    made: Rehearsal, rehearse: Rehearse
) -> None:
    restored = rehearse(database={"generation": 2, "restore": {"generation": 1}})
    seals = []
    for one_of_them, servers in ((made, "postgres-1"), (restored, "postgres-2")):
        seal = one(one_of_them, "ConfigMap", "seal")
        assert seal.is_kept
        # what stands on something is deleted before it
        assert one(one_of_them, "Cluster", servers).urn in seal.after
        assert not one(one_of_them, "Cluster", servers).is_kept
        seals.append(seal.urn)
    assert seals[0] == seals[1]
