"""What the readers of zip and tar hand to `archives`: members as the file tells of them, not yet believed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

from trainshed.schemas import settings

# `too_packed`: by a method that is not read here
Kind = Literal["file", "folder", "link", "device", "encrypted", "too_packed"]


@dataclass(frozen=True, slots=True)
class Member:
    """One entry. `position`, `packed_bytes`, `method` and `checksum` are its reader's own."""

    name: str
    size_bytes: int
    kind: Kind
    position: int
    packed_bytes: int = 0
    method: int = 0
    checksum: int | None = None


class MemberBroken(Exception):
    """The bytes cannot be unpacked; the message ends a sentence that begins with the member's name."""


@dataclass(frozen=True)
class ArchiveLimits:
    """How much an archive may hold and unpack to, counted while reading."""

    max_total_bytes: int
    max_file_bytes: int
    max_entries: int = 1_000_000
    max_ratio: int = 200
    ratio_counts_from_bytes: int = 1 << 20

    @classmethod
    def of_settings(cls) -> ArchiveLimits:
        """The limits that this machine's settings name."""
        return cls(
            max_total_bytes=settings.whole("TRAINSHED_MAX_ARCHIVE_BYTES"),
            max_file_bytes=settings.whole("TRAINSHED_MAX_IMAGE_BYTES"),
        )

    def is_bomb(self, unpacked_bytes: int, packed_bytes: int) -> bool:
        """More bytes out of less than pictures ever pack to."""
        return unpacked_bytes > self.ratio_counts_from_bytes and unpacked_bytes > self.max_ratio * packed_bytes


class Reader(Protocol):
    """A zip or a tar."""

    def __iter__(self) -> Iterator[Member]:
        """All members in the file's order, from the first. Raises `ArchiveRefused`."""
        ...

    def chunks(self, member: Member) -> Iterator[tuple[int, bytes]]:
        """The member's content: (packed bytes read so far, next unpacked bytes).

        Raises `MemberBroken`, also after the last bytes when they do not match the member's checksum.
        """
        ...

    def close(self) -> None: ...
