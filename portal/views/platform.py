"""The platform page for governance."""

from __future__ import annotations

from flask import Blueprint, g, render_template

from portal import platform
from portal.web.access import governance_only
from portal.web.context import portal
from portal.worker.inventory import FINDINGS

blueprint = Blueprint("platform", __name__, url_prefix="/platform")
governance_only(blueprint)


@blueprint.get("/")
def show() -> str:
    """Queue, workers, failures, drift, and what should not exist or is missing."""
    return render_template(
        "platform/show.html", overview=platform.overview(g.session, portal().clock), finding_texts=FINDINGS
    )
