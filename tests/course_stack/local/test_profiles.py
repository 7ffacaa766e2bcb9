"""The choice before a notebook starts."""

from __future__ import annotations

import pytest

from course_stack.local.profiles import UnknownProfileError, chosen, options_form, resources_of
from course_stack.spec import load_spec
from tests.course_stack.specs import course

LARGE = {"memory_guarantee": 1, "memory_limit": 4, "cpu_guarantee": 0.5, "cpu_limit": 2}


def test_without_profiles_there_is_no_form_and_the_courses_own_sizes_hold() -> None:
    spec = load_spec(course())
    assert options_form(spec) == ""
    assert chosen(spec, {}) is None
    assert resources_of(spec, None) == spec.resources


def test_the_default_profile_is_preset_else_the_first() -> None:
    two = [{"name": "Small"}, {"name": "Large", "default": True, "resources": LARGE}]
    spec = load_spec(course(profiles=two))
    assert chosen(spec, {}) == spec.profiles[1]
    assert resources_of(spec, chosen(spec, {})).memory_limit == 4
    assert resources_of(spec, chosen(spec, {"profile": "small"})) == spec.resources
    first = load_spec(course(profiles=[{"name": "Small"}, {"name": "Large"}]))
    assert chosen(first, {}) == first.profiles[0]


def test_the_form_offers_each_profile_once_with_the_preset_one_marked() -> None:
    spec = load_spec(course(profiles=[{"name": "Small"}, {"name": "Large", "default": True}]))
    form = options_form(spec)
    assert form.count('type="radio"') == 2
    assert form.count(" checked") == 1
    assert 'value="large" checked' in form


def test_what_a_teacher_writes_is_shown_as_text() -> None:
    spec = load_spec(course(profiles=[{"name": "A <b>", "description": "<script>x</script>"}, {"name": "B"}]))
    form = options_form(spec)
    assert "<script>" not in form
    assert "&lt;script&gt;" in form


def test_an_unknown_profile_is_refused_with_the_known_ones() -> None:
    spec = load_spec(course(profiles=[{"name": "Small"}, {"name": "Large"}]))
    with pytest.raises(UnknownProfileError, match="no profile 'huge'; it has: small, large"):
        chosen(spec, {"profile": "huge"})
