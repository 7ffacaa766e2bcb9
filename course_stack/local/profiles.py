"""The choice before a notebook starts: profiles of the course as a form, and what was chosen."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from course_stack.spec import CourseSpec, Profile, Resources

FIELD = "profile"


class UnknownProfileError(ValueError):
    """Somebody asked for a profile that the course does not have."""


def options_form(spec: CourseSpec) -> str:
    """HTML of the choice, inside the hub's own form; empty where there is nothing to choose."""
    if len(spec.profiles) < 2:
        return ""
    preset = chosen(spec, {})
    return "\n".join(_choice(profile, checked=profile is preset) for profile in spec.profiles)


def chosen(spec: CourseSpec, options: Mapping[str, Any]) -> Profile | None:
    """The profile that was asked for by key, else the preset one; None where the course has no profiles."""
    if key := options.get(FIELD):
        for profile in spec.profiles:
            if profile.key == key:
                return profile
        known = ", ".join(profile.key for profile in spec.profiles) or "none"
        raise UnknownProfileError(f"This course has no profile {str(key)[:60]!r}; it has: {known}.")
    return next((profile for profile in spec.profiles if profile.default), next(iter(spec.profiles), None))


def resources_of(spec: CourseSpec, profile: Profile | None) -> Resources:
    """What a notebook of this profile gets."""
    return profile.resources if profile and profile.resources else spec.resources


def _choice(profile: Profile, *, checked: bool) -> str:
    mark = " checked" if checked else ""
    identity = f"{FIELD}-{profile.key}"
    return (
        '<div class="form-check mb-3">'
        f'<input class="form-check-input" type="radio" name="{FIELD}" id="{identity}" value="{profile.key}"{mark}>'
        f'<label class="form-check-label" for="{identity}"><strong>{escape(profile.name)}</strong><br>'
        f"{escape(profile.description)}</label></div>"
    )
