"""The engine on S3, with its failures: nothing is lost, no process is left, and it works again afterwards."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import psutil
import pulumi
import pulumi.automation as auto
import pytest
from pulumi.runtime.proto.resource_pb2 import SupportsFeatureRequest
from pulumi.runtime.proto.resource_pb2_grpc import ResourceMonitorStub

from automation.embedded import EmbeddedPulumi
from tests.automation.embedded.conftest import BUCKET, S3
from tests.conformance.conftest import Course, logged, summary
from tests.conformance.programs import File
from tests.support.waiting import wait_for

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "files"
    made.mkdir()
    return made


@pytest.fixture
def course(tmp_path: Path) -> Course:
    return Course(tmp_path, engine="embedded")


@pytest.fixture
def on_s3(tmp_path: Path, s3: S3) -> Course:
    return Course(tmp_path, engine="embedded", env=s3.env(tmp_path.name))


def keys(s3: S3, course: Course) -> list[str]:
    listed = s3.client.list_objects_v2(Bucket=BUCKET, Prefix=f"{course.folder.name}/").get("Contents", ())
    return [item["Key"].removeprefix(f"{course.folder.name}/") for item in listed]


def children(pid: int) -> list[int]:
    """Of all its threads."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


def test_a_stack_lives_and_ends_on_s3(on_s3: Course, folder: Path, s3: S3) -> None:
    on_s3.program = lambda: pulumi.export("text", File("a", folder, pulumi.Output.secret("hush-hush")).text)
    stack = on_s3.create()

    assert summary(stack.up()) == {"create": 2}
    assert stack.outputs()["text"].value == "hush-hush"
    assert summary(stack.up()) == {"same": 2}
    assert [one.name for one in stack.workspace.list_stacks()] == ["course-one"]
    contents = [
        s3.client.get_object(Bucket=BUCKET, Key=f"{on_s3.folder.name}/{key}")["Body"].read() for key in keys(s3, on_s3)
    ]
    assert not [content for content in contents if b"hush-hush" in content]
    stack.destroy()
    on_s3.run("stack", "rm", "--yes", "--remove-backups", "course-one")
    assert keys(s3, on_s3) == [".pulumi/meta.yaml"]


def test_with_a_wrong_passphrase_no_line_of_the_program_is_run(
    course: Course, capfd: pytest.CaptureFixture[str]
) -> None:
    course.program = lambda: None
    course.create().up()
    before = course.state.read_bytes()
    ran: list[str] = []
    wrong = Course(course.folder, engine="embedded", passphrase="battery staple", program=lambda: ran.append("ran"))

    with pytest.raises(auto.CommandError) as refused:
        wrong.select().up()

    assert "incorrect passphrase" in str(refused.value)
    assert "terminated" not in str(refused.value)
    assert ran == []
    assert capfd.readouterr() == ("", "")
    assert course.state.read_bytes() == before
    assert summary(course.select().up())["same"]


def test_markers_of_empty_folders_are_neither_locks_nor_stacks(on_s3: Course, s3: S3) -> None:
    on_s3.program = lambda: None
    stack = on_s3.create()
    for key in (
        "locks/organization/jhaas-course/course-one/",
        "locks/organization/jhaas-course/course-one/.keep/keep",
        "stacks/jhaas-course/.keep/keep",
        "stacks/jhaas-course/",
    ):
        s3.client.put_object(Bucket=BUCKET, Key=f"{on_s3.folder.name}/.pulumi/{key}", Body=b"")

    assert stack.up().summary.result == "succeeded"
    assert [one.name for one in stack.workspace.list_stacks()] == ["course-one"]


def test_a_corrupt_state_is_named_with_the_copy_beside_it(course: Course, folder: Path) -> None:
    course.program = lambda: File("a", folder, "text")
    stack = course.create()
    stack.up()
    good = course.state.read_bytes()
    course.state.write_bytes(good[: len(good) // 2])

    for attempt in (stack.up, stack.refresh, stack.destroy, stack.outputs, stack.workspace.list_stacks):
        with pytest.raises(
            auto.CommandError, match=r"course-one\.json\?no_tmp_dir=true is not a readable state; the state"
        ):
            attempt()
    assert course.state.with_name("course-one.json.bak").exists()
    assert not list(course.store.rglob("locks/**/*.json"))
    course.state.write_bytes(good)
    assert summary(stack.up()) == {"same": 2}


def test_a_store_that_goes_away_in_the_middle_loses_nothing(on_s3: Course, folder: Path, s3: S3) -> None:
    """The bucket refuses from the second resource on: what was made before is in the state, and is not made again."""
    broken = threading.Event()

    def program() -> None:
        first = File("first", folder, "text")

        def break_store(text: str) -> str:
            if broken.is_set():
                for part in ("stacks", "history", "backups"):
                    s3.client.delete_object(Bucket=BUCKET, Key=f"{on_s3.folder.name}/.pulumi/{part}")
            return text

        File("second", folder, first.text.apply(break_store))

    on_s3.program = program
    stack = on_s3.create()
    stack.up()
    env = dict(on_s3.env)
    on_s3.env["AWS_SECRET_ACCESS_KEY"] = "not-the-secret"

    with pytest.raises(auto.CommandError, match="refused the credentials") as caught:
        on_s3.select()
    assert "not-the-secret" not in str(caught.value)
    on_s3.env.update(env)
    assert summary(on_s3.select().up()) == {"same": 3}
    assert logged(folder) == ["create first", "create second"]


def test_cloud_key_services_are_refused_by_name(course: Course) -> None:
    workspace = course.workspace()
    workspace.secrets_provider = "awskms://alias/x?region=y"

    with pytest.raises(auto.CommandError, match="secrets provider awskms://: it needs the pulumi CLI"):
        workspace.create_stack("course-one")


def test_cancelling_lets_running_steps_finish_and_begins_no_new_ones(course: Course, folder: Path) -> None:
    engine = EmbeddedPulumi()
    reached = threading.Event()

    def program() -> None:
        first = File("first", folder, "text")

        def cancel(text: str) -> str:
            engine.cancel_running()
            reached.set()
            return text

        File("second", folder, first.text.apply(cancel))

    course.program = program
    workspace = course.workspace()
    stack = auto.Stack.create(course.name, _with(workspace, engine))

    with pytest.raises(auto.CommandError, match="error: update canceled"):
        stack.up()

    assert reached.is_set()
    assert logged(folder) == ["create first"]
    latest = json.loads(course.state.read_text())["checkpoint"]["latest"]
    assert "pending_operations" not in latest
    assert any(data["urn"].endswith("::first") for data in latest["resources"])
    assert not list(course.store.rglob("locks/**/*.json"))
    assert stack.history()[0].result == "failed"
    stack.destroy()
    assert logged(folder) == ["create first", "delete first"]


def _with(workspace: auto.LocalWorkspace, engine: EmbeddedPulumi) -> auto.LocalWorkspace:
    workspace.pulumi_command = engine
    return workspace


def test_the_provider_sees_the_workspace_s_environment_and_is_gone_afterwards(course: Course, folder: Path) -> None:
    course.env["JHAAS_TEST_MARK"] = f"mark-{folder}"
    course.program = lambda: File("a", folder, "text")
    stack = course.create()
    stack.up()

    environments = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/environ") if _readable(path)]
    assert not [env for env in environments if f"JHAAS_TEST_MARK=mark-{folder}".encode() in env]
    assert "JHAAS_TEST_MARK" not in os.environ


def _readable(path: Path) -> bool:
    try:
        path.read_bytes()
    except OSError:
        return False
    return True


KILLED = """
import sys, time
from pathlib import Path
import pulumi
from pulumi.dynamic import CreateResult, Resource, ResourceProvider
from tests.conformance.conftest import Course

class Slow(ResourceProvider):
    def create(self, props):
        import os, time
        folder = Path(props["folder"])
        (folder / "provider").write_text(str(os.getpid()))
        while not (folder / "go").exists():
            time.sleep(0.02)
        (folder / "made").touch()
        return CreateResult("id", props)

def program():
    class Made(Resource):
        pass
    Made(Slow(), "slow", {"folder": sys.argv[2]})

course = Course(Path(sys.argv[1]), engine="embedded", program=program)
course.create().up()
"""


def test_a_killed_engine_leaves_no_provider_and_says_what_was_under_way(course: Course, folder: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(course.folder), str(folder)], cwd=REPOSITORY)
    try:
        provider = int(
            wait_for(lambda: (folder / "provider").exists() and (folder / "provider").read_text(), "provider")
        )
        assert provider in children(process.pid)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()

    wait_for(lambda: not _alive(provider), "the provider is gone")
    assert not (folder / "made").exists()
    latest = json.loads(course.state.read_text())["checkpoint"]["latest"]
    (under_way,) = latest["pending_operations"]
    assert (under_way["type"], under_way["resource"]["urn"].rsplit("::", 1)[-1]) == ("creating", "slow")

    stack = course.select()
    with pytest.raises(auto.ConcurrentUpdateError, match=rf"\(pid {process.pid}\)"):
        stack.refresh()
    stack.cancel()
    stack.refresh(clear_pending_creates=True)
    stack.destroy()
    assert json.loads(course.state.read_text())["checkpoint"]["latest"].get("resources") is None


def test_neither_monitor_nor_provider_can_be_reached_by_other_accounts(course: Course, folder: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(course.folder), str(folder)], cwd=REPOSITORY)
    try:
        wait_for(lambda: (folder / "provider").exists() and (folder / "provider").read_text(), "provider")
        provider = psutil.Process(int((folder / "provider").read_text()))
        assert listening(provider) == set()
        ports = listening(psutil.Process(process.pid))
        assert ports, "the program's own runtime, which runs nothing but the program"
        for port in ports:
            with grpc.insecure_channel(f"127.0.0.1:{port}") as channel, pytest.raises(grpc.RpcError) as refused:
                ResourceMonitorStub(channel).SupportsFeature(SupportsFeatureRequest(id="secrets"), timeout=30)
            assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
        sockets = [path for path in course.folder.rglob("*") if path.is_socket()]
        assert len(sockets) == 2
        assert {path.parent.stat().st_mode & 0o777 for path in sockets} == {0o700}
        (folder / "go").touch()
        assert process.wait(timeout=60) == 0
    finally:
        process.kill()
        process.wait()
    assert not list(course.folder.rglob(".sockets-*"))


def listening(process: psutil.Process) -> set[int]:
    """TCP ports at which the process waits for callers."""
    return {one.laddr.port for one in process.net_connections("tcp") if one.status == psutil.CONN_LISTEN}


def test_the_first_ctrl_c_lets_the_running_step_finish(course: Course, folder: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(course.folder), str(folder)],
        cwd=REPOSITORY,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_for((folder / "provider").exists, "the provider is at work")
        process.send_signal(signal.SIGINT)
        (folder / "go").touch()
        _, stderr = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()

    assert "error: update canceled" in stderr
    assert (folder / "made").exists()
    latest = json.loads(course.state.read_text())["checkpoint"]["latest"]
    assert "pending_operations" not in latest
    assert latest["resources"][-1]["id"] == "id"
    assert not list(course.store.rglob("locks/**/*.json"))


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_provider_that_dies_is_told_and_the_create_is_not_in_the_state(course: Course, folder: Path) -> None:
    from tests.automation.embedded.dying import Dying

    course.program = lambda: Dying("a", folder)
    stack = course.create()

    with pytest.raises(auto.CommandError, match="the provider's process ended while it was working on this resource"):
        stack.up()
    (folder / "live").touch()

    assert summary(stack.up()) == {"create": 1, "same": 1}


def test_plugin_that_is_not_there_is_named(course: Course) -> None:
    course.program = lambda: pulumi.CustomResource("nowhere:index:Thing", "thing", {})

    with pytest.raises(auto.CommandError, match="no resource plugin 'pulumi-resource-nowhere' found on PATH"):
        course.create().up()


def test_events_reach_the_automation_api_in_order_with_secrets_masked(course: Course, folder: Path) -> None:
    events: list[Any] = []
    course.program = lambda: pulumi.export("text", File("a", folder, pulumi.Output.secret("hush-hush")).text)
    stack = course.create()
    stack.set_config("token", auto.ConfigValue("very-secret", secret=True))

    stack.up(on_event=events.append)

    kinds = [next(name for name, value in vars(event).items() if name.endswith("_event") and value) for event in events
             if not event.diagnostic_event]  # fmt: skip
    assert [event.sequence for event in events] == list(range(len(events)))
    assert kinds[0] == "prelude_event"
    assert kinds[-2:] == ["summary_event", "cancel_event"]
    assert events[0].prelude_event.config == {"jhaas-course:token": "[secret]"}
    (made,) = [
        e.res_outputs_event.metadata
        for e in events
        if e.res_outputs_event and e.res_outputs_event.metadata.urn.endswith("::a")
    ]
    assert made.new.outputs["text"]["ciphertext"] == "[secret]"
    assert not re.search("hush-hush|very-secret", repr([vars(event) for event in events]))


def test_a_handler_that_fails_does_not_end_the_operation(course: Course, folder: Path) -> None:
    course.program = lambda: File("a", folder, "text")
    stack = course.create()

    def handler(_line: str) -> None:
        raise ValueError("handler")

    with pytest.raises(ValueError, match="handler"):
        stack.up(on_output=handler)

    assert logged(folder) == ["create a"]
    assert summary(stack.up()) == {"same": 2}


def test_errors_of_a_provider_do_not_show_secrets(course: Course, folder: Path) -> None:
    course.program = lambda: File("very-secret-name", folder, "refused", name=pulumi.Output.secret("hush-hush"))

    with pytest.raises(auto.CommandError, match=r"no file for \[secret\]") as caught:
        course.create().up()
    assert "hush-hush" not in str(caught.value)


def test_several_stacks_are_deployed_at_once(course: Course, folder: Path) -> None:
    engine = EmbeddedPulumi()
    results: dict[str, Any] = {}

    def program(name: str) -> Callable[[], None]:
        return lambda: pulumi.export("name", File(name, folder, name).name)

    def deploy(name: str) -> None:
        mine = Course(course.folder, engine="embedded", name=name, program=program(name), work=f"work-{name}")
        results[name] = auto.Stack.create(name, _with(mine.workspace(), engine)).up()

    threads = [threading.Thread(target=deploy, args=(f"course-{n}",)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert {name: result.outputs["name"].value for name, result in results.items()} == {n: n for n in results}
    assert sorted(logged(folder)) == ["create course-0", "create course-1", "create course-2"]


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["import", "a", "b", "c"], "does not support the command `pulumi import a`"),
        (["stack", "rename", "x"], "does not support the command `pulumi stack rename`"),
        (["stack", "ls", "--tag", "x"], "does not support the option --tag"),
        (["up", "--yes"], "programs that are no inline program"),
        (["destroy"], "--yes or --skip-preview must be passed"),
        (["refresh", "--yes", "--run-program"], "does not support the option --run-program"),
        (["stack", "select", "a b"], "a stack name may only contain"),
        (["stack", "select", "other/jhaas-course/x"], "organization name must be 'organization'"),
        (["config", "set", "key", "--secret", "--stack", "s"], "needs a key and a value"),
        (["up", "--stack"], "flag needs an argument: --stack"),
    ],
)
def test_what_is_not_understood_is_refused_with_its_name(course: Course, args: list[str], text: str) -> None:
    with pytest.raises(auto.CommandError, match=re.escape(text)):
        course.run(*args)
