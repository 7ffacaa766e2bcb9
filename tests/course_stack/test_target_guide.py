"""docs/targets.md says of every key of a target's file what it means, and is up to date."""

from __future__ import annotations

import re

from tools.targets import PAGE, guide


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text() == guide(), "run: make schema"


def test_every_key_has_a_meaning() -> None:
    rows = re.findall(r"^\| (`.+?`.*?) \| (.+?) \| (.*?) \| (.*) \|$", guide(), re.MULTILINE)
    assert len(rows) > 50
    # what is written like another key is told there
    assert [key for key, value, _, meaning in rows if not meaning and not value.startswith("as `")] == []


def test_keys_are_those_that_files_have() -> None:
    keys = set(re.findall(r"^\| `([\w.\[\]]+)`", guide(), re.MULTILINE))
    assert {"hub_domain", "cluster.images.helper", "cluster.openings[].cidr", "capacity.memory", "open"} <= keys
    assert not keys & {"name", "kind", "home", "is_open"}
