"""Event streams: a job's story with replay, and a workspace's state, by server-sent events."""

from __future__ import annotations

from collections.abc import AsyncIterator

from django.db import DatabaseError
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from trainshed.server.services import jobs, workspaces
from trainshed.server.services.actors import Actor, Place
from trainshed.server.streams.channels import WorkspaceChannel, frame, hub
from trainshed.server.streams.door import actor_of, database, door, place_of
from trainshed.server.streams.doorkeeper import IsOpen, while_allowed

_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
_KEEP_ALIVE = b": still here\n\n"
_HEALING = b": the database does not answer; the stream goes on when it does\n\n"


def _event_stream(request: Request, frames: AsyncIterator[bytes], is_open: IsOpen) -> Response:
    allowed = while_allowed(request, frames, is_open)
    return StreamingResponse(allowed, media_type="text/event-stream", headers=_HEADERS)


@door
async def job_stream(request: Request) -> Response:
    """GET: the job's story after `Last-Event-ID` (or `?after=`), then live, until it ends."""
    actor, place, job_id = await actor_of(request), place_of(request), request.path_params["job_id"]
    await database(jobs.get, actor, job_id, within=place)
    asked = request.headers.get("last-event-id") or request.query_params.get("after") or "0"
    frames = _job_frames(actor, place, job_id, asked, request.query_params.get("without", ""))
    return _event_stream(request, frames, lambda now: jobs.get(now, job_id, within=place))


async def _job_frames(actor: Actor, place: Place, job_id: str, asked: str, without: str) -> AsyncIterator[bytes]:
    channel = await hub.job(job_id)
    await channel.refresh(younger_than_seconds=0.05)
    revision = _cursor(asked)
    if revision is None or revision > channel.revision or await _is_gone(job_id, revision):
        yield frame("reset", "{}")
        revision = revision if revision and revision <= channel.revision else 0
    yield await _job_frame(actor, place, job_id)
    # Ended before the client connected and nothing is left to replay: the snapshot said it all.
    is_over = revision == channel.revision and await _has_ended(actor, place, job_id)
    while not is_over:
        try:
            revision, frames = await channel.after(revision, without=without)
            for _, data, is_end in frames:
                yield data
                is_over = is_over or is_end
            if is_over:
                yield await _job_frame(actor, place, job_id)
            elif revision >= channel.revision and not await channel.wait():
                yield _KEEP_ALIVE
                await channel.refresh(younger_than_seconds=1.0)
        except DatabaseError:
            yield _HEALING
            await channel.wait()


async def _is_gone(job_id: str, revision: int) -> bool:
    """Whether the events right after this one have been compacted away."""
    following = await database(jobs.story, job_id, after=revision, limit=1)
    return bool(following) and following[0].revision > revision + 1


def _cursor(asked: str) -> int | None:
    """The revision that a watcher has come to; `None` if this is no cursor of ours."""
    is_ours = asked.isascii() and asked.isdigit() and len(asked) < 12
    return int(asked) if is_ours else None


async def _job_frame(actor: Actor, place: Place, job_id: str) -> bytes:
    return frame("job", (await database(jobs.show, actor, job_id, place)).model_dump_json())


async def _has_ended(actor: Actor, place: Place, job_id: str) -> bool:
    return (await database(jobs.show, actor, job_id, place)).ended_at is not None


@door
async def workspace_stream(request: Request) -> Response:
    """GET: a snapshot of the workspace's jobs, then the latest of each one that moves."""
    actor, workspace_id = await actor_of(request), request.path_params["workspace_id"]
    await database(workspaces.get, actor, workspace_id)
    frames = _workspace_frames(await hub.workspace(workspace_id))
    return _event_stream(request, frames, lambda now: workspaces.get(now, workspace_id))


async def _workspace_frames(channel: WorkspaceChannel) -> AsyncIterator[bytes]:
    serial = 0
    while True:
        newest = channel.serial
        for data in channel.after(serial):
            yield data
        serial = newest
        try:
            if serial >= channel.serial and not await channel.wait():
                yield _KEEP_ALIVE
                await channel.refresh(younger_than_seconds=1.0)
        except DatabaseError:
            yield _HEALING
