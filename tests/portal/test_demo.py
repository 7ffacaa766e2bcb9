"""What a demo begins with, and its clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from flask import Flask
from sqlalchemy import Engine, select

from portal import demo
from portal.actor import Actor
from portal.app import create_app
from portal.clock import SiteClock
from portal.config import PortalSettings
from portal.db import Sessions, transaction
from portal.demo_courses import RUNNING, WAITING, Guest, begin, join_link, progress
from portal.lifecycle import Status
from portal.models import Course, Participation, User
from tests.portal.client import PortalClient
from tests.portal.clock import MovableClock
from tests.portal.makers import make_target, make_user

GUESTS = {role: Guest(role, role, role, role.capitalize()) for role in ("teacher", "governance", "student")}


def test_a_demo_begins_with_one_course_to_run_and_one_to_decide_on_and_finds_them_again(
    session_factory: Sessions, clock: MovableClock, settings: PortalSettings
) -> None:
    with transaction(session_factory) as session:
        make_target(session, "local")
    first = begin(session_factory, clock, settings, GUESTS)
    assert begin(session_factory, clock, settings, GUESTS) == first
    with session_factory() as session:
        courses = {course.slug: course.status for course in session.scalars(select(Course))}
        assert courses == {RUNNING: Status.APPROVED, WAITING: Status.REQUESTED}
        joined = session.scalars(select(User.login).join(Participation, Participation.user_id == User.id)).all()
        assert joined == ["student"]
    assert progress(session_factory, first).status is Status.APPROVED
    assert str(join_link(session_factory, settings, first)).startswith("https://portal.example.org/join/")


def test_a_demo_whose_course_is_over_begins_a_new_one(
    session_factory: Sessions, clock: MovableClock, settings: PortalSettings
) -> None:
    with transaction(session_factory) as session:
        make_target(session, "local")
    first = begin(session_factory, clock, settings, GUESTS)
    with transaction(session_factory) as session:
        session.get_one(Course, first).status = Status.ARCHIVED
    clock.move(days=120)
    assert begin(session_factory, clock, settings, GUESTS) != first


def test_the_demos_clock_moves_for_all_processes_and_sessions_stay(
    settings: PortalSettings, session_factory: Sessions, engine: Engine
) -> None:
    demo_settings = settings.model_copy(update={"demo": True})
    app = create_app(demo_settings, engine=engine)
    app.test_client_class = PortalClient
    client = app.test_client()
    assert isinstance(client, PortalClient)
    with transaction(session_factory) as session:
        user = make_user(session, SiteClock(MovableClock().zone))
    client.sign_in(user)
    assert client.post("/demo/clock", data={"days": "7", "next": "/profile/"}).headers["Location"] == "/profile/"
    other = demo.site_clock(demo_settings, session_factory)
    assert timedelta(days=6, hours=23) < other.now() - datetime.now(UTC) < timedelta(days=7, hours=1)
    assert abs(other.wall() - datetime.now(UTC)) < timedelta(hours=1)
    assert client.get("/profile/").status_code == 200
    for days in ("", "0", "-1", "401", "x", "9" * 30):
        assert client.post("/demo/clock", data={"days": days}).status_code == 400


def test_elsewhere_the_clock_is_the_machines(
    settings: PortalSettings, session_factory: Sessions, app: Flask, client: PortalClient, clock: MovableClock
) -> None:
    with transaction(session_factory) as session:
        user = make_user(session, clock)
        demo.move(session, clock, Actor(user), 7)
    still = demo.site_clock(settings, session_factory)
    assert abs(still.now() - datetime.now(UTC)) < timedelta(hours=1)
    client.sign_in(user)
    assert client.post("/demo/clock", data={"days": "7"}).status_code == 404


@pytest.mark.parametrize("days", [0, -1, 401])
def test_the_clock_never_goes_back(session_factory: Sessions, clock: MovableClock, days: int) -> None:
    with transaction(session_factory) as session, pytest.raises(ValueError, match="1 to 400"):
        demo.move(session, clock, Actor(None), days)
