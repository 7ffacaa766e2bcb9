"""Course specs for tests: one that is valid, changed field by field; and any valid one, for properties."""

from __future__ import annotations

import datetime as dt
from typing import Any

from hypothesis import strategies as st

from course_stack.spec import CourseSpec, SpecError, load_spec


def course(**changes: Any) -> dict[str, Any]:
    """The smallest valid spec as a mapping, with these fields changed."""
    return {
        "slug": "python-intro",
        "title": "Introduction to Python",
        "first_day": "2027-04-12",
        "last_day": "2027-07-16",
        "seats": 20,
        "image": "quay.io/jupyter/scipy-notebook:2026-10-05",
        "leads": ["teacher"],
        **changes,
    }


def problems(**changes: Any) -> dict[str, str]:
    """Field path → message of everything that is wrong with the changed spec."""
    try:
        load_spec(course(**changes))
    except SpecError as error:
        return {problem.field: problem.message for problem in error.problems}
    return {}


def _pair(smallest: float, smallest_limit: float, most: float) -> st.SearchStrategy[tuple[float, float]]:
    """A guarantee and a limit that is no less."""
    return st.tuples(st.floats(smallest, most), st.floats(smallest_limit, most)).filter(lambda pair: pair[0] <= pair[1])


@st.composite
def resources(draw: st.DrawFn) -> dict[str, float]:
    memory = draw(_pair(0.0625, 0.25, 64))
    cores = draw(_pair(0.01, 0.1, 32))
    return {
        "memory_guarantee": memory[0],
        "memory_limit": memory[1],
        "cpu_guarantee": cores[0],
        "cpu_limit": cores[1],
    }


_GPUS = st.fixed_dictionaries(
    {"count": st.integers(1, 8), "resource": st.sampled_from(["nvidia.com/gpu", "amd.com/gpu"])}
)
_SUBJECTS = st.from_regex(r"[a-z0-9]{1,8}(-[a-z0-9]{1,8})?", fullmatch=True)


@st.composite
def specs(draw: st.DrawFn) -> CourseSpec:
    """Any valid spec."""
    first = draw(st.dates(dt.date(2026, 1, 1), dt.date(2030, 12, 31)))
    people = draw(st.lists(_SUBJECTS, min_size=1, max_size=12, unique=True))
    leads = people[: draw(st.integers(1, len(people)))]
    names = draw(st.lists(st.sampled_from(["Small", "Large", "With GPU", "R"]), max_size=4, unique=True))
    volumes = draw(st.lists(st.sampled_from(["material", "share", "teams"]), max_size=3, unique=True))
    seats = draw(st.integers(max(1, len(people) - len(leads)), 1000))
    return CourseSpec.model_validate(
        course(
            slug=draw(st.from_regex(r"course-[a-z0-9]{1,20}", fullmatch=True)),
            title=draw(st.text("abcäöüß 🐍<>&{}'\"", min_size=1, max_size=40).filter(str.strip)),
            first_day=first,
            last_day=first + dt.timedelta(days=draw(st.integers(0, 365))),
            seats=seats,
            resources=draw(resources()),
            home_size=draw(st.floats(0.25, 100)),
            profiles=[
                {
                    "name": name,
                    "resources": draw(st.none() | resources()),
                    "gpu": draw(st.none() | _GPUS),
                    "default": index == 0 and draw(st.booleans()),
                }
                for index, name in enumerate(names)
            ],
            environment=draw(
                st.dictionaries(st.from_regex(r"X_[A-Z]{1,5}", fullmatch=True), st.text("ab\n{}$'", max_size=9))
            ),
            shared_volumes=[
                {
                    "name": name,
                    "kind": draw(st.sampled_from(["material", "share"])),
                    "mount_path": f"/mnt/{name}",
                    "size": draw(st.floats(0.25, 2000)),
                }
                for name in volumes
            ],
            git_repositories=[{"url": "https://example.org/a/intro", "branch": draw(st.none() | st.just("v1"))}][
                : draw(st.integers(0, 1))
            ],
            start_commands=draw(st.lists(st.text("ab $()'\"{}\n", min_size=1).filter(str.strip), max_size=2)),
            culling={
                "idle_minutes": draw(st.integers(10, 600)),
                "max_age_hours": draw(st.none() | st.integers(10, 14 * 24)),
            },
            spawning={
                "active_servers": draw(st.none() | st.integers(1, seats)),
                "concurrent": draw(st.integers(1, 200)),
            },
            leads=leads,
            participants=people[len(leads) :],
        )
    )
