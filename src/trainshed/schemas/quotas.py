"""What a workspace uses, and how much of it is allowed."""

from typing import Literal

from pydantic import Field

from trainshed.schemas.frozen import Received

Resource = Literal["stored_bytes", "queued_jobs", "running_jobs", "gpu_seconds"]
# What each counts, for people.
RESOURCES: dict[str, str] = {
    "stored_bytes": "Bytes of everything that the workspace has sent or its jobs have made.",
    "queued_jobs": "Jobs that wait: queued, blocked or paused.",
    "running_jobs": "Jobs that run at once.",
    "gpu_seconds": "GPUs times seconds of this month's ended attempts (UTC).",
}


class QuotaView(Received):
    """One resource of a workspace."""

    resource: Resource
    used: int
    most: int | None = Field(None, description="`null`: without a limit.")
    meaning: str = Field("", description="What is counted.")


class WorkspaceUse(Received):
    """A workspace as administrators of the installation see it: by what it uses, and not by what is in it."""

    id: str
    name: str
    is_shelf: bool
    num_members: int
    quotas: list[QuotaView]
