"""The names of everything of one course on a cluster, derived from its slug alone.

Namespaces are ours alone, so what lies in one needs no prefix; what is known to the whole cluster carries the slug.
"""

from __future__ import annotations

from dataclasses import dataclass

from course_stack.names import PREFIX

PART_OF = {"app.kubernetes.io/part-of": "jhaas"}
"""Label of every object that we make: a look over the whole cluster finds them by it."""

COURSE_LABEL = "jhaas.io/course"
"""The slug, on the same objects."""

JOB_LABEL = "jhaas.io/job"
"""On every pod of ours beside the hub's (`archive`, `pre-pull`, …): the network policies know Jobs by it."""

HUB = {"app": "jupyterhub", "component": "hub"}
PROXY = {"app": "jupyterhub", "component": "proxy"}
NOTEBOOK = {"app": "jupyterhub", "component": "singleuser-server"}
"""Labels by which Zero to JupyterHub and its KubeSpawner mark their pods."""

HUB_PORT, PROXY_PORT, PROXY_API_PORT, NOTEBOOK_PORT = 8081, 8000, 8001, 8888
"""Where the containers of the chart listen."""


@dataclass(frozen=True, slots=True)
class ClusterNames:
    """Names for a slug of at most 40 characters.

    The tightest bound is Helm's: 53 characters for a release, of which `jhaas-` and the slug take 46.
    """

    slug: str

    @property
    def namespace(self) -> str:
        """Everything of the course lies in it, and goes with it."""
        return f"{PREFIX}{self.slug}"

    @property
    def release(self) -> str:
        """Name of the Helm release, unique in the cluster and not only in the namespace: objects of the chart that
        the whole cluster knows are named after it."""
        return f"{PREFIX}{self.slug}"

    @property
    def labels(self) -> dict[str, str]:
        """On every object of the course that we make ourselves, the namespace included."""
        return {**PART_OF, COURSE_LABEL: self.slug}

    @property
    def quota(self) -> str:
        """The ResourceQuota."""
        return "course"

    @property
    def limits(self) -> str:
        """The LimitRange."""
        return "course"

    @property
    def registry_secret(self) -> str:
        """The image pull secret, where the target has one."""
        return "registry"

    @property
    def jobs_account(self) -> str:
        """Service account of our Jobs: without token and without rights."""
        return "jobs"

    @property
    def hub_tls_secret(self) -> str:
        """The hub's certificate, where cert-manager issues one for each course."""
        return "hub-tls"

    def shared(self, volume: str) -> str:
        """The claim of a shared volume."""
        return f"shared-{volume}"

    def policy(self, name: str) -> str:
        """A NetworkPolicy of ours; the chart's own are called after its components."""
        return f"course-{name}"
