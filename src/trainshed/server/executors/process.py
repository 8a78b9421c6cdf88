"""Attempts as processes of this machine: a guard each, kept warm ahead of time.

Guards outlive this scheduler (they hold the supervisor's lifeline, not ours); a note per attempt in
TRAINSHED_HOME/run lets the next scheduler find them.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from trainshed.schemas import settings
from trainshed.server.home import environment_of_others, local_url
from trainshed.server.queue.ledger import Assigned

log = logging.getLogger(__name__)
_STOP_SECONDS = 30.0
# What a job kind wants imported ahead; a kind that is not here is light.
_WARMTH = {"train": "vision", "pretrained": "vision"}


@dataclass
class _Idle:
    warmth: str
    process: subprocess.Popen[bytes]


class ProcessExecutor:
    """Runs attempts on this machine."""

    def __init__(self, *, lifeline: int | None) -> None:
        self._lifeline = lifeline
        self._idle: list[_Idle] = []
        self._running: dict[str, _Guard] = {}
        home = settings.home()
        self._notes = home / "run" / "attempts"
        self._work = home / "work"
        self._notes.mkdir(parents=True, exist_ok=True)

    def submit(self, assigned: Assigned) -> None:
        warmth = _WARMTH.get(assigned.kind, "light")
        process = self._take(warmth)
        attempt_id = assigned.held.attempt_id
        order = {
            "url": local_url(),
            "token": assigned.token,
            "attempt_id": attempt_id,
            "work_folder": str(self._work / attempt_id),
            "gpus": list(assigned.gpus),
        }
        guard = _Guard(process.pid, _start_time(process.pid), process)
        (self._notes / attempt_id).write_text(json.dumps({"pid": guard.pid, "start_time": guard.start_time}))
        self._running[attempt_id] = guard
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it has died; `dead` tells
            process.stdin.write(json.dumps(order).encode() + b"\n")
            process.stdin.close()

    def _take(self, warmth: str) -> subprocess.Popen[bytes]:
        self._idle = [idle for idle in self._idle if idle.process.poll() is None]
        for idle in self._idle:
            if idle.warmth == warmth:
                self._idle.remove(idle)
                return idle.process
        return self._spawn(warmth)

    def _spawn(self, warmth: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "trainshed.runner", "--warm", warmth]
        lifeline = () if self._lifeline is None else (self._lifeline,)
        if lifeline:
            command += ["--lifeline", str(self._lifeline)]
        environment = environment_of_others()
        return subprocess.Popen(
            command, stdin=subprocess.PIPE, pass_fds=lifeline, start_new_session=True, env=environment
        )

    def keep_warm(self, num_free_slots: int) -> None:
        """Keep one idle guard of each warmth, fewer where fewer could start: warming takes seconds of a processor."""
        self._idle = [idle for idle in self._idle if idle.process.poll() is None]
        wanted = ["light", "vision"] if importlib.util.find_spec("torch") else ["light"]
        for warmth in wanted[:num_free_slots]:
            if not any(idle.warmth == warmth for idle in self._idle):
                self._idle.append(_Idle(warmth, self._spawn(warmth)))

    def hurry(self, attempt_id: str) -> None:
        guard = self._running.get(attempt_id)
        if guard and guard.is_alive():
            guard.signal(signal.SIGUSR1)

    def recover(self) -> None:
        for note in self._notes.iterdir():
            with contextlib.suppress(ValueError, KeyError):
                known = json.loads(note.read_text())
                self._running[note.name] = _Guard(known["pid"], known["start_time"], None)

    def dead(self) -> list[tuple[str, dict[str, object]]]:
        gone = [(attempt_id, guard) for attempt_id, guard in self._running.items() if not guard.is_alive()]
        for attempt_id, _ in gone:
            self._forget(attempt_id)
        return [(attempt_id, guard.exit()) for attempt_id, guard in gone]

    def stop(self) -> None:
        for idle in self._idle:
            assert idle.process.stdin is not None
            idle.process.stdin.close()
        for guard in self._running.values():
            guard.signal(signal.SIGTERM)
        deadline = time.monotonic() + _STOP_SECONDS
        while any(guard.is_alive() for guard in self._running.values()) and time.monotonic() < deadline:
            time.sleep(0.05)
        for guard in self._running.values():
            guard.signal(signal.SIGKILL)
        for attempt_id in list(self._running):
            self._forget(attempt_id)

    def _forget(self, attempt_id: str) -> None:
        """Clear away what an attempt has left; a guard that was killed could not do it itself."""
        del self._running[attempt_id]
        (self._notes / attempt_id).unlink(missing_ok=True)
        shutil.rmtree(self._work / attempt_id, ignore_errors=True)


@dataclass(frozen=True)
class _Guard:
    """A guard process, ours or an earlier scheduler's; the start time tells it from a reused process id."""

    pid: int
    start_time: str
    process: subprocess.Popen[bytes] | None

    def is_alive(self) -> bool:
        if self.process is not None:
            return self.process.poll() is None
        return bool(self.start_time) and _start_time(self.pid) == self.start_time

    def signal(self, number: signal.Signals) -> None:
        if self.is_alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def exit(self) -> dict[str, object]:
        code = self.process.poll() if self.process is not None else None
        if code is not None and code < 0:
            return {"words": f"its guard ended by {signal.Signals(-code).name}", "signal": -code}
        return {"words": "its guard is gone", "code": code}


def _start_time(pid: int) -> str:
    """A process's start in clock ticks since boot, empty if it is gone or a zombie (Linux; elsewhere its `ps` line)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        if sys.platform.startswith("linux"):
            return ""
        shown = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
        return shown.stdout.strip()
    return "" if fields[0] == "Z" else fields[19]
