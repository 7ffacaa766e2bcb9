"""Looks for secrets in plain text wherever an operation may have put them."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from urllib.parse import quote

from automation import processes


class SecretScan:
    """`secrets` by a name that may be shown. Found places are collected in `found`, never the secrets themselves."""

    def __init__(self, secrets: Mapping[str, str]) -> None:
        short = [name for name, value in secrets.items() if len(value) < 8]
        assert not short, f"too short to look for: {short}"
        self._forms = {name: frozenset(_forms(value)) for name, value in secrets.items()}
        self.found: set[tuple[str, str]] = set()
        self.looked_at: set[str] = set()

    def text(self, where: str, content: bytes) -> None:
        """One piece of content."""
        self.looked_at.add(where)
        for name, forms in self._forms.items():
            if any(form in content for form in forms):
                self.found.add((name, where))

    def objects(self, contents: Mapping[str, bytes]) -> None:
        """Objects of a store by key; also their keys."""
        for key, content in contents.items():
            self.text(f"object {key}", key.encode() + b"\n" + content)

    def folder(self, folder: Path, besides: Iterable[Path] = ()) -> None:
        """Every file below a folder, and its path; `besides` are files or folders where secrets belong."""
        left_out = tuple(besides)
        for path in sorted(folder.rglob("*")):
            if path.is_symlink() or not path.is_file() or any(path.is_relative_to(one) for one in left_out):
                continue
            try:
                self.text(f"file {path}", str(path).encode() + b"\n" + path.read_bytes())
            except (FileNotFoundError, PermissionError):
                continue

    def processes(self, operation: str) -> int:
        """Arguments and environment of the operation's living processes; how many there were."""
        living = processes.of_operation(operation)
        for pid in living:
            for file in ("cmdline", "environ"):
                try:
                    content = Path(f"/proc/{pid}/{file}").read_bytes()
                except OSError:
                    continue
                self.text(f"{file} of {processes.name(pid)}", content)
        return len(living)


def _forms(secret: str) -> Iterator[bytes]:
    """The secret as it may be written: plain, in JSON, in an address, in base64 at any offset."""
    yield secret.encode()
    yield json.dumps(secret)[1:-1].encode()
    yield quote(secret, safe="").encode()
    for offset in range(3):
        encoded = base64.b64encode(b"\0" * offset + secret.encode())
        # What depends on the neighbours is cut off at both ends.
        whole = encoded[4 if offset else 0 : len(encoded) // 4 * 4 - 4]
        if len(whole) >= 8:
            yield whole
