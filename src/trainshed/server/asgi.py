"""The web process: Starlette at the root for streams and uploads, Django in a bounded thread pool for all else.

Run as `python -m trainshed.server.asgi`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "trainshed.server.settings")
django.setup()

from a2wsgi import WSGIMiddleware  # noqa: E402
from django.conf import settings as django_settings  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.db import DatabaseError, close_old_connections, connection  # noqa: E402
from starlette.applications import Starlette  # noqa: E402
from starlette.datastructures import MutableHeaders  # noqa: E402
from starlette.middleware import Middleware  # noqa: E402
from starlette.requests import ClientDisconnect, Request  # noqa: E402
from starlette.responses import Response  # noqa: E402
from starlette.routing import Mount  # noqa: E402
from starlette.staticfiles import StaticFiles  # noqa: E402
from starlette.types import ASGIApp, Message, Receive, Scope, Send  # noqa: E402

from trainshed.errors import InvalidInput, NotFound, TrainshedError  # noqa: E402
from trainshed.schemas import settings  # noqa: E402
from trainshed.server import web  # noqa: E402
from trainshed.server.api.main import api  # noqa: E402
from trainshed.server.queue import ledger  # noqa: E402
from trainshed.server.services import addresses  # noqa: E402
from trainshed.server.streams.channels import hub  # noqa: E402
from trainshed.server.streams.door import body_of, problem  # noqa: E402
from trainshed.server.streams.routes import REFUSALS, ROUTES, openapi_paths, openapi_schemas  # noqa: E402

log = logging.getLogger(__name__)
_BODY_SECONDS = 60.0


def _beat(stop: threading.Event) -> None:
    """Say while we live that the web is up, so that no attempt is swept for an outage of ours."""
    gap = ledger.pulse_gap(settings.number("TRAINSHED_LEASE_SECONDS"))
    while True:
        try:
            close_old_connections()
            ledger.beat("web", gap_seconds=gap)
        except DatabaseError as error:
            log.warning("the pulse could not be written: %s", error)
            connection.close()
        if stop.wait(gap / 4):
            connection.close()
            return


@contextlib.asynccontextmanager
async def _lifespan(app: Starlette) -> AsyncIterator[None]:
    stop = threading.Event()
    threading.Thread(target=_beat, args=(stop,), name="pulse", daemon=True).start()
    stop_hub = hub.start()
    yield
    stop.set()
    await asyncio.to_thread(stop_hub)


async def _not_found(request: Request, error: Exception) -> Response:
    return problem(NotFound(f"There is nothing at {request.url.path}."))


class Assets(StaticFiles):
    """The built files of the pages; a new content has a new name, so a browser never asks twice."""

    def file_response(self, *arguments: Any, **named: Any) -> Response:
        response = super().file_response(*arguments, **named)
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        return response


# Scripts, styles and pictures come from this server's files and nowhere else; nothing inline, nothing evaluated.
_POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob: data:",
        "media-src 'self' blob:",
        "connect-src 'self'",
        "font-src 'self'",
        "manifest-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    ]
)


class Headers:
    """What every answer says to a browser, whichever door it comes from; an answer's own policy stays."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.setdefault("Content-Security-Policy", _POLICY)
                headers.setdefault("X-Content-Type-Options", "nosniff")
                headers.setdefault("Referrer-Policy", "same-origin")
                headers.setdefault("Permissions-Policy", "camera=(self), microphone=(), geolocation=()")
            await send(message)

        await self._app(scope, receive, send_with_headers)


class Sender:
    """Says who sends: to everything inside, the peer is the person or program behind the proxies that are trusted.

    Nobody else is believed that a request came over TLS.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope.get("client"):
            peer, port = scope["client"]
            forwarded = [value.decode("latin-1") for name, value in scope["headers"] if name == b"x-forwarded-for"]
            said = [
                header for header in scope["headers"] if header[0] != b"x-forwarded-proto" or addresses.is_proxy(peer)
            ]
            scope = {**scope, "client": (addresses.true(peer, forwarded), port), "headers": said}
        await self._app(scope, receive, send)


class WholeBody:
    """Receives a request's body before one of Django's few threads is taken: a slow sender holds none of them."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            most_bytes = django_settings.DATA_UPLOAD_MAX_MEMORY_SIZE
            reading = body_of(Request(scope, receive), most_bytes, "The body of this request")
            body = await asyncio.wait_for(reading, _BODY_SECONDS)
        except ClientDisconnect:
            return
        except TimeoutError:
            late = InvalidInput(f"The body of this request did not arrive within {_BODY_SECONDS:.0f} s.")
            await problem(late)(scope, receive, send)
        except TrainshedError as error:
            await problem(error)(scope, receive, send)
        else:
            # A body that came in chunks has got a length now, which WSGI asks for.
            headers = [header for header in scope["headers"] if header[0] != b"content-length"]
            length = (b"content-length", str(len(body)).encode())
            await self._app({**scope, "headers": [*headers, length]}, _replay(body, receive), send)


def _replay(body: bytes, receive: Receive) -> Receive:
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def received() -> Message:
        return waiting.pop() if waiting else await receive()

    return received


def build() -> Starlette:
    """The whole web application."""
    api.describe_also(openapi_paths(), openapi_schemas())
    wsgi: Any = WSGIMiddleware(get_wsgi_application(), workers=settings.whole("TRAINSHED_WEB_THREADS"))
    files = [
        Mount("/static", StaticFiles(packages=[("ninja", "static")])),
        Mount("/assets", Assets(directory=Path(web.__file__).parent / "assets", check_dir=False)),
    ]
    app = Starlette(
        routes=[*ROUTES, *REFUSALS, *files],
        middleware=[Middleware(Headers), Middleware(Sender)],
        exception_handlers={404: _not_found},
        lifespan=_lifespan,
    )
    # No mount: its pattern reads an address with a line break in it wrongly, and Django is to get each as it is.
    app.router.default, app.router.redirect_slashes = WholeBody(wsgi), False
    return app


app = build()


def main() -> None:
    import uvicorn

    config = uvicorn.Config(
        app,
        host=settings.text("TRAINSHED_HOST"),
        port=settings.whole("TRAINSHED_PORT"),
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=5,
        timeout_keep_alive=30,
        proxy_headers=False,
    )
    uvicorn.Server(config).run()


if __name__ == "__main__":
    main()
