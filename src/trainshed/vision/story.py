"""The story of a run: how training tells what happens, saves where it is, and learns that it must stop.

The runner's story speaks to its guard; `SilentStory` is the second implementation, for notebooks and tests.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from trainshed.errors import JobStopped


class Story(Protocol):
    """What a training needs from whoever runs it."""

    @property
    def work_folder(self) -> Path:
        """An existing folder for the files that the training makes."""

    @property
    def checkpoint(self) -> Path | None:
        """The checkpoint to resume from, if there is one."""

    def say(self, kind: str, body: dict[str, Any]) -> None:
        """Tell one event: `progress`, `metric`, `log` or `sample`."""

    def save_checkpoint(self, path: Path, step: int) -> None:
        """Take over a finished checkpoint file; the file may be moved or replaced afterwards."""

    def stopping(self) -> str:
        """Empty to go on, else `stop`, `pause` or `cancel`. Asked at every step, so it must be cheap."""


@dataclass
class SilentStory:
    """A story that keeps its events in a list and its checkpoint in the work folder."""

    work_folder: Path
    checkpoint: Path | None = None
    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def say(self, kind: str, body: dict[str, Any]) -> None:
        self.events.append((kind, body))

    def save_checkpoint(self, path: Path, step: int) -> None:
        self.checkpoint = path

    def stopping(self) -> str:
        return ""


def log(story: Story, text: str, level: str = "info") -> None:
    """Say one line of the log."""
    story.say("log", {"level": level, "text": text})


def go_on(story: Story) -> None:
    """Raise `JobStopped` if the story wants to stop; for phases too short to have a checkpoint of their own."""
    if reason := story.stopping():
        raise JobStopped(f"The job was asked to {reason}.")


class Progress:
    """Tells how far a phase is, at most four times a second, with the time that is left."""

    def __init__(
        self, story: Story, phase: str, total: int, *, done: int = 0, unit: str = "steps",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._story, self._phase, self._total, self._unit = story, phase, total, unit
        self._clock, self._started_at, self._started_done = clock, clock(), done
        self._said_at = float("-inf")

    def reached(self, done: int) -> None:
        """`done` of the total are finished."""
        now = self._clock()
        if now - self._said_at < 0.25 and done < self._total:
            return
        self._said_at = now
        self._story.say("progress", {
            "done": done, "total": self._total, "unit": self._unit, "phase": self._phase,
            "eta_seconds": self._eta_seconds(done, now - self._started_at),
        })  # fmt: skip

    def _eta_seconds(self, done: int, elapsed_seconds: float) -> float | None:
        finished = done - self._started_done
        if finished <= 0 or elapsed_seconds < 0.5:
            return 0.0 if done >= self._total else None
        return round(elapsed_seconds / finished * (self._total - done), 1)
