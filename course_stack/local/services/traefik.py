"""Traefik: the edge. One port for all host names; its routes are files that it watches."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from typing import Any
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

from course_stack.local.files import private_folder, write_file
from course_stack.local.layout import Layout
from course_stack.local.machine import IDENTITY_HOST, MachineSettings, credential, store_credential
from course_stack.local.services.service import executable, fingerprint
from course_stack.local.supervisor import Program

_API_USER = "jhaas"


class Traefik:
    """The edge of one machine. A course's routes are one file in `layout.routes`, written in one step: Traefik refuses
    all files while one cannot be read."""

    name = "traefik"
    after: tuple[str, ...] = ()

    def __init__(self, layout: Layout, settings: MachineSettings) -> None:
        self._layout = layout
        self._settings = settings
        self._folder = layout.services / self.name
        self._api = f"http://127.0.0.1:{settings.ports.edge_api}"
        self.address = f"http://localhost:{settings.edge_port}"
        self.ports: tuple[tuple[str, int], ...] = (
            (settings.bind, settings.edge_port),
            ("127.0.0.1", settings.ports.edge_api),
        )

    def prepare(self) -> None:
        private_folder(self._folder)
        private_folder(self._layout.routes)
        key = credential(self._layout, "traefik.json")
        key.setdefault("user", _API_USER)
        key.setdefault("password", secrets.token_urlsafe(32))
        store_credential(self._layout, "traefik.json", {**key, "url": self._api})
        # the password is long and random, so that its plain hash tells nothing
        digest = base64.b64encode(hashlib.sha1(key["password"].encode(), usedforsecurity=False).digest()).decode()
        write_file(self._folder / "api-users", f"{key['user']}:{{SHA}}{digest}\n")
        # JSON is YAML, and Traefik reads both by the file's ending
        write_file(self._folder / "traefik.yml", json.dumps(self._static(), indent=1))
        write_file(self._layout.routes / "identity.yml", json.dumps(self._identity_route(), indent=1))

    def program(self) -> Program:
        return Program(
            command=(str(executable("traefik")), f"--configFile={self._folder / 'traefik.yml'}"),
            cwd=self._folder,
            log=self._layout.logs / "traefik.log",
            configuration=fingerprint(self._folder / "traefik.yml", self._folder / "api-users"),
        )

    def unready(self) -> str | None:
        try:
            with build_opener(ProxyHandler({})).open(f"{self._api}/ping", timeout=3):
                return None
        except (URLError, OSError) as error:
            return f"{self._api} does not answer ({error})"

    def provision(self) -> None:
        """Routes come with the courses."""

    # --- inside

    def _static(self) -> dict[str, Any]:
        settings = self._settings
        # X_Forwarded_Host and the like would be read as the header that Traefik itself sets
        http = {"aliasHeadersStrategy": "delete"}
        return {
            "global": {"checkNewVersion": False, "sendAnonymousUsage": False},
            "log": {"level": "INFO"},
            "entryPoints": {
                "edge": {
                    "address": f"{settings.bind}:{settings.edge_port}",
                    "transport": {
                        # uploads and notebooks' websockets stay open for as long as they like
                        "respondingTimeouts": {"readTimeout": 0, "writeTimeout": 0, "idleTimeout": "1h"},
                        "lifeCycle": {"graceTimeOut": "1s"},
                    },
                    "http": http,
                },
                "api": {
                    "address": f"127.0.0.1:{settings.ports.edge_api}",
                    "transport": {"lifeCycle": {"graceTimeOut": "1s"}},
                    "http": http,
                },
            },
            "api": {"dashboard": False, "insecure": False},
            "ping": {"entryPoint": "api"},
            "providers": {
                "providersThrottleDuration": "100ms",
                "file": {"directory": str(self._layout.routes), "watch": True},
            },
        }

    def _identity_route(self) -> dict[str, Any]:
        canaille = f"http://127.0.0.1:{self._settings.ports.canaille}"
        return {
            "http": {
                "routers": {
                    "identity": {"entryPoints": ["edge"], "rule": f"Host(`{IDENTITY_HOST}`)", "service": "identity"},
                    "api": {
                        "entryPoints": ["api"],
                        "rule": "PathPrefix(`/api`)",
                        "service": "api@internal",
                        "middlewares": ["api-password"],
                    },
                },
                "services": {"identity": {"loadBalancer": {"servers": [{"url": canaille}]}}},
                "middlewares": {
                    "api-password": {"basicAuth": {"usersFile": str(self._folder / "api-users"), "removeHeader": True}}
                },
            }
        }
