"""Tar files, plain or packed by gzip or bzip2, read as a stream with flat memory.

After POSIX ustar, pax (`path`, `size`) and GNU long names. Why not `tarfile`: it reads headers of any length
into memory and knows no bombs.
"""

from __future__ import annotations

import bz2
import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from trainshed.errors import ArchiveRefused
from trainshed.pictures.members import ArchiveLimits, Kind, Member, MemberBroken

_BLOCK = 512
_CHUNK_BYTES = 1 << 20
_MAX_HEADER_BYTES = 1 << 20
_GZIP, _BZIP2 = b"\x1f\x8b", b"BZh"
_PACKED = (_GZIP, _BZIP2)
_KINDS: dict[bytes, Kind] = {
    b"0": "file",
    b"\0": "file",
    b"7": "file",
    b"5": "folder",
    b"1": "link",
    b"2": "link",
}


class Tar:
    """The members of a tar file, for one thread at a time."""

    def __init__(self, path: Path, limits: ArchiveLimits, name: str) -> None:
        self._path = path
        self._name = name
        self._limits = limits
        self._stream: _Stream | None = None

    def close(self) -> None:
        if self._stream:
            self._stream.close()
            self._stream = None

    def __iter__(self) -> Iterator[Member]:
        next_header = 0
        long_name: bytes | None = None
        long_size: int | None = None
        while (header := self._header(next_header)) is not None:
            type_flag, position = header[156:157], next_header + _BLOCK
            size = long_size if long_size is not None else self._number(header[124:136])
            next_header = position + -(-size // _BLOCK) * _BLOCK
            if type_flag == b"L":
                long_name = self._long_header(size).rstrip(b"\0")
            elif type_flag == b"x":
                long_name, long_size = _pax(self._long_header(size), long_name)
            elif type_flag not in (b"g", b"K"):
                name = (long_name or _ustar_name(header)).decode("utf-8", "replace")
                yield Member(name, size, _KINDS.get(type_flag, "device"), position)
                long_name = long_size = None

    def chunks(self, member: Member) -> Iterator[tuple[int, bytes]]:
        """See `members.Reader`. The ratio is watched over the whole stream, where it is unpacked."""
        done = 0
        while done < member.size_bytes:
            part = self._at(member.position + done).read(min(member.size_bytes - done, _CHUNK_BYTES))
            if not part:
                raise MemberBroken("is cut off: the archive ends inside it. Copy or pack it again.")
            done += len(part)
            yield member.size_bytes, part

    def _at(self, position: int) -> _Stream:
        """The stream, moved to `position`; to go back it starts over."""
        if self._stream is None or self._stream.position > position:
            self.close()
            self._stream = _Stream(self._path, self._limits, self._name)
        self._stream.skip_to(position)
        return self._stream

    def _header(self, position: int) -> bytes | None:
        """The header block at `position`; `None` at the end."""
        header = self._at(position).read(_BLOCK)
        if not header.strip(b"\0"):
            return None
        if len(header) < _BLOCK or self._number(header[148:156]) != _checksum(header):
            raise self._refusal("is damaged or cut off: a file's header cannot be read. Pack it again.")
        return header

    def _long_header(self, size: int) -> bytes:
        """The content of the header block that was just read."""
        if size > _MAX_HEADER_BYTES:
            raise self._refusal(f"has a header of {size:,} bytes, as archive bombs do. Pack it again.")
        return self._stream.read(size) if self._stream else b""

    def _number(self, field: bytes) -> int:
        """Octal digits, or GNU's base 256 for large files."""
        if field[0] & 0x80:
            return int.from_bytes(field[1:], "big")
        try:
            return int(field.strip(b" \0") or b"0", 8)
        except ValueError:
            raise self._refusal("is damaged: a file's header cannot be read. Pack it again.") from None

    def _refusal(self, reason: str) -> ArchiveRefused:
        return ArchiveRefused(f"'{self._name}' {reason}")


class _Stream:
    """The unpacked bytes from first to last; `position` is the place of the next one."""

    def __init__(self, path: Path, limits: ArchiveLimits, name: str) -> None:
        self._name = name
        self._limits = limits
        self._file = path.open("rb")
        head = self._file.read(3)
        self._file.seek(0)
        self._unpacked: BinaryIO = self._file
        if head.startswith(_GZIP):
            self._unpacked = gzip.GzipFile(fileobj=self._file)  # type: ignore[assignment]
        elif head.startswith(_BZIP2):
            self._unpacked = bz2.BZ2File(self._file)  # type: ignore[assignment]
        self.position = 0

    def close(self) -> None:
        self._file.close()

    def read(self, num_bytes: int) -> bytes:
        """The next bytes, fewer only at the end. Raises `ArchiveRefused` for a bomb or a damaged stream."""
        try:
            data = self._unpacked.read(num_bytes)
        except (OSError, EOFError, ValueError, zlib.error) as error:
            raise ArchiveRefused(f"'{self._name}' is damaged or cut off ({error}). Pack it again.") from None
        self.position += len(data)
        if self._unpacked is not self._file:
            self._refuse_bomb()
        return data

    def skip_to(self, position: int) -> None:
        if self._unpacked is self._file:
            self.position = self._file.seek(position)
        while self.position < position and self.read(min(_CHUNK_BYTES, position - self.position)):
            pass

    def _refuse_bomb(self) -> None:
        if self._limits.is_bomb(self.position, self._file.tell()):
            raise ArchiveRefused(
                f"'{self._name}' unpacks to more than {self._limits.max_ratio} times its size, as archive "
                "bombs do. If it holds pictures, save them as PNG or JPEG."
            )
        if self.position > self._limits.max_total_bytes:
            raise ArchiveRefused(
                f"'{self._name}' unpacks to more than {self._limits.max_total_bytes:,} bytes. "
                "Upload it in parts, or raise TRAINSHED_MAX_ARCHIVE_BYTES."
            )


def is_tar(path: Path, head: bytes) -> bool:
    """Whether the file, unpacked if need be, begins with a tar header; `head` is its first 512 bytes."""
    if not head.startswith(_PACKED):
        return _looks_like_header(head)
    stream = _Stream(path, ArchiveLimits(max_total_bytes=1 << 62, max_file_bytes=1 << 62), path.name)
    try:
        return _looks_like_header(stream.read(_BLOCK))
    except ArchiveRefused:
        return False
    finally:
        stream.close()


def _looks_like_header(block: bytes) -> bool:
    digits = block[148:156].strip(b" \0")
    if len(block) < _BLOCK or not digits.isdigit() or set(digits) - set(b"01234567"):
        return False
    return int(digits, 8) == _checksum(block)


def _checksum(header: bytes) -> int:
    """The sum of the bytes, with the checksum itself taken for spaces."""
    return sum(header) - sum(header[148:156]) + 8 * ord(" ")


def _ustar_name(header: bytes) -> bytes:
    name, prefix = header[:100].split(b"\0")[0], header[345:500].split(b"\0")[0]
    return prefix + b"/" + name if prefix and header[257:263] == b"ustar\0" else name


def _pax(content: bytes, name: bytes | None) -> tuple[bytes | None, int | None]:
    """`path` and `size` of a pax header: records of `length key=value` and a newline."""
    size = None
    while content:
        digits, _, _ = content.partition(b" ")
        if not digits.isdigit() or not 0 < int(digits[:8]) <= len(content):
            break
        record, content = content[: int(digits)], content[int(digits) :]
        key, _, value = record[len(digits) + 1 :].rstrip(b"\n").partition(b"=")
        if key == b"path":
            name = value
        if key == b"size" and value.isdigit():
            size = int(value[:18])
    return name, size
