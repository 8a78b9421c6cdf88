"""The model server as a process: its socket, its limits, its clean stop.

It listens on a Unix socket that only its user can open, or on host:port with a shared secret (cluster).
"""

from __future__ import annotations

import logging
import os
import resource
import signal
import socket
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from trainshed.errors import StartRefused
from trainshed.schemas import settings
from trainshed.serving.app import ModelServer, RequireSecret, build_app
from trainshed.serving.batching import Workers
from trainshed.serving.choice import require_backend
from trainshed.serving.models import load
from trainshed.serving.shelf import Shelf
from trainshed.serving.source import BlobCache, WebSource

LONGEST_SOCKET_PATH = 100
SHORTEST_SECRET = 32
SECONDS_TO_FINISH = 10

log = logging.getLogger(__name__)


def run(
    *,
    url: str,
    token: str,
    socket_path: Path | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
    secret: str = "",
) -> None:
    """Serve until SIGTERM or SIGINT; requests that run are finished first.

    Models are asked of web at `url` with the service's `token`. Listens on `socket_path`, or else on
    `host:port`, where every request must bear `secret`. Files that are not on this
    machine's disk are kept in TRAINSHED_HOME. Raises `StartRefused`.
    """
    backend = settings.text("TRAINSHED_SERVING_BACKEND")
    require_backend(backend)
    with ExitStack() as closing:
        listener = closing.enter_context(_listener(socket_path, host, port, secret))
        if socket_path:
            closing.callback(_remove_if_ours, socket_path, socket_path.stat().st_ino)
        workers = Workers()
        closing.callback(workers.close)
        folder, budget_bytes = settings.home() / "cache" / "serving", settings.whole("TRAINSHED_CACHE_BYTES")
        source = WebSource(url, token, BlobCache(folder, budget_bytes=budget_bytes))
        closing.callback(source.close)
        shelf = Shelf(
            source.fetch,
            partial(load, backend=backend, workers=workers),
            budget_bytes=settings.whole("TRAINSHED_SERVING_MEMORY_BYTES"),
        )
        app = build_app(ModelServer(shelf, max_image_bytes=settings.whole("TRAINSHED_MAX_IMAGE_BYTES")))
        log.info("listening on %s", listener.getsockname())
        _serve(app if socket_path else RequireSecret(app, secret), listener)


def _serve(app: ASGIApp, listener: socket.socket) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core dump would hold people's pictures
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=SECONDS_TO_FINISH,
    )
    server = uvicorn.Server(config)

    def stop(*_: object) -> None:
        server.should_exit = True

    # uvicorn stops on these by itself, but not before it has started, and raises them once more at its end.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    server.run(sockets=[listener])
    log.info("stopped")


def _listener(socket_path: Path | None, host: str, port: int, secret: str) -> socket.socket:
    if socket_path:
        return _unix_listener(socket_path)
    if len(secret) < SHORTEST_SECRET:
        raise StartRefused(
            f"The shared secret has {len(secret)} characters; host:port needs at least {SHORTEST_SECRET}.",
            hint="Make one with `openssl rand -hex 32` and give the same to web.",
        )
    try:
        return socket.create_server((host, port), backlog=2048)
    except OSError as fault:
        raise StartRefused(f"The model server cannot listen on {host}:{port}: {fault.strerror}.") from fault


def _unix_listener(path: Path) -> socket.socket:
    """A socket that only this user can open. One that a dead process left behind is replaced."""
    if len(os.fsencode(path)) > LONGEST_SOCKET_PATH:
        raise StartRefused(
            f"The socket path {str(path)!r} is longer than {LONGEST_SOCKET_PATH} bytes.",
            hint="Set TRAINSHED_HOME to a shorter path.",
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _remove_if_dead(path)
        return _bind(path)
    except OSError as fault:
        raise StartRefused(f"The model server cannot listen on {path}: {fault.strerror}.") from fault


def _bind(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    previous = os.umask(0o177)
    try:
        listener.bind(str(path))
    except OSError:
        listener.close()
        raise
    finally:
        os.umask(previous)
    return listener


def _remove_if_dead(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except FileNotFoundError:
            return
        except ConnectionRefusedError:
            path.unlink()
            return
    raise StartRefused(f"Another model server listens on {path}.", hint="Stop it first, or use another TRAINSHED_HOME.")


def _remove_if_ours(path: Path, inode: int) -> None:
    """Our successor may have put its own socket there already."""
    if path.exists() and path.stat().st_ino == inode:
        path.unlink()
