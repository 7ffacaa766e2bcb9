"""What our own processes believe: the authorities of `hub_files.trust`, as their clients take them."""

from __future__ import annotations

import re
import ssl
from functools import lru_cache
from pathlib import Path

from course_stack.credentials import CredentialsError, in_folder
from course_stack.hub_files.trust import believed, bundle
from course_stack.local.layout import Layout
from course_stack.target import CREDENTIALS_ENV, Target

_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----\n[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----")


def context() -> ssl.SSLContext:
    """For clients that open connections themselves. Reads the file again when it changed."""
    path = believed()
    return _context(path, 0 if path is None else Path(path).stat().st_mtime_ns)


@lru_cache(maxsize=8)
def _context(path: str | None, _changed: int) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=path)


def authority(target: Target, folder: Path | None = None) -> str | None:
    """The certificates (PEM) of the authority that a target names; None where it names none. `folder` as for
    `credentials`. Raises `CredentialsError`."""
    name = target.cluster.authority if target.cluster is not None else None
    if name is None:
        return None
    path = Path(name) if name.startswith("/") else in_folder(name, folder, of=target.name)
    where = f"cluster.authority of target {target.name} is {path or name}"
    if path is None:
        raise CredentialsError(f"{where}: {CREDENTIALS_ENV} is not set, give the folder that holds it.")
    try:
        return certificates(path.read_text(errors="replace"))
    except OSError as error:
        raise CredentialsError(f"{where}, which cannot be read ({error.strerror}).") from None
    except ValueError as error:
        raise CredentialsError(f"{where}, which {error}.") from None


def certificates(text: str) -> str:
    """The certificates of a text, without what people write between them. Raises ValueError."""
    if "PRIVATE KEY" in text:
        raise ValueError("holds a private key: everybody's notebooks would get it")
    found = "".join(f"{one}\n" for one in _CERTIFICATE.findall(text))
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=found)
    except (ValueError, ssl.SSLError):
        raise ValueError("holds no certificate in PEM, or a damaged one") from None
    return found


def environment(target: Target, layout: Layout, folder: Path | None = None) -> dict[str, str]:
    """Variables by which a process, and all that it starts, believes the target's authority beside the public ones;
    empty where it names none. `folder` and what is raised as for `authority`."""
    content = authority(target, folder)
    if content is None:
        return {}
    layout.authorities.mkdir(mode=0o700, parents=True, exist_ok=True)
    return bundle(content, layout.authorities / f"{target.name}.crt")
