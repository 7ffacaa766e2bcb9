"""What views are given."""

from __future__ import annotations

from dataclasses import dataclass

from flask import current_app
from sqlalchemy import Engine

from portal.clock import SiteClock
from portal.config import PortalSettings
from portal.db import Sessions
from portal.identity.oidc import Provider
from portal.sealing import Sealer


@dataclass(frozen=True, slots=True)
class Portal:
    """The parts that one application is made of."""

    settings: PortalSettings
    clock: SiteClock
    sessions: Sessions
    engine: Engine
    sealer: Sealer
    provider: Provider


def portal() -> Portal:
    """The parts of the application that answers this request."""
    parts: Portal = current_app.extensions["jhaas"]
    return parts
