"""No secret in plain text in state, backups, history, logs, events, arguments, environments or work folders."""

from __future__ import annotations

import base64
import json
import threading
from urllib.parse import quote

import pytest

from automation.events import Event, Started, to_json
from automation.failures import OperationFailed
from automation.settings import StateSettings
from automation.stacks import CourseStacks
from automation.state import S3Objects
from tests.automation.conftest import S3Site, example_course
from tests.conftest import Machine
from tests.support.secret_scan import Evidence
from tests.support.waiting import wait_for

COURSE_SECRET = 'course-secret-7Fh2kQ/+ä"x'


def test_the_scan_finds_every_form_of_a_secret() -> None:
    evidence = Evidence()
    encoded = {str(n): base64.b64encode(b"abc"[:n] + COURSE_SECRET.encode() + b"tail") for n in range(3)}
    evidence.objects(
        {
            "plain": COURSE_SECRET.encode(),
            "json": json.dumps({"a": COURSE_SECRET}).encode(),
            "address": quote(COURSE_SECRET, safe="").encode(),
            "nothing": b"course-secret",
            **encoded,
        }
    )

    found = evidence.holding({"key": COURSE_SECRET})

    assert {where for _, where in found} == {f"object {key}" for key in ("plain", "json", "address", "0", "1", "2")}


def secrets_of(settings: StateSettings) -> dict[str, str]:
    """Those of the state store, by name."""
    assert settings.passphrase is not None
    assert settings.secret_access_key is not None
    return {
        "passphrase": settings.passphrase.get_secret_value(),
        "access key of the state": settings.secret_access_key.get_secret_value(),
    }


@pytest.mark.machine
def test_no_secret_is_anywhere_but_where_it_belongs(s3_site: S3Site) -> None:
    evidence = Evidence()
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
        looked.append(wait_for(lambda: evidence.operation(operation) >= 2, "the operation's tree is up"))
        assert (work / operation).stat().st_mode & 0o777 == 0o700
        evidence.folder(work, besides=[work / operation / name for name in ("passphrase", "aws-credentials")])

    stacks.preview(spec, on_event=events.append)
    stacks.deploy(spec, on_event=watch)
    stacks.update(spec.model_copy(update={"content": "second"}), on_event=watch)
    stacks.refresh("course-one", on_event=events.append)
    assert stacks.outputs("course-one")["token"].value == COURSE_SECRET
    with pytest.raises(OperationFailed):
        stacks.update(spec.model_copy(update={"content": "third", "failure": "it fails"}), on_event=events.append)
    evidence.objects(s3_site.contents())
    stacks.destroy("course-one", on_event=watch)
    evidence.objects(s3_site.contents())
    evidence.folder(s3_site.layout.operations)
    evidence.text("events", "\n".join(map(to_json, events)).encode())

    assert evidence.holding({**secrets_of(s3_site.settings), "secret of the course": COURSE_SECRET}) == set()
    assert len(looked) == 3
    assert {where.split()[0] for where in evidence.seen} == {"object", "file", "cmdline", "environ", "events"}
    assert any("/history/" in where for where in evidence.seen)
    assert any("/backups/" in where for where in evidence.seen)
    assert any(where.endswith(".log") for where in evidence.seen)


@pytest.mark.machine
def test_no_secret_that_a_course_generates_is_in_plain_text(machine: Machine) -> None:
    settings = StateSettings.of_machine(machine.layout)
    stacks = CourseStacks(settings, machine.target, machine.layout)
    layout, slug, evidence, events = machine.layout, "no-secrets", Evidence(), list[Event]()
    over = threading.Event()

    def watch(event: Event) -> None:
        events.append(event)
        if isinstance(event, Started):
            threading.Thread(target=look, args=(event.operation,)).start()

    def look(operation: str) -> None:
        while evidence.operation(operation) and not over.wait(0.2):
            pass

    try:
        stacks.deploy(example_course(machine, slug), on_event=watch)
        outputs = stacks.outputs(slug)
        hub = json.loads((layout.hub(slug) / "config.json").read_text())
        secrets = {
            **secrets_of(settings),
            **{f"output {name}": output.value for name, output in outputs.items() if output.secret},
            **{f"hub's {name}": hub[name] for name in ("client_secret", "cookie_secret", "crypt_key", "api_token")},
            **{
                f"{path.name}'s {name}": value
                for path in layout.credentials.glob("*.json")
                for name, value in json.loads(path.read_text()).items()
                if "secret" in name or "token" in name or "password" in name
            },
        }
        evidence.processes_in(layout.home)
        state = S3Objects(settings)
        evidence.objects({found.key: state.get(found.key) or b"" for found in state.list("")})
        evidence.folder(layout.operations)
        evidence.folder(layout.logs)
        evidence.text("events", "\n".join(map(to_json, events)).encode())
    finally:
        over.set()
        stacks.destroy(slug)

    assert len(secrets) >= 8
    arguments = [content for where, seen in evidence.seen.items() if where.startswith("cmdline") for content in seen]
    assert any(b"jupyterhub" in one for one in arguments)
    assert any(b"automation.operation" in one for one in arguments)
    assert evidence.holding(secrets) == set()
