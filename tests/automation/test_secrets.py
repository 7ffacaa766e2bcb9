"""No secret in plain text in state, backups, history, logs, events, arguments, environments or work folders."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from automation.events import Event, Started, to_json
from automation.failures import OperationFailed
from tests.automation.conftest import S3Site
from tests.support.secret_scan import SecretScan
from tests.support.waiting import wait_for

COURSE_SECRET = 'course-secret-7Fh2kQ/+ä"x'


def test_the_scan_finds_every_form_of_a_secret(tmp_path: Path) -> None:
    scan = SecretScan({"key": COURSE_SECRET})
    import base64
    import json
    from urllib.parse import quote

    encoded = {str(n): base64.b64encode(b"abc"[:n] + COURSE_SECRET.encode() + b"tail") for n in range(3)}
    scan.objects(
        {
            "plain": COURSE_SECRET.encode(),
            "json": json.dumps({"a": COURSE_SECRET}).encode(),
            "address": quote(COURSE_SECRET, safe="").encode(),
            "nothing": b"course-secret",
            **encoded,
        }
    )

    assert {where for _, where in scan.found} == {
        f"object {key}" for key in ("plain", "json", "address", "0", "1", "2")
    }


@pytest.mark.machine
def test_no_secret_is_anywhere_but_where_it_belongs(s3_site: S3Site) -> None:
    settings = s3_site.settings
    assert settings.passphrase is not None
    assert settings.secret_access_key is not None
    scan = SecretScan(
        {
            "passphrase": settings.passphrase.get_secret_value(),
            "access key": settings.secret_access_key.get_secret_value(),
            "secret of the course": COURSE_SECRET,
        }
    )
    slow = {"create one": 2.0, "update one": 2.0, "delete one": 2.0}
    spec = s3_site.spec(secret=COURSE_SECRET, slow=slow)
    stacks, events, looked = s3_site.stacks(), list[Event](), list[int]()
    work = s3_site.layout.operations / "work"

    def watch(event: Event) -> None:
        events.append(event)
        if isinstance(event, Started):
            threading.Thread(target=look, args=(event.operation,)).start()

    def look(operation: str) -> None:
        # The engine, its provider and this product's own process, while a provider dwells.
        wait_for(lambda: scan.processes(operation) >= 2, "the operation's tree is up")
        looked.append(scan.processes(operation))
        secret_files = [work / operation / name for name in ("passphrase", "aws-credentials")]
        assert (work / operation).stat().st_mode & 0o777 == 0o700
        scan.folder(work, besides=secret_files)

    stacks.preview(spec, on_event=events.append)
    stacks.deploy(spec, on_event=watch)
    stacks.update(spec.model_copy(update={"content": "second"}), on_event=watch)
    stacks.refresh("course-one", on_event=events.append)
    assert stacks.outputs("course-one")["token"].value == COURSE_SECRET
    with pytest.raises(OperationFailed):
        stacks.update(spec.model_copy(update={"content": "third", "failure": "it fails"}), on_event=events.append)
    scan.objects(s3_site.contents())
    stacks.destroy("course-one", on_event=watch)
    scan.objects(s3_site.contents())
    scan.folder(s3_site.layout.operations)
    scan.text("events", "\n".join(map(to_json, events)).encode())

    assert scan.found == set()
    assert len(looked) == 3
    kinds = {where.split()[0] for where in scan.looked_at}
    assert kinds == {"object", "file", "cmdline", "environ", "events"}
    assert any("/history/" in where for where in scan.looked_at)
    assert any("/backups/" in where for where in scan.looked_at)
    assert any(where.endswith(".log") for where in scan.looked_at)
