"""Whether a stream that is open may stay so: a role, a token or a session may have ended since it was opened.

Each stream asks every few seconds; those of one browser or token share the answer, so a thousand watchers cost little.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Callable

from django.db import DatabaseError
from starlette.requests import Request

from trainshed.errors import NotSignedIn, TrainshedError
from trainshed.server.services.actors import Actor
from trainshed.server.streams.door import actor_of, database

IsOpen = Callable[[Actor], object]
# Both together are how long at most somebody hears what is no longer theirs.
ASKED_EVERY_SECONDS = 3.0
_SHARED_SECONDS = 1.0
_MOST_KEPT = 10_000

_known: dict[bytes, tuple[float, Actor]] = {}


async def while_allowed(request: Request, frames: AsyncIterator[bytes], is_open: IsOpen) -> AsyncIterator[bytes]:
    """The frames, until whoever asked for them may not have them any more; `is_open` raises then."""
    asked_at = time.monotonic()
    waiting: asyncio.Future[bytes] | None = None
    try:
        while True:
            waiting = waiting or asyncio.ensure_future(anext(frames))  # type: ignore[arg-type]
            left = asked_at + ASKED_EVERY_SECONDS - time.monotonic()
            if left <= 0:
                if not await _is_allowed(request, is_open):
                    return
                asked_at = time.monotonic()
                continue
            await asyncio.wait({waiting}, timeout=left)
            if waiting.done():
                frame, waiting = waiting, None
                yield frame.result()
    except StopAsyncIteration:
        return
    finally:
        if waiting is not None:
            waiting.cancel()


async def _is_allowed(request: Request, is_open: IsOpen) -> bool:
    try:
        actor = await _actor_now(request)
        if actor.until < time.time():
            return False
        await database(is_open, actor)
    except DatabaseError:
        return True  # nobody can say right now; the stream has nothing new to tell either
    except TrainshedError:
        return False
    return True


async def _actor_now(request: Request) -> Actor:
    """Who the request's proof stands for now; asked once for all streams of it."""
    key = _proof(request)
    at, actor = _known.get(key, (0.0, None))
    if actor is None or time.monotonic() - at > _SHARED_SECONDS:
        try:
            actor = await actor_of(request)
        except NotSignedIn:
            _known.pop(key, None)
            raise
        if len(_known) >= _MOST_KEPT:
            _known.clear()
        _known[key] = (time.monotonic(), actor)
    return actor


def _proof(request: Request) -> bytes:
    said = request.headers.get("authorization", "") + "\n" + request.headers.get("cookie", "")
    return hashlib.sha256(said.encode()).digest()
