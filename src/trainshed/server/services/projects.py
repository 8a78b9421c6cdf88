"""Projects: named groups of datasets, jobs and models inside a workspace. Their gate is `workspaces.get_project`."""

from __future__ import annotations

from typing import Any

from django.db import IntegrityError, models, transaction

from trainshed.errors import Conflict, InvalidInput
from trainshed.schemas import FINAL_STATES, ProjectView
from trainshed.server.records.models import Dataset, DatasetVersion, Image, Job, Project, Share, TrainedModel, Upload
from trainshed.server.services import audit, names, workspaces
from trainshed.server.services.actors import Actor, Place
from trainshed.server.services.datasets import TASKS

MOST_DESCRIPTION = 10_000


def visible(actor: Actor, workspace_id: str) -> list[ProjectView]:
    """The workspace's projects, the oldest first."""
    workspace = workspaces.get(actor, workspace_id)
    return [workspaces.project_view(row) for row in workspace.projects.order_by("created_at", "id")]


def show(actor: Actor, place: Place) -> ProjectView:
    return workspaces.project_view(workspaces.get_project(actor, place))


def create(
    actor: Actor, workspace_id: str, *, name: str, task: str = "classification", description: str = ""
) -> ProjectView:
    workspace = workspaces.get(actor, workspace_id, "work")
    if task not in TASKS:
        raise InvalidInput(f"The task {task!r} is unknown; it must be one of {list(TASKS)}.")
    row = Project(workspace=workspace, name=_name(name), task=task, description=_description(description))
    _save(actor, "project.create", row)
    return workspaces.project_view(row)


def change(actor: Actor, place: Place, *, name: str | None = None, description: str | None = None) -> ProjectView:
    """Give a project another name or description; what is `None` stays."""
    row = workspaces.get_project(actor, place, "work")
    before = row.name
    row.name = row.name if name is None else _name(name)
    row.description = row.description if description is None else _description(description)
    _save(actor, "project.change", row, before=before)
    return workspaces.project_view(row)


def delete(actor: Actor, place: Place, *, with_everything: bool = False) -> None:
    """Delete a project that is empty; with everything in it only as an owner who says so."""
    row = workspaces.get_project(actor, place, "own" if with_everything else "work")
    with transaction.atomic():
        Project.objects.select_for_update().get(id=row.id)
        if Job.objects.filter(project=row).exclude(state__in=FINAL_STATES).exists():
            raise Conflict(f"Jobs of the project {row.name!r} are not done yet.", hint="Cancel them first.")
        contents = _contents(row)
        if contents and not with_everything:
            raise Conflict(
                f"The project {row.name!r} still holds {contents}.",
                hint="Move or delete that first, or have an owner delete the project with everything.",
            )
        audit.note(actor, "project.delete", on=row, contents=contents)
        erase([row.id])
        row.delete()


def erase(project_ids: list[str]) -> None:
    """Everything in projects, in an order in which nothing points at what is gone."""
    TrainedModel.objects.filter(version__project_id__in=project_ids).update(version=None)
    _delete(TrainedModel, project_id__in=project_ids)
    _delete(Image, dataset__project_id__in=project_ids)
    _delete(DatasetVersion, project_id__in=project_ids)
    for kind in (Dataset, Upload, Share, Job):
        _delete(kind, project_id__in=project_ids)


def _delete(kind: type[models.Model], **which: Any) -> None:
    kind._default_manager.filter(**which).delete()


def _contents(row: Project) -> str:
    """What is in a project, in words; empty if it is empty."""
    counted = [
        (Dataset.objects.filter(project=row).count(), "dataset"),
        (TrainedModel.objects.filter(project=row).count(), "model"),
        (Job.objects.filter(project=row).count(), "job"),
    ]
    words = [f"{number} {noun}{'' if number == 1 else 's'}" for number, noun in counted if number]
    return ", ".join(words)


def _save(actor: Actor, action: str, row: Project, **details: Any) -> None:
    try:
        with transaction.atomic():
            row.save()
            audit.note(actor, action, on=row, **details)
    except IntegrityError:
        raise Conflict(f"The workspace already has a project named {row.name!r}.") from None


def _name(name: str) -> str:
    return names.proved(name, "A project's", 200)


def _description(text: str) -> str:
    if len(text) > MOST_DESCRIPTION:
        raise InvalidInput(f"A description has at most {MOST_DESCRIPTION:,} characters; this one has {len(text):,}.")
    return text.strip().replace("\0", "\ufffd")
