"""What a course needs of the identity provider, whichever it is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from course_stack.credentials import CredentialsError, credentials
from course_stack.target import Target


class IdentityError(Exception):
    """The identity provider refused or could not be reached; the message says which, and what to do.

    `unknown` is the subject that the provider has no account for, where that is the reason."""

    def __init__(self, message: str, *, unknown: str | None = None) -> None:
        super().__init__(message)
        self.unknown = unknown


@dataclass(frozen=True, slots=True)
class Endpoints:
    """OIDC addresses of the provider: `authorize` is for browsers, the others are called by the hub."""

    issuer: str
    authorize: str
    token: str
    userinfo: str
    end_session: str


@dataclass(frozen=True, slots=True)
class OidcClient:
    """One registered OIDC client. `secret` is a secret: never in a log, a message or a resource id."""

    name: str
    client_id: str
    secret: str
    endpoints: Endpoints


@dataclass(frozen=True, slots=True)
class ClientRequest:
    """What the course asks for. The provider must ask for PKCE-capable code flow, `client_secret_basic`, and the
    scopes openid, profile, email and groups."""

    name: str
    title: str
    redirect_uri: str
    post_logout_uri: str
    launch_url: str
    group: str


class IdentityProvider(Protocol):
    """Every `ensure_` adopts what exists under the name, brings it to the wanted form, and never makes a second one;
    every `delete_` succeeds when there is nothing to delete. Failures raise `IdentityError`."""

    def ensure_client(self, request: ClientRequest) -> OidcClient: ...

    def find_client(self, name: str) -> OidcClient | None: ...

    def delete_client(self, name: str) -> None: ...

    def ensure_group(self, name: str, members: Iterable[str]) -> str:
        """Make the group's members exactly `members` (subjects); the provider's id of the group is returned.
        A subject that the provider does not know is an `IdentityError` that names it, before anything changes."""
        ...

    def group_members(self, name: str) -> frozenset[str] | None:
        """Subjects in the group; None where there is no such group."""
        ...

    def delete_group(self, name: str) -> None: ...

    def client_names(self, prefix: str) -> frozenset[str]:
        """Names of all clients that begin with `prefix`: the independent look."""
        ...

    def group_names(self, prefix: str) -> frozenset[str]:
        """Names of all groups that begin with `prefix`: the independent look."""
        ...

    def close(self) -> None:
        """End the connections; use `contextlib.closing(connect(target))`."""
        ...


def connect(target: Target, folder: Path | None = None) -> IdentityProvider:
    """The target's identity provider, with the administrative credentials of `identity.json` in `folder` (default:
    the folder that `JHAAS_CREDENTIALS_DIR` names)."""
    try:
        given = credentials("identity.json", folder, of=target.name)
    except CredentialsError as error:
        raise IdentityError(str(error)) from None
    if target.identity.kind == "canaille":
        from course_stack.identity.canaille import Canaille

        return Canaille(target.identity, given)
    from course_stack.identity.authentik import Authentik

    return Authentik(target.identity, given)
