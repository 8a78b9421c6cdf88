"""The loop that assigns and sweeps. Run as `python -m trainshed.server.scheduler [--lifeline FD]`.

Several may run on one database; one leads by a lease row. Everything it knows is in the ledger: it may be killed at
any moment.
"""

from __future__ import annotations

import argparse
import hashlib
import logging
import os
import signal
import socket
import time

import django

log = logging.getLogger("trainshed.scheduler")
POLL_SECONDS = 5.0
_TICK_SECONDS = 0.5


class Scheduler:
    """One scheduler process: wake, assign, submit, sweep."""

    def __init__(self, lifeline: int | None) -> None:
        from trainshed.schemas import settings
        from trainshed.server import executors
        from trainshed.server.queue import wake

        self.lease_seconds = settings.number("TRAINSHED_LEASE_SECONDS")
        self.executor = executors.from_settings(lifeline)
        self.listener = wake.listen()
        # The same after a restart: `trainshed up` holds the lock of its home, so one home has one scheduler.
        home = hashlib.sha256(str(settings.home()).encode()).hexdigest()
        self.name = f"{socket.gethostname()[:20]}-{home[:12]}"
        self.is_stopping = False
        self._last_poll = 0.0
        self._leads = False

    def run(self) -> None:
        """Until SIGTERM. The loop does not die of an error: it logs it and tries again."""
        from django.db import close_old_connections, connection

        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self.executor.recover()
        while not self.is_stopping:
            try:
                moved = self.listener.wait(_TICK_SECONDS)
                self._turn(moved)
            except Exception:
                log.exception("the scheduler's turn failed; it goes on")
                connection.close()
                time.sleep(_TICK_SECONDS)
            close_old_connections()
        self.executor.stop()
        self._report_dead()
        self._stand_down()

    def _stop(self, *_: object) -> None:
        self.is_stopping = True

    def _turn(self, moved: set[tuple[str, str]]) -> None:
        from trainshed.server.queue import ledger
        from trainshed.server.services import datasets, limits, workspaces

        self._report_dead()
        is_due = time.monotonic() - self._last_poll >= min(POLL_SECONDS, self.lease_seconds / 6)
        if is_due:
            self._last_poll = time.monotonic()
            self._leads = ledger.lead(self.name, seconds=self.lease_seconds)
        if self._leads and is_due:
            ledger.sweep(lease_seconds=self.lease_seconds)
            datasets.drop_abandoned()
            workspaces.sweep_deleted()
            limits.sweep()
        if self._leads and (moved or is_due):
            self._assign()
        self._hurry({job_id for job_id, _ in moved})

    def _assign(self) -> None:
        from trainshed.server.queue import ledger
        from trainshed.server.records.models import Slot

        for assigned in ledger.assign(lease_seconds=self.lease_seconds):
            log.info("job %s (%s) starts as attempt %d", assigned.held.job_id, assigned.kind, assigned.held.number)
            self.executor.submit(assigned)
        self.executor.keep_warm(Slot.objects.filter(attempt_id=None).count())  # type: ignore[attr-defined]

    def _hurry(self, job_ids: set[str]) -> None:
        from trainshed.server.records.models import Attempt

        asked = Attempt.objects.filter(job_id__in=job_ids, ended_at=None).filter(job__cancel_requested=True)
        asked |= Attempt.objects.filter(job_id__in=job_ids, ended_at=None, job__pause_requested=True)
        for attempt_id in asked.values_list("id", flat=True):
            self.executor.hurry(attempt_id)

    def _report_dead(self) -> None:
        from trainshed.server.queue import ledger

        for attempt_id, exit_ in self.executor.dead():
            state = ledger.lose(attempt_id, dict(exit_))
            if state:
                log.warning("attempt %s is lost (%s); its job is %s", attempt_id, exit_["words"], state)

    def _stand_down(self) -> None:
        from django.db import DatabaseError

        from trainshed.server.queue import ledger

        try:
            ledger.stand_down(self.name)
        except DatabaseError:
            log.info("the database was gone before the scheduler could stand down")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lifeline", type=int, default=None)
    options = parser.parse_args()
    os.environ["DJANGO_SETTINGS_MODULE"] = "trainshed.server.settings"
    django.setup()
    Scheduler(options.lifeline).run()


if __name__ == "__main__":
    main()
