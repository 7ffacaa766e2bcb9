"""What tests of every package share."""

from __future__ import annotations

import os
import random
import shutil
import signal
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from course_stack.kubernetes.api import Cluster
from course_stack.local import hub_config, services
from course_stack.local.layout import Layout
from course_stack.local.machine import local_target, port_is_free
from course_stack.local.services.demo import DemoPerson, ensure_demo_people
from course_stack.target import CREDENTIALS_ENV, Target
from tests.course_stack.kubernetes.targets import cluster_target
from tests.support.fake_cluster import FakeCluster

# no property is about how long an example takes: a busy machine is no failure
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What did not run, by reason: hundreds of lines, one for each place, would hide what failed."""
    reasons = Counter(
        report.longrepr[2].removeprefix("Skipped: ") for report in terminalreporter.stats.get("skipped", [])
    )
    if reasons:
        terminalreporter.section("skipped")
    for reason, times in reasons.most_common():
        terminalreporter.line(f"{times:5}  {reason}")


# What a shell starts in the background ignores Ctrl-C, and so would the processes that tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


@dataclass(frozen=True)
class Machine:
    """The local services, really running. Tests share them: a test makes objects under names of its own."""

    layout: Layout
    target: Target
    people: dict[str, DemoPerson]
    """By role: teacher, student, classmate, stranger."""


@pytest.fixture(scope="session")
def machine() -> Iterator[Machine]:
    """All local services in a temporary data folder, up once for the whole session; mark such tests `machine`."""
    # below /var/tmp and open to enter, since notebook accounts must reach their homes
    home = Path(tempfile.mkdtemp(prefix="jhaas-", dir="/var/tmp"))
    home.chmod(0o755)
    layout = Layout(home)
    variables = {"JHAAS_HOME": str(home), "JHAAS_PORT": str(free_port()), CREDENTIALS_ENV: str(layout.credentials)}
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        services.up(layout)
        yield Machine(layout, local_target(layout), {one.role: one for one in ensure_demo_people(layout)})
    finally:
        services.down(layout)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name)
            else:
                os.environ[name] = value
        shutil.rmtree(home)


@pytest.fixture(scope="module")
def short_ages() -> Iterator[None]:
    """People are asked about every second, not every minute or two."""
    with pytest.MonkeyPatch.context() as patch:
        fields = hub_config.HubConfig.model_fields
        for name in ("refresh_seconds", "recheck_seconds"):
            patch.setattr(fields[name], "default", 1)
        hub_config.HubConfig.model_rebuild(force=True)
        yield
    hub_config.HubConfig.model_rebuild(force=True)


@pytest.fixture
def short_home() -> Iterator[Layout]:
    """An empty data folder for one test, at a path short enough for unix sockets."""
    home = Path(tempfile.mkdtemp(prefix="jhaas-", dir="/var/tmp"))
    yield Layout(home)
    shutil.rmtree(home)


@pytest.fixture
def fake() -> FakeCluster:
    """A cluster in memory, empty."""
    return FakeCluster()


@pytest.fixture
def cluster(fake: FakeCluster, tmp_path: Path) -> Iterator[Cluster]:
    """Our client of it."""
    with fake.connect(cluster_target(), tmp_path) as cluster:
        yield cluster


def free_port() -> int:
    """A port below the range of outgoing connections on which nothing listens now."""
    return next(port for port in random.sample(range(10000, 20000), 10000) if port_is_free("127.0.0.1", port))
