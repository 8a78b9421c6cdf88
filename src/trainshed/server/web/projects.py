"""Projects: the end of one, and what moves from one to another. They are made on the workspace's home (`home.py`)."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from django.shortcuts import redirect

from trainshed.errors import Conflict, NotFound, TrainshedError
from trainshed.server.services import datasets, models, projects, workspaces
from trainshed.server.services.actors import Place
from trainshed.server.web.door import Frame, page, workspace_address
from trainshed.server.web.workspaces import require_name


@page("GET", "POST")
def delete(frame: Frame) -> HttpResponse:
    """An owner deletes a project with everything in it, an editor an empty one."""
    project, values = workspaces.get_project(frame.actor, frame.place, "work"), dict[str, Any]()
    if frame.request.method == "POST":
        try:
            require_name(frame.request.POST.get("name", ""), project.name)
            projects.delete(frame.actor, frame.place, with_everything=frame.may_own)
            return redirect(workspace_address(frame.workspace))
        except TrainshedError as error:
            values["refusal"] = error
    return frame.show("home/delete_project.html", section="project", **values)


_MOVABLE: dict[str, Any] = {"dataset": datasets, "model": models}


@page("GET", "POST")
def move(frame: Frame, noun: str, thing_id: str) -> HttpResponse:
    """Put a dataset or a model into another project of mine."""
    if noun not in _MOVABLE:
        raise NotFound()
    service = _MOVABLE[noun]
    values: dict[str, Any] = {
        "noun": noun,
        "thing": service.get(frame.actor, thing_id, need="work", within=frame.place),
    }
    if frame.request.method == "POST":
        try:
            workspace_id, _slash, project_id = frame.request.POST.get("to", "").partition("/")
            moved = service.move(frame.actor, thing_id, frame.place, Place(workspace_id, project_id))
            place = {"workspace_id": moved.workspace_id, "project_id": moved.project_id}
            return redirect(noun, **place, **{f"{noun}_id": moved.id})
        except Conflict as error:
            values["refusal"] = error
    return frame.show("home/move.html", section=f"{noun}s", **values)
