"""What a stack keeps of its target: enough to find every object again, and nothing that would make other objects."""

from __future__ import annotations

from typing import Any

import pytest

from course_stack.cluster import ChartSource, ClusterTarget, Images
from course_stack.resources import target_inputs, target_of
from course_stack.target import IdentityTarget, ObjectStoreTarget, Target

IMAGES = Images(helper="registry.example.org/helper:1")
# nothing in them is what it would be if nobody had said it
IDENTITY = IdentityTarget(kind="authentik", url="https://login.example.org", internal_url="http://login.campus:9000")
STORE = ObjectStoreTarget(
    kind="minio",
    endpoint="https://s3.example.org",
    region="eu-central-1",
    path_style=False,
    keep_buckets=True,
    permissions_boundary="arn:aws:iam::123456789012:policy/courses",
)


def _target(**cluster: Any) -> Target:
    return Target(
        name="campus",
        kind="kubernetes",
        hub_domain="hubs.example.org",
        hub_scheme="http",
        hub_port=8080,
        identity=IDENTITY,
        object_store=STORE,
        cluster=ClusterTarget(**{"images": IMAGES, **cluster}),
    )


@pytest.mark.parametrize(
    "cluster",
    [{}, {"chart": ChartSource(chart="/charts/jupyterhub", repository=None, version=None)}, {"uid": 2000}],
    ids=["defaults", "a chart's folder", "another account"],
)
def test_identity_and_store_are_found_again_by_what_a_stack_keeps_of_its_target(cluster: dict[str, Any]) -> None:
    target = _target(**cluster)
    kept = target_of(target_inputs(target))
    assert (kept.name, kept.kind, kept.hub_url("x")) == (target.name, target.kind, target.hub_url("x"))
    assert (kept.identity, kept.object_store) == (IDENTITY, STORE)
    for said in (IDENTITY, STORE):
        assert said.model_dump(exclude_defaults=True).keys() == type(said).model_fields.keys()


def test_a_change_of_the_cluster_is_no_change_of_accounts_buckets_and_keys() -> None:
    changed = _target(images=Images(helper="registry.example.org/helper:2"), storage_class="fast")
    assert target_inputs(changed) == target_inputs(_target())


def test_a_cluster_is_needed_where_a_target_is_given_by_people() -> None:
    with pytest.raises(ValueError, match="cluster is needed where kind is kubernetes"):
        Target.model_validate(target_inputs(_target())["target"])
