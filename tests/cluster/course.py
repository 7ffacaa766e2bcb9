"""A course on the cluster, put there without Pulumi: the program's objects and values, by kubectl and helm."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from course_stack.kubernetes.names import ClusterNames
from course_stack.kubernetes.objects import course_objects
from course_stack.kubernetes.values import HubKeys, hub_values
from course_stack.spec import load_spec
from tests.cluster import kube
from tests.cluster.conftest import Trial
from tests.course_stack.specs import course
from tests.support.browser import Browser
from tests.support.courses import DeployedCourse
from tests.support.waiting import wait_for

SMALL = {"memory_guarantee": 0.25, "memory_limit": 0.5, "cpu_guarantee": 0.05, "cpu_limit": 1}
"""What a notebook of a trial needs of a cluster."""


@dataclass
class ClusterCourse(DeployedCourse):
    """As its counterpart on one machine; `adjust` changes the chart's values before they are installed."""

    keys: dict[str, str] = field(
        default_factory=lambda: {name: secrets.token_hex(32) for name in ("cookie_secret", "crypt_key", "proxy_token")},
        repr=False,
    )
    adjust: Callable[[dict[str, Any]], None] = field(default=lambda _values: None)

    @classmethod
    def at(cls, trial: Trial, slug: str, **changes: Any) -> ClusterCourse:
        """The course as it would be asked for; nothing exists yet."""
        people = trial.machine.people
        given = {
            "slug": slug,
            "seats": 3,
            "image": trial.image,
            "resources": SMALL,
            "home_size": 0.25,
            "leads": [people["teacher"].subject],
            "participants": [people["student"].subject],
            **changes,
        }
        return cls(trial.machine, load_spec(course(**given)))

    @property
    def cluster_names(self) -> ClusterNames:
        return ClusterNames(self.spec.slug)

    def deploy(self, **changes: Any) -> None:
        """Create or update everything. `changes` are changes of the spec."""
        if changes:
            self.spec = load_spec({**self.spec.model_dump(mode="json"), **changes})
        client = self.make_login()
        ends = client["endpoints"]
        keys = HubKeys(
            client_id=client["client_id"],
            client_secret=client["secret"],
            authorize_url=ends["authorize"],
            token_url=ends["token"],
            userinfo_url=ends["userinfo"],
            issuer=ends["issuer"],
            end_session_url=ends["end_session"],
            api_token=self.secrets["api_token"],
            **self.keys,
        )
        kube.apply(course_objects(self.spec, self.machine.target))
        values = hub_values(self.spec, self.machine.target, keys)
        self.adjust(values)
        cluster = self.machine.target.cluster
        assert cluster is not None
        kube.install(self.cluster_names.release, self.cluster_names.namespace, cluster.chart, values)
        self.wait_until_answers()

    def wait_until_answers(self) -> None:
        """Until the hub answers at its public address."""
        browser = Browser()
        wait_for(lambda: browser.get(f"{self.url}hub/health").status_code == 200, f"an answer at {self.url}", 120)

    def remove(self) -> None:
        """Take everything away; fine where nothing is there."""
        kube.uninstall(self.cluster_names.release, self.cluster_names.namespace)
        kube.kubectl("delete", "namespace", self.cluster_names.namespace, "--ignore-not-found", "--timeout=180s")
        self.remove_login()

    def traces(self) -> list[str]:
        """What the cluster and the identity provider still have of the course."""
        names = self.cluster_names
        found = [f"{one['kind']} {one['metadata']['name']}" for one in _cluster_scoped() if names.release in str(one)]
        with self.provider() as provider:
            return [*found, *provider.client_names(self.names.client), *provider.group_names(self.names.group)]

    def pods(self, component: str) -> list[dict[str, Any]]:
        """Pods of a part of the chart: `hub`, `proxy`, `singleuser-server`."""
        return kube.show("pods", "-n", self.cluster_names.namespace, "-l", f"component={component}")


def _cluster_scoped() -> list[dict[str, Any]]:
    kinds = "namespaces,persistentvolumes,clusterroles,clusterrolebindings,priorityclasses"
    return kube.show(kinds)


def merged(base: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """As Helm merges values: mappings key by key, everything else is replaced."""
    both = {
        name: merged(base[name], change[name])
        for name in base.keys() & change.keys()
        if isinstance(base[name], Mapping) and isinstance(change[name], Mapping)
    }
    return {**base, **change, **both}
