"""What the asynchronous doors share: threads for the database, the actor, and the one error shape."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from django.db import DataError, InterfaceError, OperationalError, close_old_connections
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from trainshed.errors import InvalidInput, MethodNotAllowed, TooLarge, TrainshedError, Unavailable
from trainshed.server.services import sessions
from trainshed.server.services.actors import Actor, Place

log = logging.getLogger(__name__)
P = ParamSpec("P")
R = TypeVar("R")
Endpoint = Callable[[Request], Awaitable[Response]]

_threads = ThreadPoolExecutor(max_workers=8, thread_name_prefix="database")


async def database(work: Callable[P, R], *arguments: P.args, **named: P.kwargs) -> R:
    """Run blocking work in a thread that keeps its database connection."""
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(_threads, functools.partial(_run, functools.partial(work, *arguments, **named)))


def _run(work: Callable[[], R]) -> R:
    close_old_connections()
    try:
        return work()
    finally:
        close_old_connections()


async def actor_of(request: Request) -> Actor:
    return await database(sessions.sender, request, request.cookies, request.client.host if request.client else "")


def place_of(request: Request) -> Place:
    return Place(request.path_params["workspace_id"], request.path_params.get("project_id"))


def content_length(request: Request) -> int | None:
    """The announced size in bytes, `None` if there is none. Raises `InvalidInput` for a wrong one."""
    value = request.headers.get("content-length")
    if value is None:
        return None
    if not (value.isascii() and value.isdigit()):
        raise InvalidInput(f"The header Content-Length is {value[:40]!r}; it must be a number of bytes.")
    return int(value)


async def body_of(request: Request, most_bytes: int, what: str) -> bytes:
    """The whole body. Raises `TooLarge` as soon as it is known to have more than `most_bytes`."""
    pieces, size = [], 0
    if (content_length(request) or 0) > most_bytes:
        raise TooLarge(f"{what} may have at most {most_bytes:,} bytes.")
    async for piece in request.stream():
        pieces.append(piece)
        size += len(piece)
        if size > most_bytes:
            raise TooLarge(f"{what} may have at most {most_bytes:,} bytes.")
    return b"".join(pieces)


def problem(error: TrainshedError) -> JSONResponse:
    headers = {"Retry-After": str(error.retry_after_seconds)} if error.status in (429, 503) else {}
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(
        error.to_problem(), status_code=error.status, headers=headers, media_type="application/problem+json"
    )


def wrong_method(allowed: set[str]) -> Endpoint:
    """An endpoint that names the methods which its address does answer."""

    async def refuse(request: Request) -> Response:
        response = problem(MethodNotAllowed(f"This address does not answer {request.method}."))
        response.headers["Allow"] = ", ".join(sorted(allowed))
        return response

    return refuse


def door(endpoint: Endpoint) -> Endpoint:
    """Turn every error of an endpoint into a problem document."""

    @functools.wraps(endpoint)
    async def opened(request: Request) -> Response:
        try:
            return await endpoint(request)
        except TrainshedError as error:
            return problem(error)
        except (OperationalError, InterfaceError) as error:
            log.warning("the database did not answer: %s", error)
            return problem(Unavailable("The database does not answer; try again shortly."))
        except (DataError, OverflowError):
            return problem(InvalidInput("The request holds a number or a text that cannot be stored."))
        except ClientDisconnect:
            return Response(status_code=499)
        except Exception as error:
            log.error("a request failed", exc_info=error)
            return problem(TrainshedError(hint="The server's log names the cause."))

    return opened
