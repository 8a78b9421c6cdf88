"""Wake-ups: hints that a job has moved. Everything stays right when every one of them is lost.

A Unix datagram socket per listener in TRAINSHED_HOME on SQLite, LISTEN/NOTIFY on PostgreSQL. The first hint of a
job leaves at once, the next ones at most every 250 ms, because NOTIFY serialises commits.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from django.conf import settings
from django.db import DatabaseError, connection, transaction

log = logging.getLogger(__name__)
_CHANNEL = "trainshed"
_QUIET_SECONDS = 0.25


class Waker:
    """Sends hints; holds a job's hints together so that there are at most four a second."""

    def __init__(self, send: Callable[[str], None]) -> None:
        self._send = send
        self._last: dict[str, float] = {}
        self._due: dict[str, float] = {}
        self._condition = threading.Condition()
        self._thread: threading.Thread | None = None

    def wake(self, hint: str) -> None:
        """Send now if this hint has been quiet, else once when its quiet time has passed."""
        now = time.monotonic()
        with self._condition:
            since = now - self._last.get(hint, -1e9)
            if since < _QUIET_SECONDS:
                self._due.setdefault(hint, now + _QUIET_SECONDS - since)
                self._start()
                self._condition.notify()
                return
            # The thread that sends late is itself late: this one stands for what it was about to send.
            self._due.pop(hint, None)
            self._remember(hint, now)
        self._send(hint)

    def _remember(self, hint: str, now: float) -> None:
        if len(self._last) > 10_000:
            self._last = {name: at for name, at in self._last.items() if now - at < _QUIET_SECONDS}
        self._last[hint] = now

    def _start(self) -> None:
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._send_late, name="wake", daemon=True)
            self._thread.start()

    def _send_late(self) -> None:
        while True:
            with self._condition:
                while not self._due:
                    self._condition.wait()
                hint, due = min(self._due.items(), key=lambda item: item[1])
                delay = due - time.monotonic()
                if delay > 0:
                    self._condition.wait(delay)
                    continue
                del self._due[hint]
                self._remember(hint, time.monotonic())
            try:
                self._send(hint)
            except (OSError, DatabaseError):
                connection.close()  # this thread's own; a broken one would lose every later hint as well


def _send_datagrams(hint: str) -> None:
    folder = Path(settings.HOME) / "run"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        for path in folder.glob("wake-*.sock"):
            try:
                sender.sendto(hint.encode(), str(path))
            except (ConnectionRefusedError, FileNotFoundError):
                path.unlink(missing_ok=True)  # its listener has died
            except OSError:
                log.debug("a wake-up was dropped for %s", path.name)


def _send_notify(hint: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_notify(%s, %s)", [_CHANNEL, hint])


def _send(hint: str) -> None:
    (_send_notify if connection.vendor == "postgresql" else _send_datagrams)(hint)


_waker = Waker(_send)


def after_commit(job_id: str, workspace_id: str) -> None:
    """Hint that this job has moved, once the surrounding transaction has committed."""
    transaction.on_commit(lambda: _wake(f"{job_id} {workspace_id}"), robust=True)


def _wake(hint: str) -> None:
    # A hint that cannot be sent must not turn a committed change into an error.
    with contextlib.suppress(OSError, DatabaseError):
        _waker.wake(hint)


class Listener(Protocol):
    """Receives hints: `wait` returns the (job id, workspace id) pairs that moved, or nothing after the timeout."""

    def wait(self, timeout_seconds: float) -> set[tuple[str, str]]: ...

    def close(self) -> None: ...


def _pair(hint: str) -> tuple[str, str]:
    job_id, _, workspace_id = hint.partition(" ")
    return job_id, workspace_id


class SocketListener:
    """Hints by a Unix datagram socket of this process."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / f"wake-{os.getpid()}-{id(self):x}.sock"
        self._open()

    def _open(self) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._path.unlink(missing_ok=True)
        self._socket.bind(str(self._path))
        self._path.chmod(0o600)
        self._socket.setblocking(False)

    def wait(self, timeout_seconds: float) -> set[tuple[str, str]]:
        select.select([self._socket], [], [], timeout_seconds)
        hints: set[tuple[str, str]] = set()
        with contextlib.suppress(BlockingIOError):
            while True:
                hints.add(_pair(self._socket.recv(512).decode()))
        if not hints and not self._path.exists():
            self._socket.close()
            self._open()
        return hints

    def close(self) -> None:
        self._socket.close()
        self._path.unlink(missing_ok=True)


class NotifyListener:
    """Hints by LISTEN on a PostgreSQL connection of its own; a lost connection is opened again."""

    def __init__(self) -> None:
        self._connection: Any = None

    def wait(self, timeout_seconds: float) -> set[tuple[str, str]]:
        import psycopg

        try:
            if self._connection is None:
                self._connection = self._connect()
            notices = list(self._connection.notifies(timeout=timeout_seconds, stop_after=1))
            notices += list(self._connection.notifies(timeout=0))
        except psycopg.Error:
            self.close()
            time.sleep(min(timeout_seconds, 1.0))
            return set()
        return {_pair(notice.payload) for notice in notices}

    def _connect(self) -> Any:
        import psycopg

        parameters = connection.get_connection_params()
        keep = {key: parameters[key] for key in ("dbname", "user", "password", "host", "port") if key in parameters}
        opened = psycopg.connect(autocommit=True, connect_timeout=5, **keep)
        opened.execute(f"LISTEN {_CHANNEL}")
        return opened

    def close(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(Exception):
                self._connection.close()
            self._connection = None


def listen() -> Listener:
    """A listener for the connected database."""
    if connection.vendor == "postgresql":
        return NotifyListener()
    return SocketListener(Path(settings.HOME) / "run")
