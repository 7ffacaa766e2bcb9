"""The portal's settings: environment variables that begin with `JHAAS_`, each with its meaning.

A secret may also stand in a file that the variable with `_FILE` at its end names. A variable with our prefix that does
not exist stops the start: a typing error must not leave a default in force.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from automation.settings import SettingsError, check_environment, declare

PREFIX = "JHAAS_"
_FILE = "_FILE"
_EMPTY_SAYS_SO = ("teachers_group", "smtp_host")
"""Settings whose variable may be empty on purpose; any other that is empty counts as not set."""


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError(f"{name} is no time zone; write for example Europe/Berlin") from None
    return name


def _list(given: object) -> object:
    return [one.strip() for one in given.split(",") if one.strip()] if isinstance(given, str) else given


def _address(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.path.strip("/") or parts.query:
        raise ValueError(f"{url} is no address of a site; write for example https://courses.example.org")
    local = parts.hostname == "localhost" or str(parts.hostname).endswith(".localhost")
    if parts.scheme == "http" and not local:
        raise ValueError(f"{url} is not https; only names below localhost may do without")
    return url.rstrip("/")


class PortalSettings(BaseSettings):
    """Everything that can be set for web, scheduler and workers alike."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, hide_input_in_errors=True, populate_by_name=True, env_ignore_empty=True
    )

    database_url: SecretStr = Field(
        validation_alias="DATABASE_URL",
        description="Postgres: postgresql://user:password@host:port/database. The local services set it.",
    )
    secret_key: SecretStr = Field(
        min_length=32,
        description="At least 32 random characters: seals tokens at rest and signs what a browser holds.",
    )
    former_secret_key: SecretStr | None = Field(
        default=None,
        min_length=32,
        description="The secret key before the last change: what it sealed can still be opened. The guide says when to "
        "take it away.",
    )
    public_url: Annotated[str, AfterValidator(_address)] = Field(
        description="Address of the portal as browsers see it, for example https://courses.example.org."
    )
    timezone: Annotated[str, AfterValidator(_zone)] = Field(
        default="Europe/Berlin", description="The site's time zone."
    )
    site_name: str = Field(default="JupyterHub courses", description="Name of the service on pages and in mails.")
    contact: str = Field(default="", description="Address that people write to for help.")

    oidc_issuer: str = Field(description="Issuer of the identity provider, exactly as its discovery document says.")
    oidc_internal_url: str | None = Field(
        default=None, description="Address for calls to the provider, where it is not the public one."
    )
    oidc_client_id: str = Field(description="The portal's client at the identity provider.")
    oidc_client_secret: SecretStr = Field(description="Secret of that client.")
    governance_group: str = Field(default="jhaas-governance", description="Group of the people who approve courses.")
    teachers_group: str = Field(
        default="jhaas-teachers", description="Group of the people who may ask for courses; empty: everybody may."
    )
    session_hours: float = Field(default=10, gt=0, le=24 * 7, description="Hours after which a sign-in ends.")
    session_idle_hours: float = Field(
        default=2, gt=0, le=24, description="Hours without use after which a sign-in ends."
    )
    role_check_minutes: float = Field(
        default=5, gt=0, le=60, description="Minutes after which roles are asked for again."
    )
    allow_own_approval: bool = Field(default=False, description="Whether governance may approve its own courses.")

    lead_working_days: int = Field(
        default=2, ge=0, le=30, description="Working days before the first day in which courses are deployed."
    )
    warn_days: Annotated[tuple[int, ...], NoDecode, BeforeValidator(_list)] = Field(
        default=(14, 7, 1), description="Days before the end on which people are warned, with commas between them."
    )
    grace_days: int = Field(default=14, ge=0, le=365, description="Days from the actual close to the destroy.")
    retention_days: int = Field(default=180, ge=1, le=3650, description="Days for which archives can be fetched.")
    extend_days: int = Field(default=92, ge=0, le=366, description="Days by which leads may extend without governance.")

    lease_seconds: float = Field(default=30, ge=2, le=600, description="Seconds in which a worker renews its lease.")
    max_tries: int = Field(default=4, ge=1, le=20, description="Tries of an operation before people are told.")
    retry_seconds: float = Field(default=30, gt=0, description="Pause before the second try; it triples with each.")
    tick_seconds: float = Field(default=1, gt=0, le=60, description="Seconds between two looks of the scheduler.")

    smtp_host: str = Field(default="127.0.0.1", description="Mail server; empty: no mail leaves.")
    smtp_port: int = Field(default=1025, ge=1, le=65535, description="Its port.")
    smtp_user: str = Field(default="", description="Name to sign in with, if it wants one.")
    smtp_password: SecretStr = Field(default=SecretStr(""), description="Password to that name.")
    smtp_tls: Literal["none", "starttls", "tls"] = Field(
        default="none", description="How mail is encrypted on its way."
    )
    mail_from: str = Field(default="JupyterHub courses <courses@localhost>", description="Sender of mails.")

    web_bind: str = Field(
        default="127.0.0.1:8001", description="Address and port on which the web processes listen: ADDRESS:PORT."
    )
    web_processes: int = Field(default=2, ge=1, le=64, description="Web processes.")
    web_threads: int = Field(
        default=16, ge=8, le=128, description="Threads of each; all but four may be held by people who watch."
    )
    metrics_token: SecretStr | None = Field(
        default=None,
        min_length=16,
        description="Bearer token for /metrics; without one, only this machine may read them.",
    )
    proxies: int = Field(default=0, ge=0, le=5, description="Proxies before the portal whose headers are believed.")
    demo: bool = Field(default=False, description="Shows a demo's signs and the button that moves its clock.")
    archive_bucket: str = Field(default="jhaas-archives", description="Bucket of the archives of homes.")
    data_folder: Path | None = Field(default=None, description="Data folder of this machine (local target).")
    pulse_file: Path | None = Field(
        default=None, description="File that worker and scheduler touch every few seconds while they go on."
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - files that lie about are no settings
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """What is given, then the environment, then files that it names."""
        return init_settings, env_settings, _Files(settings_cls)


class _Files(PydanticBaseSettingsSource):
    """Secrets in files: `JHAAS_SECRET_KEY_FILE` for `JHAAS_SECRET_KEY`."""

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:
        name = variable(field_name)
        path = os.environ.get(name + _FILE) if is_secret(field.annotation) else None
        if not path:
            return None, field_name, False
        try:
            return Path(path).read_text().rstrip("\n"), field_name, False
        except OSError as error:
            raise SettingsError(f"{name}{_FILE}: {path} cannot be read ({error.strerror}).") from None

    def __call__(self) -> dict[str, Any]:
        found = {name: self.get_field_value(field, name)[0] for name, field in self.settings_cls.model_fields.items()}
        return {name: value for name, value in found.items() if value is not None}


def variable(field: str) -> str:
    """Name of a setting's environment variable."""
    alias = PortalSettings.model_fields[field].validation_alias
    return alias if isinstance(alias, str) else PREFIX + field.upper()


def is_secret(annotation: Any) -> bool:
    """Whether a setting may stand in a file."""
    return "SecretStr" in str(annotation)


def load(defaults: Mapping[str, Any] | None = None) -> PortalSettings:
    """The settings of the environment, and where it says nothing `defaults` (field → value).

    Raises `SettingsError`: one sentence for the first that is missing, unknown or out of its bounds.
    """
    check_environment()
    given = {
        field: value
        for field, value in (defaults or {}).items()
        if not os.environ.get(variable(field)) and not os.environ.get(variable(field) + _FILE)
    }
    given |= {field: "" for field in _EMPTY_SAYS_SO if os.environ.get(variable(field)) == ""}
    try:
        return PortalSettings(**given)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = str(first["loc"][0]) if first["loc"] else "settings"
        name = place if place not in PortalSettings.model_fields else variable(place)
        if first["type"] == "missing":
            raise SettingsError(f"{name} is not set: {_description(place)}") from None
        raise SettingsError(f"{name}: {first['msg'].removeprefix('Value error, ')}.") from None


def _description(place: str) -> str:
    by_variable = {variable(name): field for name, field in PortalSettings.model_fields.items()}
    field = PortalSettings.model_fields.get(place) or by_variable.get(place)
    return (field.description if field else None) or ""


declare(
    {
        name: description
        for field_name, field in PortalSettings.model_fields.items()
        for name, description in (
            (variable(field_name), field.description or ""),
            *([(variable(field_name) + _FILE, "file that holds it")] if is_secret(field.annotation) else []),
        )
        if name.startswith(PREFIX)
    }
)
