"""Blobs in and out: bytes first, then their row. Whoever calls has passed the gate of the noun that needs them."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from pathlib import Path
from typing import IO

from django.db import transaction

from trainshed.errors import InvalidInput
from trainshed.schemas import BlobRef
from trainshed.server import blobs as rooms
from trainshed.server.records.models import Blob, Holding


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


@transaction.atomic
def _keep(sizes: dict[str, int], workspace_id: str) -> None:
    """Rows in the order of their names, so that two who send the same bytes wait for each other and never both."""
    rows = [Blob(sha256=sha256, size_bytes=size) for sha256, size in sorted(sizes.items())]
    Blob.objects.bulk_create(rows, ignore_conflicts=True)
    held = [Holding(workspace_id=workspace_id, blob_id=row.sha256) for row in rows]
    Holding.objects.bulk_create(held, ignore_conflicts=True)


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
