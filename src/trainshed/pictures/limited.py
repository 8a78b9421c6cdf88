"""A pool of limited child processes that inspect pictures: what kills or hangs a decoder costs one picture.

Parent and child speak length-prefixed frames of JSON and bytes over pipes; nothing is pickled. This file is
also the child's program. What an inspection is stands in `inspect`.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import select
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from queue import LifoQueue
from types import TracebackType
from typing import BinaryIO

from trainshed.errors import PictureRefused, TrainshedError
from trainshed.pictures.decode import FORMATS, Limits
from trainshed.pictures.inspect import Inspection, inspect

Item = tuple[str, bytes]
Outcome = Inspection | PictureRefused

_REQUEST = struct.Struct(">IQ")  # bytes of the name, bytes of the picture
_REPLY = struct.Struct(">II")  # bytes of the JSON, bytes of the thumbnail
_COUNT = struct.Struct(">I")
_READY = b"trainshed pictures 1\n"
_MAX_JSON_BYTES = 64 << 10
_MAX_THUMBNAIL_BYTES = 1 << 20
_BATCH_PICTURES = 64
_BATCH_BYTES = 256 << 10
_IN_FLIGHT_BYTES = 256 << 20
_START_SECONDS = 60.0
_LAST_WORDS_SECONDS = 1.0
_PASSED_ON = {
    "PATH",
    "PYTHONPATH",
    "PYTHONHOME",
    "VIRTUAL_ENV",
    "LD_LIBRARY_PATH",
    "DYLD_LIBRARY_PATH",
    "TMPDIR",
}


class Inspectors:
    """Child processes that inspect pictures under limits of memory and time; a context manager.

    `memory_bytes` bounds a child's address space (default: enough for the largest picture allowed, in any
    format); `timeout_seconds` bounds the time for one picture.
    """

    def __init__(
        self,
        num_processes: int | None = None,
        *,
        memory_bytes: int | None = None,
        timeout_seconds: float = 60.0,
        limits: Limits | None = None,
    ) -> None:
        limits = limits or Limits.of_settings()
        memory_bytes = memory_bytes or memory_needed_bytes(limits)
        num_processes = num_processes or _num_cores()
        self._children = [_Child(limits, memory_bytes, timeout_seconds) for _ in range(num_processes)]
        self._idle: LifoQueue[_Child] = LifoQueue()
        for child in reversed(self._children):
            self._idle.put(child)
        # Children are started by these threads and not by the caller's: the kernel ends a child with the
        # *thread* that started it, and these live as long as the pool.
        self._threads = ThreadPoolExecutor(num_processes, thread_name_prefix="inspector")

    def __enter__(self) -> Inspectors:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for child in self._children:
            child.kill()
        self._threads.shutdown(cancel_futures=True)
        for child in self._children:
            child.end()

    @property
    def process_ids(self) -> list[int]:
        """The children that run now; they start with the first pictures."""
        return [pid for child in self._children if (pid := child.process_id)]

    def map(self, items: Iterable[Item]) -> Generator[tuple[str, Outcome], None, None]:
        """Inspect `(name, bytes)` pairs: each name with its `Inspection` or why it was refused, in order.

        Takes items as results are fetched: what is under way is bounded in number and bytes. A picture whose
        child dies is tried once more in a fresh child before it is refused. Raises `TrainshedError` if no
        child starts.
        """
        under_way: deque[tuple[list[Item], Future[list[Outcome]]]] = deque()
        in_flight_bytes = 0
        try:
            for batch in _batches(items):
                under_way.append((batch, self._threads.submit(self._inspect, batch)))
                in_flight_bytes += _size_bytes(batch)
                while len(under_way) > 2 * len(self._children) or in_flight_bytes > _IN_FLIGHT_BYTES:
                    in_flight_bytes -= _size_bytes(under_way[0][0])
                    yield from _results(*under_way.popleft())
            while under_way:
                yield from _results(*under_way.popleft())
        finally:
            for _, future in under_way:
                future.cancel()

    def _inspect(self, batch: list[Item]) -> list[Outcome]:
        child = self._idle.get()
        try:
            return child.inspect(batch)
        finally:
            self._idle.put(child)


def memory_needed_bytes(limits: Limits) -> int:
    """Address space that a child needs for the largest picture allowed, in the hungriest format.

    Measured at 50 megapixels, above the 113 MiB of an idle child and the file itself: 0.1 bytes per pixel
    (JPEG) to 21 (WebP); 13 for PNG with alpha, 14 for HEIC, 17 for AVIF.
    """
    return (512 << 20) + 32 * limits.max_pixels + 2 * limits.max_bytes


def _num_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _size_bytes(batch: list[Item]) -> int:
    return sum(len(data) for _, data in batch)


def _batches(items: Iterable[Item]) -> Iterator[list[Item]]:
    """Many small pictures travel together; a large one alone."""
    batch: list[Item] = []
    size_bytes = 0
    for name, data in items:
        if batch and (len(batch) == _BATCH_PICTURES or size_bytes + len(data) > _BATCH_BYTES):
            yield batch
            batch, size_bytes = [], 0
        batch.append((name, data))
        size_bytes += len(data)
    if batch:
        yield batch


def _results(batch: list[Item], future: Future[list[Outcome]]) -> Iterator[tuple[str, Outcome]]:
    for (name, _), outcome in zip(batch, future.result(), strict=True):
        yield name, outcome


class _ChildGone(Exception):
    """The child has ended, or does not answer (`timed_out`), or answers nonsense."""

    def __init__(self, timed_out: bool = False) -> None:
        self.timed_out = timed_out


class _Child:
    """One child process, started when needed and again after its death; used by one thread at a time."""

    def __init__(self, limits: Limits, memory_bytes: int, timeout_seconds: float) -> None:
        self._limits = limits
        self._memory_bytes = memory_bytes
        self._timeout_seconds = timeout_seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False
        self._lock = threading.Lock()

    @property
    def process_id(self) -> int | None:
        process = self._process
        return process.pid if process and process.returncode is None else None

    def inspect(self, batch: list[Item]) -> list[Outcome]:
        """The outcome of each picture, whatever happens to the process."""
        outcomes: list[Outcome] = []
        has_died_of = -1  # the picture that is tried for the second time
        while (current := len(outcomes)) < len(batch):
            try:
                self._converse(batch[current:], outcomes)
            except _ChildGone as gone:
                ending = self.end(grace_seconds=0 if gone.timed_out else _LAST_WORDS_SECONDS)
                current = len(outcomes)
                if gone.timed_out:
                    outcomes.append(_took_too_long(batch[current][0], self._timeout_seconds))
                elif has_died_of == current:
                    outcomes.append(_broke_its_decoder(batch[current][0], ending))
                has_died_of = current
        return outcomes

    def kill(self) -> None:
        """End the process for ever, from any thread; a picture under way is given up."""
        with self._lock:
            self._closed = True
            if self._process:
                self._process.kill()

    def end(self, grace_seconds: float = 0) -> str:
        """Clear away what is left of the process; how it ended, in words."""
        process = self._process
        if process is None:
            return "it was not running"
        try:  # a pipe closes a moment before the exit code is there
            process.wait(grace_seconds)
        except subprocess.TimeoutExpired:
            process.kill()
        code = process.wait()
        process.stdin.close()  # type: ignore[union-attr]
        process.stdout.close()  # type: ignore[union-attr]
        self._complaints.close()
        self._process = None
        return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"

    def _converse(self, batch: list[Item], outcomes: list[Outcome]) -> None:
        self._start()
        deadline = time.monotonic() + self._timeout_seconds
        self._write(_COUNT.pack(len(batch)), deadline)
        for name, data in batch:
            encoded = name.encode("utf-8", "replace")
            self._write(_REQUEST.pack(len(encoded), len(data)) + encoded, deadline)
            self._write(data, deadline)
        for _ in batch:
            outcomes.append(self._read_outcome(time.monotonic() + self._timeout_seconds))

    def _read_outcome(self, deadline: float) -> Outcome:
        json_bytes, thumbnail_bytes = _REPLY.unpack(self._read(_REPLY.size, deadline))
        if json_bytes > _MAX_JSON_BYTES or thumbnail_bytes > _MAX_THUMBNAIL_BYTES:
            raise _ChildGone
        document = self._read(json_bytes, deadline)
        return _outcome_from(document, self._read(thumbnail_bytes, deadline))

    def _start(self) -> None:
        with self._lock:
            if self._closed:
                raise TrainshedError("The inspectors are closed.")
            if self._process:
                return
            numbers = (self._limits.max_pixels, self._limits.max_bytes, self._memory_bytes, os.getpid())
            self._complaints = tempfile.TemporaryFile()  # noqa: SIM115 (lives as long as the child)
            # `-P`: the working folder is not searched for modules.
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "trainshed.pictures.limited", *map(str, numbers)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._complaints,
                env=_environment(),
            )
        for pipe in (self._process.stdin, self._process.stdout):
            os.set_blocking(pipe.fileno(), False)  # type: ignore[union-attr]
        self._await_ready()

    def _await_ready(self) -> None:
        try:
            ready = self._read(len(_READY), time.monotonic() + _START_SECONDS)
        except _ChildGone:
            ready = b""
        if ready != _READY:
            self._complaints.seek(0)
            complaints = self._complaints.read(1 << 20).decode("utf-8", "replace").strip()
            ending = self.end(grace_seconds=_LAST_WORDS_SECONDS)
            raise TrainshedError(
                f"The process that inspects pictures does not start: {ending}. "
                f"{complaints[-500:] or 'It gave no reason.'}",
                hint="Short of memory, or an incomplete installation? Try `trainshed doctor`.",
            )

    def _write(self, data: bytes, deadline: float) -> None:
        view = memoryview(data)
        pipe = self._process.stdin.fileno()  # type: ignore[union-attr]
        while view:
            try:
                view = view[os.write(pipe, view) :]
            except BlockingIOError:
                _wait(pipe, select.POLLOUT, deadline)
            except BrokenPipeError:
                raise _ChildGone from None

    def _read(self, num_bytes: int, deadline: float) -> bytes:
        data = bytearray()
        pipe = self._process.stdout.fileno()  # type: ignore[union-attr]
        while len(data) < num_bytes:
            try:
                part = os.read(pipe, num_bytes - len(data))
            except BlockingIOError:
                _wait(pipe, select.POLLIN, deadline)
                continue
            if not part:
                raise _ChildGone
            data += part
        return bytes(data)


def _wait(pipe: int, event: int, deadline: float) -> None:
    poll = select.poll()
    poll.register(pipe, event)
    if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
        raise _ChildGone(timed_out=True)


def _environment() -> dict[str, str]:
    """What the child may know: how to find its libraries, and none of the service's secrets."""
    passed_on = {name: value for name, value in os.environ.items() if name in _PASSED_ON}
    # One thread and one heap: each further one would reserve address space that counts against the limit.
    single = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}
    return {**passed_on, **single, "PYTHONUTF8": "1"}


def _took_too_long(name: str, seconds: float) -> PictureRefused:
    return PictureRefused(
        f"Image '{name}' takes more than {seconds:g} s to decode.", hint="Save it as JPEG or PNG, or smaller."
    )


def _broke_its_decoder(name: str, ending: str) -> PictureRefused:
    return PictureRefused(
        f"Image '{name}' ended its decoder twice ({ending}).",
        hint="The file is probably damaged. Open and save it again in a picture program.",
    )


def _outcome_from(document: bytes, thumbnail: bytes) -> Outcome:
    """A child's answer, checked: a child that has decoded hostile bytes may say anything."""
    try:
        fields = json.loads(document)
        if "refused" in fields:
            return PictureRefused(str(fields["refused"]), hint=str(fields["hint"]))
        answer = Inspection(
            sha256=re.fullmatch("[0-9a-f]{64}", fields["sha256"])[0],  # type: ignore[index]
            format=FORMATS[FORMATS.index(fields["format"])],
            width=int(fields["width"]),
            height=int(fields["height"]),
            thumbnail=thumbnail or None,
        )
    except (ValueError, LookupError, TypeError):
        raise _ChildGone from None
    if min(answer.width, answer.height) < 1 or not thumbnail.startswith(b"\xff\xd8" if thumbnail else b""):
        raise _ChildGone
    return answer


# ------------------------------------------------------------------ the child


def _serve(limits: Limits, requests: BinaryIO, replies: int) -> None:
    """Answer batches until the parent closes the pipe; each is read whole first, so that no side blocks."""
    os.write(replies, _READY)
    while len(head := requests.read(_COUNT.size)) == _COUNT.size:
        batch = [_read_item(requests) for _ in range(_COUNT.unpack(head)[0])]
        batch.reverse()
        while batch:
            name, data = batch.pop()
            _write_whole(replies, _reply(data, name, limits))


def _read_item(requests: BinaryIO) -> Item:
    name_bytes, data_bytes = _REQUEST.unpack(requests.read(_REQUEST.size))
    return requests.read(name_bytes).decode(), requests.read(data_bytes)


def _reply(data: bytes, name: str, limits: Limits) -> bytes:
    thumbnail = b""
    try:
        answer = inspect(data, name, limits=limits)
        thumbnail = answer.thumbnail or b""
        fields = {
            "sha256": answer.sha256,
            "format": answer.format,
            "width": answer.width,
            "height": answer.height,
        }
    except PictureRefused as refused:
        fields = {"refused": refused.message[:8000], "hint": refused.hint[:2000]}
    document = json.dumps(fields).encode()
    return _REPLY.pack(len(document), len(thumbnail)) + document + thumbnail


def _write_whole(pipe: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(pipe, view) :]


def _limit_this_process(memory_bytes: int) -> None:
    """No core dumps, no files, no other programs' descriptors, bounded memory; see setrlimit(2)."""
    bounds = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: 1 << 20,
        resource.RLIMIT_NOFILE: 64,
        resource.RLIMIT_AS: memory_bytes,
    }
    for what, most in bounds.items():
        hard = resource.getrlimit(what)[1]
        value = most if hard == resource.RLIM_INFINITY else min(most, hard)
        # macOS knows RLIMIT_AS but refuses to set it.
        with contextlib.suppress(*(() if sys.platform == "linux" else (ValueError, OSError))):
            resource.setrlimit(what, (value, value))


def _die_with(parent_id: int) -> None:
    """Linux ends this process with its parent, and never lets it gain privileges; see prctl(2)."""
    if sys.platform == "linux":
        import ctypes

        set_parent_death_signal, set_no_new_privileges = 1, 38
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(set_parent_death_signal, signal.SIGKILL, 0, 0, 0)
        libc.prctl(set_no_new_privileges, 1, 0, 0, 0)
    if os.getppid() != parent_id:
        sys.exit("the parent has gone")


def _main(arguments: list[str]) -> None:
    max_pixels, max_bytes, memory_bytes, parent_id = map(int, arguments)
    _die_with(parent_id)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    _limit_this_process(memory_bytes)
    replies = os.dup(1)
    os.dup2(2, 1)  # a library that prints must not speak into the frames
    with os.fdopen(0, "rb", buffering=1 << 16) as requests:
        _serve(Limits(max_pixels, max_bytes), requests, replies)


if __name__ == "__main__":
    _main(sys.argv[1:])
