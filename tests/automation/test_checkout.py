"""A stack written down as a folder for Pulumi's own commands: whole, without a secret, and never over anything."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from automation.checkout import NotCheckedOut, checkout_files, write_checkout
from automation.reality import LocalReality
from automation.settings import StateSettings
from automation.stacks import CourseStacks
from automation.state import KeyService, StackState, StateStore
from course_stack.cluster import ClusterTarget, Images
from course_stack.local.layout import Layout
from course_stack.program import PROJECT
from course_stack.spec import CourseSpec, load_spec
from course_stack.target import CREDENTIALS_ENV
from tests.automation.conftest import TARGET, example_course
from tests.conftest import Machine
from tests.course_stack.specs import course

SALT = "v1:c2FsdA==:v1:bm9uY2U=:c2VhbA=="
PARTS = ("pulumi", "pulumi-language-python", "pulumi-resource-pulumi-python", "pulumi-resource-random")
MISSING = [part for part in PARTS if shutil.which(part) is None]


def stack(spec: CourseSpec | None = None, **changes: Any) -> StackState:
    """A stack whose last deployment ended well, unless `spec` is missing."""
    outputs: dict[str, Any] = {"rotation": "deploy-1"}
    if spec is not None:
        outputs |= {"spec": spec.model_dump_json(), "target": TARGET.model_dump_json()}
    root = {"urn": "urn:pulumi:x", "type": "pulumi:pulumi:Stack", "outputs": outputs}
    return StackState(**{"name": "python-intro", "updated": None, "resources": (root,), "salt": SALT, **changes})


def machine_settings(home: Path) -> tuple[Layout, StateSettings]:
    """A machine's own store, with secrets that are easy to find again."""
    layout = Layout(home)
    layout.credentials.mkdir(parents=True)
    (layout.credentials / "state-passphrase").write_text("the-passphrase\n")
    state = {
        "url": "s3://jhaas-state?endpoint=http://127.0.0.1:8333",
        "access_key_id": "AKID",
        "secret_access_key": "the-secret-key",
    }
    (layout.credentials / "state.json").write_text(json.dumps(state))
    return layout, StateSettings.of_machine(layout)


def shell(folder: Path, **environ: str) -> dict[str, str]:
    """What a shell has in its environment after it has read the folder's settings."""
    program = f". ./settings.sh && {sys.executable} -c 'import json, os; print(json.dumps(dict(os.environ)))'"
    outcome = subprocess.run(
        ["sh", "-c", program], cwd=folder, env={"PATH": os.environ["PATH"], **environ}, capture_output=True, check=True
    )
    found: dict[str, str] = json.loads(outcome.stdout)
    return found


def test_the_folder_says_what_was_deployed_and_nothing_secret(tmp_path: Path) -> None:
    layout, settings = machine_settings(tmp_path / "it's home")
    spec = load_spec(course(slug="python-intro", title="Übung: 1, “Anfang”"))
    folder = tmp_path / "out"
    write_checkout(folder, checkout_files(stack(spec), settings, layout, environ={}))

    assert load_spec(folder / "course.yaml") == spec
    assert type(TARGET).model_validate(yaml.safe_load((folder / "target.yaml").read_text())) == TARGET
    assert 'rotation="deploy-1"' in (folder / "__main__.py").read_text()
    project = yaml.safe_load((folder / "Pulumi.yaml").read_text())
    assert (project["name"], project["backend"]["url"]) == (PROJECT, settings.backend_url)
    assert yaml.safe_load((folder / "Pulumi.python-intro.yaml").read_text()) == {"encryptionsalt": SALT}
    text = "".join(path.read_text() for path in folder.iterdir())
    assert [secret for secret in settings.secrets() if secret in text] == []
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_shell_finds_each_secret_where_the_machine_keeps_it(tmp_path: Path) -> None:
    layout, settings = machine_settings(tmp_path / "it's home")
    write_checkout(tmp_path / "out", checkout_files(stack(load_spec(course())), settings, layout, environ={}))
    found = shell(tmp_path / "out")
    assert Path(found["PULUMI_CONFIG_PASSPHRASE_FILE"]).read_text().strip() == "the-passphrase"
    assert (found["AWS_ACCESS_KEY_ID"], found["AWS_SECRET_ACCESS_KEY"]) == ("AKID", "the-secret-key")
    assert (found["PULUMI_STACK"], found["JHAAS_HOME"]) == ("python-intro", str(layout.home))


def test_a_shell_finds_secrets_in_the_files_and_variables_that_the_portal_takes_them_from(tmp_path: Path) -> None:
    (tmp_path / "phrase").write_text("the-passphrase\n")
    environ = {
        "JHAAS_STATE_URL": "s3://jhaas-state",
        "JHAAS_STATE_ACCESS_KEY_ID": "AKID",
        "JHAAS_STATE_SECRET_ACCESS_KEY": "the-secret-key",
        "JHAAS_STATE_PASSPHRASE_FILE": str(tmp_path / "phrase"),
    }
    settings = StateSettings.of_environment(environ)
    assert settings is not None
    files = checkout_files(stack(load_spec(course())), settings, Layout(tmp_path), environ=environ)
    assert "the-secret-key" not in "".join(files.values())
    write_checkout(tmp_path / "out", files)
    found = shell(tmp_path / "out", JHAAS_STATE_SECRET_ACCESS_KEY="the-secret-key")
    assert (found["PULUMI_CONFIG_PASSPHRASE"], found["AWS_SECRET_ACCESS_KEY"]) == ("the-passphrase", "the-secret-key")
    with pytest.raises(subprocess.CalledProcessError) as caught:
        shell(tmp_path / "out")
    assert b"JHAAS_STATE_SECRET_ACCESS_KEY" in caught.value.stderr


def test_a_key_service_is_named_in_place_of_a_salt(tmp_path: Path) -> None:
    settings = StateSettings(url=f"file://{tmp_path}", secrets_provider="awskms://alias/jhaas?region=eu-central-1")
    state = stack(load_spec(course()), salt=None, key_service=KeyService("awskms://alias/jhaas", "c2VhbGVk"))
    files = checkout_files(state, settings, Layout(tmp_path), environ={})
    assert yaml.safe_load(files["Pulumi.python-intro.yaml"]) == {
        "secretsprovider": "awskms://alias/jhaas",
        "encryptedkey": "c2VhbGVk",
    }
    assert "PASSPHRASE" not in files["settings.sh"]


def test_the_kubeconfig_is_the_one_of_the_targets_cluster(tmp_path: Path) -> None:
    layout, settings = machine_settings(tmp_path)
    cluster = ClusterTarget(images=Images(helper="registry.example.org/helper:1"))
    target = TARGET.model_copy(update={"name": "campus", "kind": "kubernetes", "cluster": cluster})
    (tmp_path / "keys" / "campus").mkdir(parents=True)
    (tmp_path / "keys" / "campus" / "kubeconfig").touch()
    environ = {CREDENTIALS_ENV: str(tmp_path / "keys"), "KUBECONFIG": "/elsewhere"}

    def named(environ: dict[str, str]) -> dict[str, str]:
        given = target.model_dump_json()
        write_checkout(
            tmp_path / str(len(environ)),
            checkout_files(stack(load_spec(course())), settings, layout, target=given, environ=environ),
        )
        return shell(tmp_path / str(len(environ)))

    found = named(environ)
    assert found["KUBECONFIG"] == str(tmp_path / "keys" / "campus" / "kubeconfig")
    assert found[CREDENTIALS_ENV] == str(tmp_path / "keys")
    assert named({"KUBECONFIG": "/elsewhere"})["KUBECONFIG"] == "/elsewhere"


def test_a_stack_that_was_never_deployed_to_its_end_needs_to_be_told_its_spec(tmp_path: Path) -> None:
    layout, settings = machine_settings(tmp_path)
    with pytest.raises(NotCheckedOut, match=r"does not say its spec and target.*Give --spec and --target"):
        checkout_files(stack(), settings, layout, environ={})
    given = load_spec(course())
    target = TARGET.model_dump_json()
    files = checkout_files(stack(), settings, layout, spec=given.model_dump_json(), target=target, environ={})
    assert load_spec(yaml.safe_load(files["course.yaml"])) == given


def test_nothing_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("precious")
    with pytest.raises(NotCheckedOut, match="is there already"):
        write_checkout(tmp_path, {"mine": "x", "Pulumi.yaml": "x"})
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("mine", "precious")]
    with pytest.raises(NotCheckedOut, match="is there already"):
        write_checkout(tmp_path / "mine", {})


@pytest.mark.machine
@pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")
def test_the_cli_alone_previews_updates_refreshes_and_destroys_a_course(machine: Machine, tmp_path: Path) -> None:
    settings = StateSettings.of_machine(machine.layout)
    stacks = CourseStacks(settings, machine.target, machine.layout)
    spec, slug, folder = example_course(machine, "by-hand"), "by-hand", tmp_path / "by-hand"
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("PULUMI_", "AWS_"))}
    environ["PULUMI_HOME"] = str(tmp_path / "pulumi")
    environ["PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION"] = "true"

    def pulumi(arguments: str) -> str:
        command = f". ./settings.sh && pulumi {arguments} --non-interactive --color never"
        outcome = subprocess.run(
            ["sh", "-c", command], cwd=folder, env=environ, capture_output=True, text=True, timeout=300, check=False
        )
        assert outcome.returncode == 0, outcome.stdout + outcome.stderr
        return outcome.stdout

    try:
        stacks.deploy(spec)
        state = StateStore.of(settings, PROJECT).stack(slug)
        assert state is not None
        before = stacks.outputs(slug)
        write_checkout(folder, checkout_files(state, settings, machine.layout))

        assert slug in pulumi("stack ls")
        pulumi("preview --expect-no-changes")
        pulumi("up --yes --skip-preview --expect-no-changes")
        pulumi("refresh --yes --skip-preview --expect-no-changes")
        assert stacks.outputs(slug) == before
        assert set(stacks.update(spec).changes) == {"same"}
        pulumi("destroy --yes --skip-preview")
        pulumi("stack rm --yes --remove-backups")
        assert LocalReality(machine.layout, machine.target).traces(slug) == []
        assert slug not in stacks.names()
    finally:
        stacks.destroy(slug)
