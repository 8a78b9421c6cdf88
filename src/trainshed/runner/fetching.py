"""Blobs fetched from the server into this machine's cache, where the disk is not shared.

Content-addressed: a file that is there is whole. The least recently used ones go when the budget is full.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path

from trainshed.client.attempts import AttemptClient
from trainshed.errors import TrainshedError
from trainshed.schemas import settings


def fetched(client: AttemptClient, sha256: str) -> Path:
    """The cached file with this content, fetched and checked first if it is not there."""
    folder = settings.home() / "cache" / "blobs"
    path = folder / sha256[:2] / sha256
    if path.exists():
        os.utime(path)
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
    files = [(path.stat(), path) for path in folder.glob("*/*") if path.suffix != ".part"]
    total = sum(stat.st_size for stat, _ in files)
    for stat, path in sorted(files, key=lambda item: item[0].st_atime):
        if total <= budget_bytes:
            return
        if path != keep:
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
            total -= stat.st_size
