"""Datasets: the list with the way in, and one dataset with its classes, pictures, imports and versions."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from django.utils.translation import gettext as _

from trainshed.schemas import DatasetView, JobView, VersionView
from trainshed.server.services import datasets, jobs, versions
from trainshed.server.web.door import Frame, page

_PICTURES = 60
_ENDED_IMPORTS = 6
_UNFINISHED = "blocked,queued,assigned,running,paused"
_ENDED = "succeeded,failed,cancelled"


@page("GET")
def overview(frame: Frame) -> HttpResponse:
    found = datasets.visible(frame.actor, frame.place, cursor=frame.request.GET.get("cursor"), limit=50)
    return frame.show("datasets/datasets.html", section="datasets", page=found)


@page("GET")
def show(frame: Frame, dataset_id: str) -> HttpResponse:
    asked = frame.request.GET
    dataset = datasets.view(datasets.get(frame.actor, dataset_id, within=frame.place))
    chosen = next((each for each in dataset.classes if each["id"] == asked.get("class")), None)
    pictures = datasets.images(
        frame.actor,
        dataset_id,
        frame.place,
        class_id=chosen["id"] if chosen else None,
        cursor=asked.get("cursor"),
        limit=_PICTURES,
    )
    running = _jobs(frame, dataset_id, _UNFINISHED, "import,snapshot", limit=20)
    taken = versions.visible(frame.actor, dataset_id, frame.place, cursor=None, limit=20)
    return frame.show(
        "datasets/dataset.html",
        section="datasets",
        dataset=dataset,
        chosen=chosen,
        most=max((each["num_images"] for each in dataset.classes), default=1),
        pictures=pictures,
        versions=[_version_row(version) for version in taken.items],
        running=running,
        waiting=jobs.why_waiting(frame.actor, running[0].id, frame.place) if running else None,
        ended=_jobs(frame, dataset_id, _ENDED, "import", limit=_ENDED_IMPORTS),
        why_not=_why_not_train(dataset, is_filling=any(job.kind == "import" for job in running)),
    )


def _jobs(frame: Frame, dataset_id: str, state: str, kind: str, *, limit: int) -> list[JobView]:
    found = jobs.visible(
        frame.actor, frame.place, state=state, kind=kind, dataset_id=dataset_id, cursor=None, limit=limit
    )
    return found.items


def _version_row(version: VersionView) -> dict[str, Any]:
    counts = {split: sum(per_class.values()) for split, per_class in version.summary.counts.items()}
    return {"version": version, "counts": counts}


def _why_not_train(dataset: DatasetView, *, is_filling: bool) -> str:
    """What a training still lacks, or nothing."""
    if not dataset.num_images:
        return _("Its pictures are on their way.") if is_filling else _("Add pictures first.")
    if len(dataset.classes) < 2:
        return _("A model tells classes apart, so it needs at least two. Add a folder of another class.")
    return ""
