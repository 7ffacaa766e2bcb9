"""Fetch the files that browsers get from other projects, so that every page is served by the portal alone.

`python tools/vendor.py` packs the exact versions below with npm, compares their checksums, and writes what is used,
each beside its licence, to `portal/static/vendor` (browsers) and `tests/support/vendor` (tests). The result is
committed: neither a visitor nor a test needs the network.
"""

from __future__ import annotations

import base64
import hashlib
import re
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BROWSERS = ROOT / "portal/static/vendor"
TESTS = ROOT / "tests/support/vendor"

_ICONS = """
archive arrow-clockwise arrow-counterclockwise arrow-left arrow-repeat arrow-right bell book box-arrow-right
box-arrow-up-right box-seam calendar-check calendar-event calendar-plus calendar-range calendar3 check-circle check-lg
chevron-down chevron-left chevron-right chevron-up circle circle-fill circle-half clipboard clipboard-check clock
clock-history code collection columns copy cpu dash-circle database device-hdd diagram-3 door-closed door-open
download envelope envelope-paper exclamation-octagon exclamation-triangle eye eye-slash file-earmark-zip files flag
funnel gear globe2 gpu-card hand-thumbs-up hdd-stack heart-pulse hourglass-split house image images inbox info-circle
journal-code journal-plus journal-text key laptop layers life-preserver lightning-charge link link-45deg list
list-check list-task mailbox memory moon moon-stars mortarboard pause-circle pencil people person person-badge
person-check person-circle person-dash person-plus person-x play-circle plus-circle plus-lg printer question-circle
rocket-takeoff search send share shield-check shield-lock skip-forward sliders speedometer2 stars stop-circle sun tag
terminal tools translate trash unlock upload x-circle x-lg
"""
ICONS = tuple(_ICONS.split())


@dataclass(frozen=True)
class Package:
    """One npm package: its checksum as the registry gives it, and which of its files go where under which name."""

    name: str
    version: str
    licence: str
    integrity: str
    files: dict[str, Path]


PACKAGES = (
    Package(
        "bootstrap",
        "5.3.9",
        "MIT",
        "sha512-20cU0rcfw8WdxtVbmfU+xT2EjvVTw9Ror/h1Qvd7DXCujRg8OO9mdBCsmTHdJFf3BuadmBNJtgIuUXsBqSkk/w==",
        {
            "dist/css/bootstrap.min.css": BROWSERS / "bootstrap/bootstrap.min.css",
            "LICENSE": BROWSERS / "bootstrap/LICENSE",
        },
    ),
    Package(
        "bootstrap-icons",
        "1.13.2",
        "MIT",
        "sha512-fAU1Ly3dH7hwRg+CB8EZ0Vl0fF80zgXHeUVJyfUOKzoURr+TbwISbCW5tKUoQLERaWYG2emTCybcPbD96hdD1A==",
        {"LICENSE": BROWSERS / "bootstrap-icons/LICENSE"},
    ),
    Package(
        "@fontsource-variable/source-sans-3",
        "5.3.0",
        "OFL-1.1",
        "sha512-dpi0GZk7EQe2tYpg6Q0Fx0OmUgnuGu+0rHPgtXqtKhglYmJuP7jZ12Mu1uN+NfRaJRY1Emn8AQJEWzmoZ4wa9g==",
        {
            "files/source-sans-3-latin-wght-normal.woff2": BROWSERS / "source-sans/latin.woff2",
            "files/source-sans-3-latin-ext-wght-normal.woff2": BROWSERS / "source-sans/latin-ext.woff2",
            "LICENSE": BROWSERS / "source-sans/LICENSE",
        },
    ),
    Package(
        "@fontsource-variable/source-serif-4",
        "5.3.1",
        "OFL-1.1",
        "sha512-4Rtay22SC4lMvw11r/+9kxANB6P3M0X8s1NudBC2v0J1KU2y3DcMoNcT3lBoZ/CqLirzf+StlO6UlJilyrvaUg==",
        {
            "files/source-serif-4-latin-wght-normal.woff2": BROWSERS / "source-serif/latin.woff2",
            "files/source-serif-4-latin-ext-wght-normal.woff2": BROWSERS / "source-serif/latin-ext.woff2",
            "LICENSE": BROWSERS / "source-serif/LICENSE",
        },
    ),
    Package(
        "axe-core",
        "4.14.1",
        "MPL-2.0",
        "sha512-FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ==",
        {"axe.min.js": TESTS / "axe.min.js", "LICENSE": TESTS / "axe-LICENSE"},
    ),
)


def main() -> None:
    """Fetch everything, write it, and write down what it is."""
    with tempfile.TemporaryDirectory() as folder:
        for package in PACKAGES:
            content = _unpack(package, Path(folder))
            for inside, outside in package.files.items():
                outside.parent.mkdir(parents=True, exist_ok=True)
                outside.write_bytes((content / inside).read_bytes())
            if package.name == "bootstrap-icons":
                (BROWSERS / "bootstrap-icons/icons.svg").write_text(_sprite(content / "icons"))
    for place in (BROWSERS, TESTS):
        (place / "README.md").write_text(_table(place))


def _unpack(package: Package, folder: Path) -> Path:
    """The package's own folder. Raises `SystemExit` where its checksum is another one."""
    packed = subprocess.run(
        ["npm", "pack", "--silent", f"{package.name}@{package.version}"],
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()[-1]
    found = base64.b64encode(hashlib.sha512((folder / packed).read_bytes()).digest()).decode()
    if f"sha512-{found}" != package.integrity:
        raise SystemExit(f"{package.name} {package.version} has another checksum than expected: sha512-{found}")
    with tarfile.open(folder / packed) as archive:
        archive.extractall(folder / f"{packed}.d", filter="data")
    return folder / f"{packed}.d/package"


def _sprite(icons: Path) -> str:
    """One file with a symbol for each icon that the portal uses."""
    symbols = []
    for name in sorted(ICONS):
        svg = (icons / f"{name}.svg").read_text()
        found = re.search(r"<svg[^>]*?viewBox=\"([^\"]+)\"[^>]*>(.*)</svg>", svg, re.DOTALL)
        if found is None:
            raise SystemExit(f"the icon {name} cannot be read")
        body = re.sub(r"\s+", " ", found[2]).strip()
        symbols.append(f'<symbol id="{name}" viewBox="{found[1]}" fill="currentColor">{body}</symbol>')
    return '<svg xmlns="http://www.w3.org/2000/svg">\n' + "\n".join(symbols) + "\n</svg>\n"


def _table(place: Path) -> str:
    rows = [
        f"| {package.name} | {package.version} | {package.licence} |"
        for package in PACKAGES
        if any(outside.is_relative_to(place) for outside in package.files.values())
    ]
    return "\n".join(
        [
            "Files of other projects, as they published them. `python tools/vendor.py` fetches them anew.",
            "",
            "| npm package | version | licence |",
            "|---|---|---|",
            *rows,
            "",
        ]
    )


if __name__ == "__main__":
    main()
