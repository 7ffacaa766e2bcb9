"""The program of a Job that archives homes: the modules that it needs, as one zip file that Python runs."""

from __future__ import annotations

import io
import zipfile
from functools import cache
from pathlib import Path

import portal

MODULES = (
    "course_stack/__init__.py",
    "course_stack/hub_files/__init__.py",
    "course_stack/hub_files/trust.py",
    "course_stack/object_store/__init__.py",
    "course_stack/object_store/s3.py",
    "portal/__init__.py",
    "portal/archives/__init__.py",
    "portal/archives/copy.py",
    "portal/archives/pack.py",
    "portal/archives/pod.py",
    "portal/archives/store.py",
    "portal/archives/walk.py",
)
_MAIN = """\
import sys
from pathlib import Path

from portal.archives.pod import main

sys.exit(main(*map(Path, sys.argv[1:])))
"""
_DATE = (1980, 1, 1, 0, 0, 0)
"""The same program is the same file."""


@cache
def program() -> bytes:
    """The zip file; some 20 KB."""
    root = Path(portal.__file__).parents[1]
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in MODULES:
            archive.writestr(zipfile.ZipInfo(name, _DATE), (root / name).read_bytes(), zipfile.ZIP_DEFLATED)
        archive.writestr(zipfile.ZipInfo("__main__.py", _DATE), _MAIN)
    return content.getvalue()
