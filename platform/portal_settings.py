"""The settings of the portal's processes, by the names that the portal itself gives them. Pure.

What is secret stands in files, each readable by the processes that need it and by no other.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

import pulumi

from config import PlatformConfig, TraefikIngress
from outputs import Identity, Key, Login, ObjectStore, Postgres
from portal_checks import schema, setting_problems

HOME = "/var/lib/jhaas"
"""Folder of a pod's own work; gone with the pod."""
METRICS = "/run/jhaas/metrics"
"""Where web processes add up what they count."""
PULSE = "/tmp/pulse"  # noqa: S108 - a folder of the pod alone
"""File that a worker and a scheduler touch while they go on."""
SECRETS = "/run/jhaas/secrets"
CREDENTIALS = "/run/jhaas/credentials"
TARGETS = "/run/jhaas/targets"
AUTHORITIES = "/run/jhaas/authorities"
"""Certificates of who signed what pods call: `database.crt`, `store.crt`, `site.crt`, `edge.crt`."""
TRUST = "/run/jhaas/trust"
OWN_AUTHORITIES, BUNDLE = f"{TRUST}/authority.crt", f"{TRUST}/bundle.crt"
"""In it: the authorities that vouch for more than the database; these, and the public ones."""
PUBLIC_AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"
WEB_PORT = 8001

OURS = frozenset(
    (
        *("database_url", "secret_key", "public_url", "timezone", "site_name", "contact"),
        *("oidc_issuer", "oidc_internal_url", "oidc_client_id", "oidc_client_secret"),
        *("governance_group", "teachers_group", "smtp_host", "smtp_port", "smtp_user", "smtp_password", "smtp_tls"),
        *("mail_from", "web_bind", "metrics_token", "archive_bucket", "data_folder", "pulse_file"),
    )
)
"""Settings that other sections of the configuration say, or that we must know."""
FREE = frozenset(schema("portal_settings")["properties"]) - OURS
"""Settings that `portal.settings` may hold."""


def variable(field: str) -> str:
    """Name of a setting's variable."""
    return "DATABASE_URL" if field == "database_url" else f"JHAAS_{field.upper()}"


def common(config: PlatformConfig, who: Identity, store: ObjectStore) -> dict[str, str]:
    """Variables of every process that are nobody's secret."""
    site, mail = config.site, config.mail
    sender = mail.sender or site.contact
    return {
        **_of_the_site(config),
        "JHAAS_PUBLIC_URL": f"https://{site.portal_host}",
        "JHAAS_SITE_NAME": site.name,
        "JHAAS_CONTACT": site.contact,
        "JHAAS_TIMEZONE": site.timezone,
        "JHAAS_OIDC_ISSUER": who.issuer,
        **({"JHAAS_OIDC_INTERNAL_URL": who.internal_url} if who.internal_url else {}),
        "JHAAS_OIDC_CLIENT_ID": who.client_id,
        "JHAAS_GOVERNANCE_GROUP": config.portal.governance_group,
        "JHAAS_TEACHERS_GROUP": config.portal.teachers_group,
        # empty: no mail leaves
        "JHAAS_SMTP_HOST": mail.host or "",
        "JHAAS_SMTP_PORT": str(mail.port),
        "JHAAS_SMTP_TLS": mail.tls,
        "JHAAS_SMTP_USER": mail.user or "",
        "JHAAS_MAIL_FROM": f"{json.dumps(site.name, ensure_ascii=False)} <{sender}>",
        "JHAAS_ARCHIVE_BUCKET": store.archives.name,
        "JHAAS_HOME": HOME,
    }


def _of_the_site(config: PlatformConfig) -> dict[str, str]:
    """`portal.settings`, and how many proxies are before the portal. Raises `pulumi.RunError` for a setting that does
    not exist, belongs to another section, or has a value that the portal would refuse."""
    for name in config.portal.settings:
        if name not in FREE:
            nearest = difflib.get_close_matches(name, FREE, n=1, cutoff=0.0)[0]
            why = "is said by another section" if name in OURS else f"does not exist (nearest: {nearest})"
            raise pulumi.RunError(f"jhaas-platform:portal.settings.{name}: this setting {why}.")
    if problems := setting_problems(config.portal.settings):
        raise pulumi.RunError("\n".join(f"jhaas-platform:portal.settings.{one}" for one in problems))
    before_traefik = isinstance(config.ingress, TraefikIngress) and config.ingress.trusted_proxies
    proxies = {"JHAAS_PROXIES": "2" if before_traefik else "1"}
    return {**proxies, **{variable(name): _text(value) for name, value in config.portal.settings.items()}}


def _text(value: str | float | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def web() -> dict[str, str]:
    """Variables of web processes alone."""
    return {"JHAAS_WEB_BIND": f"0.0.0.0:{WEB_PORT}", "PROMETHEUS_MULTIPROC_DIR": METRICS}


def pulse() -> dict[str, str]:
    """Variables of processes that nobody can call."""
    return {"JHAAS_PULSE_FILE": PULSE}


def worker(store: ObjectStore) -> dict[str, Any]:
    """Variables of workers alone: where the stacks' state, the target's file and its credentials are."""
    named = {"JHAAS_STATE_SECRETS_PROVIDER": store.secrets_provider} if store.secrets_provider is not None else {}
    return {
        "JHAAS_PULUMI": "cli",
        "JHAAS_TARGETS_DIR": TARGETS,
        "JHAAS_CREDENTIALS_DIR": CREDENTIALS,
        "JHAAS_STATE_URL": state_url(store),
        "JHAAS_STATE_REGION": store.region,
        "JHAAS_STATE_PATH_STYLE": _text(store.path_style),
        **named,
        "PULUMI_HOME": f"{HOME}/pulumi",
    }


def state_url(store: ObjectStore) -> str:
    """Where the courses' stacks lie: `s3://BUCKET`, with the store's address where it is not AWS itself."""
    where = f"?{urlencode({'endpoint': store.endpoint})}" if store.endpoint else ""
    return f"s3://{store.state.name}{where}"


def trust() -> dict[str, str]:
    """Variables by which everything in a pod believes the authorities of `TRUST`."""
    return dict.fromkeys(("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "AWS_CA_BUNDLE"), BUNDLE)


def secret_file(field: str) -> str:
    """Name of a secret setting's file, and of its key in a Secret."""
    return field.replace("_", "-")


def secret_variables(fields: Mapping[str, Any]) -> dict[str, str]:
    """Variables that name the files of these secret settings."""
    return {f"{variable(field)}_FILE": f"{SECRETS}/{secret_file(field)}" for field in fields}


def database_url(postgres: Postgres, login: Login) -> pulumi.Output[str]:
    """The address with user and password, as libpq takes it. A secret output."""
    parts = pulumi.Output.all(host=postgres.host, password=login.password)

    def url(given: dict[str, Any]) -> str:
        account = f"{quote(login.user, safe='')}:{quote(str(given['password']), safe='')}"
        place = f"{given['host']}:{postgres.port}/{quote(login.database, safe='')}"
        return f"postgresql://{account}@{place}?{urlencode(_tls(postgres))}"

    return pulumi.Output.secret(parts.apply(url))


def _tls(postgres: Postgres) -> dict[str, str]:
    if postgres.sslmode not in ("verify-full", "verify-ca"):
        return {"sslmode": postgres.sslmode}
    authority = PUBLIC_AUTHORITIES if postgres.ca is None else f"{AUTHORITIES}/database.crt"
    return {"sslmode": postgres.sslmode, "sslrootcert": authority}


def credentials(config: PlatformConfig, who: Identity, store: ObjectStore) -> dict[str, pulumi.Output[str]]:
    """Files of the worker's credentials folder: name → content. Secret outputs."""
    found: dict[str, pulumi.Output[str]] = {}
    if who.api_key is not None:
        found["identity.json"] = _secret_json(who.api_key)
    # without a file, workers take the role of their account
    if isinstance(store.courses, Key):
        found["object-store.json"] = _key_file(store.courses)
    if store.archives.key is not None:
        found["archives.json"] = _key_file(store.archives.key)
    if config.portal.registry is not None:
        found["registry.json"] = pulumi.Output.secret(config.portal.registry.get_secret_value())
    return found


def _key_file(key: Key) -> pulumi.Output[str]:
    return _secret_json({"access_key_id": key.access_key_id, "secret_access_key": key.secret_access_key})


def _secret_json(content: dict[str, pulumi.Output[str]]) -> pulumi.Output[str]:
    return pulumi.Output.secret(pulumi.Output.all(**content).apply(json.dumps))
