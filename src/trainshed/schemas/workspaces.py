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
    task: str = "classification"
    description: str = ""
    created_at: float = 0.0


class WorkspaceView(Received):
    id: str
    name: str
    role: Role
    is_shelf: bool = False
    is_personal: bool = Field(False, description="Made at the caller's first sign-in; it cannot be left or deleted.")
    ends_at: float | None = Field(None, description="When a deleted workspace is gone for good; `null`: it stays.")
    projects: list[ProjectView] = Field(default_factory=list)


class Me(Received):
    """Who the caller is, and where they belong."""

    id: str
    name: str
    email: str
    is_administrator: bool
    workspaces: list[WorkspaceView]


class MemberView(Received):
    """A person in a workspace; `id` is the person's. Robots are not told e-mail addresses."""

    id: str
    name: str
    email: str | None
    role: Role
    since: float


class InviteView(Received):
    """A way into a workspace that has not been used yet."""

    id: str
    workspace_id: str
    role: Role
    email: str = Field("", description="Whom alone it lets in; empty: whoever has the link.")
    invited_by: str
    created_at: float
    expires_at: float
    reminded_at: float | None = None
    link: str | None = Field(None, description="Shown once, in the answer that made it.")


class InviteLook(Received):
    """What an invite tells whoever holds its link, before they accept it."""

    workspace: str
    role: Role
    invited_by: str
    expires_at: float


ShareNoun = Literal["model", "version", "job"]


class ShareView(Received):
    """A link to one thing, for whoever has it."""

    id: str
    workspace_id: str
    project_id: str
    noun: ShareNoun
    thing_id: str
    note: str = ""
    created_by: str
    created_at: float
    expires_at: float
    last_used_at: float | None = None
    link: str | None = Field(None, description="Shown once, in the answer that made it.")


class PersonView(Received):
    """Somebody with an account, as administrators see them."""

    id: str
    name: str
    email: str
    is_active: bool
    is_administrator: bool
    created_at: float


class SessionView(Received):
    """A browser in which I am signed in."""

    id: str
    address: str
    browser: str
    created_at: float
    last_seen_at: float
    is_current: bool


class TokenView(Received):
    """A personal token; with a role it is a robot's, which speaks for its workspace and for nobody."""

    id: str
    name: str
    scopes: list[str]
    created_at: float
    expires_at: float | None
    last_used_at: float | None
    beginning: str = Field("", description="How the token begins, to find the one that you hold.")
    workspace_id: str | None = Field(None, description="The one workspace that it works in; `null`: all.")
    role: str = ""
    created_by: str = ""
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
