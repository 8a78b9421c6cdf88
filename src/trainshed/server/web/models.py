"""Models: the list beside the shelf, and one model that answers."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse

from trainshed.errors import NotFound
from trainshed.schemas import JobView, ModelView, VersionView, WorkspaceView
from trainshed.server.services import datasets, jobs, models, versions
from trainshed.server.services.actors import Place
from trainshed.server.web import results
from trainshed.server.web.door import Frame, page
from trainshed.server.web.trainings import settings

_MOST_ON_SHELF = 24


@page("GET")
def overview(frame: Frame) -> HttpResponse:
    found = models.visible(frame.actor, frame.place, cursor=frame.request.GET.get("cursor"), limit=50)
    shelf = None if frame.workspace.is_shelf else shelf_of(frame)
    return frame.show(
        "models/models.html",
        section="models",
        page=found,
        shelf_workspace=shelf,
        shelf=on_the_shelf(frame, shelf) if shelf else [],
    )


def shelf_of(frame: Frame) -> WorkspaceView | None:
    """The workspace of the pretrained models that everybody may ask."""
    return next((workspace for workspace in frame.me.workspaces if workspace.is_shelf), None)


def on_the_shelf(frame: Frame, shelf: WorkspaceView, most: int = _MOST_ON_SHELF) -> list[ModelView]:
    found: list[ModelView] = []
    for project in shelf.projects:
        found += models.visible(frame.actor, Place(shelf.id, project.id), cursor=None, limit=most).items
    return found[:most]


@page("GET")
def show(frame: Frame, model_id: str) -> HttpResponse:
    model = models.view(models.get(frame.actor, model_id, within=frame.place))
    path = f"/api/v1/workspaces/{model.workspace_id}/projects/{model.project_id}/models/{model.id}"
    return frame.show(
        "models/model.html",
        section="models",
        model=model,
        address=path,
        num_parameters=f"{model.num_parameters:,}",
        whole_address=frame.request.build_absolute_uri(path),
        **results_of(model, frame.request.GET),
        **_lineage(frame, model),
    )


def results_of(model: ModelView, asked: Any) -> dict[str, Any]:
    """What the test pictures said, arranged as the address asks: `sort` orders the classes, `find` narrows them."""
    metrics, order, wanted = model.metrics, asked.get("sort", ""), asked.get("find", "").strip()
    has_matrix = len(model.classes) <= results.MOST_CLASSES_IN_MATRIX
    return {
        "interval": results.interval(metrics.get("accuracy"), metrics.get("num_test")),
        "matrix": results.matrix(metrics),
        "has_long_names": results.has_long_names(metrics),
        "mistakes": results.mistakes(metrics, 8 if has_matrix else 20),
        "heads": results.heads(order),
        "rows": results.by_class(metrics, order, wanted),
        "classes": [item for item in model.classes if wanted.casefold() in item.name.casefold()],
        "sort": order,
        "find": wanted,
        "has_filter": len(model.classes) > results.MOST_CLASSES_WITHOUT_FILTER,
    }


def _lineage(frame: Frame, model: ModelView) -> dict[str, Any]:
    """What the model was made of, as far as it is still there."""
    job, version = _job(frame, model), _version(frame, model)
    return {
        "job": job,
        "settings": settings(job.spec.get("recipe", {})) if job else [],
        "seconds": (job.result or {}).get("seconds") if job else None,
        "version": version,
        "dataset": datasets.view(datasets.get(frame.actor, version.dataset_id)) if version else None,
    }


def _job(frame: Frame, model: ModelView) -> JobView | None:
    try:
        return jobs.show(frame.actor, model.job_id, frame.place) if model.job_id else None
    except NotFound:
        return None


def _version(frame: Frame, model: ModelView) -> VersionView | None:
    if model.version_id is None:
        return None
    try:
        return versions.view(versions.get(frame.actor, model.version_id, within=frame.place))
    except NotFound:
        return None
