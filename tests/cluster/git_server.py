"""A folder of bare git repositories, served by plain HTTP through git's own program for it."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit


@contextmanager
def git_server(folder: Path) -> Iterator[int]:
    """Serves on a free loopback port while the block runs; the port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self._answer()

        def log_message(self, *_: Any) -> None:
            """Nothing."""

        def _answer(self) -> None:
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            done = subprocess.run(
                ["git", "http-backend"],
                input=body,
                capture_output=True,
                check=True,
                env={
                    "PATH": os.environ["PATH"],
                    "GIT_PROJECT_ROOT": str(folder),
                    "GIT_HTTP_EXPORT_ALL": "1",
                    "REQUEST_METHOD": self.command,
                    "PATH_INFO": parts.path,
                    "QUERY_STRING": parts.query,
                    "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                    "CONTENT_LENGTH": str(len(body)),
                    "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
                    "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
                    # the folder may belong to another account
                    "GIT_CONFIG_COUNT": "1",
                    "GIT_CONFIG_KEY_0": "safe.directory",
                    "GIT_CONFIG_VALUE_0": "*",
                },
            )
            head, _, content = done.stdout.partition(b"\r\n\r\n")
            fields = dict(line.split(": ", 1) for line in head.decode().splitlines())
            self.send_response(int(fields.pop("Status", "200").split()[0]))
            for name, value in fields.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def make_repository(folder: Path, name: str, files: Mapping[str, str]) -> None:
    """A bare repository `NAME.git` with these files, or with one commit more that brings it to them."""
    bare, work = folder / f"{name}.git", folder / f".{name}"
    if not bare.exists():
        _git("init", "-q", "--bare", "-b", "main", str(bare))
        _git("clone", "-q", str(bare), str(work))
        _git("checkout", "-q", "-B", "main", at=work)
    for path, content in files.items():
        (work / path).write_text(content)
    _git("add", "-A", at=work)
    _git("commit", "-q", "-m", "Material", at=work)
    _git("push", "-q", "origin", "main", at=work)


def _git(*arguments: str, at: Path | None = None) -> None:
    who = {
        f"GIT_{role}_{field}": "trial@example.org" for role in ("AUTHOR", "COMMITTER") for field in ("NAME", "EMAIL")
    }
    subprocess.run(
        ["git", *arguments],
        cwd=at,
        check=True,
        capture_output=True,
        env={"PATH": os.environ["PATH"], "HOME": "/nowhere", **who},
    )
