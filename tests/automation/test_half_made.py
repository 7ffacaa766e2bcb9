"""What an interrupted create becomes before a course is destroyed: a resource whose deletion finds what is there."""

from __future__ import annotations

from typing import Any

import pytest

from automation.workspace import adopt_half_made


def adopted(kind: str, inputs: dict[str, Any], name: str = "thing") -> dict[str, Any]:
    urn = f"urn:pulumi:course::jhaas-course::{kind}::{name}"
    resource = {"urn": urn, "custom": True, "type": kind, "inputs": inputs}
    deployment: dict[str, Any] = {"deployment": {"pending_operations": [{"resource": resource, "type": "creating"}]}}
    assert adopt_half_made(deployment) == [name]
    assert "pending_operations" not in deployment["deployment"]
    (found,) = deployment["deployment"]["resources"]
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize(
    ("kind", "inputs", "expected"),
    [
        ("pulumi-python:dynamic/jhaas:Group", {"name": "jhaas-physics", "members": []}, "jhaas-physics"),
        ("pulumi-python:dynamic/jhaas:BucketKey", {"user": "jhaas-physics", "bucket": "b"}, "jhaas-physics"),
        ("pulumi-python:dynamic/jhaas:LocalHub", {"slug": "physics"}, "physics"),
        ("kubernetes:core/v1:Namespace", {"metadata": {"name": "jhaas-physics"}}, "jhaas-physics"),
        (
            "kubernetes:networking.k8s.io/v1:NetworkPolicy",
            {"metadata": {"name": "course-hub", "namespace": "jhaas-physics"}},
            "jhaas-physics/course-hub",
        ),
        (
            "kubernetes:helm.sh/v3:Release",
            {"name": "jhaas-physics", "namespace": "jhaas-physics", "values": {}},
            "jhaas-physics/jhaas-physics",
        ),
        ("random:index/randomPassword:RandomPassword", {"length": 48}, "thing"),
    ],
)
def test_it_bears_the_id_that_its_provider_would_have_given_it(
    kind: str, inputs: dict[str, Any], expected: str
) -> None:
    found = adopted(kind, inputs)
    assert found["id"] == expected
    assert found["outputs"] == inputs


def test_what_goes_with_its_namespace_still_does() -> None:
    """It is not deleted by itself: the namespace, which is in the state, takes it along."""
    namespace = "urn:pulumi:course::jhaas-course::kubernetes:core/v1:Namespace::Namespace/jhaas-physics"
    resource = {
        "urn": "urn:pulumi:course::jhaas-course::kubernetes:helm.sh/v3:Release::release",
        "custom": True,
        "type": "kubernetes:helm.sh/v3:Release",
        "inputs": {"name": "jhaas-physics", "namespace": "jhaas-physics"},
        "deletedWith": namespace,
    }
    deployment: dict[str, Any] = {"deployment": {"pending_operations": [{"resource": resource, "type": "creating"}]}}
    adopt_half_made(deployment)
    assert deployment["deployment"]["resources"][0]["deletedWith"] == namespace
