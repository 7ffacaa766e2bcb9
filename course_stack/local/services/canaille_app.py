"""The application that the identity provider's process serves: Canaille, with two repairs and one address more.

The first repair: Authlib asks the token of a client management request (RFC 7592) whether it belongs to the client
(seen in 1.9.9); Canaille 0.3.6 hands it a bare `True` and fails. Canaille compares the two itself as well, so nothing
gets looser here.

The second: Canaille 0.3.6 makes access tokens of a person's claims and the time in seconds, and keeps them unique: a
person who signs in twice within a second gets an error page. Random ones, as it makes for clients, do all that is
needed: it looks tokens up in its database anyway.

The address: no protocol lists the clients of a provider, and Canaille's own command takes seconds to start; so
`GET /client-names` answers the administrator's token with the ids of all clients.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from course_stack.identity.canaille import ADMINISTRATOR


@dataclass(frozen=True)
class _ManagementToken:
    subject: str

    def check_client(self, client: Any) -> bool:
        return bool(client.client_id == self.subject)


def create_app() -> Any:
    """The ASGI application."""
    from asgiref.wsgi import WsgiToAsgi
    from canaille.hypercorn.app import create_app as create_canaille

    _repair_client_management()
    _make_access_tokens_random()
    app = create_canaille(wrap_asgi=False)
    _add_client_names(app)
    return WsgiToAsgi(app)  # type: ignore[no-untyped-call]


def _repair_client_management() -> None:
    from canaille.oidc.provider import ClientConfigurationEndpoint

    authenticate = ClientConfigurationEndpoint.authenticate_token

    def authenticate_token(self: Any, request: Any) -> _ManagementToken | None:
        return _ManagementToken(request.jwt_claims["sub"]) if authenticate(self, request) else None

    ClientConfigurationEndpoint.authenticate_token = authenticate_token


def _make_access_tokens_random() -> None:
    import secrets

    from canaille.oidc import provider

    def generate_access_token(*_: Any, **__: Any) -> str:
        return secrets.token_urlsafe(36)

    provider.generate_access_token = generate_access_token


def _add_client_names(app: Any) -> None:
    from authlib.integrations.flask_oauth2 import current_token
    from canaille.app import models
    from canaille.backends import Backend
    from canaille.scim.endpoints import require_oauth
    from flask import abort

    @app.get("/client-names")  # type: ignore[untyped-decorator]
    @require_oauth()  # type: ignore[untyped-decorator]
    def client_names() -> list[str]:
        if current_token.subject or current_token.client.client_id != ADMINISTRATOR:
            abort(403)
        return [client.client_id for client in Backend.instance.query(models.Client)]
