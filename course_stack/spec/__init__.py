"""The contract between whoever asks for a course and the course stack: one `CourseSpec`, checked once, here."""

from course_stack.spec.image import ImageReference
from course_stack.spec.load import json_schema, load_spec, read_fields
from course_stack.spec.model import (
    CourseDesign,
    CourseSpec,
    Culling,
    GitRepository,
    Gpu,
    Profile,
    Resources,
    SharedVolume,
    Spawning,
    Toleration,
    no_shared_volumes,
    request_problems,
)
from course_stack.spec.problems import Problem, SpecError, problems_of

__all__ = [
    "CourseDesign",
    "CourseSpec",
    "Culling",
    "GitRepository",
    "Gpu",
    "ImageReference",
    "Problem",
    "Profile",
    "Resources",
    "SharedVolume",
    "Spawning",
    "SpecError",
    "Toleration",
    "json_schema",
    "load_spec",
    "no_shared_volumes",
    "problems_of",
    "read_fields",
    "request_problems",
]
