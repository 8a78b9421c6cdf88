"""What differs between SQLite and PostgreSQL in the ledger: the clock and the row locks.

The clock is the only place where the queue's time comes from, and so the only place where a test sets it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from django.db import connection


@dataclass(frozen=True)
class Dialect:
    """SQL fragments that every ledger statement is completed with."""

    now: str
    lock: str
    skip_locked: str


# A write transaction holds SQLite's only write lock from its beginning, so a row needs none of its own.
SQLITE = Dialect(now="((julianday('now') - 2440587.5) * 86400.0)", lock="", skip_locked="")
# clock_timestamp() moves inside a transaction; now() would stand still and shorten every lease.
# A lock as an update takes it: rows that only point at the locked one may still come.
POSTGRESQL = Dialect(
    now="(extract(epoch from clock_timestamp())::double precision)",
    lock="FOR NO KEY UPDATE",
    skip_locked="FOR NO KEY UPDATE SKIP LOCKED",
)

_frozen_clock: list[float] = []


def set_clock(seconds: float | None) -> None:
    """Freeze the ledger's clock at this many seconds since 1970; `None` gives it back to the database."""
    _frozen_clock[:] = [] if seconds is None else [seconds]


def current() -> Dialect:
    """The dialect of the connected database."""
    dialect = POSTGRESQL if connection.vendor == "postgresql" else SQLITE
    if _frozen_clock:
        return replace(dialect, now=f"(CAST({_frozen_clock[0]!r} AS double precision))")
    return dialect
