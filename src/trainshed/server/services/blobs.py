"""Blobs in and out: bytes first, then their row. Whoever calls has passed the gate of the noun that needs them."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from pathlib import Path
from typing import IO

from trainshed.errors import InvalidInput
from trainshed.schemas import BlobRef
from trainshed.server import blobs as rooms
from trainshed.server.queue import counters
from trainshed.server.records.models import Blob, Holding

_GIVEN_AT_ONCE = 500


@functools.cache
def storage() -> rooms.Blobs:
    return rooms.from_settings()


def store_many(contents: list[bytes], workspace_id: str) -> list[str]:
    """Store small blobs that a workspace sends; returns their SHA-256 in order."""
    names = storage().put_many(contents)
    _keep(dict(zip(names, map(len, contents), strict=True)), workspace_id)
    return names


def register(sha256: str, size_bytes: int, workspace_id: str) -> Blob:
    """The row of a blob that a workspace has sent and whose bytes are in place."""
    _keep({sha256: size_bytes}, workspace_id)
    return Blob.objects.get(sha256=sha256)


@counters.counted()
def _keep(sizes: dict[str, int], workspace_id: str) -> None:
    """Rows in the order of their names, so that two who send the same bytes wait for each other and never both."""
    rows = [Blob(sha256=sha256, size_bytes=size) for sha256, size in sorted(sizes.items())]
    Blob.objects.bulk_create(rows, ignore_conflicts=True)
    hold(sizes, workspace_id)


@counters.counted()
def hold(sizes: dict[str, int], workspace_id: str) -> None:
    """Let a workspace read and point at stored blobs, by name and size in bytes; what is new to it counts as stored.

    Raises `QuotaExceeded` if they do not fit into its quota.
    """
    added = Holding.objects.add_new(workspace_id, sorted(sizes))
    counters.add(workspace_id, counters.STORED_BYTES, sum(sizes[name] for name in added), is_asked=True)


@counters.counted()
def give(names: Iterable[str], workspace_id: str) -> None:
    """Let another workspace hold blobs too: what refers to them has been moved there."""
    wanted = sorted(set(names))
    for start in range(0, len(wanted), _GIVEN_AT_ONCE):
        rows = Blob.objects.filter(sha256__in=wanted[start : start + _GIVEN_AT_ONCE])
        hold(dict(rows.values_list("sha256", "size_bytes")), workspace_id)


def is_held(sha256: str, workspace_id: str) -> bool:
    """Whether the workspace has sent these bytes: only then may anything of it read them or point at them."""
    return Holding.objects.filter(workspace_id=workspace_id, blob_id=sha256).exists()


def require_held(names: Iterable[str], workspace_id: str) -> None:
    """Before a row points at blobs. Raises `InvalidInput` for one that the workspace has not sent."""
    asked = set(names)
    held = Holding.objects.filter(workspace_id=workspace_id, blob_id__in=asked)
    missing = asked.difference(held.values_list("blob_id", flat=True))
    if missing:
        raise InvalidInput(f"The blob {min(missing)[:64]!r} has not been stored; send its bytes first.")


def ref(blob: Blob) -> BlobRef:
    path = storage().path(blob.sha256)
    return BlobRef(sha256=blob.sha256, size_bytes=blob.size_bytes, path=str(path) if path else None)


def open_blob(sha256: str) -> IO[bytes]:
    return storage().open(sha256)


def folder() -> Path | None:
    return storage().folder()
