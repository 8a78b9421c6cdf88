from __future__ import annotations

from pathlib import Path

import pytest

from trainshed.errors import ArchiveRefused
from trainshed.pictures.archives import Archive
from trainshed.pictures.folders import Filed, class_folders, wrapping_folders
from trainshed.pictures.members import ArchiveLimits

from .material import RawEntry, zip_of

LIMITS = ArchiveLimits(max_total_bytes=1 << 30, max_file_bytes=1 << 20)


def filed(tmp_path: Path, *names: str) -> tuple[list[tuple[str, str]], dict[str, str]]:
    """(class, name) of what is filed, and the code of what is not."""
    path = tmp_path / "animals.zip"
    path.write_bytes(zip_of(*(RawEntry(name, flags=0x800) for name in names)))
    with Archive.open(path, limits=LIMITS) as archive:
        items = list(class_folders(archive))
    taken = [(item.class_name, item.name) for item in items if isinstance(item, Filed)]
    return taken, {item.name: item.code for item in items if not isinstance(item, Filed)}


@pytest.mark.parametrize(
    ("names", "wrapper"),
    [
        (["0/a.png", "1/b.png"], ""),
        (["digits/0/a.png", "digits/1/b.png"], "digits"),
        (["home/me/digits/0/a.png", "home/me/digits/1/b.png"], "home/me/digits"),
        (["digits/0/a.png"], "digits"),
        (["0/a.png"], ""),
        (["cat/persian/a.png", "dog/b.png"], ""),
        (["cat/a.png", "cat/persian/b.png"], ""),
        (["digits/0/deep/a.png", "digits/0/b.png", "digits/1/deep/c.png"], "digits"),
        (["digits/cover.png", "digits/0/a.png", "digits/1/b.png"], "digits"),
        (["cover.png", "digits/0/a.png", "digits/1/b.png"], "digits"),
        (["a.png", "b.png"], ""),
        ([], ""),
    ],
)
def test_folders_that_only_wrap_are_taken_off(names: list[str], wrapper: str) -> None:
    assert "/".join(wrapping_folders({tuple(name.split("/")[:-1]) for name in names})) == wrapper


def test_a_file_belongs_to_its_class_folder_and_keeps_its_sub_folders(tmp_path: Path) -> None:
    taken, left_out = filed(tmp_path, "pets/cat/a.png", "pets/cat/tabby/a.png", "pets/dog/a.png")
    assert taken == [("cat", "cat/a.png"), ("cat", "cat/tabby/a.png"), ("dog", "dog/a.png")]
    assert left_out == {}


def test_other_files_have_no_say_in_what_wraps(tmp_path: Path) -> None:
    names = [
        "README.txt",
        "digits/labels.csv",
        "digits/docs/a.txt",
        "docs/b.txt",
        "digits/0/a.PNG",
        "digits/1/b.png",
    ]
    taken, left_out = filed(tmp_path, *names)
    assert taken == [("docs", "docs/a.txt"), ("0", "0/a.PNG"), ("1", "1/b.png")]
    assert left_out == dict.fromkeys(["README.txt", "digits/labels.csv", "docs/b.txt"], "no_class")
    assert filed(tmp_path, "digits/0/a", "digits/1/b")[0] == [("0", "0/a"), ("1", "1/b")]


def test_a_file_in_no_class_folder_is_skipped_with_a_reason(tmp_path: Path) -> None:
    taken, left_out = filed(tmp_path, "pets/cover.png", "stray.png", "pets/cat/a.png", "pets/dog/a.png")
    assert taken == [("cat", "cat/a.png"), ("dog", "dog/a.png")]
    assert left_out == {"pets/cover.png": "no_class", "stray.png": "no_class"}


def test_classes_in_chinese_with_emoji_and_very_long_names(tmp_path: Path) -> None:
    long = "x" * 300
    taken, left_out = filed(tmp_path, "猫/a.png", "😺/a.png", f"{long}/{long}.png", "y" * 1025 + "/a.png")
    assert taken == [("猫", "猫/a.png"), ("😺", "😺/a.png"), (long, f"{long}/{long}.png")]
    assert list(left_out.values()) == ["long_name"]


def test_two_spellings_of_one_accent_are_one_class(tmp_path: Path) -> None:
    taken, _ = filed(tmp_path, "caf\u00e9/a.png", "cafe\u0301/b.png")
    assert [class_name for class_name, _ in taken] == ["café", "café"]


def test_the_total_and_the_classes_are_known_before_anything_is_read(tmp_path: Path) -> None:
    path = tmp_path / "animals.zip"
    names = ["dog/a.png", "cat/a.png", "notes/b.txt", "c.png", "../d.png", "cat/.x"]
    path.write_bytes(zip_of(*map(RawEntry, names)))
    with Archive.open(path, limits=LIMITS) as archive:
        folders = class_folders(archive)
        assert (folders.num_files, folders.class_names) == (5, ["cat", "dog"])
        assert len(list(folders)) == 5


def test_warnings_name_empty_classes_and_split_folders(tmp_path: Path) -> None:
    path = tmp_path / "animals.zip"
    path.write_bytes(zip_of(*map(RawEntry, ["data/train/cat/a.png", "data/val/cat/b.png"])))
    with Archive.open(path, limits=LIMITS) as archive:
        empty, parts = class_folders(archive).warnings({"train": 3, "val": 0})
    assert empty == "Class 'val' has no picture that could be taken."
    assert "named 'train', 'val', like the parts of a split" in parts


@pytest.mark.parametrize("names", [[], ["cat/"], ["cat/.DS_Store", "__MACOSX/x.png"]])
def test_an_empty_folder_is_refused_with_what_to_do(tmp_path: Path, names: list[str]) -> None:
    path = tmp_path / "animals.zip"
    path.write_bytes(zip_of(*map(RawEntry, names)))
    with (
        Archive.open(path, limits=LIMITS) as archive,
        pytest.raises(ArchiveRefused, match="holds no files") as caught,
    ):
        class_folders(archive)
    assert "into a folder named after it" in caught.value.hint
