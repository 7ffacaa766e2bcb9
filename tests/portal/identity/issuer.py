"""A small identity provider on loopback: real HTTP, real signatures, and tests that say what goes wrong."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs

from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey

CLIENT = "jhaas-portal"
SECRET = "the secret of the client"
SUBJECT = "anna"


class Issuer:
    """`claims` and `userinfo` are what it says; `token_answer` replaces the token endpoint's whole answer."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.key = RSAKey.generate_key(2048, auto_kid=True)
        self.claims: dict[str, Any] = {}
        self.userinfo: dict[str, Any] = {"sub": SUBJECT, "groups": ["jhaas-teachers"]}
        self.metadata: dict[str, Any] = {}
        self.sign: Callable[[dict[str, Any]], str] = self.signed
        self.token_answer: tuple[int, dict[str, Any]] | None = None
        self.userinfo_status = 200
        self.asked: list[tuple[str, dict[str, list[str]], dict[str, str]]] = []
        """Path, form fields, headers of every request."""

    def signed(self, claims: dict[str, Any]) -> str:
        return jwt.encode({"alg": "RS256", "kid": self.key.kid}, claims, self.key)

    def default_claims(self) -> dict[str, Any]:
        now = int(time.time())
        return {"iss": self.url, "aud": CLIENT, "sub": SUBJECT, "iat": now, "exp": now + 300, "nonce": "the nonce"}

    def answer(self, path: str) -> tuple[int, dict[str, Any]]:
        match path:
            case "/.well-known/openid-configuration":
                return 200, {
                    "issuer": self.url,
                    "authorization_endpoint": f"{self.url}/authorize",
                    "token_endpoint": f"{self.url}/token",
                    "userinfo_endpoint": f"{self.url}/userinfo",
                    "end_session_endpoint": f"{self.url}/end",
                    "jwks_uri": f"{self.url}/keys",
                    **self.metadata,
                }
            case "/keys":
                return 200, {"keys": [self.key.as_dict(private=False)]}
            case "/token":
                if self.token_answer is not None:
                    return self.token_answer
                claims = {key: value for key, value in {**self.default_claims(), **self.claims}.items() if value != ""}
                return 200, {
                    "access_token": "access",
                    "token_type": "Bearer",
                    "refresh_token": "another refresh token",
                    "id_token": self.sign(claims),
                }
            case "/userinfo":
                return self.userinfo_status, self.userinfo
            case _:
                return 404, {}


@contextmanager
def issuer() -> Iterator[Issuer]:
    """Runs until the end of the block."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer({})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self._answer(parse_qs(body.decode()))

        def _answer(self, fields: dict[str, list[str]]) -> None:
            found.asked.append((self.path, fields, dict(self.headers)))
            status, content = found.answer(self.path)
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found = Issuer(server.server_port)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def symmetric(claims: dict[str, Any]) -> str:
    """Signed with the client's own secret, as whoever knows it could."""
    return jwt.encode({"alg": "HS256"}, claims, OctKey.import_key(SECRET))


def unsigned(claims: dict[str, Any]) -> str:
    """`alg: none`."""
    from base64 import urlsafe_b64encode

    parts = (json.dumps(one).encode() for one in ({"alg": "none", "typ": "JWT"}, claims))
    return ".".join([*(urlsafe_b64encode(part).decode().rstrip("=") for part in parts), ""])


def foreign(claims: dict[str, Any]) -> str:
    """Signed with a key that the provider does not publish."""
    key = RSAKey.generate_key(2048, auto_kid=True)
    return jwt.encode({"alg": "RS256", "kid": key.kid}, claims, key)
