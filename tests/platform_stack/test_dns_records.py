"""That `up` waits until host names lead to the edge, says what is missing, and goes on by itself."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import dill
import pytest

from tests.platform_stack import switches
from tests.platform_stack.conftest import Rehearse

HOSTS = ("courses.example.org", "*.example-hubs.org")
EDGE = "192.0.2.1"


class World:
    """Name servers and a clock; nobody really waits."""

    def __init__(self, *states: dict[str, Iterable[str]]) -> None:
        self.states = [dict(state) for state in states]
        self.time = 0.0
        self.said: list[str] = []

    def resolve(self, host: str) -> set[str]:
        return set(self.states[0].get(host, ()))

    def pause(self, seconds: float) -> None:
        assert seconds > 0
        self.time += seconds
        if len(self.states) > 1:
            self.states.pop(0)

    def wait(self, seconds: float = 3600, address: str = EDGE) -> None:
        from dns_records import wait

        wait(
            HOSTS,
            address,
            seconds,
            resolve=self.resolve,
            say=self.said.append,
            now=lambda: self.time,
            pause=self.pause,
        )


DONE = {"courses.example.org": [EDGE], "jhaas-check.example-hubs.org": [EDGE]}


def test_names_that_lead_to_the_edge_are_not_waited_for() -> None:
    world = World(DONE)
    world.wait()
    assert world.time == 0
    assert world.said == ["All host names lead to 192.0.2.1."]


def test_the_records_that_are_needed_are_said_first_and_then_each_change() -> None:
    world = World({}, {}, {"courses.example.org": ["192.0.2.99"]}, {"courses.example.org": [EDGE]}, DONE)
    world.wait()
    assert world.said == [
        "These records are needed; make them now, and this goes on by itself:",
        "  courses.example.org. A 192.0.2.1",
        "  *.example-hubs.org. A 192.0.2.1",
        "courses.example.org leads to 192.0.2.99. *.example-hubs.org has no address yet.",
        "*.example-hubs.org has no address yet.",
        "All host names lead to 192.0.2.1.",
    ]


def test_after_the_time_it_is_said_what_is_missing_and_how_to_go_on() -> None:
    world = World({"courses.example.org": [EDGE]})
    with pytest.raises(TimeoutError, match=r"\*\.example-hubs\.org has no address yet.*run `pulumi up` again"):
        world.wait(seconds=600)
    assert 600 <= world.time < 601


def test_a_name_that_leads_elsewhere_too_is_not_done() -> None:
    world = World({**DONE, "courses.example.org": [EDGE, "192.0.2.99"]})
    with pytest.raises(TimeoutError, match=r"courses\.example\.org leads to 192\.0\.2\.1, 192\.0\.2\.99"):
        world.wait(seconds=60)


def test_an_edge_that_is_known_by_name_is_where_its_name_leads() -> None:
    balancer = {"lb.example.net": ["192.0.2.1", "192.0.2.2"]}
    world = World(balancer, {**balancer, **DONE})
    world.wait(address="lb.example.net")
    assert "  courses.example.org. CNAME lb.example.net." in world.said


def test_a_record_for_each_kind_of_address() -> None:
    from dns_records import record

    assert record("a.example.org", "192.0.2.1") == "a.example.org. A 192.0.2.1"
    assert record("a.example.org", "2001:db8::1") == "a.example.org. AAAA 2001:db8::1"
    assert record("a.example.org", "lb.example.net") == "a.example.org. CNAME lb.example.net."


def test_this_machine_finds_itself_and_no_name_that_cannot_be() -> None:
    from dns_records import look_up

    assert look_up("127.0.0.1") == {"127.0.0.1"}
    assert look_up("no name at all") == set()


def test_h10_names_are_waited_for_in_the_same_up_once_the_address_is_known(rehearse: Rehearse) -> None:
    made = rehearse(certificates={"issuer": "letsencrypt"})
    awaited = made.named("host-names")
    assert awaited.inputs["hosts"] == ["courses.example.org", "login.courses.example.org", "*.example-hubs.org"]
    assert awaited.inputs["address"] == EDGE
    assert {one.name for one in made.made if one.urn in made.before(awaited)} >= {"traefik", "balancer"}


def test_nothing_is_waited_for_where_nobody_is_to_look(rehearse: Rehearse) -> None:
    assert [one for one in rehearse(dns={"records": "unchecked"}).made if one.name == "host-names"] == []


def test_route53_takes_the_records_and_they_are_waited_for(rehearse: Rehearse) -> None:
    made = rehearse(**switches.SWITCHES["certificates"]["route53"])
    records = {one.name: one.inputs for one in made.of("Record")}
    assert {name: one["zoneId"] for name, one in records.items()} == {
        "courses.example.org": "Z123",
        "login.courses.example.org": "Z123",
        "*.example-hubs.org": "Z456",
    }
    assert {(one["type"], tuple(one["records"])) for one in records.values()} == {("A", (EDGE,))}
    before = made.before(made.named("host-names"))
    assert {one.urn for one in made.of("Record")} <= before


def test_only_another_host_or_another_address_is_waited_for_again() -> None:
    from dns_records import HostNamesProvider

    provider = HostNamesProvider()
    old = {"hosts": ["a"], "address": EDGE, "__provider": "x"}
    assert provider.diff("", old, {**old, "minutes": 5, "__provider": "y"}).changes is False
    assert provider.diff("", old, {**old, "hosts": ["a", "b"]}).changes is True
    assert provider.diff("", old, {**old, "address": "192.0.2.2"}).changes is True


def test_what_is_missing_when_the_time_is_up_is_one_sentence_and_waited_for_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import dns_records

    monkeypatch.setattr(dns_records, "look_up", lambda _: {"192.0.2.9"})
    props = {"hosts": ["courses.example.org"], "address": EDGE, "minutes": 0}
    provider = dns_records.HostNamesProvider()
    found = provider.create(props).outs
    assert found is not None
    said = (
        "courses.example.org leads to 192.0.2.9. Make these records and run `pulumi up` again, it goes on here: "
        "courses.example.org. A 192.0.2.1 (jhaas-platform:dns.wait_minutes waits longer, dns.records: unchecked does "
        "not look)."
    )
    assert found["missing"] == said
    # not by an exception, of which Pulumi would show where it comes from
    (failure,) = dns_records.NamesLeadProvider().check({}, {"missing": said}).failures
    assert failure.reason == said
    assert provider.diff("", found, props).changes is True
    monkeypatch.setattr(dns_records, "look_up", lambda _: {EDGE})
    found = provider.update("", found, props).outs
    assert found is not None
    assert found["missing"] == ""
    assert dns_records.NamesLeadProvider().check({}, {"missing": ""}).failures == []
    assert provider.diff("", found, props).changes is False


def test_a_preview_that_does_not_know_yet_refuses_nothing() -> None:
    from pulumi.runtime.rpc import UNKNOWN

    from dns_records import NamesLeadProvider

    assert NamesLeadProvider().check({}, {"missing": UNKNOWN}).failures == []


def test_who_needs_the_host_names_waits_until_none_is_missing(rehearse: Rehearse) -> None:
    made = rehearse(certificates={"issuer": "letsencrypt"})
    judged = made.named("names-lead")
    assert made.named("host-names").urn in judged.after
    certificates = [one for one in made.objects if one.inputs["kind"] == "Certificate"]
    assert certificates
    assert all(judged.urn in made.before(one) for one in certificates)


def test_the_state_holds_the_providers_name_and_not_its_code() -> None:
    from dns_records import HostNamesProvider

    stored = dill.dumps(HostNamesProvider(), protocol=0).decode()
    assert "dns_records" in stored
    assert str(Path(__file__).parents[2]) not in stored
    assert len(stored) < 500
