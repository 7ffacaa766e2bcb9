"""Stacks' files: the examples are whole, secrets are asked for and never shown, mistakes are told with the file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.platform_stack.conftest import LEAST, ROOT, sections

EXAMPLES = sorted((ROOT / "examples/platform").glob("Pulumi.*.yaml"))


def write(folder: Path, given: dict[str, Any]) -> Path:
    path = folder / "Pulumi.trial.yaml"
    path.write_text(yaml.safe_dump({"config": {f"jhaas-platform:{name}": keys for name, keys in given.items()}}))
    return path


def test_there_is_an_example_for_a_trial_a_university_and_aws() -> None:
    assert [path.name for path in EXAMPLES] == ["Pulumi.aws.yaml", "Pulumi.try.yaml", "Pulumi.university.yaml"]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_can_be_used_once_the_secrets_that_it_names_are_set(path: Path) -> None:
    from rehearsal import rehearse
    from stack_file import of_file

    given, missing = of_file(path)
    named = re.findall(r"^#   pulumi config set --secret --path 'jhaas-platform:(.+)'$", path.read_text(), re.MULTILINE)
    assert missing == named
    assert rehearse(given).of("Release")


def test_the_trial_needs_no_secret_and_no_other_machine() -> None:
    from stack_file import of_file, parsed

    given, missing = of_file(ROOT / "examples/platform/Pulumi.try.yaml")
    config = parsed(given)
    assert missing == []
    assert (config.database.kind, config.object_storage.kind, config.identity.kind) == (
        "bundled",
        "bundled",
        "authentik",
    )


def test_what_pulumi_has_encrypted_is_a_placeholder(tmp_path: Path) -> None:
    from stack_file import of_file

    mail = {"host": "mail.example.org", "user": "jhaas", "password": {"secure": "v1:abc:def"}}
    given, missing = of_file(write(tmp_path, sections(mail=mail)))
    assert given["mail"]["password"] == "[secret: mail.password]"
    assert missing == []


def test_what_pulumi_has_encrypted_need_not_have_its_form_to_be_shown(tmp_path: Path) -> None:
    from stack_file import of_file

    given, missing = of_file(write(tmp_path, sections(portal={"registry": {"secure": "v1:abc:def"}})))
    assert given["portal"]["registry"] == "[secret: portal.registry]"
    assert missing == []


def test_a_secret_in_clear_text_is_refused_and_not_shown(tmp_path: Path) -> None:
    from stack_file import ConfigError, of_file

    mail = {"host": "mail.example.org", "user": "jhaas", "password": "open-to-all"}
    with pytest.raises(ConfigError) as caught:
        of_file(write(tmp_path, sections(mail=mail)))
    assert "pulumi config set --secret --path 'jhaas-platform:mail.password'" in str(caught.value)
    assert "open-to-all" not in str(caught.value)


def test_a_secret_that_is_needed_is_asked_for(tmp_path: Path) -> None:
    from stack_file import of_file

    oidc = {"kind": "oidc", "issuer": "https://sso.example.org", "client_id": "jhaas"}
    given, missing = of_file(write(tmp_path, sections(identity=oidc)))
    assert missing == ["identity.client_secret"]
    assert given["identity"]["client_secret"] == "[secret: identity.client_secret]"


def test_keys_of_other_programs_are_left_alone(tmp_path: Path) -> None:
    from stack_file import of_file

    path = tmp_path / "Pulumi.trial.yaml"
    config = {f"jhaas-platform:{name}": keys for name, keys in LEAST.items()} | {"aws:region": "eu-central-1"}
    path.write_text(yaml.safe_dump({"encryptionsalt": "v1:x", "config": config}))
    assert of_file(path)[0] == LEAST


@pytest.mark.parametrize("text", ["config: [", None])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, text: str | None) -> None:
    from stack_file import ConfigError, of_file

    path = tmp_path / "Pulumi.trial.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError, match=r"Pulumi\.trial\.yaml cannot be read"):
        of_file(path)


def test_a_file_without_anything_says_what_is_needed(tmp_path: Path) -> None:
    from stack_file import ConfigError, of_file

    path = tmp_path / "Pulumi.trial.yaml"
    path.write_text("")
    with pytest.raises(ConfigError) as caught:
        of_file(path)
    needed = [f"jhaas-platform:{name}.{key}" for name, keys in LEAST.items() for key in keys]
    assert [line.partition(" ")[0] for line in caught.value.problems] == needed


def test_dynamic_providers_find_the_environment_that_the_program_runs_in() -> None:
    # Pulumi looks for it beside the program, and not where Pulumi.yaml is (pulumi/pulumi#7061)
    project = yaml.safe_load((ROOT / "Pulumi.yaml").read_text())
    environment = project["runtime"]["options"]["virtualenv"]
    beside = ROOT / project["main"] / environment
    assert beside.is_symlink()
    assert beside.parent.joinpath(beside.readlink()).resolve() == (ROOT / environment).resolve()
