"""Archives of homes on a cluster, at a store whose certificate an authority of the site's own signed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from course_stack import object_store
from course_stack.kubernetes.homes import ClaimPlace
from portal.archives.bundle import program
from portal.archives.cluster import ClusterHomes
from portal.archives.copy import Order
from portal.archives.pod import AUTHORITY
from portal.archives.storage import StorageFailed
from portal.archives.store import ArchiveStore
from tests.course_stack.kubernetes.targets import cluster_target
from tests.support.fake_cluster import FakeCluster
from tests.support.tls import Authority, refusing

ORDERS = [Order("home-anna", "course/1/home-anna-1.tar.zst", {})]


def _job_order(folder: Path, **cluster: Any) -> dict[str, str]:
    target = cluster_target(**cluster)
    with FakeCluster().connect(target, folder) as api:
        homes = ClusterHomes(api, target, "the-course", folder)
        store = ArchiveStore(target.object_store, "archives", "id", "very secret")
        return dict(homes._job(ClaimPlace("", None), ORDERS, store, {}).order)


def test_a_job_is_given_the_authority_that_its_target_names(tmp_path: Path) -> None:
    own = Authority()
    (tmp_path / "campus.crt").write_text(own.pem)
    assert AUTHORITY not in _job_order(tmp_path)
    assert _job_order(tmp_path, authority="campus.crt")[AUTHORITY] == own.pem


def test_an_authority_that_is_not_there_is_told_as_the_storages_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = cluster_target(authority="campus.crt")
    key = SimpleNamespace(key_id="id", secret="of a test")
    admin = SimpleNamespace(ensure_writer=lambda *_: key, delete_user=lambda _: None)
    monkeypatch.setattr(object_store, "connect", lambda *_: admin)
    with FakeCluster().connect(target, tmp_path) as api:
        homes = ClusterHomes(api, target, "the-course", tmp_path)
        store = ArchiveStore(target.object_store, "archives", "id", "very secret")
        with pytest.raises(StorageFailed, match=r"cluster\.authority of target campus"):
            list(homes.archive(ORDERS, store, lambda _: None))


def test_the_program_of_a_job_believes_it(tmp_path: Path) -> None:
    own = Authority()
    for name in ("order", "keys", "homes/home-anna"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "keys/archives.json").write_text(json.dumps({"access_key_id": "i", "secret_access_key": "s"}))
    (tmp_path / "program.pyz").write_bytes(program())
    places = [str(tmp_path / name) for name in ("program.pyz", "order", "keys", "homes", "last-words")]

    def told(url: str) -> str:
        order = {
            "store": {"kind": "seaweedfs", "endpoint": url, "region": "r", "path_style": True},
            "bucket": "archives",
            "homes": [{"home": "home-anna", "key": "key", "about": {}}],
        }
        (tmp_path / "order/order.json").write_text(json.dumps(order))
        done = subprocess.run(
            [sys.executable, "-I", *places], capture_output=True, text=True, check=False, cwd=tmp_path
        )
        (line,) = done.stdout.splitlines()
        return str(json.loads(line)["store"])

    with refusing(own, tmp_path) as url:
        assert "its certificate is not believed here" in told(url)
        (tmp_path / "order" / AUTHORITY).write_text(own.pem)
        assert "refuses the key" in told(url)
