"""Types of single fields: what one value must look like, wherever it stands in a spec."""

from __future__ import annotations

import datetime as dt
import re
import unicodedata
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, WithJsonSchema

from course_stack.spec.image import ImageReference
from course_stack.spec.problems import echo, refuse

_HOSTS = """
admin api app apps assets auth authentik autoconfig autodiscover blog canaille cdn console dashboard demo dns docs
download downloads edge files ftp git grafana health help home hub hubs id idp image images imap ingress jhaas jupyter
jupyterhub kubernetes ldap local localhost login logout mail metrics monitoring mx notebook notebooks oauth oauth2 oidc
pop portal prometheus proxy public register registry root s3 saml scim server services settings smtp sso static status
storage support test traefik vpn webmail wpad www
"""
_BEHIND_OUR_PREFIX = """
archive archives backup backups course courses database data default governance group leads minio platform postgres
secrets seaweedfs shared state stacks system teachers users worker workers
"""

RESERVED_SLUGS = frozenset(_HOSTS.split() + _BEHIND_OUR_PREFIX.split())
"""Slugs that would take the place of a part of the platform: a host beside the hubs, or (behind the prefix `jhaas-`) a
bucket, group, project or namespace of the platform itself."""

LEAD_GROUP_SUFFIX = "-leads"
"""`jhaas-SLUG-leads` is the group of a course's leads: a slug that ends so would share the group of another course."""

S3_ALIAS_SUFFIX = "-s3alias"
"""Bucket names that AWS keeps for itself; its other suffixes begin with two hyphens."""

_SYSTEM_FOLDERS = "bin boot dev etc home lib lib32 lib64 libx32 opt proc root run sbin sys tmp usr var"
SYSTEM_FOLDERS = frozenset(_SYSTEM_FOLDERS.split())
"""Top-level folders that a notebook image and its homes live in: nothing is mounted in or over them."""

_RESERVED_VARIABLES = """
CPU_GUARANTEE CPU_LIMIT HOME JPY_API_TOKEN JUPYTER_IMAGE JUPYTER_IMAGE_SPEC LOGNAME MEM_GUARANTEE MEM_LIMIT NB_GID
NB_GROUP NB_UID NB_USER NB_UMASK PATH PWD PYTHONHOME SHELL SUDO_COMMAND SUDO_GID SUDO_UID SUDO_USER USER
"""
RESERVED_VARIABLES = frozenset(_RESERVED_VARIABLES.split())
"""Set by the hub, its spawner, the account or the image; a course that set them could break its own notebooks."""

RESERVED_VARIABLE_PREFIXES = ("JUPYTERHUB_", "JHAAS_", "KUBERNETES_", "LD_")
"""The hub's own variables (the spawner lets a course's value win over its own: jupyterhub/spawner.py, `environment`),
ours, the cluster's, and the dynamic linker's."""

_SLUG = re.compile(r"[a-z](?:[a-z0-9-]*[a-z0-9])?")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LABEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_TAINT_KEY = re.compile(rf"(?:[a-z0-9](?:[a-z0-9.-]{{0,251}}[a-z0-9])?/)?{_LABEL.pattern}")
_SUBJECT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@+|:=-]*")
_URL_PATH = re.compile(r"/[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*")
_MOUNT_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_FOLDER_PART = re.compile(r"\w(?:[\w .+-]*[\w+-])?")
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*")
_GIT_PATH = re.compile(r"/[A-Za-z0-9._~+/@-]+")
_BRANCH = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._/+#@-]*")
# Invisible characters that turn the direction of the text around them: a title must not be able to do that to a page.
_DIRECTION_CONTROLS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def _no_truth_value(value: Any) -> Any:
    """YAML reads yes, no, on and off as truth values, which Python would count as 1 and 0."""
    if isinstance(value, bool):
        raise refuse("must be a number, not {value}", value="true" if value else "false")
    return value


def _number(value: Any) -> Any:
    if isinstance(value, str) and re.fullmatch(r"\s*-?\d+,\d+\s*", value):
        raise refuse("{value} is not a number; write it with a point, as in 0.5", value=echo(value))
    return _no_truth_value(value)


def _day(value: Any) -> Any:
    """Only real dates and YYYY-MM-DD: numbers would be read as seconds since 1970, and a clock time is none of ours."""
    if isinstance(value, dt.datetime) or not isinstance(value, str | dt.date):
        raise refuse("must be a day, written as YYYY-MM-DD")
    if isinstance(value, dt.date):
        return value
    if not _DATE.fullmatch(value.strip()):
        raise refuse("{value} is not a day; write it as YYYY-MM-DD", value=echo(value))
    try:
        return dt.date.fromisoformat(value.strip())
    except ValueError:
        raise refuse("{value}: the calendar has no such day", value=echo(value)) from None


def _written(text: str, *, lines: bool) -> str:
    text = unicodedata.normalize("NFC", text.replace("\r\n", "\n"))
    for character in text:
        category = unicodedata.category(character)
        if lines and character in "\n\t":
            continue
        if character in "\n\r\u2028\u2029":
            raise refuse("must be one line")
        if category in ("Cc", "Cs") or character in _DIRECTION_CONTROLS:
            raise refuse("holds a character that cannot be shown (number {number})", number=f"U+{ord(character):04X}")
    return text.strip()


def _line(text: str) -> str:
    return _written(text, lines=False)


def _lines(text: str) -> str:
    return _written(text, lines=True)


def _not_blank(text: str) -> str:
    if not text:
        raise refuse("is blank")
    return text


def _slug(text: str) -> str:
    if not _SLUG.fullmatch(text):
        raise refuse("has small letters a to z, digits and hyphens; it begins with a letter and ends without a hyphen")
    if "--" in text:
        raise refuse("has two hyphens in a row; one is enough")
    if text in RESERVED_SLUGS:
        raise refuse("{slug} is reserved for the platform; choose another, for example {slug}-course", slug=text)
    for suffix in (LEAD_GROUP_SUFFIX, S3_ALIAS_SUFFIX):
        if text.endswith(suffix):
            raise refuse("must not end with {suffix}: such names are taken by the platform", suffix=suffix)
    return text


def _image(text: str) -> str:
    try:
        return str(ImageReference.parse(text.strip()))
    except ValueError as error:
        raise refuse("{reason}", reason=str(error)) from None


def _url_path(text: str) -> str:
    if not _URL_PATH.fullmatch(text) or text.startswith("//") or ".." in text.partition("?")[0].split("/"):
        raise refuse("must be a path on the notebook server that begins with one /, for example /lab")
    return text


def _variable(text: str) -> str:
    if not _VARIABLE.fullmatch(text):
        raise refuse("is no name for a variable: letters, digits and _, not beginning with a digit")
    if text.upper() in RESERVED_VARIABLES or text.upper().startswith(RESERVED_VARIABLE_PREFIXES):
        raise refuse("is set by the platform and cannot be changed; choose another name")
    return text


def _variable_value(text: str) -> str:
    if any(unicodedata.category(character) in ("Cc", "Cs") and character not in "\n\t" for character in text):
        raise refuse("holds a character that no variable can hold")
    return text


def _volume_name(text: str) -> str:
    if not _SLUG.fullmatch(text):
        raise refuse("has small letters a to z, digits and hyphens; it begins with a letter and ends without a hyphen")
    return text


def _taint_key(text: str) -> str:
    if not _TAINT_KEY.fullmatch(text):
        raise refuse("is no key of a taint; write it as kubectl describe node shows it, for example nvidia.com/gpu")
    return text


def _taint_value(text: str) -> str:
    if text and not _LABEL.fullmatch(text):
        raise refuse("has letters, digits, dots, hyphens and _, and begins and ends with a letter or digit")
    return text


def _subject(text: str) -> str:
    if not _SUBJECT.fullmatch(text):
        raise refuse(
            "{value} is no subject of the identity provider: letters, digits and . _ @ + | : = -", value=echo(text)
        )
    return text


def _mount_path(text: str) -> str:
    path = text.rstrip("/")
    if not path.startswith("/"):
        raise refuse("must be a full path that begins with /, for example /mnt/material")
    parts = path[1:].split("/")
    if not all(_MOUNT_PART.fullmatch(part) for part in parts):
        raise refuse("has parts of letters, digits, dots, hyphens and _, without .. and empty parts")
    if parts[0] in SYSTEM_FOLDERS:
        raise refuse(
            "must not be in /{folder}: the image or the homes live there; use /mnt, /data or /srv", folder=parts[0]
        )
    return path


def _git_url(text: str) -> str:
    """The address is never repeated in a message: it may hold a password."""
    if re.match(r"(?:git\+)?ssh://|[\w.-]+@[\w.-]+:", text):
        raise refuse("ssh needs a private key in every notebook; use the repository's https:// address")
    if not text.lower().startswith("https://"):
        raise refuse("must begin with https://, so that nobody can change the files on the way")
    try:
        url = urlsplit(text)
        port_is_valid = url.port is None or url.port > 0
    except ValueError:
        raise refuse("is not an address; write https://host/path") from None
    if "@" in url.netloc:
        raise refuse("must not hold a user name or password: everybody in the course could read it")
    if not port_is_valid or not url.hostname or not _HOST.fullmatch(url.hostname):
        raise refuse("has no valid host name after https://")
    if url.query or url.fragment:
        raise refuse("must end with the repository's path, without ? and #; name the branch in its own field")
    if not _GIT_PATH.fullmatch(url.path) or not url.path.strip("/") or ".." in url.path.split("/"):
        raise refuse("has no valid path to a repository after the host name")
    return f"https://{url.netloc.lower()}{url.path.rstrip('/')}"


def _branch(text: str) -> str:
    """git check-ref-format's rules, a little stricter."""
    parts = text.split("/")
    if (
        not _BRANCH.fullmatch(text)
        or ".." in text
        or "@{" in text
        or any(not part or part.startswith(".") or part.endswith((".lock", ".")) for part in parts)
    ):
        raise refuse("is no name of a branch or tag")
    return text


def _folder(text: str) -> str:
    if text.startswith(("/", "~")):
        raise refuse("must be inside the home directory: write it without a leading / or ~")
    path = text.rstrip("/")
    if ".." in path.split("/"):
        raise refuse("must be inside the home directory: .. is not possible")
    if not all(_FOLDER_PART.fullmatch(part) for part in path.split("/")):
        raise refuse("has parts of letters, digits, spaces, dots, hyphens and _, each beginning with a letter or digit")
    return path


# StringConstraints(strict=True): bytes and numbers are no text.
_TEXT = StringConstraints(strict=True)

Line = Annotated[str, _TEXT, AfterValidator(_line), AfterValidator(_not_blank)]
"""One line of text, not blank."""
Lines = Annotated[str, _TEXT, AfterValidator(_lines)]
"""Text of any number of lines, perhaps none."""
Command = Annotated[str, _TEXT, AfterValidator(_lines), AfterValidator(_not_blank), Field(max_length=4000)]
Whole = Annotated[int, BeforeValidator(_no_truth_value)]
Number = Annotated[float, BeforeValidator(_number), Field(allow_inf_nan=False)]
Day = Annotated[dt.date, BeforeValidator(_day)]
Slug = Annotated[str, StringConstraints(strict=True, min_length=3, max_length=40), AfterValidator(_slug)]
Image = Annotated[
    str,
    StringConstraints(strict=True, max_length=500),
    AfterValidator(_image),
    # what can be said of it without reading its parts: pinned, and no address of a page
    WithJsonSchema(
        {
            "type": "string",
            "maxLength": 500,
            "pattern": r"^(?!\w+://)[^\s@]+(:(?!latest(@|$))[\w.-]+(@sha256:[0-9a-f]{64})?|@sha256:[0-9a-f]{64})$",
            "examples": ["quay.io/jupyter/scipy-notebook:2026-10-05"],
        }
    ),
]
UrlPath = Annotated[str, StringConstraints(strict=True, max_length=200), AfterValidator(_url_path)]
VariableName = Annotated[str, StringConstraints(strict=True, max_length=100), AfterValidator(_variable)]
VariableValue = Annotated[str, StringConstraints(strict=True, max_length=4000), AfterValidator(_variable_value)]
Subject = Annotated[str, StringConstraints(strict=True, max_length=128), AfterValidator(_subject)]
MountPath = Annotated[str, StringConstraints(strict=True, max_length=100), AfterValidator(_mount_path)]
VolumeName = Annotated[str, StringConstraints(strict=True, max_length=30), AfterValidator(_volume_name)]
TaintKey = Annotated[str, StringConstraints(strict=True, max_length=317), AfterValidator(_taint_key)]
TaintValue = Annotated[str, StringConstraints(strict=True, max_length=63), AfterValidator(_taint_value)]
GitUrl = Annotated[str, StringConstraints(strict=True, max_length=500), AfterValidator(_git_url)]
Branch = Annotated[str, StringConstraints(strict=True, max_length=100), AfterValidator(_branch)]
Folder = Annotated[str, StringConstraints(strict=True, max_length=100), AfterValidator(_folder)]
