"""Blobs fetched from the server into this machine's cache, where the disk is not shared.

Content-addressed: a file that is there is whole. The least recently used ones go when the budget is full.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

from trainshed.client.attempts import AttemptClient
from trainshed.errors import TrainshedError
from trainshed.schemas import settings

# Nobody writes to a part for so long: a fetch that hears nothing for a minute starts over.
_PART_SECONDS = 3600.0


def fetched(client: AttemptClient, sha256: str) -> Path:
    """The cached file with this content, fetched and checked first if it is not there."""
    folder = settings.home() / "cache" / "blobs"
    path = folder / sha256[:2] / sha256
    with contextlib.suppress(FileNotFoundError):
        os.utime(path)  # used just now
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{sha256}.{os.getpid()}.part")
    try:
        client.fetch(sha256, part)
        with part.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
                raise TrainshedError(f"The blob {sha256[:12]} arrived with another content.")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    _evict(folder, settings.whole("TRAINSHED_CACHE_BYTES"), keep=path)
    return path


def _evict(folder: Path, budget_bytes: int, keep: Path) -> None:
    files = list(_files(folder))
    total = sum(stat.st_size for stat, _ in files)
    for stat, path in sorted(files, key=lambda item: item[0].st_atime):
        if total <= budget_bytes:
            return
        if path != keep:
            path.unlink(missing_ok=True)
            total -= stat.st_size


def _files(folder: Path) -> Iterator[tuple[os.stat_result, Path]]:
    """The whole files, but for those that another runner takes away meanwhile; parts that a killed one left go."""
    for path in folder.glob("*/*"):
        with contextlib.suppress(FileNotFoundError):
            stat = path.stat()
            if path.suffix != ".part":
                yield stat, path
            elif time.time() - stat.st_mtime > _PART_SECONDS:
                path.unlink()
