"""Fetches an archive, checks it against a checksum, and unpacks programs out of it. For the Dockerfile.

Usage: fetch_archive.py URL SHA256 FOLDER PROGRAM…
       fetch_archive.py --sums [MIRROR]

An empty SHA256 means the one that `pulumi_archives.sha256`, beside this file, has for the archive's name. `--sums`
fetches every archive that is named there and prints that file as it should be.
"""

from __future__ import annotations

import hashlib
import io
import re
import sys
import tarfile
from collections.abc import Iterator
from http.client import HTTPException, InvalidURL
from pathlib import Path, PurePosixPath
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import urlopen

GITHUB = "https://github.com"
PUBLISHED = Path(__file__).with_name("pulumi_archives.sha256")


class Refused(Exception):
    """The archive cannot be had, or is not what it should be; the message says why."""


def published(path: Path = PUBLISHED) -> dict[str, str]:
    """File name of an archive → its SHA-256 in hexadecimal, of lines as `sha256sum` writes them."""
    lines = [line.split() for line in path.read_text().splitlines() if line and not line.startswith("#")]
    return {name: sha256 for sha256, name in lines}


def address(name: str, mirror: str) -> str:
    """Where an archive of Pulumi's is released, by its file name."""
    found = re.fullmatch(r"(pulumi|pulumi-resource-([a-z]+))-(v[0-9.]+)-linux-[a-z0-9]+\.tar\.gz", name)
    if found is None:
        raise Refused(f"{name} is not named as Pulumi names its archives.")
    repository = f"pulumi-{found[2]}" if found[2] else "pulumi"
    return f"{mirror}/pulumi/{repository}/releases/download/{found[3]}/{name}"


def sums(mirror: str, path: Path) -> Iterator[str]:
    """The lines of the file of checksums, each sum as that of the archive itself; comments as they are."""
    for line in path.read_text().splitlines():
        if not line or line.startswith("#"):
            yield line
            continue
        name = line.split()[1]
        yield f"{hashlib.sha256(content(address(name, mirror))).hexdigest()}  {name}"


def content(url: str) -> bytes:
    """What is at this address. Raises `Refused`."""
    try:
        with urlopen(url, timeout=300) as answer:  # noqa: S310 - the caller's address
            found: bytes = answer.read()
            return found
    except HTTPError as error:
        error.close()
        why = f"{error.code} {error.reason}"
    except (ValueError, InvalidURL):
        why = "this is no address"
    except HTTPException:
        why = "the answer broke off"
    except OSError as error:
        cause = error.reason if isinstance(error, URLError) else error
        why = getattr(cause, "strerror", None) or str(cause)
    raise Refused(
        f"{shown(url)} cannot be fetched: {why}. Are version and processor ones that are released? A mirror of the "
        "archives is named by the build argument GITHUB (docs/image.md)."
    )


def shown(url: str) -> str:
    """The address as messages may tell it: without a password, and without a query, which may be signed."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def fetch(url: str, sha256: str, folder: Path, programs: list[str]) -> None:
    """Put the programs of the archive at `url` into the folder. Raises `Refused` before anything is unpacked."""
    if len(sha256) != 64:
        raise Refused(f"{shown(url)}: no SHA-256 of this archive is known; give it, as docs/image.md says.")
    packed = content(url)
    found = hashlib.sha256(packed).hexdigest()
    if found != sha256.lower():
        raise Refused(f"{shown(url)}: its SHA-256 is {found}, and should be {sha256}. It is not unpacked.")
    with tarfile.open(fileobj=io.BytesIO(packed), mode="r:gz") as archive:
        members = {PurePosixPath(one.name).name: one for one in archive if one.isfile()}
        if missing := [name for name in programs if name not in members]:
            raise Refused(f"{shown(url)}: there is no {', '.join(missing)} in it.")
        for name in programs:
            source = archive.extractfile(members[name])
            assert source is not None
            (folder / name).write_bytes(source.read())
            (folder / name).chmod(0o755)


def main(arguments: list[str]) -> int:
    try:
        if arguments[:1] == ["--sums"]:
            for line in sums(arguments[1] if arguments[1:] else GITHUB, PUBLISHED):
                sys.stdout.write(f"{line}\n")
            return 0
        url, sha256, folder, *programs = arguments
        sha256 = sha256 or published().get(PurePosixPath(urlsplit(url).path).name, "")
        fetch(url, sha256, Path(folder), programs)
    except (Refused, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
