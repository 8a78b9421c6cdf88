"""Blobs in and out: bytes first, then their row. Whoever calls has passed the gate of the noun that needs them."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from pathlib import Path
from typing import IO

from trainshed.errors import InvalidInput
from trainshed.schemas import BlobRef
from trainshed.server import blobs as rooms
from trainshed.server.records.models import Blob


@functools.cache
def storage() -> rooms.Blobs:
    return rooms.from_settings()


def store_many(contents: list[bytes]) -> list[str]:
    """Store small blobs; returns their SHA-256 in order."""
    names = storage().put_many(contents)
    sizes = dict(zip(names, map(len, contents), strict=True))
    rows = [Blob(sha256=sha256, size_bytes=size) for sha256, size in sorted(sizes.items())]
    Blob.objects.bulk_create(rows, ignore_conflicts=True)
    return names


def register(sha256: str, size_bytes: int) -> Blob:
    """The row of a blob whose bytes are in place."""
    Blob.objects.bulk_create([Blob(sha256=sha256, size_bytes=size_bytes)], ignore_conflicts=True)
    return Blob.objects.get(sha256=sha256)


def require_stored(names: Iterable[str]) -> None:
    """Before a row points at blobs. Raises `InvalidInput` for one whose bytes have not been stored."""
    asked = set(names)
    missing = asked.difference(Blob.objects.filter(sha256__in=asked).values_list("sha256", flat=True))
    if missing:
        raise InvalidInput(f"The blob {min(missing)[:64]!r} has not been stored; send its bytes first.")


def ref(blob: Blob) -> BlobRef:
    path = storage().path(blob.sha256)
    return BlobRef(sha256=blob.sha256, size_bytes=blob.size_bytes, path=str(path) if path else None)


def open_blob(sha256: str) -> IO[bytes]:
    return storage().open(sha256)


def folder() -> Path | None:
    return storage().folder()
