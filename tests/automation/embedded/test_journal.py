"""The state while an operation works on it."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from automation.embedded import journal as journal_module
from automation.embedded.journal import Journal
from automation.embedded.state import Pending, Resource, Snapshot
from automation.embedded.store import StoreError
from tests.support.waiting import wait_for


def resource(name: str) -> Resource:
    return Resource(urn=name, custom=True, type="t")


class Written:
    """Takes what a journal writes; `refusals` are writes that the store refuses first."""

    def __init__(self, refusals: int = 0) -> None:
        self.states: list[tuple[list[str], list[str]]] = []
        self.refusals = refusals
        self.tries = 0

    def __call__(self, snapshot: Snapshot) -> Callable[[], None]:
        state = [r.urn for r in snapshot.resources], [f"{p.kind} {p.resource.urn}" for p in snapshot.pending]

        def write() -> None:
            self.tries += 1
            if self.refusals:
                self.refusals -= 1
                raise StoreError("down")
            self.states.append(state)

        return write


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "_RETRIES", (0.0, 0.0))


def test_what_is_begun_is_written_before_and_what_came_of_it_after() -> None:
    written = Written()
    old, new = resource("old"), resource("new")
    journal = Journal(Snapshot([old]), written)

    journal.begin(new, "creating")
    journal.end(new, lambda: journal.add(new))
    journal.begin(old, "deleting")
    journal.end(old, lambda: journal.drop(old))

    assert written.states == [
        (["old"], ["creating new"]), (["new", "old"], []), (["new", "old"], ["deleting old"]), (["new"], [])
    ]  # fmt: skip


def test_a_note_waits_for_the_next_write_or_the_end() -> None:
    written = Written()
    journal = Journal(Snapshot(), written)

    journal.note(lambda: journal.add(resource("a")), write=False)
    assert written.states == []
    journal.close()
    journal.close()

    assert written.states == [(["a"], [])]


def test_only_interrupted_creates_stay_pending() -> None:
    written = Written()
    base = Snapshot([], [Pending(resource("a"), "creating"), Pending(resource("b"), "updating")])
    journal = Journal(base, written)

    journal.note(lambda: None, write=True)

    assert written.states == [([], ["creating a"])]


def test_a_store_that_refuses_for_a_moment_is_asked_again() -> None:
    written = Written(refusals=2)

    Journal(Snapshot(), written).note(lambda: None, write=True)

    assert len(written.states) == 1


def test_a_store_that_stays_down_is_told_and_what_was_done_is_written_when_it_is_back() -> None:
    written = Written(refusals=4)
    journal = Journal(Snapshot(), written)

    for name in "ab":
        with pytest.raises(StoreError):
            journal.note(lambda name=name: journal.add(resource(name)), write=True)  # type: ignore[misc]
    assert written.tries == 4  # the second write was not patient
    journal.close()

    assert written.states == [(["a", "b"], [])]


def test_threads_that_wait_for_a_write_share_the_next_one() -> None:
    first, go = threading.Event(), threading.Event()
    states: list[int] = []

    def save(snapshot: Snapshot) -> Callable[[], None]:
        count = len(snapshot.resources)

        def write() -> None:
            first.set()
            assert go.wait(30)
            states.append(count)

        return write

    journal = Journal(Snapshot(), save)
    names = iter("abcdefgh")

    def note() -> None:
        journal.note(lambda: journal.add(resource(next(names))), write=True)

    threads = [threading.Thread(target=note) for _ in range(8)]
    threads[0].start()
    assert first.wait(30)
    for thread in threads[1:]:
        thread.start()
    wait_for(lambda: len(journal.snapshot().resources) == 8, "all have noted their change")
    go.set()
    for thread in threads:
        thread.join()

    assert states == [1, 8]


def test_a_preview_writes_nothing() -> None:
    journal = Journal(Snapshot(), None)

    journal.begin(resource("a"), "creating")
    journal.close()

    assert [pending.kind for pending in journal.snapshot().pending] == ["creating"]
