"""Jobs: the list, and one job from its place in the queue to its end."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import urlencode

from django.http import HttpResponse
from django.utils.translation import gettext as _

from trainshed.errors import TrainshedError
from trainshed.schemas import AttemptView, JobView, Waiting
from trainshed.server.services import datasets, jobs, models, versions
from trainshed.server.web.door import Frame, page
from trainshed.server.web.trainings import settings

_UNFINISHED = "blocked,queued,assigned,running,paused"
# Each answer plans the queue anew, so only the first ones of a list say why they wait.
_MOST_EXPLAINED = 5
_MOST_SKIPPED = 50


@page("GET")
def overview(frame: Frame) -> HttpResponse:
    asked = frame.request.GET
    chosen = {name: asked[name] for name in ("state", "kind") if asked.get(name)}
    found = jobs.visible(
        frame.actor,
        frame.place,
        state=chosen.get("state"),
        kind=chosen.get("kind"),
        cursor=asked.get("cursor"),
        limit=50,
    )
    return frame.show(
        "jobs/jobs.html",
        section="jobs",
        page=found,
        filters=_filters(chosen),
        is_filtered=bool(chosen),
        more=urlencode(chosen) + "&" if chosen else "",
        waiting=_waiting(frame, found.items),
    )


def _filters(chosen: dict[str, str]) -> list[dict[str, Any]]:
    """The filters as links; each keeps what the other one has chosen."""
    states = {
        "": _("All"),
        _UNFINISHED: _("Unfinished"),
        "succeeded": _("Done"),
        "failed": _("Failed"),
        "cancelled": _("Cancelled"),
    }
    kinds = {"": _("All kinds"), "train": _("Trainings"), "import": _("Imports"), "snapshot": _("Versions")}
    return [
        {"label": _("By state"), "links": _links("state", states, chosen)},
        {"label": _("By kind"), "links": _links("kind", kinds, chosen)},
    ]


def _links(name: str, options: dict[str, str], chosen: dict[str, str]) -> list[dict[str, Any]]:
    rest = {key: value for key, value in chosen.items() if key != name}
    return [
        {
            "label": label,
            "address": "?" + urlencode(rest | ({name: value} if value else {})),
            "is_chosen": chosen.get(name, "") == value,
        }
        for value, label in options.items()
    ]


def _waiting(frame: Frame, listed: list[JobView]) -> dict[str, Waiting]:
    """Why the oldest of the queued jobs of a list are not running yet."""
    queued = [job for job in listed if job.state == "queued"][-_MOST_EXPLAINED:]
    return {job.id: jobs.why_waiting(frame.actor, job.id, frame.place) for job in queued}


@page("GET")
def show(frame: Frame, job_id: str) -> HttpResponse:
    job = jobs.show(frame.actor, job_id, frame.place)
    return frame.show(
        "jobs/job.html",
        section="jobs",
        job=job,
        waiting=jobs.why_waiting(frame.actor, job_id, frame.place) if job.ended_at is None else None,
        attempts=_attempts(frame, job),
        parent=_parent(frame, job),
        dataset=_dataset(frame, job),
        classes=_class_names(frame, job),
        model_is_there=_model_is_there(frame, job),
        **result_of(job),
    )


def result_of(job: JobView) -> dict[str, Any]:
    """What came of a job, arranged for a page."""
    return {
        "seconds": job.ended_at - job.started_at if job.ended_at and job.started_at else None,
        "settings": settings(job.spec.get("recipe", {})),
        "early": _why_early(job),
        "report": _report(job),
        "counts": _counts(job),
    }


def _attempts(frame: Frame, job: JobView) -> list[dict[str, Any]]:
    """The newest first. Why one ended stands in the story."""
    states = jobs.events(frame.actor, job.id, frame.place, after=0, limit=1000, kind="state").items
    reasons = {event.attempt: event.body["reason"]["message"] for event in states if event.body.get("reason")}
    return [_told(attempt, reasons.get(attempt.number, "")) for attempt in reversed(job.attempts)]


def _told(attempt: AttemptView, reason: str) -> dict[str, Any]:
    """One attempt, with how it ended in words."""
    ends = {
        "": _("still at it"),
        "succeeded": _("finished its work"),
        "failed": _("failed: trying again would end the same way"),
        "crashed": _("died"),
        "cancelled": _("cancelled by a person"),
        "paused": _("paused by a person"),
        "stopped": _("stopped before its work was done, without a fault of its own"),
    }
    began, ended = attempt.started_at, attempt.ended_at
    exit_ = attempt.exit
    return {
        "number": attempt.number,
        "host": attempt.host,
        "started_at": began,
        "seconds": (ended or time.time()) - began if began else None,
        "is_over": ended is not None,
        "end": attempt.end,
        "words": ends.get(attempt.end, attempt.end),
        "because": reason or exit_.get("words", ""),
        "peak_memory_bytes": exit_.get("peak_memory_bytes"),
        "tail": "\n".join(exit_.get("tail") or []),
        "traceback": exit_.get("traceback", ""),
    }


def _parent(frame: Frame, job: JobView) -> JobView | None:
    """The snapshot that a training waits for or has waited for."""
    parent_id = job.spec.get("snapshot_job_id")
    return _or_none(lambda: jobs.show(frame.actor, parent_id, frame.place)) if parent_id else None


def _dataset(frame: Frame, job: JobView) -> Any:
    """The dataset that a job fills or reads; a deleted one is nothing to link to."""
    dataset_id = job.spec.get("dataset_id")
    return _or_none(lambda: datasets.get(frame.actor, dataset_id, within=frame.place)) if dataset_id else None


def _model_is_there(frame: Frame, job: JobView) -> bool:
    model_id = (job.result or {}).get("model_id")
    return bool(model_id and _or_none(lambda: models.get(frame.actor, model_id, within=frame.place)))


def _class_names(frame: Frame, job: JobView) -> list[str]:
    """What the numbers in the sample pictures mean: the classes of the version, in its order."""
    version_id = job.spec.get("version_id")
    if version_id is None and (parent := _parent(frame, job)) and parent.result:
        version_id = parent.result.get("version_id")
    if version_id is None:
        return []
    version = _or_none(lambda: versions.view(versions.get(frame.actor, version_id, within=frame.place)))
    return [entry.name for entry in version.summary.classes] if version else []


def _or_none(look: Any) -> Any:
    try:
        return look()
    except TrainshedError:
        return None


def _why_early(job: JobView) -> str:
    """Why a training took fewer epochs than it was given, if it did."""
    recipe, metrics = job.spec.get("recipe", {}), (job.result or {}).get("metrics", {})
    stages, most = metrics.get("stages", {}), recipe.get("epochs", 0)
    if not stages or not most:
        return ""
    if not stages.get("fine-tuned"):
        is_perfect = metrics.get("validation_accuracy") == 1
        return _("Fine-tuning was left out: it could not be better on the validation pictures.") if is_perfect else ""
    done = len(metrics.get("history", []))
    if not done or done >= most:
        return ""
    return _("It stopped after epoch %(done)d of %(most)d: the last %(patience)d brought nothing better.") % {
        "done": done, "most": most, "patience": recipe["patience"],
    }  # fmt: skip


def _report(job: JobView) -> dict[str, Any] | None:
    """What an import has taken and left out."""
    if job.kind != "import" or not job.result:
        return None
    return {**job.result, "skipped": job.result.get("skipped", [])[:_MOST_SKIPPED]}


def _counts(job: JobView) -> dict[str, int]:
    """Pictures in each split of the version that a snapshot has made."""
    counts: dict[str, dict[str, int]] = (job.result or {}).get("counts", {}) if job.kind == "snapshot" else {}
    return {split: sum(part.values()) for split, part in counts.items()}
