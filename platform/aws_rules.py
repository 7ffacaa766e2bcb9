"""What the keys of our AWS users may do beside buckets (`bucket_rules`): policy documents. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from bucket_rules import COURSE_BUCKETS, Document, bucket, objects

PLATFORM_PATH = "/platform/"
"""Path of the platform's own users: no name below it is one that a course's user can have."""
COURSE_USERS = "jhaas-*"
"""Users of courses, at the top."""


def partition(region: str) -> str:
    """In which of its worlds AWS has this region; each writes its own into names."""
    if region.startswith("cn-"):
        return "aws-cn"
    return "aws-us-gov" if region.startswith("us-gov-") else "aws"


def use_of_key(key_arn: Any) -> Document:
    """Encrypt and decrypt with one key of the key service."""
    actions = ["kms:Encrypt", "kms:Decrypt", "kms:GenerateDataKey", "kms:DescribeKey"]
    return {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": actions, "Resource": [key_arn]}]}


def course_boundary(archives: str, closed: Iterable[str], world: str = "aws") -> Document:
    """The most that a user of a course may ever do, whatever a policy of its own says: objects in buckets of courses,
    and in the archives those whose names it knows."""
    courses = [bucket(COURSE_BUCKETS, world), objects(COURSE_BUCKETS, world)]
    own = [
        bucket(archives, world),
        *(place for name in closed for place in (bucket(name, world), objects(name, world))),
    ]
    opening = ["s3:PutBucketPolicy", "s3:PutBucketAcl", "s3:PutObjectAcl", "s3:DeleteObjectVersion"]
    return {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": ["s3:*"], "Resource": [*courses, objects(archives, world)]},
            {"Effect": "Deny", "Action": ["s3:*"], "Resource": own},
            {"Effect": "Deny", "Action": opening, "Resource": ["*"]},
        ],
    }


def course_users(boundary_arn: str, world: str = "aws") -> Document:
    """Make users for courses with keys, each within the boundary: without that condition, whoever may write a user's
    policy may do everything."""
    users = [f"arn:{world}:iam::*:user/{COURSE_USERS}"]
    bounded = {"StringEquals": {"iam:PermissionsBoundary": boundary_arn}}
    return {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": ["iam:ListUsers"], "Resource": ["*"]},
            {
                "Effect": "Allow",
                "Action": ["iam:CreateUser", "iam:PutUserPolicy", "iam:DeleteUserPolicy"],
                "Resource": users,
                "Condition": bounded,
            },
            {
                "Effect": "Allow",
                "Action": [
                    "iam:CreateAccessKey",
                    "iam:DeleteAccessKey",
                    "iam:ListAccessKeys",
                    "iam:ListUserPolicies",
                    "iam:DeleteUser",
                ],
                "Resource": users,
            },
        ],
    }


def trust_in_pods(provider_arn: str, namespace: str, service_accounts: str) -> Document:
    """Pods of these service accounts (`*` goes) in an EKS cluster may take the role."""
    issuer = provider_arn.partition(":oidc-provider/")[2]
    subject = f"system:serviceaccount:{namespace}:{service_accounts}"
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": ["sts:AssumeRoleWithWebIdentity"],
                "Principal": {"Federated": provider_arn},
                "Condition": {
                    "StringEquals": {f"{issuer}:aud": "sts.amazonaws.com"},
                    "StringLike": {f"{issuer}:sub": subject},
                },
            }
        ],
    }


def only_by_tls(name: str, world: str = "aws") -> Document:
    """A bucket's own policy: nobody reads or writes it in clear text."""
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Deny",
                "Principal": "*",
                "Action": ["s3:*"],
                "Resource": [bucket(name, world), objects(name, world)],
                "Condition": {"Bool": {"aws:SecureTransport": "false"}},
            }
        ],
    }
