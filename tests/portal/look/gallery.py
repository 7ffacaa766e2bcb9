"""An application that shows every part of pages with sample data, under the portal's own security headers."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

from flask import Flask, g, make_response, render_template, request
from jinja2 import ChoiceLoader, FileSystemLoader
from pydantic import BaseModel, Field
from werkzeug.wrappers import Response

import portal
from course_stack.spec import CourseSpec
from portal import look
from portal.actor import Actor
from portal.config import PortalSettings
from portal.forms import FormErrors, blank_form, parse_form
from portal.models import User
from portal.pictures.calendar import Bar, Figure, Picture, Zoom, calendar_picture, span, steps

PORTAL = Path(portal.__file__).parent
POLICY = "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; frame-ancestors 'none'"


class Wish(BaseModel):
    """A small form of every kind of input."""

    title: str = Field(title="title", description="Name of the course as people know it.", max_length=100)
    color: str = Field(default="", title="colour", max_length=20)
    agreed: bool = Field(default=False, title="agreed")


def settings(**changes: Any) -> PortalSettings:
    facts: dict[str, Any] = {
        "database_url": "postgresql://nobody@127.0.0.1:1/none",
        "secret_key": "not a secret, but long enough for a test",
        "public_url": "http://portal.localhost",
        "oidc_issuer": "https://id.example.org",
        "oidc_client_id": "jhaas-portal",
        "oidc_client_secret": "not a secret either",
        "contact": "courses@example.org",
        "site_name": "Example University courses",
    }
    return PortalSettings(**(facts | changes))


def person(name: str = "Maria Lehrer", **roles: bool) -> User:
    login = name.split(maxsplit=1)[0].lower()
    return User(login=login, name=name, email=f"{login}@example.org", subject=login, locale=None, **roles)


def gallery_app(**changes: Any) -> Flask:
    """`/` shows all parts, `/form` a form (POST checks it), `/confirm`, `/error`. `?as=nobody` is signed out."""
    app = Flask(__name__, static_folder=str(PORTAL / "static"))
    app.jinja_loader = ChoiceLoader(
        [FileSystemLoader(PORTAL / "templates"), FileSystemLoader(Path(__file__).parent / "templates")]
    )
    app.secret_key = "test"
    look.set_up(app, settings(**changes))
    app.extensions["jhaas-counts"]["approvals"] = lambda: 3
    app.jinja_env.globals["csrf_token"] = lambda: "token"

    def name_places() -> None:
        def nothing() -> str:
            return render_template("gallery.html", **sample())

        for _heading, places in look.NAVIGATION:
            for place in places:
                if place.endpoint not in app.view_functions:
                    app.add_url_rule(f"/places/{place.endpoint}", place.endpoint, nothing)
        for endpoint in ("profile.show", "profile.choose_language", "auth.sign_out", "auth.sign_in", "demo.move_clock"):
            app.add_url_rule(f"/places/{endpoint}", endpoint, nothing, methods=["GET", "POST"])

    @app.before_request
    def who() -> None:
        roles = {"may_request": True, "is_governance": True}
        g.actor = Actor(None if request.args.get("as") == "nobody" else person(**roles))

    @app.after_request
    def secure(response: Response) -> Response:
        response.headers["Content-Security-Policy"] = POLICY
        return response

    @app.get("/")
    def parts() -> str:
        return render_template("gallery.html", **sample())

    @app.route("/form", methods=["GET", "POST"])
    def form() -> Response:
        shown = blank_form(CourseSpec, {"slug": "intro"})
        if request.method == "POST":
            answer = parse_form(CourseSpec, request.form)
            if not isinstance(answer, FormErrors):
                return make_response(f"taken: {answer.title}")
            shown = answer
        return make_response(render_template("form.html", form=shown), 422 if shown.problems else 200)

    @app.get("/calendar/<zoom>")
    def calendar(zoom: Zoom) -> str:
        return render_template("calendar.html", picture=calendar_of(zoom))

    @app.get("/confirm")
    def confirm() -> str:
        return render_template(
            "confirm.html",
            title="End “Statistics I” early",
            consequences=["All notebooks are stopped.", "Homes are archived; people can fetch their files."],
            action_url="/confirm",
            button="End the course",
            back_url="/",
            reason_label="Reason",
        )

    @app.get("/error")
    def error() -> tuple[str, int]:
        facts = {"status": 404, "title": "Not found", "text": "There is nothing here.", "request_id": "abc"}
        return render_template("errors/error.html", **facts), 404

    name_places()
    return app


def calendar_of(zoom: Zoom) -> Picture:
    """Half a dozen courses around October 2026, more than the target has in one week."""
    today = dt.date(2026, 10, 14)
    first, last = span(zoom, today)
    days = [first + dt.timedelta(days=number) for number in range((last - first).days + 1)]
    courses = [
        ("Statistics with Python", dt.date(2026, 10, 5), 110, "good", 16),
        ("Machine learning for biologists", dt.date(2026, 10, 12), 60, "good", 24),
        ("R workshop", dt.date(2026, 10, 14), 3, "wait", 12),
        ("Summer school", dt.date(2026, 8, 3), 12, "over", 20),
        ("Databases", dt.date(2026, 10, 19), 100, "busy", 8),
        ("Numerics", dt.date(2027, 1, 7), 40, "bad", 30),
    ]
    bars = [
        Bar(title, day, day + dt.timedelta(days=length), tone, tone, "/", f"{size} GiB", wanted=tone == "wait")
        for title, day, length, tone, size in courses
    ]

    def used(day: dt.date, *, wanted: bool) -> float:
        return sum(
            size
            for bar, (*_rest, size) in zip(bars, courses, strict=True)
            if bar.first <= day <= bar.last and bar.wanted is wanted
        )

    levels = list(steps([(day, used(day, wanted=False), used(day, wanted=True)) for day in days]))
    figures = [
        Figure("Memory", 48, levels, "{:g} GiB".format),
        Figure("Cores", 64, levels, "{:g}".format),
    ]
    return calendar_picture(days, bars, figures, today)


def sample() -> dict[str, Any]:
    """What the gallery shows."""
    day = dt.date(2026, 10, 5)
    return {
        "day": day,
        "moment": dt.datetime(2026, 10, 5, 12, 5, tzinfo=dt.UTC),
        "people": [person(), person("Ömer Öztürk"), person("Student")],
        "life": [
            {"what": "Approved", "when": "Mon, 21 Sep 2026", "note": "by Gita Rat", "state": "done"},
            {"what": "Set up", "when": "Fri, 2 Oct 2026", "note": "", "state": "failed"},
            {"what": "Running", "when": "Mon, 5 Oct to Fri, 12 Feb 2027", "note": "", "state": "now"},
            {"what": "Closing", "when": "", "note": "Files are archived", "state": "next"},
        ],
    }
