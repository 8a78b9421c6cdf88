"""Archives as uploaded: every file by its label, read under limits that are counted and never believed.

Nothing is extracted to disk: names are labels and never paths. How the formats lie in bytes is known to
`zips` and `tars`; which class a name belongs to is decided in `folders`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from trainshed.errors import ArchiveRefused
from trainshed.pictures.members import ArchiveLimits, Member, MemberBroken, Reader
from trainshed.pictures.tars import Tar, is_tar
from trainshed.pictures.zips import Zip
from trainshed.schemas.pictures import SkippedFile

MAX_NAME_CHARACTERS = 4096
_IGNORED_NAMES = {"__macosx", "thumbs.db", "desktop.ini", "ehthumbs.db"}
# Control characters and those that turn the direction of text: a label must not act on the terminal that
# shows it.
_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_UNREAD_KINDS = {
    "link": ("link", "is a link; links are never followed. Pack the file itself."),
    "device": ("device", "is a device or pipe, not a file."),
    "encrypted": ("encrypted", "is encrypted. Pack it without a password."),
    "too_packed": (
        "compression",
        "is packed by a method that is not read here. Pack with the usual `deflate`.",
    ),
}


class Archive:
    """A zip or tar (plain, gzip, bzip2); iterate it for its files, as often as needed. A context manager."""

    def __init__(self, reader: Reader, name: str, limits: ArchiveLimits) -> None:
        self._reader = reader
        self._name = name
        self._limits = limits
        self._unpacked_bytes = 0

    @classmethod
    def open(cls, path: Path | str, *, name: str = "", limits: ArchiveLimits | None = None) -> Archive:
        """Open by content. Errors call it `name`, or as the file is called.

        Raises `ArchiveRefused` if it is no archive or is made to deceive.
        """
        path = Path(path)
        name = name or path.name
        limits = limits or ArchiveLimits.of_settings()
        with path.open("rb") as file:
            head = file.read(512)
        if head.startswith((b"PK\3\4", b"PK\5\6", b"PK\7\x08")):
            return cls(Zip(path, limits, name), name, limits)
        if is_tar(path, head):
            return cls(Tar(path, limits, name), name, limits)
        try:  # a zip may stand behind other bytes: self-extracting ones do
            return cls(Zip(path, limits, name), name, limits)
        except ArchiveRefused:
            raise ArchiveRefused(
                f"'{name}' {_in_words(head)}, not a zip or tar archive.",
                hint="Pack the folder that holds the class folders as a zip, and upload that.",
            ) from None

    def __enter__(self) -> Archive:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._reader.close()

    def __iter__(self) -> Iterator[Entry | SkippedFile]:
        """Files that can be read, and those that cannot with the reason; without folders and system litter.

        Raises `ArchiveRefused` when there are too many.
        """
        seen: set[int] = set()
        for number, member in enumerate(self._reader, start=1):
            if number > self._limits.max_entries:
                raise ArchiveRefused(
                    f"'{self._name}' has more than {self._limits.max_entries:,} entries. Upload it in parts."
                )
            if member.kind != "folder" and (item := self._judge(member, seen)):
                yield item

    def _judge(self, member: Member, seen: set[int]) -> Entry | SkippedFile | None:
        try:
            parts = label(member.name)
        except UnsafeName as error:
            return skipped(member.name, "unsafe_name", str(error))
        if is_litter(parts):
            return None
        name = "/".join(parts)
        if len(name) > MAX_NAME_CHARACTERS:
            return skipped(name, "long_name", f"has a name of {len(name):,} characters; at most 4,096 are allowed.")
        if member.kind in _UNREAD_KINDS:
            return skipped(name, *_UNREAD_KINDS[member.kind])
        if hash(name) in seen:  # the hash alone: a million names would cost ten times the memory
            return skipped(name, "duplicate_name", "stands in the archive twice; the first one was taken.")
        seen.add(hash(name))
        return Entry(name, parts, member.size_bytes, self, member)

    def _read(self, entry: Entry, most_bytes: int) -> bytes | SkippedFile:
        most_bytes = min(most_bytes, self._limits.max_file_bytes)
        if entry.size_bytes > most_bytes:
            return _too_large(entry.name, entry.size_bytes, most_bytes)
        parts: list[bytes] = []
        unpacked_bytes = 0
        try:
            for packed_bytes, part in self._reader.chunks(entry.member):
                unpacked_bytes += len(part)
                self._count(len(part))
                if unpacked_bytes > most_bytes:
                    return _too_large(entry.name, unpacked_bytes, most_bytes)
                if self._limits.is_bomb(unpacked_bytes, packed_bytes):
                    return skipped(entry.name, "bomb", self._bomb_in_words())
                parts.append(part)
        except MemberBroken as error:
            return skipped(entry.name, "corrupt", str(error))
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _count(self, num_bytes: int) -> None:
        self._unpacked_bytes += num_bytes
        if self._unpacked_bytes > self._limits.max_total_bytes:
            raise ArchiveRefused(
                f"'{self._name}' unpacks to more than {self._limits.max_total_bytes:,} bytes. "
                "Upload it in parts, or raise TRAINSHED_MAX_ARCHIVE_BYTES."
            )

    def _bomb_in_words(self) -> str:
        return (
            f"unpacks to more than {self._limits.max_ratio} times its size, as archive bombs do. "
            "If it is a picture, save it as PNG or JPEG."
        )


@dataclass(frozen=True)
class Entry:
    """A file in an archive: `name` is its label, `parts` joined; `size_bytes` is what the archive claims."""

    name: str
    parts: tuple[str, ...]
    size_bytes: int
    archive: Archive = field(repr=False)
    member: Member = field(repr=False)

    def read(self, limit_bytes: int = 1 << 62) -> bytes | SkippedFile:
        """The content, or why it cannot be had: too large, a bomb, corrupt.

        From a tar, entries are best read while iterating: going back starts over. Raises `ArchiveRefused`
        when the archive as a whole unpacks to too much.
        """
        return self.archive._read(self, limit_bytes)


class UnsafeName(Exception):
    """The name would be a path out of the archive; the message says how."""


def label(name: str) -> tuple[str, ...]:
    """A name from an archive as the parts of a label: NFC, no empty parts, no characters that act.

    Raises `UnsafeName` for what would lead out of a folder if it were a path.
    """
    if "\0" in name:
        raise UnsafeName("has a NUL character in its name.")
    name = unicodedata.normalize("NFC", name.replace("\\", "/"))
    if name.startswith("/") or re.match("[A-Za-z]:", name):
        raise UnsafeName("has an absolute path for a name. Pack it with relative names.")
    parts = [_UNSEEN.sub("\ufffd", part) for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise UnsafeName("has `..` in its name, which would lead out of the archive.")
    if not parts:
        raise UnsafeName("has no name.")
    return tuple(parts)


def is_litter(parts: tuple[str, ...]) -> bool:
    """What systems leave in folders: dot-files, macOS forks, thumbnail caches."""
    return any(part.startswith(".") or part.lower() in _IGNORED_NAMES for part in parts)


def skipped(name: str, code: str, reason: str) -> SkippedFile:
    """A file that is left out; `reason` is the end of a sentence that begins with its name."""
    shown = _UNSEEN.sub("\ufffd", name)[:MAX_NAME_CHARACTERS]
    short = shown if len(shown) <= 120 else f"{shown[:60]}…{shown[-59:]}"
    return SkippedFile(name=shown, code=code, reason=f"'{short}' {reason}")


def _too_large(name: str, size_bytes: int, most_bytes: int) -> SkippedFile:
    reason = (
        f"has {size_bytes:,} bytes or more; at most {most_bytes:,} are allowed. "
        "Save it smaller, or raise TRAINSHED_MAX_IMAGE_BYTES."
    )
    return skipped(name, "too_large", reason)


def _in_words(head: bytes) -> str:
    if not head:
        return "is empty"
    kinds = {b"Rar!": "a RAR archive", b"7z\xbc\xaf": "a 7-Zip archive", b"%PDF": "a PDF document"}
    kinds |= {b"\xff\xd8\xff": "a single picture", b"\x89PNG": "a single picture"}
    return f"is {kinds.get(head[:4]) or kinds.get(head[:3]) or 'some other file'}"
