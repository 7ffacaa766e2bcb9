"""The S3 store: a key for each use, an administrator that nobody else is, what is deleted and for how long it is kept.

What the setup Job does to a server is tried on a real one in tests/course_stack/object_store/test_minio.py.
"""

from __future__ import annotations

import json
import subprocess
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import pytest

from course_stack.names import CourseNames
from tests.platform_stack import switches
from tests.platform_stack.conftest import Rehearse, sections
from tests.support import network
from tests.support.network import Outside, Pod

if TYPE_CHECKING:
    from rehearsal import Made, Rehearsal

NAMESPACE = "jhaas-object-storage"
BUCKETS = ("jhaas-state", "jhaas-archives", "jhaas-backups")


@pytest.fixture(scope="module")
def made(rehearse: Rehearse) -> Rehearsal:
    return rehearse()


def one(made: Rehearsal, kind: str, name: str) -> Made:
    (found,) = [each for each in made.objects if each.inputs["kind"] == kind and each.name == f"{NAMESPACE}/{name}"]
    return found


def files(made: Rehearsal) -> dict[str, str]:
    found: dict[str, str] = one(made, "ConfigMap", "setup").inputs["data"]
    return found


def allows(policy: dict[str, Any], action: str, resource: str) -> bool:
    """What IAM would say: one that denies wins, and without one that allows it is a no."""
    matching = {
        statement["Effect"]
        for statement in policy["Statement"]
        if any(fnmatchcase(action, one) for one in statement["Action"])
        and any(fnmatchcase(resource, one) for one in statement["Resource"])
    }
    return matching == {"Allow"}


def policies(made: Rehearsal) -> dict[str, dict[str, Any]]:
    found = files(made)
    return {use: json.loads(found[f"{use}.policy.json"]) for use in ("state", "archives", "backups", "courses")}


@pytest.mark.parametrize("use", ["state", "archives", "backups"])
def test_a_key_reads_and_writes_its_own_bucket_and_no_other(made: Rehearsal, use: str) -> None:
    policy = policies(made)[use]
    for action in ("GetObject", "PutObject", "DeleteObject"):
        opened = {
            name for name in (*BUCKETS, "jhaas-python") if allows(policy, f"s3:{action}", f"arn:aws:s3:::{name}/x")
        }
        assert opened == {f"jhaas-{use}"}
    # what it deletes stays as an old version; its rules are not its own
    for action in ("DeleteObjectVersion", "PutLifecycleConfiguration", "PutBucketVersioning", "PutBucketPolicy"):
        assert not allows(policy, f"s3:{action}", f"arn:aws:s3:::jhaas-{use}")
        assert not allows(policy, f"s3:{action}", f"arn:aws:s3:::jhaas-{use}/x")


def test_the_key_of_courses_makes_their_buckets_and_opens_none_of_the_platforms(made: Rehearsal) -> None:
    policy = policies(made)["courses"]
    bucket = f"arn:aws:s3:::{CourseNames('python').bucket}"
    for action in ("CreateBucket", "DeleteBucket", "ListBucket", "ListBucketVersions"):
        assert allows(policy, f"s3:{action}", bucket)
    for action in ("GetObject", "PutObject", "DeleteObject", "DeleteObjectVersion"):
        assert allows(policy, f"s3:{action}", f"{bucket}/x")
    for name in BUCKETS:
        for action in ("ListBucket", "DeleteBucket", "CreateBucket"):
            assert not allows(policy, f"s3:{action}", f"arn:aws:s3:::{name}")
    for name in ("jhaas-state", "jhaas-backups"):
        assert not allows(policy, "s3:GetObject", f"arn:aws:s3:::{name}/x")
    # a course's Jobs get keys for its own archives of it, and it can give no more than it has
    assert allows(policy, "s3:PutObject", "arn:aws:s3:::jhaas-archives/course/home.tar.zst")
    assert not allows(policy, "s3:DeleteObjectVersion", "arn:aws:s3:::jhaas-archives/course/home.tar.zst")
    assert not allows(policy, "s3:PutBucketPolicy", bucket)


def test_buckets_of_other_names_are_out_of_reach_as_well(rehearse: Rehearse) -> None:
    names = {"state_bucket": "uni-state", "archives_bucket": "jhaas-homes", "backups_bucket": "uni-backups"}
    made = rehearse(object_storage=names)
    assert files(made)["buckets"] == "uni-state yes\njhaas-homes yes\nuni-backups no\n"
    policy = policies(made)["courses"]
    assert not allows(policy, "s3:ListBucket", "arn:aws:s3:::jhaas-homes")
    assert allows(policies(made)["archives"], "s3:ListBucket", "arn:aws:s3:::jhaas-homes")


def test_two_uses_of_one_bucket_are_refused() -> None:
    from stack_file import ConfigError, parsed

    with pytest.raises(ConfigError, match="must differ"):
        parsed(sections(object_storage={"archives_bucket": "jhaas-state"}))


def test_only_server_and_setup_know_the_administrator(made: Rehearsal) -> None:
    users = [
        each.name
        for each in made.objects
        if each.inputs["metadata"].get("namespace") == NAMESPACE and '"secretName": "root"' in json.dumps(each.inputs)
    ]
    assert sorted(users) == [f"{NAMESPACE}/setup", f"{NAMESPACE}/silo"]
    (password,) = [each for each in made.made if each.name == "object-storage-root"]
    shown = f"[secret: {password.name}]"
    holding = [each.name for each in made.objects if shown in json.dumps(each.inputs)]
    assert holding == [f"{NAMESPACE}/root"]


def test_the_server_runs_without_pages_and_writes_to_its_disk_alone(made: Rehearsal) -> None:
    pod = one(made, "StatefulSet", "silo").inputs["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["args"] == ["server", "/data", "--address", ":9000"]
    environment = {each["name"]: each["value"] for each in container["env"]}
    assert environment["MINIO_BROWSER"] == "off"
    assert environment["MINIO_ROOT_PASSWORD_FILE"] == "/run/jhaas/root/password"
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert pod["automountServiceAccountToken"] is False


def test_buckets_and_keys_are_made_once_the_server_answers_and_before_anybody_uses_them(made: Rehearsal) -> None:
    job, server = one(made, "Job", "setup"), one(made, "StatefulSet", "silo")
    assert server.urn in made.before(job)
    for secret in ("root", "keys"):
        assert one(made, "Secret", secret).urn in made.before(server)
    (cluster,) = [each for each in made.objects if each.inputs["kind"] == "Cluster"]
    assert job.urn in made.before(cluster)


@pytest.mark.parametrize("changed", [{"deleted_days": 7}, {"history_days": 7}, {"backups_bucket": "other-backups"}])
def test_the_job_runs_again_when_what_it_makes_changes(
    rehearse: Rehearse, made: Rehearsal, changed: dict[str, Any]
) -> None:
    def annotations(found: Rehearsal) -> dict[str, str]:
        told: dict[str, str] = one(found, "Job", "setup").inputs["spec"]["template"]["metadata"]["annotations"]
        return told

    before, after = annotations(made), annotations(rehearse(object_storage=changed))
    assert before["jhaas.io/setup"] != after["jhaas.io/setup"]
    assert before["jhaas.io/keys"] == after["jhaas.io/keys"]


def test_what_is_deleted_stays_for_a_while_and_history_goes(made: Rehearsal) -> None:
    found = files(made)
    state = json.loads(found["jhaas-state.lifecycle.json"])["Rules"]
    assert state[0]["NoncurrentVersionExpiration"] == {"NoncurrentDays": 30}
    gone = {rule["Filter"]["Prefix"]: rule["Expiration"].get("Days") for rule in state[1:]}
    assert gone == {".pulumi/history/": 180, ".pulumi/backups/": 180}
    # a stack's state itself, and its locks, are never taken away by age
    assert not [rule for rule in state if "Days" in rule["Expiration"] and rule["Filter"]["Prefix"] == ""]
    archives = json.loads(found["jhaas-archives.lifecycle.json"])["Rules"]
    assert [rule["Expiration"] for rule in archives] == [{"ExpiredObjectDeleteMarker": True}]
    # Barman takes away its own
    assert "jhaas-backups.lifecycle.json" not in found


def test_portal_database_and_of_courses_jobs_and_notebooks_get_in_and_hubs_do_not(made: Rehearsal) -> None:
    policies = [each.inputs for each in made.of("NetworkPolicy") if each.inputs["metadata"]["namespace"] == NAMESPACE]
    server = Pod(NAMESPACE, {"app.kubernetes.io/name": "silo"})
    for source in (
        Pod("jhaas-portal", {}),
        Pod("jhaas-database", {"cnpg.io/cluster": "postgres-1"}),
        Pod(NAMESPACE, {"app.kubernetes.io/name": "setup"}),
    ):
        assert network.allowed(policies, source, server, 9000), source
    for stranger in (Pod("jhaas-identity", {}), Pod("default", {"jhaas.io/job": "archive"}), Outside("192.0.2.9")):
        assert not network.allowed(policies, stranger, server, 9000), stranger
    (rule,) = [each["spec"]["ingress"][0] for each in policies if each["metadata"]["name"] == "silo"]
    courses = [peer for peer in rule["from"] if "namespaceSelector" in peer and "podSelector" in peer]
    assert courses == [
        {
            "namespaceSelector": {"matchExpressions": [{"key": "jhaas.io/course", "operator": "Exists"}]},
            "podSelector": {"matchExpressions": [{"key": "jhaas.io/job", "operator": "Exists"}]},
        },
        {
            "namespaceSelector": {"matchExpressions": [{"key": "jhaas.io/course", "operator": "Exists"}]},
            "podSelector": {"matchLabels": {"component": "singleuser-server"}},
        },
    ]


def test_labels_of_courses_are_those_that_the_course_stack_writes() -> None:
    from course_stack.kubernetes.names import COURSE_LABEL, JOB_LABEL, NOTEBOOK

    assert (COURSE_LABEL, JOB_LABEL) == ("jhaas.io/course", "jhaas.io/job")
    assert NOTEBOOK["component"] == "singleuser-server"


def test_the_script_is_one_that_a_shell_reads(made: Rehearsal) -> None:
    checked = subprocess.run(["sh", "-n"], input=files(made)["setup.sh"], text=True, capture_output=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")


def test_a_store_of_the_sites_is_used_and_nothing_is_made(rehearse: Rehearse) -> None:
    made = rehearse(**switches.SWITCHES["object_storage"]["external"])
    assert not [each for each in made.objects if each.inputs["metadata"].get("namespace") == NAMESPACE]
    (store,) = [each.inputs["spec"] for each in made.objects if each.inputs["kind"] == "ObjectStore"]
    assert store["configuration"]["endpointURL"] == "https://s3.example.org"


def test_the_disk_is_neither_deleted_nor_replaced_by_a_switch(rehearse: Rehearse) -> None:
    kept = {(one.inputs["kind"], one.inputs["metadata"]["namespace"]) for one in rehearse().objects if one.is_kept}
    assert ("PersistentVolumeClaim", NAMESPACE) in kept
