"""kubectl and helm, as an administrator would use them: the trial trusts no client of ours."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from course_stack.kubernetes.release import ReleasePlan


class CommandFailed(AssertionError):
    """A command that was expected to succeed did not; what it said."""


def kubectl(*arguments: str, stdin: str | None = None) -> str:
    """What `kubectl` prints. Raises `CommandFailed` with what it complains of."""
    return _run("kubectl", *arguments, stdin=stdin)


def show(kind: str, *arguments: str) -> list[dict[str, Any]]:
    """Objects of a kind: `show("pods", "-n", "some-namespace")`; none where there are none, or no such namespace."""
    found: list[dict[str, Any]] = json.loads(kubectl("get", kind, *arguments, "-o", "json"))["items"]
    return found


def secret(namespace: str, name: str) -> dict[str, str]:
    """What is in it."""
    (found,) = [one for one in show("secrets", "-n", namespace) if one["metadata"]["name"] == name]
    return {key: base64.b64decode(value).decode() for key, value in found["data"].items()}


def apply(documents: Iterable[Mapping[str, Any]]) -> None:
    """Make or change these objects, by server-side apply."""
    text = yaml.safe_dump_all([dict(document) for document in documents])
    kubectl("apply", "--server-side", "--field-manager=jhaas-trial", "-f", "-", stdin=text)


def install(plan: ReleasePlan, values: Mapping[str, Any]) -> None:
    """Install or upgrade the chart, and wait until its pods are ready."""
    place = [*(["--repo", plan.repository] if plan.repository else [])]
    version = [*(["--version", plan.version] if plan.version else [])]
    _run(
        *("helm", "upgrade", "--install", plan.name, plan.chart, *place, *version, "--namespace", plan.namespace),
        *("--wait", f"--timeout={plan.timeout}s", "--values=-"),
        # values through the pipe: they hold secrets, and arguments are everybody's to read
        stdin=json.dumps(values),
    )


def uninstall(release: str, namespace: str) -> None:
    """Remove the release; fine where there is none."""
    _run("helm", "uninstall", release, "--namespace", namespace, "--ignore-not-found", "--wait")


def _run(*command: str, stdin: str | None = None) -> str:
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CommandFailed(f"{' '.join(command[:3])} …: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout
