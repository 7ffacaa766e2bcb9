"""Who knows the people: Authentik, installed here and told everything by one blueprint, or a provider of the site's.

The chart runs servers and workers. A Job then applies the blueprint, so that `up` fails with Authentik's own words
where something in it is wrong, and ends only when it was applied and people can sign in. A CronJob applies it again
each night: what was changed by hand comes back, and the key that signs tokens, renewed by cert-manager, is brought in.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pulumi
from pulumi_random import RandomPassword

from config import Authentik, ExternalOidc, MailServer, PlatformConfig
from identity_blueprint import blueprint, mails, proof, terms
from identity_objects import after_objects, before_objects
from identity_values import NAMESPACE, RELEASE, authentik_values, login
from kubernetes_objects import Part, apply, release, secret, waits_for
from outputs import Edge, Identity, Issuer, Names, Postgres

CLIENT_ID = "jhaas-portal"
"""The portal's client at Authentik; its issuer ends in it."""

ROOT = Path(__file__).parents[1]
"""Where `Pulumi.yaml` and the stacks' files are."""


def identity(
    config: PlatformConfig, on: pulumi.ResourceOptions, postgres: Postgres, edge: Edge, issuer: Issuer, names: Names
) -> Identity:
    """The identity provider that the site chose, ready to sign people in."""
    if isinstance(config.identity, ExternalOidc):
        return external(config.identity)
    return AuthentikServer(config, on, postgres, edge, issuer, names).outputs


def external(given: ExternalOidc) -> Identity:
    """A provider of the site's: nothing is made."""
    courses = given.courses
    return Identity(
        kind="oidc" if courses is None else courses.api,
        issuer=given.issuer,
        url=(given.issuer if courses is None else courses.url).rstrip("/"),
        internal_url=given.internal_url and given.internal_url.rstrip("/"),
        client_id=given.client_id,
        client_secret=secret(given.client_secret.get_secret_value()),
        api_key=None
        if courses is None
        else {name: secret(one.get_secret_value()) for name, one in courses.key.items()},
    )


class AuthentikServer(Part):
    """Authentik in this cluster."""

    def __init__(
        self,
        config: PlatformConfig,
        on: pulumi.ResourceOptions,
        postgres: Postgres,
        edge: Edge,
        issuer: Issuer,
        names: Names,
    ) -> None:
        super().__init__("identity", on)
        assert isinstance(config.identity, Authentik)
        secret_key = self._password("secret-key", 64)
        admin_password = self._password("admin-password", 32)
        client_secret = self._password("client-secret", 64)
        api_token = self._password("api-token", 64)

        sources = _sources(config.identity)
        given = pulumi.Output.all(client_secret, api_token).apply(lambda secrets: parameters(config, *secrets))
        text = given.apply(lambda known: blueprint(known, sources))
        proof_of_it = given.apply(lambda known: proof(known, sources))
        texts = _mails(config)
        settings = {
            "AUTHENTIK_SECRET_KEY": secret_key,
            "AUTHENTIK_POSTGRESQL__PASSWORD": login(postgres).password,
            **_mail_password(config.mail),
        }
        before = apply(
            before_objects(
                config,
                postgres,
                edge,
                settings=settings,
                admin_password=admin_password,
                blueprints={"jhaas.yaml": text, "applied.yaml": proof_of_it},
                mails=texts,
            ),
            self.inside(waits_for(postgres.ready, issuer.ready)),
        )
        # one hash of everything that pods read once: they start anew when it changes
        read_once = pulumi.Output.all(secret_key, login(postgres).password, json.dumps(texts)).apply(_hash)
        chart = release(
            RELEASE,
            config.charts.authentik,
            authentik_values(config, postgres, edge, issuer, read_once=pulumi.Output.unsecret(read_once)),
            namespace=NAMESPACE,
            cluster=config.cluster,
            opts=self.inside([*before, *waits_for(postgres.ready, edge.ready, issuer.ready)]),
        )
        applied = apply(
            after_objects(config, postgres, blueprint_hash=pulumi.Output.unsecret(text.apply(_hash))),
            self.inside([chart]),
        )
        url = f"https://{config.site.login_host}"
        self.outputs = Identity(
            kind="authentik",
            issuer=f"{url}/application/o/{CLIENT_ID}/",
            url=url,
            # its answers name the address at which it was called: all call it by the public one
            internal_url=None,
            client_id=CLIENT_ID,
            client_secret=client_secret,
            api_key={"token": api_token},
            admin_password=admin_password,
            namespace=NAMESPACE,
            ready=(*before, chart, *applied, *names.ready),
        )
        self.register_outputs({"url": url})

    def _password(self, name: str, length: int) -> pulumi.Output[str]:
        made = RandomPassword(
            f"identity-{name}", length=length, special=False, opts=pulumi.ResourceOptions(parent=self)
        )
        return pulumi.Output.secret(made.result)


def parameters(config: PlatformConfig, client_secret: str, api_token: str) -> dict[str, Any]:
    """`!Context NAME` of the blueprint."""
    chosen, site = config.identity, config.site
    assert isinstance(chosen, Authentik)
    return {
        **{name: value.get_secret_value() for name, value in chosen.source_secrets.items()},
        "site_name": site.name,
        "portal_url": f"https://{site.portal_host}",
        "identity_url": f"https://{site.login_host}",
        "identity_host": site.login_host,
        "client_id": CLIENT_ID,
        "client_secret": client_secret,
        "api_token": api_token,
        "governance_group": config.portal.governance_group,
        "teachers_group": config.portal.teachers_group,
        "enrolment_open": chosen.enrolment == "open",
        "verify_email": chosen.verify_email,
        "require_mfa": chosen.require_mfa,
        "sends_mail": config.mail.host is not None,
        **terms(chosen.terms_url),
    }


def _sources(chosen: Authentik) -> list[str]:
    """The site's own entries, of files beside the stack's. Raises `pulumi.RunError`."""
    found = []
    for path in chosen.sources:
        try:
            found.append((ROOT / path).read_text())
        except OSError as error:
            raise pulumi.RunError(
                f"jhaas-platform:identity.sources: {path} cannot be read ({error.strerror})."
            ) from None
    return found


def _mails(config: PlatformConfig) -> dict[str, str]:
    site = config.site
    return mails(site.name, site.contact, f"https://{site.portal_host}", f"https://{site.login_host}")


def _hash(what: object) -> str:
    return hashlib.sha256(json.dumps(what).encode()).hexdigest()


def _mail_password(mail: MailServer) -> dict[str, Any]:
    return {"AUTHENTIK_EMAIL__PASSWORD": mail.password.get_secret_value()} if mail.password else {}
