"""Models: looking, naming, deleting. Predictions and downloads are in `streams/`."""

from __future__ import annotations

from django.http import HttpRequest
from ninja import Status

from trainshed.schemas import ModelView, Page
from trainshed.server.api.datasets import Renamed, Target
from trainshed.server.api.door import PROJECT, actor, answers, place, router
from trainshed.server.services import models

routes = router("models")
_MODEL = f"{PROJECT}/models/{{model_id}}"


@routes.get(f"{PROJECT}/models", response=answers(Page[ModelView]))
def list_models(request: HttpRequest, workspace_id: str, project_id: str, cursor: str | None = None, limit: int = 50):
    """The project's models, newest first."""
    return models.visible(actor(request), place(workspace_id, project_id), cursor=cursor, limit=limit)


@routes.get(_MODEL, response=answers(ModelView))
def show_model(request: HttpRequest, workspace_id: str, project_id: str, model_id: str):
    """One model with its classes and metrics."""
    return models.view(models.get(actor(request), model_id, within=place(workspace_id, project_id)))


@routes.patch(_MODEL, response=answers(ModelView))
def rename_model(request: HttpRequest, workspace_id: str, project_id: str, model_id: str, body: Renamed):
    """Give a model another name."""
    return models.rename(actor(request), model_id, body.name, place(workspace_id, project_id))


@routes.post(f"{_MODEL}/move", response=answers(ModelView))
def move_model(request: HttpRequest, workspace_id: str, project_id: str, model_id: str, body: Target):
    """Put a model with the job that trained it into another project of mine; out of a workspace only as its owner."""
    target = place(body.workspace_id, body.project_id)
    return models.move(actor(request), model_id, place(workspace_id, project_id), target)


@routes.delete(_MODEL, response=answers(None, 204))
def delete_model(request: HttpRequest, workspace_id: str, project_id: str, model_id: str):
    """Delete a model; its job and dataset version stay."""
    models.delete(actor(request), model_id, place(workspace_id, project_id))
    return Status(204, None)
