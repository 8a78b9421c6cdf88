"""Job kind `import`: prove, hash and store every picture of an uploaded archive, and stage its row.

Nothing is visible before the publish; a second attempt goes on after the names that the first one staged.
"""

from __future__ import annotations

import csv
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainshed import pictures
from trainshed.errors import DatasetUnfit, PictureRefused
from trainshed.pictures.folders import ClassFolders, Filed
from trainshed.pictures.inspect import Inspection
from trainshed.runner.child import Work
from trainshed.schemas import ImportReport, SkippedFile, StagedImage

_BATCH_PICTURES = 500
_BATCH_BYTES = 32 << 20
_MOST_LISTED = 1000
_TELLING_SECONDS = 1.0
_SAY_EVERY_SECONDS = 0.25


def handle(work: Work) -> tuple[dict[str, Any], dict[str, Path]]:
    with pictures.Archive.open(work.input("archive"), name=work.assignment.spec["archive_name"]) as archive:
        task = _Import(work, pictures.class_folders(archive), work.client.staged_names())
        with pictures.Inspectors() as inspectors:
            for name, outcome in inspectors.map(task.fresh()):
                task.take(name, outcome)
        task.store()
    return task.report()


@dataclass
class _Waiting:
    """Proved pictures that go to the server in one request."""

    images: list[StagedImage] = field(default_factory=list)
    contents: list[bytes] = field(default_factory=list)
    size_bytes: int = 0


class _Import:
    """One pass over the archive: what is taken, what is left out and why, and how far it has come."""

    def __init__(self, work: Work, folders: ClassFolders, done_before: set[str]) -> None:
        self._work = work
        self._folders = folders
        self._done_before = done_before
        self._reading: dict[str, tuple[Filed, bytes]] = {}
        self._waiting = _Waiting()
        self._skipped: list[SkippedFile] = []
        self._taken: Counter[str] = Counter()
        self._num_done = 0
        self._began = self._said = time.monotonic()

    def fresh(self) -> Iterator[tuple[str, bytes]]:
        """Names and bytes of the files that no earlier attempt has brought in."""
        for item in self._folders:
            self._work.stop_if_asked()
            data = item if isinstance(item, SkippedFile) else self._read(item)
            if isinstance(data, SkippedFile):
                self._skip(data)
            elif data is not None and isinstance(item, Filed):
                self._reading[item.name] = (item, data)
                yield item.name, data

    def _read(self, filed: Filed) -> bytes | SkippedFile | None:
        if filed.name in self._done_before:
            self._count(filed)
            return None
        return filed.read()

    def _skip(self, file: SkippedFile) -> None:
        self._skipped.append(file)
        self._advance()

    def _count(self, filed: Filed) -> None:
        self._taken[filed.class_name] += 1
        self._advance()

    def take(self, name: str, outcome: Inspection | PictureRefused) -> None:
        """One inspected picture: staged with its batch, or listed with the reason."""
        filed, data = self._reading.pop(name)
        if isinstance(outcome, PictureRefused):
            self._skip(SkippedFile(name=name, code=outcome.code, reason=outcome.message))
            return
        thumbnail = outcome.thumbnail or data
        self._waiting.images.append(_staged(filed, data, outcome))
        self._waiting.contents += [data] if thumbnail is data else [data, thumbnail]
        self._waiting.size_bytes += len(data) + (0 if thumbnail is data else len(thumbnail))
        if len(self._waiting.images) >= _BATCH_PICTURES or self._waiting.size_bytes >= _BATCH_BYTES:
            self.store()
        self._count(filed)

    def store(self) -> None:
        """Send what waits: the bytes first, then the rows that point at them."""
        if not self._waiting.images:
            return
        names = iter(self._work.client.store(self._waiting.contents))
        stored = [_with_thumbnail(image, names) for image in self._waiting.images]
        self._work.client.stage(stored)
        self._waiting = _Waiting()

    def _advance(self) -> None:
        self._num_done += 1
        now = time.monotonic()
        if now - self._said > _SAY_EVERY_SECONDS:
            self._said = now
            self._say_progress(now)

    def _say_progress(self, now: float) -> None:
        total = self._folders.num_files
        body = {"done": self._num_done, "total": total, "unit": "files", "phase": "reading pictures"}
        self._work.say("progress", {**body, "eta_seconds": self._left_seconds(now - self._began)})

    def _left_seconds(self, elapsed_seconds: float) -> float | None:
        """Unknown at the beginning: the first pictures wait for the decoders to start."""
        num_left = self._folders.num_files - self._num_done
        if num_left and (not self._num_done or elapsed_seconds < _TELLING_SECONDS):
            return None
        return elapsed_seconds / max(self._num_done, 1) * num_left

    def report(self) -> tuple[dict[str, Any], dict[str, Path]]:
        """The result and the list of all skipped files. Raises `DatasetUnfit` if no picture could be taken."""
        self._say_progress(time.monotonic())
        if not self._taken:
            raise DatasetUnfit(
                _nothing_taken(self._skipped), details=[file.model_dump() for file in self._skipped[:20]]
            )
        report = ImportReport(
            num_taken=self._taken.total(),
            num_skipped=len(self._skipped),
            skipped=self._skipped[:_MOST_LISTED],
            classes=dict(sorted(self._taken.items())),
            warnings=self._folders.warnings(self._taken),
        )
        path = self._work.work_folder / "skipped.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["name", "code", "reason"])
            writer.writerows([each.name, each.code, each.reason] for each in self._skipped)
        return report.model_dump(), {"skipped.csv": path}


def _nothing_taken(skipped: list[SkippedFile]) -> str:
    examples = "; ".join(f"'{file.name}': {file.reason}" for file in skipped[:3])
    return f"None of the {len(skipped)} files is a picture that could be taken. {examples}"


def _staged(filed: Filed, data: bytes, seen: Inspection) -> StagedImage:
    return StagedImage(
        name=filed.name,
        class_name=filed.class_name,
        sha256=seen.sha256,
        thumbnail_sha256=seen.sha256 if seen.thumbnail is None else "0" * 64,
        size_bytes=len(data),
        width=seen.width,
        height=seen.height,
        format=seen.format,
    )


def _with_thumbnail(image: StagedImage, names: Iterator[str]) -> StagedImage:
    """The image with the hashes that the server found, which are the ones that count."""
    original = next(names)
    is_own = image.thumbnail_sha256 == image.sha256
    return image.model_copy(update={"sha256": original, "thumbnail_sha256": original if is_own else next(names)})
