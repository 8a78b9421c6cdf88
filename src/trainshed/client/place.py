"""Where the client works: its workspace and project, asked for once, as the beginning of every path."""

from __future__ import annotations

import threading
from typing import Protocol

from trainshed.client.answers import pages, parse, segment
from trainshed.client.names import pick
from trainshed.client.transport import Transport
from trainshed.errors import NotFound
from trainshed.schemas import Me, ProjectView, WorkspaceView


class Placed(Protocol):
    """Anything that says which project it belongs to."""

    @property
    def workspace_id(self) -> str: ...

    @property
    def project_id(self) -> str: ...


class Place:
    """One project: the named one, else the first of the caller's first workspace. Safe between threads."""

    def __init__(self, transport: Transport, workspace: str = "", project: str = "") -> None:
        self._transport = transport
        self._workspace = workspace
        self._project = project
        self._lock = threading.Lock()
        self._me: Me | None = None
        self._workspaces: list[WorkspaceView] | None = None

    def me(self) -> Me:
        """The caller, asked for once."""
        with self._lock:
            if self._me is None:
                self._me = parse(Me, self._transport.request("GET", "/me"))
            return self._me

    def forget(self) -> None:
        """Ask again next time: somebody else has signed in, or something was made or renamed."""
        with self._lock:
            self._me = self._workspaces = None

    def workspaces(self) -> list[WorkspaceView]:
        """The workspaces that the caller belongs to, and the shelf; asked for once. A robot may ask that too."""
        with self._lock:
            if self._workspaces is None:
                self._workspaces = list(pages(self._transport, "/workspaces", WorkspaceView))
            return self._workspaces

    def workspace(self) -> WorkspaceView:
        """Raises `NotFound` when the caller is in no workspace, or not in the named one."""
        own = [workspace for workspace in self.workspaces() if not workspace.is_shelf]
        if self._workspace:
            return pick(own, self._workspace, "workspace")
        if not own:
            raise NotFound("You are in no workspace yet.", hint="Ask an owner of one to invite you.")
        return own[0]

    def project(self) -> ProjectView:
        """Raises `NotFound` when the workspace has no project, or not the named one."""
        workspace = self.workspace()
        if self._project:
            return pick(workspace.projects, self._project, "project")
        if not workspace.projects:
            raise NotFound(f"The workspace {workspace.name!r} has no project yet.")
        return workspace.projects[0]

    def shelf(self) -> list[str]:
        """The paths of the projects that hold the models for everyone."""
        shelves = (workspace for workspace in self.workspaces() if workspace.is_shelf)
        return [project_path(project.workspace_id, project.id) for shelf in shelves for project in shelf.projects]

    def path(self, thing: Placed | str | None = None) -> str:
        """The path of the project that `thing` belongs to; of this project for an id."""
        if thing is None or isinstance(thing, str):
            project = self.project()
            return project_path(project.workspace_id, project.id)
        return project_path(thing.workspace_id, thing.project_id)


def project_path(workspace_id: str, project_id: str) -> str:
    return f"/workspaces/{segment(workspace_id)}/projects/{segment(project_id)}"


def id_of(thing: object) -> str:
    """The id as a path's segment, from a view or from an id itself."""
    return segment(thing if isinstance(thing, str) else str(getattr(thing, "id")))  # noqa: B009  (any view has one)
