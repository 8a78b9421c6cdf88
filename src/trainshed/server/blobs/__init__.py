"""The service's own bytes, addressed by their content. A row in the database points at a blob only after its rename."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import IO, Protocol

from trainshed.errors import StartRefused
from trainshed.schemas import settings
from trainshed.server.blobs.local import LocalBlobs


class Writer(Protocol):
    """A blob on its way in: `write` pieces, then `finish` for (sha256, size), or `discard`."""

    def write(self, data: bytes) -> None: ...

    def finish(self) -> tuple[str, int]: ...

    def discard(self) -> None: ...


class Blobs(Protocol):
    """A place that keeps bytes by their SHA-256. Reading something that is not there raises `NotFound`."""

    def write(self) -> Writer: ...

    def put_many(self, blobs: Iterable[bytes]) -> list[str]: ...

    def open(self, sha256: str) -> IO[bytes]: ...

    def path(self, sha256: str) -> Path | None:
        """The blob as a file of this machine; `None` where blobs are not files."""

    def folder(self) -> Path | None:
        """The folder that runners of this machine may read; `None` where there is none."""

    def delete(self, sha256: str) -> None: ...

    def clear_incoming(self) -> None:
        """Remove what broke off on its way in; only while no other process stores anything."""


def from_settings() -> Blobs:
    """The blobs that TRAINSHED_STORAGE_URL names."""
    url = settings.text("TRAINSHED_STORAGE_URL")
    if not url:
        return LocalBlobs(settings.home() / "blobs")
    raise StartRefused(
        f"TRAINSHED_STORAGE_URL is {url!r}; this release keeps blobs in a local folder.", hint="Leave it empty."
    )
