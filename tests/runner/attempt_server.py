"""The attempt protocol's side of the fake server: one job in memory, and switches for what may go wrong."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from trainshed.errors import AttemptSuperseded, NotFound, StateConflict, TrainshedError
from trainshed.schemas import Assignment, BlobRef, EndReport, EventBatch, NewCheckpoint, Publication, StagedImage
from trainshed.testing.fake_server import Answer, Asked, FakeServer, Fault

FOREVER = 100_000


class AttemptServer(FakeServer):
    """Holds one assignment; `events` is the story without repetitions, `batches` is what arrived.

    `refusals` maps the last part of a route to the error it answers; `losses` holds routes that do their work once
    more before the answer is lost; `gates` holds routes that wait for an event; `after` what follows the work.
    """

    def __init__(self, kind: str = "snapshot", *, lease_seconds: float = 1.5, **spec: Any) -> None:
        super().__init__()
        self._announce_requests(self._http.RequestHandlerClass)
        self.lease_seconds = lease_seconds
        self.assignment = Assignment(job_id="job0", attempt=1, kind=kind, spec=spec)  # type: ignore[arg-type]
        self.is_superseded = self.cancel_requested = self.pause_requested = False
        self.refusals: dict[str, type[TrainshedError]] = {}
        self.losses: list[str] = []
        self.gates: dict[str, threading.Event] = {}
        self.after: dict[str, Callable[[], object]] = {}
        self.events: list[dict[str, Any]] = []
        self.batches: list[tuple[int, int]] = []
        self.blobs: dict[str, bytes] = {}
        self.rows: list[dict[str, Any]] = []
        self.staged: list[StagedImage] = []
        self.saved: list[NewCheckpoint] = []
        self.published: list[Publication] = []
        self.ends: list[EndReport] = []

    def add(self, data: bytes, name: str = "") -> str:
        """Store a blob; with a name it is an input of the job."""
        sha256 = hashlib.sha256(data).hexdigest()
        self.blobs[sha256] = data
        if name:
            inputs = {**self.assignment.inputs, name: BlobRef(sha256=sha256, size_bytes=len(data))}
            self.assignment = self.assignment.model_copy(update={"inputs": inputs})
        return sha256

    @contextmanager
    def away(self, num_requests: int) -> Iterator[None]:
        """Drop every connection without a word; comes back after the block and that many requests."""
        before = len(self.asked)
        self.faults += [Fault()] * FOREVER
        yield
        self.wait_until(lambda: len(self.asked) >= before + num_requests)
        self.faults.clear()

    def count(self, route: str) -> int:
        """How often a route was asked so far."""
        return sum(asked.path.endswith(route) for asked in self.asked)

    def wait_until_asked(self, route: str) -> None:
        """Until a route was asked for the first time; it may stand at its gate."""
        self.wait_until(lambda: self.count(route) >= 1)

    def wait_for(self, kind: str, **body: Any) -> dict[str, Any]:
        """The body of the first event of this kind, as soon as it is there."""

        def found() -> list[dict[str, Any]]:
            bodies = [event["body"] for event in self.events if event["kind"] == kind]
            return [each for each in bodies if body.items() <= each.items()]

        self.wait_until(found)
        return found()[0]

    def answer(self, asked: Asked) -> Answer:
        self._authenticate(asked)
        route = "/" + asked.path.removeprefix("/api/v1/attempt/").partition("/")[0]
        if route in self.gates:
            self._announce()
            assert self.gates[route].wait(20), f"nobody opened the gate of {route}"
        if self.is_superseded:
            raise AttemptSuperseded()
        if route in self.refusals:
            raise self.refusals[route]()
        body = getattr(self, f"_{asked.method.lower()}_{route[1:]}")(asked)
        self.after.get(f"{asked.method} {route}", lambda: None)()
        if route in self.losses:
            self.losses.remove(route)
            return Answer(503)
        if isinstance(body, bytes):
            return Answer(200, body)
        return Answer(204) if body is None else Answer(200, json.dumps(body).encode())

    def _announce_requests(self, handler: Any) -> None:
        """Wake `wait_until` after every request, also after one that was dropped; and take PUT."""
        serve = handler._serve

        def serve_and_announce(request: Any) -> None:
            try:
                serve(request)
            finally:
                self._announce()

        handler.do_GET = handler.do_POST = handler.do_PUT = serve_and_announce

    def _announce(self) -> None:
        with self._changed:
            self._changed.notify_all()

    # One method for each route of the protocol

    def _post_renewals(self, asked: Asked) -> dict[str, Any]:
        orders = {"cancel_requested": self.cancel_requested, "pause_requested": self.pause_requested}
        return {"lease_seconds": self.lease_seconds, **orders}

    def _get_assignment(self, asked: Asked) -> dict[str, Any]:
        return self.assignment.model_dump()

    def _post_events(self, asked: Asked) -> None:
        batch = EventBatch.model_validate_json(asked.body)
        self.batches.append((batch.first, len(batch.events)))
        assert batch.first <= len(self.events), "a gap in the story"
        self.events += [event.model_dump() for event in batch.events[len(self.events) - batch.first :]]

    def _post_blobs(self, asked: Asked) -> dict[str, list[str]]:
        names, position = [], 0
        while position < len(asked.body):
            size = int.from_bytes(asked.body[position : position + 8], "big")
            names.append(self.add(asked.body[position + 8 : position + 8 + size]))
            position += 8 + size
        return {"sha256": names}

    def _put_blobs(self, asked: Asked) -> dict[str, list[str]]:
        return {"sha256": [self.add(asked.body)]}

    def _get_blobs(self, asked: Asked) -> bytes:
        sha256 = asked.path.rpartition("/")[2]
        if sha256 not in self.blobs:
            raise NotFound()
        return self.blobs[sha256]

    def _post_images(self, asked: Asked) -> None:
        self.staged += [StagedImage.model_validate(image) for image in asked.json()["images"]]

    def _get_images(self, asked: Asked) -> dict[str, list[str]]:
        return {"names": [image.name for image in self.staged]}

    def _get_rows(self, asked: Asked) -> bytes:
        return b"".join(json.dumps(row).encode() + b"\n" for row in self.rows)

    def _post_checkpoint(self, asked: Asked) -> None:
        self.saved.append(NewCheckpoint.model_validate_json(asked.body))

    def _post_publication(self, asked: Asked) -> None:
        if self.cancel_requested:
            raise StateConflict()
        self.published.append(Publication.model_validate_json(asked.body))

    def _post_end(self, asked: Asked) -> None:
        self.ends.append(EndReport.model_validate_json(asked.body))
