"""A folder as a zip: what goes in, what stays out and why."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest

from trainshed.client import folders
from trainshed.client.folders import FileBody, packed
from trainshed.errors import InvalidInput, StorageFull


def names_in(folder: Path) -> list[str]:
    with packed(folder) as package, zipfile.ZipFile(package.path) as archive:
        assert archive.testzip() is None
        assert package.num_files == len(archive.namelist())
        return archive.namelist()


def test_names_are_relative_sorted_and_keep_their_folders(pictures: Path) -> None:
    assert names_in(pictures) == [
        *(f"rose/{name}" for name in ("0.png", "1.png", "2.png", "notes.txt")),
        *(f"tulip/{name}" for name in ("0.png", "1.png", "2.png")),
    ]


def test_contents_are_stored_untouched_and_not_compressed(pictures: Path) -> None:
    with packed(pictures) as package, zipfile.ZipFile(package.path) as archive:
        entry = archive.getinfo("rose/1.png")
        assert archive.read(entry) == (pictures / "rose" / "1.png").read_bytes()
        assert entry.compress_type == zipfile.ZIP_STORED


def test_the_same_files_give_the_same_zip_whatever_their_dates(pictures: Path) -> None:
    with packed(pictures) as package:
        before = package.path.read_bytes()
    for path in pictures.rglob("*"):
        os.utime(path, (0, 0))
    (pictures / "rose" / "0.png").chmod(0o600)
    with packed(pictures) as package:
        assert package.path.read_bytes() == before


def test_the_temporary_zip_is_gone_afterwards(pictures: Path) -> None:
    with packed(pictures) as package:
        assert package.path.exists()
    assert not package.path.parent.exists()


def test_names_in_any_script_and_of_the_largest_length_survive(tmp_path: Path) -> None:
    names = ["猫/猫の写真 1.png", "🐱 class/😺.png", "é/" + "n" * 240 + ".png", "a b/c'd\"e.png"]
    for name in names:
        (tmp_path / "all" / name).parent.mkdir(parents=True)
        (tmp_path / "all" / name).write_bytes(b"x")

    assert names_in(tmp_path / "all") == sorted(names)


def test_links_are_not_followed_and_are_listed(pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "key.png").write_bytes(b"secret")
    (pictures / "outside").symlink_to(tmp_path / "secret")
    (pictures / "rose" / "link.png").symlink_to(tmp_path / "secret" / "key.png")
    (pictures / "rose" / "loop").symlink_to(pictures)
    (pictures / "rose" / "broken.png").symlink_to("nowhere")

    with packed(pictures) as package:
        assert package.num_files == 7
        assert b"secret" not in package.path.read_bytes()
    assert {(file.name, file.code) for file in package.left_out} == {
        ("outside", "link"), ("rose/link.png", "link"), ("rose/loop", "link"), ("rose/broken.png", "link"),
    }  # fmt: skip


def test_a_folder_reached_by_a_link_can_be_named(pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "shortcut").symlink_to(pictures)

    assert len(names_in(tmp_path / "shortcut")) == 7


def test_hidden_special_and_undecodable_names_are_listed_and_the_rest_goes_in(pictures: Path) -> None:
    (pictures / ".git").mkdir()
    (pictures / ".git" / "config").write_text("x")
    (pictures / "rose" / ".DS_Store").write_bytes(b"x")
    os.mkfifo(pictures / "rose" / "pipe.png")
    Path(os.fsdecode(os.fsencode(pictures) + b"/rose/\xff.png")).write_bytes(b"x")

    with packed(pictures) as package:
        assert package.num_files == 7
    codes = {file.name: file.code for file in package.left_out}
    assert codes == {
        ".git": "hidden",
        "rose/.DS_Store": "hidden",
        "rose/pipe.png": "special",
        "rose/?.png": "name",
    }


def test_a_file_that_vanishes_while_packing_is_listed(pictures: Path) -> None:
    def vanish(phase: str, done_bytes: int, total_bytes: int) -> None:
        (pictures / "tulip" / "2.png").unlink(missing_ok=True)

    with packed(pictures, vanish) as package:
        assert package.num_files == 6
    [file] = package.left_out
    assert (file.name, file.code) == ("tulip/2.png", "unreadable")
    assert "No such file" in file.reason


def test_progress_ends_at_the_whole(pictures: Path) -> None:
    told: list[tuple[str, int, int]] = []

    with packed(pictures, lambda *step: told.append(step)) as package:
        body = FileBody(package.path, lambda *step: told.append(step))
        assert b"".join(body) == package.path.read_bytes()
        assert b"".join(body) == package.path.read_bytes()  # and again, for a retry

    total_bytes = sum(path.stat().st_size for path in pictures.rglob("*") if path.is_file())
    assert told[6] == ("pack", total_bytes, total_bytes)
    assert told[-1] == ("upload", body.size_bytes, body.size_bytes)


def test_a_zip_is_sent_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "ready.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/", "")
        archive.writestr("a/1.png", "x")

    with packed(path) as package:
        assert package.path == path
        assert package.num_files == 1
    assert path.exists()


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="holds no files"), packed(tmp_path):
        pass


def test_a_folder_of_links_alone_is_refused_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("elsewhere")

    with (
        pytest.raises(InvalidInput, match="1 were left out, the first 'link': Links are not followed"),
        packed(tmp_path),
    ):
        pass


def test_what_is_neither_a_folder_nor_a_zip_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"\x89PNG")

    with pytest.raises(InvalidInput, match="neither a folder nor a zip"), packed(tmp_path / "a.png"):
        pass
    with pytest.raises(InvalidInput, match="There is no folder or zip"), packed(tmp_path / "nothing"):
        pass


def test_a_disk_without_room_is_told_before_packing() -> None:
    needed = "needs 1,000,000,000,000,000,000 bytes"
    with pytest.raises(StorageFull, match=needed) as caught, folders._temporary_zip(10**18):
        pass
    assert "TMPDIR" in caught.value.hint


def test_a_disk_that_fills_while_packing_is_told(pictures: Path) -> None:
    with pytest.raises(StorageFull, match="are free"):
        folders._write(Path("/dev/full"), *folders._walk(pictures), folders._silent)
