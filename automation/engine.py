"""Which Pulumi does the work: the `pulumi` CLI where it is installed, else the embedded engine."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast, get_args

from automation import processes
from automation.failures import ClusterFailed, EngineUnusable
from automation.settings import ENGINE_ENV, SettingsError, StateSettings
from course_stack import trust
from course_stack.credentials import CredentialsError, in_folder
from course_stack.local.layout import Layout
from course_stack.target import CREDENTIALS_ENV, Target

if TYPE_CHECKING:
    from pulumi.automation import PulumiCommand

EngineChoice = Literal["auto", "cli", "embedded"]

OLDEST_CLI = (3, 256, 0)
"""Older CLIs cannot use S3 stores other than AWS (their checksums are refused)."""

_DYNAMIC_PLUGIN = "pulumi-resource-pulumi-python"
_PACKAGE_ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine, and how to stop it."""

    title: str
    command: PulumiCommand
    cancel_running: Callable[[], bool]
    """Ask the running command to end after the steps that it is at, with state saved and lock released. Returns
    whether it need not be asked again."""
    abort_running: Callable[[], object]
    """Ask the running command to end now."""
    prepare: Callable[[str, str], object] = lambda _phrase, _salt: None
    """Told as early as possible with which passphrase and salt the stack's secrets are encrypted."""


def engine_choice(environ: Mapping[str, str] = os.environ) -> EngineChoice:
    """The choice of `JHAAS_PULUMI`. Raises `SettingsError`."""
    choice = environ.get(ENGINE_ENV, "auto")
    if choice not in get_args(EngineChoice):
        raise SettingsError(f"{ENGINE_ENV} is {choice!r}: it must be one of {', '.join(get_args(EngineChoice))}.")
    return cast("EngineChoice", choice)


def pulumi_engine(choice: EngineChoice = "auto") -> Engine:
    """The engine that does the work.

    `auto` takes the CLI if one of at least `OLDEST_CLI` is on PATH. Raises `EngineUnusable` where the choice is `cli`
    and the CLI or its plugin for dynamic resources is missing or too old.
    """
    if choice != "embedded":
        try:
            return _cli()
        except _Unfit as problem:
            if choice == "cli":
                oldest = ".".join(map(str, OLDEST_CLI))
                raise EngineUnusable(
                    f"{ENGINE_ENV} is cli, but {problem}. Install the Pulumi CLI {oldest} or later with its plugins, "
                    f"or set {ENGINE_ENV}=embedded."
                ) from None
    from automation.embedded import EmbeddedPulumi

    command = EmbeddedPulumi()

    def cancel() -> bool:
        command.cancel_running()
        # It forgets this where no command runs.
        return False

    return Engine(f"embedded engine {command.version}", command, cancel, lambda: None, command.prepare)


def operation_environment(operation: str, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The whole environment of an operation's process tree: what is listed here and nothing else of ours.

    Programs and providers are found with this interpreter; secrets reach them by file only.
    """
    kept = {name: value for name, value in environ.items() if name in _KEPT or name.startswith(_KEPT_PREFIXES)}
    search = [str(Path(sys.executable).parent), *environ.get("PATH", os.defpath).split(os.pathsep)]
    modules = [str(_PACKAGE_ROOT), *filter(None, environ.get("PYTHONPATH", "").split(os.pathsep))]
    return {
        **kept,
        "PATH": os.pathsep.join(dict.fromkeys(search)),
        "PYTHONPATH": os.pathsep.join(dict.fromkeys(modules)),
        processes.OPERATION_ENV: operation,
    }


def credentials_folder(target: Target, layout: Layout, environ: Mapping[str, str] = os.environ) -> Path:
    """Where the keys of what stands behind a target lie: of a cluster, in the folder that `JHAAS_CREDENTIALS_DIR`
    names; else, and for this machine, in the data folder."""
    given = environ.get(CREDENTIALS_ENV)
    return Path(given) if given and target.cluster is not None else layout.credentials


def target_environment(target: Target, layout: Layout, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What tells providers where their keys are, and whom to believe. Without a kubeconfig among them, the caller's
    KUBECONFIG stands, or the account of the pod that this is. Raises `ClusterFailed`."""
    folder = credentials_folder(target, layout, environ)
    try:
        found = {CREDENTIALS_ENV: str(folder), **trust.environment(target, layout, folder)}
    except CredentialsError as error:
        raise ClusterFailed(str(error)) from error
    if target.cluster is not None:
        path = in_folder(target.cluster.kubeconfig, folder, of=target.name)
        if path is not None and path.is_file():
            found["KUBECONFIG"] = str(path)
    return found


def engine_environment(settings: StateSettings, folder: Path) -> dict[str, str]:
    """What the engine needs to reach the state, with secrets written to files (0600) in the operation's `folder`."""
    environment = {
        "PULUMI_BACKEND_URL": settings.backend_url,
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "PULUMI_DIY_BACKEND_NO_LEGACY_WARNING": "true",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        # A fresh work folder holds no salt: it is read from the state.
        "PULUMI_FALLBACK_TO_STATE_SECRETS_MANAGER": "true",
        "PULUMI_PYTHON_CMD": sys.executable,
    }
    if settings.passphrase is not None:
        path = folder / "passphrase"
        _write_private(path, settings.passphrase.get_secret_value())
        environment["PULUMI_CONFIG_PASSPHRASE_FILE"] = str(path)
    if settings.secret_access_key is not None:
        path = folder / "aws-credentials"
        secret = settings.secret_access_key.get_secret_value()
        _write_private(
            path, f"[default]\naws_access_key_id = {settings.access_key_id}\naws_secret_access_key = {secret}\n"
        )
        empty = folder / "aws-config"
        _write_private(empty, "")
        environment |= {
            "AWS_SHARED_CREDENTIALS_FILE": str(path),
            "AWS_CONFIG_FILE": str(empty),
            "AWS_PROFILE": "default",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
    return environment


# Of the caller's environment: what finds programs, homes, certificates and proxies, and what names files and roles.
# Nothing that holds a secret itself (so no AWS_SECRET_ACCESS_KEY and no JHAAS_STATE_…).
_KEPT = frozenset(
    (
        *(
            "HOME",
            "USER",
            "LOGNAME",
            "LANG",
            "TZ",
            "TMPDIR",
            "SHELL",
            "VIRTUAL_ENV",
            "KUBECONFIG",
            # by hand, for the day a cluster is lost: what was on it is forgotten
            "PULUMI_K8S_DELETE_UNREACHABLE",
            "PULUMI_HOME",
            "PYTHONDONTWRITEBYTECODE",
        ),
        *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "AWS_CA_BUNDLE", "KUBERNETES_SERVICE_HOST"),
        *("KUBERNETES_SERVICE_PORT", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
        *("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"),
        *("AWS_ROLE_ARN", "AWS_ROLE_SESSION_NAME", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_FULL_URI"),
        *("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"),
        *("JHAAS_HOME", CREDENTIALS_ENV, ENGINE_ENV, "JHAAS_PORT", "JHAAS_BIND_BEYOND_LOOPBACK"),
    )
)
_KEPT_PREFIXES = ("LC_", "XDG_")


class _Unfit(Exception):
    """Why the CLI cannot be used."""


def _cli() -> Engine:
    """The CLI on PATH. Raises `_Unfit`."""
    path = shutil.which("pulumi")
    if path is None:
        raise _Unfit("there is no pulumi on PATH")
    if shutil.which(_DYNAMIC_PLUGIN) is None and not Path(path).resolve().with_name(_DYNAMIC_PLUGIN).exists():
        raise _Unfit(f"the plugin {_DYNAMIC_PLUGIN} is neither beside {path} nor on PATH")
    from pulumi.automation import PulumiCommand
    from semver import VersionInfo

    try:
        command = PulumiCommand(version=VersionInfo(*OLDEST_CLI), skip_version_check=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise _Unfit(f"{path} does not tell its version ({type(error).__name__})") from None
    if command.version is None or command.version < VersionInfo(*OLDEST_CLI):
        raise _Unfit(f"{path} is {command.version or 'of no known version'}")

    def send(number: signal.Signals) -> bool:
        running = [pid for pid in processes.children(os.getpid()) if processes.name(pid) == "pulumi"]
        for pid in running:
            processes.send(pid, number)
        return bool(running)

    return Engine(f"Pulumi CLI {command.version}", command, lambda: send(signal.SIGINT), lambda: send(signal.SIGTERM))


def _write_private(path: Path, content: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(content)
