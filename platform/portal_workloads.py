"""The portal in this cluster: web, workers and scheduler, and the Job that brings the database along before them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pulumi
from pulumi_random import RandomPassword

import portal_settings as settings
from config import PlatformConfig
from kubernetes_objects import Part, apply, waits_for
from outputs import PORTAL_NAMESPACE as NAMESPACE
from outputs import Edge, Identity, Issuer, Names, ObjectStore, PortalSite, Postgres, Role, SharedStorage
from portal_objects import (
    DATABASE_CA,
    OWNER_SECRET,
    PREPARE,
    SCHEDULER,
    SETTINGS_SECRET,
    SITE_CA,
    STORE_CA,
    WEB,
    WORKER,
    WORKER_ACCOUNT,
    WORKER_SECRET,
    Process,
    before_objects,
    credentials_volume,
    ingress_object,
    pod,
    prepare_object,
    rights_objects,
    scheduler_objects,
    targets_of,
    targets_volume,
    web_objects,
    worker_objects,
)
from portal_target import TRIAL, has_own_authorities, lacking, target

ROOT = Path(__file__).parents[1]
RIGHTS = ROOT / "examples/cluster/rights.yaml"

Secrets = dict[str, dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Ground:
    """What the portal stands on."""

    edge: Edge
    names: Names
    issuer: Issuer
    postgres: Postgres
    store: ObjectStore
    who: Identity
    shared: SharedStorage


def portal_workloads(config: PlatformConfig, on: pulumi.ResourceOptions, ground: Ground) -> PortalSite:
    """The portal, ready to be used."""
    return PortalWorkloads(config, on, ground).site


class PortalWorkloads(Part):
    """Everything in the portal's namespace. Output: `site`."""

    site: PortalSite

    def __init__(self, config: PlatformConfig, on: pulumi.ResourceOptions, ground: Ground) -> None:
        super().__init__("portal", on)
        edge, issuer, postgres, store, who = ground.edge, ground.issuer, ground.postgres, ground.store, ground.who
        secrets = self._secrets(config, postgres, store, who)
        credentials = settings.credentials(config, who, store)
        vouching = {DATABASE_CA: postgres.ca, STORE_CA: store.ca, SITE_CA: issuer.ca}
        authorities = {name: _ended(ca) for name, ca in vouching.items() if ca is not None}
        missing = lacking(who, store)
        if missing:
            pulumi.log.warn(f"Courses cannot run on this cluster: it needs {', '.join(missing)}.", self)
        elif "capacity" not in config.portal.target:
            pulumi.log.info(
                f"Courses may take {TRIAL['memory']} GiB and {TRIAL['cpu']} cores together: "
                "set jhaas-platform:portal.target.capacity to give them more.",
                self,
            )
        targets = targets_of(None if missing else target(config, edge, issuer, who, store, ground.shared))
        before = apply(
            before_objects(
                config,
                edge,
                issuer,
                postgres,
                secrets=secrets,
                credentials=credentials,
                authorities=authorities,
                targets=targets,
                worker_role=worker_role(store),
            ),
            self.inside(waits_for(issuer.ready, ground.names.ready)),
        )
        rights = apply(rights_objects(RIGHTS.read_text()), self.inside(before))

        common = settings.common(config, who, store)
        trusts = has_own_authorities(issuer, store)
        read_once = _hash(secrets, authorities)
        shared_settings = ("database_url", "secret_key", "oidc_client_secret")
        given: dict[str, Any] = {"authorities": [*authorities], "edge_authority": issuer.own}

        prepare = Process(
            PREPARE,
            ("portal", "targets"),
            {**common, "JHAAS_TARGETS_DIR": settings.TARGETS},
            {OWNER_SECRET: ("database_url",), SETTINGS_SECRET: ("secret_key", "oidc_client_secret")},
            files={"targets": (settings.TARGETS, targets_volume())},
        )
        prepared = apply(
            [prepare_object(pod(config, prepare, **given), postgres.portal.user, _hash(secrets, authorities, targets))],
            self.inside(waits_for(before, postgres.ready)),
        )
        web = Process(
            WEB,
            ("portal", "web"),
            {**common, **settings.web()},
            {SETTINGS_SECRET: (*shared_settings, "metrics_token")},
            trusts=trusts,
            folders={"metrics": (settings.METRICS, {"emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}})},
        )
        scheduler = Process(
            SCHEDULER, ("portal", "scheduler"), {**common, **settings.pulse()}, {SETTINGS_SECRET: shared_settings}
        )
        worker = Process(
            WORKER,
            ("portal", "worker"),
            {**common, **settings.pulse(), **settings.worker(store)},
            {SETTINGS_SECRET: shared_settings, WORKER_SECRET: tuple(secrets[WORKER_SECRET])},
            trusts=trusts,
            files={
                "targets": (settings.TARGETS, targets_volume()),
                "credentials": (settings.CREDENTIALS, credentials_volume()),
            },
        )
        served = apply(
            [
                *web_objects(config, pod(config, web, **given), read_once),
                *scheduler_objects(config, pod(config, scheduler, **given), read_once),
            ],
            self.inside(waits_for(before, prepared, who.ready)),
        )
        works = apply(
            worker_objects(config, pod(config, worker, account=WORKER_ACCOUNT, **given), read_once),
            self.inside(waits_for(before, rights, prepared, who.ready, store.ready, ground.shared.ready)),
        )
        way_in = apply([ingress_object(config, edge)], self.inside(waits_for(before, served, edge.ready)))
        self.site = PortalSite(
            url=f"https://{config.site.portal_host}/", namespace=NAMESPACE, ready=(*served, *works, *way_in)
        )
        self.register_outputs({"url": self.site.url})

    def _secrets(self, config: PlatformConfig, postgres: Postgres, store: ObjectStore, who: Identity) -> Secrets:
        """Secret → setting → value."""
        password = config.mail.password
        return {
            SETTINGS_SECRET: {
                "database_url": settings.database_url(postgres, postgres.portal),
                "secret_key": self._password("secret-key", 64),
                "oidc_client_secret": who.client_secret,
                "metrics_token": self._password("metrics-token", 48),
            },
            OWNER_SECRET: {"database_url": settings.database_url(postgres, postgres.portal_owner)},
            WORKER_SECRET: {
                **self._of_the_state(store),
                **({"smtp_password": pulumi.Output.secret(password.get_secret_value())} if password else {}),
            },
        }

    def _of_the_state(self, store: ObjectStore) -> dict[str, pulumi.Output[str]]:
        """How workers open the stacks' state, and how its secrets are encrypted."""
        key = store.state.key
        opened = (
            {}
            if key is None
            else {
                "state_access_key_id": key.access_key_id,
                "state_secret_access_key": key.secret_access_key,
            }
        )
        if store.secrets_provider is not None:
            return opened
        # with another, no stack of a course could be opened any more
        return {**opened, "state_passphrase": self._password("state-passphrase", 48, kept=True)}

    def _password(self, name: str, length: int, *, kept: bool = False) -> pulumi.Output[str]:
        opts = pulumi.ResourceOptions(parent=self, protect=kept)
        return pulumi.Output.secret(RandomPassword(f"portal-{name}", length=length, special=False, opts=opts).result)


def worker_role(store: ObjectStore) -> Any:
    """The role that workers take for what no key opens; None where all has keys."""
    roles = [one for one in (store.state.access, store.archives.access, store.courses) if isinstance(one, Role)]
    return roles[0].arn if roles else None


def _ended(ca: str | pulumi.Output[str]) -> pulumi.Output[str]:
    """With a new line at its end: the next one begins there."""
    return pulumi.Output.from_input(ca).apply(lambda text: f"{text.strip()}\n")


def _hash(*what: Any) -> pulumi.Output[str]:
    """One hash of everything that a pod reads at its start. Among it are 64 random characters: it tells nothing."""
    found = pulumi.Output.all(*what).apply(
        lambda values: hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
    )
    return pulumi.Output.unsecret(found)
