"""Draw the platform: `python tools/platform_picture.py` writes docs/pictures/platform.svg from the program itself.

Every box is a part with what it makes, every arrow a part that stands on another one, as a run without a cluster
(`platform/rehearsal.py`) found them with everything bundled. Nothing is drawn by hand.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

ROOT = Path(__file__).resolve().parent.parent
PICTURE = ROOT / "docs/pictures/platform.svg"
sys.path.insert(0, str(ROOT / "platform"))

if TYPE_CHECKING:
    from rehearsal import Made, Rehearsal

WIDTH, GAP, MARGIN = 232, 44, 24
HEAD, LINE = 30, 17
SHOWN = ("Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob", "Cluster", "ScheduledBackup", "ObjectStore")
"""Kinds that have a line of their own; other objects are counted."""
SECTIONS = {
    "site": {"portal_host": "courses.example.org", "hub_domain": "example-hubs.org", "contact": "help@example.org"},
    "cluster": {"context": "university"},
    "certificates": {"issuer": "letsencrypt"},
    "portal": {"image": "registry.example.org/jhaas/portal:1"},
    "shared_storage": {"kind": "longhorn"},
    "monitoring": {"install": True},
    "mail": {"host": "mail.example.org"},
}


def picture() -> str:
    """The SVG."""
    from rehearsal import rehearse

    record = rehearse(SECTIONS)
    parts = [one for one in record.made if one.type.startswith("jhaas:platform:")]
    needs = direct(part_needs(record, parts))
    return drawn({one.name: list(lines(record, one)) for one in parts}, needs)


def part_needs(record: Rehearsal, parts: list[Made]) -> dict[str, set[str]]:
    """Part → the parts that it stands on."""
    by_urn = {one.urn: one for one in record.made}

    def part_of(urn: str) -> str | None:
        one = by_urn.get(urn)
        while one is not None and one.parent:
            one = by_urn.get(one.parent)
        return one.name if one is not None and one in parts else None

    needs: dict[str, set[str]] = {one.name: set() for one in parts}
    for one in record.made:
        own = part_of(one.urn)
        if own is not None:
            needs[own] |= {other for urn in one.after if (other := part_of(urn)) not in (None, own)}
    return needs


def direct(needs: dict[str, set[str]]) -> dict[str, set[str]]:
    """Without what follows from the others: of A on B, B on C and A on C, the last."""

    def all_of(part: str) -> set[str]:
        return needs[part] | {below for other in needs[part] for below in all_of(other)}

    return {
        part: {one for one in direct_ones if not any(one in all_of(other) for other in direct_ones - {one})}
        for part, direct_ones in needs.items()
    }


def lines(record: Rehearsal, part: Made) -> Iterator[str]:
    """What a part makes, for its box."""
    own = [one for one in record.made if one.parent == part.urn and not one.is_read]
    rest = 0
    for one in own:
        if one.type.endswith(":Release"):
            yield f"chart {one.name}"
        elif one.inputs.get("kind") in SHOWN:
            yield f"{one.inputs['kind']} {one.inputs['metadata']['name']}"
        elif one.type == "pulumi-python:dynamic:Resource":
            yield "waits for the host names"
        else:
            rest += 1
    if rest:
        yield f"{rest} more"


def layers(needs: dict[str, set[str]]) -> list[list[str]]:
    """Parts by how deep they stand; within a layer by name."""

    def depth(part: str) -> int:
        return 1 + max((depth(other) for other in needs[part]), default=-1)

    deepest = max(map(depth, needs))
    return [sorted(part for part in needs if depth(part) == level) for level in range(deepest + 1)]


def drawn(boxes: dict[str, list[str]], needs: dict[str, set[str]]) -> str:
    """Boxes in layers, the first at the top; arrows from a part to what it stands on."""
    rows = layers(needs)
    width = max(len(row) for row in rows) * (WIDTH + GAP) - GAP + 2 * MARGIN
    places: dict[str, tuple[float, float, float]] = {}
    top = float(MARGIN)
    for row in rows:
        left = (width - len(row) * (WIDTH + GAP) + GAP) / 2
        for part in row:
            places[part] = (left, top, HEAD + LINE * len(boxes[part]) + 8)
            left += WIDTH + GAP
        top += max(places[part][2] for part in row) + GAP
    shapes = [*_arrows(places, needs), *(shape for part in boxes for shape in _box(part, boxes[part], places[part]))]
    return "\n".join([_HEAD.format(width=width, height=top - GAP + MARGIN), *shapes, "</svg>", ""])


def _arrows(places: dict[str, tuple[float, float, float]], needs: dict[str, set[str]]) -> Iterator[str]:
    for part, others in sorted(needs.items()):
        for other in sorted(others):
            (x, y, _), (left, upper, height) = places[part], places[other]
            start, end = (x + WIDTH / 2, y), (left + WIDTH / 2, upper + height)
            bend = (start[1] - end[1]) / 2
            curve = f"C{start[0]:g} {start[1] - bend:g} {end[0]:g} {end[1] + bend:g} {end[0]:g} {end[1] + 6:g}"
            yield f'<path class="needs" d="M{start[0]:g} {start[1]:g} {curve}" marker-end="url(#tip)"/>'


def _box(name: str, content: list[str], place: tuple[float, float, float]) -> Iterator[str]:
    x, y, height = place
    yield f'<rect class="part" x="{x:g}" y="{y:g}" width="{WIDTH}" height="{height:g}" rx="8"/>'
    yield f'<text class="name" x="{x + 12:g}" y="{y + 21:g}">{escape(name)}</text>'
    for index, text in enumerate(content):
        yield f'<text x="{x + 12:g}" y="{y + HEAD + LINE * index + 12:g}">{escape(text)}</text>'


_HEAD = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" role="img"
 aria-label="The parts of the platform, and which stands on which">
<style>
text {{ font: 12px system-ui, sans-serif; fill: #37434f }}
.name {{ font-weight: 600; font-size: 14px; fill: #14212b }}
.part {{ fill: #f5f8fa; stroke: #7b8b99 }}
.needs {{ fill: none; stroke: #3d6f9e; stroke-width: 1.5 }}
</style>
<defs><marker id="tip" viewBox="0 0 8 8" refX="6" refY="4" markerWidth="7" markerHeight="7" orient="auto">
<path d="M0 0 8 4 0 8z" fill="#3d6f9e"/></marker></defs>
<rect width="100%" height="100%" fill="#fff"/>"""


if __name__ == "__main__":
    PICTURE.write_text(picture())
