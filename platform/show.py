"""What `jhaas platform` shows, as a program of its own: this folder's modules are top-level names, which no other
program should have on its path.

    python platform/show.py plan STACK_FILE
    python platform/show.py manifests STACK_FILE [--only objects|charts]
    python platform/show.py settings
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

BAD_INPUT = 2


def main() -> int:
    """Run one of them; 2 for a configuration that cannot be used."""
    parser = argparse.ArgumentParser(description="What the platform's stack would make.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("plan", "manifests"):
        command = commands.add_parser(name)
        command.add_argument("stack_file", type=Path)
        if name == "manifests":
            command.add_argument("--only", choices=("objects", "charts"))
    commands.add_parser("settings")
    given = parser.parse_args()
    if given.command == "settings":
        from settings_table import table

        sys.stdout.write(table())
        return 0
    return _rehearsed(given)


def _rehearsed(given: argparse.Namespace) -> int:
    from stack_file import ConfigError, how_to_set, of_file

    try:
        sections, missing = of_file(given.stack_file)
    except ConfigError as error:
        sys.stderr.write(f"{given.stack_file} cannot be used:\n{error}\n")
        return BAD_INPUT

    import pulumi

    from plan import manifests, tree
    from rehearsal import rehearse

    try:
        record = rehearse(sections)
    except pulumi.RunError as error:
        sys.stderr.write(f"{given.stack_file} cannot be used:\n{error}\n")
        return BAD_INPUT
    if given.command == "manifests":
        only = given.only
        sys.stdout.write(manifests(record, objects=only != "charts", charts=only != "objects"))
    else:
        site, cluster = sections["site"], sections["cluster"]
        title = f"The platform of https://{site['portal_host']}/ on the cluster of context {cluster['context']}"
        sys.stdout.write(tree(record, title) + "\n")
        for message in record.messages:
            sys.stdout.write(f"{message}\n")
    for path in missing:
        sys.stderr.write(f"Still to be set: {how_to_set(path)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
