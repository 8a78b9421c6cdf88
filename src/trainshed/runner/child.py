"""The child of a guard: imports what its kind needs, waits for the start, runs the handler, tells the verdict.

Run as `python -m trainshed.runner.child HEAR_FD SAY_FD WARM`. What it prints becomes the job's log.
"""

from __future__ import annotations

import os
import sys
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trainshed.client.attempts import AttemptClient
from trainshed.errors import (
    AttemptSuperseded,
    InvalidInput,
    JobStopped,
    NotFound,
    StorageFull,
    TrainshedError,
    Unavailable,
)
from trainshed.runner.lines import LineWriter, read_lines
from trainshed.schemas import PROTOCOL_VERSION, Assignment, BlobRef

# Errors of the request itself: trying again would end the same way.
_FINAL = (InvalidInput, NotFound, StorageFull)


class Work:
    """What a handler has at hand: its assignment, its story, its blobs and its private folder."""

    def __init__(self, client: AttemptClient, assignment: Assignment, work_folder: Path, say: LineWriter) -> None:
        self.client = client
        self.assignment = assignment
        self.work_folder = work_folder
        self._say = say
        self._asked = ""
        self._num_checkpoints = 0
        self.checkpoint: Path | None = None
        if assignment.checkpoint:
            self.checkpoint = self.blob(assignment.checkpoint.blob.sha256)

    # The story (the `Story` that `trainshed.vision` expects)

    def say(self, kind: str, body: dict[str, Any]) -> None:
        self._say.write({"t": "event", "kind": kind, "body": body})

    def save_checkpoint(self, path: Path, step: int) -> None:
        """Hand a finished checkpoint file over; it is linked, so the caller may replace it at once."""
        self._num_checkpoints += 1
        kept = self.work_folder / f"checkpoint-{self._num_checkpoints}.upload"
        os.link(path, kept)
        self._say.write({"t": "checkpoint", "path": str(kept), "step": step})

    def stopping(self) -> str:
        """Empty to go on, else why to stop: `stop`, `pause` or `cancel`."""
        return self._asked

    def ask(self, why: str) -> None:
        self._asked = why

    def stop_if_asked(self) -> None:
        """Raises `JobStopped` between two pieces of work when the guard has asked for it."""
        if self._asked:
            raise JobStopped()

    # Blobs

    def blob(self, sha256: str) -> Path:
        """The blob as a local file: in the shared folder, or fetched once into this machine's cache."""
        if self.assignment.blobs_folder:
            return Path(self.assignment.blobs_folder) / sha256[:2] / sha256[2:4] / sha256
        from trainshed.runner.fetching import fetched

        return fetched(self.client, sha256)

    def input(self, name: str) -> Path:
        ref: BlobRef = self.assignment.inputs[name]
        return self.blob(ref.sha256)


def main() -> None:
    hear, say, warm = int(sys.argv[1]), LineWriter(int(sys.argv[2])), sys.argv[3]
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    from trainshed.runner import handlers

    handlers.warm_up(warm)
    messages = read_lines(hear)
    start = next(messages, None)
    if start is None:
        return
    os.environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"  # the order of NVML, whose indexes the slots have
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, start["gpus"]))
    say.write(_verdict(start, messages, say))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # all is told, and taking torch apart would keep the guard waiting for a second or two


def _verdict(start: dict[str, Any], messages: Iterator[dict[str, Any]], say: LineWriter) -> dict[str, Any]:
    from trainshed.runner import handlers

    client = AttemptClient(start["url"], start["token"])
    try:
        work = Work(client, _understood(client.assignment()), Path(start["work_folder"]), say)
        threading.Thread(target=_obey, args=(messages, work), name="obey", daemon=True).start()
        result, artifacts = handlers.find(work.assignment.kind)(work)
    except JobStopped:
        return {"t": "stopped"}
    except AttemptSuperseded:
        os._exit(0)
    except Unavailable as error:  # in an outage a request ends when the guard asks for the stop, and is no failure
        return {"t": "stopped"} if client.abandon.is_set() else _failure(error)
    except BaseException as error:
        return _failure(error)
    return {"t": "done", "result": result, "artifacts": {name: str(path) for name, path in artifacts.items()}}


def _understood(assignment: Assignment) -> Assignment:
    if assignment.protocol_version != PROTOCOL_VERSION:
        raise InvalidInput(
            f"The server speaks version {assignment.protocol_version} of the attempt protocol, this machine "
            f"version {PROTOCOL_VERSION}.",
            hint="Run the same release of Trainshed on both.",
        )
    return assignment


def _obey(messages: Iterator[dict[str, Any]], work: Work) -> None:
    for message in messages:
        work.ask(message["why"])
        work.client.abandon.set()


def _failure(error: BaseException) -> dict[str, Any]:
    text = "".join(traceback.format_exception(error))
    if isinstance(error, TrainshedError):
        reason = {"code": error.code, "message": error.message, "hint": error.hint}
    elif isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        hint = "Try a smaller batch size or image size."
        reason = {"code": "out_of_memory", "message": f"The memory was not enough: {error}", "hint": hint}
    elif isinstance(error, OSError) and error.errno == 28:
        reason = {"code": "storage_full", "message": "The disk of this machine is full.", "hint": "Free some space."}
    else:
        reason = {"code": "internal_error", "message": f"{type(error).__name__}: {error}", "hint": ""}
    return {"t": "failed", "reason": reason, "traceback": text, "is_final": isinstance(error, _FINAL)}


if __name__ == "__main__":
    main()
