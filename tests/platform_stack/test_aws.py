"""What is made at AWS: closed buckets, keys that open what they must, a key service, Postgres. AWS is not asked."""

from __future__ import annotations

import json
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import pulumi
import pytest

from automation.settings import StateSettings
from course_stack.names import CourseNames
from tests.platform_stack import switches
from tests.platform_stack.conftest import Rehearse

if TYPE_CHECKING:
    from rehearsal import Made, Rehearsal

AWS = switches.AWS
STORE = switches.SWITCHES["object_storage"]["aws"]
RDS = switches.SWITCHES["database"]["rds"]
PROVIDER = "arn:aws:iam::123456789012:oidc-provider/oidc.eks.eu-central-1.amazonaws.com/id/EXAMPLE"


@pytest.fixture(scope="module")
def made(rehearse: Rehearse) -> Rehearsal:
    return rehearse(**STORE)


def of(made: Rehearsal, kind: str) -> dict[str, Made]:
    """Resources of this type, by name."""
    return {one.name: one for one in made.made if one.type.startswith("aws:") and one.type.endswith(f":{kind}")}


def allows(policies: list[dict[str, Any]], action: str, resource: str, **context: str) -> bool:
    """What IAM would say, with `StringEquals` as the only condition."""
    matching = {
        statement["Effect"]
        for policy in policies
        for statement in policy["Statement"]
        if any(fnmatchcase(action, one) for one in statement["Action"])
        and any(fnmatchcase(resource, one) for one in statement["Resource"])
        and all(
            context.get(key) == value for key, value in statement.get("Condition", {}).get("StringEquals", {}).items()
        )
    }
    return matching == {"Allow"}


def policies_of(made: Rehearsal, user: str) -> list[dict[str, Any]]:
    return [
        json.loads(one.inputs["policy"])
        for one in of(made, "UserPolicy").values()
        if one.inputs["user"] == f"{AWS['prefix']}-{user}"
    ]


def test_every_bucket_is_closed_encrypted_and_keeps_what_is_deleted(made: Rehearsal) -> None:
    buckets = set(of(made, "Bucket"))
    assert buckets == {"state", "archives", "backups"}
    for use in buckets:
        closed = of(made, "BucketPublicAccessBlock")[use].inputs
        keys = ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets")
        assert [closed[key] for key in keys] == [True] * 4
        assert of(made, "BucketServerSideEncryptionConfiguration")[use].inputs["rules"]
        assert of(made, "BucketVersioning")[use].inputs["versioningConfiguration"] == {"status": "Enabled"}
        tls = json.loads(of(made, "BucketPolicy")[use].inputs["policy"])["Statement"]
        assert [(one["Effect"], one["Condition"]) for one in tls] == [
            ("Deny", {"Bool": {"aws:SecureTransport": "false"}})
        ]
        # nobody loses archives by taking the platform away
        assert not of(made, "Bucket")[use].inputs.get("forceDestroy")


def test_history_of_stacks_goes_after_a_while_and_the_rest_when_it_was_deleted(made: Rehearsal) -> None:
    rules = {rule["id"]: rule for rule in of(made, "BucketLifecycleConfiguration")["state"].inputs["rules"]}
    assert rules["deleted"]["noncurrentVersionExpiration"] == {"noncurrentDays": 30}
    assert rules["history"]["filter"] == {"prefix": ".pulumi/history/"}
    assert rules["history"]["expiration"] == {"days": 180}
    assert rules["unfinished"]["abortIncompleteMultipartUpload"] == {"daysAfterInitiation": 7}
    assert "history" not in str(of(made, "BucketLifecycleConfiguration")["archives"].inputs["rules"])


@pytest.mark.parametrize("use", ["state", "archives", "backups"])
def test_a_user_opens_its_own_bucket_and_no_other(made: Rehearsal, use: str) -> None:
    policies = policies_of(made, use)
    for action in ("GetObject", "PutObject", "DeleteObject"):
        names = ("jhaas-state", "jhaas-archives", "jhaas-backups", "jhaas-python")
        assert {name for name in names if allows(policies, f"s3:{action}", f"arn:aws:s3:::{name}/x")} == {
            f"jhaas-{use}"
        }
    assert not allows(policies, "s3:DeleteObjectVersion", f"arn:aws:s3:::jhaas-{use}/x")


def test_the_states_user_alone_may_use_the_key_service(made: Rehearsal) -> None:
    (key,) = of(made, "Key").values()
    assert key.inputs["enableKeyRotation"] is True
    arn = "arn:aws:kms:eu-central-1:123456789012:key/courses"
    assert allows(policies_of(made, "state"), "kms:Decrypt", arn)
    assert not allows(policies_of(made, "archives"), "kms:Decrypt", arn)
    assert not allows(policies_of(made, "state"), "kms:ScheduleKeyDeletion", arn)


def test_the_key_services_address_is_one_that_the_state_takes() -> None:
    address = "awskms://courses?region=eu-central-1"
    assert StateSettings(url="s3://jhaas-state", secrets_provider=address).secrets_provider == address


def test_users_of_courses_are_made_within_the_boundary_and_the_platforms_own_are_out_of_reach(made: Rehearsal) -> None:
    (boundary,) = of(made, "Policy").values()
    bounded = {"iam:PermissionsBoundary": "arn:aws:iam::123456789012:policy/courses-boundary"}
    policies = policies_of(made, "courses")
    course = f"arn:aws:iam::*:user/{CourseNames('python').store_user}"
    for action in ("CreateUser", "PutUserPolicy"):
        assert allows(policies, f"iam:{action}", course, **bounded)
        assert not allows(policies, f"iam:{action}", course)
    for action in ("CreateAccessKey", "DeleteAccessKey", "ListAccessKeys", "ListUserPolicies", "DeleteUser"):
        assert allows(policies, f"iam:{action}", course)
    assert not allows(policies, "iam:DeleteUserPermissionsBoundary", course, **bounded)
    assert not allows(policies, "iam:AttachUserPolicy", course, **bounded)
    for user in of(made, "User").values():
        own = f"arn:aws:iam::*:user{user.inputs['path']}{user.inputs['name']}"
        assert not allows(policies, "iam:CreateAccessKey", own, **bounded)
    # even a prefix like that of courses' users changes nothing
    assert not allows(policies, "iam:CreateAccessKey", "arn:aws:iam::*:user/platform/jhaas-state")
    most = [json.loads(boundary.inputs["policy"])]
    assert allows(most, "s3:PutObject", "arn:aws:s3:::jhaas-python/x")
    assert not allows(most, "s3:GetObject", "arn:aws:s3:::jhaas-state/x")
    assert not allows(most, "s3:ListBucket", "arn:aws:s3:::jhaas-archives")
    assert not allows(most, "iam:CreateUser", course)


def test_in_eks_the_databases_pods_take_a_role_in_place_of_a_key(rehearse: Rehearse) -> None:
    made = rehearse(**{**STORE, "aws": {**AWS, "oidc_provider_arn": PROVIDER}})
    role = of(made, "Role")["backups"]
    (trust,) = json.loads(role.inputs["assumeRolePolicy"])["Statement"]
    issuer = "oidc.eks.eu-central-1.amazonaws.com/id/EXAMPLE"
    assert trust["Condition"]["StringLike"] == {f"{issuer}:sub": "system:serviceaccount:jhaas-database:postgres-*"}
    assert trust["Condition"]["StringEquals"] == {f"{issuer}:aud": "sts.amazonaws.com"}
    assert "backups" not in of(made, "AccessKey")
    (cluster,) = [one.inputs["spec"] for one in made.objects if one.inputs["kind"] == "Cluster"]
    annotations = cluster["serviceAccountTemplate"]["metadata"]["annotations"]
    assert annotations == {"eks.amazonaws.com/role-arn": "arn:aws:iam::123456789012:role/backups"}
    (store,) = [one.inputs["spec"] for one in made.objects if one.inputs["kind"] == "ObjectStore"]
    assert store["configuration"]["s3Credentials"] == {"inheritFromIAMRole": True}


def test_in_eks_workers_take_one_role_in_place_of_keys(rehearse: Rehearse) -> None:
    made = rehearse(**{**STORE, "aws": {**AWS, "oidc_provider_arn": PROVIDER}})
    assert of(made, "AccessKey") == of(made, "User") == {}
    (trust,) = json.loads(of(made, "Role")["workers"].inputs["assumeRolePolicy"])["Statement"]
    (subject,) = trust["Condition"]["StringLike"].values()
    accounts = {one.inputs["metadata"]["name"]: one for one in made.objects if one.inputs["kind"] == "ServiceAccount"}
    account = accounts["jhaas"].inputs["metadata"]
    assert subject == f"system:serviceaccount:{account['namespace']}:jhaas"
    assert account["annotations"] == {"eks.amazonaws.com/role-arn": "arn:aws:iam::123456789012:role/workers"}
    mine = [
        json.loads(one.inputs["policy"])
        for one in of(made, "RolePolicy").values()
        if one.inputs["role"] == "example-jhaas-workers"
    ]
    # what the keys of state, archives and courses open
    for action, resource in (
        ("s3:PutObject", "arn:aws:s3:::jhaas-state/x"),
        ("s3:PutObject", "arn:aws:s3:::jhaas-archives/x"),
        ("s3:CreateBucket", "arn:aws:s3:::jhaas-python"),
        ("kms:Decrypt", "arn:aws:kms:eu-central-1:123456789012:key/courses"),
        ("iam:ListUsers", "*"),
    ):
        assert any(allows([one], action, resource) for one in mine), action
    assert not any(allows([one], "s3:PutObject", "arn:aws:s3:::jhaas-backups/x") for one in mine)


def test_where_workers_take_a_role_no_key_is_written_down(rehearse: Rehearse) -> None:
    made = rehearse(**{**STORE, "aws": {**AWS, "oidc_provider_arn": PROVIDER}})
    held = [one.inputs for one in made.objects if one.inputs["kind"] == "Secret"]
    secrets = {one["metadata"]["name"]: one["stringData"] for one in held}
    assert set(secrets["portal-credentials"]) == {"identity.json"}
    assert not [key for key in secrets["portal-worker"] if key.startswith("state-")]
    (worker,) = [
        one.inputs["spec"]["template"]["spec"]["containers"][0]
        for one in made.objects
        if one.inputs["kind"] == "Deployment" and one.inputs["metadata"]["name"] == "portal-worker"
    ]
    told = {one["name"]: one["value"] for one in worker["env"]}
    state = StateSettings.of_environment({name: value for name, value in told.items() if "JHAAS_STATE" in name})
    assert state is not None
    assert state.access_key_id is None
    # and courses can run here all the same
    (targets,) = [one.inputs for one in made.objects if one.inputs["metadata"]["name"] == "portal-targets"]
    assert "kind: aws" in targets["data"]["cluster.yaml"]


def test_a_store_of_the_sites_own_at_aws_is_opened_by_a_role_as_well(rehearse: Rehearse) -> None:
    arn = "arn:aws:iam::123456789012:role/courses"
    store = {"kind": "external", "endpoint": "https://s3.eu-central-1.amazonaws.com", "key_api": "aws", "role_arn": arn}
    made = rehearse(object_storage=store, database={"backups": {"enabled": False}})
    (account,) = [
        one.inputs["metadata"]
        for one in made.objects
        if one.inputs["kind"] == "ServiceAccount" and one.inputs["metadata"]["name"] == "jhaas"
    ]
    assert account["annotations"] == {"eks.amazonaws.com/role-arn": arn}
    with pytest.raises(pulumi.RunError, match=r"object_storage.*state is needed: give its key"):
        rehearse(object_storage={**store, "role_arn": None}, database={"backups": {"enabled": False}})
    with pytest.raises(pulumi.RunError, match=r"role_arn is for key_api: aws only"):
        rehearse(object_storage={**store, "key_api": "minio"}, database={"backups": {"enabled": False}})


def test_without_a_database_here_there_is_no_bucket_for_its_backups(rehearse: Rehearse) -> None:
    made = rehearse(**{**STORE, **RDS})
    assert set(of(made, "Bucket")) == {"state", "archives"}
    assert "backups" not in of(made, "User")


@pytest.mark.parametrize(
    ("region", "world"), [("eu-central-1", "aws"), ("cn-north-1", "aws-cn"), ("us-gov-west-1", "aws-us-gov")]
)
def test_names_are_those_of_the_regions_world(rehearse: Rehearse, region: str, world: str) -> None:
    made = rehearse(**{**STORE, "aws": {**AWS, "region": region}})
    for policy in policies_of(made, "courses"):
        for statement in policy["Statement"]:
            assert all(one == "*" or one.startswith(f"arn:{world}:") for one in statement["Resource"])


def test_postgres_at_rds_is_encrypted_closed_backed_up_and_not_deleted_by_mistake(rehearse: Rehearse) -> None:
    made = rehearse(**RDS)
    server = of(made, "Instance")["postgres"]
    inputs = server.inputs
    assert (inputs["storageEncrypted"], inputs["publiclyAccessible"], inputs["multiAz"]) == (True, False, True)
    assert (inputs["backupRetentionPeriod"], inputs["deletionProtection"]) == (30, True)
    assert (inputs["skipFinalSnapshot"], inputs["finalSnapshotIdentifier"]) == (False, "example-jhaas-postgres-last")
    assert "password" in server.secrets
    (rule,) = of(made, "SecurityGroup")["postgres"].inputs["ingress"]
    assert (rule["fromPort"], rule["toPort"], rule["cidrBlocks"]) == (5432, 5432, ["10.0.0.0/16"])


def test_roles_at_rds_are_made_by_a_job_that_alone_knows_the_masters_password(rehearse: Rehearse) -> None:
    made = rehearse(**RDS)
    (job,) = [one for one in made.of("batch/v1:Job") if one.name == "jhaas-database/setup"]
    assert of(made, "Instance")["postgres"].urn in made.before(job)
    holding = [one.name for one in made.objects if "[secret: database-master]" in json.dumps(one.inputs)]
    assert holding == ["jhaas-database/master"]
    reading = [one.name for one in made.objects if '"secretName": "master"' in json.dumps(one.inputs)]
    assert reading == ["jhaas-database/setup"]
    environment = job.inputs["spec"]["template"]["spec"]["containers"][0]["env"]
    assert {"name": "PGHOST", "value": "postgres.rds.example.org"} in environment
