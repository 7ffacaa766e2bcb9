"""Where the stacks' state lives and how it is encrypted, from a machine's data folder or from the environment."""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Self, TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator

from course_stack.local.layout import HOME_ENV, Layout
from course_stack.local.machine import BEYOND_LOOPBACK_ENV, BIND_ENV, PORT_ENV
from course_stack.target import CREDENTIALS_ENV
from course_stack.targets import TARGETS_ENV

PREFIX = "JHAAS_"
STATE_PREFIX = "JHAAS_STATE_"
ENGINE_ENV = "JHAAS_PULUMI"

KNOWN_SETTINGS: dict[str, str] = {
    HOME_ENV: "data folder of this machine",
    CREDENTIALS_ENV: "folder of identity.json, object-store.json, archives.json and kubeconfig; or of one folder of "
    "these a target",
    TARGETS_ENV: "folder of the targets' files, NAME.yaml",
    ENGINE_ENV: "which Pulumi engine: auto, cli or embedded",
    PORT_ENV: "port of this machine's edge",
    BIND_ENV: "address on which this machine's edge listens",
    BEYOND_LOOPBACK_ENV: "yes: let other machines reach this machine's edge",
    "JHAAS_OPERATION_ID": "set by us in the processes of an operation",
    "JHAAS_STATE_URL": "address of the stacks' state, s3://BUCKET/PREFIX?endpoint=… or file:///FOLDER",
    "JHAAS_STATE_REGION": "region of the state bucket",
    "JHAAS_STATE_PATH_STYLE": "yes: the bucket is part of the path, not of the host name",
    "JHAAS_STATE_ACCESS_KEY_ID": "access key of the state bucket",
    "JHAAS_STATE_ACCESS_KEY_ID_FILE": "file that holds it",
    "JHAAS_STATE_SECRET_ACCESS_KEY": "its secret",
    "JHAAS_STATE_SECRET_ACCESS_KEY_FILE": "file that holds its secret",
    "JHAAS_STATE_PASSPHRASE": "passphrase that encrypts the stacks' secrets",
    "JHAAS_STATE_PASSPHRASE_FILE": "file that holds the passphrase",
    "JHAAS_STATE_SECRETS_PROVIDER": "awskms://… (or another key service) in place of a passphrase",
}
"""Every environment setting with what it means; the portal adds its own (`declare`)."""

# The parameters that Pulumi reads in an s3:// address (it refuses every other one).
_S3_PARAMETERS = frozenset(
    (
        *("region", "profile", "anonymous", "role", "endpoint", "hostname_immutable", "use_path_style"),
        *("s3ForcePathStyle", "disable_https", "disableSSL", "dualstack", "fips", "accelerate"),
        *("rate_limiter_capacity", "request_checksum_calculation", "response_checksum_validation"),
        *("ssetype", "kmskeyid", "awssdk"),
    )
)
_S = TypeVar("_S", bound="StateSettings")
_KMS = ("awskms://", "azurekeyvault://", "gcpkms://", "hashivault://")


class SettingsError(ValueError):
    """A setting is missing, unknown or out of its bounds; the message names it."""


class StateSettings(BaseModel):
    """Address, key and encryption of the stacks' state.

    Either a passphrase or a `secrets_provider` encrypts the secrets in it. Without an access key, the surroundings of
    the process give one (a role of the machine or of the pod).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str = Field(description="s3://BUCKET/PREFIX?endpoint=http://HOST:PORT, or file:///FOLDER (trials only).")
    region: str | None = Field(default=None, description="Region of the bucket; goes before the one in the address.")
    path_style: bool | None = Field(default=None, description="The bucket is part of the path, not of the host name.")
    access_key_id: str | None = None
    secret_access_key: SecretStr | None = None
    passphrase: SecretStr | None = None
    secrets_provider: str | None = Field(default=None, description="Address of a key management service.")

    @field_validator("url")
    @classmethod
    def _known_store(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme == "file":
            if not parts.path.startswith("/") or parts.netloc:
                raise ValueError("must name a folder by its full path: file:///FOLDER")
            return url
        if parts.scheme != "s3" or not parts.netloc:
            raise ValueError("must be s3://BUCKET/PREFIX?endpoint=… or file:///FOLDER")
        if parts.username or parts.password:
            raise ValueError("must hold no credentials; set the access key by its own settings")
        for name, _ in parse_qsl(parts.query, keep_blank_values=True):
            if name not in _S3_PARAMETERS:
                raise ValueError(f"has the unknown parameter {name!r}{_nearest(name, _S3_PARAMETERS)}")
        return url

    @field_validator("secrets_provider")
    @classmethod
    def _known_kms(cls, provider: str | None) -> str | None:
        if provider is not None and not provider.startswith(_KMS):
            raise ValueError(f"must begin with one of {', '.join(_KMS)}")
        return provider

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.passphrase is None) == (self.secrets_provider is None):
            raise ValueError("exactly one of passphrase and secrets_provider must be given")
        if (self.access_key_id is None) != (self.secret_access_key is None):
            raise ValueError("access_key_id and secret_access_key belong together: give both or neither")
        return self

    @property
    def backend_url(self) -> str:
        """The address as Pulumi takes it, with region and path style in it."""
        parts = urlsplit(self.url)
        if parts.scheme == "file":
            return self.url
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        if self.region is not None:
            query["region"] = self.region
        if self.path_style is not None:
            query.pop("s3ForcePathStyle", None)
            query["use_path_style"] = str(self.path_style).lower()
        return urlunsplit((parts.scheme, parts.netloc, parts.path, urlencode(query), ""))

    @classmethod
    def of_machine(cls, layout: Layout) -> Self:
        """From `credentials/state.json` and `credentials/state-passphrase` of this machine's data folder."""
        path = layout.credentials / "state.json"
        return _parsed(
            cls,
            {**json.loads(_read(path)), "passphrase": _read(layout.credentials / "state-passphrase").rstrip("\n")},
            f"{path}: ",
        )

    @classmethod
    def of_environment(cls, environ: Mapping[str, str] = os.environ) -> Self | None:
        """From `JHAAS_STATE_*`; None if none of them is set. A secret may stand in the file that `…_FILE` names."""
        check_environment(environ)
        given = {
            name.removeprefix(STATE_PREFIX).lower(): value
            for name, value in environ.items()
            if name.startswith(STATE_PREFIX)
        }
        for name in [name for name in given if name.endswith("_file")]:
            given[name.removesuffix("_file")] = _read(Path(given.pop(name))).rstrip("\n")
        return _parsed(cls, given, STATE_PREFIX) if given else None

    @classmethod
    def load(cls, layout: Layout, environ: Mapping[str, str] = os.environ) -> Self:
        """The environment's settings if there are any, else this machine's. Raises `SettingsError`."""
        return cls.of_environment(environ) or cls.of_machine(layout)

    def secrets(self) -> tuple[str, ...]:
        """The values that must appear nowhere."""
        return tuple(
            value.get_secret_value() for value in (self.secret_access_key, self.passphrase) if value is not None
        )

    def to_pipe(self) -> dict[str, str | bool | None]:
        """Everything with secrets in clear text, for the pipe to an operation's process and nothing else."""
        return {
            **self.model_dump(exclude={"secret_access_key", "passphrase"}),
            "secret_access_key": self.secret_access_key and self.secret_access_key.get_secret_value(),
            "passphrase": self.passphrase and self.passphrase.get_secret_value(),
        }


def declare(settings: Mapping[str, str]) -> None:
    """Make more settings known: name → meaning. For what stands on top of this package."""
    KNOWN_SETTINGS.update(settings)


def check_environment(environ: Mapping[str, str] = os.environ, known: Iterable[str] = KNOWN_SETTINGS) -> None:
    """Raises `SettingsError` for a setting with our prefix that does not exist, naming the nearest that does."""
    names = frozenset(known)
    for name in sorted(environ):
        if name.startswith(PREFIX) and name not in names:
            raise SettingsError(f"There is no setting {name}{_nearest(name, names)}. Remove or correct it.")


def _nearest(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.0)
    return f" (nearest: {near[0]})" if near else ""


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError as error:
        raise SettingsError(f"{path} cannot be read ({error.strerror}).") from error


def _parsed(cls: type[_S], content: Mapping[str, object], where: str) -> _S:
    try:
        return cls.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        name = "_".join(map(str, first["loc"])) or "settings"
        text = first["msg"].removeprefix("Value error, ")
        raise SettingsError(f"{where}{name.upper() if where == STATE_PREFIX else name}: {text}.") from None
