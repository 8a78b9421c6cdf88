"""Checkpoints: one file with all that a training needs to go on to the bit as if it had never stopped."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from trainshed.errors import InvalidInput, JobStopped
from trainshed.schemas import ClassificationRecipe, ImageClass, ManifestRow
from trainshed.vision.story import Story

VERSION = 1
MakeState = Callable[[], dict[str, Any]]
# Settings that may differ between the run that saved and the run that resumes.
_FREE = {"checkpoint_seconds", "device"}


def fingerprint(rows: Sequence[ManifestRow], classes: Sequence[ImageClass], recipe: ClassificationRecipe) -> str:
    """Names what is trained on what; a checkpoint only fits the same."""
    seen = [[row.sha256, row.class_id, row.split] for row in rows]
    body = [recipe.model_dump(mode="json", exclude=_FREE), [item.id for item in classes], seen]
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def write(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint so that the name never holds half a file: temporary name, fsync, rename."""
    descriptor, part = tempfile.mkstemp(suffix=".part", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            torch.save({"version": VERSION, **state}, file)
            file.flush()
            os.fsync(file.fileno())
        Path(part).replace(path)
    finally:
        Path(part).unlink(missing_ok=True)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make a rename in this folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read(path: Path, expected_fingerprint: str) -> dict[str, Any]:
    """The state in a checkpoint. Raises `InvalidInput` if it is broken, or of another training."""
    if not zipfile.is_zipfile(path):
        raise InvalidInput(f"The checkpoint {path} is missing or cut off.", hint="Start the training anew.")
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    if state.get("version") != VERSION:
        raise InvalidInput(
            f"The checkpoint has version {state.get('version')!r}; this release reads version {VERSION}.",
            hint="Resume it with the release that wrote it, or start the training anew.",
        )
    if state["fingerprint"] != expected_fingerprint:
        raise InvalidInput(
            "The checkpoint belongs to another training: its recipe, pictures, classes or split differ.",
            hint="Start the training anew, or resume with the settings of the job that saved it.",
        )
    return state


class Saver:
    """Saves a checkpoint when it is time, when the story wants to stop, and when a phase ends.

    `kept` holds what earlier phases found; it goes into every checkpoint.
    """

    def __init__(
        self, story: Story, every_seconds: float, kept: dict[str, Any], phase: str = "decoding",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self.kept, self.phase = kept, phase
        self._story, self._every_seconds, self._clock = story, every_seconds, clock
        self._saved_at = self._counted_at = clock()

    def save_if_due(self, make_state: MakeState, step: int) -> None:
        """Save if it is time. Raises `JobStopped`, after saving, if the story wants to stop."""
        self.stop_if_asked(make_state, step)
        if self._clock() - self._saved_at >= self._every_seconds:
            self.save(make_state, step)

    def stop_if_asked(self, make_state: MakeState, step: int) -> None:
        """Save and raise `JobStopped` if the story wants to stop."""
        if reason := self._story.stopping():
            self.save(make_state, step)
            raise JobStopped(f"The job was asked to {reason}; its checkpoint at step {self.kept['step']} is saved.")

    def save(self, make_state: MakeState, step: int) -> None:
        """Write the checkpoint and hand it to the story."""
        path = self._story.work_folder / "checkpoint.pt"
        self.kept["step"] = max(step, self.kept.get("step", 0))
        write(path, {**self.kept, "seconds": self.seconds(), "phase": self.phase, "state": make_state()})
        self._story.save_checkpoint(path, self.kept["step"])
        self._saved_at = self._clock()

    def seconds(self) -> float:
        """Working time of this and the earlier attempts."""
        now = self._clock()
        self.kept["seconds"] = self.kept.get("seconds", 0.0) + now - self._counted_at
        self._counted_at = now
        return float(self.kept["seconds"])
