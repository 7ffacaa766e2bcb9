"""The kinds of operations: which one goes before which, when each makes sense, and how long one may take."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum

from portal.lifecycle import Status
from portal.texts import N_


class Kind(StrEnum):
    """What an operation does."""

    DEPLOY = "deploy"
    UPDATE = "update"
    CHECK = "check"
    CLOSE = "close"
    ARCHIVE = "archive"
    DESTROY = "destroy"
    REFRESH = "refresh"
    PURGE = "purge"


KIND_NAMES: dict[Kind, str] = {
    Kind.DEPLOY: N_("set up"),
    Kind.UPDATE: N_("change"),
    Kind.CHECK: N_("check"),
    Kind.CLOSE: N_("close"),
    Kind.ARCHIVE: N_("archive homes"),
    Kind.DESTROY: N_("remove"),
    Kind.REFRESH: N_("compare"),
    Kind.PURGE: N_("delete archives"),
}
"""How people read them (message ids)."""

RANK: dict[Kind, int] = {
    Kind.DESTROY: 6,
    Kind.CLOSE: 5,
    Kind.ARCHIVE: 4,
    Kind.UPDATE: 3,
    Kind.DEPLOY: 3,
    Kind.CHECK: 2,
    Kind.REFRESH: 1,
    Kind.PURGE: 0,
}
"""Precedence: a higher one supersedes, or stops, a lower one."""

FITS: dict[Status, frozenset[Kind]] = {
    Status.DEPLOYING: frozenset({Kind.DEPLOY, Kind.CHECK}),
    Status.ACTIVE: frozenset({Kind.UPDATE, Kind.CHECK, Kind.REFRESH}),
    Status.CLOSING: frozenset({Kind.CLOSE}),
    Status.CLOSED: frozenset({Kind.ARCHIVE}),
    Status.REMOVING: frozenset({Kind.DESTROY}),
    Status.ARCHIVED: frozenset({Kind.PURGE}),
}
"""Kinds that make sense in a status. Whatever else is live is stopped: the archive of an extended course, say."""

OF_A_CLOSING = frozenset({Kind.CLOSE, Kind.ARCHIVE, Kind.DESTROY})
"""Kinds that belong to one closing of the course."""

ENGINE = frozenset({Kind.DEPLOY, Kind.UPDATE, Kind.DESTROY, Kind.REFRESH})
"""Kinds that weigh on a target: no more than its `parallel_operations` run at once."""

COPYING = frozenset({Kind.ARCHIVE, Kind.PURGE})
"""Kinds that may take hours: as many again, so that homes that are copied keep no course from starting. Checks and
closings are quick, and are not counted."""

DEADLINE: dict[Kind, timedelta] = {
    Kind.DEPLOY: timedelta(minutes=50),
    Kind.UPDATE: timedelta(minutes=50),
    Kind.CHECK: timedelta(minutes=20),
    Kind.CLOSE: timedelta(minutes=30),
    Kind.ARCHIVE: timedelta(hours=12),
    Kind.DESTROY: timedelta(hours=2),
    Kind.REFRESH: timedelta(minutes=15),
    Kind.PURGE: timedelta(hours=2),
}
"""How long one attempt may take. Longer than the engine's own deadline (`automation.job.Timing`, 30 minutes)
where the engine works, so that it ends in its own order first; images may take a quarter of an hour beside it."""

TIME_TO_STOP = timedelta(seconds=90)
"""How long an attempt that was asked to stop is waited for."""
