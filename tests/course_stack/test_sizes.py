"""Sizes: the quota is never below what the hub may start, and the figures are the documented formulas."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from course_stack.sizes import (
    HUB,
    PROXY,
    Compute,
    Size,
    demand,
    largest_notebook,
    mib,
    millicores,
    notebook,
    placeholders,
    quota,
)
from course_stack.spec import CourseSpec, load_spec
from tests.course_stack.specs import course, specs


def started(spec: CourseSpec, choices: list[int]) -> tuple[Size, dict[str, int]]:
    """Hub, proxy and one notebook for each choice of a profile; and the GPUs that these notebooks have."""
    total, gpus = HUB + PROXY, dict[str, int]()
    for choice in choices:
        profile = spec.profiles[choice % len(spec.profiles)] if spec.profiles else None
        total = total + notebook((profile and profile.resources) or spec.resources)
        if profile and profile.gpu:
            gpus[profile.gpu.resource] = gpus.get(profile.gpu.resource, 0) + profile.gpu.count
    return total, gpus


@given(spec=specs(), data=st.data())
def test_whatever_people_choose_fits_into_demand_and_quota(spec: CourseSpec, data: st.DataObject) -> None:
    pattern = data.draw(st.lists(st.integers(0, 3), min_size=1, max_size=4))
    choices = [pattern[index % len(pattern)] for index in range(spec.active_servers)]
    total, gpus = started(spec, choices)
    bounds = quota(spec)
    for bound in (demand(spec).compute, bounds.compute):
        assert total.guarantee.memory_mib <= bound.guarantee.memory_mib
        assert total.guarantee.cpu_millicores <= bound.guarantee.cpu_millicores
        assert total.limit.memory_mib <= bound.limit.memory_mib
        assert total.limit.cpu_millicores <= bound.limit.cpu_millicores
    assert all(count <= bounds.gpus[kind] for kind, count in gpus.items())
    assert len(choices) + 2 <= bounds.pods


@given(spec=specs())
def test_every_home_and_volume_fits_and_the_check_notebook_still_starts(spec: CourseSpec) -> None:
    bounds = quota(spec)
    disks = [mib(spec.home_size)] * (spec.seats + len(spec.leads)) + [
        mib(volume.size) for volume in spec.shared_volumes
    ]
    assert sum(disks) + 1024 <= demand(spec).storage_mib <= bounds.storage_mib
    assert len(disks) + 1 < bounds.volumes
    one_more = started(spec, [0] * (spec.active_servers + 1))[0]
    assert one_more.limit.memory_mib <= bounds.compute.limit.memory_mib


@given(spec=specs())
def test_guarantees_stay_within_limits_after_rounding(spec: CourseSpec) -> None:
    for size in (largest_notebook(spec), demand(spec).compute, quota(spec).compute):
        assert size.guarantee.memory_mib <= size.limit.memory_mib
        assert size.guarantee.cpu_millicores <= size.limit.cpu_millicores


def test_a_course_by_hand() -> None:
    spec = load_spec(
        course(
            seats=10,
            resources={"memory_guarantee": 0.5, "memory_limit": 2, "cpu_guarantee": 0.1, "cpu_limit": 1},
            home_size=3,
            shared_volumes=[{"name": "share", "kind": "share", "mount_path": "/share", "size": 4}],
        )
    )
    needed, bounds = demand(spec), quota(spec)
    assert needed.compute.guarantee == Compute(11 * 512 + 640, 11 * 100 + 350)
    assert needed.compute.limit == Compute(11 * 2048 + 2048, 11 * 1000 + 2000)
    assert needed.storage_mib == (11 * 3 + 4 + 1) * 1024
    assert (bounds.pods, bounds.volumes, bounds.storage_mib) == (14, 14, (12 * 3 + 4 + 1) * 1024)
    assert bounds.compute.limit == Compute(12 * 2048 + 2048, 12 * 1000 + 2000)


def test_a_cap_on_running_notebooks_lowers_compute_but_not_disks() -> None:
    all_at_once, capped = load_spec(course()), load_spec(course(spawning={"active_servers": 5}))
    assert demand(capped).compute.limit.memory_mib < demand(all_at_once).compute.limit.memory_mib
    assert demand(capped).storage_mib == demand(all_at_once).storage_mib


def test_homes_of_people_who_left_still_count() -> None:
    spec = load_spec(course(home_size=2))
    assert demand(spec, former_people=3).storage_mib - demand(spec).storage_mib == 3 * 2 * 1024
    assert quota(spec, former_people=3).volumes - quota(spec).volumes == 3


def test_gpus_count_as_if_everybody_chose_the_largest_profile() -> None:
    profiles = [
        {"name": "None"},
        {"name": "One", "gpu": {"count": 1}},
        {"name": "Two", "gpu": {"count": 2}},
        {"name": "Other", "gpu": {"count": 1, "resource": "amd.com/gpu"}},
    ]
    spec = load_spec(course(profiles=profiles, spawning={"active_servers": 4}))
    assert demand(spec).gpus == {"amd.com/gpu": 4, "nvidia.com/gpu": 8}


@pytest.mark.parametrize(
    ("cores", "expected"), [(0.1, 100), (0.29, 290), (2.007, 2007), (1.1, 1100), (0.0101, 11), (32, 32000)]
)
def test_cores_round_up_without_the_noise_of_binary_fractions(cores: float, expected: int) -> None:
    assert millicores(cores) == expected


def test_memory_is_counted_in_powers_of_two() -> None:
    assert (mib(1), mib(0.5), mib(0.1)) == (1024, 512, 103)


@given(specs(), st.integers(1, 50))
def test_placeholders_never_take_the_room_of_a_notebook(spec: CourseSpec, percent: int) -> None:
    keep = placeholders(spec, percent)
    assert 1 <= keep <= spec.active_servers
    without, room = quota(spec), quota(spec, placeholders=keep)
    assert room.compute == without.compute + largest_notebook(spec) * keep
    assert room.pods == without.pods + keep
    assert (room.volumes, room.storage_mib, room.gpus) == (without.volumes, without.storage_mib, without.gpus)
    assert placeholders(spec, 0) == 0
