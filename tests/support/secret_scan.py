"""Looks for secrets in plain text wherever an operation may have put them."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from urllib.parse import quote

from automation import processes


class Evidence:
    """What was seen in places where no secret may be; gathered first, since some secrets are known only afterwards."""

    def __init__(self) -> None:
        self.seen: dict[str, set[bytes]] = {}

    def text(self, where: str, content: bytes) -> None:
        """One piece of content."""
        self.seen.setdefault(where, set()).add(content)

    def objects(self, contents: Mapping[str, bytes]) -> None:
        """Objects of a store by key; also their keys."""
        for key, content in contents.items():
            self.text(f"object {key}", key.encode() + b"\n" + content)

    def folder(self, folder: Path, besides: Iterable[Path] = ()) -> None:
        """Every file below a folder, and its path; `besides` are files or folders where secrets belong."""
        left_out = tuple(besides)
        for path in sorted(folder.rglob("*")):
            if any(path.is_relative_to(one) for one in left_out):
                continue
            try:
                if path.is_file() and not path.is_symlink():
                    self.text(f"file {path}", str(path).encode() + b"\n" + path.read_bytes())
            except (FileNotFoundError, PermissionError):
                continue

    def process(self, pid: int) -> None:
        """Arguments and environment of one process."""
        for file in ("cmdline", "environ"):
            try:
                content = Path(f"/proc/{pid}/{file}").read_bytes()
            except OSError:
                continue
            self.text(f"{file} of {processes.name(pid)} {pid}", content)

    def operation(self, operation: str) -> int:
        """The operation's living processes; how many there were."""
        living = processes.of_operation(operation)
        for pid in living:
            self.process(pid)
        return len(living)

    def processes_in(self, folder: Path) -> None:
        """Processes that work in a folder, such as a hub."""
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and (entry / "cwd").resolve(strict=True).is_relative_to(folder):
                    self.process(int(entry.name))
            except OSError:
                continue

    def holding(self, secrets: Mapping[str, str]) -> set[tuple[str, str]]:
        """(name of the secret, place) for every secret that was seen in plain text; never the secret itself."""
        short = [name for name, value in secrets.items() if len(value) < 8]
        assert not short, f"too short to look for: {short}"
        return {
            (name, where)
            for name, value in secrets.items()
            for form in _forms(value)
            for where, contents in self.seen.items()
            if any(form in content for content in contents)
        }


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
