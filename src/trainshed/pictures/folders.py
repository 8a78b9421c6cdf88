"""Class folders: which class a file of an archive belongs to, by the folder it lies in.

`digits/0/a.png` and `digits/1/b.png` make the classes `0` and `1`: folders that only wrap the others are
taken off. Deeper folders stay in the picture's name and make no classes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from trainshed.errors import ArchiveRefused
from trainshed.pictures.archives import Archive, Entry, skipped
from trainshed.schemas.pictures import SkippedFile

MAX_CLASS_CHARACTERS = 1024
_PICTURE_ENDINGS = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".pgm",
    ".pbm", ".heic", ".heif", ".avif",
)  # fmt: skip
_SPLIT_NAMES = {"train", "training", "val", "valid", "validation", "test", "testing"}


@dataclass(frozen=True)
class Filed:
    """A file with its class. `name` is its label below the wrapping folders, its class included: unique."""

    name: str
    class_name: str
    entry: Entry

    def read(self, limit_bytes: int = 1 << 62) -> bytes | SkippedFile:
        """See `archives.Entry.read`."""
        return self.entry.read(limit_bytes)


class ClassFolders:
    """An archive as class folders; iterate it, as often as needed, for its files and those left out.

    `num_files` counts both (the total of a progress bar), `class_names` are the folders' names, sorted; a
    class may turn out to have no picture that is taken.
    """

    def __init__(self, archive: Archive) -> None:
        """Read all names once. Raises `ArchiveRefused` if there are none."""
        self._archive = archive
        self.num_files = 0
        of_pictures: set[tuple[str, ...]] = set()
        of_others: set[tuple[str, ...]] = set()
        for item in archive:
            self.num_files += 1
            if isinstance(item, Entry):
                (of_pictures if _is_named_like_a_picture(item.name) else of_others).add(item.parts[:-1])
        # Files not named like pictures (a README) have no say, unless there are no others.
        folders = of_pictures or of_others
        self.wrapper = wrapping_folders(folders)
        depth = len(self.wrapper)
        self.class_names = sorted({folder[depth] for folder in folders if len(folder) > depth})
        if not self.num_files:
            raise ArchiveRefused(
                "The archive holds no files.",
                hint="Put each class's pictures into a folder named after it, and pack the folder of these.",
            )

    def __iter__(self) -> Iterator[Filed | SkippedFile]:
        for item in self._archive:
            yield item if isinstance(item, SkippedFile) else self._file(item)

    def warnings(self, num_taken: dict[str, int]) -> list[str]:
        """What a person should know, given the number of pictures taken of each class name."""
        warnings = [
            f"Class '{name}' has no picture that could be taken."
            for name in self.class_names
            if not num_taken.get(name)
        ]
        if self.class_names and {name.lower() for name in self.class_names} <= _SPLIT_NAMES:
            warnings.append(
                f"The classes are named {_listed(self.class_names)}, like the parts of a split. If the class "
                "folders lie inside these, merge them first: Trainshed divides the pictures itself."
            )
        return warnings

    def _file(self, entry: Entry) -> Filed | SkippedFile:
        depth = len(self.wrapper)
        parts = entry.parts[depth:] if entry.parts[:depth] == self.wrapper else ()
        if len(parts) < 2:
            return skipped(
                entry.name, "no_class", "lies in no class folder. Put it into a folder named after its class."
            )
        if len(parts[0]) > MAX_CLASS_CHARACTERS:
            reason = f"lies in a folder whose name has {len(parts[0]):,} characters; a class has at most 1,024."
            return skipped(entry.name, "long_name", reason)
        return Filed("/".join(parts), parts[0], entry)


def class_folders(archive: Archive) -> ClassFolders:
    """The archive's files by class. Raises `ArchiveRefused` if it holds none."""
    return ClassFolders(archive)


def wrapping_folders(folders: Collection[tuple[str, ...]]) -> tuple[str, ...]:
    """Of folders that hold pictures, those that only wrap the class folders: each holds all the others.

    A folder with pictures of its own wraps only if it holds two or more folders of pictures; its own are then
    strays.
    """
    depth = 0
    while len({folder[depth] for folder in folders if len(folder) > depth}) == 1:
        children = {folder[depth + 1] for folder in folders if len(folder) > depth + 1}
        has_own = any(len(folder) == depth + 1 for folder in folders)
        if len(children) < (2 if has_own else 1):
            break
        depth += 1
    return max(folders, key=len, default=())[:depth]


def _is_named_like_a_picture(name: str) -> bool:
    return name.lower().endswith(_PICTURE_ENDINGS)


def _listed(names: list[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
