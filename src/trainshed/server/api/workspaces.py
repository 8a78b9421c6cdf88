"""Workspaces and the projects in them."""

from __future__ import annotations

from django.http import HttpRequest
from ninja import Status

from trainshed.schemas import Page, ProjectView, WorkspaceView
from trainshed.schemas.frozen import Received
from trainshed.server.api.datasets import Renamed
from trainshed.server.api.door import PROJECT, actor, answers, place, router
from trainshed.server.services import members, projects, workspaces

routes = router("workspaces")
_WORKSPACE = "/workspaces/{workspace_id}"


class NewWorkspace(Received):
    name: str


class NewProject(Received):
    name: str
    task: str = "classification"
    description: str = ""


class ChangedProject(Received):
    """What is left out stays as it is."""

    name: str | None = None
    description: str | None = None


@routes.get("/workspaces", response=answers(Page[WorkspaceView]))
def list_workspaces(request: HttpRequest, deleted: bool = False):
    """Workspaces that I belong to, and the shelf; or those of mine that are deleted and can still be taken back."""
    return Page(items=workspaces.deleted(actor(request)) if deleted else workspaces.visible(actor(request)))


@routes.post("/workspaces", response=answers(WorkspaceView, 201))
def create_workspace(request: HttpRequest, body: NewWorkspace):
    """Make a workspace of my own, with a first project."""
    return Status(201, workspaces.create(actor(request), body.name))


@routes.get(_WORKSPACE, response=answers(WorkspaceView))
def show_workspace(request: HttpRequest, workspace_id: str):
    """One workspace with its projects and my role in it."""
    return workspaces.show(actor(request), workspace_id)


@routes.patch(_WORKSPACE, response=answers(WorkspaceView))
def rename_workspace(request: HttpRequest, workspace_id: str, body: Renamed):
    """Give a workspace another name."""
    return workspaces.rename(actor(request), workspace_id, body.name)


@routes.delete(_WORKSPACE, response=answers(None, 204))
def delete_workspace(request: HttpRequest, workspace_id: str):
    """Delete a workspace and cancel its jobs; for some days an owner can take it back."""
    workspaces.delete(actor(request), workspace_id)
    return Status(204, None)


@routes.post(f"{_WORKSPACE}/restore", response=answers(WorkspaceView))
def restore_workspace(request: HttpRequest, workspace_id: str):
    """Take a deleted workspace of mine back."""
    return workspaces.restore(actor(request), workspace_id)


@routes.post(f"{_WORKSPACE}/leave", response=answers(None, 204))
def leave_workspace(request: HttpRequest, workspace_id: str):
    """End my own membership; the last owner cannot."""
    members.leave(actor(request), workspace_id)
    return Status(204, None)


@routes.get(f"{_WORKSPACE}/projects", response=answers(Page[ProjectView]))
def list_projects(request: HttpRequest, workspace_id: str):
    """The workspace's projects, the oldest first."""
    return Page(items=projects.visible(actor(request), workspace_id))


@routes.post(f"{_WORKSPACE}/projects", response=answers(ProjectView, 201))
def create_project(request: HttpRequest, workspace_id: str, body: NewProject):
    """Make a project in a workspace."""
    return Status(201, projects.create(actor(request), workspace_id, **body.model_dump()))


@routes.get(PROJECT, response=answers(ProjectView))
def show_project(request: HttpRequest, workspace_id: str, project_id: str):
    """One project with its task and description."""
    return projects.show(actor(request), place(workspace_id, project_id))


@routes.patch(PROJECT, response=answers(ProjectView))
def change_project(request: HttpRequest, workspace_id: str, project_id: str, body: ChangedProject):
    """Give a project another name or description."""
    return projects.change(actor(request), place(workspace_id, project_id), **body.model_dump())


@routes.delete(PROJECT, response=answers(None, 204))
def delete_project(request: HttpRequest, workspace_id: str, project_id: str, with_everything: bool = False):
    """Delete an empty project; with everything in it only as an owner."""
    projects.delete(actor(request), place(workspace_id, project_id), with_everything=with_everything)
    return Status(204, None)
