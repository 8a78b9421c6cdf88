"""Blobs: bytes are visible whole, durable and once, or not at all."""

from __future__ import annotations

import concurrent.futures
import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from trainshed.errors import NotFound, StorageFull
from trainshed.server.blobs.local import LocalBlobs


@pytest.fixture
def blobs(tmp_path: Path) -> LocalBlobs:
    return LocalBlobs(tmp_path / "blobs")


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _files(blobs: LocalBlobs) -> set[str]:
    folder = blobs.folder()
    assert folder is not None
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def _read(blobs: LocalBlobs, sha256: str) -> bytes:
    with blobs.open(sha256) as file:
        return file.read()


def _stored(*contents: bytes) -> set[str]:
    names = map(_sha256, contents)
    return {f"{name[:2]}/{name[2:4]}/{name}" for name in names}


def test_many_blobs_are_stored_under_their_hashes_in_order(blobs):
    contents = [b"one", b"", b"two" * 100_000, b"one"]
    assert blobs.put_many(contents) == [_sha256(content) for content in contents]
    assert _files(blobs) == _stored(*contents)
    assert [_read(blobs, _sha256(content)) for content in contents] == contents


def test_storing_nothing_is_nothing(blobs):
    assert blobs.put_many([]) == [] and _files(blobs) == set()


@pytest.mark.parametrize("num", [1, 8, 9, 200])
def test_any_number_of_blobs_at_once_leaves_no_temporary_file(blobs, num):
    contents = [b"%d" % number for number in range(num)]
    blobs.put_many(iter(contents))
    assert _files(blobs) == _stored(*contents)


def test_a_blob_that_is_there_is_not_written_again(blobs):
    (name,) = blobs.put_many([b"same"])
    before = blobs.path(name).stat()
    assert blobs.put_many([b"same", b"other", b"same"])[0] == name
    writer = blobs.write()
    writer.write(b"other")
    writer.finish()
    after = blobs.path(name).stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    assert _files(blobs) == _stored(b"same", b"other")


def test_a_blob_comes_in_pieces_and_is_invisible_until_it_is_finished(blobs):
    writer = blobs.write()
    for piece in (b"a" * 70_000, b"", b"b"):
        writer.write(piece)
        with pytest.raises(NotFound):
            blobs.open(_sha256(b"a" * 70_000 + b"b"))
    assert writer.finish() == (_sha256(b"a" * 70_000 + b"b"), 70_001)
    assert _files(blobs) == _stored(b"a" * 70_000 + b"b")


def test_a_discarded_blob_leaves_nothing(blobs):
    writer = blobs.write()
    writer.write(b"x" * 100_000)
    writer.discard()
    writer.discard()
    assert _files(blobs) == set()


def test_a_put_that_fails_in_the_middle_leaves_nothing_half(blobs):
    def contents() -> Iterator[bytes]:
        yield b"first"
        yield b"second"
        raise RuntimeError("the source broke off")

    with pytest.raises(RuntimeError):
        blobs.put_many(contents())
    assert _files(blobs) == set()


def test_a_missing_blob_is_named(blobs):
    with pytest.raises(NotFound, match="000000000000 is missing from the storage"):
        blobs.open("0" * 64)


def test_a_deleted_blob_is_gone_and_deleting_again_is_no_error(blobs):
    (name,) = blobs.put_many([b"x"])
    blobs.delete(name)
    blobs.delete(name)
    with pytest.raises(NotFound):
        blobs.open(name)
    assert blobs.put_many([b"x"]) == [name] and _read(blobs, name) == b"x"


def test_only_the_owner_may_look_in(blobs):
    blobs.put_many([b"x"])
    folder = blobs.folder()
    assert folder is not None
    for path in (folder / "incoming", *(path for path in folder.rglob("*") if path.is_dir())):
        assert path.stat().st_mode & 0o077 == 0, path


def test_many_threads_may_store_the_same_bytes_at_once(blobs):
    contents = [b"%d" % (number % 7) * 1000 for number in range(40)]

    def put(number: int) -> list[str]:
        if number % 2:
            return blobs.put_many(contents)
        writer = blobs.write()
        writer.write(contents[number])
        return [writer.finish()[0]]

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(put, range(24)))
    assert _files(blobs) == _stored(*contents)
    assert all(_read(blobs, _sha256(content)) == content for content in contents)


def test_what_broke_off_on_its_way_in_can_be_cleared(blobs):
    (name,) = blobs.put_many([b"kept"])
    writer = blobs.write()
    writer.write(b"x" * 100_000)
    assert len(_files(blobs)) == 2
    blobs.clear_incoming()
    writer.discard()
    assert _files(blobs) == _stored(b"kept") and _read(blobs, name) == b"kept"


# Told to store for ever, in small and large pieces, until it is killed.
_STORING = """
import sys, random
from pathlib import Path
from trainshed.server.blobs.local import LocalBlobs
blobs, chance = LocalBlobs(Path(sys.argv[1])), random.Random(int(sys.argv[2]))
print("storing", flush=True)
while True:
    blobs.put_many([chance.randbytes(chance.randrange(200_000)) for _ in range(chance.randrange(1, 20))])
    writer = blobs.write()
    for _ in range(5):
        writer.write(chance.randbytes(300_000))
    writer.finish()
"""


def test_whatever_a_killed_process_was_doing_no_visible_blob_is_half(tmp_path):
    seed = random.randrange(2**31)
    print(f"seed {seed}")
    chance = random.Random(seed)
    folder = tmp_path / "blobs"
    for number in range(3):
        command = [sys.executable, "-c", _STORING, str(folder), str(seed + number)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
            assert child.stdout is not None and child.stdout.readline() == b"storing\n"
            time.sleep(chance.uniform(0.05, 0.3))
            child.send_signal(signal.SIGKILL)
    blobs = LocalBlobs(folder)
    visible = [path for path in folder.rglob("*") if path.is_file() and path.parent.name != "incoming"]
    assert visible
    for path in visible:
        assert path.name == _sha256(path.read_bytes()) and path == blobs.path(path.name)
    blobs.clear_incoming()
    assert len(_files(blobs)) == len(visible)


# A full disk


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[LocalBlobs]:
    """Blobs on a file system of one megabyte."""
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m,mode=700", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("this user cannot mount a small file system")
    try:
        yield LocalBlobs(place / "blobs")
    finally:
        subprocess.run(["umount", str(place)], check=True)


def _write(blobs: LocalBlobs, content: bytes) -> Any:
    writer = blobs.write()
    try:
        for start in range(0, len(content), 65536):
            writer.write(content[start : start + 65536])
        return writer.finish()
    except BaseException:
        writer.discard()
        raise


def _write_many(blobs: LocalBlobs, content: bytes) -> Any:
    return blobs.put_many([b"small", content])


@pytest.mark.parametrize("how", [_write_many, _write])
def test_a_full_disk_is_said_in_words_and_leaves_nothing_behind(small_disk, how):
    (kept,) = small_disk.put_many([b"kept" * 1000])
    before = _files(small_disk)
    with pytest.raises(StorageFull, match="full") as refused:
        how(small_disk, random.randbytes(2_000_000))
    assert "space" in refused.value.hint
    assert _files(small_disk) == before
    assert _read(small_disk, kept) == b"kept" * 1000
    (after,) = small_disk.put_many([b"there is room again"])
    assert _read(small_disk, after) == b"there is room again"
