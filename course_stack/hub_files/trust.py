"""Whose certificates are believed: those of the public authorities, and of the site's own.

Programs take one file of certificates, not two: what is believed in addition stands behind the public ones.
"""

from __future__ import annotations

import os
import ssl
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

FILE_ENV = "SSL_CERT_FILE"
"""Variable that names the file to OpenSSL, Go and everything of ours."""
AWS_ENV = "AWS_CA_BUNDLE"
"""The same for clients of AWS, which believe it rather than the first."""

AUTHORITY = Path(__file__).parents[1] / "authority.crt"
"""In a hub: there where the target names an authority."""

PUBLIC = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
"""Where systems keep the public authorities as one file: Debian and Alpine, Red Hat, SUSE, newer Red Hat, BSD."""


def believed(environ: Mapping[str, str] = os.environ) -> str | None:
    """The file of authorities in force: the one that SSL_CERT_FILE names, else the system's, else Python's. None where
    there is none."""
    if given := environ.get(FILE_ENV):
        return given
    for path in PUBLIC:
        if Path(path).is_file():
            return path
    with suppress(ImportError):
        return str(import_module("certifi").where())
    return None


def of_aws_clients(environ: Mapping[str, str] = os.environ) -> str | None:
    """The same for clients of S3, which have a variable of their own; None: what they bring themselves."""
    return environ.get(AWS_ENV) or environ.get(FILE_ENV) or None


def bundle(authority: str, path: Path) -> dict[str, str]:
    """Write the authorities in force, and behind them this one (PEM), into the file; its folder must be there. Returns
    the variables by which a process, and all that it starts, believes them."""
    content = ""
    for known in dict.fromkeys((believed(), of_aws_clients())):
        content += Path(known).read_text(errors="replace").rstrip() + "\n" if known is not None else ""
    if authority.strip() not in content:
        content += authority.strip() + "\n"
    if not path.is_file() or path.read_text(errors="replace") != content:
        # others may be reading
        with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=path.name, delete=False) as fresh:
            fresh.write(content)
        Path(fresh.name).replace(path)
    return dict.fromkeys((FILE_ENV, AWS_ENV), str(path))


def distrust(error: BaseException) -> str | None:
    """What to do about a certificate that was not believed, if that is what an error of a connection comes from."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return (
                f"its certificate is not believed here ({cause.verify_message}): give who signed it by the target's "
                f"cluster.authority, or by {FILE_ENV}."
            )
        cause = cause.__cause__ or cause.__context__
    return None


def with_authority(c: Any, authority: Path = AUTHORITY) -> None:
    """Let the hub believe the site's own authority at its sign-in, where it was given one."""
    if authority.exists():
        folder = Path(tempfile.mkdtemp(prefix="jhaas-"))
        c.CourseAuthenticator.authorities = bundle(authority.read_text(), folder / "authorities.crt")[FILE_ENV]
