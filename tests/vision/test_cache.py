from __future__ import annotations

import os
import resource
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from trainshed import pictures
from trainshed.errors import JobStopped, PictureRefused
from trainshed.schemas import Transform
from trainshed.vision.cache import open_pictures

from .material import digits, said

SMALL, LARGE = Transform(size=16), Transform(size=32)


def opened(rows, transform, shelf, folder, story, **more):
    return open_pictures(rows, transform, blob=shelf.blob, cache_folder=folder, story=story, **more)


def cached_files(folder):
    return sorted((folder / "decoded").glob("*.rgb"))


def test_cached_pictures_are_those_that_pictures_load_gives(shelf, tmp_path, story):
    rows, _ = digits(shelf, 30)
    taken = opened(rows, SMALL, shelf, tmp_path, story).take(np.array([4, 0, 4, 29]))
    for image, place in zip(taken, [4, 0, 4, 29], strict=True):
        assert (image == pictures.load(shelf.blob(rows[place].sha256).read_bytes(), SMALL)).all()


def test_a_second_training_decodes_nothing(shelf, tmp_path, story):
    rows, _ = digits(shelf, 30)
    first = opened(rows, SMALL, shelf, tmp_path, story).take(np.arange(30))
    for row in rows:
        shelf.blob(row.sha256).unlink()
    again = opened(rows, SMALL, shelf, tmp_path, story)
    assert again.is_instant
    assert (again.take(np.arange(30)) == first).all()


def test_another_size_is_another_file_and_other_colours_are_not(shelf, tmp_path, story):
    rows, _ = digits(shelf, 10)
    opened(rows, SMALL, shelf, tmp_path, story)
    opened(rows, SMALL.model_copy(update={"mean": (0.1, 0.2, 0.3)}), shelf, tmp_path, story)
    assert len(cached_files(tmp_path)) == 1
    opened(rows, LARGE, shelf, tmp_path, story)
    assert len(cached_files(tmp_path)) == 2


def test_what_does_not_fit_the_budget_is_decoded_when_needed(shelf, tmp_path, story, monkeypatch):
    monkeypatch.setenv("TRAINSHED_CACHE_BYTES", "1000")
    rows, _ = digits(shelf, 10)
    opening = opened(rows, SMALL, shelf, tmp_path, story)
    assert not opening.is_instant
    assert "TRAINSHED_CACHE_BYTES" in said(story, "log")[0]["text"]
    assert (opening.take(np.array([3]))[0] == pictures.load(shelf.blob(rows[3].sha256).read_bytes(), SMALL)).all()
    assert not cached_files(tmp_path)


def test_the_file_that_was_used_longest_ago_makes_room(shelf, tmp_path, story, monkeypatch):
    monkeypatch.setenv("TRAINSHED_CACHE_BYTES", str(2 * 10 * 16 * 16 * 3))
    rows, _ = digits(shelf, 30)
    for part in (rows[:10], rows[10:20]):
        opened(part, SMALL, shelf, tmp_path, story)
    for file in cached_files(tmp_path):  # both were used long ago ...
        os.utime(file, (1, 1))
    kept = opened(rows[:10], SMALL, shelf, tmp_path, story)  # ... and the first again just now
    before = cached_files(tmp_path)
    opened(rows[20:], SMALL, shelf, tmp_path, story)
    after = cached_files(tmp_path)
    assert len(after) == 2
    assert len(set(before) & set(after)) == 1
    assert (set(before) & set(after)).pop().stat().st_mtime > 1
    assert kept.take(np.array([0])).shape == (1, 16, 16, 3)


def test_pictures_of_an_evicted_file_stay_readable_where_it_is_open(shelf, tmp_path, story, monkeypatch):
    rows, _ = digits(shelf, 20)
    opening = opened(rows[:10], SMALL, shelf, tmp_path, story)
    expected = opening.take(np.arange(10)).copy()
    monkeypatch.setenv("TRAINSHED_CACHE_BYTES", str(10 * 16 * 16 * 3))
    opened(rows[10:], SMALL, shelf, tmp_path, story)
    assert len(cached_files(tmp_path)) == 1
    assert (opening.take(np.arange(10)) == expected).all()


@contextmanager
def files_of_at_most_4_kib() -> Iterator[None]:
    """A real limit of the kernel: reserving more fails as on a full disk, with an error of the same kind.

    It holds for the whole process, pytest's own output included where that goes to a file: it must end inside the test.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)


def test_a_full_disk_means_decoding_when_needed_and_leaves_nothing_behind(shelf, tmp_path, story):
    rows, _ = digits(shelf, 10)
    with files_of_at_most_4_kib():
        opening = opened(rows, SMALL, shelf, tmp_path, story)
    assert not opening.is_instant
    assert opening.take(np.array([9])).shape == (1, 16, 16, 3)
    warning = said(story, "log")[0]
    assert warning["level"] == "warning" and "File too large" in warning["text"]
    assert not said(story, "progress")  # it was noticed before an hour of decoding, not after it
    assert not list((tmp_path / "decoded").iterdir())


def test_a_cache_folder_that_cannot_be_made_is_no_reason_to_fail(shelf, tmp_path, story):
    rows, _ = digits(shelf, 4)
    (tmp_path / "file").write_text("in the way")
    opening = opened(rows, SMALL, shelf, tmp_path / "file", story)
    assert opening.take(np.arange(4)).shape == (4, 16, 16, 3)


def test_a_stopped_filling_leaves_no_file(shelf, tmp_path, story):
    rows, _ = digits(shelf, 10)
    calls = iter(range(100))

    def stop_at_the_fifth() -> None:
        if next(calls) == 4:
            raise JobStopped

    with pytest.raises(JobStopped):
        opened(rows, SMALL, shelf, tmp_path, story, go_on=stop_at_the_fifth)
    assert not list((tmp_path / "decoded").iterdir())


def test_a_file_of_the_wrong_length_is_made_again(shelf, tmp_path, story):
    rows, _ = digits(shelf, 10)
    expected = opened(rows, SMALL, shelf, tmp_path, story).take(np.arange(10)).copy()
    os.truncate(cached_files(tmp_path)[0], 100)
    assert (opened(rows, SMALL, shelf, tmp_path, story).take(np.arange(10)) == expected).all()


def test_what_a_killed_training_left_is_swept_after_an_hour(shelf, tmp_path, story):
    rows, _ = digits(shelf, 10)
    (tmp_path / "decoded").mkdir()
    old, new = tmp_path / "decoded" / "old.part", tmp_path / "decoded" / "new.part"
    for file in (old, new):
        file.write_bytes(b"x")
    os.utime(old, (time.time() - 7200, time.time() - 7200))
    opened(rows, SMALL, shelf, tmp_path, story)
    assert not old.exists() and new.exists()


def test_a_broken_picture_is_named(shelf, tmp_path, story):
    rows, _ = digits(shelf, 4)
    bad = rows[2].model_copy(update={"sha256": shelf.put(b"no picture"), "name": "cats/broken.png"})
    with pytest.raises(PictureRefused, match=r"cats/broken\.png"):
        opened([*rows[:2], bad], SMALL, shelf, tmp_path, story)
    assert not list((tmp_path / "decoded").iterdir())
