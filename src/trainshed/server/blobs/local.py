"""Blobs in a local folder: written to a temporary name, fsynced, renamed, and only then pointed at."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import os
import sys
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from trainshed.errors import NotFound, StorageFull

_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform.startswith("linux") else None


def _full(error: OSError) -> OSError | StorageFull:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageFull("The disk that holds TRAINSHED_HOME is full.", hint="Free some space and try again.")
    return error


class LocalBlobs:
    """One file per blob, `ab/cd/abcd...`, in one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._incoming = folder / "incoming"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._incoming.mkdir(mode=0o700, exist_ok=True)

    def folder(self) -> Path | None:
        return self._folder

    def path(self, sha256: str) -> Path:
        return self._folder / sha256[:2] / sha256[2:4] / sha256

    def write(self) -> LocalWriter:
        return LocalWriter(self)

    def put_many(self, blobs: Iterable[bytes]) -> list[str]:
        """Store many small blobs with one wait for the disk; returns their SHA-256 in order."""
        names, fresh = [], {}
        try:
            for blob in blobs:
                sha256 = hashlib.sha256(blob).hexdigest()
                names.append(sha256)
                if sha256 not in fresh and not self.path(sha256).exists():
                    fresh[sha256] = self._temporary()
                    fresh[sha256].write_bytes(blob)
            self._sync(fresh.values())
            for sha256, temporary in fresh.items():
                self._place(temporary, sha256)
            self._sync({place for sha256 in fresh for place in self._places(sha256)})
        except OSError as error:
            raise _full(error) from error
        finally:
            for temporary in fresh.values():
                temporary.unlink(missing_ok=True)
        return names

    def open(self, sha256: str) -> IO[bytes]:
        try:
            return self.path(sha256).open("rb")
        except FileNotFoundError:
            raise NotFound(f"The blob {sha256[:12]} is missing from the storage.") from None

    def delete(self, sha256: str) -> None:
        self.path(sha256).unlink(missing_ok=True)

    def clear_incoming(self) -> None:
        for path in self._incoming.iterdir():
            path.unlink()

    def _temporary(self) -> Path:
        return self._incoming / uuid.uuid4().hex

    def _place(self, temporary: Path, sha256: str) -> None:
        for place in reversed(self._places(sha256)):
            place.mkdir(mode=0o700, exist_ok=True)
        temporary.replace(self.path(sha256))

    def _places(self, sha256: str) -> list[Path]:
        """The folders that a blob's name depends on, the innermost first."""
        return [*self.path(sha256).parents][:3]

    def _sync(self, paths: Iterable[Path]) -> None:
        """Wait until these are on the disk: one syncfs for many, else one fsync each."""
        waiting = list(paths)
        if len(waiting) > 8 and _LIBC is not None:
            with _descriptor(self._folder) as descriptor:
                if _LIBC.syncfs(descriptor) == 0:
                    return
        for path in waiting:
            with _descriptor(path) as descriptor:
                os.fsync(descriptor)


@contextlib.contextmanager
def _descriptor(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


class LocalWriter:
    """One blob on its way in."""

    def __init__(self, blobs: LocalBlobs) -> None:
        self._blobs = blobs
        self._path = blobs._temporary()
        self._file = self._path.open("xb")
        self._hash = hashlib.sha256()
        self._size_bytes = 0

    def write(self, data: bytes) -> None:
        try:
            self._file.write(data)
        except OSError as error:
            raise _full(error) from error
        self._hash.update(data)
        self._size_bytes += len(data)

    def finish(self) -> tuple[str, int]:
        """Make it durable and give it its name; returns (sha256, size in bytes)."""
        sha256 = self._hash.hexdigest()
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._blobs._place(self._path, sha256)
            self._blobs._sync(self._blobs._places(sha256))
        except OSError as error:
            raise _full(error) from error
        return sha256, self._size_bytes

    def discard(self) -> None:
        with contextlib.suppress(OSError):
            self._file.close()
        self._path.unlink(missing_ok=True)
