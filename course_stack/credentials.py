"""Administrative credentials of the parts behind the course stacks: read from files, never an input of a resource."""

from __future__ import annotations

import json
import os
from pathlib import Path

from course_stack.target import CREDENTIALS_ENV, Target

REGISTRY = "registry.json"
"""The registry's keys as `docker login` writes them (`config.json`): each course's image pull secret."""


class CredentialsError(Exception):
    """A file of credentials is missing or cannot be read; the message names it."""


def credentials(name: str, folder: Path | None = None, *, of: str = "") -> dict[str, str]:
    """The content of the file NAME in a folder of credentials (`in_folder`). Raises `CredentialsError`."""
    path = in_folder(name, folder, of=of)
    if path is None:
        raise CredentialsError(f"{CREDENTIALS_ENV} is not set: give the folder that holds {name}.")
    try:
        content: dict[str, str] = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not JSON"
        raise CredentialsError(f"{path} cannot be read ({reason}): it must hold the key of its service.") from None
    return content


def store_key(name: str, target: Target, folder: Path | None = None) -> tuple[str, str] | None:
    """Id and secret of the access key in the file NAME. None at AWS where there is no such file: the surroundings of
    the process give a key there (a role of the pod or of the machine). Raises `CredentialsError`."""
    path = in_folder(name, folder, of=target.name)
    if target.object_store.kind == "aws" and (path is None or not path.exists()):
        return None
    found = credentials(name, folder, of=target.name)
    try:
        return found["access_key_id"], found["secret_access_key"]
    except KeyError as error:
        raise CredentialsError(f"{path} has no {error}: it must hold access_key_id and secret_access_key.") from None


def in_folder(name: str, folder: Path | None = None, *, of: str = "") -> Path | None:
    """Where the file NAME lies in `folder`, or in the folder that `JHAAS_CREDENTIALS_DIR` names; None without either.

    `of` names a target: where the folder holds another one of that name, the target's files lie in there.
    """
    if folder is None:
        given = os.environ.get(CREDENTIALS_ENV)
        folder = Path(given) if given else None
    if folder is None:
        return None
    return (folder / of if of and (folder / of).is_dir() else folder) / name
