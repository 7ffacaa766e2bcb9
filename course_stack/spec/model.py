"""`CourseSpec`: what the course stack knows of a course, and every bound on it."""

from __future__ import annotations

import datetime as dt
import hashlib
import itertools
import json
import re
import unicodedata
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from course_stack.spec.fields import (
    Branch,
    Command,
    Day,
    Folder,
    GitUrl,
    Image,
    Line,
    Lines,
    MountPath,
    Number,
    Slug,
    Subject,
    TaintKey,
    TaintValue,
    UrlPath,
    VariableName,
    VariableValue,
    VolumeName,
    Whole,
)
from course_stack.spec.problems import Problem, refuse

MAX_DAYS = 366
"""Length of a course, first and last day included."""
MAX_DAYS_AHEAD = 2 * 366
"""How far ahead of today a course may be asked for."""
MAX_SEATS = 1000
MAX_ENVIRONMENT = 32_000
"""Characters of all variables together; a process gets its environment through a buffer of limited size."""


class _Part(BaseModel):
    # Inputs are kept out of pydantic's own error text: an address may hold a password.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, validate_default=True)


class Resources(_Part):
    """What one running notebook gets: the guarantee is kept free for it, the limit is the most it can use."""

    memory_guarantee: Number = Field(
        title="memory per person, guarantee",
        description="Memory that is kept free for each running notebook.",
        ge=0.0625,
        le=64,
        json_schema_extra={"unit": "GiB"},
    )
    memory_limit: Number = Field(
        title="memory per person, limit",
        description="Memory that a notebook can use at most; a program that asks for more is ended.",
        ge=0.25,
        le=64,
        json_schema_extra={"unit": "GiB"},
    )
    cpu_guarantee: Number = Field(
        title="processor cores per person, guarantee",
        description="Share of processor cores that is kept free for each running notebook.",
        ge=0.01,
        le=32,
        json_schema_extra={"unit": "cores"},
    )
    cpu_limit: Number = Field(
        title="processor cores per person, limit",
        description="Processor cores that a notebook can use at most; a program that wants more becomes slower.",
        ge=0.1,
        le=32,
        json_schema_extra={"unit": "cores"},
    )

    @field_validator("memory_limit", "cpu_limit")
    @classmethod
    def _at_least_the_guarantee(cls, limit: float, info: ValidationInfo) -> float:
        guarantee = info.data.get(str(info.field_name).replace("limit", "guarantee"))
        if guarantee is not None and guarantee > limit:
            raise refuse(
                "{limit:g} is less than the guarantee of {guarantee:g}; the limit is at least the guarantee",
                limit=limit,
                guarantee=guarantee,
            )
        return limit


class Toleration(_Part):
    """Lets a notebook run on nodes that carry this taint. The standing default is NVIDIA's own taint on GPU nodes."""

    key: TaintKey = Field(
        default="nvidia.com/gpu",
        title="key of the taint",
        description="Key of the taint.",
    )
    operator: Literal["Exists", "Equal"] = Field(
        default="Exists",
        title="operator of the taint",
        description="Exists takes every value of the taint; Equal one value.",
    )
    value: TaintValue = Field(
        default="",
        title="value of the taint",
        description="The taint's value, for Equal.",
    )
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] = Field(
        default="NoSchedule", title="effect of the taint", description="Effect of the taint."
    )

    @field_validator("value")
    @classmethod
    def _only_for_equal(cls, value: str, info: ValidationInfo) -> str:
        if value and info.data.get("operator") == "Exists":
            raise refuse("belongs to the operator Equal; with Exists leave it out")
        return value


class Gpu(_Part):
    """Graphics processors of one notebook."""

    count: Whole = Field(title="number of GPUs", description="GPUs for each notebook of this profile.", ge=1, le=8)
    resource: Literal["nvidia.com/gpu", "amd.com/gpu", "gpu.intel.com/i915", "gpu.intel.com/xe"] = Field(
        default="nvidia.com/gpu",
        title="kind of GPU",
        description="Name under which the cluster's device plugin offers them.",
    )
    toleration: Toleration = Field(
        default=Toleration(),
        title="taint of the GPU nodes",
        description="Taint of the GPU nodes that these notebooks may run on.",
    )


class Profile(_Part):
    """One choice on the page where a person starts the notebook."""

    name: Line = Field(title="name", description="What people see and choose.", max_length=60)
    description: Lines = Field(default="", title="description", description="One or two sentences.", max_length=500)
    default: bool = Field(
        default=False, title="default", description="Chosen beforehand; without any, the first profile is."
    )
    image: Image | None = Field(default=None, title="image", description="Container image; without it, the course's.")
    resources: Resources | None = Field(
        default=None, title="resources", description="Sizes of these notebooks; without it, the course's."
    )
    gpu: Gpu | None = Field(
        default=None, title="graphics processors", description="Graphics processors, where the profile has any."
    )

    @property
    def key(self) -> str:
        """The name as it stands in addresses and in the hub's database: small ASCII letters, digits and hyphens."""
        return _key(self.name)


class GitRepository(_Part):
    """A public repository whose files are copied into each home, and brought up to date at each start."""

    url: GitUrl = Field(title="address", description="https:// address of a repository that anybody may read.")
    branch: Branch | None = Field(
        default=None, title="branch", description="Branch or tag; without it, the repository's default branch."
    )
    folder: Folder | None = Field(
        default=None, title="folder", description="Folder in the home directory; without it, the repository's name."
    )

    @field_validator("folder")
    @classmethod
    def _named(cls, folder: str | None, info: ValidationInfo) -> str | None:
        url = info.data.get("url")
        if folder is None and url and not re.fullmatch(r"\w[\w.+-]*", _repository_name(url)):
            raise refuse("is needed: the repository's own name is no name for a folder")
        return folder

    @property
    def target(self) -> str:
        """Folder in the home directory that holds the files."""
        return self.folder or _repository_name(self.url)


class SharedVolume(_Part):
    """A folder that everybody in the course sees."""

    name: VolumeName = Field(title="name", description="Short name: small letters, digits and hyphens.")
    kind: Literal["material", "share"] = Field(
        title="kind", description="material: leads write, participants read. share: everybody reads and writes."
    )
    mount_path: MountPath = Field(title="mount path", description="Where notebooks find it, for example /mnt/material.")
    size: Number = Field(
        title="size", description="Space on disk.", ge=0.25, le=2000, json_schema_extra={"unit": "GiB"}
    )


class Culling(_Part):
    """When notebooks are stopped by themselves. Files stay."""

    idle_minutes: Whole = Field(
        default=60,
        title="minutes without activity",
        description="A notebook that nobody used for so long is stopped.",
        ge=10,
        le=7 * 24 * 60,
        json_schema_extra={"unit": "minutes"},
    )
    max_age_hours: Annotated[Whole, Field(ge=1, le=14 * 24)] | None = Field(
        default=None,
        title="hours at most",
        description="A notebook that has run for so long is stopped even while it is used; none: never.",
        json_schema_extra={"unit": "hours"},
    )

    @field_validator("max_age_hours")
    @classmethod
    def _not_before_idle(cls, hours: int | None, info: ValidationInfo) -> int | None:
        idle = info.data.get("idle_minutes")
        if hours is not None and idle is not None and hours * 60 < idle:
            raise refuse("{hours} hours are less than the {idle} minutes without activity", hours=hours, idle=idle)
        return hours


class Spawning(_Part):
    """How many notebooks run and start at the same time."""

    active_servers: Annotated[Whole, Field(ge=1, le=MAX_SEATS)] | None = Field(
        default=None,
        title="notebooks at the same time",
        description="Notebooks that run at the same time at most; none: one for each seat and lead.",
    )
    concurrent: Whole = Field(
        default=32,
        title="notebooks starting at once",
        description="Further people wait a moment and are let in one after the other.",
        ge=1,
        le=200,
    )


class CourseDesign(_Part):
    """What a course shall be, whoever is in it: a spec without people."""

    slug: Slug = Field(
        title="short name",
        description="Name of the course in its address: small letters, digits and hyphens. It cannot be changed later.",
        json_schema_extra={"pattern": "^[a-z]([a-z0-9-]*[a-z0-9])?$"},
    )
    title: Line = Field(title="title", description="Name of the course as people know it.", max_length=100)
    description: Lines = Field(
        default="", title="description", description="A few sentences for the course's page.", max_length=2000
    )
    first_day: Day = Field(title="first day", description="Participants get in from the beginning of this day.")
    last_day: Day = Field(title="last day", description="Participants get in until the end of this day.")
    seats: Whole = Field(
        title="number of participants", description="Participants at most; leads do not count.", ge=1, le=MAX_SEATS
    )
    image: Image = Field(
        title="image",
        description="Container image of the notebooks with a fixed tag or digest, for example "
        "quay.io/jupyter/scipy-notebook:2026-10-05.",
    )
    resources: Resources = Field(
        default=Resources(memory_guarantee=0.5, memory_limit=1, cpu_guarantee=0.1, cpu_limit=1),
        title="resources",
        description="Memory and processor cores for each notebook.",
    )
    home_size: Number = Field(
        default=2,
        title="home directory per person",
        description="Space on disk for each person's own files.",
        ge=0.25,
        le=100,
        json_schema_extra={"unit": "GiB"},
    )
    profiles: tuple[Profile, ...] = Field(
        default=(),
        title="profiles",
        description="Choices at the start of a notebook; none: everybody gets the course's image and resources.",
        max_length=20,
    )
    default_url: UrlPath = Field(
        default="/lab", title="start page", description="What opens first, for example /lab/tree/intro.ipynb."
    )
    environment: dict[VariableName, VariableValue] = Field(
        default={},
        title="environment variables",
        description="Variables of every notebook. Everybody in the course can read them: no passwords.",
        max_length=64,
    )
    git_repositories: tuple[GitRepository, ...] = Field(
        default=(), title="git repositories", description="Copied into each home directory.", max_length=10
    )
    start_commands: tuple[Command, ...] = Field(
        default=(),
        title="start-up commands",
        description="Shell commands run in order as the person, before the notebook opens.",
        max_length=20,
    )
    culling: Culling = Field(
        default=Culling(), title="stopping of idle notebooks", description="When notebooks are stopped by themselves."
    )
    shared_volumes: tuple[SharedVolume, ...] = Field(
        default=(), title="shared volumes", description="Folders that everybody in the course sees.", max_length=8
    )
    spawning: Spawning = Field(
        default=Spawning(), title="start limits", description="Keeps a full room from overloading the target."
    )

    @field_validator("last_day")
    @classmethod
    def _dates(cls, last: dt.date, info: ValidationInfo) -> dt.date:
        first = info.data.get("first_day")
        if first is not None:
            if last < first:
                raise refuse("{last} is before the first day, {first}", last=str(last), first=str(first))
            if (days := (last - first).days + 1) > MAX_DAYS:
                raise refuse("the course is {days} days long; at most {most}", days=days, most=MAX_DAYS)
        return last

    @field_validator("profiles")
    @classmethod
    def _distinct_profiles(cls, profiles: tuple[Profile, ...]) -> tuple[Profile, ...]:
        for profile in profiles:
            if not profile.key:
                raise refuse("the name {name} has no letter a to z and no digit; add one", name=profile.name)
        if name := _first_double(profile.key for profile in profiles):
            raise refuse("two are named {name}, or too much alike; each needs a name of its own", name=name)
        if sum(profile.default for profile in profiles) > 1:
            raise refuse("more than one is marked as default; mark one")
        return profiles

    @field_validator("environment")
    @classmethod
    def _environment_fits(cls, environment: dict[str, str]) -> dict[str, str]:
        if (length := sum(len(name) + len(value) for name, value in environment.items())) > MAX_ENVIRONMENT:
            raise refuse("is {length} characters long together; at most {most}", length=length, most=MAX_ENVIRONMENT)
        return environment

    @field_validator("git_repositories")
    @classmethod
    def _distinct_folders(cls, repositories: tuple[GitRepository, ...]) -> tuple[GitRepository, ...]:
        if pair := _first_overlap(repository.target for repository in repositories):
            raise refuse(
                "the folders {one} and {other} are in each other's way; name others", one=pair[0], other=pair[1]
            )
        return repositories

    @field_validator("shared_volumes")
    @classmethod
    def _distinct_volumes(cls, volumes: tuple[SharedVolume, ...]) -> tuple[SharedVolume, ...]:
        if name := _first_double(volume.name for volume in volumes):
            raise refuse("two are named {name}; each needs a name of its own", name=name)
        if pair := _first_overlap(volume.mount_path for volume in volumes):
            raise refuse("the mount paths {one} and {other} are in each other's way", one=pair[0], other=pair[1])
        return volumes

    @property
    def default_profile(self) -> Profile | None:
        """The profile that is chosen beforehand: the one marked, else the first; None where there are none."""
        return next(
            (profile for profile in self.profiles if profile.default), self.profiles[0] if self.profiles else None
        )

    @property
    def images(self) -> tuple[str, ...]:
        """All images that notebooks may run, each once."""
        return tuple(dict.fromkeys([self.image, *(one.image for one in self.profiles if one.image)]))


class CourseSpec(CourseDesign):
    """The technical part of a course. Immutable; a valid one can be deployed on every target that has the room."""

    model_config = ConfigDict(
        title="Course", json_schema_extra={"$schema": "https://json-schema.org/draft/2020-12/schema"}
    )

    leads: tuple[Subject, ...] = Field(
        title="leads",
        description="Teachers, by their subject at the identity provider. Kept in alphabetical order.",
        min_length=1,
        max_length=20,
    )
    participants: tuple[Subject, ...] = Field(
        default=(),
        title="participants",
        description="Students who were let in, by their subject at the identity provider. Kept in alphabetical order.",
        max_length=MAX_SEATS,
    )

    @field_validator("leads", "participants")
    @classmethod
    def _each_once(cls, subjects: tuple[str, ...]) -> tuple[str, ...]:
        # The hub writes user names in small letters: two subjects that differ in nothing else would be one user.
        if subject := _first_double(subject.lower() for subject in subjects):
            raise refuse("{subject} is named twice", subject=subject)
        return tuple(sorted(subjects))

    @field_validator("participants")
    @classmethod
    def _fit(cls, participants: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        seats = info.data.get("seats")
        if seats is not None and len(participants) > seats:
            raise refuse(
                "{count} are named, more than the number of participants (seats), {seats}",
                count=len(participants),
                seats=seats,
            )
        leads = {lead.lower() for lead in info.data.get("leads", ())}
        if both := next((subject for subject in participants if subject.lower() in leads), None):
            raise refuse("{subject} is a lead already; name each person once", subject=both)
        return participants

    @property
    def people(self) -> frozenset[str]:
        """Subjects of everybody in the course, leads included."""
        return frozenset(self.leads + self.participants)

    @property
    def active_servers(self) -> int:
        """Notebooks that run at the same time at most. Never 0, which the hub takes for no limit."""
        everybody = self.seats + len(self.leads)
        return min(self.spawning.active_servers or everybody, everybody)

    def digest(self) -> str:
        """The revision: SHA-256 (hex) over the spec's JSON with sorted keys. Equal specs, and only they, share it."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()


def request_problems(spec: CourseDesign, today: dt.date) -> list[Problem]:
    """What keeps a valid spec from being asked for today: it lies in the past, or too far ahead.

    Only for new requests; a course that runs has begun. `today` is the day in the site's time zone.
    """
    problems = []
    if spec.last_day < today:
        problems.append(_problem("last_day", "{day} is over", day=str(spec.last_day)))
    elif spec.first_day < today:
        problems.append(
            _problem("first_day", "{day} is in the past; today is {today}", day=str(spec.first_day), today=str(today))
        )
    if (spec.first_day - today).days > MAX_DAYS_AHEAD:
        problems.append(
            _problem(
                "first_day", "{day} is too far ahead; at most {most} days", day=str(spec.first_day), most=MAX_DAYS_AHEAD
            )
        )
    return problems


def no_shared_volumes(target: str) -> Problem:
    """Why a course with shared volumes cannot run on this target."""
    return _problem(
        "shared_volumes",
        "{target} has no disks that many notebooks can use at once; leave them out, or hand files out by git",
        target=target,
    )


def _problem(field: str, text: str, **values: Any) -> Problem:
    return Problem(field, text, values, label=CourseSpec.model_fields[field].title or "")


def _key(name: str) -> str:
    ascii_name = unicodedata.normalize("NFKD", name.casefold()).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", ascii_name).strip("-")


def _repository_name(url: str) -> str:
    return url.rsplit("/", 1)[1].removesuffix(".git")


def _first_double(names: Iterable[str]) -> str | None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None


def _first_overlap(paths: Iterable[str]) -> tuple[str, str] | None:
    """The first two paths of which one is, or lies in, the other."""
    return next(_overlaps(sorted(f"{path}/" for path in paths)), None)


def _overlaps(ordered: list[str]) -> Iterator[tuple[str, str]]:
    for one, other in itertools.pairwise(ordered):
        if other.startswith(one):
            yield one.rstrip("/"), other.rstrip("/")
