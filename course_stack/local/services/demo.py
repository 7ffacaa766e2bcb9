"""People to try the product with."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

from course_stack.identity.canaille import Canaille
from course_stack.local.layout import Layout
from course_stack.local.machine import credential, local_target, store_credential

_FILE = "demo-people.json"
_PEOPLE = (
    ("teacher", "teacher", "Toni", "Teacher"),
    ("governance", "governance", "Gwen", "Governance"),
    ("student", "student", "Sam", "Student"),
    ("classmate", "classmate", "Charlie", "Classmate"),
    ("stranger", "stranger", "Sascha", "Stranger"),
)


@dataclass(frozen=True, slots=True)
class DemoPerson:
    """An account at the identity provider. `subject` is what a course's list of people holds."""

    role: str
    subject: str
    login: str
    name: str
    password: str = field(repr=False)


def ensure_demo_people(layout: Layout) -> list[DemoPerson]:
    """A teacher, governance, two students and a stranger; the same ones, with the same passwords, at every start.

    The services must be up.
    """
    passwords = credential(layout, _FILE)
    for role, *_ in _PEOPLE:
        passwords.setdefault(role, secrets.token_urlsafe(9))
    store_credential(layout, _FILE, passwords)
    people = []
    with Canaille(local_target(layout).identity, credential(layout, "identity.json")) as provider:
        for role, subject, given, family in _PEOPLE:
            provider.ensure_person(subject, given, family, f"{subject}@example.org", passwords[role])
            people.append(DemoPerson(role, subject, subject, f"{given} {family}", passwords[role]))
    return people
