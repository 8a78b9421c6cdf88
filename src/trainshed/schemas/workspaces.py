"""People, workspaces, projects and datasets as the API tells them."""

from typing import Any, Generic, Literal, TypeVar

from pydantic import Field

from trainshed.schemas.frozen import Received
from trainshed.schemas.pictures import VersionSummary

Role = Literal["viewer", "editor", "owner"]
Item = TypeVar("Item")


class Page(Received, Generic[Item]):
    """One page of a list; pass `next_cursor` back as `cursor` for the next one."""

    items: list[Item]
    next_cursor: str | None = None


class ProjectView(Received):
    id: str
    workspace_id: str
    name: str


class WorkspaceView(Received):
    id: str
    name: str
    role: Role
    is_shelf: bool = False
    projects: list[ProjectView] = Field(default_factory=list)


class Me(Received):
    """Who the caller is, and where they belong."""

    id: str
    name: str
    email: str
    is_administrator: bool
    workspaces: list[WorkspaceView]


class TokenView(Received):
    id: str
    name: str
    scopes: list[str]
    created_at: float
    expires_at: float | None
    last_used_at: float | None
    token: str | None = Field(None, description="Shown once, in the answer that made it.")


class DatasetView(Received):
    id: str
    workspace_id: str
    project_id: str
    name: str
    task: str
    num_images: int
    size_bytes: int
    classes: list[dict[str, Any]]
    created_at: float


class ImageView(Received):
    id: str
    name: str
    sha256: str
    class_id: str
    width: int
    height: int
    size_bytes: int
    format: str


class VersionView(Received):
    """A dataset version: immutable."""

    id: str
    workspace_id: str
    project_id: str
    dataset_id: str
    number: int
    job_id: str
    split: dict[str, Any]
    summary: VersionSummary
    created_at: float


class UploadView(Received):
    id: str
    name: str
    size_bytes: int
    sha256: str
