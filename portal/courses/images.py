"""The catalogue of notebook images that governance keeps and teachers choose from."""

from __future__ import annotations

import uuid
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from course_stack.spec import Problem
from course_stack.spec.fields import Image, Line, Lines, UrlPath, Whole
from portal import audit
from portal.actor import Actor
from portal.clock import SiteClock
from portal.courses import people
from portal.courses.problems import Invalid
from portal.models import CatalogueImage
from portal.texts import N_


class ImageEntry(BaseModel):
    """One image of the catalogue, as it is typed."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    title: Line = Field(title="title", description=N_("What teachers choose by."), max_length=100)
    description: Lines = Field(
        default="", title="description", description=N_("What is in it, and for whom."), max_length=1000
    )
    reference: Image = Field(
        title="image", description=N_("With a fixed tag or digest, so that a course stays what it was.")
    )
    default_url: UrlPath = Field(default="/lab", title="start page", description=N_("What opens first."))
    position: Whole = Field(
        default=0, title=N_("place in the list"), description=N_("Small numbers come first."), ge=0, le=9999
    )
    is_offered: bool = Field(
        default=True, title=N_("offered"), description=N_("Whether it can be chosen for new courses.")
    )


def offered(session: Session) -> list[CatalogueImage]:
    """What teachers choose from, in the catalogue's order."""
    return list(session.scalars(_ordered().where(CatalogueImage.is_offered)))


def catalogue(session: Session) -> list[CatalogueImage]:
    """All of them."""
    return list(session.scalars(_ordered()))


def add_image(session: Session, clock: SiteClock, actor: Actor, entry: ImageEntry) -> CatalogueImage:
    """A new image. Raises `Refused` for others than governance, `Invalid` for one that is there already."""
    people.ensure_governance(actor)
    image = CatalogueImage(id=uuid.uuid4(), **entry.model_dump())
    _store(session, image)
    audit.record(session, clock, actor, "image.add", subject=image.id, after=entry.model_dump())
    return image


def change_image(
    session: Session, clock: SiteClock, actor: Actor, image_id: uuid.UUID, entry: ImageEntry
) -> CatalogueImage:
    """Other facts for an image. Courses that use it keep what they have. Raises as `add_image`, and `LookupError`."""
    people.ensure_governance(actor)
    image = session.get(CatalogueImage, image_id, with_for_update=True, populate_existing=True)
    if image is None:
        raise LookupError(f"no image {image_id}")
    before, after = as_entry(image).model_dump(), entry.model_dump()
    for field, value in after.items():
        setattr(image, field, value)
    _store(session, image)
    audit.record(session, clock, actor, "image.change", subject=image.id, before=before, after=after)
    return image


def as_entry(image: CatalogueImage) -> ImageEntry:
    """The row as its form holds it."""
    facts: dict[str, Any] = {field: getattr(image, field) for field in ImageEntry.model_fields}
    return ImageEntry.model_validate(facts)


def _ordered() -> Any:
    return select(CatalogueImage).order_by(CatalogueImage.position, CatalogueImage.title, CatalogueImage.id)


def _store(session: Session, image: CatalogueImage) -> None:
    try:
        with session.begin_nested():
            session.add(image)
            session.flush()
    except IntegrityError as error:
        if "uq_catalogue_images_reference" not in str(error.orig):
            raise
        raise Invalid([Problem("reference", N_("is in the catalogue already"), {}, "image")]) from None
