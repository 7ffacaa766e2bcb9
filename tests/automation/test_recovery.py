"""After a kill at any point the next run converges, without a hand."""

from __future__ import annotations

import json
import os
import signal
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from automation import processes
from automation.events import Event, Warned
from automation.failures import StackLocked
from tests.automation.conftest import TARGET, Site
from tests.automation.tiny import PROGRAM
from tests.support.starter import Started
from tests.support.waiting import wait_for

LOCKS = "state/.pulumi/locks/organization/jhaas-course/course-one"


def start(site: Site, kind: str = "deploy", **fields: Any) -> Started:
    """An operation on course-one in another process."""
    spec = None if kind == "destroy" else site.spec(**fields).model_dump(mode="json")
    return Started(site.home, site.settings, TARGET, kind, "course-one", spec, PROGRAM)


def interrupt(site: Site, step: str, kind: str = "deploy", **fields: Any) -> str:
    """Kill everything of an operation between a provider's effect and its reply; the operation's id."""
    running = start(site, kind, slow={step: 60}, **fields)
    wait_for(lambda: site.dwells(step), f"{step!r} is done")
    operation = running.operation
    assert operation is not None
    running.kill_everything()
    running.wait()
    return operation


def write_lock(site: Site, pid: int, host: str) -> None:
    """A lock as Pulumi writes it."""
    folder = site.home / LOCKS
    folder.mkdir(parents=True, exist_ok=True)
    content = {"pid": pid, "username": "root", "hostname": host, "timestamp": datetime.now(UTC).isoformat()}
    (folder / "11111111-2222-4333-8444-555555555555.json").write_text(json.dumps(content))


def test_a_deploy_killed_between_effect_and_reply_is_finished_by_the_next(site: Site) -> None:
    operation = interrupt(site, "create two")
    state = site.store.stack("course-one")
    assert state is not None
    assert state.interrupted == ("creating two",)
    assert len(site.store.locks("course-one")) == 1
    assert site.work_folders() == [operation]

    warnings: list[Event] = []
    site.stacks().deploy(site.spec(), on_event=warnings.append)

    assert site.files() == {"one": "first", "two": "first"}
    assert site.store.locks("course-one") == []
    assert site.work_folders() == []
    state = site.store.stack("course-one")
    assert state is not None
    assert state.whole
    told = " ".join(event.text for event in warnings if isinstance(event, Warned))
    assert "its owner is dead" in told
    assert "creating two" in told


def test_what_a_killed_deploy_half_made_is_removed_by_destroy(site: Site) -> None:
    interrupt(site, "create two")
    assert site.files() == {"one": "first", "two": "first"}  # the second was made, but never told

    site.stacks().destroy("course-one")

    assert site.files() == {}
    assert site.state_keys() == []


def test_an_update_killed_between_effect_and_reply_is_finished_by_the_next(site: Site) -> None:
    site.stacks().deploy(site.spec())
    interrupt(site, "update one", "update", content="second")

    site.stacks().update(site.spec(content="second"))

    assert site.files() == {"one": "second", "two": "second"}
    assert site.stacks().update(site.spec(content="second")).changes == {"same": 3}


def test_a_destroy_killed_between_effect_and_reply_is_finished_by_the_next(site: Site) -> None:
    site.stacks().deploy(site.spec(slow={"delete two": 60}))
    interrupt(site, "delete two", "destroy")

    site.stacks().deploy(site.spec())  # brings the file back, so that destroying need not dwell
    site.stacks().destroy("course-one")

    assert site.files() == {}
    assert site.state_keys() == []


def test_a_deploy_takes_over_when_a_destroy_was_killed(site: Site) -> None:
    site.stacks().deploy(site.spec(slow={"delete two": 60}))
    interrupt(site, "delete two", "destroy")
    assert site.files() == {"one": "first"}

    site.stacks().deploy(site.spec())

    assert site.files() == {"one": "first", "two": "first"}


def test_if_only_the_starter_is_killed_the_tree_ends_itself(site: Site) -> None:
    running = start(site, slow={"create one": 60})
    wait_for(lambda: site.dwells("create one"), "the first file is made")
    operation = running.operation
    assert operation is not None

    running.kill_starter()
    running.process.communicate()

    wait_for(lambda: not processes.of_operation(operation), "nothing of the operation lives")
    wait_for(lambda: site.work_folders() == [], "its work folder is gone")
    site.stacks().deploy(site.spec())
    assert site.files() == {"one": "first", "two": "first"}


def test_interrupted_at_the_keyboard_it_ends_in_order(site: Site) -> None:
    running = start(site, slow={"create one": 2})
    wait_for(lambda: site.dwells("create one"), "the first file is made")
    operation = running.operation
    assert operation is not None

    running.process.send_signal(signal.SIGINT)
    running.process.communicate()

    assert processes.of_operation(operation) == []
    assert site.store.locks("course-one") == []
    state = site.store.stack("course-one")
    assert state is not None
    assert state.pending == ()
    assert site.files() == {"one": "first"}


def test_if_only_the_child_is_killed_the_starter_ends_the_tree_and_says_so(site: Site) -> None:
    running = start(site, slow={"create one": 60})
    wait_for(lambda: site.dwells("create one"), "the first file is made")
    operation = running.operation
    assert operation is not None

    running.kill_child()

    assert running.wait()["failure"] == "Died"
    assert processes.of_operation(operation) == []
    assert site.work_folders() == []
    site.stacks().deploy(site.spec())
    assert site.files() == {"one": "first", "two": "first"}


def test_a_provider_that_outlives_its_operation_is_ended_before_the_next_begins(site: Site) -> None:
    running = start(site, slow={"create one": 60})
    wait_for(lambda: site.dwells("create one"), "the first file is made")
    operation, child = running.operation, running.child
    assert operation is not None
    assert child is not None
    # The child is stopped, so that it cannot end its tree when the starter is gone.
    os.kill(child, signal.SIGSTOP)
    running.kill_starter()
    running.process.communicate()
    assert processes.of_operation(operation)

    site.stacks().deploy(site.spec())

    assert processes.of_operation(operation) == []
    assert site.files() == {"one": "first", "two": "first"}


def test_sweeping_removes_work_folders_of_dead_operations_only(site: Site) -> None:
    dead = interrupt(site, "create one")
    running = start(site, slow={"create two": 60})
    wait_for(lambda: site.dwells("create two"), "the second file is made")
    (site.layout.operations / "work" / dead).mkdir(exist_ok=True)

    assert site.stacks().sweep(timedelta()) == [dead]

    assert site.work_folders() == [running.operation]
    running.kill_everything()
    running.wait()


def test_a_stack_whose_init_was_killed_is_made_by_the_next(site: Site) -> None:
    write_lock(site, 2**22 - 1, os.uname().nodename)

    site.stacks().deploy(site.spec())

    assert site.files() == {"one": "first", "two": "first"}
    assert site.store.locks("course-one") == []


def test_what_a_killed_removal_left_is_removed_by_the_next(site: Site) -> None:
    stacks = site.stacks()
    stacks.deploy(site.spec())
    stacks.update(site.spec(content="second"))
    stacks.destroy("course-one")
    leftover = site.home / "state/.pulumi/history/jhaas-course/course-one/course-one-1.history.json"
    leftover.parent.mkdir(parents=True, exist_ok=True)
    leftover.write_text("{}")
    beside = site.home / "state/.pulumi/stacks/jhaas-course/course-one.json.bak"
    beside.write_text("{}")

    stacks.destroy("course-one")

    assert site.state_keys() == []


def test_a_lock_of_another_machine_is_never_broken(site: Site) -> None:
    write_lock(site, 1, "another-machine")

    with pytest.raises(StackLocked, match=r"process 1 of root on another-machine.*another machine"):
        site.stacks().deploy(site.spec())
    with pytest.raises(StackLocked):
        site.stacks().unlock("course-one")
    assert len(site.store.locks("course-one")) == 1
    assert site.files() == {}

    assert [lock.host for lock in site.stacks().unlock("course-one", force=True)] == ["another-machine"]
    site.stacks().deploy(site.spec())
    assert site.files() == {"one": "first", "two": "first"}


def test_a_lock_of_a_living_process_is_never_broken(site: Site) -> None:
    write_lock(site, os.getpid(), os.uname().nodename)

    with pytest.raises(StackLocked, match=f"process {os.getpid()} lives"):
        site.stacks().deploy(site.spec())

    assert len(site.store.locks("course-one")) == 1
