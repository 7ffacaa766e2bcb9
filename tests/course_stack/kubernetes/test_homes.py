"""Whose a home is, as the hub marks it and we read it."""

from __future__ import annotations

from lightkube.codecs import from_dict

from course_stack.kubernetes.homes import HOME_LABELS, HomeOwner, mounted, owner_of
from tests.course_stack.kubernetes.targets import cluster_target
from tests.course_stack.kubernetes.test_notebooks import values
from tests.support.z2jh import claim, spawner


def test_a_claim_that_the_hub_makes_is_known_as_its_owners_home() -> None:
    """Made by the real KubeSpawner with our settings."""
    made = claim(spawner(values(cluster_target()), "Anna+x"))
    assert made["metadata"]["labels"].items() >= HOME_LABELS.items()
    found = owner_of(from_dict({"apiVersion": "v1", "kind": "PersistentVolumeClaim", **made}))  # type: ignore[arg-type]
    assert found is not None
    assert found.subject == "Anna+x"
    assert found == HomeOwner(made["metadata"]["annotations"]["jhaas.io/issuer"], "Anna+x")


def test_a_claim_of_nobody_known_and_a_pod_without_volumes_are_no_riddle() -> None:
    bare = {"apiVersion": "v1", "metadata": {"name": "it"}}
    assert owner_of(from_dict({**bare, "kind": "PersistentVolumeClaim"})) is None  # type: ignore[arg-type]
    assert mounted(from_dict({**bare, "kind": "Pod"})) == []  # type: ignore[arg-type]
