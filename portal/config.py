"""The portal's settings: environment variables that begin with `JHAAS_`, each with its meaning."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError(f"{name} is no time zone; write for example Europe/Berlin") from None
    return name


class PortalSettings(BaseSettings):
    """Everything that can be set for web, scheduler and workers alike."""

    model_config = SettingsConfigDict(env_prefix="JHAAS_", frozen=True, hide_input_in_errors=True, populate_by_name=True)

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
        description="The secret key before the last change: what it sealed can still be opened. Take it away after a "
        "day.",
    )
    public_url: str = Field(
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
    warn_days: tuple[int, ...] = Field(
        default=(14, 7, 1), description="Days before the end on which people are warned."
    )
    grace_days: int = Field(default=14, ge=0, le=365, description="Days from the actual close to the destroy.")
    retention_days: int = Field(default=180, ge=1, le=3650, description="Days for which archives can be fetched.")
    extend_days: int = Field(default=92, ge=0, le=366, description="Days by which leads may extend without governance.")

    lease_seconds: float = Field(default=30, ge=2, le=600, description="Seconds in which a worker renews its lease.")
    max_tries: int = Field(default=4, ge=1, le=20, description="Tries of an operation before people are told.")
    retry_seconds: float = Field(default=30, gt=0, description="Pause before the second try; it triples with each.")
    tick_seconds: float = Field(default=1, gt=0, le=60, description="Seconds between two looks of the scheduler.")

    smtp_host: str = Field(default="127.0.0.1", description="Mail server.")
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
