"""Who may sign in to a course's hub: groups and an OIDC client at the identity provider."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict, dataclass

import pulumi
from pulumi.dynamic import CreateResult, ReadResult, Resource, UpdateResult

from course_stack import identity
from course_stack.identity import ClientRequest, IdentityProvider, OidcClient
from course_stack.names import CourseNames
from course_stack.resources import Properties, Provider, target_inputs, target_of
from course_stack.spec import CourseSpec
from course_stack.target import Target


@dataclass(frozen=True, slots=True)
class Login:
    """The course's sign-in, for the hub."""

    client: Client
    group: Group
    leads: Group


def login(spec: CourseSpec, target: Target) -> Login:
    """Groups of the course and of its leads, and the client that lets the course's group in."""
    names = CourseNames(spec.slug)
    group = Group("group", target, names.group, {*spec.leads, *spec.participants})
    leads = Group("leads", target, names.lead_group, set(spec.leads))
    url = target.hub_url(spec.slug)
    request = ClientRequest(
        name=names.client,
        title=spec.title,
        redirect_uri=f"{url}hub/oauth_callback",
        post_logout_uri=url,
        launch_url=url,
        group=names.group,
    )
    # some providers bind the client to the group, which must be there then
    return Login(Client("client", target, request, pulumi.ResourceOptions(depends_on=[group])), group, leads)


class ClientProvider(Provider):
    """An OIDC client, by name."""

    identity = ("name",)

    def create(self, props: Properties) -> CreateResult:
        """Make the client, or adopt the one of this name."""
        return CreateResult(props["name"], {**props, **self._ensure(props)})

    def read(self, id_: str, props: Properties) -> ReadResult:
        """The client's identifier and secret as they are now; no id where it is gone."""
        with _provider(props) as provider:
            client = provider.find_client(id_)
        return ReadResult(id_, {**props, **_described(client)}) if client else ReadResult("", {})

    def update(self, _id: str, _olds: Properties, news: Properties) -> UpdateResult:
        """Bring the client to the wanted form."""
        return UpdateResult({**news, **self._ensure(news)})

    def delete(self, id_: str, props: Properties) -> None:
        """Delete the client; fine where it is gone."""
        with _provider(props) as provider:
            provider.delete_client(id_)

    def _ensure(self, props: Properties) -> Properties:
        request = ClientRequest(**{name: props[name] for name in ClientRequest.__dataclass_fields__})
        with _provider(props) as provider:
            return _described(provider.ensure_client(request))


class Client(Resource, module="jhaas", name="OidcClient"):
    """An OIDC client. Outputs: `client_id`, `secret` (secret), `endpoints`."""

    client_id: pulumi.Output[str]
    secret: pulumi.Output[str]
    endpoints: pulumi.Output[dict[str, str]]

    def __init__(
        self, name: str, target: Target, request: ClientRequest, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        props = {**asdict(request), **target_inputs(target), "client_id": None, "secret": None, "endpoints": None}
        secret = pulumi.ResourceOptions(additional_secret_outputs=["secret"])
        super().__init__(ClientProvider(), name, props, pulumi.ResourceOptions.merge(opts, secret))


class GroupProvider(Provider):
    """A group and exactly its members, by name."""

    identity = ("name",)

    def create(self, props: Properties) -> CreateResult:
        """Make the group, or adopt the one of this name, with exactly these members."""
        self._ensure(props)
        return CreateResult(props["name"], props)

    def read(self, id_: str, props: Properties) -> ReadResult:
        """The members as they are now; no id where the group is gone."""
        with _provider(props) as provider:
            members = provider.group_members(id_)
        return ReadResult("", {}) if members is None else ReadResult(id_, {**props, "members": sorted(members)})

    def update(self, _id: str, _olds: Properties, news: Properties) -> UpdateResult:
        """Make the members exactly these."""
        self._ensure(news)
        return UpdateResult(news)

    def delete(self, id_: str, props: Properties) -> None:
        """Delete the group; fine where it is gone."""
        with _provider(props) as provider:
            provider.delete_group(id_)

    def _ensure(self, props: Properties) -> None:
        with _provider(props) as provider:
            provider.ensure_group(props["name"], props["members"])


class Group(Resource, module="jhaas", name="Group"):
    """A group of people at the identity provider."""

    def __init__(self, name: str, target: Target, group: str, members: set[str]) -> None:
        super().__init__(GroupProvider(), name, {"name": group, "members": sorted(members), **target_inputs(target)})


def _described(client: OidcClient) -> Properties:
    return {"client_id": client.client_id, "secret": client.secret, "endpoints": asdict(client.endpoints)}


def _provider(props: Properties) -> closing[IdentityProvider]:
    return closing(identity.connect(target_of(props)))
