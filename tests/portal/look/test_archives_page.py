"""What became of a course's files, as leads and governance read it."""

from __future__ import annotations

import pytest

from portal.db import Sessions, transaction
from tests.portal.client import PortalClient
from tests.portal.clock import MovableClock
from tests.portal.look.sample import Sample, fill


@pytest.fixture
def sample(session_factory: Sessions, clock: MovableClock) -> Sample:
    with transaction(session_factory) as session:
        return fill(session, clock)


@pytest.mark.parametrize(
    ("language", "cause"),
    [
        ("en", "Something in the home cannot be read."),
        ("de", "Etwas im persönlichen Ordner kann nicht gelesen werden."),
    ],
)
def test_why_a_home_has_no_archive_is_told_in_the_readers_language_with_what_was_said_beneath(
    client: PortalClient, sample: Sample, language: str, cause: str
) -> None:
    client.sign_in(sample.teacher)
    address = f"/courses/{sample.courses['summer-school'].id}/archives"
    page = client.get(address, headers={"Accept-Language": language}).text
    assert page.count(cause) == 1
    assert '<span lang="en">&#39;disk&#39; cannot be read: Input/output error.</span>' in page
