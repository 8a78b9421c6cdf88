"""Jobs, their states and their story."""

from typing import Any, Literal

from pydantic import Field

from trainshed.schemas.frozen import Frozen, Received

JobState = Literal["blocked", "queued", "assigned", "running", "paused", "succeeded", "failed", "cancelled"]
JobKind = Literal["import", "snapshot", "train", "pretrained"]
EventKind = Literal["state", "progress", "metric", "log", "sample"]
FINAL_STATES: frozenset[str] = frozenset({"succeeded", "failed", "cancelled"})


class Needs(Frozen):
    """What a job takes from a host while it runs."""

    gpus: int = Field(0, ge=0, le=64, description="Number of GPUs; 0: one CPU slot instead.")


class Reason(Received):
    """Why a job failed or waits, in words and as a code."""

    code: str
    message: str
    hint: str = ""


class Event(Received):
    """One line of a job's story; `revision` numbers it inside its job, without gaps."""

    job_id: str
    revision: int
    attempt: int
    kind: EventKind
    body: dict[str, Any]
    at: float = Field(description="Seconds since 1970, the database's clock.")


class NewEvent(Received):
    """An event on its way from an attempt; the server numbers it."""

    kind: EventKind
    body: dict[str, Any]


class AttemptView(Received):
    """One try of a job on one host, and how it ended."""

    number: int
    host: str
    started_at: float | None = None
    ended_at: float | None = None
    end: str = ""
    exit: dict[str, Any] = Field(default_factory=dict)


class JobView(Received):
    """A job as the API tells it."""

    id: str
    workspace_id: str
    project_id: str
    kind: JobKind
    title: str
    state: JobState
    spec: dict[str, Any]
    priority: int
    attempt: int
    cancel_requested: bool
    pause_requested: bool
    revision: int
    progress: dict[str, Any] = Field(default_factory=dict, description="The latest progress event's body.")
    result: dict[str, Any] | None = None
    reason: Reason | None = None
    created_at: float
    started_at: float | None = None
    ended_at: float | None = None
    created_by: str = ""
    attempts: list[AttemptView] = Field(default_factory=list)


class Waiting(Received):
    """Why a job is not running yet, computed by the function that decides."""

    waiting: bool
    place: int | None = Field(None, description="1 is next.")
    reason: Reason | None = None
