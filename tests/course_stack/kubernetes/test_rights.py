"""examples/cluster/rights.yaml gives the account everything that courses need, and no way to more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from course_stack.kubernetes.check import needed_rights
from course_stack.kubernetes.names import COURSE_LABEL
from tests.course_stack.kubernetes.targets import cluster_target

EXAMPLE = Path(__file__).parents[3] / "examples/cluster/rights.yaml"
DOCUMENTS: list[dict[str, Any]] = list(yaml.safe_load_all(EXAMPLE.read_text()))
EDGES = [{"kind": "ingress"}, {"kind": "gateway", "gateway": "edge", "gateway_namespace": "edge"}, {"kind": "none"}]


def rules() -> list[dict[str, list[str]]]:
    (role,) = [one for one in DOCUMENTS if one["kind"] == "ClusterRole"]
    found: list[dict[str, list[str]]] = role["rules"]
    return found


def may(group: str, resource: str, verb: str) -> bool:
    return any(
        group in rule["apiGroups"] and resource in rule["resources"] and verb in rule["verbs"] for rule in rules()
    )


@pytest.mark.parametrize("edge", EDGES, ids=lambda edge: str(edge["kind"]))
def test_the_role_has_every_right_that_the_check_asks_for(edge: dict[str, Any]) -> None:
    settings = cluster_target(edge=edge).cluster
    assert settings is not None
    needed = needed_rights(settings)
    assert len(needed) > 15
    missing = [(group, kind, verb) for group, kind, verbs in needed for verb in verbs if not may(group, kind, verb)]
    assert missing == []


def test_the_role_opens_no_way_to_more_rights() -> None:
    granted = {(resource, verb) for rule in rules() for resource in rule["resources"] for verb in rule["verbs"]}
    words = {word for rule in rules() for values in rule.values() for word in values}
    assert "*" not in words
    assert not words & {"escalate", "bind", "impersonate", "deletecollection"}
    assert not {resource for resource, _ in granted} & {
        "pods/exec",
        "pods/attach",
        "serviceaccounts/token",
        "nodes/proxy",
    }
    writing = {resource for resource, verb in granted if verb in ("create", "update", "patch", "delete")}
    assert not writing & {"nodes", "persistentvolumes", "clusterroles", "clusterrolebindings", "storageclasses"}


def test_writing_is_held_down_to_namespaces_of_courses() -> None:
    (policy,) = [one for one in DOCUMENTS if one["kind"] == "ValidatingAdmissionPolicy"]
    (binding,) = [one for one in DOCUMENTS if one["kind"] == "ValidatingAdmissionPolicyBinding"]
    (account,) = [one for one in DOCUMENTS if one["kind"] == "ServiceAccount"]
    subject = f"system:serviceaccount:{account['metadata']['namespace']}:{account['metadata']['name']}"
    assert subject in policy["spec"]["matchConditions"][0]["expression"]
    assert COURSE_LABEL in policy["spec"]["validations"][0]["expression"]
    assert (binding["spec"]["policyName"], binding["spec"]["validationActions"]) == (
        policy["metadata"]["name"],
        ["Deny"],
    )
