"""What imports and snapshots do, against the attempt protocol of the fake server."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from pictures.material import encode, photo
from runner.attempt_server import AttemptServer
from trainshed import pictures
from trainshed.client.attempts import AttemptClient
from trainshed.errors import ArchiveRefused, AttemptSuperseded, DatasetUnfit, InvalidInput, JobStopped
from trainshed.runner import handlers
from trainshed.runner.child import Work
from trainshed.runner.handlers import imports, snapshots
from trainshed.runner.lines import LineWriter
from trainshed.schemas import ImportReport, VersionSummary


class Attempt:
    """A `Work` of the server's assignment, and what it has said."""

    def __init__(self, server: AttemptServer, client: AttemptClient, folder: Path) -> None:
        spec = {"archive_name": "pictures.zip", **server.assignment.spec}
        server.assignment = server.assignment.model_copy(update={"spec": spec})
        folder.mkdir()
        self._said = folder / "said"
        self._file = self._said.open("wb")
        self.work = Work(client, server.assignment, folder, LineWriter(self._file.fileno()))

    def said(self, kind: str) -> list[dict[str, Any]]:
        messages = [json.loads(line) for line in self._said.read_text().splitlines()]
        return [message["body"] for message in messages if message["kind"] == kind]

    def close(self) -> None:
        self._file.close()


@pytest.fixture
def attempts(server: AttemptServer, client: AttemptClient, tmp_path: Path) -> Iterator[Iterator[Attempt]]:
    """One attempt after the other of the same job."""
    with ExitStack() as closing:

        def each() -> Iterator[Attempt]:
            for number in range(1, 10):
                attempt = Attempt(server, client, tmp_path / f"attempt-{number}")
                closing.callback(attempt.close)
                yield attempt

        yield each()


def zipped(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


def picture(number: int, side: int = 16) -> bytes:
    return encode(photo(side, side, number), "PNG")


GOOD = {
    f"pets/{kind}/{number}.png": picture(number + 10 * (kind == "dog"))
    for kind in ("cat", "dog")
    for number in (0, 1, 2, 3)
}
BAD = {
    "pets/cat/notes.txt": b"no picture",
    "pets/dog/torn.png": picture(5)[:-40],
    "pets/stray.png": picture(6),
    "../outside.png": picture(7),
}


# Imports


def test_an_import_stores_and_stages_every_picture_with_its_class(
    server: AttemptServer, attempts: Iterator[Attempt]
) -> None:
    server.add(zipped(GOOD), name="archive")
    result, _ = imports.handle(next(attempts).work)
    assert {image.name for image in server.staged} == {name.removeprefix("pets/") for name in GOOD}
    for image in server.staged:
        assert server.blobs[image.sha256] == GOOD[f"pets/{image.name}"]
        assert (image.class_name, image.width, image.height) == (image.name.partition("/")[0], 16, 16)
    report = ImportReport.model_validate(result)
    assert (report.num_taken, report.num_skipped, report.classes) == (8, 0, {"cat": 4, "dog": 4})


def test_a_large_picture_gets_a_thumbnail_of_its_own(server: AttemptServer, attempts: Iterator[Attempt]) -> None:
    server.add(zipped({"a/large.png": picture(1, side=400), "a/small.png": picture(2)}), name="archive")
    imports.handle(next(attempts).work)
    thumbnails = {image.name: (image.sha256, image.thumbnail_sha256) for image in server.staged}
    assert thumbnails["a/small.png"][0] == thumbnails["a/small.png"][1]
    assert server.blobs[thumbnails["a/large.png"][1]].startswith(b"\xff\xd8"), "no JPEG"
    assert server.blobs[thumbnails["a/large.png"][0]].startswith(b"\x89PNG")


def test_files_that_are_left_out_are_listed_by_name_with_the_reason(
    server: AttemptServer, attempts: Iterator[Attempt]
) -> None:
    server.add(zipped({**GOOD, **BAD}), name="archive")
    result, files = imports.handle(next(attempts).work)
    report = ImportReport.model_validate(result)
    assert (report.num_taken, report.num_skipped) == (8, 4)
    reasons = {file.name: file.reason for file in report.skipped}
    assert set(reasons) == {"cat/notes.txt", "dog/torn.png", "pets/stray.png", "../outside.png"}
    assert all(reason.endswith((".", "!")) and len(reason) > 20 for reason in reasons.values()), reasons
    with files["skipped.csv"].open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["name"]: row["reason"] for row in rows} == reasons
    assert all(row["code"] for row in rows)


def test_an_interrupted_import_goes_on_where_it_was(
    server: AttemptServer, attempts: Iterator[Attempt], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imports, "_BATCH_PICTURES", 3)
    server.add(zipped({**GOOD, **BAD}), name="archive")
    server.after["POST /images"] = lambda: setattr(server, "is_superseded", True)
    with pytest.raises(AttemptSuperseded):
        imports.handle(next(attempts).work)
    assert len(server.staged) == 3, "it did not stop at its next request"
    server.is_superseded = False
    server.after.clear()
    stored = server.count("/blobs")
    result, files = imports.handle(next(attempts).work)
    names = [image.name for image in server.staged]
    assert len(names) == len(set(names)) == 8, "a picture was brought in twice"
    assert server.count("/blobs") - stored == 2, "five pictures were left, in two requests"
    report = ImportReport.model_validate(result)
    assert (report.num_taken, report.num_skipped, report.classes) == (8, 4, {"cat": 4, "dog": 4})
    assert len(files["skipped.csv"].read_text().splitlines()) == 5


def test_an_import_that_is_asked_to_stop_stops(server: AttemptServer, attempts: Iterator[Attempt]) -> None:
    server.add(zipped(GOOD), name="archive")
    attempt = next(attempts)
    attempt.work.ask("pause")
    with pytest.raises(JobStopped):
        imports.handle(attempt.work)
    assert not server.staged


def test_an_import_says_how_far_it_is(
    server: AttemptServer, attempts: Iterator[Attempt], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imports, "_SAY_EVERY_SECONDS", 0.0)
    server.add(zipped({**GOOD, **BAD}), name="archive")
    attempt = next(attempts)
    imports.handle(attempt.work)
    told = attempt.said("progress")
    assert [body["done"] for body in told] == [*range(1, 13), 12]
    assert {(body["total"], body["unit"], body["phase"]) for body in told} == {(12, "files", "reading pictures")}
    assert told[-1]["eta_seconds"] == 0 and all((body["eta_seconds"] or 0) >= 0 for body in told)


def test_an_import_without_any_picture_fails_with_examples(server: AttemptServer, attempts: Iterator[Attempt]) -> None:
    server.add(zipped({"a/notes.txt": b"none", "b/more.txt": b"none"}), name="archive")
    with pytest.raises(DatasetUnfit, match="None of the 2 files") as refused:
        imports.handle(next(attempts).work)
    assert "'a/notes.txt'" in refused.value.message
    assert [detail["name"] for detail in refused.value.details] == ["a/notes.txt", "b/more.txt"]


def test_a_file_that_is_no_archive_is_refused(server: AttemptServer, attempts: Iterator[Attempt]) -> None:
    server.add(picture(1), name="archive")
    with pytest.raises(ArchiveRefused, match="'pictures.zip' .* single picture"):
        imports.handle(next(attempts).work)
    assert not server.staged


# Snapshots


def rows(count: int) -> list[dict[str, Any]]:
    return [
        {
            "image_id": f"image{number:03d}",
            "sha256": f"{number:064x}",
            "name": f"{number}.png",
            "width": 8,
            "height": 8,
            "class_id": f"class{number % 2}",
            "class_name": ("tulip", "rose")[number % 2],
        }
        for number in range(count)
    ]


@pytest.fixture
def split(server: AttemptServer) -> None:
    """The job is a snapshot with a quarter each for validation and test."""
    spec = {"split": {"validation": 0.25, "test": 0.25, "seed": 3}}
    server.assignment = server.assignment.model_copy(update={"spec": spec})


def test_a_snapshot_divides_all_images_and_writes_them_down(
    server: AttemptServer, attempts: Iterator[Attempt], split: None
) -> None:
    server.rows = rows(40)
    attempt = next(attempts)
    result, files = snapshots.handle(attempt.work)
    summary = VersionSummary.model_validate(result)
    written = pictures.manifest.read(files["manifest.parquet"])
    assert {row.image_id for row in written} == {row["image_id"] for row in server.rows}
    assert [(entry.id, entry.name) for entry in summary.classes] == [("class1", "rose"), ("class0", "tulip")]
    assert {part: sum(counts.values()) for part, counts in summary.counts.items()} == {
        "train": 20,
        "validation": 10,
        "test": 10,
    }
    assert summary.digest == pictures.manifest.digest(written) and summary.num_images == 40
    assert [body["done"] for body in attempt.said("progress")] == [0, 40]


def test_the_same_images_and_seed_give_the_same_version(
    server: AttemptServer, attempts: Iterator[Attempt], split: None
) -> None:
    digests = []
    for said in (rows(40), rows(40)[::-1], rows(41)):
        server.rows = said
        digests.append(snapshots.handle(next(attempts).work)[0]["digest"])
    assert digests[0] == digests[1] != digests[2]


def test_a_snapshot_of_an_empty_dataset_is_refused(
    server: AttemptServer, attempts: Iterator[Attempt], split: None
) -> None:
    with pytest.raises(DatasetUnfit):
        snapshots.handle(next(attempts).work)


def test_a_snapshot_that_is_asked_to_stop_stops(
    server: AttemptServer, attempts: Iterator[Attempt], split: None
) -> None:
    server.rows = rows(40)
    attempt = next(attempts)
    attempt.work.ask("cancel")
    with pytest.raises(JobStopped):
        snapshots.handle(attempt.work)


# Kinds


def test_a_kind_that_this_runner_does_not_know_is_refused() -> None:
    with pytest.raises(InvalidInput, match="'juggle'") as refused:
        handlers.find("juggle")
    assert refused.value.hint
