"""The picture of the whole is the program's own."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from tools.platform_picture import PICTURE, direct, layers, picture


def test_the_picture_is_up_to_date() -> None:
    assert picture() == PICTURE.read_text(), "draw it anew: python tools/platform_picture.py"


def test_every_part_is_in_it_once() -> None:
    texts = [one.text for one in ET.parse(PICTURE).iter("{http://www.w3.org/2000/svg}text")]
    for part in ("ingress", "dns", "certificates", "shared-storage"):
        assert texts.count(part) == 1


def test_what_follows_from_other_arrows_is_not_drawn() -> None:
    needs: dict[str, set[str]] = {"a": set(), "b": {"a"}, "c": {"a", "b"}}
    assert direct(needs) == {"a": set(), "b": {"a"}, "c": {"b"}}
    assert layers(needs) == [["a"], ["b"], ["c"]]
