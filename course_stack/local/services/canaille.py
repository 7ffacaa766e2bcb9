"""Canaille: the OIDC provider, with its people in Postgres."""

from __future__ import annotations

import json
import secrets
import sys
from pathlib import Path
from typing import Any

from course_stack.identity.canaille import ADMINISTRATOR, Canaille
from course_stack.local.files import private_folder, write_file
from course_stack.local.layout import Layout
from course_stack.local.machine import IDENTITY_HOST, MachineSettings, credential, store_credential
from course_stack.local.services.postgres import Postgres
from course_stack.local.services.service import REPOSITORY, fingerprint
from course_stack.local.supervisor import Program
from course_stack.target import IdentityTarget

_DATABASE = "canaille"


class CanailleService:
    """The identity provider of one machine, behind the edge at id.localhost."""

    name = "canaille"
    after: tuple[str, ...] = ("postgres", "traefik")

    def __init__(self, layout: Layout, settings: MachineSettings, postgres: Postgres) -> None:
        self._layout = layout
        self._postgres = postgres
        self._folder = layout.services / self.name
        self._port = settings.ports.canaille
        self._edge_port = settings.edge_port
        self._bind = settings.bind
        self._host = f"{IDENTITY_HOST}:{settings.edge_port}"
        self.address = f"http://{self._host}"
        self.ports: tuple[tuple[str, int], ...] = (("127.0.0.1", self._port),)

    def prepare(self) -> None:
        private_folder(self._folder)
        self._postgres.ensure_database(_DATABASE)
        write_file(self._configuration, self._settings())

    def program(self) -> Program:
        return Program(
            command=(
                sys.executable,
                "-m",
                "hypercorn",
                "course_stack.local.services.canaille_app:create_app()",
                f"--bind=127.0.0.1:{self._port}",
                "--workers=0",  # no worker processes beside this one
                # longer than the edge keeps idle connections, which would else meet a closed one
                "--keep-alive=120",
            ),
            cwd=self._folder,
            env={
                "CANAILLE_CONFIG": str(self._configuration),
                # one machine has no TLS; Authlib must be told that plain HTTP is meant
                "AUTHLIB_INSECURE_TRANSPORT": "true",
                "PYTHONPATH": str(REPOSITORY),
            },
            log=self._layout.logs / "canaille.log",
            configuration=fingerprint(self._configuration),
        )

    def unready(self) -> str | None:
        edge = f"http://{'127.0.0.1' if self._bind == '0.0.0.0' else self._bind}:{self._edge_port}"  # noqa: S104
        for way in (None, edge):
            with self._provider(way) as provider:
                if (trouble := provider.trouble()) is not None:
                    return trouble
        return None

    def provision(self) -> None:
        # Canaille looks before it writes, but its tables would take two of one name
        self._postgres.execute(
            _DATABASE,
            "CREATE UNIQUE INDEX IF NOT EXISTS jhaas_one_client ON client (client_id)",
            'CREATE UNIQUE INDEX IF NOT EXISTS jhaas_one_group ON "group" (display_name)',
        )
        with self._provider() as provider:
            secret = provider.ensure_administrator()
        identity = credential(self._layout, "identity.json")
        store_credential(self._layout, "identity.json", {**identity, "client_secret": secret})

    # --- inside

    @property
    def _configuration(self) -> Path:
        return self._folder / "canaille.toml"

    def _provider(self, way: str | None = None) -> Canaille:
        direct = f"http://127.0.0.1:{self._port}"
        target = IdentityTarget(kind="canaille", url=self.address, internal_url=way or direct)
        return Canaille(target, credential(self._layout, "identity.json"))

    def _settings(self) -> str:
        from joserfc.jwk import ECKey, RSAKey

        own = credential(self._layout, "canaille.json")
        if not own:
            own = {
                "secret_key": secrets.token_urlsafe(32),
                "signing_key": json.dumps(RSAKey.generate_key(2048, auto_kid=True).as_dict(private=True)),
            }
            store_credential(self._layout, "canaille.json", own)
        identity = credential(self._layout, "identity.json")
        if not identity:
            # it signs the tokens with which clients are registered and managed; Canaille verifies with inactive keys
            # but never signs with them, so this one can be replaced without touching anybody's session
            key = ECKey.generate_key("P-256", auto_kid=True).as_dict(private=True)
            identity = {"management_key": json.dumps(key), "client_id": ADMINISTRATOR}
            store_credential(self._layout, "identity.json", identity)
        return _toml(
            {
                "": {
                    "SECRET_KEY": own["secret_key"],
                    "SERVER_NAME": self._host,
                    "PREFERRED_URL_SCHEME": "http",
                    "SESSION_COOKIE_SAMESITE": "Lax",
                },
                "CANAILLE": {
                    "NAME": "JupyterHub as a Service",
                    "DATABASE": "sql",
                    "ENABLE_REGISTRATION": False,
                    "ENABLE_PASSWORD_RECOVERY": False,
                    "ENABLE_INTRUDER_LOCKOUT": True,
                    "CAPTCHA_ENABLED": False,
                    # it posts what is typed to have it checked; where that answer comes after the next page's, its
                    # session cookie takes the sign-in back, and the right password fails
                    "HTMX": False,
                },
                # nobody may make groups: who makes a course's group first would own it
                "CANAILLE.ACL.DEFAULT": {
                    "PERMISSIONS": ["edit_self", "use_oidc"],
                    "READ": ["user_name", "groups", "given_name", "family_name", "emails"],
                    "WRITE": ["preferred_language"],
                },
                "CANAILLE_SQL": {"DATABASE_URI": self._postgres.url(_DATABASE), "POOL_PRE_PING": True},
                "CANAILLE_OIDC": {
                    "DYNAMIC_CLIENT_REGISTRATION_OPEN": False,
                    "REQUIRE_NONCE": False,  # JupyterHub sends none; its code flow is bound by PKCE and state
                    "TRUSTED_DOMAINS": [".localhost"],
                    "ACTIVE_JWKS": [json.loads(own["signing_key"])],
                    "INACTIVE_JWKS": [json.loads(identity["management_key"])],
                },
                "CANAILLE_SCIM": {"ENABLE_SERVER": True, "ENABLE_CLIENT": False},
                "CANAILLE_HYPERCORN": {"PROXY_MODE": "legacy", "PROXY_TRUSTED_HOPS": 1},
            }
        )


def _toml(tables: dict[str, dict[str, Any]]) -> str:
    import tomlkit

    document = tomlkit.document()
    for path, content in tables.items():
        table: Any = document
        for part in path.split(".") if path else []:
            table = table.setdefault(part, tomlkit.table())
        table.update(content)
    return tomlkit.dumps(document)
