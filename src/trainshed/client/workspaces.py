"""Workspaces, the projects in them, and who works there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel

from trainshed.client.answers import pages, parse, segment
from trainshed.client.names import pick
from trainshed.client.place import Place, id_of, project_path
from trainshed.client.tokens import DEFAULT_SCOPES
from trainshed.client.transport import Transport
from trainshed.schemas import InviteView, MemberView, ProjectView, Role, TokenView, WorkspaceView

View = TypeVar("View", bound=BaseModel)


class _InWorkspaces:
    """What the nouns below share: the path of a workspace, by view, id or name; without one the client's."""

    def __init__(self, transport: Transport, place: Place) -> None:
        self._transport = transport
        self._place = place

    def _path(self, workspace: WorkspaceView | str | None, *rest: str) -> str:
        if isinstance(workspace, str):
            workspace = pick(self._place.workspaces(), workspace, "workspace")
        return "/".join(["/workspaces", id_of(workspace or self._place.workspace()), *rest])

    def _ask(self, kind: type[View], method: str, path: str, body: dict[str, Any] | None = None) -> View:
        answer = parse(kind, self._transport.request(method, path, json=body))
        self._place.forget()
        return answer

    def _end(self, path: str, method: str = "DELETE") -> None:
        self._transport.request(method, path)
        self._place.forget()


class Workspaces(_InWorkspaces):
    """`client.workspaces`"""

    def list(self, *, deleted: bool = False) -> Iterator[WorkspaceView]:
        """Those that the caller belongs to and the shelf, or those of theirs that are deleted and may come back."""
        return pages(self._transport, "/workspaces", WorkspaceView, {"deleted": True} if deleted else None)

    def find(self, wanted: str) -> WorkspaceView:
        """By id, name, or a beginning of one. Raises `NotFound`, or `InvalidInput` naming the candidates."""
        return pick(self.list(), wanted, "workspace")

    def get(self, workspace: WorkspaceView | str | None = None) -> WorkspaceView:
        return parse(WorkspaceView, self._transport.request("GET", self._path(workspace)))

    def create(self, name: str) -> WorkspaceView:
        return self._ask(WorkspaceView, "POST", "/workspaces", {"name": name})

    def rename(self, workspace: WorkspaceView | str, name: str) -> WorkspaceView:
        return self._ask(WorkspaceView, "PATCH", self._path(workspace), {"name": name})

    def delete(self, workspace: WorkspaceView | str) -> None:
        """Hide it and end its jobs; for some days `restore` takes it back."""
        self._end(self._path(workspace))

    def restore(self, workspace: WorkspaceView | str) -> WorkspaceView:
        if isinstance(workspace, str):
            workspace = pick(self.list(deleted=True), workspace, "deleted workspace")
        return self._ask(WorkspaceView, "POST", self._path(workspace, "restore"))

    def leave(self, workspace: WorkspaceView | str) -> None:
        self._end(self._path(workspace, "leave"), "POST")


class Members(_InWorkspaces):
    """`client.members`: the people of a workspace; without one given, of the client's own."""

    def list(self, workspace: WorkspaceView | str | None = None) -> Iterator[MemberView]:
        return pages(self._transport, self._path(workspace, "members"), MemberView)

    def change(self, member: MemberView | str, role: Role, workspace: WorkspaceView | str | None = None) -> MemberView:
        return self._ask(MemberView, "PATCH", self._path(workspace, "members", id_of(member)), {"role": role})

    def remove(self, member: MemberView | str, workspace: WorkspaceView | str | None = None) -> None:
        self._end(self._path(workspace, "members", id_of(member)))

    def hand_over(self, member: MemberView | str, workspace: WorkspaceView | str | None = None) -> MemberView:
        """Make a member the owner in the caller's place, who stays as an editor."""
        return self._ask(MemberView, "POST", self._path(workspace, "members", id_of(member), "hand-over"))


class Invites(_InWorkspaces):
    """`client.invites`: ways into a workspace; without one given, into the client's own."""

    def list(self, workspace: WorkspaceView | str | None = None) -> Iterator[InviteView]:
        """Those that nobody has used yet, without their links."""
        return pages(self._transport, self._path(workspace, "invites"), InviteView)

    def create(
        self,
        role: Role = "viewer",
        email: str = "",
        expires_in_days: float = 7,
        workspace: WorkspaceView | str | None = None,
    ) -> InviteView:
        """Make an invite; with an `email` it is mailed and for that address alone. The answer alone has the link."""
        body = {"role": role, "email": email, "expires_in_days": expires_in_days}
        return self._ask(InviteView, "POST", self._path(workspace, "invites"), body)

    def remind(self, invite: InviteView) -> InviteView:
        """Mail it again, with a new link; the earlier one ends."""
        return self._ask(InviteView, "POST", _path_of(invite, "invites", "remind"))

    def revoke(self, invite: InviteView) -> None:
        self._end(_path_of(invite, "invites"))

    def accept(self, link: str) -> WorkspaceView:
        """Become a member by an invite's link, or by the secret at its end."""
        return self._ask(WorkspaceView, "POST", "/invites/accept", {"link": link})


class Robots(_InWorkspaces):
    """`client.robots`: tokens that speak for a workspace; without one given, for the client's own."""

    def list(self, workspace: WorkspaceView | str | None = None) -> Iterator[TokenView]:
        return pages(self._transport, self._path(workspace, "tokens"), TokenView)

    def create(
        self,
        name: str,
        role: Role = "viewer",
        scopes: Sequence[str] = DEFAULT_SCOPES,
        expires_in_days: float | None = 90,
        workspace: WorkspaceView | str | None = None,
    ) -> TokenView:
        """Make a robot's token; the answer is the only one that ever holds its secret. `None`: it never expires."""
        body = {"name": name, "role": role, "scopes": [*scopes], "expires_in_days": expires_in_days}
        return self._ask(TokenView, "POST", self._path(workspace, "tokens"), body)

    def revoke(self, robot: TokenView) -> None:
        self._end(_path_of(robot, "tokens"))


class Projects(_InWorkspaces):
    """`client.projects`: of a workspace; without one given, of the client's own."""

    def list(self, workspace: WorkspaceView | str | None = None) -> Iterator[ProjectView]:
        return pages(self._transport, self._path(workspace, "projects"), ProjectView)

    def get(self, project: ProjectView | str) -> ProjectView:
        return parse(ProjectView, self._transport.request("GET", self._of(project)))

    def create(
        self,
        name: str,
        task: str = "classification",
        description: str = "",
        workspace: WorkspaceView | str | None = None,
    ) -> ProjectView:
        body = {"name": name, "task": task, "description": description}
        return self._ask(ProjectView, "POST", self._path(workspace, "projects"), body)

    def change(
        self, project: ProjectView | str, *, name: str | None = None, description: str | None = None
    ) -> ProjectView:
        """Give it another name or description; what is `None` stays."""
        return self._ask(ProjectView, "PATCH", self._of(project), {"name": name, "description": description})

    def delete(self, project: ProjectView | str, *, with_everything: bool = False) -> None:
        """Delete an empty project, or with everything in it as an owner."""
        self._end(f"{self._of(project)}?with_everything=true" if with_everything else self._of(project))

    def _of(self, project: ProjectView | str) -> str:
        """The path of a project, by its view, or by its id or name in the client's workspace."""
        if isinstance(project, str):
            project = pick(self._place.workspace().projects, project, "project")
        return project_path(project.workspace_id, project.id)


def _path_of(thing: InviteView | TokenView, noun: str, *rest: str) -> str:
    return "/".join(["/workspaces", segment(thing.workspace_id or ""), noun, id_of(thing), *rest])
