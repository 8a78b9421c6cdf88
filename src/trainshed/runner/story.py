"""What a child tells, on its way to the server: batched, in order, through outages, the newest checkpoint first."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from trainshed.client.attempts import AttemptClient
from trainshed.errors import AttemptSuperseded, NotSignedIn, TrainshedError
from trainshed.schemas import NewEvent

log = logging.getLogger(__name__)
_BATCH = 200
_FLUSH_SECONDS = 0.2
_MOST_WAITING = 20_000


class StorySender:
    """Queues events and checkpoints and sends them from one thread, so that the work never waits for the network."""

    def __init__(self, client: AttemptClient) -> None:
        self._client = client
        self._condition = threading.Condition()
        self._events: list[NewEvent] = []
        self._checkpoint: tuple[Path, int] | None = None
        self._num_sent = 0
        self._is_busy = False
        self._is_closed = False
        self._failure: TrainshedError | None = None

    def start(self, superseded: Callable[[], None]) -> None:
        """Begin to send; `superseded` is called once if the server says that the attempt no longer counts."""
        threading.Thread(target=self._run, args=(superseded,), name="story", daemon=True).start()

    def tell(self, kind: Any, body: dict[str, Any]) -> None:
        """Queue an event. In a very long outage old log lines are dropped before anything else."""
        with self._condition:
            if len(self._events) >= _MOST_WAITING:
                oldest = next((i for i, event in enumerate(self._events) if event.kind in ("log", "progress")), 0)
                del self._events[oldest]
            self._events.append(NewEvent(kind=kind, body=body))
            self._condition.notify_all()

    def save_checkpoint(self, path: Path, step: int) -> None:
        """Queue a checkpoint file; one that is overtaken by a newer one is never sent."""
        with self._condition:
            if self._checkpoint:
                self._checkpoint[0].unlink(missing_ok=True)
            self._checkpoint = (path, step)
            self._condition.notify_all()

    def drain(self) -> None:
        """Wait until everything has arrived; raises what stopped it."""
        with self._condition:
            self._condition.wait_for(lambda: self._failure or not (self._events or self._checkpoint or self._is_busy))
            if self._failure:
                raise self._failure

    def close(self) -> None:
        with self._condition:
            self._is_closed = True
            self._condition.notify_all()

    def _run(self, superseded: Callable[[], None]) -> None:
        while True:
            with self._condition:
                self._is_busy = False
                self._condition.notify_all()
                self._condition.wait_for(lambda: self._events or self._checkpoint or self._is_closed)
                if self._is_closed:
                    return
                events, self._events = self._events[:_BATCH], self._events[_BATCH:]
                checkpoint, self._checkpoint = self._checkpoint, None
                self._is_busy = True
            try:
                self._attempt(self._send_events, events)
                self._attempt(self._send_checkpoint, checkpoint)
            except (AttemptSuperseded, NotSignedIn) as error:
                self._fail(error)
                superseded()
                return
            # The first event of a burst leaves at once; the rest of the burst leaves together.
            with self._condition:
                self._condition.wait_for(lambda: self._is_closed, timeout=0 if self._checkpoint else _FLUSH_SECONDS)

    def _fail(self, error: TrainshedError) -> None:
        with self._condition:
            self._failure = error
            self._condition.notify_all()

    def _attempt(self, send: Callable[[Any], None], part: Any) -> None:
        """Send one part; one that cannot be sent is left out, or the end would wait for it for ever."""
        try:
            send(part)
        except (AttemptSuperseded, NotSignedIn):
            raise
        except (TrainshedError, OSError, ValueError) as error:
            log.warning("a part of the story could not be told: %s", error)

    def _send_events(self, events: list[NewEvent]) -> None:
        if events:
            self._client.tell(self._num_sent, events)
            self._num_sent += len(events)

    def _send_checkpoint(self, checkpoint: tuple[Path, int] | None) -> None:
        if checkpoint:
            path, step = checkpoint
            self._client.save_checkpoint(self._client.store_file(path), step)
            path.unlink(missing_ok=True)
