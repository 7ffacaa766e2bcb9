"""A cluster, the services that its pods need, and a target: see "Trials on a cluster" in docs/developing.md."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster import kube
from tests.cluster.trial import Trial, trial_on
from tests.conftest import Machine

_SETTINGS = {
    # the product refuses settings with its prefix that it does not know: these are ours alone
    name: os.environ.pop(name, None)
    for name in (
        *("JHAAS_TEST_TARGET", "JHAAS_TEST_IMAGE", "JHAAS_TEST_EDGE", "JHAAS_TEST_PLATFORM"),
        *("JHAAS_TEST_PORTAL_IMAGE", "JHAAS_TEST_STORE_IMAGE", "JHAAS_TEST_HOSTS", "JHAAS_TEST_NEW_CLUSTER"),
    )
}


def _given(name: str, otherwise: str) -> str:
    """The setting; without it, whatever asks for it is skipped: its name and `otherwise` say why."""
    value = _SETTINGS[name]
    if value is None:
        pytest.skip(f"{name} {otherwise}")
    return value


@pytest.fixture(scope="session")
def cluster_target() -> dict[str, Any]:
    """The target file that JHAAS_TEST_TARGET names; without it, such tests are skipped. Mark them `cluster`."""
    path = _given("JHAAS_TEST_TARGET", "names no target: there is no cluster to try")
    for program in ("kubectl", "helm"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not on PATH")
    content: dict[str, Any] = yaml.safe_load(Path(path).read_text())
    kube.kubectl("version")
    return content


@pytest.fixture(scope="session")
def platform_file() -> dict[str, Any]:
    """The stack's file that JHAAS_TEST_PLATFORM names; without it, such tests are skipped."""
    path = _given("JHAAS_TEST_PLATFORM", "names no stack's file: no platform is tried on a cluster")
    content: dict[str, Any] = yaml.safe_load(Path(path).read_text())
    return content


@pytest.fixture(scope="session")
def new_cluster() -> str:
    """The command that JHAAS_TEST_NEW_CLUSTER names; without it, such tests are skipped."""
    return _given("JHAAS_TEST_NEW_CLUSTER", "names no command that puts an empty cluster in the place of this one")


@pytest.fixture(scope="session")
def images_of_the_platform() -> tuple[str, str | None, Path | None]:
    """Images of portal and store (none: the platform's own choice), and the file of names for the cluster's DNS."""
    image = _given("JHAAS_TEST_PORTAL_IMAGE", "names no image: the portal cannot run on the cluster")
    store, hosts = _SETTINGS["JHAAS_TEST_STORE_IMAGE"], _SETTINGS["JHAAS_TEST_HOSTS"]
    return image, store, Path(hosts) if hosts else None


@pytest.fixture(scope="session")
def notebook_image() -> str:
    """Image of notebooks, as the cluster's nodes fetch it."""
    return _given("JHAAS_TEST_IMAGE", "names no image: there is nothing to start in a hub")


@pytest.fixture(scope="session")
def trial(
    cluster_target: dict[str, Any], machine: Machine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Trial]:
    """The machine's services, reached from the cluster's pods, and the target, reached from here."""
    image, controller = _SETTINGS["JHAAS_TEST_IMAGE"], _SETTINGS["JHAAS_TEST_EDGE"]
    with trial_on(
        cluster_target, machine, tmp_path_factory.mktemp("trial"), image=image, controller=controller
    ) as trial:
        yield trial
