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
        ("random:index/randomPassword:RandomPassword", {"length": 48}, "thing"),
    ],
)
def test_it_bears_the_id_that_its_provider_would_have_given_it(
    kind: str, inputs: dict[str, Any], expected: str
) -> None:
    found = adopted(kind, inputs)
    assert found["id"] == expected
    assert found["outputs"] == inputs


RELEASE = {
    "urn": "urn:pulumi:course::jhaas-course::kubernetes:helm.sh/v3:Release::release",
    "custom": True,
    "type": "kubernetes:helm.sh/v3:Release",
    "inputs": {"name": "jhaas-physics", "namespace": "jhaas-physics"},
}
NAMESPACE = {
    "urn": "urn:pulumi:course::jhaas-course::kubernetes:core/v1:Namespace::Namespace/jhaas-physics",
    "custom": True,
    "type": "kubernetes:core/v1:Namespace",
    "id": "jhaas-physics",
}


def test_a_half_made_release_goes_with_its_namespace() -> None:
    """Nobody knows whether Helm came to know it."""
    pending = [{"resource": RELEASE, "type": "creating"}]
    deployment: dict[str, Any] = {"deployment": {"resources": [NAMESPACE], "pending_operations": pending}}
    assert adopt_half_made(deployment) == []
    assert deployment["deployment"] == {"resources": [NAMESPACE]}
