"""A folder of pictures as one zip, ready to be sent. What is in the files is the server's business.

The zip stores without compressing (pictures are compressed already) and is the same for the same files.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from trainshed.errors import InvalidInput, StorageFull
from trainshed.schemas import SkippedFile

# Called with the phase (`pack` or `upload`), the bytes done and the bytes of the whole phase.
Progress = Callable[[str, int, int], None]

CHUNK_BYTES = 1 << 20
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip can hold


@dataclass(frozen=True)
class Packed:
    """A zip on disk, and the files of the folder that are not in it, each with its reason."""

    path: Path
    num_files: int
    left_out: tuple[SkippedFile, ...] = ()


@dataclass(frozen=True)
class _Found:
    name: str
    path: Path
    size_bytes: int


@contextmanager
def packed(folder_or_zip: Path, progress: Progress | None = None) -> Iterator[Packed]:
    """The zip to send: `folder_or_zip` itself when it is a zip, else a temporary one of the folder.

    Links, hidden files and names that are not Unicode are left out and listed. Raises `InvalidInput` when
    there is nothing to send, `StorageFull` when the temporary zip finds no room.
    """
    if folder_or_zip.is_dir():
        found, left_out = _walk(folder_or_zip)
        if not found:
            raise InvalidInput(f"The folder {str(folder_or_zip)!r} holds no files.{_reasons(left_out)}")
        with _temporary_zip(sum(file.size_bytes for file in found)) as path:
            num_files = _write(path, found, left_out, progress or _silent)
            yield Packed(path, num_files, tuple(left_out))
    elif not folder_or_zip.exists():
        raise InvalidInput(f"There is no folder or zip at {str(folder_or_zip)!r}.")
    elif not zipfile.is_zipfile(folder_or_zip):
        raise InvalidInput(
            f"{str(folder_or_zip)!r} is neither a folder nor a zip.",
            hint="Give a folder with one sub-folder per class, or a zip of one.",
        )
    else:
        with zipfile.ZipFile(folder_or_zip) as archive:
            num_files = sum(not entry.is_dir() for entry in archive.infolist())
        yield Packed(folder_or_zip, num_files)


class FileBody:
    """A file as a request's body, read in chunks; each iteration begins afresh, so a retry sends it whole."""

    def __init__(self, path: Path, progress: Progress | None = None) -> None:
        self.size_bytes = path.stat().st_size
        self._path = path
        self._progress = progress or _silent

    def __iter__(self) -> Iterator[bytes]:
        done_bytes = 0
        with self._path.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                yield chunk
                done_bytes += len(chunk)
                self._progress("upload", done_bytes, self.size_bytes)


def _silent(_phase: str, _done_bytes: int, _total_bytes: int) -> None:
    pass


def _walk(folder: Path) -> tuple[list[_Found], list[SkippedFile]]:
    """Every file under `folder` in the order of its name, and what is left out. Links are never followed."""
    found: list[_Found] = []
    left_out: list[SkippedFile] = []

    def refuse(error: OSError) -> None:
        left_out.append(_skipped(_relative(Path(error.filename), folder), "unreadable", _words(error)))

    for place, folders, names in os.walk(folder, onerror=refuse):
        for name in sorted(folders + names):
            path = Path(place) / name
            reason = _refusal(path)
            if reason:
                left_out.append(_skipped(_relative(path, folder), *reason))
                if name in folders:
                    folders.remove(name)
            elif name not in folders:
                found.append(_Found(_relative(path, folder), path, path.stat().st_size))
        folders.sort()
    return sorted(found, key=lambda file: file.name), left_out


def _refusal(path: Path) -> tuple[str, str] | None:
    """Why this entry is left out, as code and words; `None`: it goes in."""
    try:
        mode = path.lstat().st_mode
        path.name.encode("utf-8")
    except UnicodeEncodeError:
        return "name", "Its name is not Unicode. Rename it."
    except OSError as error:
        return "unreadable", _words(error)
    if path.name.startswith("."):
        return "hidden", "Hidden files are not sent."
    if stat.S_ISLNK(mode):
        return "link", "Links are not followed. Copy what it points to."
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        return "special", "It is neither a file nor a folder."
    return None


def _words(error: OSError) -> str:
    return f"It cannot be read: {error.strerror or error}."


def _relative(path: Path, folder: Path) -> str:
    """The name under `folder`, always with `/`."""
    return path.relative_to(folder).as_posix()


def _skipped(name: str, code: str, reason: str) -> SkippedFile:
    return SkippedFile(name=name.encode("utf-8", "replace").decode("utf-8"), code=code, reason=reason)


@contextmanager
def _temporary_zip(size_bytes: int) -> Iterator[Path]:
    """An empty place for a zip of about this size, gone at the end."""
    free_bytes = shutil.disk_usage(tempfile.gettempdir()).free
    if free_bytes < size_bytes:
        raise _no_room(size_bytes, free_bytes)
    with tempfile.TemporaryDirectory(prefix="trainshed-") as place:
        yield Path(place) / "pictures.zip"


def _no_room(size_bytes: int, free_bytes: int) -> StorageFull:
    return StorageFull(
        f"Packing the folder needs {size_bytes:,} bytes in {tempfile.gettempdir()}; {free_bytes:,} are free.",
        hint="Make room, or set TMPDIR to a larger disk.",
    )


def _write(path: Path, found: list[_Found], left_out: list[SkippedFile], progress: Progress) -> int:
    """Write the zip and return how many files are in it; one that cannot be read now moves to `left_out`."""
    total_bytes = sum(file.size_bytes for file in found)
    done_bytes = num_files = 0
    try:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
            for file in found:
                try:
                    source = file.path.open("rb")
                except OSError as error:
                    left_out.append(_skipped(file.name, "unreadable", _words(error)))
                    continue
                with source, archive.open(_entry(file), "w") as target:
                    shutil.copyfileobj(source, target, CHUNK_BYTES)
                num_files += 1
                done_bytes += file.size_bytes
                progress("pack", done_bytes, total_bytes)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _no_room(total_bytes, shutil.disk_usage(path.parent).free) from error
        raise
    if not num_files:
        raise InvalidInput(f"None of the {len(found)} files can be read.{_reasons(left_out)}")
    return num_files


def _entry(file: _Found) -> zipfile.ZipInfo:
    """The same for the same file on any system and day."""
    entry = zipfile.ZipInfo(file.name, _EPOCH)
    entry.create_system = 3  # Unix, whatever this is, because the mode below is Unix's
    entry.external_attr = 0o644 << 16
    entry.file_size = file.size_bytes  # lets zipfile choose the 64-bit form where it is needed
    return entry


def _reasons(left_out: list[SkippedFile]) -> str:
    if not left_out:
        return ""
    first = left_out[0]
    return f" {len(left_out)} were left out, the first {first.name!r}: {first.reason}"
