"""All tables of the portal."""

from portal.models.archives import Archive, Home
from portal.models.base import Base
from portal.models.courses import ChangeRequest, Course, Lead, Participation, Revision
from portal.models.operations import Attempt, AttemptEvent, Operation
from portal.models.people import User, WebSession
from portal.models.site import AuditEntry, CatalogueImage, Holiday, Mail, RateLimit, SiteState, TargetRecord

__all__ = [
    "Archive",
    "Attempt",
    "AttemptEvent",
    "AuditEntry",
    "Base",
    "CatalogueImage",
    "ChangeRequest",
    "Course",
    "Holiday",
    "Home",
    "Lead",
    "Mail",
    "Operation",
    "Participation",
    "RateLimit",
    "Revision",
    "SiteState",
    "TargetRecord",
    "User",
    "WebSession",
]
