"""Operations, audit log and platform as pages, and an operation's stream of events."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator

import pytest
from flask import Flask
from sqlalchemy import event, select

from automation import failures
from automation.failures import OperationFailed
from portal.db import Sessions, transaction
from portal.hub_api import HubRefused
from portal.models import Attempt, Operation
from portal.operations.causes import CAUSES, kind_of
from portal.operations.events import wake
from portal.views import operations
from portal.web import live
from portal.web.live import Crowded, Live
from portal.worker.notebook import NotebookFailed
from tests.portal.client import PortalClient
from tests.portal.clock import MovableClock
from tests.portal.look.sample import Sample, fill, tell


@pytest.fixture
def sample(session_factory: Sessions, clock: MovableClock) -> Sample:
    with transaction(session_factory) as session:
        return fill(session, clock)


@pytest.fixture(autouse=True)
def nobody_listens_afterwards(app: Flask) -> Iterator[None]:
    yield
    if found := app.extensions.get("jhaas-live"):
        found.stop()


@pytest.fixture
def governance(client: PortalClient, sample: Sample) -> PortalClient:
    return client.sign_in(sample.governance)


def test_governance_finds_operations_by_kind_state_and_course(governance: PortalClient, sample: Sample) -> None:
    page = governance.get("/operations/").text
    assert all(one.title in page for one in (sample.courses["databases"], sample.courses["numerics"]))
    assert "Numerics" not in governance.get("/operations/?status=running").text
    assert "Numerics" in governance.get("/operations/?status=failed&kind=deploy").text
    assert "Databases" not in governance.get("/operations/?course=numerics").text
    assert "No operation" in governance.get("/operations/?before=1").text


@pytest.mark.parametrize(
    "query",
    ["?before=99999999999999999999", "?kind=x&status=lost", "?before=²", "?before=9&endpoint=x&_scheme=y&_anchor=z"],
)
def test_odd_filters_are_no_error(governance: PortalClient, query: str) -> None:
    assert governance.get(f"/operations/{query}").status_code == 200
    assert governance.get(f"/audit/{query}&until=never&person=%20").status_code == 200


def test_an_operation_is_readable_without_scripts(governance: PortalClient, sample: Sample) -> None:
    page = governance.get(f"/operations/{sample.operations['running'].id}").text
    assert "The stack is brought to the wanted state." in page
    assert "home-folders" in page
    assert "+ hub creating (0s) &lt;b&gt;&amp;" in page
    assert 'value="2"' in page


def test_a_failure_is_told_in_the_readers_language_with_what_the_engine_said_beneath(
    governance: PortalClient, sample: Sample
) -> None:
    operation = sample.operations["failed"]
    pages = ("/operations/", f"/operations/{operation.id}", f"/courses/{operation.course_id}", "/platform/")
    for language, cause in (
        ("en", "A network port that the hub needs is taken."),
        ("de", "Ein Netzwerkport, den der Hub braucht, ist belegt."),
    ):
        for path in pages:
            page = governance.get(path, headers={"Accept-Language": language}).text
            assert cause in page, path
            assert f'<span lang="en">{operation.failure}</span>' in page, path
    assert "Die Verwaltung wurde benachrichtigt" in governance.get(pages[1], headers={"Accept-Language": "de"}).text


def test_every_kind_of_failure_has_words() -> None:
    kinds = {name for name, one in vars(failures).items() if isinstance(one, type) and issubclass(one, OperationFailed)}
    assert kinds <= CAUSES.keys()
    assert kind_of(NotebookFailed("x")) == "NotebookFailed"
    assert kind_of(HubRefused("x", status=403)) == "HubFailed", "the nearest one"


def test_leads_see_their_operations_and_nobody_else_does(client: PortalClient, sample: Sample) -> None:
    address = f"/operations/{sample.operations['running'].id}"
    for path in ("", "/log", "/news", "/events"):
        assert client.sign_in(sample.student).get(address + path).status_code == 404
    assert client.sign_in(sample.teacher).get(address).status_code == 200
    assert client.get("/operations/").status_code == 403
    assert client.get("/audit/").status_code == 403
    assert client.get("/platform/").status_code == 403


def test_the_log_is_the_whole_text(governance: PortalClient, sample: Sample) -> None:
    answer = governance.get(f"/operations/{sample.operations['failed'].id}/log")
    assert answer.mimetype == "text/plain"
    assert answer.text.startswith("numerics: deploy, failed\n")
    assert "An interrupted run was repaired." in answer.text
    assert "a network port is taken" in answer.text


def test_polling_gives_each_event_once_and_the_end(
    governance: PortalClient, sample: Sample, session_factory: Sessions
) -> None:
    address = f"/operations/{sample.operations['running'].id}/news"
    first = governance.get(address).json
    assert first is not None
    assert [one["type"] for one in first["events"]][:2] == ["started", "step"]
    assert first["end"] is None
    again = governance.get(address, query_string={"after": first["after"]}).json
    assert again == {"events": [], "after": first["after"], "end": None}
    with transaction(session_factory) as session:
        session.get_one(Operation, sample.operations["running"].id).status = "succeeded"
    assert governance.get(address, query_string={"after": first["after"]}).json["end"]["status"] == "succeeded"


def test_the_stream_goes_on_where_it_stopped_and_ends_with_the_operation(
    governance: PortalClient, sample: Sample
) -> None:
    address = f"/operations/{sample.operations['succeeded'].id}/events"
    answer = governance.get(address)
    assert answer.mimetype == "text/event-stream"
    messages = list(parsed(answer.text))
    assert [one["id"].partition(":")[2] for one in messages[:-1]] == [str(n) for n in range(1, 9)]
    assert messages[-1]["event"] == "end"
    assert json.loads(messages[-1]["data"])["status"] == "succeeded"
    rest = list(parsed(governance.get(address, headers={"Last-Event-ID": messages[5]["id"]}).text))
    assert rest == messages[6:]


def test_a_stream_wakes_when_something_is_told(
    app: Flask, governance: PortalClient, sample: Sample, session_factory: Sessions, clock: MovableClock
) -> None:
    operation = sample.operations["running"]
    answer = governance.get(f"/operations/{operation.id}/events", buffered=False)
    chunks: Iterator[str] = (bytes(chunk).decode() for chunk in answer.iter_encoded())
    seen = next(chunks)
    while "interrupted run" not in seen:
        seen += next(chunks)
    with transaction(session_factory) as session:
        attempt = session.scalars(select(Attempt).where(Attempt.operation_id == operation.id)).one()
        tell(session, clock, attempt, ("step", {"text": "A person who is nobody starts a notebook."}))
        attempt.result = "succeeded"
        session.get_one(Operation, operation.id).status = "succeeded"
        wake(session, attempt.id)
    rest = "".join(chunks)
    assert "A person who is nobody starts a notebook." in rest
    assert "event: end" in rest
    answer.close()


def test_a_watcher_is_woken_by_its_own_attempts_and_by_newer_ones(app: Flask, session_factory: Sessions) -> None:
    streams = Live(app.extensions["jhaas"].engine, most=2)
    mine, other = streams.enter(), streams.enter()
    mine.attempts, other.attempts = frozenset({5}), frozenset({9})
    woken = threading.Event()

    def watch() -> None:
        mine.wait(30)  # the listener's begin
        other.wait(30)
        mine.wait(30)
        woken.set()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    while not woken.is_set():
        with transaction(session_factory) as session:
            wake(session, 5)
        woken.wait(0.2)
    assert not other._news.is_set()
    thread.join()
    streams.stop()


def test_a_stream_ends_with_its_process_and_the_browser_comes_back(
    app: Flask, governance: PortalClient, sample: Sample
) -> None:
    answer = governance.get(f"/operations/{sample.operations['running'].id}/events", buffered=False)
    chunks = (bytes(chunk).decode() for chunk in answer.iter_encoded())
    assert next(chunks).startswith("retry: ")
    live.stop_all()
    assert "event: end" not in "".join(chunks)
    answer.close()


def test_a_stream_ends_by_itself_after_some_minutes_and_says_now_and_then_that_it_lives(
    governance: PortalClient, sample: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, seconds in (("STREAM_SECONDS", 1.0), ("COMMENT_SECONDS", 0.0), ("LOOK_SECONDS", 0.05)):
        monkeypatch.setattr(operations, name, seconds)
    text = governance.get(f"/operations/{sample.operations['running'].id}/events").text
    assert ": still here\n\n" in text
    assert "event: end" not in text


def test_no_more_streams_are_let_in_than_leave_threads_for_everybody_else(app: Flask) -> None:
    streams = Live(app.extensions["jhaas"].engine, most=1)
    with streams.watching(), pytest.raises(Crowded):
        streams.enter()
    with streams.watching():
        pass
    streams.stop()
    with pytest.raises(Crowded):
        streams.enter()


def test_a_crowded_portal_answers_503_and_the_page_polls(app: Flask, governance: PortalClient, sample: Sample) -> None:
    app.extensions["jhaas-live"] = Live(app.extensions["jhaas"].engine, most=0)
    assert governance.get(f"/operations/{sample.operations['running'].id}/events").status_code == 503


def test_the_audit_log_names_people_and_shows_before_and_after(governance: PortalClient, sample: Sample) -> None:
    page = governance.get("/audit/").text
    assert "Gita Rat" in page
    assert "203.0.113.7" in page
    assert "<del>requested</del>" in page
    assert "<ins>Maria Lehrer</ins>" in page
    assert "No entry" in governance.get("/audit/?person=nobody").text
    assert "course.approve" not in governance.get("/audit/?thing=operation").text
    assert "No entry" in governance.get("/audit/?until=2020-01-01").text


def test_the_platform_page_shows_what_is_not_as_it_should_be(governance: PortalClient, sample: Sample) -> None:
    page = governance.get("/platform/").text
    assert "worker-1:4711:abcd" in page
    assert "forgotten" in page
    assert "There is a stack, and no course that should have one." in page
    assert "hub-config" in page
    assert "a network port is taken" in page
    assert "Everything is as it should be." not in page


def parsed(text: str) -> Iterator[dict[str, str]]:
    """The messages of a stream."""
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line and not line.startswith(":"))
        if "data" in fields:
            yield fields


@pytest.mark.parametrize("path", ["/operations/", "/operations/?course=numerics&kind=deploy", "/audit/"])
def test_a_list_takes_six_statements_however_long_it_is(
    app: Flask, governance: PortalClient, sample: Sample, path: str
) -> None:
    governance.get(path)
    statements: list[str] = []
    engine = app.extensions["jhaas"].engine

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        statements.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    try:
        assert governance.get(path).status_code == 200
    finally:
        event.remove(engine, "before_cursor_execute", note)
    assert len(statements) <= 6, "\n".join(statements)
