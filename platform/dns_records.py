"""That the host names lead to the edge: by records that people make while `up` waits, or by a provider's."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterable, Mapping
from ipaddress import ip_address
from typing import Any

import pulumi
from pulumi.dynamic import (
    CheckFailure,
    CheckResult,
    CreateResult,
    DiffResult,
    Resource,
    ResourceProvider,
    UpdateResult,
)
from pulumi.runtime.rpc import UNKNOWN

from config import PlatformConfig, Route53, Site
from kubernetes_objects import Part
from outputs import Edge, Names

PROBE = "jhaas-check"
"""A name below the hub domain that no course has: it leads where all of them lead."""
PAUSES = (2.0, 5.0, 10.0, 20.0, 30.0)
"""Seconds between two looks; the last one holds on."""

Resolve = Callable[[str], set[str]]


def dns_records(config: PlatformConfig, on: pulumi.ResourceOptions, edge: Edge) -> Names:
    """The host names, once they lead to the edge. Where nobody is to look, or nobody knows where they must lead,
    nothing is waited for."""
    if config.dns.records == "unchecked" or edge.address is None:
        return Names()
    return HostRecords(config, on, edge.address, edge).names


class HostRecords(Part):
    """The records that lead to the edge, of a provider or made by people, waited for. Output: `names`."""

    names: Names

    def __init__(
        self, config: PlatformConfig, on: pulumi.ResourceOptions, address: pulumi.Output[str], edge: Edge
    ) -> None:
        super().__init__("dns", on)
        names = hosts(config.site)
        made = self._at_provider(config, names, address) if config.dns.records == "provider" else ()
        awaited = HostNames(names, address, config.dns.wait_minutes, self.inside([*edge.ready, *made]))
        lead = NamesLead(awaited.missing, self.inside([awaited]))
        self.names = Names(ready=(awaited, lead))
        self.register_outputs({})

    def _at_provider(
        self, config: PlatformConfig, names: tuple[str, ...], address: pulumi.Output[str]
    ) -> tuple[pulumi.Resource, ...]:
        import route53

        provider = config.dns.provider
        assert isinstance(provider, Route53)  # the configuration was refused otherwise
        assert config.aws is not None
        zones = route53.zones(names, config.site.hub_domain, provider)
        return route53.host_records(zones, address, config.aws, self.inside())


def hosts(site: Site) -> tuple[str, ...]:
    """The names that must lead to the edge: the portal, the sign-in, and every hub."""
    return site.portal_host, site.login_host, f"*.{site.hub_domain}"


def record(host: str, address: str) -> str:
    """A record as a zone file has it."""
    version = _version(address)
    return f"{host}. { ({4: 'A', 6: 'AAAA'}[version]) } {address}" if version else f"{host}. CNAME {address}."


def leads_astray(names: Iterable[str], address: str, resolve: Resolve) -> dict[str, set[str]]:
    """The names that do not lead to the address, each with where it leads (nowhere: empty)."""
    wanted = {address} if _version(address) else resolve(address)
    found = {host: resolve(host.replace("*", PROBE)) for host in names}
    return {host: there for host, there in found.items() if not there or not there <= wanted}


def wait(
    names: tuple[str, ...],
    address: str,
    seconds: float,
    *,
    resolve: Resolve,
    say: Callable[[str], None],
    now: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> None:
    """Return once all names lead to the address, saying which records are missing and then each change. Raises
    `TimeoutError` with what is still missing."""
    end = now() + seconds
    last: dict[str, set[str]] | None = None
    tries = 0
    while astray := leads_astray(names, address, resolve):
        if last is None:
            say("These records are needed; make them now, and this goes on by itself:")
            for host in astray:
                say(f"  {record(host, address)}")
        elif astray != last:
            say(_told(astray))
        last = astray
        if now() >= end:
            needed = "; ".join(record(host, address) for host in astray)
            raise TimeoutError(
                f"{_told(astray)} Make these records and run `pulumi up` again, it goes on here: {needed} "
                "(jhaas-platform:dns.wait_minutes waits longer, dns.records: unchecked does not look)."
            )
        pause(min(PAUSES[min(tries, len(PAUSES) - 1)], max(end - now(), 0.0)))
        tries += 1
    say(f"All host names lead to {address}.")


def look_up(host: str) -> set[str]:
    """The addresses of a name, as this machine sees them; none where it has none."""
    try:
        return {str(found[4][0]) for found in socket.getaddrinfo(host, None)}
    except OSError:
        return set()


def _told(astray: Mapping[str, set[str]]) -> str:
    return " ".join(
        f"{host} leads to {', '.join(sorted(there))}." if there else f"{host} has no address yet."
        for host, there in astray.items()
    )


def _version(address: str) -> int | None:
    try:
        return ip_address(address).version
    except ValueError:
        return None


class HostNamesProvider(ResourceProvider):
    """Waits, in Pulumi's provider process; what it prints stands beside the resource while `up` runs.

    Class and module are in the stack's state: a contract.
    """

    serialize_as_secret_always = False

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Wait, and remember what was waited for."""
        return CreateResult("host-names", self._waited(props))

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        """Another host or another address is waited for again, and what did not come in time."""
        other = any(_olds.get(key) != _news.get(key) for key in ("hosts", "address"))
        return DiffResult(changes=other or bool(_olds.get("missing")))

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        """As `create`."""
        return UpdateResult(self._waited(_news))

    @staticmethod
    def _waited(props: dict[str, Any]) -> dict[str, Any]:
        """What is missing is an output and no exception, of which Pulumi would show the way through our code."""
        missing = ""
        try:
            wait(
                tuple(props["hosts"]),
                props["address"],
                60.0 * props["minutes"],
                resolve=look_up,
                say=lambda text: print(text, flush=True),
            )
        except TimeoutError as error:
            missing = str(error)
        return {"hosts": props["hosts"], "address": props["address"], "missing": missing}


class HostNames(Resource):
    """Made when all host names lead to the edge, or the time is up: then `missing` says what is to be done."""

    missing: pulumi.Output[str]

    def __init__(
        self, names: tuple[str, ...], address: pulumi.Output[str], minutes: int, opts: pulumi.ResourceOptions
    ) -> None:
        super().__init__(
            HostNamesProvider(),
            "host-names",
            {"hosts": list(names), "address": address, "minutes": minutes, "missing": None},
            opts,
        )


class NamesLeadProvider(ResourceProvider):
    """Refuses what is missing, in one sentence. Class and module are in the stack's state: a contract."""

    serialize_as_secret_always = False

    def check(self, _olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        """Nothing is missing, or it is not known yet (preview)."""
        missing = news.get("missing")
        failures = [CheckFailure("", missing)] if missing and missing != UNKNOWN else []
        return CheckResult(news, failures)

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Nothing is made."""
        return CreateResult("names-lead", props)


class NamesLead(Resource):
    """Made when nothing is missing: who needs the host names waits for this."""

    def __init__(self, missing: pulumi.Output[str], opts: pulumi.ResourceOptions) -> None:
        super().__init__(NamesLeadProvider(), "names-lead", {"missing": missing}, opts)
