"""Targets as an operator writes them: one file each, `NAME.yaml` in the folder that `JHAAS_TARGETS_DIR` names."""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from course_stack.spec import CourseSpec, Gpu, Problem, SpecError, load_spec, problems_of, read_fields
from course_stack.spec.problems import refuse
from course_stack.target import Target

TARGETS_ENV = "JHAAS_TARGETS_DIR"
"""Environment variable naming the folder of target files."""

LOCAL = "local"
"""This machine, which needs no file."""

OWN_TO_EACH_COURSE = frozenset(
    {"slug", "title", "description", "first_day", "last_day", "seats", "leads", "participants"}
)
"""Fields of a course for which a target has no default."""


_GPUS: tuple[str, ...] = get_args(Gpu.model_fields["resource"].annotation)


class TargetError(SpecError):
    """A target's file is missing or wrong. `problems` lists everything found; `source` is the file."""


class Capacity(BaseModel):
    """How much a target has for courses, beside its other uses: the portal gives out no more than that."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    memory: float = Field(ge=1, description="GiB that notebooks and hubs may be guaranteed together.")
    cpu: float = Field(ge=1, description="Processor cores, likewise.")
    storage: float = Field(ge=1, description="GiB for homes, shared volumes and hubs' databases.")
    gpus: dict[str, Annotated[int, Field(ge=0)]] = Field(
        default={},
        description="Graphics processors by the name under which the cluster offers them (nvidia.com/gpu).",
        json_schema_extra={"propertyNames": {"enum": list(_GPUS)}},
    )
    parallel_operations: int = Field(
        default=4, ge=1, le=50, description="Deploys and the like that may run at the same time."
    )

    @field_validator("gpus")
    @classmethod
    def _known(cls, gpus: dict[str, int]) -> dict[str, int]:
        if wrong := next((kind for kind in gpus if kind not in _GPUS), None):
            raise refuse("{kind} is no kind that courses know; known are {known}", kind=wrong, known=", ".join(_GPUS))
        return gpus


class TargetFile(Target):
    """A target with what the portal wants to know of it."""

    capacity: Capacity
    is_open: bool = Field(default=True, alias="open", description="Whether new courses may be asked for here.")
    defaults: dict[str, Any] = Field(
        default={},
        description="What the portal's form begins with and a course's file may leave out: image, resources, …",
    )

    @property
    def target(self) -> Target:
        """What the course stack is told."""
        return Target.model_validate({name: getattr(self, name) for name in Target.model_fields})


def folder_of_targets(home: Path) -> Path:
    """Where target files lie: `JHAAS_TARGETS_DIR`, else `targets` in the data folder `home`."""
    return Path(given) if (given := os.environ.get(TARGETS_ENV)) else home / "targets"


def target_names(folder: Path) -> list[str]:
    """Names of all targets that have a file."""
    return sorted(path.stem for path in folder.glob("*.yaml")) if folder.is_dir() else []


def find_target(name: str, folder: Path) -> TargetFile:
    """The target of this name. Raises `TargetError`, which names those that there are."""
    names = target_names(folder)
    if name in names:
        return load_target(folder / f"{name}.yaml")
    there = ", ".join([LOCAL, *names])
    nearest = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {nearest[0]}? " if nearest else ""
    text = "there is no target {name} in {folder}: {hint}there are {there}"
    raise TargetError([Problem("", text, {"name": name, "folder": folder, "hint": hint, "there": there})])


def load_target(path: Path) -> TargetFile:
    """The target of one file, whose name it bears. Raises `TargetError` with everything that is wrong."""
    try:
        content = read_fields(path)
    except SpecError as error:
        raise TargetError(error.problems, error.source) from None
    if problems := _problems_of_place(path.stem, content):
        raise TargetError(problems, str(path))
    content = {"kind": "kubernetes", **content, "name": path.stem}
    try:
        found = TargetFile.model_validate(content)
    except ValidationError as error:
        raise TargetError(problems_of(error, TargetFile), str(path)) from None
    if problems := _problems_of_defaults(found.defaults):
        raise TargetError(problems, str(path))
    return found


def _problems_of_place(name: str, content: dict[str, Any]) -> list[Problem]:
    """What would make it another target than its file says, or none of those that need a file."""
    problems = []
    if content.get("name", name) != name:
        text = "is “{given}”, but the file is called {name}.yaml: leave it out, or rename the file"
        problems.append(Problem("name", text, {"given": content["name"], "name": name}))
    if name == LOCAL or content.get("kind", "kubernetes") != "kubernetes":
        problems.append(Problem("kind", "must be kubernetes: this machine is the target local, which needs no file"))
    if "home" in content:
        problems.append(Problem("home", "belongs to this machine as a target: leave it out"))
    return problems


def _problems_of_defaults(defaults: dict[str, Any]) -> list[Problem]:
    """The defaults must make a course, together with what each course says of itself."""
    known = [name for name in CourseSpec.model_fields if name not in OWN_TO_EACH_COURSE]
    if wrong := [name for name in defaults if name not in known]:
        text = "is no field that a target can have a default for; known are {known}"
        return [Problem(f"defaults.{name}", text, {"known": ", ".join(known)}) for name in wrong]
    own = {"slug": "any-course", "title": "Any course", "seats": 1, "leads": ["lead"], "image": "any.example/image:1"}
    days = {"first_day": "2030-01-01", "last_day": "2030-01-02"}
    try:
        load_spec({**own, **days}, defaults)
    except SpecError as error:
        return _within("defaults", error.problems)
    return []


def _within(field: str, problems: Sequence[Problem]) -> list[Problem]:
    return [Problem(f"{field}.{one.field}", one.text, one.values, one.label) for one in problems]
