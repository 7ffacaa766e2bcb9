"""That the cluster is new enough, and answers: asked before anything is made, also by a preview."""

from __future__ import annotations

import json
import re
import subprocess

import pulumi

from config import OLDEST_KUBERNETES, Cluster

SECONDS = 30


def refuse_old(cluster: Cluster) -> None:
    """Raises `pulumi.RunError`, in one sentence, for a cluster that cannot carry the platform."""
    if why := refusal(cluster.context):
        raise pulumi.RunError(f"{why}.")


def version_of(context: str) -> tuple[int, int]:
    """Of the cluster behind a context of the kubeconfig: (1, 34). Raises ValueError, which says why there is none."""
    command = ["kubectl", "--context", context, "version", "-o", "json", f"--request-timeout={SECONDS}s"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=2 * SECONDS)
    except FileNotFoundError:
        raise ValueError("kubectl is not on PATH") from None
    except subprocess.TimeoutExpired:
        raise ValueError("the cluster does not answer") from None
    try:
        told = json.loads(done.stdout or "{}").get("serverVersion") or {}
        # some write 30+
        return int(told["major"]), int(re.sub(r"\D", "", told["minor"]))
    except (KeyError, ValueError):
        said = done.stderr.strip().splitlines() or ["kubectl tells no version of the server"]
        raise ValueError(said[-1]) from None


def refusal(context: str) -> str | None:
    """Why this cluster cannot carry the platform, in one sentence; None where it can."""
    oldest = ".".join(map(str, OLDEST_KUBERNETES))
    try:
        found = version_of(context)
    except ValueError as error:
        return f"jhaas-platform:cluster.context is {context}, and its cluster cannot be asked: {error}"
    if found < OLDEST_KUBERNETES:
        what = ".".join(map(str, found))
        return f"jhaas-platform:cluster.context is {context}: Kubernetes {what}, and {oldest} or newer is needed"
    return None
