"""The names of everything that belongs to one course, derived from its slug alone.

Because the names are derived, every create can look for the object first and adopt what an interrupted run left behind.
"""

from __future__ import annotations

from dataclasses import dataclass

PREFIX = "jhaas-"
"""Every object of ours outside the course stack's own folder or namespace begins with this."""


@dataclass(frozen=True, slots=True)
class CourseNames:
    """Names for a slug of at most 40 characters; the longest, an S3 bucket, stays below S3's 63."""

    slug: str

    @property
    def client(self) -> str:
        """Name of the OIDC client at the identity provider."""
        return f"{PREFIX}{self.slug}"

    @property
    def group(self) -> str:
        """Group of everybody in the course, leads included: who may sign in to the hub."""
        return f"{PREFIX}{self.slug}"

    @property
    def lead_group(self) -> str:
        """Group of the leads: who may open participants' servers."""
        return f"{PREFIX}{self.slug}-leads"

    @property
    def bucket(self) -> str:
        """S3 bucket of the course: prefixes `material/` and `share/`."""
        return f"{PREFIX}{self.slug}"

    @property
    def store_user(self) -> str:
        """User at the object store whose key sees the course's bucket only."""
        return f"{PREFIX}{self.slug}"

    @property
    def archive_user(self) -> str:
        """User at the object store as which Jobs write the course's archives, for as long as they run. No other
        course's user is called like it: slugs hold no `--`."""
        return f"{PREFIX}{self.slug}--archives"
