"""One database session a request: reads open it, and only `transaction` writes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from flask import Flask, g
from sqlalchemy.orm import Session

from portal.web.context import portal


def set_up(app: Flask) -> None:
    """Give each request `flask.g.session`. It connects when it is first used, and keeps nothing."""

    @app.before_request
    def begin() -> None:
        g.session = portal().sessions()

    @app.teardown_request
    def end(_: BaseException | None) -> None:
        if (session := g.pop("session", None)) is not None:
            session.close()


@contextmanager
def transaction() -> Iterator[Session]:
    """The request's session in a transaction: committed at the end, rolled back if anything is raised.

    What was read before stays readable; a use case that decides by it locks and reads it again.
    """
    session: Session = g.session
    if session.new or session.dirty or session.deleted:
        raise RuntimeError("something was changed before the transaction began")
    session.commit()  # ends the reads; nothing was written
    with session.begin():
        yield session


def release() -> None:
    """Give the connection back before a long answer, such as a stream of events. Later reads take another one."""
    session: Session = g.session
    session.commit()
