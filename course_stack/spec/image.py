"""Names of container images, as `docker pull` and the kubelet read them."""

from __future__ import annotations

import re
from dataclasses import dataclass

DEFAULT_REGISTRY = "docker.io"
MAX_LENGTH = 255
"""Of registry and repository together (the distribution project's reference grammar)."""

_REGISTRY = re.compile(
    r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*(?::(?P<port>[0-9]{1,5}))?"
)
_PATH_PART = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class ImageReference:
    """A pinned image. `str()` gives it back as it was written.

    `name` is what was written before tag and digest; `registry` and `repository` are what it means
    (`scipy` means `docker.io/library/scipy`). At least one of `tag` and `digest` is set; with both, the digest counts.
    """

    name: str
    registry: str
    repository: str
    tag: str | None
    digest: str | None

    @classmethod
    def parse(cls, text: str) -> ImageReference:
        """Read `[REGISTRY[:PORT]/]PATH[:TAG][@sha256:DIGEST]`.

        A colon before the last slash belongs to the registry's port. The first part is a registry only if it holds a
        dot or a colon or is `localhost`, as everywhere. Raises ValueError with a sentence that says what is wrong.
        """
        if not text or any(character.isspace() for character in text):
            raise ValueError("an image name has no spaces; write it as registry/path:tag")
        if "://" in text:
            raise ValueError("write the image without http:// or https://, as registry/path:tag")
        rest, at, digest = text.partition("@")
        if at and not _DIGEST.fullmatch(digest):
            raise ValueError("what follows @ must be sha256: and 64 characters of 0-9 and a-f")
        tag: str | None = None
        if rest.rfind(":") > rest.rfind("/"):
            rest, _, tag = rest.rpartition(":")
            if not _TAG.fullmatch(tag):
                raise ValueError("the tag (after the last colon) has 1 to 128 letters, digits, dots, hyphens or _")
        registry, repository = _split_registry(rest)
        if tag == "latest":
            raise ValueError("the tag latest names another image every week; name a fixed tag, for example a dated one")
        if tag is None and not digest:
            raise ValueError("a tag or digest is missing; write for example quay.io/jupyter/scipy-notebook:2026-10-05")
        return cls(name=rest, registry=registry, repository=repository, tag=tag, digest=digest or None)

    def __str__(self) -> str:
        return self.name + (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")


def _split_registry(name: str) -> tuple[str, str]:
    first, slash, rest = name.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        match = _REGISTRY.fullmatch(first)
        if not match or int(match["port"] or 1) not in range(1, 65536):
            raise ValueError("the registry (before the first slash) is not a host name with an optional port")
        registry, repository = first, rest
    else:
        registry, repository = DEFAULT_REGISTRY, name if slash else f"library/{name}"
    if not all(_PATH_PART.fullmatch(part) for part in repository.split("/")):
        raise ValueError(
            "the image's path has small letters and digits, joined by dots, hyphens or _, in parts divided by slashes"
        )
    if len(registry) + 1 + len(repository) > MAX_LENGTH:
        raise ValueError(f"the image's name is too long; at most {MAX_LENGTH} characters before the tag")
    return registry, repository
