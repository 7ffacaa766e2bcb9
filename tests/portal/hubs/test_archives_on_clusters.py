"""Archives by Jobs: what runs in the pod, what is told, and what becomes of a Job that does not go well. The cluster is
one in memory; its pods run the real program on this machine."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from automation.failures import Cancelled
from course_stack import object_store
from course_stack.hub_rules import CHECK_USER
from course_stack.kubernetes import jobs
from course_stack.kubernetes.api import Cluster, ClusterError
from course_stack.kubernetes.homes import ISSUER, SUBJECT
from course_stack.kubernetes.jobs import Job, JobFailed, Jobs, manifests
from course_stack.kubernetes.names import JOB_LABEL
from course_stack.object_store import AccessKey, ObjectStoreError
from portal.archives.bundle import MODULES, program
from portal.archives.cluster import ClusterHomes
from portal.archives.copy import Order
from portal.archives.pack import ArchiveDamaged, ArchiveFacts
from portal.archives.pod import brief, line, outcome_of
from portal.archives.storage import Owner, StorageFailed
from portal.archives.store import ArchiveStore
from portal.archives.walk import HomeUnreadable, Skipped
from tests.course_stack.kubernetes.targets import cluster_target
from tests.support.fake_cluster import FakeCluster
from tests.support.pod_security import violations, without_requests

SLUG, NAMESPACE = "the-course", "jhaas-the-course"
FACTS = ArchiveFacts(1234, "ab" * 32, 5, 3, 999, 1, (Skipped("a\nb", "a socket"),))
JOB = Job(
    "archive", "archive-0123456789abcdef", b"zip", {"order.json": "{}"}, {"key.json": "unheard-of"}, ("home-anna",)
)


@dataclass
class Keys:
    """An object store that makes keys, and remembers for what."""

    writers: dict[str, str] = field(default_factory=dict)
    """User that there is → what its key opens."""
    made: list[str] = field(default_factory=list)

    def ensure_writer(self, user: str, bucket: str, prefix: str) -> AccessKey:
        self.writers[user] = f"{bucket}/{prefix}"
        self.made.append(self.writers[user])
        return AccessKey(user, "its-id", "its-secret")

    def delete_user(self, user: str) -> None:
        del self.writers[user]


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> Keys:
    keys = Keys()
    monkeypatch.setattr(object_store, "connect", lambda *_: keys)
    return keys


@pytest.fixture
def homes(cluster: Cluster, keys: Keys, monkeypatch: pytest.MonkeyPatch) -> ClusterHomes:
    monkeypatch.setattr(jobs, "_POLL", 0)
    return ClusterHomes(cluster, cluster_target(), SLUG)


@pytest.fixture
def store() -> ArchiveStore:
    return ArchiveStore(cluster_target().object_store, "archives", "id", "very secret")


def _home(fake: FakeCluster, subject: str, **meta: Any) -> str:
    notes = {ISSUER: "https://id.example.org", SUBJECT: subject}
    labels = {"component": "singleuser-storage"}
    name = f"home-{subject}"
    fake.add(
        "persistentvolumeclaims",
        name,
        NAMESPACE,
        metadata={"labels": labels, "annotations": notes, **meta},
        spec={"volumeName": f"pv-{subject}"},
    )
    return name


def _orders(*homes: str) -> list[Order]:
    return [Order(home, f"course/1/{home}-1.tar.zst", {"home": home}) for home in homes]


class Pods:
    """Makes a Job's pod as soon as it is woken, and lets it end as the test says: lines of its log, its phase, and more
    of its status."""

    def __init__(self, fake: FakeCluster, *ends: tuple[list[dict[str, Any]], str, dict[str, Any]]) -> None:
        self._fake, self._ends = fake, list(ends)
        self.jobs: list[dict[str, Any]] = []
        fake.on_create = self._made

    def _made(self, made: dict[str, Any]) -> None:
        if made["kind"] == "Job":
            self.jobs.append(json.loads(json.dumps(made)))
            told, phase, status = self._ends.pop(0)
            name = f"{made['metadata']['name']}-pod"
            spec = made["spec"]["template"]["spec"]
            owner = [{"uid": made["metadata"]["uid"], "name": "job", "kind": "Job", "apiVersion": "batch/v1"}]
            labels = made["spec"]["template"]["metadata"]["labels"]
            meta = {"labels": labels, "ownerReferences": owner}
            self._fake.add("pods", name, NAMESPACE, metadata=meta, spec=spec, status={"phase": phase, **status})
            self._fake.logs[name] = "".join(json.dumps(one) + "\n" for one in told)


def test_the_pod_is_restricted_asks_for_little_and_has_no_token() -> None:
    target = cluster_target().cluster
    assert target is not None
    work, order, keys = manifests(SLUG, target, JOB)
    pod = work["spec"]["template"]["spec"]
    assert violations(pod) == []
    assert without_requests(pod) == []
    assert pod["automountServiceAccountToken"] is False
    assert "fsGroup" not in pod["securityContext"]
    homes = [one for one in pod["containers"][0]["volumeMounts"] if "homes" in one["mountPath"]]
    assert [(one["mountPath"], one["readOnly"]) for one in homes] == [("/jhaas/homes/home-anna", True)]
    assert work["spec"]["suspend"] is True
    assert work["spec"]["backoffLimit"] == 0
    assert work["spec"]["template"]["metadata"]["labels"][JOB_LABEL] == "archive"
    assert "unheard-of" not in json.dumps([work, order])
    assert keys["stringData"] == {"key.json": "unheard-of"}


def test_a_job_goes_to_the_node_that_has_the_volume_open() -> None:
    target = cluster_target(notebooks={"node_selector": {"pool": "notebooks"}}).cluster
    assert target is not None
    pod = manifests(SLUG, target, JOB)[0]["spec"]["template"]["spec"]
    assert pod["nodeSelector"] == {"pool": "notebooks"}
    pinned = Job(JOB.kind, JOB.name, JOB.program, JOB.order, node="node-7")
    assert "node-7" in json.dumps(manifests(SLUG, target, pinned)[0]["spec"]["template"]["spec"]["affinity"])


def test_what_is_told_comes_back_as_it_was() -> None:
    home, facts = outcome_of(json.loads(json.dumps(line("anna", FACTS))))
    assert (home, facts) == (
        "anna",
        ArchiveFacts(1234, "ab" * 32, 5, 3, 999, 1, (Skipped("a\\nb", "a socket"),)),
    )
    for sent in (HomeUnreadable("The disk is broken."), ArchiveDamaged("It is another.")):
        home, failure = outcome_of(json.loads(json.dumps(line("ben", sent))))
        assert (home, type(failure), str(failure)) == ("ben", type(sent), str(sent))
    with pytest.raises(ObjectStoreError, match="is full"):
        outcome_of({"store": "It is full."})
    odd = {"home": "anna", "failure": "x", "kind": "SystemExit"}
    for nonsense in ({}, odd, {"home": "anna"}, {"home": "anna", "facts": {"size": 1}}):
        with pytest.raises(ValueError, match="not an outcome"):
            outcome_of(nonsense)


def test_last_words_of_a_whole_batch_fit_where_the_cluster_keeps_them() -> None:
    longest = "home-" + "x" * 58
    told = [brief(line(longest, FACTS)) for _ in range(ClusterHomes.at_once - 2)]
    told += [brief(line(longest, HomeUnreadable("very long " * 100))) for _ in range(2)]
    assert sum(len(json.dumps(one, separators=(",", ":"))) + 1 for one in told) < 4096


def test_the_program_of_the_pod_runs_with_python_boto3_and_zstandard_alone(tmp_path: Path) -> None:
    """Imports everything that it needs, and tells of a store that is not there."""
    for name in ("order", "keys", "homes/home-anna"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "homes/home-anna/notes.txt").write_text("notes")
    order = {
        "store": {"kind": "seaweedfs", "endpoint": "http://127.0.0.1:9", "region": "r", "path_style": True},
        "bucket": "archives",
        "homes": [{"home": "home-anna", "key": "key", "about": {}}],
    }
    (tmp_path / "order/order.json").write_text(json.dumps(order))
    (tmp_path / "keys/archives.json").write_text(json.dumps({"access_key_id": "i", "secret_access_key": "s"}))
    (tmp_path / "program.pyz").write_bytes(program())
    only = (
        "import runpy, sys\n"
        "for name in ('pydantic', 'sqlalchemy', 'flask', 'pulumi', 'lightkube', 'yaml', 'typer'):\n"
        "    sys.modules[name] = None\n"
        "sys.path = [one for one in sys.path if 'site-packages' in one or 'lib/python' in one or '.zip' in one]\n"
        "sys.argv = sys.argv[1:]\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    places = [str(tmp_path / name) for name in ("program.pyz", "order", "keys", "homes", "last-words")]
    done = subprocess.run(
        [sys.executable, "-I", "-c", only, *places], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 1, done.stderr
    (told,) = [json.loads(one) for one in done.stdout.splitlines()]
    assert "does not answer" in told["store"]
    assert json.loads((tmp_path / "last-words").read_text()) == told
    loaded = zipfile.ZipFile(io.BytesIO(program())).namelist()
    assert sorted(loaded) == sorted([*MODULES, "__main__.py"])


def test_the_same_program_is_the_same_file() -> None:
    first = program()
    program.cache_clear()
    assert program() == first
    assert len(first) < 100_000


def test_homes_are_copied_by_one_job_and_everything_of_it_is_gone(
    fake: FakeCluster, homes: ClusterHomes, store: ArchiveStore
) -> None:
    names = [_home(fake, "anna"), _home(fake, "ben")]
    pods = Pods(fake, ([line(name, FACTS) for name in names], "Succeeded", {}))
    outcomes = dict(homes.archive(_orders(*names), store, lambda _: None))
    assert {name: type(outcome) for name, outcome in outcomes.items()} == dict.fromkeys(names, ArchiveFacts)
    assert len(pods.jobs) == 1
    assert [one["kind"] for one in fake.objects.values() if one["kind"] != "PersistentVolumeClaim"] == []


def test_a_job_has_a_key_that_opens_its_own_course_s_archives_until_it_ends(
    fake: FakeCluster, homes: ClusterHomes, store: ArchiveStore, keys: Keys
) -> None:
    seen: list[tuple[Any, dict[str, str]]] = []

    class Looking(Pods):
        def _made(self, made: dict[str, Any]) -> None:
            super()._made(made)
            if made["kind"] == "Secret":
                seen.append((json.loads(made["stringData"]["archives.json"]), dict(keys.writers)))

    Looking(fake, ([line(_home(fake, "anna"), FACTS)], "Succeeded", {}))
    assert len(dict(homes.archive(_orders("home-anna"), store, lambda _: None))) == 1
    key = {"access_key_id": "its-id", "secret_access_key": "its-secret"}
    assert seen == [(key, {"jhaas-the-course--archives": "archives/course/"})]
    assert keys.writers == {}


def test_homes_of_different_places_have_jobs_of_their_own(
    fake: FakeCluster, homes: ClusterHomes, store: ArchiveStore
) -> None:
    """A pod cannot mount volumes of two zones, nor one that another node has open."""
    names = [_home(fake, name) for name in ("anna", "ben", "cleo", "dora")]
    for subject, zone in (("anna", "a"), ("ben", "b"), ("cleo", "a"), ("dora", "a")):
        term = {"matchExpressions": [{"key": "zone", "operator": "In", "values": [zone]}]}
        affinity = {"required": {"nodeSelectorTerms": [term]}}
        fake.add("persistentvolumes", f"pv-{subject}", spec={"nodeAffinity": affinity})
    volume = {"name": "home", "persistentVolumeClaim": {"claimName": "home-dora"}}
    fake.add("pods", "jupyter-dora", NAMESPACE, spec={"containers": [], "volumes": [volume], "nodeName": "node-7"})
    pods = Pods(
        fake,
        ([line(name, FACTS) for name in ("home-anna", "home-cleo")], "Succeeded", {}),
        ([line("home-ben", FACTS)], "Succeeded", {}),
        ([line("home-dora", FACTS)], "Succeeded", {}),
    )
    assert len(dict(homes.archive(_orders(*names), store, lambda _: None))) == 4
    assert [_mounted(one) for one in pods.jobs] == [["home-anna", "home-cleo"], ["home-ben"], ["home-dora"]]
    assert "node-7" in json.dumps(pods.jobs[2])


def _mounted(job: dict[str, Any]) -> list[str]:
    volumes = job["spec"]["template"]["spec"]["volumes"]
    return [one["persistentVolumeClaim"]["claimName"] for one in volumes if "persistentVolumeClaim" in one]


def _ended(reason: str, code: int = 1, message: str = "") -> dict[str, Any]:
    end = {"exitCode": code, "reason": reason, "message": message}
    status = {"name": "archive", "image": "i", "imageID": "", "ready": False, "restartCount": 0}
    return {"containerStatuses": [{**status, "state": {"terminated": end}}]}


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (_ended("OOMKilled", 137), "ended early: OOMKilled, exit code 137"),
        ({"reason": "Evicted", "message": "The node was low on memory"}, "ended early: Evicted: The node was low"),
    ],
)
def test_what_a_lost_pod_had_done_counts_and_the_rest_is_told(
    fake: FakeCluster, homes: ClusterHomes, store: ArchiveStore, status: dict[str, Any], sentence: str
) -> None:
    names = [_home(fake, "anna"), _home(fake, "ben")]
    Pods(fake, ([line("home-anna", FACTS)], "Failed", status))
    outcomes = dict(homes.archive(_orders(*names), store, lambda _: None))
    assert isinstance(outcomes["home-anna"], ArchiveFacts)
    assert sentence in str(outcomes["home-ben"])


def test_last_words_tell_what_the_log_could_not(fake: FakeCluster, homes: ClusterHomes, store: ArchiveStore) -> None:
    fake.refuse = lambda _method, path: 500 if path.endswith("/log") else None
    _home(fake, "anna")
    words = json.dumps(brief(line("home-anna", FACTS)))
    Pods(fake, ([line("home-anna", FACTS)], "Succeeded", _ended("Completed", 0, words)))
    ((home, facts),) = homes.archive(_orders("home-anna"), store, lambda _: None)
    assert home == "home-anna"
    assert isinstance(facts, ArchiveFacts)


def test_a_store_that_keeps_nothing_ends_it_all(fake: FakeCluster, homes: ClusterHomes, store: ArchiveStore) -> None:
    names = [_home(fake, "anna"), _home(fake, "ben")]
    Pods(fake, ([line("home-anna", FACTS), {"store": "The object store is full."}], "Failed", _ended("Error")))
    seen = []
    with pytest.raises(ObjectStoreError, match="is full"):
        seen.extend(homes.archive(_orders(*names), store, lambda _: None))
    assert fake.of("jobs") == fake.of("secrets") == fake.of("pods") == []


def test_whoever_stops_the_work_ends_the_job(fake: FakeCluster, homes: ClusterHomes, store: ArchiveStore) -> None:
    _home(fake, "anna")
    Pods(fake, ([], "Running", {}))
    ticks = 0

    def stop(_: int) -> None:
        nonlocal ticks
        ticks += 1
        if ticks > 3:
            raise Cancelled("The operation was asked to stop.")

    with pytest.raises(Cancelled):
        list(homes.archive(_orders("home-anna"), store, stop))
    assert fake.of("jobs") == fake.of("secrets") == fake.of("pods") == []


def test_a_job_that_somebody_left_is_ended_before_another_begins(
    fake: FakeCluster, homes: ClusterHomes, store: ArchiveStore
) -> None:
    _home(fake, "anna")
    fake.add("jobs", "archive-of-yesterday", NAMESPACE, metadata={"labels": {JOB_LABEL: "archive"}})
    fake.add("jobs", "something-else", NAMESPACE, metadata={"labels": {JOB_LABEL: "probe"}})
    Pods(fake, ([line("home-anna", FACTS)], "Succeeded", {}))
    assert len(list(homes.archive(_orders("home-anna"), store, lambda _: None))) == 1
    assert [one["metadata"]["name"] for one in fake.of("jobs")] == ["something-else"]


def _unscheduled(message: str) -> dict[str, Any]:
    return {"conditions": [{"type": "PodScheduled", "status": "False", "message": message}]}


def test_a_volume_that_cannot_be_mounted_keeps_no_other_home_waiting(
    fake: FakeCluster, homes: ClusterHomes, store: ArchiveStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "START_SECONDS", 0)
    names = [_home(fake, "anna"), _home(fake, "ben")]
    lost = _unscheduled('persistentvolumeclaim "home-ben" bound to non-existent persistentvolume')
    Pods(fake, ([], "Pending", lost), ([line("home-anna", FACTS)], "Succeeded", {}), ([], "Pending", lost))
    outcomes = dict(homes.archive(_orders(*names), store, lambda _: None))
    assert isinstance(outcomes["home-anna"], ArchiveFacts)
    assert "did not start: persistentvolumeclaim" in str(outcomes["home-ben"])


def test_what_concerns_every_job_is_not_tried_home_by_home(
    fake: FakeCluster, homes: ClusterHomes, store: ArchiveStore
) -> None:
    names = [_home(fake, "anna"), _home(fake, "ben")]
    status = {"name": "archive", "image": "i", "imageID": "", "ready": False, "restartCount": 0}
    waiting = {"waiting": {"reason": "InvalidImageName", "message": "couldn't parse"}}
    pods = Pods(fake, ([], "Pending", {"containerStatuses": [{**status, "state": waiting}]}))
    outcomes = dict(homes.archive(_orders(*names), store, lambda _: None))
    assert len(pods.jobs) == 1
    assert all("InvalidImageName: couldn't parse" in str(one) for one in outcomes.values())


def test_a_cluster_that_is_away_for_a_moment_ends_nothing(fake: FakeCluster, cluster: Cluster) -> None:
    """And one that stays away does, after its time."""
    now, away = 0.0, 5
    Pods(fake, ([line("home-anna", FACTS)], "Succeeded", {}))
    target = cluster_target().cluster
    assert target is not None

    def sleep(_: float) -> None:
        nonlocal now, away
        now += 10
        away -= 1

    fake.refuse = lambda method, path: 503 if away > 0 and method == "GET" and fake.of("pods") else None
    there = Jobs(cluster, target, SLUG, sleep=sleep, monotonic=lambda: now)
    assert list(there.run(JOB)) == [line("home-anna", FACTS)]
    away = 1000
    Pods(fake, ([], "Running", {}))
    with pytest.raises(ClusterError, match="fails itself"):
        list(there.run(JOB))
    assert now < 300


def test_a_job_without_a_pod_says_why(fake: FakeCluster, cluster: Cluster) -> None:
    target = cluster_target().cluster
    assert target is not None
    now = 0.0

    def sleep(seconds: float) -> None:
        nonlocal now
        now += 60

    about = {"kind": "Job", "name": JOB.name, "namespace": NAMESPACE}
    fake.add("events", "e", NAMESPACE, involvedObject=about, type="Warning", message="exceeded quota: course")
    with pytest.raises(JobFailed, match="did not start: exceeded quota: course"):
        list(Jobs(cluster, target, SLUG, sleep=sleep, monotonic=lambda: now).run(JOB))
    assert fake.of("jobs") == []


def test_homes_come_from_the_claims_with_their_owners_but_for_the_checks(
    fake: FakeCluster, homes: ClusterHomes
) -> None:
    _home(fake, "anna")
    _home(fake, CHECK_USER)
    _home(fake, "lost", annotations={})
    fake.add("persistentvolumeclaims", "hub-db-dir", NAMESPACE)
    assert homes.homes() == {
        "home-anna": Owner("https://id.example.org", "anna"),
        "home-lost": None,
    }


def test_a_home_is_in_use_while_a_pod_that_is_not_ours_has_it(fake: FakeCluster, homes: ClusterHomes) -> None:
    for subject in ("anna", "ben", "cleo"):
        _home(fake, subject)

    def pod(name: str, claim: str, phase: str, **labels: str) -> None:
        volume = {"name": "home", "persistentVolumeClaim": {"claimName": claim}}
        spec = {"containers": [], "volumes": [volume]}
        fake.add("pods", name, NAMESPACE, metadata={"labels": labels}, spec=spec, status={"phase": phase})

    pod("jupyter-anna", "home-anna", "Running")
    pod("jupyter-ben", "home-ben", "Succeeded")
    pod("archive-1", "home-cleo", "Running", **{JOB_LABEL: "archive"})
    pod("hub", "hub-db-dir", "Running")
    assert homes.in_use() == {"home-anna"}
    homes.end_use(frozenset({"home-anna"}))
    assert homes.in_use() == frozenset()
    assert {one["metadata"]["name"] for one in fake.of("pods")} == {"jupyter-ben", "archive-1", "hub"}


def test_only_the_home_of_the_check_can_be_removed(fake: FakeCluster, homes: ClusterHomes) -> None:
    _home(fake, "anna")
    _home(fake, CHECK_USER)
    homes.remove_check_home()
    homes.remove_check_home()
    assert [one["metadata"]["name"] for one in fake.of("persistentvolumeclaims")] == ["home-anna"]


def test_a_cluster_that_refuses_is_a_storage_that_failed(fake: FakeCluster, homes: ClusterHomes) -> None:
    fake.refuse = lambda _method, _path: 403
    with pytest.raises(StorageFailed, match="does not allow us to list PersistentVolumeClaims"):
        homes.homes()
