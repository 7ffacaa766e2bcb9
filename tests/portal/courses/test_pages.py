"""The pages of courses: what each role sees and does, in as few statements as promised."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, event, select
from werkzeug.test import TestResponse

from portal.courses.changes import request_change
from portal.courses.decisions import approve
from portal.courses.requests import ask
from portal.courses.specs import design_of, revision_of
from portal.db import transaction
from portal.lifecycle import Status
from portal.models import CatalogueImage, ChangeRequest, Course, Participation, Revision, User
from portal.operations.ask import ask as ask_operation
from tests.portal.client import PortalClient
from tests.portal.courses.conftest import Site
from tests.portal.makers import make_course, make_image, make_target, make_user


@pytest.fixture
def visit(client: PortalClient, site: Site) -> Any:
    """`visit("teacher")` is the browser with that person signed in."""

    def sign_in(login: str) -> PortalClient:
        return client.sign_in(site.people[login])

    return sign_in


@contextmanager
def statements(engine: Engine) -> Iterator[list[str]]:
    """The SELECTs that pages make: what the session and its roles need is counted with them."""
    found: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.lstrip().upper().startswith(("SELECT", "WITH")):
            found.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    yield found
    event.remove(engine, "before_cursor_execute", note)


def form_of(site: Site, slug: str = "python-intro", **changes: Any) -> dict[str, str]:
    first = site.today + timedelta(days=7)
    fields = {
        "title": "Python for beginners",
        "slug": slug,
        "first_day": str(first),
        "last_day": str(first + timedelta(days=20)),
        "seats": "20",
        "join_policy": "asks",
        "target": "local",
        "image": "quay.io/jupyter/scipy-notebook:2026-10-05",
        "default_url": "/lab",
        "home_size": "2",
        "resources.memory_guarantee": "0.5",
        "resources.memory_limit": "1",
        "resources.cpu_guarantee": "0.1",
        "resources.cpu_limit": "1",
    }
    return {**fields, **changes}


def made(site: Site, status: Status = Status.ACTIVE, **more: Any) -> Course:
    with transaction(site.sessions) as session:
        return make_course(
            session, site.clock, site.people["teacher"], status=status, participants=(site.people["student"],), **more
        )


def value(answer: TestResponse, name: str) -> str:
    """What stands in a hidden field of a page."""
    found = re.search(rf'name="{name}" value="([^"]*)"', answer.text)
    assert found, name
    return found[1].replace("&#34;", '"').replace("&quot;", '"')


# --- asking


def test_a_teacher_asks_by_the_form(site: Site, visit: Any) -> None:
    browser = visit("teacher")
    assert "Ask for the course" in browser.get("/courses/new").text
    answer = browser.post("/courses/new", data=form_of(site))
    assert answer.status_code == 302, answer.text
    course = site.session.scalars(select(Course)).one()
    assert (course.status, course.seats, course.join_policy) == (Status.REQUESTED, 20, "asks")
    assert "waiting for approval" in browser.get(answer.location).text


def test_a_short_name_that_nobody_wrote_is_made_of_the_title(site: Site, visit: Any) -> None:
    answer = visit("teacher").post("/courses/new", data=form_of(site, slug=" ", title="Übung 2: Größen & Maße"))
    assert answer.status_code == 302, answer.text
    assert site.session.scalars(select(Course.slug)).one() == "uebung-2-groessen-masse"
    again = visit("teacher").post("/courses/new", data=form_of(site, slug="", title="Übung 2: Größen & Maße"))
    assert again.status_code == 422
    assert 'value="uebung-2-groessen-masse"' in again.text, "it is taken: what was made of the title can be changed"


def test_what_is_wrong_stands_beside_the_field_and_what_was_typed_stays(site: Site, visit: Any) -> None:
    answer = visit("teacher").post(
        "/courses/new", data=form_of(site, slug="Portal!", **{"resources.memory_limit": "0.3", "title": "My title"})
    )
    assert answer.status_code == 422
    assert 'value="Portal!"' in answer.text
    assert 'value="My title"' in answer.text
    assert 'id="f-slug-error"' in answer.text
    assert 'id="f-resources-memory_limit-error"' in answer.text
    assert site.session.scalars(select(Course)).all() == []


def test_a_slug_that_is_taken_is_said_beside_its_field(site: Site, visit: Any) -> None:
    made(site, slug="python-intro")
    answer = visit("teacher").post("/courses/new", data=form_of(site))
    assert answer.status_code == 422
    assert 'id="f-slug-error"' in answer.text


def test_a_choice_of_the_catalogue_fills_image_and_start_page(site: Site, visit: Any) -> None:
    with transaction(site.sessions) as session:
        image = make_image(session, "quay.io/jupyter/r-notebook:2026-10-05")
        image.default_url = "/rstudio"
    answer = visit("teacher").post("/courses/new", data=form_of(site, image="", catalogue=image.reference))
    assert answer.status_code == 302, answer.text
    design = design_of(revision_of(site.session, site.session.scalars(select(Course)).one()))
    assert (design.image, design.default_url) == (image.reference, "/rstudio")


BIG = {"image": "registry.example.org/big:1", "resources": {"memory_guarantee": 3, "memory_limit": 8}}
GIT = {"git_repositories": [{"url": "https://git.example.org/notes.git"}]}


@pytest.fixture
def places(site: Site) -> None:
    """Two places: `big` begins with an image and memory of its own, `local` with a repository."""
    with transaction(site.sessions) as session:
        make_target(session, "big", defaults=BIG)
        make_target(session, "local", defaults=GIT)
        make_image(session)


def begun(site: Site, place: str, **changes: str) -> dict[str, str]:
    """The form of a teacher who began it at the place and went to the other."""
    data = form_of(site, began=place, target={"big": "local", "local": "big"}[place], seats="20", **changes)
    return {**data, "git_repositories-0-url": "https://git.example.org/notes.git"} if place == "local" else data


@pytest.mark.usefixtures("places")
def test_the_form_begins_with_what_its_place_begins_with(site: Site, visit: Any) -> None:
    page = visit("teacher").get("/courses/new").text
    assert value_of(page, "began") == "big", "the first place"
    assert re.findall(r'<option value="(big|local)"( selected)?>', page) == [("big", " selected"), ("local", "")]
    assert [value_of(page, name) for name in ("image", "resources.memory_guarantee", "resources.memory_limit")] == [
        "registry.example.org/big:1", "3", "8",
    ]  # fmt: skip
    assert "https://git.example.org/notes.git" not in page


@pytest.mark.usefixtures("places")
def test_what_nobody_changed_follows_another_place_and_is_seen_before_it_is_asked_for(site: Site, visit: Any) -> None:
    browser = visit("teacher")
    sent = begun(site, "local", **{"resources.memory_limit": "6"})
    counted = browser.post("/courses/estimate", data=sent).text
    assert "begins with other values: image; memory per person, guarantee; git repositories." in counted
    page = browser.post("/courses/new", data=sent).text
    assert "They stand in the form now" in page
    names = ("began", "image", "resources.memory_guarantee", "resources.memory_limit", "git_repositories-0-url")
    assert [value_of(page, name) for name in names] == ["big", "registry.example.org/big:1", "3", "6", ""]
    assert site.session.scalars(select(Course)).all() == []
    seen = {**sent, "began": "big", "image": "registry.example.org/big:1", "resources.memory_guarantee": "3"}
    assert counted.endswith(browser.post("/courses/estimate", data=seen).text.lstrip()), "it was counted as it is shown"
    assert browser.post("/courses/new", data=seen).status_code == 302
    assert site.session.scalars(select(Course)).one().target_name == "big"


@pytest.mark.usefixtures("places")
def test_what_was_changed_by_hand_stays_at_another_place(site: Site, visit: Any) -> None:
    mine = {"git_repositories-0-url": "https://git.example.org/mine.git", "image": "registry.example.org/mine:1"}
    sent = {**begun(site, "big"), **mine}
    page = visit("teacher").post("/courses/new", data={**sent, "deed": "check"}).text
    assert [value_of(page, name) for name in mine] == list(mine.values())
    assert visit("teacher").post("/courses/new", data=sent).status_code == 302, "there is nothing to look at"


def value_of(page: str, name: str) -> str:
    """What stands in an input of a page."""
    found = re.search(rf'name="{re.escape(name)}"[^>]* value="([^"]*)"', page)
    assert found, name
    return found[1]


@pytest.mark.parametrize("path", ["/courses/estimate", "/courses/new"])
def test_the_estimate_says_size_and_room_and_saves_nothing(site: Site, visit: Any, path: str) -> None:
    made(site)
    data = form_of(site, title="", slug="", deed="check")
    answer = visit("teacher").post(path, data=data)
    assert answer.status_code == 200
    assert "There is room for it." in answer.text
    assert "21" in answer.text  # notebooks: each seat and the lead
    too_large = visit("teacher").post(path, data={**data, "seats": "900"})
    assert "make it smaller" in too_large.text
    unfinished = visit("teacher").post(path, data={**data, "first_day": ""})
    assert "these have to be right" in unfinished.text
    assert len(site.session.scalars(select(Course)).all()) == 1


def test_the_same_course_again_begins_with_what_it_had(site: Site, visit: Any) -> None:
    old = made(site, Status.ARCHIVED, spec={"seats": 37, "title": "Statistics"})
    answer = visit("teacher").get(f"/courses/new?from={old.id}")
    assert 'value="37"' in answer.text
    assert 'value="Statistics"' in answer.text
    for stranger in ("colleague",):
        assert visit(stranger).get(f"/courses/new?from={old.id}").status_code == 404
    assert visit("teacher").get("/courses/new?from=nonsense").status_code == 404


@pytest.mark.parametrize("method", ["get", "post"])
def test_people_who_may_not_ask_have_no_form(site: Site, visit: Any, method: str) -> None:
    assert getattr(visit("student"), method)("/courses/new").status_code == 403


def test_governance_has_the_form_without_being_a_teacher(site: Site, visit: Any) -> None:  # D6
    assert visit("gina").get("/courses/new").status_code == 200
    assert visit("gina").post("/courses/new", data=form_of(site)).status_code == 302


def test_a_request_is_changed_and_withdrawn_by_its_page(site: Site, visit: Any) -> None:
    course: Course = site.do(ask, site.clock, site.actor("teacher"), site.wanted())
    browser = visit("teacher")
    page = browser.get(f"/courses/{course.id}/request")
    data = form_of(site, seats="25", version=value(page, "version"))
    assert browser.post(f"/courses/{course.id}/request", data=data).status_code == 302
    assert site.course(course).seats == 25
    assert browser.post(f"/courses/{course.id}/request", data=data).status_code == 409  # an older page
    page = browser.get(f"/courses/{course.id}/withdraw")
    address = f"/courses/{course.id}/withdraw"
    assert browser.post(address, data={"version": value(page, "version")}).status_code == 422  # no consent
    assert browser.post(address, data={"version": value(page, "version"), "consent": "yes"}).status_code == 302
    assert site.course(course).status is Status.WITHDRAWN


# --- seeing


def test_a_participant_sees_what_is_on_the_list_and_nothing_else(site: Site, visit: Any) -> None:  # D4
    course = made(
        site,
        spec={
            "description": "What you learn",
            "environment": {"SECRET_PLAN": "42"},
            "git_repositories": [{"url": "https://git.example.org/solutions.git"}],
        },
        first_day=site.today,
        people_access="everybody",
    )
    page = visit("student").get(f"/courses/{course.id}").text
    assert "What you learn" in page
    assert f'href="{course.hub_url}"' in page
    for hidden in ("SECRET_PLAN", "solutions", "scipy-notebook", course.slug + "<", "GiB", "Operations", "Changes"):
        assert hidden not in page
    assert site.people["stranger"].email not in page


def test_strangers_learn_nothing_of_a_course(site: Site, visit: Any) -> None:  # D5
    course = made(site)
    for login in ("stranger", "colleague"):
        browser = visit(login)
        for path in ("", "/change", "/extend", "/end", "/withdraw", "/request"):
            there = browser.get(f"/courses/{course.id}{path}")
            nowhere = browser.get(f"/courses/{uuid.uuid4()}{path}")
            assert (there.status_code, nowhere.status_code) == (404, 404), path
        assert "Python" not in browser.get("/").text


def test_who_left_or_was_rejected_is_a_stranger_again(site: Site, visit: Any) -> None:
    course = made(site)
    with transaction(site.sessions) as session:
        session.get_one(Participation, (course.id, site.people["student"].id)).status = "removed"
    assert visit("student").get(f"/courses/{course.id}").status_code == 404


def test_participants_enter_from_the_first_day_and_leads_before(site: Site, visit: Any) -> None:
    course = made(site)
    assert f'href="{course.hub_url}"' not in visit("student").get(f"/courses/{course.id}").text
    assert f'href="{course.hub_url}"' not in visit("student").get("/").text
    assert f'href="{course.hub_url}"' in visit("teacher").get(f"/courses/{course.id}").text
    site.clock.set(course.first_day)
    # the hub lets them in as soon as it knows, a moment after midnight
    assert f'href="{course.hub_url}"' not in visit("student").get(f"/courses/{course.id}").text
    assert f'href="{course.hub_url}"' not in visit("student").get("/").text
    with transaction(site.sessions) as session:
        session.get_one(Course, course.id).people_access = "everybody"
    assert f'href="{course.hub_url}"' in visit("student").get(f"/courses/{course.id}").text
    assert f'href="{course.hub_url}"' in visit("student").get("/").text


def test_somebody_who_waits_is_told_so(site: Site, visit: Any) -> None:
    course = made(site)
    with transaction(site.sessions) as session:
        session.get_one(Participation, (course.id, site.people["student"].id)).status = "waiting"
    assert "A teacher has to let you in" in visit("student").get(f"/courses/{course.id}").text
    assert "A teacher has to let you in" in visit("student").get("/").text


@pytest.mark.parametrize("status", Status)
@pytest.mark.parametrize("login", ["teacher", "gina"])
def test_every_status_has_its_page(site: Site, visit: Any, status: Status, login: str) -> None:
    course = made(site, status)
    answer = visit(login).get(f"/courses/{course.id}")
    assert answer.status_code == 200
    assert course.title in answer.text
    assert visit("student").get(f"/courses/{course.id}").status_code == 200
    assert visit(login).get("/").status_code == 200


def test_what_happens_now_stands_on_the_courses_page(site: Site, visit: Any) -> None:
    course = made(site)
    assert "Under way" not in visit("teacher").get(f"/courses/{course.id}").text
    with transaction(site.sessions) as session:
        ask_operation(session, site.clock, site.actor("gina"), session.get_one(Course, course.id), "update")
    page = visit("teacher").get(f"/courses/{course.id}").text
    assert "Under way" in page
    assert "data-events=" in page
    assert "Under way" not in visit("student").get(f"/courses/{course.id}").text


def test_my_courses_come_in_pieces(site: Site, visit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portal.courses.lists.PAGE", 2)
    for number in range(5):
        made(site, Status.ARCHIVED, slug=f"old-{number}", spec={"title": f"Old {number}"})
    browser, path, seen = visit("teacher"), "/?over=yes", []
    while path:
        page = browser.get(path).text
        seen += re.findall(r"Old \d", page)
        found = re.search(r'href="([^"]*)" rel="next"', page)
        path = found[1].replace("&amp;", "&") if found else ""
    assert sorted(seen) == [f"Old {number}" for number in range(5)]


def test_my_courses_take_six_statements_however_many_there_are(site: Site, visit: Any, engine: Engine) -> None:
    browser = visit("teacher")
    browser.get("/")
    counts = []
    for number in range(0, 12, 6):
        for each in range(6):
            made(site, slug=f"course-number-{number + each}")
        with statements(engine) as found:
            assert browser.get("/").status_code == 200
        counts.append(len(found))
    assert counts[0] == counts[1] <= 6


def test_governances_lists_take_six_statements_however_long_they_are(site: Site, visit: Any, engine: Engine) -> None:
    browser = visit("gina")
    for path in ("/governance/", "/governance/courses", "/governance/courses?q=Python&status=active", "/calendar"):
        browser.get(path)
        counts = []
        for number in range(2):
            for each in range(4):
                slug = f"course-{path.count('q')}{len(path)}-{number}{each}"
                made(site, Status.REQUESTED if each % 2 else Status.ACTIVE, slug=slug)
            with statements(engine) as found:
                assert browser.get(path).status_code == 200
            counts.append(len(found))
        assert counts[0] == counts[1], path
        assert counts[1] <= 6, path


# --- deciding


def test_governance_approves_from_the_queue(site: Site, visit: Any) -> None:
    course: Course = site.do(ask, site.clock, site.actor("teacher"), site.wanted())
    browser = visit("gina")
    queue = browser.get("/governance/")
    assert f"/governance/courses/{course.id}" in queue.text
    assert "fits" in queue.text
    page = browser.get(f"/governance/courses/{course.id}")
    assert "There is room for it." in page.text
    data = {"version": value(page, "version"), "seen": value(page, "seen")}
    assert browser.post(f"/governance/courses/{course.id}/approve", data=data).status_code == 302
    assert site.course(course).status is Status.APPROVED
    assert browser.post(f"/governance/courses/{course.id}/approve", data=data).status_code == 409  # A23


def test_figures_that_moved_are_shown_beside_those_that_were_seen(site: Site, visit: Any) -> None:
    course: Course = site.do(ask, site.clock, site.actor("teacher"), site.wanted())
    browser = visit("gina")
    page = browser.get(f"/governance/courses/{course.id}")
    other: Course = site.do(ask, site.clock, site.actor("colleague"), site.wanted("other-course"))
    site.do(approve, site.clock, site.settings, site.actor("gustav"), other.id, version=other.version)
    data = {"version": value(page, "version"), "seen": value(page, "seen")}
    answer = browser.post(f"/governance/courses/{course.id}/approve", data=data)
    assert answer.status_code == 409
    assert "The figures have moved" in answer.text
    assert "was 0 " in answer.text  # what others held when the page was made
    assert site.course(course).status is Status.REQUESTED
    data["seen"] = value(answer, "seen")
    assert browser.post(f"/governance/courses/{course.id}/approve", data=data).status_code == 302


def test_an_approval_without_room_says_what_is_missing(site: Site, visit: Any) -> None:
    course: Course = site.do(ask, site.clock, site.actor("teacher"), site.wanted())
    browser = visit("gina")
    with transaction(site.sessions) as session:
        make_target(session, memory_mib=2048)
    page = browser.get(f"/governance/courses/{course.id}")
    assert "not enough room" in page.text
    data = {"version": value(page, "version"), "seen": value(page, "seen")}
    answer = browser.post(f"/governance/courses/{course.id}/approve", data=data)
    assert answer.status_code == 409
    assert "There is no room" in answer.text


def test_a_rejection_needs_its_reason(site: Site, visit: Any) -> None:
    course: Course = site.do(ask, site.clock, site.actor("teacher"), site.wanted())
    browser = visit("gina")
    data = {"version": str(course.version), "reason": " "}
    answer = browser.post(f"/governance/courses/{course.id}/reject", data=data)
    assert answer.status_code == 422
    assert 'id="p-reason-error"' in answer.text
    data["reason"] = "Please share the hub of the other group"
    assert browser.post(f"/governance/courses/{course.id}/reject", data=data).status_code == 302
    assert "Please share the hub" in visit("teacher").get(f"/courses/{course.id}").text


@pytest.mark.parametrize("login", ["teacher", "student"])
def test_governances_pages_are_for_governance(site: Site, visit: Any, login: str) -> None:
    course = made(site, Status.REQUESTED)
    browser = visit(login)
    for path in ("/governance/", "/governance/courses", f"/governance/courses/{course.id}", "/governance/images"):
        assert browser.get(path).status_code == 403
    assert browser.post(f"/governance/courses/{course.id}/approve", data={"version": "1"}).status_code == 403


def test_nobody_is_offered_to_approve_their_own_course(site: Site, visit: Any) -> None:
    course: Course = site.do(ask, site.clock, site.actor("gina"), site.wanted())
    page = visit("gina").get(f"/governance/courses/{course.id}").text
    assert "nobody approves their own course" in page
    assert f"/governance/courses/{course.id}/approve" not in page


def test_a_change_goes_from_form_to_decision(site: Site, visit: Any) -> None:
    course = made(site, spec={"shared_volumes": [{"name": "data", "kind": "share", "mount_path": "/mnt/d", "size": 1}]})
    browser = visit("teacher")
    page = browser.get(f"/courses/{course.id}/change")
    fields = dict(re.findall(r'<(?:input|textarea)[^>]* name="([^"]+)"[^>]* value="([^"]*)"', page.text))
    fields.pop("csrf_token")
    fields["shared_volumes-0-kind"] = "share"
    fields = {name: text for name, text in fields.items() if not name.startswith("profiles")}
    answer = browser.post(f"/courses/{course.id}/change", data={**fields, "seats": "25", "comment": "More people"})
    assert answer.status_code == 302, answer.text
    change = site.session.scalars(select(ChangeRequest)).one()
    assert change.changes == {"seats": 25}
    assert "Number of participants" in browser.get(f"/courses/{course.id}").text
    assert browser.get(f"/courses/{course.id}/change").status_code == 409  # one at a time
    browser = visit("gina")
    page = browser.get(f"/governance/changes/{change.id}")
    assert "More people" in page.text
    data = {"base": value(page, "base"), "seen": value(page, "seen")}
    assert browser.post(f"/governance/changes/{change.id}/approve", data=data).status_code == 302
    assert site.course(course).seats == 25
    assert browser.post(f"/governance/changes/{change.id}/approve", data=data).status_code == 409  # A20


def test_a_change_that_breaks_a_rule_comes_back_with_its_field(site: Site, visit: Any) -> None:
    course = made(site)
    data = form_of(site, slug=course.slug, home_size="1", base="1")
    answer = visit("teacher").post(f"/courses/{course.id}/change", data=data)
    assert answer.status_code == 422
    assert 'id="f-home_size-error"' in answer.text


def test_changes_are_withdrawn_and_rejected_by_their_pages(site: Site, visit: Any) -> None:
    course = made(site)
    design = design_of(revision_of(site.session, course))

    def open_one(seats: int) -> uuid.UUID:
        wanted = design.model_copy(update={"seats": seats})
        change: ChangeRequest = site.do(request_change, site.clock, site.actor("teacher"), course.id, wanted, base=1)
        return change.id

    first = open_one(25)
    assert visit("student").post(f"/courses/changes/{first}/withdraw").status_code == 404
    assert visit("teacher").post(f"/courses/changes/{first}/withdraw").status_code == 302
    second = open_one(26)
    assert visit("gina").post(f"/governance/changes/{second}/reject", data={"reason": ""}).status_code == 422
    assert visit("gina").post(f"/governance/changes/{second}/reject", data={"reason": "No"}).status_code == 302
    states = [change.status for change in site.course(course).changes]
    assert states == ["withdrawn", "rejected"]


# --- deeds of a course that runs


def test_the_extension_page_says_the_bounds_and_the_room(site: Site, visit: Any) -> None:
    course = made(site)
    browser, address = visit("teacher"), f"/courses/{course.id}/extend"
    later = course.last_day + timedelta(days=14)
    assert "There is room for it." in browser.get(f"{address}?last_day={later}").text
    for wrong in ("", "soon", str(course.last_day), str(course.last_day + timedelta(days=93))):
        answer = browser.post(address, data={"last_day": wrong})
        assert answer.status_code == 422
        assert 'id="p-last_day-error"' in answer.text
    assert browser.post(address, data={"last_day": str(later)}).status_code == 302
    assert site.course(course).last_day == later


def test_a_course_is_ended_only_by_who_means_it(site: Site, visit: Any) -> None:
    course = made(site)
    browser, address = visit("teacher"), f"/courses/{course.id}/end"
    assert "Every file is copied" in browser.get(address).text
    assert site.course(course).status is Status.ACTIVE  # a GET changes nothing
    assert browser.post(address, data={"reason": "Over"}).status_code == 422
    assert browser.post(address, data={"reason": "", "consent": "yes"}).status_code == 422
    assert browser.post(address, data={"reason": "Over", "consent": "yes"}).status_code == 302
    assert site.course(course).status is Status.CLOSING


def test_leads_are_named_and_removed_on_the_page(site: Site, visit: Any) -> None:
    course = made(site)
    browser, address = visit("teacher"), f"/courses/{course.id}/leads"
    answer = browser.post(address, data={"who": "nobody"})
    assert answer.status_code == 422
    assert 'id="p-who-error"' in answer.text
    assert browser.post(address, data={"who": "colleague"}).status_code == 302
    teacher = site.people["teacher"].id
    answer = browser.post(f"{address}/{teacher}/remove")
    assert answer.location == "/"
    assert browser.get(f"/courses/{course.id}").status_code == 404
    assert visit("colleague").post(f"{address}/{uuid.uuid4()}/remove").status_code == 404


def test_trying_again_is_offered_and_done(site: Site, visit: Any) -> None:
    course = made(site, Status.DEPLOY_FAILED)
    browser = visit("teacher")
    assert f"/courses/{course.id}/retry" in browser.get(f"/courses/{course.id}").text
    assert browser.post(f"/courses/{course.id}/retry").status_code == 302
    assert site.course(course).status is Status.DEPLOYING
    assert f"/courses/{course.id}/retry" not in browser.get(f"/courses/{course.id}").text


# --- calendar, catalogue


@pytest.mark.parametrize("zoom", ["week", "month", "term", "year", "nonsense"])
def test_the_calendar_names_a_teachers_own_courses_and_all_to_governance(site: Site, visit: Any, zoom: str) -> None:
    made(site, spec={"title": "Mine"})
    with transaction(site.sessions) as session:
        make_course(session, site.clock, site.people["colleague"], status=Status.ACTIVE, spec={"title": "Theirs"})
    path = f"/calendar?zoom={zoom}&from={site.today}"
    page = visit("teacher").get(path).text
    assert "Mine" in page
    assert "Theirs" not in page
    assert "Another course" in page
    assert "Theirs" in visit("gina").get(path).text
    assert visit("student").get(path).status_code == 403


@pytest.mark.parametrize("day", ["", "nonsense", "0001-01-01", "9999-12-31", "2027-02-30"])
def test_no_day_breaks_the_calendar(site: Site, visit: Any, day: str) -> None:
    assert visit("teacher").get(f"/calendar?from={day}&zoom=year&target=nowhere").status_code == 200


def test_the_catalogue_is_kept_by_its_pages(site: Site, visit: Any) -> None:
    browser = visit("gina")
    entry = {"title": "R", "reference": "quay.io/jupyter/r-notebook:1", "default_url": "/rstudio", "is_offered": "true"}
    assert browser.get("/governance/images/new").status_code == 200
    assert browser.post("/governance/images/new", data=entry).status_code == 302
    assert browser.post("/governance/images/new", data=entry).status_code == 422
    image = site.session.scalars(select(CatalogueImage)).one()
    answer = browser.post(f"/governance/images/{image.id}", data={**entry, "reference": "no tag"})
    assert answer.status_code == 422
    assert 'id="f-reference-error"' in answer.text
    assert browser.post(f"/governance/images/{image.id}", data={**entry, "is_offered": "false"}).status_code == 302
    assert "R</a>" in browser.get("/governance/images").text
    assert browser.get(f"/governance/images/{uuid.uuid4()}").status_code == 404
    assert entry["reference"] not in visit("teacher").get("/courses/new").text


def test_a_course_whose_leads_lost_their_role_is_shown_to_governance(site: Site, visit: Any) -> None:
    course = made(site, spec={"title": "Orphan"})
    assert "Courses without a teacher" not in visit("gina").get("/governance/courses").text
    with transaction(site.sessions) as session:
        session.get_one(User, site.people["teacher"].id).may_request = False
    page = visit("gina").get("/governance/courses").text
    assert "Courses without a teacher" in page
    assert str(course.id) in page


def test_hostile_titles_stay_text(site: Site, visit: Any) -> None:
    title = '<script>alert("x")</script>'
    with transaction(site.sessions) as session:
        person = make_user(session, site.clock, "mallory", teacher=True, name="<b>Mallory</b>")
    site.people["mallory"] = person
    course: Course = site.do(ask, site.clock, site.actor("mallory"), site.wanted(title=title))
    for login, path in (
        ("mallory", "/"),
        ("mallory", f"/courses/{course.id}"),
        ("gina", "/governance/"),
        ("gina", "/governance/courses"),
        ("gina", f"/governance/courses/{course.id}"),
        ("gina", "/calendar"),
    ):
        page = visit(login).get(path).text
        assert "<script>alert" not in page, path
        assert "<b>Mallory" not in page, path


def test_the_page_tells_of_a_change_that_was_taken_back(site: Site, visit: Any) -> None:
    with transaction(site.sessions) as session:
        course = make_course(session, site.clock, site.people["teacher"], status=Status.ACTIVE, approved_revision=2)
        first = course.revisions[0]
        course.revisions.append(Revision(number=2, spec=first.spec, created_at=first.created_at))
    told = "the course goes on as it was before"
    assert told not in visit("teacher").get(f"/courses/{course.id}").text, "it is about to be carried out"
    with transaction(site.sessions) as session:
        operation = ask_operation(session, site.clock, site.actor("gina"), session.get_one(Course, course.id), "update")
        operation.status, operation.finished_at = "failed", site.clock.now()
    assert told in visit("teacher").get(f"/courses/{course.id}").text
