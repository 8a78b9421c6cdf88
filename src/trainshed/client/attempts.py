"""The attempt protocol from the runner's side: one attempt's token opens one job.

Every call retries through an outage, because an outage is not the attempt's death; only `AttemptSuperseded` and
real refusals come back.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from trainshed.client.transport import Transport
from trainshed.errors import Unavailable
from trainshed.schemas import (
    Assignment,
    EndReport,
    EventBatch,
    NewCheckpoint,
    NewEvent,
    Publication,
    Renewal,
    StagedImage,
)

_FIRST_WAIT_SECONDS = 0.25
_LONGEST_WAIT_SECONDS = 5.0


class AttemptClient:
    """What an attempt may say and ask. `abandon` ends all waiting, when there is nothing left to wait for."""

    def __init__(self, url: str, token: str) -> None:
        self._transport = Transport(url, token, timeout=60.0)
        self.abandon = threading.Event()

    def _call(self, method: str, path: str, **arguments: Any) -> Any:
        """The request, repeated through any outage until it is answered or abandoned."""
        wait = _FIRST_WAIT_SECONDS
        while True:
            try:
                return self._transport.request(method, f"/attempt{path}", retries=0, **arguments)
            except Unavailable:
                if self.abandon.wait(wait):
                    raise
                wait = min(wait * 2, _LONGEST_WAIT_SECONDS)

    def assignment(self) -> Assignment:
        return Assignment.model_validate_json(self._call("GET", "/assignment").content)

    def renew_once(self) -> Renewal:
        """Prolong the lease; raises `Unavailable` in an outage, so that the caller sets its own pace."""
        answer = self._transport.request("POST", "/attempt/renewals", retries=0)
        return Renewal.model_validate_json(answer.content)

    def tell(self, first: int, events: list[NewEvent]) -> None:
        batch = EventBatch(first=first, events=events)
        self._call("POST", "/events", json=batch.model_dump())

    def store(self, blobs: list[bytes]) -> list[str]:
        """Store small blobs in one request; returns their SHA-256 in order."""
        body = b"".join(len(blob).to_bytes(8, "big") + blob for blob in blobs)
        answer = self._call("POST", "/blobs", content=body)
        return list(answer.json()["sha256"])

    def store_file(self, path: Path) -> str:
        """Store one file of any size; returns its SHA-256."""
        answer = self._call(
            "PUT", "/blobs", content=_Chunks(path), headers={"Content-Length": str(path.stat().st_size)}
        )
        return str(answer.json()["sha256"][0])

    def fetch(self, sha256: str, path: Path) -> None:
        """Write a blob of this job's workspace to `path`."""
        wait = _FIRST_WAIT_SECONDS
        while True:
            try:
                with self._transport.stream("GET", f"/attempt/blobs/{sha256}") as answer, path.open("wb") as file:
                    for chunk in answer.iter_bytes():
                        file.write(chunk)
                return
            except Unavailable:
                if self.abandon.wait(wait):
                    raise
                wait = min(wait * 2, _LONGEST_WAIT_SECONDS)

    def stage(self, images: list[StagedImage]) -> None:
        self._call("POST", "/images", json={"images": [image.model_dump() for image in images]})

    def staged_names(self) -> set[str]:
        """Names that an earlier attempt of this import has already brought in."""
        return set(self._call("GET", "/images").json()["names"])

    def rows(self) -> Iterator[dict[str, Any]]:
        """The dataset's visible images, as one consistent picture."""
        text: str = self._call("GET", "/rows").text
        return (json.loads(line) for line in text.splitlines())

    def save_checkpoint(self, sha256: str, step: int) -> None:
        self._call("POST", "/checkpoint", json=NewCheckpoint(sha256=sha256, step=step).model_dump())

    def publish(self, publication: Publication) -> None:
        self._call("POST", "/publication", json=publication.model_dump())

    def end(self, report: EndReport) -> None:
        self._call("POST", "/end", json=report.model_dump())


class _Chunks(Iterable[bytes]):
    """A file as a request body that a retry can read again from its start."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __iter__(self) -> Iterator[bytes]:
        with self._path.open("rb") as file:
            while chunk := file.read(1 << 20):
                yield chunk
