"""Bytes on their way in: a person's uploads and an attempt's blobs, streamed to the disk, never held whole."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from trainshed.errors import InvalidInput
from trainshed.server.services import attempts, blobs, uploads
from trainshed.server.streams.door import actor_of, body_of, content_length, database, door, place_of

_PIECE_BYTES = 1 << 20
_MOST_PACKED_BYTES = 256 << 20


async def _receive(
    request: Request, check_size: Callable[[int], None], admit: Callable[[int], Awaitable[None]] | None = None
) -> tuple[str, int]:
    """Write the body as a blob; returns (sha256, size). A body that breaks off, or is not admitted, leaves nothing."""
    announced = content_length(request)
    writer = await database(blobs.storage().write)
    waiting, size = bytearray(), 0
    try:
        async for chunk in request.stream():
            waiting += chunk
            size += len(chunk)
            if len(waiting) >= _PIECE_BYTES:
                check_size(size)
                await database(writer.write, bytes(waiting))
                waiting.clear()
        await database(writer.write, bytes(waiting))
        if announced is not None and size != announced:
            raise InvalidInput(f"{size:,} bytes arrived of {announced:,} announced.")
        if admit is not None:
            await admit(size)
        return await database(writer.finish)
    except BaseException:
        writer.discard()
        raise


@door
async def upload(request: Request) -> Response:
    """POST: keep the request's body as an upload."""
    actor, place = await actor_of(request), place_of(request)
    await database(uploads.admit, actor, place, content_length(request))

    async def admit(size: int) -> None:
        """A large file takes its time: who began may not be who may any more."""
        nonlocal actor
        actor = await actor_of(request)
        await database(uploads.admit, actor, place, size)

    sha256, size = await _receive(request, uploads.check_size, admit)
    name = request.query_params.get("name", "")
    kept = await database(uploads.keep, actor, place, name=name, sha256=sha256, size_bytes=size)
    return JSONResponse(kept.model_dump(), status_code=201)


@door
async def put_blob(request: Request) -> Response:
    """PUT: one file of a running attempt."""
    actor = await actor_of(request)
    await database(attempts.admit_blobs, actor)
    sha256, size = await _receive(request, lambda _: None)
    await database(attempts.register, actor, sha256, size)
    return JSONResponse({"sha256": [sha256]})


@door
async def post_blobs(request: Request) -> Response:
    """POST: many small blobs of a running attempt in one body."""
    actor = await actor_of(request)
    await database(attempts.admit_blobs, actor)
    names = await database(attempts.store, actor, await body_of(request, _MOST_PACKED_BYTES, "Packed blobs"))
    return JSONResponse({"sha256": names})
