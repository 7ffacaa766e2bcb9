"""From what a browser sends to a model, and back to the page with everything that was typed."""

from __future__ import annotations

import string
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field
from werkzeug.datastructures import MultiDict

from course_stack.spec import CourseSpec, Problem, SpecError, load_spec
from portal.forms import FormErrors, blank_form, in_words, name_of, parse_form, sent_form
from portal.i18n import catalogue
from tests.course_stack.specs import course
from tests.portal.look.gallery import gallery_app
from tools.translations import ROOT, _spec

TYPED = {
    "slug": "python-intro",
    "title": " Introduction to Python ",
    "first_day": "2027-04-05",
    "last_day": "2027-07-16",
    "seats": "25",
    "image": "quay.io/jupyter/scipy-notebook:2026-10-05",
    "leads-0": "maria",
}


@pytest.fixture(scope="module")
def app() -> Flask:
    return gallery_app()


@pytest.fixture
def english(app: Flask) -> Iterator[None]:
    with app.test_request_context("/", headers={"Accept-Language": "en"}):
        yield


def errors_of(*changes: str) -> FormErrors:
    """The form that comes back after `NAME=VALUE` was typed."""
    answer = parse_form(CourseSpec, typed(*changes))
    assert isinstance(answer, FormErrors)
    return answer


def spec_of(*changes: str) -> CourseSpec:
    """The course that comes of `NAME=VALUE`."""
    answer = parse_form(CourseSpec, typed(*changes))
    assert isinstance(answer, CourseSpec), answer.problems
    return answer


def typed(*changes: str) -> MultiDict[str, str]:
    return MultiDict({**TYPED, **dict(change.split("=", 1) for change in changes)})


def test_texts_become_a_model(english: None) -> None:
    spec = spec_of(
        "resources.memory_guarantee=1",
        "resources.memory_limit=2.5",
        "resources.cpu_guarantee=0.5",
        "resources.cpu_limit=1",
    )
    assert (spec.title, spec.seats, spec.resources.memory_limit) == ("Introduction to Python", 25, 2.5)
    assert spec.leads == ("maria",)


def test_blank_inputs_are_not_given(english: None) -> None:
    spec = spec_of("description=  ", "home_size=", "default_url=", "profiles-0-name=", "resources.cpu_limit=")
    assert spec == spec_of()


def test_lists_keep_their_order_and_blank_entries_are_left_out(english: None) -> None:
    spec = spec_of(
        "profiles-2-name=Second",
        "profiles-0-name=First",
        "profiles-1-name=",
        "profiles-1-default=false",
        "start_commands-0=echo 1",
        "start_commands-1=",
        "start_commands-10=echo 2",
        "start_commands-9=echo 3",
    )
    assert [one.name for one in spec.profiles] == ["First", "Second"]
    assert spec.start_commands == ("echo 1", "echo 3", "echo 2")


def test_what_a_spare_entry_shows_by_default_makes_no_entry(english: None) -> None:
    form = blank_form(CourseSpec)
    spare = {form.field(f"profiles[0].{path}") for path in ("name", "gpu.count", "gpu.resource", "default")}
    assert any(field.value for field in spare)
    assert spec_of(*(f"{field.name}={field.value}" for field in spare)).profiles == ()


def test_parts_of_entries_are_read(english: None) -> None:
    spec = spec_of("profiles-0-name=GPU", "profiles-0-gpu.count=1", "profiles-0-gpu.resource=amd.com/gpu")
    assert spec.profiles[0].gpu is not None
    assert spec.profiles[0].gpu.resource == "amd.com/gpu"


def test_variables_are_pairs(english: None) -> None:
    spec = spec_of("environment-0-key=A", "environment-0-value=1", "environment-1-key=", "environment-1-value=")
    assert spec.environment == {"A": "1"}


def test_the_same_variable_twice_is_an_error_and_loses_nothing(english: None) -> None:
    form = errors_of("environment-0-key=A", "environment-0-value=1", "environment-1-key=A", "environment-1-value=2")
    assert "Two are named A" in form.errors_of("environment")[0]
    assert [form.field(f"{row}.value").value for row in form.rows("environment")] == ["1", "2"]


@pytest.mark.parametrize(("sent", "expected"), [(["false", "true"], True), (["false"], False), ([], False)])
def test_a_box_counts_when_it_is_ticked(english: None, sent: list[str], expected: bool) -> None:
    form = MultiDict({**TYPED, "profiles-0-name": "First"})
    for value in sent:
        form.add("profiles-0-default", value)
    answer = parse_form(CourseSpec, form)
    assert isinstance(answer, CourseSpec)
    assert answer.profiles[0].default is expected


class Switch(BaseModel):
    is_on: bool = Field(default=True, title="on")


def test_a_box_can_be_unticked_though_its_default_is_ticked() -> None:
    assert parse_form(Switch, MultiDict({"is_on": "false"})) == Switch(is_on=False)
    assert parse_form(Switch, MultiDict()) == Switch(is_on=True)
    assert blank_form(Switch).field("is_on").value == "true"
    assert sent_form(Switch, MultiDict({"is_on": "false"})).field("is_on").value == "false"


def test_what_is_no_field_of_the_model_is_not_read(english: None) -> None:
    assert spec_of("csrf_token=x", "version=3", "model_config=x", "resources.nonsense=1", "__class__=x") == spec_of()


def test_errors_stand_at_their_fields_and_what_was_typed_stays(english: None) -> None:
    form = errors_of("seats=many", "title=", "profiles-0-name=GPU", "profiles-0-gpu.count=99")
    assert form.field("seats").value == "many"
    assert form.field("seats").errors == ("“many” is not a whole number.",)
    assert form.field("title").errors == ("Is missing.",)
    assert form.field("profiles[0].gpu.count").errors == ("“99” is too much; at most 8.",)
    assert ("f-seats", "Number of participants: “many” is not a whole number") in form.summary


def test_a_cleared_field_stays_cleared_on_the_page(english: None) -> None:
    form = errors_of("home_size=", "seats=0")
    assert form.field("home_size").value == ""


def test_an_error_in_a_variables_name_stands_at_its_row(english: None) -> None:
    form = errors_of("environment-0-key=A", "environment-0-value=1", "environment-1-key=PATH", "environment-1-value=x")
    assert "set by the platform" in form.field("environment[1].key").errors[0]
    assert form.field("environment[0].key").errors == ()


def test_fields_know_their_bounds_units_and_defaults(english: None) -> None:
    form = blank_form(CourseSpec)
    memory = form.field("resources.memory_limit")
    assert (memory.kind, memory.minimum, memory.maximum, memory.unit, memory.value) == ("number", 0.25, 64, "GiB", "1")
    assert (form.field("seats").required, form.field("seats").step) == (True, "1")
    assert (form.field("first_day").kind, form.field("description").kind) == ("date", "lines")
    assert form.field("profiles[0].name").required is False  # a spare row must not keep a form from being sent
    assert form.field("profiles[0].gpu.resource").choices[0] == "nvidia.com/gpu"
    assert form.field("description").optional
    assert not form.field("home_size").optional


def test_a_form_shows_a_course_and_gives_the_same_course_back(english: None) -> None:
    full = course(
        profiles=[{"name": "GPU", "default": True, "gpu": {"count": 1}}],
        environment={"A": "1", "B": "2"},
        git_repositories=[{"url": "https://git.example.org/a/b", "branch": "main"}],
        start_commands=["echo 1\necho 2"],
        shared_volumes=[{"name": "material", "kind": "material", "mount_path": "/mnt/material", "size": 1}],
    )
    spec = load_spec(full)
    shown = blank_form(CourseSpec, spec)
    assert parse_form(CourseSpec, MultiDict(shown.values)) == spec


@given(
    st.dictionaries(st.text(string.ascii_lowercase + "-._0123456789[]", max_size=24), st.text(max_size=12), max_size=8)
)
def test_no_names_of_inputs_break_it(app: Flask, names: dict[str, str]) -> None:
    with app.test_request_context("/"):
        answer = parse_form(CourseSpec, MultiDict({**TYPED, **names}))
        if isinstance(answer, FormErrors):
            assert all(text for _id, text in answer.summary)
            for name in names:
                answer.errors_of(name)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("profiles[0].resources.memory_limit", "profiles-0-resources.memory_limit"),
        ("start_commands[2]", "start_commands-2"),
        ("environment[0].key", "environment-0-key"),
        ("seats", "seats"),
        ("", ""),
    ],
)
def test_names_follow_from_paths(path: str, name: str) -> None:
    assert name_of(path) == name


SIZE = {"memory_guarantee": 1, "memory_limit": 1, "cpu_guarantee": 1, "cpu_limit": 1}
WRONG: dict[str, dict[str, Any]] = {
    "ist zu kurz; mindestens 3 Zeichen": {"slug": "ab"},
    "hat zwei Bindestriche hintereinander; einer genügt": {"slug": "a--b"},
    "ist zu viel; höchstens 64 GiB": {"resources": {**SIZE, "memory_limit": 65}},
    "ist keine ganze Zahl": {"seats": "many"},
    "fehlt": {"title": ...},
    "muss ein Tag sein": {"first_day": 5},
    "liegt vor dem ersten Tag": {"last_day": "2020-01-01"},
    "ein Tag oder Digest fehlt": {"image": "quay.io/jupyter/scipy-notebook"},
    "hat zu wenige Einträge; mindestens 1": {"leads": []},
    "ist zweimal genannt": {"leads": ["maria", "Maria"]},
    "steht nicht zur Wahl": {"shared_volumes": [{"name": "m", "kind": "x", "mount_path": "/mnt/m", "size": 1}]},
    "sind einander im Weg": {
        "shared_volumes": [
            {"name": name, "kind": "share", "mount_path": "/mnt/m", "size": 1} for name in ("abc", "abd")
        ]
    },
    "darf weder Benutzernamen noch Passwort enthalten": {"git_repositories": [{"url": "https://a:b@example.org/x"}]},
    "wird von der Plattform gesetzt": {"environment": {"PATH": "/"}},
    "ist hier unbekannt; meinten Sie seats?": {"seat": 3},
    "muss eigene Felder haben": {"culling": 3},
    "muss eine Liste sein": {"profiles": "x"},
    "muss wahr (true) oder falsch (false) sein": {"profiles": [{"name": "A", "default": []}]},
}


@pytest.mark.parametrize("sentence", WRONG)
def test_errors_are_said_in_german(app: Flask, sentence: str) -> None:
    with pytest.raises(SpecError) as caught:
        content = {**course(), **WRONG[sentence]}
        load_spec({name: value for name, value in content.items() if value is not ...})
    with app.test_request_context("/", headers={"Accept-Language": "de"}):
        assert any(sentence in in_words(problem) for problem in caught.value.problems)


def test_every_sentence_of_the_spec_can_be_filled_in_every_language(app: Flask) -> None:
    templates = {text for path in (ROOT / "course_stack/spec").glob("*.py") for text in _spec(path)}
    assert len(templates) > 100
    for language in ("en", "de"):
        with app.test_request_context("/", headers={"Accept-Language": language}):
            for template in templates:
                places = [(name, form) for _text, name, form, _how in string.Formatter().parse(template) if name]
                values = {name: 1.5 if form else "x" for name, form in places}
                assert in_words(Problem("seats", template, values))
    assert catalogue("de").gettext("must be one line") == "muss eine einzige Zeile sein"
