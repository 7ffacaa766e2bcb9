"""The catalogue that governance keeps."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from pydantic import ValidationError

from portal.courses.images import ImageEntry, add_image, as_entry, catalogue, change_image, offered
from portal.courses.problems import Invalid, Refused
from tests.portal.courses.conftest import Site


def entry(**changes: Any) -> ImageEntry:
    facts = {"title": "R", "reference": "quay.io/jupyter/r-notebook:2026-10-05", "default_url": "/rstudio"}
    return ImageEntry.model_validate({**facts, **changes})


def test_governance_keeps_the_catalogue(site: Site) -> None:
    gina = site.actor("gina")
    second = site.do(add_image, site.clock, gina, entry(position=2))
    first = site.do(add_image, site.clock, gina, entry(reference="quay.io/jupyter/base-notebook:1", position=1))
    assert [image.id for image in offered(site.session)] == [first.id, second.id]
    site.session.rollback()
    site.do(change_image, site.clock, gina, second.id, entry(position=2, is_offered=False))
    assert [image.id for image in offered(site.session)] == [first.id]
    assert [image.id for image in catalogue(site.session)] == [first.id, second.id]
    [changed] = site.audit("image.change")
    assert changed.before and changed.after
    assert (changed.before["is_offered"], changed.after["is_offered"]) == (True, False)


def test_an_image_is_in_the_catalogue_once(site: Site) -> None:
    gina = site.actor("gina")
    site.do(add_image, site.clock, gina, entry())
    other = site.do(add_image, site.clock, gina, entry(reference="quay.io/jupyter/base-notebook:1"))
    for deed in (
        lambda: site.do(add_image, site.clock, gina, entry(title="The same")),
        lambda: site.do(change_image, site.clock, gina, other.id, entry()),
    ):
        with pytest.raises(Invalid) as caught:
            deed()
        assert [problem.field for problem in caught.value.problems] == ["reference"]
    assert as_entry(other).title == "R"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("title", " "),
        ("reference", "docker.io/jupyter/x"),
        ("reference", "docker.io/jupyter/x:latest"),
        ("default_url", "//x"),
        ("position", -1),
        ("other", 1),
    ],
)
def test_an_entry_has_bounds(field: str, value: object) -> None:
    with pytest.raises(ValidationError):
        entry(**{field: value})


@pytest.mark.parametrize("login", ["teacher", "student"])
def test_only_governance_writes_the_catalogue(site: Site, login: str) -> None:
    with pytest.raises(Refused):
        site.do(add_image, site.clock, site.actor(login), entry())
    with pytest.raises(Refused):
        site.do(change_image, site.clock, site.actor(login), uuid.uuid4(), entry())


def test_an_unknown_image_is_not_found(site: Site) -> None:
    with pytest.raises(LookupError):
        site.do(change_image, site.clock, site.actor("gina"), uuid.uuid4(), entry())
