"""Which workload reads which password: nobody has a key that opens more than what it works on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_plus

import pytest

from tests.platform_stack.conftest import Rehearse
from tests.platform_stack.test_program import pod_of

if TYPE_CHECKING:
    from rehearsal import Rehearsal

PASSWORD = re.compile(r"\[secret: ([\w-]+)\]")


def held(made: Rehearsal) -> dict[str, set[str]]:
    """Workload (`Kind name`) → the passwords in the Secrets that its pods can read."""
    secrets = {
        (one.inputs["metadata"]["namespace"], one.inputs["metadata"]["name"]): one.inputs.get("stringData", {})
        for one in made.of("core/v1:Secret")
        if not one.is_read
    }
    found: dict[str, set[str]] = {}
    for one in made.objects:
        pod = pod_of(one.inputs)
        if pod is None:
            continue
        namespace = one.inputs["metadata"]["namespace"]
        name = f"{one.inputs['kind']} {one.inputs['metadata']['name']}"
        texts = [
            text
            for secret, keys in read(pod)
            for key, text in secrets.get((namespace, secret), {}).items()
            if keys is None or key in keys
        ]
        plain = " ".join(unquote_plus(str(text)) for text in texts)
        found.setdefault(name, set()).update(PASSWORD.findall(plain))
    return found


def read(pod: dict[str, Any]) -> Iterator[tuple[str, set[str] | None]]:
    """Secrets that a pod reads, each with the keys of it; None for all."""
    for volume in pod.get("volumes", ()):
        for source in [volume, *volume.get("projected", {}).get("sources", ())]:
            if "secret" in source:
                secret = source["secret"]
                items = secret.get("items")
                name = secret.get("secretName") or secret["name"]
                yield name, None if items is None else {item["key"] for item in items}
    for container in [*pod.get("initContainers", ()), *pod["containers"]]:
        for variable in container.get("env", ()):
            if reference := variable.get("valueFrom", {}).get("secretKeyRef"):
                yield reference["name"], {reference["key"]}
        for source in container.get("envFrom", ()):
            if "secretRef" in source:
                yield source["secretRef"]["name"], None


HOLDERS = {
    # the store's own key opens everything in it: itself, and who makes the other keys
    "object-storage-root": {"StatefulSet silo", "Job setup"},
    "object-storage-state-key": {"Job setup", "Deployment portal-worker"},
    "object-storage-archives-key": {"Job setup", "Deployment portal-worker"},
    "object-storage-courses-key": {"Job setup", "Deployment portal-worker"},
    "object-storage-backups-key": {"Job setup"},
    # who owns the tables changes their form, and nothing else ever does
    "database-portal-owner": {"Job portal-prepare"},
    "database-portal": {"Deployment portal-web", "Deployment portal-scheduler", "Deployment portal-worker"},
    "database-authentik": {"Job authentik-blueprint", "CronJob authentik-blueprint"},
    "identity-secret-key": {"Job authentik-blueprint", "CronJob authentik-blueprint"},
    "identity-api-token": {"Job authentik-blueprint", "CronJob authentik-blueprint", "Deployment portal-worker"},
    "identity-client-secret": {
        "Job authentik-blueprint",
        "CronJob authentik-blueprint",
        "Job portal-prepare",
        "Deployment portal-web",
        "Deployment portal-scheduler",
        "Deployment portal-worker",
    },
    "portal-secret-key": {
        "Job portal-prepare",
        "Deployment portal-web",
        "Deployment portal-scheduler",
        "Deployment portal-worker",
    },
    "portal-metrics-token": {"Deployment portal-web"},
    "portal-state-passphrase": {"Deployment portal-worker"},
}
"""Password → the workloads of ours that may read it; a password that is not here is read by none."""


@pytest.fixture(scope="module")
def everything(rehearse: Rehearse) -> Rehearsal:
    return rehearse(mail={"host": "mail.example.org"}, monitoring={"rules": True})


def test_a_workload_reads_the_passwords_that_it_works_with_and_no_others(everything: Rehearsal) -> None:
    for workload, passwords in held(everything).items():
        for password in passwords:
            assert workload in HOLDERS.get(password, set()), f"{workload} reads {password}"


def test_every_password_in_the_list_is_read_by_those_who_may(everything: Rehearsal) -> None:
    # a list that is longer than the truth would let somebody in unseen
    found = held(everything)
    assert {password: {name for name, has in found.items() if password in has} for password in HOLDERS} == HOLDERS


def test_the_first_admin_of_the_identity_provider_is_in_no_pod_of_ours(everything: Rehearsal) -> None:
    assert "identity-admin-password" in {one.name for one in everything.of("RandomPassword")}
    assert not any("identity-admin-password" in passwords for passwords in held(everything).values())


def test_web_pods_have_no_account_at_the_cluster(everything: Rehearsal) -> None:
    (web,) = [one for one in everything.of("Deployment") if one.name.endswith("/portal-web")]
    pod = pod_of(web.inputs)
    assert pod is not None
    assert pod["automountServiceAccountToken"] is False
