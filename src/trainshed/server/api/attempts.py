"""The attempt protocol's small requests, for guards with an attempt's token. Blobs are in `streams/`."""

from __future__ import annotations

from django.http import HttpRequest, StreamingHttpResponse
from ninja import Status
from pydantic import Field

from trainshed.schemas import (
    Assignment,
    EndReport,
    EventBatch,
    NewCheckpoint,
    Publication,
    Renewal,
    StagedImage,
)
from trainshed.schemas.frozen import Received
from trainshed.server.api.door import actor, answers, router, sends
from trainshed.server.services import attempts

routes = router("attempts")


class StagedImages(Received):
    images: list[StagedImage] = Field(max_length=5000)


class Names(Received):
    names: list[str]


@routes.post("/attempt/renewals", response=answers(Renewal))
def renew(request: HttpRequest):
    """Prolong the lease; the first renewal starts the job."""
    return attempts.renew(actor(request))


@routes.get("/attempt/assignment", response=answers(Assignment))
def assignment(request: HttpRequest):
    """What to do, and what to resume from."""
    return attempts.assignment(actor(request))


@routes.post("/attempt/events", response=answers(None, 204))
def tell(request: HttpRequest, body: EventBatch):
    """Append to the job's story; repeating a batch changes nothing."""
    attempts.tell(actor(request), body)
    return Status(204, None)


@routes.post("/attempt/images", response=answers(None, 204))
def stage(request: HttpRequest, body: StagedImages):
    """Stage pictures of a running import."""
    attempts.stage(actor(request), body.images)
    return Status(204, None)


@routes.get("/attempt/images", response=answers(Names))
def staged_names(request: HttpRequest):
    """Names that this import has staged already."""
    return Names(names=attempts.staged_names(actor(request)))


@routes.get("/attempt/rows", response=answers(None), openapi_extra=sends("application/jsonl"))
def rows(request: HttpRequest):
    """The dataset's visible images as JSON lines, for a snapshot."""
    return StreamingHttpResponse(attempts.rows(actor(request)), content_type="application/jsonl")


@routes.post("/attempt/checkpoint", response=answers(None, 204))
def save_checkpoint(request: HttpRequest, body: NewCheckpoint):
    """Point the job at a stored checkpoint."""
    attempts.save_checkpoint(actor(request), body)
    return Status(204, None)


@routes.post("/attempt/publication", response=answers(None, 204))
def publish(request: HttpRequest, body: Publication):
    """Publish the result: the one end that counts."""
    attempts.publish(actor(request), body)
    return Status(204, None)


@routes.post("/attempt/end", response=answers(None, 204))
def end(request: HttpRequest, body: EndReport):
    """Report any other end."""
    attempts.end(actor(request), body)
    return Status(204, None)
