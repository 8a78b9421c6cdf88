from __future__ import annotations

import gzip
import io
import random
import resource
import stat
import struct
import sys
import tarfile
import time
import tracemalloc
import zipfile
import zlib
from pathlib import Path
from typing import Any

import pytest

from trainshed.errors import ArchiveRefused
from trainshed.pictures.archives import Archive, Entry, UnsafeName, label
from trainshed.pictures.members import ArchiveLimits
from trainshed.schemas import SkippedFile

from .material import RawEntry, bomb, zip_of

GENEROUS = ArchiveLimits(max_total_bytes=100 << 30, max_file_bytes=100 << 20)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "animals.zip"


def contents(path: Path, limits: ArchiveLimits = GENEROUS) -> tuple[dict[str, bytes], dict[str, str]]:
    """What can be read, by label, and what cannot, with its code."""
    taken, left_out = {}, {}
    with Archive.open(path, limits=limits) as archive:
        for item in archive:
            data = item.read() if isinstance(item, Entry) else item
            if isinstance(data, SkippedFile):
                left_out[data.name] = data.code
            else:
                taken[item.name] = data
    return taken, left_out


def refusal(path: Path, limits: ArchiveLimits = GENEROUS) -> str:
    with pytest.raises(ArchiveRefused) as caught:
        contents(path, limits)
    return caught.value.message


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_zip_gives_its_files_by_label(path: Path, method: int) -> None:
    noise = random.Random(0).randbytes(3_000_000)
    files = {"cat/a.png": b"", "cat/sub/b.png": b"b" * 10, "dog/large.png": noise}
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.mkdir("cat")
        for name, data in files.items():
            archive.writestr(name, data)
    assert contents(path) == (files, {})


def test_a_zip_written_as_a_stream_or_with_zip64_fields_is_read(path: Path) -> None:
    class Pipe(io.RawIOBase):
        """Cannot seek, so that sizes follow the data."""

        def __init__(self) -> None:
            self.written = b""

        def writable(self) -> bool:
            return True

        def write(self, data: Any) -> int:
            self.written += bytes(data)
            return len(data)

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("cat/a.png", b"a" * 100)
        with archive.open("cat/b.png", "w", force_zip64=True) as file:
            file.write(b"b" * 100)
    path.write_bytes(pipe.written)
    assert contents(path) == ({"cat/a.png": b"a" * 100, "cat/b.png": b"b" * 100}, {})


def test_sizes_and_offsets_of_64_bits_are_read(path: Path) -> None:
    entry = RawEntry("cat/a.png", b"hello", method=0)
    head = entry.local()
    extra = struct.pack("<2H3Q", 1, 24, 5, 5, 0)
    central = bytearray(entry.central(0))
    struct.pack_into("<2L", central, 20, 0xFFFFFFFF, 0xFFFFFFFF)
    struct.pack_into("<H", central, 30, len(extra))
    struct.pack_into("<L", central, 42, 0xFFFFFFFF)
    directory = bytes(central) + extra
    end_64 = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, 1, 1, len(directory), len(head))
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, len(head) + len(directory), 1)
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    path.write_bytes(head + directory + end_64 + locator + end)
    assert contents(path) == ({"cat/a.png": b"hello"}, {})


def test_a_zip_with_bytes_in_front_and_a_comment_behind_is_read(path: Path) -> None:
    path.write_bytes(b"#!/bin/sh\n" * 9 + zip_of(RawEntry("cat/a.png", b"a"), comment=b"PK, with love" * 99))
    assert contents(path) == ({"cat/a.png": b"a"}, {})


def test_an_archive_is_iterated_as_often_as_one_likes(path: Path) -> None:
    path.write_bytes(zip_of(RawEntry("cat/a.png", b"a"), RawEntry("dog/b.png", b"b")))
    with Archive.open(path, limits=GENEROUS) as archive:
        first, second = list(archive), list(archive)
        assert [item.name for item in first] == [item.name for item in second] == ["cat/a.png", "dog/b.png"]
        assert isinstance(first[1], Entry) and isinstance(first[0], Entry)
        assert (first[1].read(), first[0].read()) == (b"b", b"a")


@pytest.mark.parametrize(
    "name",
    ["../../etc/cron.d/x.png", "cat/../../x.png", "..\\x.png", "/etc/x.png", "\\\\host\\x.png", "C:\\x.png",
     "c:x.png", "cat/a\0.png", "", "cat/..", "//x.png"],
)  # fmt: skip
def test_a_name_that_would_lead_out_is_skipped_and_the_rest_goes_in(path: Path, name: str) -> None:
    path.write_bytes(zip_of(RawEntry(name, b"evil"), RawEntry("cat/a.png", b"a")))
    taken, left_out = contents(path)
    assert taken == {"cat/a.png": b"a"}
    assert list(left_out.values()) == ["unsafe_name"]
    assert [each.name for each in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("cat\\persian\\a.png", ("cat", "persian", "a.png")),
        ("./cat//a.png", ("cat", "a.png")),
        ("cat/...png", ("cat", "...png")),
        ("e\u0301te\u0301/a.png", ("\u00e9t\u00e9", "a.png")),
        ("cat/\x1b[31m\u202egnp.png", ("cat", "\ufffd[31m\ufffdgnp.png")),
        ("猫/😺.png", ("猫", "😺.png")),
    ],
)
def test_labels_are_clean(name: str, parts: tuple[str, ...]) -> None:
    assert label(name) == parts


def test_an_unsafe_name_says_what_is_wrong() -> None:
    with pytest.raises(UnsafeName, match="absolute path"):
        label("D:/pictures/a.png")


def test_names_in_chinese_with_emoji_in_old_code_pages_and_of_300_characters(path: Path) -> None:
    long = "长" * 296 + ".png"
    unicode_path = b"\1" + struct.pack("<L", zlib.crc32(b"dog/?.png")) + "dog/犬.png".encode()
    entries = [
        RawEntry("猫/😺.png", b"1", flags=0x800),
        RawEntry("猫/无标志.png".encode(), b"2"),  # UTF-8 without the flag, as macOS writes it
        RawEntry("m\u00e4use/\u00fc.png".encode("cp437"), b"3"),
        RawEntry(b"dog/?.png", b"4", extra=struct.pack("<2H", 0x7075, len(unicode_path)) + unicode_path),
        RawEntry(f"猫/{long}", b"5", flags=0x800),
    ]
    path.write_bytes(zip_of(*entries))
    assert contents(path)[0] == {
        "猫/😺.png": b"1", "猫/无标志.png": b"2", "m\u00e4use/\u00fc.png": b"3", "dog/犬.png": b"4",
        f"猫/{long}": b"5",
    }  # fmt: skip


def test_litter_is_left_out_silently(path: Path) -> None:
    names = [
        "__MACOSX/cat/._a.png",
        "cat/.DS_Store",
        "cat/Thumbs.db",
        ".git/config",
        "cat/.b.png",
        "desktop.ini",
    ]
    path.write_bytes(zip_of(*(RawEntry(name) for name in names), RawEntry("cat/a.png", b"a")))
    assert contents(path) == ({"cat/a.png": b"a"}, {})


def test_links_devices_and_encrypted_or_oddly_packed_files_are_skipped(path: Path) -> None:
    entries = [
        RawEntry("cat/link.png", b"/etc/passwd", mode=stat.S_IFLNK | 0o777),
        RawEntry("cat/pipe.png", mode=stat.S_IFIFO | 0o666),
        RawEntry("cat/device.png", mode=stat.S_IFCHR | 0o666),
        RawEntry("cat/folder", b"", mode=stat.S_IFDIR | 0o755),
        RawEntry("cat/secret.png", flags=1),
        RawEntry("cat/odd.png", method=14),
        RawEntry("cat/" + "x" * 5000 + ".png"),
        RawEntry("cat/a.png", b"a", mode=stat.S_IFREG | 0o644),
    ]
    path.write_bytes(zip_of(*entries))
    taken, left_out = contents(path)
    assert taken == {"cat/a.png": b"a"}
    assert list(left_out.values()) == ["link", "device", "device", "encrypted", "compression", "long_name"]


def test_of_two_files_with_one_name_the_first_is_taken(path: Path) -> None:
    names = (b"cat/a.png", b"cat\\a.png", b"./cat/a.png")
    path.write_bytes(zip_of(*(RawEntry(name, name) for name in names)))
    assert contents(path) == ({"cat/a.png": b"cat/a.png"}, {"cat/a.png": "duplicate_name"})


@pytest.mark.parametrize("method", [0, 8])
def test_a_damaged_file_is_skipped_and_the_rest_goes_in(path: Path, method: int) -> None:
    bad = RawEntry("cat/bad.png", b"hello" * 100, method=method)
    data = bytearray(zip_of(RawEntry("cat/a.png", b"a"), bad, RawEntry("cat/b.png", b"b")))
    data[data.find(b"cat/bad.png") + len("cat/bad.png") + 5] ^= 0x55
    path.write_bytes(data)
    assert contents(path) == ({"cat/a.png": b"a", "cat/b.png": b"b"}, {"cat/bad.png": "corrupt"})


@pytest.mark.parametrize(
    "lie",
    [{"claimed_bytes": 4}, {"claimed_bytes": 6}, {"checksum": 1}, {"packed": b"\xff" * 3}, {"packed": b""}],
)
def test_an_entry_whose_header_lies_is_skipped(path: Path, lie: dict[str, Any]) -> None:
    path.write_bytes(zip_of(RawEntry("cat/lie.png", b"hello", **lie), RawEntry("cat/a.png", b"a")))
    assert contents(path) == ({"cat/a.png": b"a"}, {"cat/lie.png": "corrupt"})


def test_a_bomb_of_one_gibibyte_ends_fast_with_flat_memory_whatever_its_header_claims(path: Path) -> None:
    for claimed in (1 << 30, 10_000):
        evil = bomb("cat/bomb.png", 1 << 30, claimed_bytes=claimed)
        path.write_bytes(zip_of(evil, RawEntry("cat/a.png", b"a")))
        assert path.stat().st_size < 1_100_000
        no_file_limit = ArchiveLimits(max_total_bytes=100 << 30, max_file_bytes=2 << 30)
        tracemalloc.start()
        begin = time.process_time()
        try:
            taken, left_out = contents(path, no_file_limit)
            peak_bytes = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert (taken, left_out) == ({"cat/a.png": b"a"}, {"cat/bomb.png": "bomb"})
        assert time.process_time() - begin < 2 and peak_bytes < 16 << 20


def test_a_bomb_says_what_it_is(path: Path) -> None:
    path.write_bytes(zip_of(bomb("cat/bomb.png", 64 << 20)))
    with Archive.open(path, limits=GENEROUS) as archive:
        (entry,) = archive
        skipped = entry.read() if isinstance(entry, Entry) else entry
    assert isinstance(skipped, SkippedFile)
    assert skipped.reason == (
        "'cat/bomb.png' unpacks to more than 200 times its size, as archive bombs do. "
        "If it is a picture, save it as PNG or JPEG."
    )


def test_many_files_that_unpack_to_too_much_together_are_refused(path: Path) -> None:
    path.write_bytes(zip_of(*(RawEntry(f"cat/{i}.png", bytes(900_000)) for i in range(60))))
    assert refusal(path, ArchiveLimits(max_total_bytes=20_000_000, max_file_bytes=1 << 20)) == (
        "'animals.zip' unpacks to more than 20,000,000 bytes. Upload it in parts, or raise TRAINSHED_MAX_ARCHIVE_BYTES."
    )


def test_a_file_larger_than_allowed_is_skipped_whatever_it_claims(path: Path) -> None:
    noise = random.Random(1).randbytes(5000)
    path.write_bytes(zip_of(RawEntry("cat/a.png", noise), RawEntry("cat/b.png", noise, claimed_bytes=10)))
    limits = ArchiveLimits(max_total_bytes=1 << 30, max_file_bytes=4999)
    assert contents(path, limits) == ({}, {"cat/a.png": "too_large", "cat/b.png": "too_large"})
    with Archive.open(path, limits=GENEROUS) as archive:
        (first, _) = archive
        assert isinstance(first, Entry) and isinstance(first.read(4999), SkippedFile)
        assert first.read(5000) == noise


def test_the_limits_are_settings(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_bytes(zip_of(RawEntry("cat/a.png", b"12345"), RawEntry("cat/b.png", b"1")))
    monkeypatch.setenv("TRAINSHED_MAX_IMAGE_BYTES", "4")
    with Archive.open(path) as archive:
        reads = [item.read() for item in archive if isinstance(item, Entry)]
    assert isinstance(reads[0], SkippedFile) and reads[1] == b"1"
    monkeypatch.setenv("TRAINSHED_MAX_ARCHIVE_BYTES", "0")
    with Archive.open(path) as archive, pytest.raises(ArchiveRefused, match="TRAINSHED_MAX_ARCHIVE_BYTES"):
        [item.read() for item in archive if isinstance(item, Entry)]


def test_entries_that_share_their_bytes_are_refused(path: Path) -> None:
    entry = RawEntry("cat/a.png", b"x" * 100)
    other = RawEntry("cat/b.png", b"x" * 100)
    body = entry.local()
    directory = entry.central(0) + other.central(0)
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 2, 2, len(directory), len(body), 0)
    path.write_bytes(body + directory + end)
    assert "share their bytes" in refusal(path)


def test_an_entry_that_quotes_the_next_ones_header_is_refused(path: Path) -> None:
    """Each entry's data covers the next entry whole: Fifield's construction, in two steps."""
    inner = RawEntry("cat/b.png", b"y" * 50, method=0)
    outer = RawEntry("cat/a.png", inner.local(), method=0)
    body = outer.local()
    directory = outer.central(0) + inner.central(len(body) - len(inner.local()))
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 2, 2, len(directory), len(body), 0)
    path.write_bytes(body + directory + end)
    assert "share their bytes" in refusal(path)


def test_an_entry_that_reaches_into_the_next_by_its_local_header_is_refused(path: Path) -> None:
    first, second = RawEntry("cat/a.png", b"x" * 10, method=0), RawEntry("cat/b.png", b"y" * 90, method=0)
    data = bytearray(zip_of(first, second))
    struct.pack_into("<H", data, 28, 60)  # a longer extra field than the directory tells of
    path.write_bytes(data)
    assert "share their bytes" in refusal(path)


def test_too_many_entries_are_refused_by_claim_and_by_count(path: Path) -> None:
    limits = ArchiveLimits(max_total_bytes=1 << 30, max_file_bytes=1 << 20, max_entries=5)
    data = bytearray(zip_of(*(RawEntry(f"cat/{i}.png") for i in range(6))))
    path.write_bytes(data)
    assert "has 6 entries; at most 5 are allowed" in refusal(path, limits)
    struct.pack_into("<2H", data, len(data) - 14, 1, 1)
    path.write_bytes(data)
    assert "has more than 5 entries" in refusal(path, limits)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.99])
def test_a_zip_that_is_cut_off_is_refused(path: Path, share: float) -> None:
    whole = zip_of(*(RawEntry(f"cat/{i}.png", random.Random(i).randbytes(200)) for i in range(50)))
    path.write_bytes(whole[: int(len(whole) * share)])
    assert "cut off" in refusal(path)


def test_a_zip_in_parts_or_with_a_broken_directory_is_refused(path: Path) -> None:
    data = bytearray(zip_of(RawEntry("cat/a.png", b"a")))
    for place, value, words in ((-18, 1, "one part of several"), (-10, 200, "not where its end says")):
        broken = bytearray(data)
        broken[len(data) + place] = value
        path.write_bytes(broken)
        assert words in refusal(path)
    data[data.find(b"PK\1\2") + 42] = 0xF0
    path.write_bytes(data)
    assert "points behind its end" in refusal(path)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty, not a zip or tar"),
        (b"Rar!\x1a\x07\x01\0", "is a RAR archive"),
        (b"7z\xbc\xaf\x27\x1c", "is a 7-Zip archive"),
        (b"\xff\xd8\xff\xe0", "is a single picture"),
        (b"hello" * 1000, "is some other file"),
        (b"\x1f\x8b\x08\0", "is some other file"),
    ],
)
def test_what_is_no_archive_is_refused_in_words(path: Path, data: bytes, words: str) -> None:
    path.write_bytes(data)
    assert words in refusal(path)


def test_flipped_bits_give_files_skips_or_a_refusal_and_nothing_else(path: Path) -> None:
    dice = random.Random(5)
    good = zip_of(*(RawEntry(f"c{i % 3}/{i}.png", dice.randbytes(40), method=8 * (i % 2)) for i in range(6)))
    for _ in range(400):
        data = bytearray(good)
        for _ in range(3):
            data[dice.randrange(len(data))] = dice.randrange(256)
        path.write_bytes(data)
        try:
            assert len(contents(path)[0]) <= 7
        except ArchiveRefused as refused:
            assert refused.message.startswith("'animals.zip' ")


@pytest.mark.parametrize("packing", ["", "gz", "bz2"])
@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_a_tar_gives_its_files_by_label(tmp_path: Path, packing: str, format: int) -> None:
    long = "x" * 90 + "/" + "y" * 90 + ".png"
    files = {"cat/a.png": b"", long: b"b" * 700, "dog/large.png": random.Random(0).randbytes(1_200_000)}
    if format != tarfile.USTAR_FORMAT:
        files["猫/" + "长" * 296 + ".png"] = b"c"
    path = tmp_path / "animals.tar"
    with tarfile.open(path, f"w:{packing}", format=format) as archive:  # type: ignore[call-overload]
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
        for name, kind in (("cat/link.png", tarfile.SYMTYPE), ("cat/fifo.png", tarfile.FIFOTYPE)):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/passwd"
            archive.addfile(member)
        archive.addfile(tarfile.TarInfo("../out.png"))
        folder = tarfile.TarInfo("cat")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
    expected = {"cat/link.png": "link", "cat/fifo.png": "device", "../out.png": "unsafe_name"}
    assert contents(path) == (files, expected)
    with Archive.open(path, limits=GENEROUS) as archive:
        entries = [item for item in archive if isinstance(item, Entry)]
        assert [entry.read() for entry in reversed(entries)] == list(reversed(files.values()))


def test_a_tar_bomb_is_refused_with_flat_memory(tmp_path: Path) -> None:
    path = tmp_path / "bomb.tar.gz"
    with tarfile.open(path, "w:gz", compresslevel=9) as archive:
        member = tarfile.TarInfo("cat/bomb.png")
        member.size = 256 << 20

        class Zeros(io.RawIOBase):
            def readinto(self, buffer: Any) -> int:
                buffer[:] = bytes(len(buffer))
                return len(buffer)

        archive.addfile(member, Zeros())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    no_file_limit = ArchiveLimits(max_total_bytes=100 << 30, max_file_bytes=2 << 30)
    assert "more than 200 times its size" in refusal(path, no_file_limit)
    grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown_kib < 32 << 10 or sys.platform != "linux"


def test_a_tar_that_is_cut_off_damaged_or_has_a_giant_header_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "animals.tar"
    with tarfile.open(path, "w") as archive:
        for name in ("cat/a.png", "cat/b.png"):
            member = tarfile.TarInfo(name)
            member.size = 600
            archive.addfile(member, io.BytesIO(b"x" * 600))
    data = path.read_bytes()
    path.write_bytes(data[:1000])
    assert contents(path) == ({}, {"cat/a.png": "corrupt"})
    path.write_bytes(data[:1550] + b"?" + data[1551:])
    assert "header cannot be read" in refusal(path)
    giant = tarfile.TarInfo("x")
    giant.type, giant.size = tarfile.XHDTYPE, 1 << 40
    path.write_bytes(giant.tobuf(tarfile.GNU_FORMAT) + data)
    assert "as archive bombs do" in refusal(path)
    packed = tmp_path / "animals.tar.gz"
    packed.write_bytes(gzip.compress(data)[:-20])
    assert "cut off" in refusal(packed)


@pytest.mark.parametrize("content", [b"", b"just text", b"PK\3\4 and nothing more", b"\x1f\x8b\x08 and nothing more"])
def test_an_archive_is_called_as_its_owner_calls_it(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "e3b0c44298fc").write_bytes(content)
    with (
        pytest.raises(ArchiveRefused, match="'holiday.zip'"),
        Archive.open(tmp_path / "e3b0c44298fc", name="holiday.zip", limits=GENEROUS) as archive,
    ):
        list(archive)
