"""What each workspace uses, counted in the transaction that changes it: a counter is right at every commit.

Changes are gathered while a transaction runs and written as its last act, in one order. So whoever holds a counter's
row waits for nothing any more, no two wait for each other, and what a whole workspace shares is held for a commit only.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from django.db import connection, transaction

from trainshed.errors import QuotaExceeded
from trainshed.server.queue import sql

# The states of a job, and what it counts as in each; in a final one as nothing.
QUEUED, RUNNING, GPU_SECONDS, STORED_BYTES = "queued_jobs", "running_jobs", "gpu_seconds", "stored_bytes"
COUNTED_AS = {"blocked": QUEUED, "queued": QUEUED, "paused": QUEUED, "assigned": RUNNING, "running": RUNNING}

_RAISE = "An administrator of the installation can raise the limit."


@dataclass
class _Changes:
    """By (workspace, resource, period): the sum, and which of them ask for leave."""

    sums: dict[tuple[str, str, str], int] = field(default_factory=dict)
    asking: set[tuple[str, str, str]] = field(default_factory=set)

    def add(self, key: tuple[str, str, str], change: int, is_asked: bool) -> None:
        self.sums[key] = self.sums.get(key, 0) + change
        if is_asked:
            self.asking.add(key)


class _Open(threading.local):
    """The transactions of this thread that count, the innermost last."""

    def __init__(self) -> None:
        self.changes: list[_Changes] = []


_open = _Open()


@contextmanager
def counted() -> Iterator[None]:
    """A transaction that writes its counts as its last act; one inside another leaves them to that one.

    Raises `QuotaExceeded`, and nothing has happened, if something that was asked for goes beyond its limit. Whatever
    changes jobs more than once in one transaction opens it with this.
    """
    with transaction.atomic():
        _open.changes.append(_Changes())
        try:
            yield
        finally:
            changes = _open.changes.pop()
        for key, change in sorted(changes.sums.items()):
            is_asked = key in changes.asking
            if _open.changes:
                _open.changes[-1].add(key, change, is_asked)
            elif change:
                _write(key, change, is_asked)


def add(workspace_id: str, resource: str, change: int, *, is_asked: bool = False, period: str = "") -> None:
    """Count a change. What is asked for may be refused; what has happened is counted whatever the limit is."""
    _open.changes[-1].add((workspace_id, resource, period), change, is_asked)


def move(workspace_id: str, before: str, after: str) -> None:
    """Count a job's change of state; a new job and a new start are asked for, everything else happens."""
    left, entered = COUNTED_AS.get(before), COUNTED_AS.get(after)
    if left == entered:
        return
    if left:
        add(workspace_id, left, -1)
    if entered:
        add(workspace_id, entered, 1, is_asked=before in ("", "queued"))


def pending(workspace_id: str, resource: str) -> int:
    """What the open transactions of this thread have counted and not written yet."""
    return sum(changes.sums.get((workspace_id, resource, ""), 0) for changes in _open.changes)


def month(seconds: float) -> str:
    """The month (UTC) of a moment of the database's clock, such as `2026-11`."""
    return time.strftime("%Y-%m", time.gmtime(seconds))


def _write(key: tuple[str, str, str], change: int, is_asked: bool) -> None:
    workspace_id, resource, period = key
    named = {"workspace": workspace_id, "resource": resource, "change": change}
    with connection.cursor() as cursor:
        if not (is_asked and change > 0):
            cursor.execute(sql.COUNT, {**named, "first": max(change, 0), "period": period})
            return
        cursor.execute(sql.TAKE, named)
        if cursor.fetchone() is None:
            cursor.execute(sql.USE, named)
            used, most = cursor.fetchone()
            raise refusal(resource, used, most, change)


def refusal(resource: str, used: int, most: int, change: int) -> QuotaExceeded:
    """What is told to whoever asked for more than there is."""
    if resource == STORED_BYTES:
        return QuotaExceeded(
            f"These {change:,} bytes do not fit: the workspace stores {used:,} of at most {most:,} bytes.", hint=_RAISE
        )
    how = "wait" if resource == QUEUED else "run at once"
    return QuotaExceeded(
        f"The workspace is at its limit: {used:,} of at most {most:,} jobs {how}.",
        hint=f"Wait until some have ended, or cancel some. {_RAISE}",
    )
