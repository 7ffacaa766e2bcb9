"""SeaweedFS: the S3 object store, one process on loopback.

Notebooks run on the same machine and can reach loopback, so every port but the S3 one asks for a client certificate
that only this service has, over HTTP and gRPC alike; tokens between its parts come on top.
"""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

from course_stack.local.files import private_folder, write_file
from course_stack.local.layout import Layout
from course_stack.local.machine import (
    ARCHIVE_BUCKET,
    REGION,
    STATE_BUCKET,
    MachineSettings,
    credential,
    state_url,
    store_credential,
)
from course_stack.local.services.service import executable, fingerprint
from course_stack.local.services.tls import ensure_certificates
from course_stack.local.supervisor import Program
from course_stack.object_store.s3 import S3Store
from course_stack.target import ObjectStoreTarget

_HEALTH_BUCKET = "health"
_STATE_USER = "pulumi-state"
_ARCHIVE_USER = "archives"
_PARTS = ("master", "volume", "filer")
_ALL = ("Read", "Write", "List", "Tagging")
"""Of an identity's actions, all that concern objects."""


class Seaweedfs:
    """The object store of one machine."""

    name = "seaweedfs"
    after: tuple[str, ...] = ()

    def __init__(self, layout: Layout, settings: MachineSettings) -> None:
        self._layout = layout
        self._settings = settings
        self._folder = layout.services / self.name
        ports = settings.ports
        self.address = f"http://127.0.0.1:{ports.s3}"
        self._ports = {
            "-s3.port": ports.s3,
            "-s3.port.grpc": ports.s3_grpc,
            "-filer.port": ports.filer,
            "-filer.port.grpc": ports.filer_grpc,
            "-master.port": ports.master,
            "-master.port.grpc": ports.master_grpc,
            "-volume.port": ports.volume,
            "-volume.port.grpc": ports.volume_grpc,
        }
        self.ports = tuple(("127.0.0.1", port) for port in self._ports.values())

    def prepare(self) -> None:
        private_folder(self._folder)
        private_folder(self._folder / "data")
        write_file(self._folder / "security.toml", self._security())
        # one volume a bucket at first: the default of seven uses up the volumes after a few courses
        write_file(self._folder / "master.toml", "[master.volume_growth]\ncopy_1 = 1\n")
        write_file(self._folder / "identities.json", json.dumps({"identities": self._identities()}, indent=1))

    def program(self) -> Program:
        folder = self._folder
        return Program(
            command=(
                str(executable("weed")),
                f"-config_dir={folder}",
                "-logtostderr=true",
                "server",
                f"-dir={folder / 'data'}",
                "-ip=127.0.0.1",
                "-ip.bind=127.0.0.1",
                "-master.telemetry=false",
                "-master.volumeSizeLimitMB=1024",
                "-master.electionTimeout=1s",  # it is alone: ten seconds would only delay every restart
                "-volume.max=10000",
                "-volume.minFreeSpace=1GiB",
                "-volume.preStopSeconds=0",
                "-filer",
                "-filer.exposeDirectoryData=false",
                f"-filer.localSocket={folder / 'filer.sock'}",
                "-s3",
                f"-s3.config={folder / 'identities.json'}",
                "-s3.iam.readOnly=false",
                "-s3.autoCreateBucket=false",
                "-s3.port.iceberg=0",
                "-s3.port.lance=0",
                f"-s3.localSocket={folder / 's3.sock'}",
                *(f"{option}={port}" for option, port in self._ports.items()),
            ),
            cwd=folder,
            log=self._layout.logs / "seaweedfs.log",
            configuration=fingerprint(*(folder / name for name in ("security.toml", "master.toml", "identities.json"))),
            # its graceful stop waits for streams between its own parts; what it acknowledged is in the kernel's hands
            stop_seconds=2,
        )

    def unready(self) -> str | None:
        try:
            with build_opener(ProxyHandler({})).open(f"{self.address}/healthz", timeout=3):
                pass
        except (URLError, OSError) as error:
            return f"{self.address} does not answer ({error})"
        return self._store().trouble(_HEALTH_BUCKET)

    def provision(self) -> None:
        for bucket in (STATE_BUCKET, ARCHIVE_BUCKET):
            self._store().ensure_bucket(bucket)

    def clean(self) -> None:
        """Remove the sockets that it leaves outside its folder."""
        for path in self._sockets_elsewhere():
            path.unlink(missing_ok=True)

    # --- inside

    def _sockets_elsewhere(self) -> list[Path]:
        """gRPC sockets: SeaweedFS puts them into /tmp whatever it is told; supervisord's umask keeps them private."""
        ports = self._settings.ports
        named = {
            "s3": ports.s3_grpc,
            "filer": ports.filer_grpc,
            "master": ports.master_grpc,
            "volume": ports.volume_grpc,
        }
        paths = [Path(f"/tmp/seaweedfs-{part}-grpc-{port}.sock") for part, port in named.items()]  # noqa: S108
        return [path for path in paths if path.is_socket()]

    def _store(self) -> S3Store:
        key = credential(self._layout, "object-store.json")
        target = ObjectStoreTarget(kind="seaweedfs", endpoint=self.address, region=REGION, path_style=True)
        return S3Store(target, key["access_key_id"], key["secret_access_key"])

    def _identities(self) -> list[dict[str, object]]:
        """The administrator, and the keys of one bucket each for the stacks' state and for archives; keys of courses
        are made over the IAM API."""
        admin = self._key("object-store.json", {})
        state = self._key("state.json", {"url": state_url(self._settings), "region": REGION})
        archives = self._key("archives.json", {})
        return [
            _identity("administrator", admin, ["Admin", *_ALL]),
            _identity(_STATE_USER, state, [f"{action}:{STATE_BUCKET}" for action in _ALL]),
            _identity(_ARCHIVE_USER, archives, [f"{action}:{ARCHIVE_BUCKET}" for action in _ALL]),
        ]

    def _key(self, file: str, more: dict[str, str]) -> dict[str, str]:
        content = credential(self._layout, file)
        content.setdefault("access_key_id", "JHAAS" + secrets.token_hex(8).upper())
        content.setdefault("secret_access_key", secrets.token_urlsafe(30))
        content.update(more)
        store_credential(self._layout, file, content)
        return content

    def _security(self) -> str:
        authority, certificate, key = ensure_certificates(self._folder / "tls")
        tokens = credential(self._layout, "seaweedfs.json")
        lines = []
        for part in ("signing", "signing.read", "filer_signing", "filer_signing.read"):
            token = tokens.setdefault(part, secrets.token_urlsafe(32))
            lines += [f"[jwt.{part}]", f"key = {_toml(token)}", "expires_after_seconds = 60"]
        store_credential(self._layout, "seaweedfs.json", tokens)
        pair = [f"cert = {_toml(certificate)}", f"key = {_toml(key)}"]
        lines += ["[grpc]", f"ca = {_toml(authority)}"]
        for part in (*_PARTS, "s3", "client"):
            lines += [f"[grpc.{part}]", *pair]
        for part in (*_PARTS, "client"):
            lines += [f"[https.{part}]", *pair, f"ca = {_toml(authority)}"]
        # the last section is the client's
        return "\n".join([*lines, "enabled = true", "[access]", "ui = false", ""])


def _identity(name: str, key: dict[str, str], actions: list[str]) -> dict[str, object]:
    credentials = {"accessKey": key["access_key_id"], "secretKey": key["secret_access_key"]}
    return {"name": name, "credentials": [credentials], "actions": actions}


def _toml(value: str | Path) -> str:
    return json.dumps(str(value))
