"""What runs in a notebook before the server: course material is brought up to date, then the course's own commands.

Nothing here can keep a notebook from starting: the server waits for a bounded time, the rest goes on behind it, and
what failed stands in a file in the home where its owner finds it.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from course_stack.hub_files.trust import PUBLIC
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


TRUSTING = ("SSL_CERT_FILE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO", "REQUESTS_CA_BUNDLE", "AWS_CA_BUNDLE")
"""Variables by which programs are told of a file of authorities: OpenSSL and most languages, curl and R, git, pip and
Python's requests, clients of S3. Node.js takes a file beside its own authorities."""


def wrapped(command: Sequence[str], repositories: Sequence[GitRepository], steps: Sequence[str]) -> list[str]:
    """The server's command with the start-up in front of it; the command itself where there is none."""
    if not repositories and not steps:
        return list(command)
    return ["/bin/bash", "-c", script(repositories, steps), "start-up", *command]


def script(repositories: Sequence[GitRepository], steps: Sequence[str], authority: str | None = None) -> str:
    """A shell script whose arguments are the server's command. `authority` is a file of certificates (PEM) that it and
    everything that it starts believe beside the public ones."""
    lines = [
        *(_trust(authority) if authority is not None else ()),
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


def _trust(authority: str) -> list[str]:
    """Each image keeps the public authorities in another place. Where none is found, programs go on with what they
    bring; what the course sets itself stays."""
    told = " ".join(f'{name}="${{{name}:-$believed}}"' for name in TRUSTING)
    of_python = "\"$(python3 -c 'import certifi; print(certifi.where())' 2>/dev/null)\""
    return [
        f'for public in "$SSL_CERT_FILE" {" ".join(PUBLIC)} {of_python}; do',
        '  if [ -s "$public" ] && believed=$(mktemp); then',
        f'    cat "$public" {authority} >"$believed"',
        '    SSL_CERT_FILE="$believed"',
        f"    export {told}",
        "    break",
        "  fi",
        "done",
        f'export NODE_EXTRA_CA_CERTS="${{NODE_EXTRA_CA_CERTS:-{authority}}}"',
    ]


def _pull(repository: GitRepository) -> str:
    title = f"{repository.url} into {repository.target}"
    words = ["step", title, "sh", "-c", PULL, "pull", repository.url, repository.branch or "", repository.target]
    return shlex.join(words)


def _title(step: str) -> str:
    first = step.strip().splitlines()[0]
    return first if first == step.strip() else f"{first} …"
