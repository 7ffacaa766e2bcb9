"""A whole course at Authentik, by the resources of the course stack: made, changed and removed in the program's order,
with the connection lost at every call. At no moment does anybody get in who is in none of the course's groups."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import pytest

from course_stack import identity
from course_stack.cluster import ClusterTarget, Images
from course_stack.identity import ClientRequest, IdentityError
from course_stack.identity.authentik import Authentik
from course_stack.login import ClientProvider, GroupProvider
from course_stack.names import CourseNames
from course_stack.resources import Properties, target_inputs
from course_stack.target import IdentityTarget, ObjectStoreTarget, Target
from tests.course_stack.identity.authentik_double import (
    APPLICATIONS,
    BINDINGS,
    GROUPS,
    PROVIDERS,
    TOKEN,
    AuthentikDouble,
    Crash,
)

NAMES = CourseNames("python-intro")
AFTER = pytest.mark.parametrize("after", [False, True], ids=["before the effect", "after the effect"])


@dataclass
class CourseAtAuthentik:
    """One course, and whoever may be let in while it changes."""

    server: AuthentikDouble
    target: Target
    people: dict[str, str]
    intruders: list[str] = field(default_factory=list)
    _state: dict[str, tuple[str, Properties]] = field(default_factory=dict)

    def put(self, members: set[str], leads: set[str], title: str = "Introduction to Python") -> None:
        """What `up` does: create what the state does not hold yet, update what it holds."""
        of_target = target_inputs(self.target)
        url = self.target.hub_url("python-intro")
        request = ClientRequest(NAMES.client, title, f"{url}hub/oauth_callback", url, url, NAMES.group)
        self._bring("group", GroupProvider(), {"name": NAMES.group, "members": self._subjects(members), **of_target})
        self._bring("leads", GroupProvider(), {"name": NAMES.lead_group, "members": self._subjects(leads), **of_target})
        self._bring("client", ClientProvider(), {**asdict(request), **of_target})

    def remove(self) -> None:
        """What `destroy` does, whatever the state holds; an interrupted create is among it, by its name."""
        for provider, name in (
            (ClientProvider(), NAMES.client),
            (GroupProvider(), NAMES.lead_group),
            (GroupProvider(), NAMES.group),
        ):
            provider.delete(name, target_inputs(self.target))
        self._state.clear()

    def let_in(self) -> set[str]:
        return {name for name, subject in self.people.items() if self.server.admits(subject, NAMES.client)}

    def watch(self, allowed: set[str]) -> None:
        """From now on write down whoever else could get in, before each call takes effect."""

        def look(method: str, address: str) -> None:
            self.intruders += [f"{name} before {method} {address}" for name in sorted(self.let_in() - allowed)]

        self.server.hook = look

    def outputs(self, name: str) -> Properties:
        return self._state[name][1]

    def _bring(self, name: str, provider: Any, wanted: Properties) -> None:
        if name not in self._state:
            made = provider.create(wanted)
            self._state[name] = (made.id, made.outs)
            return
        found, state = self._state[name]
        if provider.diff(found, state, wanted).changes:
            self._state[name] = (found, provider.update(found, state, wanted).outs)

    def _subjects(self, names: set[str]) -> list[str]:
        return sorted(self.people[name] for name in names)


@pytest.fixture
def at_authentik(server: AuthentikDouble, monkeypatch: pytest.MonkeyPatch) -> Iterator[CourseAtAuthentik]:
    target = Target(
        name="cluster",
        kind="kubernetes",
        hub_domain="hubs.example.org",
        identity=IdentityTarget(kind="authentik", url=server.url),
        object_store=ObjectStoreTarget(kind="aws"),
        cluster=ClusterTarget(images=Images(helper="registry.example.org/helper:1")),
    )
    people = {name: server.add_user(name) for name in ("lead", "ann", "bob", "eve")}
    with Authentik(target.identity, {"token": TOKEN}) as provider, monkeypatch.context() as patch:
        # one connection for all resources: making it anew for each of a thousand crashes takes longer than the rest
        patch.setattr(provider, "close", lambda: None)
        patch.setattr(identity, "connect", lambda _: provider)
        yield CourseAtAuthentik(server, target, people)
    assert server.strangers_let_in == []


def test_a_course_is_made_changed_and_removed_and_nobody_but_its_people_ever_gets_in(
    at_authentik: CourseAtAuthentik,
) -> None:
    at_authentik.watch({"lead", "ann", "bob"})
    at_authentik.put({"lead", "ann"}, {"lead"})
    assert at_authentik.let_in() == {"lead", "ann"}
    secret = at_authentik.outputs("client")["secret"]
    at_authentik.put({"lead", "bob"}, {"lead"}, title="Python for everybody")
    assert at_authentik.let_in() == {"lead", "bob"}
    assert at_authentik.outputs("client")["secret"] == secret
    assert at_authentik.server.only(APPLICATIONS)["name"] == "Python for everybody"
    at_authentik.remove()
    assert _rows(at_authentik.server) == []
    assert at_authentik.intruders == []


@AFTER
def test_a_course_that_was_interrupted_at_any_call_of_its_making_is_there_once(
    at_authentik: CourseAtAuthentik, after: bool
) -> None:
    at_authentik.watch({"lead", "ann"})
    crashes = list(at_authentik.server.every_crash(lambda: at_authentik.put({"lead", "ann"}, {"lead"}), after=after))
    assert len(crashes) > 12
    assert at_authentik.let_in() == {"lead", "ann"}
    assert _counts(at_authentik.server) == (1, 1, 1, 2)
    assert at_authentik.intruders == []


@AFTER
def test_a_change_that_was_interrupted_at_any_call_is_finished_by_the_next_run(
    at_authentik: CourseAtAuthentik, after: bool
) -> None:
    at_authentik.put({"lead", "ann"}, {"lead"})
    secret = at_authentik.outputs("client")["secret"]
    at_authentik.watch({"lead", "ann", "bob"})
    change = lambda: at_authentik.put({"lead", "bob"}, {"lead", "bob"}, title="Python for everybody")  # noqa: E731
    crashes = list(at_authentik.server.every_crash(change, after=after))
    assert len(crashes) > 10
    assert at_authentik.let_in() == {"lead", "bob"}
    assert at_authentik.outputs("client")["secret"] == secret
    assert _counts(at_authentik.server) == (1, 1, 1, 2)
    assert at_authentik.intruders == []


@AFTER
def test_a_course_is_removed_whole_wherever_its_making_ended(at_authentik: CourseAtAuthentik, after: bool) -> None:
    at_authentik.watch({"lead", "ann"})
    making = at_authentik.server.every_crash(lambda: at_authentik.put({"lead", "ann"}, {"lead"}), after=after)
    for _ in making:
        at_authentik.server.crash = None
        at_authentik.remove()
        assert _rows(at_authentik.server) == []
    assert at_authentik.let_in() == {"lead", "ann"}
    assert at_authentik.intruders == []


@AFTER
def test_a_removal_that_was_interrupted_at_any_call_is_finished_and_opens_nothing(
    at_authentik: CourseAtAuthentik, after: bool
) -> None:
    at_authentik.put({"lead", "ann"}, {"lead"})
    at_authentik.watch({"lead", "ann"})
    crashes = list(at_authentik.server.every_crash(at_authentik.remove, after=after))
    assert len(crashes) > 3
    assert _rows(at_authentik.server) == []
    assert at_authentik.intruders == []


def test_an_interrupted_change_can_be_removed_as_well(at_authentik: CourseAtAuthentik) -> None:
    at_authentik.watch({"lead", "ann", "bob"})
    for call in range(1, 40):
        at_authentik.put({"lead", "ann"}, {"lead"})
        at_authentik.server.crash = Crash(call, after=True)
        try:
            at_authentik.put({"lead", "bob"}, {"lead"}, title="Another")
        except IdentityError:
            at_authentik.remove()
            assert _rows(at_authentik.server) == []
        else:
            break
    assert call > 5
    assert at_authentik.intruders == []


def test_a_course_beside_another_keeps_its_people_when_that_one_goes(at_authentik: CourseAtAuthentik) -> None:
    other = replace(at_authentik, _state={}, intruders=[])
    at_authentik.put({"lead", "ann"}, {"lead"})
    # the shortest name that begins like this course's
    neighbour = {"name": f"{NAMES.group}-2", "members": [other.people["bob"]], **target_inputs(other.target)}
    GroupProvider().create(neighbour)
    at_authentik.remove()
    assert [group["name"] for group in at_authentik.server.rows[GROUPS]] == [f"{NAMES.group}-2"]


def test_what_was_deleted_by_hand_is_seen_and_made_anew(at_authentik: CourseAtAuthentik) -> None:
    at_authentik.put({"lead", "ann"}, {"lead"})
    server = at_authentik.server
    assert ClientProvider().read(NAMES.client, at_authentik.outputs("client")).id == NAMES.client
    server.rows[APPLICATIONS].clear()
    server.rows[BINDINGS].clear()
    assert ClientProvider().read(NAMES.client, at_authentik.outputs("client")).id == ""
    del at_authentik._state["client"]
    at_authentik.put({"lead", "ann"}, {"lead"})
    assert at_authentik.let_in() == {"lead", "ann"}


def test_who_was_added_by_hand_is_seen_and_put_out(at_authentik: CourseAtAuthentik) -> None:
    at_authentik.put({"lead", "ann"}, {"lead"})
    group = next(group for group in at_authentik.server.rows[GROUPS] if group["name"] == NAMES.group)
    group["users"].append(at_authentik.server.user(at_authentik.people["eve"])["pk"])
    found = GroupProvider().read(NAMES.group, at_authentik.outputs("group"))
    assert found.outs is not None
    assert at_authentik.people["eve"] in found.outs["members"]
    at_authentik._state["group"] = (NAMES.group, found.outs)
    at_authentik.put({"lead", "ann"}, {"lead"})
    assert at_authentik.let_in() == {"lead", "ann"}


def _rows(server: AuthentikDouble) -> list[Any]:
    return [row for path in (APPLICATIONS, PROVIDERS, BINDINGS, GROUPS) for row in server.rows[path]]


def _counts(server: AuthentikDouble) -> tuple[int, ...]:
    return tuple(len(server.rows[path]) for path in (APPLICATIONS, PROVIDERS, BINDINGS, GROUPS))
