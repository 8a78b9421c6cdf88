"""The attempt protocol: what a guard and the server say to each other under the attempt's own token.

Small blobs travel in one body: each is preceded by its length as 8 bytes, big-endian.
"""

from typing import Any, Literal

from pydantic import Field

from trainshed.schemas.frozen import Received
from trainshed.schemas.jobs import JobKind, NewEvent, Reason

PROTOCOL_VERSION = 1
AttemptEnd = Literal["failed", "crashed", "cancelled", "paused", "stopped"]


class BlobRef(Received):
    """A blob by its content; `path` is given where server and runner share a disk."""

    sha256: str
    size_bytes: int
    path: str | None = None


class Checkpoint(Received):
    """The newest thing that the job can resume from."""

    blob: BlobRef
    step: int
    attempt: int


class Assignment(Received):
    """Everything that an attempt needs to start."""

    protocol_version: int = PROTOCOL_VERSION
    job_id: str
    attempt: int
    kind: JobKind
    spec: dict[str, Any]
    inputs: dict[str, BlobRef] = Field(default_factory=dict)
    blobs_folder: str | None = Field(None, description="The blob folder, where the disk is shared.")
    checkpoint: Checkpoint | None = None
    gpus: list[int] = Field(default_factory=list)


class Renewal(Received):
    """The server's answer to a renewed lease."""

    lease_seconds: float
    cancel_requested: bool
    pause_requested: bool


class EventBatch(Received):
    """Events with the attempt's own running number of the first, so that a repeated batch changes nothing."""

    first: int = Field(ge=0)
    events: list[NewEvent] = Field(max_length=1000)


class NewCheckpoint(Received):
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    step: int = Field(ge=0)


class Publication(Received):
    """The end that counts: the result and the files that belong to it, by name."""

    result: dict[str, Any]
    artifacts: dict[str, str] = Field(default_factory=dict, description="name -> sha256")


class EndReport(Received):
    """Any other end of an attempt, named by its guard."""

    end: AttemptEnd
    reason: Reason | None = None
    exit: dict[str, Any] = Field(default_factory=dict)
