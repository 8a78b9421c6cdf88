"""The guard: starts the child, renews the lease, carries its story and files to the server, and names the end.

An outage of the server is not the attempt's death: the guard keeps the child working and retries. Only the code
`attempt_superseded` makes it kill the child.
"""

from __future__ import annotations

import collections
import contextlib
import logging
import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainshed.client.attempts import AttemptClient
from trainshed.errors import AttemptSuperseded, NotSignedIn, StateConflict, TrainshedError, Unavailable
from trainshed.runner.family import Family, adopt_orphans
from trainshed.runner.lines import LineWriter, read_lines
from trainshed.runner.story import StorySender
from trainshed.schemas import EndReport, Publication, Reason
from trainshed.schemas.attempts import AttemptEnd
from trainshed.vision.environment import training_environment

log = logging.getLogger(__name__)
_BEATS_PER_LEASE = 15
_GRACE_SECONDS = {"cancel": 2.0, "stop": 15.0, "pause": 60.0}
_ENDS: dict[str, AttemptEnd] = {"cancel": "cancelled", "stop": "stopped", "pause": "paused"}


@dataclass(frozen=True)
class Order:
    """One attempt, as the executor hands it over on standard input."""

    url: str
    token: str
    attempt_id: str
    work_folder: str
    gpus: list[int]


class Guard:
    """The life of one attempt. Made before the attempt is known, so that its child is warm when it comes."""

    def __init__(self, warm: str) -> None:
        adopt_orphans()
        hears, self._says_fd = os.pipe()
        self._hears_fd, says = os.pipe()
        command = [sys.executable, "-m", "trainshed.runner.child", str(hears), str(says), warm]
        environment = {**os.environ, **training_environment()}
        self._family = Family(command, pass_fds=(hears, says), environment=environment)
        os.close(hears)
        os.close(says)
        self._child = LineWriter(self._says_fd)
        # Signal handlers put into these, and only a SimpleQueue may be entered twice by one thread.
        self._inbox: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self._pokes: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._asked = ""
        self._verdict: dict[str, Any] | None = None
        self._tail: collections.deque[str] = collections.deque(maxlen=40)
        self._superseded = False
        self._peak_memory_bytes: int | None = None

    def dismiss(self) -> None:
        """No attempt came: end the warm child."""
        self._family.kill()

    def run(self, order: Order, lifeline: int | None) -> None:
        """Guard the attempt to its end; returns when the server knows the end or nobody listens any more."""
        self._client = AttemptClient(order.url, order.token)
        self._sender = StorySender(self._client)
        signal.signal(signal.SIGTERM, lambda *_: self._inbox.put(("ask", "stop")))
        signal.signal(signal.SIGUSR1, lambda *_: self._pokes.put(None))
        work = Path(order.work_folder)
        work.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            self._watch(lifeline)
            renewal = self._renew_first()
            if renewal:
                # Not before: what a warm child has printed would be taken for words of an attempt that holds no job.
                self._sender.start(lambda: self._inbox.put(("superseded", None)))
                self._child.write({"t": "start", **order.__dict__})
                self._start(self._keep_lease, renewal)
                self._live()
                self._tell_end()
        finally:
            self._client.abandon.set()
            self._sender.close()
            self._family.kill()
            shutil.rmtree(work, ignore_errors=True)

    def _start(self, target: Any, *arguments: Any) -> threading.Thread:
        thread = threading.Thread(target=target, args=arguments, name=target.__name__, daemon=True)
        thread.start()
        return thread

    def _watch(self, lifeline: int | None) -> None:
        self._start(self._read_child)
        self._start(self._wait_for_child)
        self._output = self._start(self._read_output)
        if lifeline is not None:
            self._start(self._hold_lifeline, lifeline)

    # Threads: each only reads one thing and puts it in the inbox

    def _read_child(self) -> None:
        for message in read_lines(self._hears_fd):
            self._inbox.put(("child", message))
        self._inbox.put(("ended", None))

    def _wait_for_child(self) -> None:
        self._family.process.wait()
        self._inbox.put(("exited", None))

    def _read_output(self) -> None:
        assert self._family.process.stdout is not None
        for line in self._family.process.stdout:
            text = line.decode(errors="replace").rstrip()
            self._tail.append(text)
            self._sender.tell("log", {"text": text})

    def _hold_lifeline(self, descriptor: int) -> None:
        """Nobody ever writes to the lifeline; its end means that the supervisor is gone."""
        while os.read(descriptor, 1):
            pass
        self._client.abandon.set()
        self._inbox.put(("superseded", None))

    def _renew_first(self) -> float:
        """The first renewal starts the job; 0 when the attempt was given to somebody else meanwhile."""
        while not self._client.abandon.is_set():
            try:
                return self._client.renew_once().lease_seconds
            except (AttemptSuperseded, NotSignedIn):
                return 0.0
            except TrainshedError as error:
                log.info("the first renewal is tried again: %s", error)
                self._client.abandon.wait(0.25)
        return 0.0

    def _keep_lease(self, lease_seconds: float) -> None:
        while not self._client.abandon.is_set():
            with contextlib.suppress(queue.Empty):
                self._pokes.get(timeout=max(0.1, min(2.0, lease_seconds / _BEATS_PER_LEASE)))
            self._peak_memory_bytes = self._family.peak_memory_bytes() or self._peak_memory_bytes
            try:
                renewal = self._client.renew_once()
            except (AttemptSuperseded, NotSignedIn):
                self._inbox.put(("superseded", None))
                return
            except TrainshedError as error:
                log.info("the lease could not be renewed: %s", error)
                continue
            if renewal.cancel_requested:
                self._inbox.put(("ask", "cancel"))
            elif renewal.pause_requested:
                self._inbox.put(("ask", "pause"))

    # The one place that decides

    def _live(self) -> None:
        """Until the child has ended or the attempt no longer counts."""
        deadline: float | None = None
        while True:
            try:
                kind, value = self._inbox.get(timeout=max(0.0, deadline - time.monotonic()) if deadline else None)
            except queue.Empty:
                self._family.kill()
                deadline = None
                continue
            if kind == "ended":
                return
            if kind == "superseded":
                self._superseded = True
                return
            if kind == "exited":
                self._family.kill()  # a grandchild that still holds the pipe would keep us waiting for its end
            elif kind == "child":
                self._heard(value)
            elif kind == "ask" and self._ask(value):
                deadline = time.monotonic() + _GRACE_SECONDS[value]

    def _ask(self, why: str) -> bool:
        """Ask the child to stop; a cancel overrides the others. False if that was asked before."""
        if self._asked in (why, "cancel"):
            return False
        self._asked = why
        self._child.write({"t": "stop", "why": why})
        return True

    def _heard(self, message: dict[str, Any]) -> None:
        kind = message.pop("t")
        if kind == "event":
            self._sender.tell(message["kind"], message["body"])
        elif kind == "checkpoint":
            self._sender.save_checkpoint(Path(message["path"]), message["step"])
        else:
            self._verdict = {"t": kind, **message}

    # The end

    def _tell_end(self) -> None:
        if self._superseded:
            return
        self._family.kill()  # whatever the child has left behind
        self._output.join(timeout=2)
        self._drain_inbox()
        try:
            self._sender.drain()
            if self._verdict and self._verdict["t"] == "done" and self._asked != "cancel":
                self._publish(self._verdict)
            else:
                self._client.end(self._report())
        except (AttemptSuperseded, NotSignedIn):
            log.info("the attempt was superseded before its end was told")
        except Unavailable:
            log.warning("the server did not hear the end of the attempt")

    def _drain_inbox(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                kind, value = self._inbox.get_nowait()
                if kind == "child":
                    self._heard(value)
                elif kind == "ask" and value == "cancel":
                    self._asked = "cancel"

    def _publish(self, done: dict[str, Any]) -> None:
        try:
            artifacts = {name: self._client.store_file(Path(path)) for name, path in done["artifacts"].items()}
            self._client.publish(Publication(result=done["result"], artifacts=artifacts))
        except AttemptSuperseded:
            raise
        except StateConflict:
            self._client.end(EndReport(end="cancelled"))
        except Unavailable:
            raise
        except TrainshedError as error:
            reason = Reason(code=error.code, message=error.message, hint=error.hint)
            self._client.end(EndReport(end="failed", reason=reason))

    def _report(self) -> EndReport:
        """Name the end: asked for, told by the handler, or found from the exit status."""
        exit_ = {"peak_memory_bytes": self._peak_memory_bytes, "tail": list(self._tail)}
        verdict = self._verdict
        has_failed = verdict is not None and verdict["t"] == "failed"
        if self._asked and not (has_failed and self._asked != "cancel"):
            return EndReport(end=_ENDS[self._asked], exit=exit_)
        if verdict and has_failed:
            exit_["traceback"] = verdict["traceback"]
            end: AttemptEnd = "failed" if verdict["is_final"] else "crashed"
            return EndReport(end=end, reason=Reason.model_validate(verdict["reason"]), exit=exit_)
        return EndReport(end="crashed", reason=_exit_reason(self._family.process, self._tail), exit=exit_)


def _exit_reason(process: subprocess.Popen[bytes], tail: collections.deque[str]) -> Reason:
    code = process.returncode
    if code is not None and code < 0:
        if -code == signal.SIGKILL:
            return Reason(
                code="killed",
                message="The work process was killed (SIGKILL); most often the machine ran out of memory.",
                hint="Try a smaller batch size or image size.",
            )
        return Reason(code="signal", message=f"The work process ended by the signal {_signal_name(-code)}.")
    last = next((line for line in reversed(tail) if line.strip()), "it printed nothing")
    return Reason(code="exit_code", message=f"The work process ended with exit code {code}: {last[:300]}")


def _signal_name(number: int) -> str:
    """The name, or the number alone: most of the real-time signals have no name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)
