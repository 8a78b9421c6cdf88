"""`trainshed up`: the parent of every process of one machine, started and stopped in order.

It loads neither Django nor torch. Its death ends everything: its children get a parent-death signal, and the guards
of running attempts hold the other end of its lifeline.
"""

from __future__ import annotations

import contextlib
import ctypes
import ipaddress
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainshed.errors import BY_CODE, StartRefused, TrainshedError, from_problem
from trainshed.schemas import settings
from trainshed.server import home
from trainshed.server.services import addresses

_LINUX = sys.platform.startswith("linux")
_LIBC = ctypes.CDLL(None, use_errno=True) if _LINUX else None
_PR_SET_PDEATHSIG = 1
_READY_SECONDS = 60.0
_STOP_SECONDS = {"scheduler": 40.0}
_LONGEST_PAUSE_SECONDS = 30.0
_STEADY_SECONDS = 60.0
_LONGEST_HOME = 70


@dataclass
class Part:
    """One process that the supervisor keeps alive."""

    name: str
    command: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    pass_fds: tuple[int, ...] = ()
    knows_database: bool = False
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    num_quick_deaths: int = 0
    start_again_at: float = 0.0


@dataclass(frozen=True)
class Started:
    """What `trainshed up` tells the person when everything answers."""

    url: str
    home: Path
    setup_code: str | None


def up(on_start: Callable[[Started], None] = lambda _: None, on_note: Callable[[str], None] = lambda _: None) -> None:
    """Run the whole service until SIGINT or SIGTERM; returns when everything has stopped.

    `on_start` hears once that the service answers; `on_note` hears of processes that died and were started again.
    Raises `StartRefused` with a message to act on.
    """
    folder = home.prepare()
    _refuse_long_path(folder)
    _refuse_without_pages()
    held = home.lock(folder)
    try:
        home.secret_key()
        addresses.trusted_proxies()
        _refuse_taken_port()
        prepared = _bootstrap()
        _refuse_open_door(prepared["setup_code"])
        Supervisor(folder, prepared, on_note).run(on_start)
    finally:
        held.close()


class Supervisor:
    """Starts the parts, starts again what died, stops in order: no new work, then the work, then the doors."""

    def __init__(self, folder: Path, prepared: dict[str, Any], on_note: Callable[[str], None]) -> None:
        self._folder = folder
        self._prepared = prepared
        self._note = on_note
        self._stopping = threading.Event()
        self._num_signals = 0
        # Nobody writes to the lifeline; guards read its end when this process is gone, however it went.
        self._lifeline, self._lifeline_end = os.pipe()
        os.set_inheritable(self._lifeline_end, False)
        self._parts = self._plan()

    def _plan(self) -> list[Part]:
        python, url = [sys.executable, "-m"], home.local_url()
        lifeline = str(self._lifeline)
        agent = {"TRAINSHED_URL": url, "TRAINSHED_TOKEN": self._prepared["agent_key"]}
        serving = {"TRAINSHED_URL": url, "TRAINSHED_TOKEN": self._prepared["serving_token"]}
        return [
            Part("web", [*python, "trainshed.server.asgi"], knows_database=True),
            Part("agent", [*python, "trainshed", "agent"], agent),
            Part(
                "scheduler",
                [*python, "trainshed.server.scheduler", "--lifeline", lifeline],
                pass_fds=(self._lifeline,),
                knows_database=True,
            ),
            Part("model-server", [*python, "trainshed", "model-server"], serving),
        ]

    def run(self, on_start: Callable[[Started], None]) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._asked_to_stop)
        try:
            self._start(self._parts[0])
            self._wait_for_web()
            for part in self._parts[1:]:
                self._start(part)
            if not self._stopping.is_set():
                on_start(Started(home.local_url(), self._folder, self._prepared["setup_code"]))
            while not self._stopping.wait(0.1):
                self._revive()
        finally:
            self._stop_all()
            os.close(self._lifeline_end)

    def _asked_to_stop(self, *_: object) -> None:
        self._num_signals += 1
        self._stopping.set()
        if self._num_signals > 1:
            for part in self._parts:
                if part.process:
                    part.process.kill()

    def _start(self, part: Part) -> None:
        log = self._folder / "logs" / f"{part.name}.log"
        _turn_over(log)
        parent = os.getpid()
        inherited = dict(os.environ) if part.knows_database else home.environment_of_others()
        with log.open("ab") as output:
            part.process = subprocess.Popen(
                part.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**inherited, "TRAINSHED_HOME": str(self._folder), **part.environment},
                pass_fds=part.pass_fds,
                # Its own session: Ctrl-C reaches the supervisor alone, which stops the parts in order.
                preexec_fn=lambda: _bind_to_parent(parent),
            )
        part.started_at = time.monotonic()

    def _wait_for_web(self) -> None:
        web, deadline = self._parts[0], time.monotonic() + _READY_SECONDS
        host, port = home.loopback_host(), settings.whole("TRAINSHED_PORT")
        while not self._stopping.is_set():
            assert web.process is not None
            if web.process.poll() is not None or time.monotonic() > deadline:
                raise StartRefused(
                    "The web process did not start.", hint=f"{self._folder / 'logs' / 'web.log'} tells why."
                )
            with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=1):
                return
            time.sleep(0.05)

    def _revive(self) -> None:
        """Start again what died; the quicker it dies, the longer the pause."""
        for part in self._parts:
            if part.process is not None and part.process.poll() is not None:
                self._bury(part)
            if part.process is None and time.monotonic() >= part.start_again_at:
                self._start(part)

    def _bury(self, part: Part) -> None:
        assert part.process is not None
        lived = time.monotonic() - part.started_at
        part.num_quick_deaths = 0 if lived > _STEADY_SECONDS else part.num_quick_deaths + 1
        pause = min(_LONGEST_PAUSE_SECONDS, 0.25 * 2.0 ** max(0, part.num_quick_deaths - 1))
        part.start_again_at = time.monotonic() + pause
        log = self._folder / "logs" / f"{part.name}.log"
        self._note(f"{part.name} {_how(part.process.returncode)}; it starts again in {pause:.1f} s (see {log}).")
        part.process = None

    def _stop_all(self) -> None:
        for name in ("scheduler", "agent", "model-server", "web"):
            part = next(part for part in self._parts if part.name == name)
            if part.process is None:
                continue
            with contextlib.suppress(ProcessLookupError):
                part.process.terminate()
            try:
                part.process.wait(_STOP_SECONDS.get(name, 10.0))
            except subprocess.TimeoutExpired:
                part.process.kill()
                part.process.wait()


def _bind_to_parent(parent: int) -> None:
    os.setsid()
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)


def _how(code: int) -> str:
    return f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


def _turn_over(log: Path, most_bytes: int = 20 << 20) -> None:
    """Keep one older log file when this one has grown large."""
    with contextlib.suppress(FileNotFoundError):
        if log.stat().st_size > most_bytes:
            log.replace(log.with_suffix(".1.log"))


# What refuses a start


def _refuse_long_path(folder: Path) -> None:
    if len(os.fsencode(folder)) > _LONGEST_HOME:
        raise StartRefused(
            f"The path {folder} has more than {_LONGEST_HOME} bytes, too long for the sockets in it.",
            hint="Set TRAINSHED_HOME to a shorter path.",
        )


def _refuse_taken_port() -> None:
    host, port = settings.text("TRAINSHED_HOST"), settings.whole("TRAINSHED_PORT")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except (OSError, OverflowError) as error:
            raise StartRefused(
                f"Trainshed cannot listen on {host}:{port}: {getattr(error, 'strerror', None) or error}.",
                hint="Another program may use the port; choose another one with --port or TRAINSHED_PORT.",
            ) from error


def _bootstrap() -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "trainshed.server.bootstrap"], capture_output=True, text=True, check=False
    )
    lines = done.stdout.strip().splitlines()
    told = json.loads(lines[-1]) if lines and lines[-1].startswith("{") else {}
    if "prepared" in told:
        return dict(told["prepared"])
    if told.get("problem", {}).get("code") in BY_CODE:
        raise from_problem(told["problem"])
    raise TrainshedError("The start failed:\n" + "\n".join(done.stderr.strip().splitlines()[-5:]))


def _refuse_without_pages() -> None:
    """A packed Trainshed has them; a checkout has them built."""
    if not (Path(__file__).parent / "web" / "assets" / "manifest.json").exists():
        raise StartRefused("The pages have not been built.", hint="Run `make pages` in the checkout.")


def _refuse_open_door(setup_code: str | None) -> None:
    host = settings.text("TRAINSHED_HOST")
    is_loopback = host == "localhost" or (_is_address(host) and ipaddress.ip_address(host).is_loopback)
    if is_loopback:
        return
    if setup_code is not None:
        raise StartRefused(
            f"Nobody has set a password yet, so Trainshed does not listen on {host}.",
            hint="Start it once on 127.0.0.1, run `trainshed setup`, then start it on this address.",
        )
    if not settings.text("TRAINSHED_PUBLIC_URL").startswith("https://"):
        raise StartRefused(
            f"Listening on {host} needs TLS in front of it.",
            hint="Set TRAINSHED_PUBLIC_URL to the https:// address of your proxy.",
        )


def _is_address(host: str) -> bool:
    with contextlib.suppress(ValueError):
        ipaddress.ip_address(host)
        return True
    return False
