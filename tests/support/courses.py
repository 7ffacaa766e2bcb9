"""A course's hub, deployed without Pulumi: the same providers, called in the program's order."""

from __future__ import annotations

import secrets
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from course_stack import identity
from course_stack.identity import IdentityProvider, OidcClient
from course_stack.local import hub_process
from course_stack.local.hub import LocalHubProvider
from course_stack.login import ClientProvider, GroupProvider
from course_stack.names import CourseNames
from course_stack.resources import target_inputs
from course_stack.spec import CourseSpec, load_spec
from tests.conftest import Machine
from tests.course_stack.specs import course
from tests.support.hub_client import HubPerson, HubToken


@dataclass
class DeployedCourse:
    """One course on the shared machine. Its ages are short, so that a test need not wait for minutes."""

    machine: Machine
    spec: CourseSpec
    secrets: dict[str, str] = field(
        default_factory=lambda: {
            name: secrets.token_urlsafe(32) for name in ("cookie_secret", "crypt_key", "api_token")
        },
        repr=False,
    )
    hub_props: dict[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, machine: Machine, slug: str, **changes: Any) -> DeployedCourse:
        """The course as it would be asked for; nothing exists yet."""
        people = machine.people
        given = {"leads": [people["teacher"].subject], "participants": [people["student"].subject], **changes}
        return cls(machine, load_spec(course(slug=slug, **given)))

    @property
    def url(self) -> str:
        return self.machine.target.hub_url(self.spec.slug)

    @property
    def names(self) -> CourseNames:
        return CourseNames(self.spec.slug)

    def deploy(self, **changes: Any) -> None:
        """Create or update everything. `changes` are changes of the spec."""
        if changes:
            self.spec = load_spec({**self.spec.model_dump(mode="json"), **changes})
        client = self.make_login()
        target = target_inputs(self.machine.target)
        wanted = {
            "slug": self.spec.slug,
            "course": self.spec.model_dump(mode="json", exclude_none=True),
            "client_id": client["client_id"],
            "client_secret": client["secret"],
            "endpoints": client["endpoints"],
            **self.secrets,
            **target,
        }
        provider = LocalHubProvider()
        if self.hub_props:
            made = provider.update(self.spec.slug, self.hub_props, wanted).outs
        else:
            made = provider.create(wanted).outs
        assert made
        self.hub_props = made

    def make_login(self) -> dict[str, Any]:
        """Groups and client at the identity provider; what the client has."""
        target = target_inputs(self.machine.target)
        members = sorted({*self.spec.leads, *self.spec.participants})
        GroupProvider().create({"name": self.names.group, "members": members, **target})
        GroupProvider().create({"name": self.names.lead_group, "members": sorted(self.spec.leads), **target})
        client = ClientProvider().create(
            {
                "name": self.names.client,
                "title": self.spec.title,
                "redirect_uri": f"{self.url}hub/oauth_callback",
                "post_logout_uri": self.url,
                "launch_url": self.url,
                "group": self.names.group,
                **target,
            }
        )
        assert client.outs
        return dict(client.outs)

    def remove(self) -> None:
        """Take everything away; fine where nothing is there."""
        LocalHubProvider().delete(self.spec.slug, {**self.hub_props, **target_inputs(self.machine.target)})
        self.remove_login()

    def remove_login(self) -> None:
        """Client and groups go; fine where there are none."""
        target = target_inputs(self.machine.target)
        ClientProvider().delete(self.names.client, target)
        for name in (self.names.group, self.names.lead_group):
            GroupProvider().delete(name, target)

    def traces(self) -> list[str]:
        """What is still there, on the machine and at the identity provider."""
        with self.provider() as provider:
            return [
                *hub_process.traces(self.machine.layout, self.spec.slug),
                *provider.client_names(self.names.client),
                *provider.group_names(self.names.group),
            ]

    def provider(self) -> closing[IdentityProvider]:
        return closing(identity.connect(self.machine.target))

    def client(self) -> OidcClient | None:
        with self.provider() as provider:
            return provider.find_client(self.names.client)

    def set_members(self, *subjects: str) -> None:
        """Who is in the course, at the identity provider; the hub is not told."""
        with self.provider() as provider:
            provider.ensure_group(self.names.group, subjects)

    def person(self, role: str) -> HubPerson:
        """A demo person with a fresh browser."""
        return HubPerson(self.url, self.machine.people[role].subject)

    def signed_in(self, role: str) -> HubPerson:
        """A demo person who has signed in and was let in."""
        who = self.machine.people[role]
        person = self.person(role)
        page = person.sign_in(who.login, who.password)
        assert page.status_code == 200, (page.status_code, page.url)
        return person

    @property
    def portal(self) -> HubToken:
        """The hub's API with the portal's token."""
        return HubToken(self.url, self.secrets["api_token"])
