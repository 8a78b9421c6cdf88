"""The front door, a workspace's home, and a project's overview."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from django.shortcuts import redirect

from trainshed.schemas import JobView, WorkspaceView
from trainshed.server.services import datasets, jobs, models
from trainshed.server.services.actors import Place
from trainshed.server.services.datasets import TASKS
from trainshed.server.web.door import Frame, page, workspace_address
from trainshed.server.web.installation import first_steps
from trainshed.server.web.models import on_the_shelf, shelf_of

_SHOWN = 6


@page("GET")
def front(frame: Frame) -> HttpResponse:
    return redirect(workspace_address(frame.workspace))


@page("GET")
def show(frame: Frame) -> HttpResponse:
    """What a workspace is doing, and the quickest way to a first answer."""
    chosen = next((each for each in frame.workspace.projects if each.id == frame.request.GET.get("project")), None)
    projects = [
        {"project": project, **_summary(frame, Place(frame.workspace.id, project.id))}
        for project in ([chosen] if chosen else frame.workspace.projects)
    ]
    is_fresh = not any(summary["datasets"] or summary["jobs"] or summary["models"] for summary in projects)
    return frame.show(
        "home/home.html",
        section="home",
        projects=projects,
        chosen=chosen,
        is_fresh=is_fresh and chosen is None,
        tasks=TASKS,
        steps=first_steps(frame, has_pictures=any(summary["datasets"] for summary in projects)),
        **_shelf(frame),
    )


@page("GET")
def project(frame: Frame) -> HttpResponse:
    return frame.show("home/project.html", section="project", **_summary(frame, frame.place))


def _summary(frame: Frame, place: Place) -> dict[str, Any]:
    """The newest of everything in a project."""
    newest: dict[str, Any] = {"cursor": None, "limit": _SHOWN}
    return {
        "datasets": datasets.visible(frame.actor, place, **newest).items,
        "jobs": jobs.visible(frame.actor, place, state=None, kind=None, **newest).items,
        "models": models.visible(frame.actor, place, **newest).items,
    }


def _shelf(frame: Frame) -> dict[str, Any]:
    """The pretrained model that answers before any training, or the job that puts it on the shelf."""
    workspace = shelf_of(frame)
    if workspace is None:
        return {}
    stands = next(iter(on_the_shelf(frame, workspace, most=1)), None)
    return {
        "shelf_workspace": workspace,
        "shelf": stands,
        "shelf_job": None if stands else _stocking(frame, workspace),
    }


def _stocking(frame: Frame, shelf: WorkspaceView) -> JobView | None:
    newest: dict[str, Any] = {"state": None, "kind": "pretrained", "cursor": None, "limit": 1}
    for project in shelf.projects:
        for job in jobs.visible(frame.actor, Place(shelf.id, project.id), **newest).items:
            return job
    return None
