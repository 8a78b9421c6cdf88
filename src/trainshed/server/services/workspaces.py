"""Workspaces and the projects in them."""

from __future__ import annotations

from django.db import IntegrityError, transaction

from trainshed.errors import Conflict, InvalidInput, NotFound
from trainshed.schemas import ProjectView, WorkspaceView
from trainshed.server.records.models import Project, Workspace
from trainshed.server.services.actors import Actor, Need, Place, gate, require


def get(actor: Actor, workspace_id: str, need: Need = "read") -> Workspace:
    require(actor, workspace_id, need)
    row = Workspace.objects.filter(id=workspace_id).first()
    if row is None:
        raise NotFound()
    return row


def get_project(actor: Actor, place: Place, need: Need = "read") -> Project:
    """The project that a URL names, if the actor may."""
    return gate(Project.objects.all(), actor, place.project_id or "", need, Place(place.workspace_id))


def visible(actor: Actor) -> list[WorkspaceView]:
    rows = Workspace.objects.filter(id__in=[id_ for id_ in actor.roles if actor.may(id_, "read")])
    return [_view(actor, row) for row in rows.prefetch_related("projects").order_by("is_shelf", "created_at")]


def create_project(actor: Actor, workspace_id: str, name: str) -> ProjectView:
    workspace = get(actor, workspace_id, "work")
    if not 1 <= len(name.strip()) <= 200:
        raise InvalidInput("A project's name must have 1 to 200 characters.")
    try:
        with transaction.atomic():
            row = Project.objects.create(workspace=workspace, name=name.strip())
    except IntegrityError:
        raise Conflict(f"The workspace already has a project named {name.strip()!r}.") from None
    return ProjectView(id=row.id, workspace_id=workspace.id, name=row.name)


def _view(actor: Actor, row: Workspace) -> WorkspaceView:
    projects = [
        ProjectView(id=project.id, workspace_id=row.id, name=project.name)
        for project in sorted(row.projects.all(), key=lambda project: project.created_at)
    ]
    return WorkspaceView(
        id=row.id,
        name=row.name,
        role=actor.roles[row.id],
        is_shelf=row.is_shelf,
        projects=projects,  # type: ignore[arg-type]
    )
