"""Jobs: looking, cancelling, pausing, and their story. What a kind does stands in its own noun's file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db.models import QuerySet

from trainshed.schemas import AttemptView, Event, JobView, Page, Reason, Waiting
from trainshed.server.queue import counters, ledger
from trainshed.server.records import models as records
from trainshed.server.records.models import Job, Project
from trainshed.server.services import audit, blobs, limits, pages, workspaces
from trainshed.server.services.actors import Actor, Need, Place, gate

_MOST_EVENTS = 2000


def get(actor: Actor, job_id: str, *, need: Need = "read", within: Place | None = None) -> Job:
    return gate(Job.objects.all(), actor, job_id, need, within)


def visible(
    actor: Actor,
    place: Place,
    *,
    state: str | None,
    kind: str | None,
    dataset_id: str | None = None,
    cursor: str | None,
    limit: int,
) -> Page[JobView]:
    project = workspaces.get_project(actor, place)
    rows = Job.objects.filter(project=project)
    if state:
        rows = rows.filter(state__in=state.split(","))
    if kind:
        rows = rows.filter(kind__in=kind.split(","))
    if dataset_id:
        rows = rows.filter(spec__dataset_id=dataset_id)
    return pages.newest_first(rows, cursor, limit, view)


def submit(actor: Actor, request: ledger.Request) -> JobView:
    """Write a job down for an actor; the caller has passed its noun's gate with need `run`."""
    limits.take(limits.SUBMITS, actor.label)
    with counters.counted():
        job_id, is_new = ledger.submit(request, actor=actor.label)
        job = Job.objects.get(id=job_id)
        if is_new:
            audit.note(actor, "job.submit", on=job, kind=job.kind)
    return view(job)


def show(actor: Actor, job_id: str, within: Place) -> JobView:
    return view(get(actor, job_id, within=within), with_attempts=True)


def cancel(actor: Actor, job_id: str, within: Place) -> JobView:
    return _ordered(actor, get(actor, job_id, need="run", within=within), ledger.cancel)


def pause(actor: Actor, job_id: str, within: Place) -> JobView:
    return _ordered(actor, get(actor, job_id, need="run", within=within), ledger.pause)


def resume(actor: Actor, job_id: str, within: Place) -> JobView:
    return _ordered(actor, get(actor, job_id, need="run", within=within), ledger.resume)


@counters.counted()
def _ordered(actor: Actor, job: Job, order: Callable[..., str]) -> JobView:
    """Do what was asked of a job, and tell how it is now also to a token that may not look otherwise."""
    order(job.id, actor=actor.label)
    audit.note(actor, f"job.{order.__name__}", on=job)
    return view(Job.objects.get(id=job.id), with_attempts=True)


def carry(which: QuerySet[Job], project: Project) -> None:
    """Take ended jobs with their files along to another project, where what they made has been moved.

    Their idempotency keys stay behind: in another workspace they could be those of other requests.
    """
    ids = list(which.values_list("id", flat=True))
    files = [records.Artifact.objects.filter(job_id__in=ids), records.Checkpoint.objects.filter(job_id__in=ids)]
    for rows in files:
        blobs.give(rows.values_list("blob_id", flat=True), project.workspace_id)
        rows.update(workspace_id=project.workspace_id)
    Job.objects.filter(id__in=ids).update(
        workspace_id=project.workspace_id, project_id=project.id, idempotency_key=None
    )


def why_waiting(actor: Actor, job_id: str, within: Place) -> Waiting:
    return ledger.why_waiting(get(actor, job_id, within=within).id)


def events(actor: Actor, job_id: str, within: Place, *, after: int, limit: int, kind: str | None = None) -> Page[Event]:
    """The story after a revision, oldest first; the cursor is the last revision given."""
    job = get(actor, job_id, within=within)
    limit = max(1, min(limit, _MOST_EVENTS))
    found = story(job.id, after=after, limit=limit + 1, kind=kind)
    more = len(found) > limit
    return Page(items=found[:limit], next_cursor=str(found[limit - 1].revision) if more else None)


def story(
    job_id: str, *, after: int, limit: int = _MOST_EVENTS, kind: str | None = None, without: str = ""
) -> list[Event]:
    """Events of a job whose gate was passed, in order; of one kind, or of all but one, if it is named."""
    rows = records.Event.objects.filter(job_id=job_id, revision__gt=after).order_by("revision")
    if kind:
        rows = rows.filter(kind=kind)
    if without:
        rows = rows.exclude(kind=without)
    return [
        Event(job_id=job_id, revision=row.revision, attempt=row.attempt, kind=row.kind, body=row.body, at=row.at)  # type: ignore[arg-type]
        for row in rows[:limit]
    ]


def view(job: Job, *, with_attempts: bool = False) -> JobView:
    plain: dict[str, Any] = {
        name: getattr(job, name) for name in JobView.model_fields if name not in ("attempts", "reason")
    }
    return JobView(
        **plain,
        reason=Reason.model_validate(job.reason) if job.reason else None,
        attempts=_attempts(job) if with_attempts else [],
    )


def _attempts(job: Job) -> list[AttemptView]:
    rows = list(job.attempts.order_by("number"))
    names = dict(records.Host.objects.filter(id__in={row.host_id for row in rows}).values_list("id", "name"))
    return [
        AttemptView(
            number=row.number,
            host=names.get(row.host_id, row.host_id),
            started_at=row.started_at,
            ended_at=row.ended_at,
            end=row.end,
            exit=row.exit,
        )
        for row in rows
    ]
