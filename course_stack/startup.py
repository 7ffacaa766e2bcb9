"""What runs in a notebook before the server: course material is brought up to date, then the course's own commands.

Nothing here can keep a notebook from starting: the server waits for a bounded time, the rest goes on behind it, and
what failed stands in a file in the home where its owner finds it.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from course_stack.spec import GitRepository

WAIT_SECONDS = 20
"""The server starts after this time at the latest, so that the person is not left before a waiting page."""
STEP_SECONDS = 600
"""A step that has not ended by then is ended."""
LOG = ".jhaas/start-up.log"
TROUBLE = "START-UP-PROBLEMS.txt"
"""In the home, where a file browser shows it; gone when everything worked."""

PULL = """
if command -v gitpuller >/dev/null; then exec gitpuller "$1" "$2" "$3"; fi
if ! command -v git >/dev/null; then echo "This image has neither nbgitpuller nor git."; exit 1; fi
if [ -d "$3/.git" ]; then exec git -C "$3" pull --ff-only; fi
exec git clone ${2:+--branch "$2"} -- "$1" "$3"
"""
"""Brings a repository (address, branch, folder) into the home. Plain git is for images without nbgitpuller: it stops
at files that the person has changed, where nbgitpuller keeps these and goes on."""


def wrapped(command: Sequence[str], repositories: Sequence[GitRepository], steps: Sequence[str]) -> list[str]:
    """The server's command with the start-up in front of it; the command itself where there is none."""
    if not repositories and not steps:
        return list(command)
    return ["/bin/bash", "-c", script(repositories, steps), "start-up", *command]


def script(repositories: Sequence[GitRepository], steps: Sequence[str]) -> str:
    """A shell script whose arguments are the server's command."""
    lines = [
        "cd ~; mkdir -p .jhaas",
        "export GIT_TERMINAL_PROMPT=0",
        f"rm -f {LOG}.failed",
        "step() {",
        '  echo "--- $1"; shift',
        f'  timeout -k 5 {STEP_SECONDS} "$@" </dev/null || echo "$? $*" >>{LOG}.failed',
        "}",
        "all() {",
        *(f"  {_pull(repository)}" for repository in repositories),
        *(f"  step {shlex.quote(_title(step))} bash -c {shlex.quote(step)}" for step in steps),
        f"  if [ -s {LOG}.failed ]; then",
        "    {",
        '      echo "Some of what this course prepares did not work. Your own files are untouched."',
        f'      echo "What was done, step by step: ~/{LOG}"; echo',
        f"      cat {LOG}",
        f"    }} >{TROUBLE}",
        f"  else rm -f {TROUBLE}; fi",
        "}",
        f"all >{LOG} 2>&1 &",
        f"for _ in $(seq {WAIT_SECONDS * 5}); do kill -0 $! 2>/dev/null || break; sleep 0.2; done",
        'exec "$@"',
    ]
    return "\n".join(lines)


def _pull(repository: GitRepository) -> str:
    title = f"{repository.url} into {repository.target}"
    words = ["step", title, "sh", "-c", PULL, "pull", repository.url, repository.branch or "", repository.target]
    return shlex.join(words)


def _title(step: str) -> str:
    first = step.strip().splitlines()[0]
    return first if first == step.strip() else f"{first} …"
