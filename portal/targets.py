"""Targets' files in the portal's database: what operators wrote there, workers and pages read here."""

from __future__ import annotations

from typing import Any, Literal

from sqlalchemy.orm import Session

from course_stack.sizes import mib, millicores
from course_stack.targets import TargetFile
from portal.models import TargetRecord

Change = Literal["new", "changed", "as it was"]


def take_over(session: Session, file: TargetFile) -> Change:
    """Bring the target's row to what its file says.

    The row is locked, as approvals lock it: capacity does not change under a decision. A target whose file is gone
    stays: courses may be there.
    """
    wanted = columns(file)
    record = session.get(TargetRecord, file.name, with_for_update=True)
    if record is None:
        session.add(TargetRecord(name=file.name, **wanted))
        return "new"
    if all(getattr(record, name) == value for name, value in wanted.items()):
        return "as it was"
    for name, value in wanted.items():
        setattr(record, name, value)
    return "changed"


def columns(file: TargetFile) -> dict[str, Any]:
    """The row's columns beside the name."""
    capacity = file.capacity
    return {
        "target": file.target.model_dump(mode="json"),
        "memory_mib": mib(capacity.memory),
        "cpu_millicores": millicores(capacity.cpu),
        "storage_mib": mib(capacity.storage),
        "gpus": dict(capacity.gpus),
        "parallel_operations": capacity.parallel_operations,
        "is_open": file.is_open,
        "defaults": file.defaults,
    }
