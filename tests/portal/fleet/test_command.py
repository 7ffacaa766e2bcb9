"""`jhaas courses upgrade`: it shows what it will do, asks, and says by its exit code how it went."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest
from typer.testing import CliRunner, Result

from portal import local
from portal.cli import courses
from portal.fleet.rollout import Member, Outcome, Plan
from tests.portal.operations.conftest import Stage
from tests.portal.operations.test_cases import active


class Ready:
    """Three courses: one is up to date."""

    def __init__(self, **outcomes: Outcome) -> None:
        self.plans = {"one": Plan({"update": 2}), "two": Plan({}), "three": Plan({"update": 1})}
        self.updated: list[str] = []
        self._outcomes = outcomes

    def members(self) -> Sequence[Member]:
        return [Member(slug, 10) for slug in self.plans]

    def plan(self, slug: str) -> Plan:
        return self.plans[slug]

    def update(self, slugs: Sequence[str]) -> Iterator[tuple[str, Outcome]]:
        for slug in slugs:
            self.updated.append(slug)
            yield slug, self._outcomes.get(slug, Outcome("updated", "2 update"))


@pytest.fixture
def fleet(monkeypatch: pytest.MonkeyPatch) -> Ready:
    return given(Ready(), monkeypatch)


def given(fleet: Ready, monkeypatch: pytest.MonkeyPatch) -> Ready:
    @contextmanager
    def found(_: str) -> Iterator[Ready]:
        yield fleet

    monkeypatch.setattr(courses, "_fleet", found)
    return fleet


def run(*arguments: str, answer: str = "") -> Result:
    return CliRunner().invoke(courses.app, ["upgrade", *arguments], input=answer)


def test_a_dry_run_shows_what_would_change_and_changes_nothing(fleet: Ready) -> None:
    shown = run("--dry-run")
    assert shown.exit_code == 0
    assert "1 of 3 courses are up to date." in shown.output
    assert "Nothing was changed." in shown.output
    assert fleet.updated == []


def test_nothing_is_done_without_a_yes(fleet: Ready) -> None:
    refused = run(answer="n\n")
    assert refused.exit_code == 1
    assert "Update 2 courses in 2 waves?" in refused.output
    assert fleet.updated == []
    assert run(answer="y\n").exit_code == 0
    assert fleet.updated == ["one", "three"]


def test_the_canary_goes_first(fleet: Ready) -> None:
    assert run("--yes", "--canary", "three").exit_code == 0
    assert fleet.updated == ["three", "one"]


def test_a_canary_that_does_not_run_is_bad_input(fleet: Ready) -> None:
    refused = run("--yes", "--canary", "nobody")
    assert refused.exit_code == 2
    assert "nobody is no running course" in refused.output
    assert fleet.updated == []


def test_a_failure_is_the_exit_code_and_names_what_was_not_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    fleet = given(Ready(one=Outcome("failed", "no room")), monkeypatch)
    failed = run("--yes")
    assert failed.exit_code == 1
    assert fleet.updated == ["one"]
    assert "no room" in failed.output
    assert "not begun" in failed.output


def test_a_course_of_which_nobody_knows_is_left_alone_and_told(fleet: Ready) -> None:
    fleet.plans["one"] = Plan({}, "its state cannot be read")
    told = run("--yes")
    assert (told.exit_code, fleet.updated) == (1, ["three"])
    assert "its state cannot be read" in told.output
    assert run("--yes", "--canary", "one").exit_code == 1
    assert fleet.updated == ["three"]


def test_a_fleet_that_is_up_to_date_needs_nothing(fleet: Ready) -> None:
    fleet.plans = {"one": Plan({}), "two": Plan({})}
    done = run()
    assert done.exit_code == 0
    assert "Every running course is up to date." in done.output


def test_a_target_that_the_portal_does_not_know_is_bad_input(monkeypatch: pytest.MonkeyPatch, stage: Stage) -> None:
    active(stage, slug="one")
    monkeypatch.setattr(local, "has_portal", lambda: True)
    monkeypatch.setattr(local, "settings_in_force", lambda: stage.settings)
    refused = run("--yes", "--target", "nowhere")
    assert refused.exit_code == 2
    assert "knows no target nowhere; it knows local" in " ".join(refused.output.replace("│", " ").split())
