"""Zip files, read entry by entry from the central directory with flat memory.

After PKWARE APPNOTE 6.3.10 with zip64, stored and deflated. Why not `zipfile`: it keeps an object per entry,
trusts sizes, and opens archives whose entries share their bytes.
"""

from __future__ import annotations

import bisect
import os
import stat
import struct
import zlib
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from trainshed.errors import ArchiveRefused
from trainshed.pictures.members import ArchiveLimits, Kind, Member, MemberBroken

_END = struct.Struct("<4s4H2LH")
_END_64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR_64 = struct.Struct("<4sLQL")
_CENTRAL = struct.Struct("<4s2B5H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_STORED, _DEFLATED = 0, 8
_ENCRYPTED = 0x1
_CHUNK_BYTES = 1 << 20


class Zip:
    """The members of a zip file. Safe to read from several threads."""

    def __init__(self, path: Path, limits: ArchiveLimits, name: str) -> None:
        """Read the directory once; errors say `name`. Raises `ArchiveRefused` for a cut or deceiving archive."""
        self._path = path
        self._name = name
        self._limits = limits
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._size_bytes = os.fstat(self._file).st_size
            self._directory_start, self._directory_bytes, self._shift = self._find_directory()
            self._starts = self._sorted_starts()
        except BaseException:
            os.close(self._file)
            raise

    def close(self) -> None:
        os.close(self._file)

    def __iter__(self) -> Iterator[Member]:
        with self._path.open("rb", buffering=_CHUNK_BYTES) as file:
            file.seek(self._directory_start)
            end = self._directory_start + self._directory_bytes
            position = self._directory_start
            while position < end:
                member, length = self._next_member(file)
                position += length
                yield member

    def chunks(self, member: Member) -> Iterator[tuple[int, bytes]]:
        """See `members.Reader`."""
        start = self._data_start(member)
        checksum = size_bytes = 0
        unpack = self._stored if member.method == _STORED else self._deflated
        for packed_bytes, part in unpack(start, member.packed_bytes):
            checksum = zlib.crc32(part, checksum)
            size_bytes += len(part)
            yield packed_bytes, part
        if checksum != member.checksum or size_bytes != member.size_bytes:
            raise MemberBroken("does not match its checksum: the archive is damaged. Pack it again.")

    def _stored(self, start: int, packed_bytes: int) -> Iterator[tuple[int, bytes]]:
        for done in range(0, packed_bytes, _CHUNK_BYTES):
            part = os.pread(self._file, min(_CHUNK_BYTES, packed_bytes - done), start + done)
            yield done + len(part), part

    def _deflated(self, start: int, packed_bytes: int) -> Iterator[tuple[int, bytes]]:
        inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        for done, packed in self._stored(start, packed_bytes):
            waiting = packed
            while waiting:
                try:
                    part = inflate.decompress(waiting, _CHUNK_BYTES)
                except zlib.error as error:
                    raise MemberBroken(f"cannot be unpacked ({error}). Pack it again.") from None
                waiting = inflate.unconsumed_tail
                yield done - len(waiting), part
        yield packed_bytes, inflate.flush()

    def _find_directory(self) -> tuple[int, int, int]:
        """(start of the central directory, its length, how far bytes put in front shift all offsets)."""
        tail_start = max(0, self._size_bytes - _END.size - 0xFFFF)
        tail = os.pread(self._file, self._size_bytes - tail_start, tail_start)
        at = tail.rfind(b"PK\5\6")
        if at < 0 or len(tail) < at + _END.size:
            raise self._refusal("is cut off: the directory at its end is missing. Copy or pack it again.")
        _, disk, first_disk, _, num_entries, length, offset, _ = _END.unpack_from(tail, at)
        end = tail_start + at
        if 0xFFFF in (disk, num_entries) or 0xFFFFFFFF in (length, offset):
            end, disk, first_disk, num_entries, length, offset = self._end_64(
                end, (disk, first_disk, num_entries, length, offset)
            )
        if disk or first_disk:
            raise self._refusal("is one part of several. Pack it as one file.")
        if num_entries > self._limits.max_entries:
            raise self._refusal(
                f"has {num_entries:,} entries; at most {self._limits.max_entries:,} are allowed. Upload it in parts."
            )
        start = end - length
        if start < offset:
            raise self._refusal("is damaged: its directory is not where its end says. Pack it again.")
        return start, length, start - offset

    def _end_64(self, end: int, small: tuple[int, int, int, int, int]) -> tuple[int, int, int, int, int, int]:
        """The same numbers from the zip64 records in front of the end record, if there are any."""
        locator = os.pread(self._file, _LOCATOR_64.size, max(0, end - _LOCATOR_64.size))
        if len(locator) < _LOCATOR_64.size or not locator.startswith(b"PK\6\7"):
            return end, *small
        position = end - _LOCATOR_64.size - _END_64.size
        record = os.pread(self._file, _END_64.size, max(0, position))
        if len(record) < _END_64.size or not record.startswith(b"PK\6\6"):
            raise self._refusal("is damaged: its zip64 directory is missing. Pack it again.")
        _, _, _, _, disk, first_disk, _, num_entries, length, offset = _END_64.unpack(record)
        return position, disk, first_disk, num_entries, length, offset

    def _sorted_starts(self) -> array[int]:
        """Where the entries start, in order; refuses entries that share bytes, as bombs and deceptions do.

        (D. Fifield, "A better zip bomb", WOOT 2019.)
        """
        starts, ends = array("Q"), array("Q")
        for number, member in enumerate(self, start=1):
            if number > self._limits.max_entries:
                raise self._refusal(f"has more than {self._limits.max_entries:,} entries. Upload it in parts.")
            starts.append(member.position)
            ends.append(member.position + _LOCAL.size + member.packed_bytes)
        starts_sorted = np.frombuffer(starts, np.uint64) if starts else np.empty(0, np.uint64)
        order = np.argsort(starts_sorted, kind="stable")
        starts_sorted = starts_sorted[order]
        next_starts = np.append(starts_sorted[1:], np.uint64(self._directory_start))
        if starts and (np.frombuffer(ends, np.uint64)[order] > next_starts).any():
            raise self._overlap()
        return array("Q", starts_sorted.tobytes())

    def _data_start(self, member: Member) -> int:
        head = os.pread(self._file, _LOCAL.size, member.position)
        if len(head) < _LOCAL.size or not head.startswith(b"PK\3\4"):
            raise MemberBroken("is not where the archive's directory says. Pack it again.")
        name_bytes, extra_bytes = _LOCAL.unpack(head)[-2:]
        start: int = member.position + _LOCAL.size + name_bytes + extra_bytes
        after = bisect.bisect_right(self._starts, member.position)
        next_start = self._starts[after] if after < len(self._starts) else self._directory_start
        if start + member.packed_bytes > next_start:
            raise self._overlap()
        return start

    def _next_member(self, file: BinaryIO) -> tuple[Member, int]:
        """The next record of the central directory, and its length."""
        head = file.read(_CENTRAL.size)
        if len(head) < _CENTRAL.size or not head.startswith(b"PK\1\2"):
            raise self._refusal("is damaged: its directory cannot be read. Pack it again.")
        (_, _, _, _, flags, method, _, _, checksum, packed, size, name_bytes, extra_bytes, comment_bytes,
         _, _, attributes, offset) = _CENTRAL.unpack(head)  # fmt: skip
        raw_name = file.read(name_bytes)
        extra = file.read(extra_bytes)
        file.seek(comment_bytes, os.SEEK_CUR)
        if extra and 0xFFFFFFFF in (size, packed, offset):
            size, packed, offset = _sizes_64(extra, size, packed, offset)
        position = offset + self._shift
        if position + packed > self._size_bytes:
            raise self._refusal("is cut off or damaged: its directory points behind its end. Copy or pack it again.")
        name = _name(raw_name, extra)
        member = Member(name, size, _kind(name, flags, method, attributes), position, packed, method, checksum)
        return member, _CENTRAL.size + name_bytes + extra_bytes + comment_bytes

    def _overlap(self) -> ArchiveRefused:
        return self._refusal("has entries that share their bytes, as archive bombs do. Pack it again.")

    def _refusal(self, reason: str) -> ArchiveRefused:
        return ArchiveRefused(f"'{self._name}' {reason}")


def _sizes_64(extra: bytes, size: int, packed: int, offset: int) -> tuple[int, int, int]:
    """Where 32 bits were too few: extra field 1 holds, in this order, those that are all ones."""
    field = _extra_field(extra, 1)
    large = iter(struct.unpack(f"<{len(field) // 8}Q", field[: len(field) // 8 * 8]))
    size, packed, offset = (next(large, value) if value == 0xFFFFFFFF else value for value in (size, packed, offset))
    return size, packed, offset


def _kind(name: str, flags: int, method: int, attributes: int) -> Kind:
    if name.endswith(("/", "\\")):
        return "folder"
    mode = stat.S_IFMT(attributes >> 16)  # where made on Unix; 0 elsewhere
    if mode == stat.S_IFLNK:
        return "link"
    if mode == stat.S_IFDIR:
        return "folder"
    if mode not in (0, stat.S_IFREG):
        return "device"
    if flags & _ENCRYPTED:
        return "encrypted"
    return "file" if method in (_STORED, _DEFLATED) else "too_packed"


def _name(raw: bytes, extra: bytes) -> str:
    """UTF-8 where it reads as UTF-8 (not all who write it say so), else code page 437."""
    unicode_path = _extra_field(extra, 0x7075) if extra else b""  # Info-ZIP: version, CRC of `raw`, UTF-8
    if len(unicode_path) > 5 and int.from_bytes(unicode_path[1:5], "little") == zlib.crc32(raw):
        raw = unicode_path[5:]
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("cp437")


def _extra_field(extra: bytes, wanted: int) -> bytes:
    position = 0
    while position + 4 <= len(extra):
        field, length = struct.unpack_from("<2H", extra, position)
        if field == wanted:
            return extra[position + 4 : position + 4 + length]
        position += 4 + length
    return b""
