"""The application that the identity provider's process serves: Canaille, with one repair.

Authlib asks the token of a client management request (RFC 7592) whether it belongs to the client (seen in 1.9.9);
Canaille 0.3.6 hands it a bare `True` and fails. Canaille compares the two itself as well, so nothing gets looser here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class _ManagementToken:
    subject: str

    def check_client(self, client: Any) -> bool:
        return bool(client.client_id == self.subject)


def create_app() -> Any:
    """The ASGI application."""
    from canaille.hypercorn.app import create_app as create_canaille
    from canaille.oidc.provider import ClientConfigurationEndpoint

    authenticate = ClientConfigurationEndpoint.authenticate_token

    def authenticate_token(self: Any, request: Any) -> _ManagementToken | None:
        return _ManagementToken(request.jwt_claims["sub"]) if authenticate(self, request) else None

    ClientConfigurationEndpoint.authenticate_token = authenticate_token
    return create_canaille()
