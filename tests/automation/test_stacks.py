"""Deploy to destroy with the tiny program, on whichever engine is chosen."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from automation.events import Event, Finished, Progress, ResourceStep, Started
from automation.failures import IdentityProviderFailed, OnOtherTarget, OperationFailed, StackMissing
from automation.lease import Busy
from tests.automation.conftest import TARGET, Site
from tests.support.waiting import wait_for


def test_a_course_is_deployed_updated_and_destroyed_without_a_trace(site: Site) -> None:
    stacks = site.stacks()

    deployed = stacks.deploy(site.spec())
    assert deployed.changes["create"] == 3  # two files and the stack itself
    assert site.files() == {"one": "first", "two": "first"}
    assert stacks.names() == ["course-one"]

    updated = stacks.update(site.spec(content="second"))
    assert updated.changes["update"] == 2
    assert site.files() == {"one": "second", "two": "second"}

    stacks.destroy("course-one")
    assert site.files() == {}
    assert site.state_keys() == []
    assert site.work_folders() == []
    assert list((site.layout.operations / "leases").iterdir()) == []
    assert site.journal() == ["create one", "create two", "update one", "update two", "delete two", "delete one"]


def test_an_update_without_a_change_does_nothing_and_keeps_the_generation_of_tokens(site: Site) -> None:
    deployed = site.stacks().deploy(site.spec())

    updated = site.stacks().update(site.spec())

    assert updated.changes == {"same": 3}
    assert updated.outputs["rotation"] == deployed.outputs["rotation"] == deployed.operation
    assert site.journal() == ["create one", "create two"]


def test_deploying_again_makes_a_new_generation_of_tokens(site: Site) -> None:
    first = site.stacks().deploy(site.spec())
    second = site.stacks().deploy(site.spec())

    assert second.outputs["rotation"] == second.operation != first.outputs["rotation"]


def test_an_update_of_a_course_that_is_not_there_is_refused(site: Site) -> None:
    with pytest.raises(StackMissing, match="deploy the course first"):
        site.stacks().update(site.spec())
    assert site.files() == {}


def test_a_course_is_worked_on_where_it_is_and_nowhere_else(site: Site) -> None:
    """On another target its objects would be made a second time, or sought in vain and forgotten."""
    site.stacks().deploy(site.spec())
    elsewhere = site.stacks(target=TARGET.model_copy(update={"name": "elsewhere"}))
    sentence = "course-one is on the target trial, not on elsewhere: name trial, or destroy it there first"

    with pytest.raises(OnOtherTarget, match=sentence):
        elsewhere.deploy(site.spec(content="second"))
    with pytest.raises(OnOtherTarget, match=sentence):
        elsewhere.destroy("course-one")
    assert site.files() == {"one": "first", "two": "first"}
    assert site.journal() == ["create one", "create two"]

    site.stacks().destroy("course-one")
    assert elsewhere.deploy(site.spec()).changes["create"] == 3


def test_a_preview_says_what_would_be_done_and_does_nothing(site: Site) -> None:
    before = site.stacks().preview(site.spec())
    assert before.changes == {"create": 3}
    assert site.files() == {}
    assert site.stacks().names() == []

    site.stacks().deploy(site.spec())
    after = site.stacks().preview(site.spec(content="second"))
    assert after.changes == {"same": 1, "update": 2}
    assert site.files() == {"one": "first", "two": "first"}


def test_drift_is_told_and_nothing_is_changed(site: Site) -> None:
    site.stacks().deploy(site.spec(names=["kept", "changed", "removed"]))
    folder = site.home / "things" / "course-one"
    (folder / "changed").write_text("by hand")
    (folder / "removed").unlink()

    for _ in range(2):
        found = {one.name: (one.what, one.fields) for one in site.stacks().refresh("course-one")}
        assert found == {"changed": ("changed", ("content",)), "removed": ("gone", ())}
    assert site.files() == {"kept": "first", "changed": "by hand"}


def test_reading_outputs_leaves_no_log_among_those_of_operations(site: Site) -> None:
    done = site.stacks().deploy(site.spec())
    site.stacks().outputs("course-one")
    assert list(done.log.parent.iterdir()) == [done.log]


def test_outputs_tell_which_are_secret(site: Site) -> None:
    deployed = site.stacks().deploy(site.spec(secret="shown-to-nobody-else"))
    assert deployed.outputs["token"] == "[secret]"

    outputs = site.stacks().outputs("course-one")

    assert outputs["token"].value == "shown-to-nobody-else"
    assert {name for name, output in outputs.items() if output.secret} == {"token"}
    assert "shown-to-nobody-else" not in repr(outputs)


def test_destroying_what_is_not_there_succeeds(site: Site) -> None:
    assert site.stacks().destroy("never-was").changes == {}
    assert site.state_keys("never-was") == []


def test_events_tell_the_whole_story(site: Site) -> None:
    events: list[Event] = []

    result = site.stacks().deploy(site.spec(), on_event=events.append)

    assert isinstance(events[0], Started)
    assert events[0].operation == result.operation
    done = [event.name for event in events if isinstance(event, ResourceStep) and event.state == "done"]
    assert done[:2] == ["one", "two"]
    counts = [event for event in events if isinstance(event, Progress)]
    assert counts[-1].done == counts[-1].total == 3
    assert isinstance(events[-1], Finished)
    assert events[-1].failure is None
    assert "created" in result.log.read_text()


def test_a_watcher_that_raises_changes_nothing(site: Site) -> None:
    def stumble(_: Event) -> None:
        raise RuntimeError("the watcher stumbled")

    result = site.stacks().deploy(site.spec(), on_event=stumble)

    assert site.files() == {"one": "first", "two": "first"}
    assert "the watcher stumbled" in result.log.read_text()


def test_a_provider_that_fails_is_one_clear_failure_and_the_next_run_goes_on(site: Site) -> None:
    with pytest.raises(IdentityProviderFailed, match="nobody answers at the door") as failed:
        site.stacks().deploy(site.spec(failure="IdentityError: nobody answers at the door"))
    assert failed.value.operation
    assert "nobody answers" in Path(failed.value.log).read_text()

    site.stacks().deploy(site.spec())
    assert site.files() == {"one": "first", "two": "first"}


def test_a_program_that_fails_is_told_in_its_own_words(site: Site) -> None:
    stacks = site.stacks(program="tests.automation.tiny:failing")

    with pytest.raises(OperationFailed, match="this program always fails"):
        stacks.deploy(site.spec())


def test_a_second_command_on_a_busy_course_is_refused_at_once_and_told_who_holds_it(site: Site) -> None:
    stacks, running = site.stacks(), threading.Event()
    first = threading.Thread(
        target=stacks.deploy, args=[site.spec(slow={"create one": 1})], kwargs={"on_event": lambda _: running.set()}
    )
    first.start()
    assert running.wait(60)

    with pytest.raises(Busy, match="course-one is busy") as refused:
        site.stacks().destroy("course-one")
    assert refused.value.holder is not None
    assert refused.value.holder.kind == "deploy"

    first.join()
    assert site.files() == {"one": "first", "two": "first"}


def test_five_courses_deploy_at_once(site: Site) -> None:
    slugs = [f"course-{number}" for number in range(5)]
    failures: list[BaseException] = []
    stacks = site.stacks()

    def deploy(slug: str) -> None:
        try:
            stacks.deploy(site.spec(slug))
        except OperationFailed as failure:
            failures.append(failure)

    threads = [threading.Thread(target=deploy, args=(slug,)) for slug in slugs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    assert stacks.names() == slugs
    assert all(site.files(slug) == {"one": "first", "two": "first"} for slug in slugs)
    assert site.store.all_locks() == {}


def test_cancelling_ends_after_the_running_step_and_the_next_run_goes_on(site: Site) -> None:
    stacks, failures = site.stacks(), []

    def deploy() -> None:
        try:
            stacks.deploy(site.spec(slow={"create one": 2}))
        except OperationFailed as failure:
            failures.append(failure)

    worker = threading.Thread(target=deploy)
    worker.start()
    wait_for(lambda: site.dwells("create one"), "the first file is made")
    assert stacks.cancel("course-one")
    worker.join()

    assert [type(failure).__name__ for failure in failures] == ["Cancelled"]
    assert site.files() == {"one": "first"}
    assert site.store.locks("course-one") == []
    state = site.store.stack("course-one")
    assert state is not None
    assert state.pending == ()
    assert not stacks.cancel("course-one")

    site.stacks().deploy(site.spec())
    assert site.journal() == ["create one", "create two"]
