"""What the database's refusals mean to whoever asked, at every door alike."""

from __future__ import annotations

import logging

from django.db import DatabaseError, DataError, InterfaceError, OperationalError

from trainshed.errors import InvalidInput, TrainshedError, Unavailable

log = logging.getLogger(__name__)


def of_database(error: DatabaseError | InterfaceError) -> TrainshedError:
    """The error of ours that it stands for; what nobody foresaw is logged and kept inside."""
    if isinstance(error, DataError):
        return InvalidInput("The request holds a number or a text that cannot be stored.")
    if isinstance(error, OperationalError | InterfaceError):
        log.warning("the database did not answer: %s", error)
        return Unavailable("The database does not answer; try again shortly.")
    log.error("a request failed", exc_info=error)
    return TrainshedError("Something went wrong inside Trainshed.", hint="The server's log names the cause.")
