"""An Authentik that is strict: whatever is wrong with a call is found when the test is over."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.course_stack.identity.authentik_double import AuthentikDouble


@pytest.fixture
def server() -> Iterator[AuthentikDouble]:
    with AuthentikDouble() as double:
        yield double
    assert double.violations == []
