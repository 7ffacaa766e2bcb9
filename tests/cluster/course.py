"""A course on the cluster, put there without Pulumi: its manifests, by kubectl and helm."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import yaml

from automation.reality import reality_of
from course_stack.kubernetes.manifests import manifests, placeholders, to_yaml
from course_stack.kubernetes.names import ClusterNames
from course_stack.kubernetes.release import ReleasePlan
from course_stack.kubernetes.values import HubKeys
from course_stack.spec import load_spec
from tests.cluster import kube
from tests.cluster.trial import Trial
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
        self.put(self.hub_keys())
        self.wait_until_answers()

    def hub_keys(self) -> HubKeys:
        """Groups and client at the identity provider are made, too."""
        client = self.make_login()
        ends = client["endpoints"]
        return HubKeys(
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

    def put(self, keys: HubKeys) -> None:
        """Objects and chart: what `jhaas course manifests` prints is all that there is to apply."""
        *objects, plan = yaml.safe_load_all(to_yaml(manifests(self.spec, self.machine.target)))
        kube.apply(objects)
        values = _filled(plan["values"], dict(zip(_leaves(placeholders()), _leaves(keys), strict=True)))
        self.adjust(values)
        kube.install(ReleasePlan(**{"repository": None, "version": None, **plan["release"]}), values)

    def wait_until_answers(self) -> None:
        """Until the hub answers at its public address."""
        browser = Browser()
        wait_for(lambda: browser.get(f"{self.url}hub/health").status_code == 200, f"an answer at {self.url}", 120)

    def remove(self) -> None:
        """Take everything away; fine where nothing is there."""
        self.take_away()
        self.remove_login()

    def take_away(self) -> None:
        """What is on the cluster."""
        kube.uninstall(self.cluster_names.release, self.cluster_names.namespace)
        kube.kubectl("delete", "namespace", self.cluster_names.namespace, "--ignore-not-found", "--timeout=180s")

    def traces(self) -> list[str]:
        """What is still there: asked of the product, and of kubectl."""
        names = self.cluster_names
        look = reality_of(self.machine.target, self.machine.layout)
        kinds = "namespaces,persistentvolumes,clusterroles,clusterrolebindings,priorityclasses"
        scoped = [one for one in kube.show(kinds) if names.release in _belongs(one)]
        return [*look.traces(self.spec.slug), *(f"{one['kind']} {one['metadata']['name']}" for one in scoped)]

    def pods(self, component: str) -> list[dict[str, Any]]:
        """Pods of a part of the chart: `hub`, `proxy`, `singleuser-server`."""
        return kube.show("pods", "-n", self.cluster_names.namespace, "-l", f"component={component}")


def _belongs(one: Mapping[str, Any]) -> set[str]:
    """Names that tell whose an object of the whole cluster is."""
    meta = one["metadata"]
    claim = one.get("spec", {}).get("claimRef", {}).get("namespace", "")
    return {meta["name"], claim, *meta.get("annotations", {}).values(), *meta.get("labels", {}).values()}


def _leaves(keys: HubKeys) -> list[str]:
    return [str(getattr(keys, one.name)) for one in fields(keys)]


def _filled(value: Any, real: Mapping[str, str]) -> Any:
    """The same with what stands for a placeholder."""
    if isinstance(value, dict):
        return {name: _filled(one, real) for name, one in value.items()}
    if isinstance(value, list):
        return [_filled(one, real) for one in value]
    return real.get(value, value) if isinstance(value, str) else value


def merged(base: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """As Helm merges values: mappings key by key, everything else is replaced."""
    both = {
        name: merged(base[name], change[name])
        for name in base.keys() & change.keys()
        if isinstance(base[name], Mapping) and isinstance(change[name], Mapping)
    }
    return {**base, **change, **both}
