"""A stack as a folder in which Pulumi's own commands work, for the day on which nothing of ours runs.

The folder holds no secret: its shell settings say where each one lies, or what must be set.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import yaml

from automation.engine import target_environment
from automation.settings import STATE_PREFIX, SettingsError, StateSettings
from automation.state import StackState
from course_stack.local.layout import HOME_ENV, Layout
from course_stack.program import PROJECT
from course_stack.target import Target

SETTINGS = "settings.sh"
"""What a shell must read before the first command."""


class NotCheckedOut(SettingsError):
    """The stack cannot be written down as a folder; the message says why, and what to give."""


def checkout_files(
    stack: StackState,
    settings: StateSettings,
    layout: Layout,
    *,
    spec: str | None = None,
    target: str | None = None,
    environ: Mapping[str, str] = os.environ,
) -> dict[str, str]:
    """The files by their names. `spec` and `target`, in JSON, go before what the stack was last deployed with.

    Raises `NotCheckedOut` for a stack whose last deployment did not end well and that says neither, and for one whose
    secrets nobody can open.
    """
    found = {"spec": spec or stack.output("spec"), "target": target or stack.output("target")}
    missing = [name for name, content in found.items() if not isinstance(content, str)]
    if missing:
        raise NotCheckedOut(
            f"The state of {stack.name} does not say its {' and '.join(missing)}: it was never deployed to its end, or "
            f"by an older version. Give {' and '.join(f'--{name}' for name in missing)}."
        )
    content = {name: json.loads(str(one)) for name, one in found.items()}
    where = Target.model_validate(content["target"])
    return {
        "Pulumi.yaml": _yaml(_project(settings)),
        f"Pulumi.{stack.name}.yaml": _yaml(_stack_settings(stack)),
        "__main__.py": _PROGRAM.format(slug=stack.name, rotation=str(stack.output("rotation") or "")),
        "course.yaml": _yaml(content["spec"]),
        "target.yaml": _yaml(content["target"]),
        SETTINGS: "".join(f"{line}\n" for line in _shell(stack.name, settings, layout, where, environ)),
        "README.txt": _README.format(
            slug=stack.name, settings=SETTINGS, line="=" * len(f"Course {stack.name} by hand")
        ),
    }


def write_checkout(folder: Path, files: Mapping[str, str]) -> None:
    """Write the files into a new folder, for this account alone. Raises `NotCheckedOut` and writes nothing where there
    is something already."""
    try:
        if folder.is_dir() and not any(folder.iterdir()):
            folder.chmod(0o700)
        else:
            folder.mkdir(mode=0o700, parents=True)
        for name, content in files.items():
            (folder / name).write_text(content)
    except FileExistsError:
        raise NotCheckedOut(f"{folder} is there already: give the name of a folder that is not, or is empty.") from None
    except OSError as error:
        raise NotCheckedOut(f"{folder} cannot be written ({error.strerror}): give another folder.") from None


def _project(settings: StateSettings) -> dict[str, object]:
    options = {"options": {"virtualenv": sys.prefix}} if sys.prefix != sys.base_prefix else {}
    return {
        "name": PROJECT,
        "runtime": {"name": "python", **options},
        "backend": {"url": settings.backend_url},
    }


def _stack_settings(stack: StackState) -> dict[str, object]:
    if stack.key_service is not None:
        return {"secretsprovider": stack.key_service.url, "encryptedkey": stack.key_service.encrypted_key}
    if stack.salt is not None:
        return {"encryptionsalt": stack.salt}
    raise NotCheckedOut(f"The state of {stack.name} does not say how its secrets are encrypted: deploy it once more.")


def _shell(
    slug: str, settings: StateSettings, layout: Layout, target: Target, environ: Mapping[str, str]
) -> Iterator[str]:
    yield f"# Settings for Pulumi's commands on {slug}, for a shell: . ./{SETTINGS}"
    yield "# No secret is in here: each is read from where it lies."
    yield f"export PULUMI_STACK={shlex.quote(slug)}"
    yield "export PULUMI_SKIP_UPDATE_CHECK=true PULUMI_DIY_BACKEND_NO_LEGACY_WARNING=true"
    yield f"export PULUMI_PYTHON_CMD={shlex.quote(sys.executable)}"
    yield f"export {HOME_ENV}={shlex.quote(str(layout.home))}"
    kubeconfig = {"KUBECONFIG": environ["KUBECONFIG"]} if target.cluster and environ.get("KUBECONFIG") else {}
    for name, place in {**kubeconfig, **target_environment(target, layout, environ)}.items():
        yield f"export {name}={shlex.quote(str(Path(place).resolve()))}"
    of_machine = not any(name.startswith(STATE_PREFIX) for name in environ)
    if settings.passphrase is not None:
        yield from _secret("passphrase", "PULUMI_CONFIG_PASSPHRASE", environ)
        if of_machine:
            yield f"export PULUMI_CONFIG_PASSPHRASE_FILE={shlex.quote(str(layout.credentials / 'state-passphrase'))}"
    if settings.access_key_id is not None:
        yield f"export AWS_ACCESS_KEY_ID={shlex.quote(settings.access_key_id)} AWS_EC2_METADATA_DISABLED=true"
        yield from _secret("secret_access_key", "AWS_SECRET_ACCESS_KEY", environ)
        if of_machine:
            path, read = layout.credentials / "state.json", 'print(json.load(open(sys.argv[1]))["secret_access_key"])'
            program = shlex.quote(f"import json, sys; {read}")
            yield (
                f'AWS_SECRET_ACCESS_KEY="$({shlex.quote(sys.executable)} -c {program} {shlex.quote(str(path))})" '
                "&& export AWS_SECRET_ACCESS_KEY"
            )


def _secret(field: str, wanted: str, environ: Mapping[str, str]) -> Iterator[str]:
    """How a shell gets a secret that the environment gives us, or the file that it names."""
    name = STATE_PREFIX + field.upper()
    if path := environ.get(f"{name}_FILE"):
        yield f'{wanted}="$(cat {shlex.quote(str(Path(path).resolve()))})" && export {wanted}'
    elif name in environ:
        yield f'export {wanted}="${{{name}:?must be set, as it is where the portal runs}}"'


def _yaml(content: object) -> str:
    text: str = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    return text


_PROGRAM = '''"""Course {slug}: the program that the portal runs, with the spec and the target that lie beside it."""

from pathlib import Path

import yaml

from course_stack.program import course_program
from course_stack.spec import load_spec
from course_stack.target import Target

HERE = Path(__file__).parent

spec = load_spec(HERE / "course.yaml")
target = Target.model_validate(yaml.safe_load((HERE / "target.yaml").read_text()))

# the generation of the hub's API token: another word here makes another token, which the portal would not know
course_program(spec, target, rotation="{rotation}")()
'''

_README = """Course {slug} by hand
{line}

This folder is the course's Pulumi project, as it was last deployed. It holds no secret.

Before you begin: nothing else may work on the course. Stop the portal's scheduler and workers, or make sure that the
course's page shows no operation. Pulumi's lock keeps two apart, and the second one fails.

    . ./{settings}                 once in each shell
    pulumi stack ls                the courses that there are
    pulumi preview --diff          what `up` would do; nothing, if course.yaml is as it was deployed
    pulumi up                      bring the course to course.yaml
    pulumi refresh                 write into the state what is really there
    pulumi destroy                 remove the hub AND EVERY HOME DIRECTORY, without archives of them
    pulumi stack rm --remove-backups      after destroy: forget the stack

Needed are the Pulumi CLI (3.256 or newer) with its Python support, the plugins that the stack uses (the CLI fetches
them, or `pulumi plugin install` before), and the Python environment that Pulumi.yaml names, with JHaaS in it.

To know:
- Who joined since the last deployment is a member at the identity provider, not in course.yaml. `up` alone leaves
  members as they are; `refresh` and then `up` puts out whoever is not in course.yaml, until the portal runs again.
- A change here is not in the portal's database. Its nightly comparison shows it, and its next update takes it back.
- After a run that was killed: `pulumi cancel` removes its lock (first make sure that it is dead), then `pulumi refresh
  --clear-pending-creates`, then `pulumi up`. All creates adopt what is there.
"""
