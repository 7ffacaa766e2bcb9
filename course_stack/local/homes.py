"""Folders of a course on this machine: home folders, their index, and shared volumes.

The index tells whose a home is without asking the hub: archives are made from what lies in storage, never from a list
of people.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path

from course_stack.local.accounts import CourseGroups
from course_stack.local.files import locked, private_folder, remove_folder, write_file
from course_stack.local.layout import Layout
from course_stack.spec import CourseSpec

INDEX = ".people.json"
"""In the homes folder of a course; home folders never begin with a dot."""


@dataclass(frozen=True, slots=True)
class HomeOwner:
    """Whose a home is: a subject means something only together with the provider that gave it."""

    issuer: str
    subject: str


def safe_name(subject: str) -> str:
    """The subject as a folder's and an account's name: itself where it is plain, else shortened with a digest.

    Different subjects have different names: plain names hold no `--`, all others end in `--` and a digest.
    """
    if re.fullmatch(r"[a-z][a-z0-9_.-]{0,30}", subject) and "--" not in subject and subject not in ("root", "nobody"):
        return subject
    start = re.sub(r"[^a-z0-9]+", "-", subject.lower()).strip("-")[:18].strip("-")
    return f"{start or 'u'}--{hashlib.sha256(subject.encode()).hexdigest()[:10]}"


def ensure_home(layout: Layout, slug: str, owner: HomeOwner, uid: int | None) -> Path:
    """The person's home in the course, made where it is missing, owned by `uid` (None: by us), and in the index.

    Everything that is in it stays; only the folder itself is put right.
    """
    name = safe_name(owner.subject)
    homes = _homes_folder(layout, slug)
    home = private_folder(homes / name)
    if uid is not None:
        os.chown(home, uid, uid)
    with locked(homes / ".people.lock"):
        index = home_index(layout, slug)
        if index.get(name) != owner:
            index[name] = owner
            _write_index(homes, index)
    return home


def home_index(layout: Layout, slug: str) -> dict[str, HomeOwner]:
    """Whose each home of the course is, by the home folder's name."""
    try:
        raw = json.loads((layout.homes(slug) / INDEX).read_text())
    except FileNotFoundError:
        return {}
    return {name: HomeOwner(**owner) for name, owner in raw.items()}


def remove_home(layout: Layout, slug: str, subject: str) -> None:
    """Delete a home with everything in it, and its line in the index; fine where there is none.

    No server may have it open. Links in it are deleted, never followed.
    """
    name, homes = safe_name(subject), layout.homes(slug)
    if not homes.is_dir():
        return
    remove_folder(homes / name)
    with locked(homes / ".people.lock"):
        index = home_index(layout, slug)
        if index.pop(name, None):
            _write_index(homes, index)


def ensure_shared_volumes(layout: Layout, spec: CourseSpec, groups: CourseGroups | None) -> None:
    """The folders of the course's shared volumes, made where they are missing. What is in them stays.

    Without `groups` (everything belongs to one account) there is nothing to tell apart.
    """
    private_folder(layout.shared(spec.slug).parent, 0o711)
    private_folder(layout.shared(spec.slug), 0o711)
    for volume in spec.shared_volumes:
        folder = layout.shared(spec.slug) / volume.name
        folder.mkdir(exist_ok=True)
        if groups is not None:
            os.chown(folder, 0, groups.leads if volume.kind == "material" else groups.everybody)
            # the group is handed on to whatever is made inside
            folder.chmod(0o2775 if volume.kind == "material" else 0o2770)


def link_shared_volumes(layout: Layout, spec: CourseSpec, home: Path) -> None:
    """Where a notebook has no view of its own in which volumes stand at their mount paths, links in its home lead to
    them. What already has the name stays."""
    for volume in spec.shared_volumes:
        link = home / volume.name
        if not link.is_symlink() and not link.exists():
            link.symlink_to(layout.shared(spec.slug) / volume.name)


def _write_index(homes: Path, index: dict[str, HomeOwner]) -> None:
    content = {one: asdict(whose) for one, whose in sorted(index.items())}
    write_file(homes / INDEX, json.dumps(content, indent=1) + "\n")


def _homes_folder(layout: Layout, slug: str) -> Path:
    private_folder(layout.homes(slug).parent, 0o711)
    return private_folder(layout.homes(slug), 0o711)
