"""The decoded training cache: every picture of a version once, as the network sees it, in one mapped file.

The file's blocks are reserved before it is written and it gets its name when it is whole, because a disk that
fills up under a map is a signal and not an error. What does not fit is decoded when it is needed.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from trainshed import pictures
from trainshed.schemas import ManifestRow, Transform, settings
from trainshed.vision.story import Progress, Story, log

Blob = Callable[[str], Path]
_ROWS_PER_ROUND = 256
_ABANDONED_SECONDS = 3600.0


class Pictures(Protocol):
    """The pictures of a version, resized, by their place in the manifest."""

    is_instant: bool

    def take(self, places_B: NDArray[np.int64]) -> NDArray[np.uint8]:
        """The pictures at these places: uint8 RGB `(B, S, S, 3)`. Raises `PictureRefused`."""


class MappedPictures:
    """Pictures read from a finished cache file."""

    is_instant = True

    def __init__(self, file: Path, num_images: int, size: int) -> None:
        self._images_NHWC = np.memmap(file, np.uint8, "r", shape=(num_images, size, size, 3))

    def take(self, places_B: NDArray[np.int64]) -> NDArray[np.uint8]:
        return self._images_NHWC[places_B]


class DecodedPictures:
    """Pictures decoded each time they are asked for."""

    is_instant = False

    def __init__(self, rows: Sequence[ManifestRow], transform: Transform, blob: Blob) -> None:
        self._rows, self._transform, self._blob = rows, transform, blob
        self._pool = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="decode")

    def take(self, places_B: NDArray[np.int64]) -> NDArray[np.uint8]:
        return np.stack(list(self._pool.map(self.decode, places_B.tolist())))

    def decode(self, place: int) -> NDArray[np.uint8]:
        """One picture, uint8 `(S, S, 3)`."""
        row = self._rows[place]
        return pictures.load(self._blob(row.sha256).read_bytes(), self._transform, name=row.name)

    def decode_all(self) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """Every picture with its place, in order, decoded in parallel a round at a time."""
        for first in range(0, len(self._rows), _ROWS_PER_ROUND):
            places = range(first, min(first + _ROWS_PER_ROUND, len(self._rows)))
            yield from zip(places, self._pool.map(self.decode, places), strict=True)


def open_pictures(
    rows: Sequence[ManifestRow], transform: Transform, *, blob: Blob, cache_folder: Path, story: Story,
    go_on: Callable[[], None] = lambda: None,
) -> Pictures:  # fmt: skip
    """The pictures of `rows`, from the cache if they are or fit there, else decoded as needed.

    `go_on` is called after each picture and may raise to stop. Raises `PictureRefused`.
    """
    decoded = DecodedPictures(rows, transform, blob)
    folder = cache_folder / "decoded"
    file = folder / f"{_key(rows, transform)}.rgb"
    size_bytes = len(rows) * transform.size**2 * 3
    try:
        if not _is_whole(file, size_bytes):
            folder.mkdir(parents=True, exist_ok=True)
            if not _make_room(folder, size_bytes):
                log(story, f"The decoded pictures take {_mib(size_bytes)}, more than TRAINSHED_CACHE_BYTES "
                           f"({_mib(_budget_bytes())}); they are decoded in every epoch instead.")  # fmt: skip
                return decoded
            _fill(file, size_bytes, decoded, Progress(story, "decoding", len(rows), unit="pictures"), go_on)
        os.utime(file)
        return MappedPictures(file, len(rows), transform.size)
    except OSError as exc:
        log(story, f"The cache of decoded pictures cannot be used ({exc.strerror or exc}: {folder}); pictures are "
                   "decoded in every epoch instead.", "warning")  # fmt: skip
        return decoded


def _key(rows: Sequence[ManifestRow], transform: Transform) -> str:
    """Names what the file holds: the pictures in their order, the transform without its numbers, the decoder."""
    looks = transform.model_dump(include={"size", "resize", "interpolation"})
    head = json.dumps([looks, pictures.decoder_version()], sort_keys=True)
    return hashlib.sha256("\n".join([head, *(row.sha256 for row in rows)]).encode()).hexdigest()


def _is_whole(file: Path, size_bytes: int) -> bool:
    return file.exists() and file.stat().st_size == size_bytes


def _budget_bytes() -> int:
    return settings.whole("TRAINSHED_CACHE_BYTES")


def _make_room(folder: Path, size_bytes: int) -> bool:
    """Delete what was used longest ago until `size_bytes` more fit the budget; False if they never will.

    A process that has a deleted file mapped keeps it until it ends.
    """
    budget_bytes = _budget_bytes()
    if size_bytes > budget_bytes:
        return False
    for part in folder.glob("*.part"):
        if time.time() - part.stat().st_mtime > _ABANDONED_SECONDS:
            part.unlink(missing_ok=True)
    oldest_first = sorted(folder.glob("*.*"), key=lambda file: file.stat().st_mtime)
    used_bytes = sum(file.stat().st_size for file in oldest_first)
    for file in oldest_first:
        if used_bytes + size_bytes > budget_bytes and file.suffix == ".rgb":
            used_bytes -= file.stat().st_size
            file.unlink(missing_ok=True)
    return used_bytes + size_bytes <= budget_bytes


def _fill(file: Path, size_bytes: int, decoded: DecodedPictures, progress: Progress, go_on: Callable[[], None]) -> None:
    """Write all pictures under a temporary name, then give the file its name. Raises `OSError` on a full disk."""
    descriptor, part = tempfile.mkstemp(suffix=".part", prefix=file.stem[:16], dir=file.parent)
    try:
        _reserve(descriptor, size_bytes)
        for place, image_HWC in decoded.decode_all():
            os.pwrite(descriptor, image_HWC.data, place * image_HWC.nbytes)
            progress.reached(place + 1)
            go_on()
        os.fsync(descriptor)
        Path(part).replace(file)
    finally:
        os.close(descriptor)
        Path(part).unlink(missing_ok=True)


def _reserve(descriptor: int, size_bytes: int) -> None:
    """Take the blocks from the disk now, so that a full disk is an error here and never later."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size_bytes)
    else:  # macOS
        os.ftruncate(descriptor, size_bytes)


def _mib(size_bytes: int) -> str:
    return f"{size_bytes / 2**20:,.0f} MiB"
