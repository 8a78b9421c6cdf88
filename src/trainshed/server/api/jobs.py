"""Trainings, and every job's state and story."""

from __future__ import annotations

from django.http import HttpRequest
from ninja import Status
from pydantic import Field

from trainshed.errors import InvalidInput
from trainshed.schemas import ClassificationRecipe, Event, JobView, Page, Waiting
from trainshed.schemas.frozen import Received
from trainshed.schemas.jobs import EventKind
from trainshed.server.api.datasets import IdempotencyKey
from trainshed.server.api.door import PROJECT, actor, answers, place, router
from trainshed.server.services import jobs, models

routes = router("jobs")
_JOB = f"{PROJECT}/jobs/{{job_id}}"


class NewTraining(Received):
    """Of one version, or of what a dataset holds now; of the latter a version is taken first where that is needed."""

    version_id: str | None = None
    dataset_id: str | None = None
    recipe: ClassificationRecipe = ClassificationRecipe()
    name: str = Field("", max_length=300)


@routes.post(f"{PROJECT}/trainings", response=answers(JobView, 202))
def train(
    request: HttpRequest, workspace_id: str, project_id: str, body: NewTraining, key: str | None = IdempotencyKey
):
    """Queue a training of a dataset version, or of a dataset as it is now, by a recipe."""
    where, said = place(workspace_id, project_id), (body.recipe, body.name)
    if body.version_id and not body.dataset_id:
        return Status(202, models.start_training(actor(request), body.version_id, *said, where, key))
    if body.dataset_id and not body.version_id:
        return Status(202, models.train_dataset(actor(request), body.dataset_id, *said, where, key))
    raise InvalidInput("A training needs either a `version_id` or a `dataset_id`.")


@routes.get(f"{PROJECT}/jobs", response=answers(Page[JobView]))
def list_jobs(
    request: HttpRequest,
    workspace_id: str,
    project_id: str,
    state: str | None = None,
    kind: str | None = None,
    cursor: str | None = None,
    limit: int = 50,
):
    """The project's jobs, newest first; `state` and `kind` take several, separated by commas."""
    where = place(workspace_id, project_id)
    return jobs.visible(actor(request), where, state=state, kind=kind, cursor=cursor, limit=limit)


@routes.get(_JOB, response=answers(JobView))
def show_job(request: HttpRequest, workspace_id: str, project_id: str, job_id: str):
    """One job with its attempts and how they ended."""
    return jobs.show(actor(request), job_id, place(workspace_id, project_id))


@routes.post(f"{_JOB}/cancel", response=answers(JobView))
def cancel_job(request: HttpRequest, workspace_id: str, project_id: str, job_id: str):
    """Cancel a job; a running one stops within seconds and never publishes."""
    return jobs.cancel(actor(request), job_id, place(workspace_id, project_id))


@routes.post(f"{_JOB}/pause", response=answers(JobView))
def pause_job(request: HttpRequest, workspace_id: str, project_id: str, job_id: str):
    """Ask a running job to save a checkpoint and give its slots back."""
    return jobs.pause(actor(request), job_id, place(workspace_id, project_id))


@routes.post(f"{_JOB}/resume", response=answers(JobView))
def resume_job(request: HttpRequest, workspace_id: str, project_id: str, job_id: str):
    """Queue a paused job again; it goes on from its checkpoint."""
    return jobs.resume(actor(request), job_id, place(workspace_id, project_id))


@routes.get(f"{_JOB}/waiting", response=answers(Waiting))
def why_waiting(request: HttpRequest, workspace_id: str, project_id: str, job_id: str):
    """Why is the job not running: its place and the reason, by the function that decides."""
    return jobs.why_waiting(actor(request), job_id, place(workspace_id, project_id))


@routes.get(f"{_JOB}/events", response=answers(Page[Event]))
def list_events(
    request: HttpRequest,
    workspace_id: str,
    project_id: str,
    job_id: str,
    after: int = 0,
    limit: int = 500,
    kind: EventKind | None = None,
):
    """The job's story after a revision, oldest first; `kind` leaves only one kind of event."""
    where = place(workspace_id, project_id)
    return jobs.events(actor(request), job_id, where, after=after, limit=limit, kind=kind)
