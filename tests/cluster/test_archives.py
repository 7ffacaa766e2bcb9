"""Homes on a real cluster, copied by Jobs to a real object store."""

from __future__ import annotations

import io
import tarfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
import zstandard

from automation.failures import Cancelled
from course_stack.hub_rules import CHECK_USER
from course_stack.kubernetes.homes import HOME_LABELS, ISSUER, SUBJECT
from course_stack.kubernetes.names import JOB_LABEL, ClusterNames
from course_stack.kubernetes.objects import course_objects
from course_stack.local.machine import ARCHIVE_BUCKET
from course_stack.spec import load_spec
from portal.archives.cluster import ClusterHomes, cluster_homes
from portal.archives.copy import Order
from portal.archives.pack import ArchiveFacts
from portal.archives.storage import Owner
from portal.archives.store import ArchiveStore, archive_key
from portal.archives.walk import HomeUnreadable
from tests.cluster import kube
from tests.cluster.trial import Trial
from tests.course_stack.specs import course
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.cluster, pytest.mark.machine]

PEOPLE = ("anna", "ben")
FILL = """
set -e
cd /home/of
echo "the home of $WHO" > notes.txt
mkdir -p work/deep && echo 1 > work/deep/file && ln work/deep/file work/second-name && ln -s notes.txt link
truncate -s 50M holes && printf end >> holes
head -c 3000000 /dev/urandom > noise
"""


@dataclass
class Namespace:
    """A course's namespace with homes, and no hub."""

    trial: Trial
    slug: str
    course: uuid.UUID = field(default_factory=uuid.uuid4)

    @property
    def name(self) -> str:
        return ClusterNames(self.slug).namespace

    @property
    def homes(self) -> ClusterHomes:
        return cluster_homes(self.trial.target, self.slug)

    @property
    def store(self) -> ArchiveStore:
        return ArchiveStore.of(self.trial.target, ARCHIVE_BUCKET)

    def order(self, home: str, number: int = 1) -> Order:
        return Order(home, archive_key(self.course, 1, home, number), {"home": home, "course": self.slug})

    def make_home(self, subject: str, *, fill: bool = False) -> str:
        name = f"home-{subject}"
        spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "100Mi"}}}
        notes = {ISSUER: "https://id.example.org", SUBJECT: subject}
        metadata = {"name": name, "namespace": self.name, "labels": HOME_LABELS, "annotations": notes}
        kube.apply([{"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}])
        if fill:
            self.start_pod(f"fill-{subject}", name, FILL, subject)
            kube.kubectl(*_WAIT, "--for=jsonpath={.status.phase}=Succeeded", f"pod/fill-{subject}", "-n", self.name)
        return name

    def start_pod(self, name: str, claim: str, script: str, who: str = "") -> None:
        """A pod of somebody who works in the home."""
        cluster = self.trial.target.cluster
        assert cluster is not None
        container = {
            "name": "work",
            "image": cluster.images.helper,
            "imagePullPolicy": cluster.images.pull_policy,
            "command": ["/bin/sh", "-c", script],
            "env": [{"name": "WHO", "value": who}],
            "volumeMounts": [{"name": "home", "mountPath": "/home/of"}],
            "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        }
        security = {
            "runAsUser": cluster.uid,
            "runAsGroup": cluster.gid,
            "fsGroup": cluster.gid,
            "runAsNonRoot": True,
            "seccompProfile": {"type": "RuntimeDefault"},
        }
        spec = {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 1,
            "automountServiceAccountToken": False,
            "securityContext": security,
            "containers": [container],
            "volumes": [{"name": "home", "persistentVolumeClaim": {"claimName": claim}}],
        }
        kube.apply(
            [{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": self.name}, "spec": spec}]
        )

    def left(self) -> list[str]:
        """What Jobs left in the namespace: Jobs, their pods, orders and keys."""
        kinds = "jobs,pods,configmaps,secrets"
        found = kube.show(kinds, "-n", self.name, "-l", JOB_LABEL)
        return [f"{one['kind']} {one['metadata']['name']}" for one in found]


_WAIT = ("wait", "--timeout=120s")


@pytest.fixture(scope="module")
def namespace(trial: Trial) -> Iterator[Namespace]:
    slug = "cluster-archives"
    spec = load_spec(course(slug=slug, seats=5, home_size=0.25))
    kube.apply(course_objects(spec, trial.target))
    namespace = Namespace(trial, slug)
    try:
        for person in PEOPLE:
            namespace.make_home(person, fill=True)
        yield namespace
    finally:
        kube.kubectl("delete", "namespace", namespace.name, "--wait=true", "--timeout=180s")


def test_homes_are_copied_by_a_job_that_leaves_nothing_but_their_archives(namespace: Namespace) -> None:
    store = namespace.store
    orders = [namespace.order(f"home-{person}") for person in PEOPLE]
    ticks: list[int] = []
    outcomes = dict(namespace.homes.archive(orders, store, ticks.append))
    assert sorted(outcomes) == ["home-anna", "home-ben"]
    for person, order in zip(PEOPLE, orders, strict=True):
        facts = outcomes[order.home]
        assert isinstance(facts, ArchiveFacts), facts
        assert facts.skipped == 0
        # notes, file and its second name, holes, noise
        assert facts.files == 5
        assert 3_000_000 < facts.size < 4_000_000
        packed = b"".join(store.read(order.key))
        assert len(packed) == facts.size
        plain = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(packed)).read()
        with tarfile.open(fileobj=io.BytesIO(plain)) as tar:
            notes = tar.extractfile(f"home-{person}/notes.txt")
            assert notes is not None
            assert notes.read() == f"the home of {person}\n".encode()
            assert any(member.islnk() for member in tar.getmembers())
    assert ticks
    wait_for(lambda: namespace.left() == [], "the Job with all that it owns to be gone", 60)


def test_a_job_that_is_given_up_leaves_no_half_archive(namespace: Namespace) -> None:
    store = namespace.store
    orders = [namespace.order(f"home-{person}", 2) for person in PEOPLE]

    def stop(_: int) -> None:
        if namespace.left():
            raise Cancelled("The operation was asked to stop.")

    with pytest.raises(Cancelled):
        list(namespace.homes.archive(orders, store, stop))
    wait_for(lambda: namespace.left() == [], "the Job with all that it owns to be gone", 60)
    # the next try, under keys of its own
    again = [namespace.order(f"home-{person}", 3) for person in PEOPLE]
    assert all(isinstance(facts, ArchiveFacts) for _, facts in namespace.homes.archive(again, store, lambda _: None))


def test_a_pod_that_is_lost_is_told_for_the_homes_that_it_had_not_copied(namespace: Namespace) -> None:
    deleted: list[str] = []

    def lose(_: int) -> None:
        pods = kube.show("pods", "-n", namespace.name, "-l", JOB_LABEL)
        if pods and not deleted and pods[0]["status"]["phase"] == "Running":
            deleted.append(pods[0]["metadata"]["name"])
            kube.kubectl("delete", "pod", deleted[0], "-n", namespace.name, "--grace-period=0", "--force")

    home = namespace.make_home("large")
    namespace.start_pod("fill-large", home, "head -c 90000000 /dev/urandom > /home/of/noise")
    kube.kubectl(*_WAIT, "--for=jsonpath={.status.phase}=Succeeded", "pod/fill-large", "-n", namespace.name)
    outcomes = dict(namespace.homes.archive([namespace.order(home)], namespace.store, lose))
    assert deleted
    assert isinstance(outcomes[home], HomeUnreadable)
    assert "evicted or deleted" in str(outcomes[home])


def test_a_claim_that_cannot_be_mounted_keeps_no_other_home_from_being_copied(
    namespace: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    from course_stack.kubernetes import jobs

    monkeypatch.setattr(jobs, "START_SECONDS", 8)
    orders = [namespace.order("home-anna", 4), namespace.order("home-of-nobody", 4)]
    outcomes = dict(namespace.homes.archive(orders, namespace.store, lambda _: None))
    assert isinstance(outcomes["home-anna"], ArchiveFacts)
    assert isinstance(outcomes["home-of-nobody"], HomeUnreadable)
    assert 'persistentvolumeclaim "home-of-nobody" not found' in str(outcomes["home-of-nobody"])


def test_a_store_that_refuses_ends_it_with_the_reason(namespace: Namespace) -> None:
    from course_stack.object_store import ObjectStoreError

    store = namespace.store
    store.bucket = "no-such-bucket"
    with pytest.raises(ObjectStoreError, match="did not"):
        list(namespace.homes.archive([namespace.order("home-anna", 5)], store, lambda _: None))


def test_whose_homes_there_are_and_which_are_in_use_comes_from_the_claims_and_pods(namespace: Namespace) -> None:
    homes = namespace.homes
    namespace.make_home(CHECK_USER)
    found = homes.homes()
    assert found["home-anna"] == Owner("https://id.example.org", "anna")
    assert f"home-{CHECK_USER}" not in found
    namespace.start_pod("working", "home-anna", "sleep 600")
    assert homes.in_use() == {"home-anna"}
    homes.end_use(frozenset({"home-anna"}))
    assert homes.in_use() == frozenset()
    assert kube.show("pods", "-n", namespace.name, "--field-selector=metadata.name=working") == []
    homes.remove_check_home()
    names = [one["metadata"]["name"] for one in kube.show("persistentvolumeclaims", "-n", namespace.name)]
    assert f"home-{CHECK_USER}" not in names
    assert "home-anna" in names
    homes.remove_check_home()
