"""Where attempts run. An executor submits, cancels and recovers; it knows no job kind's domain."""

from __future__ import annotations

from typing import Protocol

from trainshed.errors import StartRefused
from trainshed.schemas import settings
from trainshed.server.queue.ledger import Assigned


class Executor(Protocol):
    """The hands of the ledger on the hosts that it serves."""

    def submit(self, assigned: Assigned) -> None:
        """Start the attempt; returns before it has ended."""

    def hurry(self, attempt_id: str) -> None:
        """Hint that something was asked of this attempt (a cancel, a pause), so that it looks at once."""

    def recover(self) -> None:
        """After a restart: take up the attempts that an earlier scheduler started."""

    def dead(self) -> list[tuple[str, dict[str, object]]]:
        """Attempts whose guard has gone since the last call, with how it went."""

    def stop(self) -> None:
        """Ask every attempt to save and stop; returns when all have ended."""


def from_settings(lifeline: int | None) -> Executor:
    """The executor that TRAINSHED_ENGINE names."""
    engine = settings.text("TRAINSHED_ENGINE")
    if engine == "process://":
        from trainshed.server.executors.process import ProcessExecutor

        return ProcessExecutor(lifeline=lifeline)
    raise StartRefused(f"TRAINSHED_ENGINE is {engine!r}; this release knows `process://`.")
