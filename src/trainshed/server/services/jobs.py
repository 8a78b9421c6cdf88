"""Jobs: looking, cancelling, pausing, and their story. What a kind does stands in its own noun's file."""

from __future__ import annotations

from typing import Any

from trainshed.schemas import AttemptView, Event, JobView, Page, Reason, Waiting
from trainshed.server.queue import ledger
from trainshed.server.records import models as records
from trainshed.server.records.models import Job
from trainshed.server.services import pages, workspaces
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
    """Write a job down for an actor; the caller has passed its noun's gate with need `work`."""
    job_id, _ = ledger.submit(request, actor=actor.label)
    return view(Job.objects.get(id=job_id))


def show(actor: Actor, job_id: str, within: Place) -> JobView:
    return view(get(actor, job_id, within=within), with_attempts=True)


def cancel(actor: Actor, job_id: str, within: Place) -> JobView:
    job = get(actor, job_id, need="work", within=within)
    ledger.cancel(job.id, actor=actor.label)
    return show(actor, job_id, within)


def pause(actor: Actor, job_id: str, within: Place) -> JobView:
    job = get(actor, job_id, need="work", within=within)
    ledger.pause(job.id, actor=actor.label)
    return show(actor, job_id, within)


def resume(actor: Actor, job_id: str, within: Place) -> JobView:
    job = get(actor, job_id, need="work", within=within)
    ledger.resume(job.id, actor=actor.label)
    return show(actor, job_id, within)


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
