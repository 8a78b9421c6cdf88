"""Guards and children as real processes, and waiting for the end of any process."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from runner.attempt_server import AttemptServer
from trainshed.runner.lines import LineWriter, read_lines

_STAND_INS = Path(__file__).parent / "stand_ins"
PATIENCE_SECONDS = 20.0


def environment(home: Path) -> dict[str, str]:
    """What a runner starts with: a home of its own, and the work that is made for the tests."""
    paths = [str(_STAND_INS), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "TRAINSHED_HOME": str(home), "PYTHONPATH": os.pathsep.join(paths)}


def wait_for_end(*pids: int) -> None:
    """Return when none of these processes runs any more, whoever their parent is."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError), _watched(pid) as descriptor:
            assert select.select([descriptor], [], [], PATIENCE_SECONDS)[0], f"process {pid} did not end"


def is_running(pid: int) -> bool:
    try:
        with _watched(pid) as descriptor:
            return not select.select([descriptor], [], [], 0)[0]
    except ProcessLookupError:
        return False


def end_now(pid: int) -> None:
    """Kill a process that a test has left behind; not another one that got its id meanwhile."""
    with contextlib.suppress(OSError), _watched(pid) as descriptor:
        if b"signal.pause()" in Path(f"/proc/{pid}/cmdline").read_bytes():
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)


@contextlib.contextmanager
def _watched(pid: int) -> Iterator[int]:
    descriptor = os.pidfd_open(pid)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


class GuardProcess:
    """A guard as an executor starts it: warm, before there is a job. Ends with the block, and its child with it."""

    def __init__(self, folder: Path, *, lifeline: int | None = None, greeting: str = "") -> None:
        """With a greeting, whatever starts with it as its environment prints it before there is a job."""
        self._server: AttemptServer | None = None
        self.work_folder = folder / "work"
        self.log = folder / "guard.log"
        command = [sys.executable, "-m", "trainshed.runner", "--warm", "none"]
        command += [] if lifeline is None else ["--lifeline", str(lifeline)]
        passed = () if lifeline is None else (lifeline,)
        said = {"GREETING": greeting} if greeting else {}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stderr=log, pass_fds=passed, env=environment(folder / "home") | said
            )

    def order(self, server: AttemptServer) -> None:
        """Hand over the one attempt of a server."""
        self._server = server
        order = {
            "url": server.url,
            "token": server.token,
            "attempt_id": "attempt0",
            "work_folder": str(self.work_folder),
            "gpus": [],
        }
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order).encode() + b"\n")
        self.process.stdin.flush()

    def child_pid(self) -> int:
        """The process id that the work has told of itself."""
        assert self._server is not None
        return int(self._server.wait_for("progress")["pid"])

    def wait(self) -> int:
        """The exit code, as soon as the guard has ended."""
        return self.process.wait(PATIENCE_SECONDS)

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def __enter__(self) -> GuardProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """End it whatever its state."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        if self._server is not None:  # one without an order dismisses its child and ends by itself
            self.process.kill()  # its child is bound to it
        self.wait()


class ChildProcess:
    """A child without a guard: the test hears and says what a guard would."""

    def __init__(self, server: AttemptServer, folder: Path) -> None:
        self._server = server
        self.work_folder = folder / "work"
        self.work_folder.mkdir()
        hears, self._says = os.pipe()
        self._hears, says = os.pipe()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "trainshed.runner.child", str(hears), str(says), "none"],
            stdout=subprocess.PIPE,
            pass_fds=(hears, says),
            env=environment(folder / "home"),
        )
        os.close(hears)
        os.close(says)
        self.say = LineWriter(self._says).write
        self.messages = read_lines(self._hears)

    def start(self, gpus: list[int] | None = None) -> None:
        said = {"url": self._server.url, "token": self._server.token, "work_folder": str(self.work_folder)}
        self.say({"t": "start", "gpus": gpus or [], **said})

    def hang_up(self) -> None:
        """Close the pipe that it hears with."""
        os.close(self._says)
        self._says = -1

    def verdict(self) -> dict[str, Any]:
        """Its last message; events before it are passed over."""
        return next(message for message in self.messages if message["t"] != "event")

    def __enter__(self) -> ChildProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()
        self.messages.close()  # type: ignore[attr-defined]
        for descriptor in (self._says, self._hears):
            if descriptor >= 0:
                os.close(descriptor)
