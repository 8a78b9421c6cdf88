"""Archives that nobody should send, through the real import: a clear message or a report, and a service still well."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from journeys.service import Service
from pictures.material import RawEntry, bomb, encode, photo, png, zip_of
from trainshed.errors import InvalidInput
from trainshed.schemas import ClassificationRecipe, DatasetView, JobView

_numbers = itertools.count()


def picture(seed: int) -> bytes:
    return encode(photo(40, 30, seed), "PNG")


def folder(name: str, num_pictures: int, seed: int = 0) -> list[RawEntry]:
    """One class with so many pictures, all different."""
    return [RawEntry(f"{name}/{number}.png", picture(1000 * seed + number)) for number in range(num_pictures)]


GOOD = [*folder("cat", 2, 1), *folder("dog", 2, 2)]


@pytest.fixture(autouse=True)
def stays_well(running: Service) -> Iterator[None]:
    """No bad input ends a process of the service, holds a slot, or leaves files of its work."""
    roles = ("web", "scheduler", "model-server", "agent")
    before = [running.process(role) for role in roles]
    yield
    assert [running.process(role) for role in roles] == before
    assert running.client.health()["status"] == "ok"


@pytest.fixture
def bring(running: Service, tmp_path: Path) -> Any:
    """Import these bytes as an archive into a dataset of their own: (dataset afterwards, ended job)."""

    def imported(content: bytes) -> tuple[DatasetView, JobView]:
        path = tmp_path / "pictures.zip"
        path.write_bytes(content)
        client = running.client
        dataset = client.datasets.create(f"bad input {next(_numbers)}")
        job = client.jobs.wait(client.datasets.start_import(dataset, client.datasets.upload(path)), 60)
        return client.datasets.get(dataset), job

    return imported


def skipped(job: JobView) -> dict[str, str]:
    """The names that an import left out, each with the reason."""
    assert job.state == "succeeded" and job.result is not None, job.reason
    return {file["name"]: file["reason"] for file in job.result["skipped"]}


def counts(dataset: DatasetView) -> dict[str, int]:
    return {entry["name"]: entry["num_images"] for entry in dataset.classes}


def snapshot(service: Service, dataset: DatasetView) -> JobView:
    return service.client.jobs.wait(service.client.versions.create(dataset), 60)


@pytest.mark.parametrize("name", ["../../evil.png", "cat/../../evil.png", "/etc/evil.png", "C:\\evil\\evil.png"])
def test_a_name_that_leads_out_of_the_archive_is_listed_and_the_rest_goes_in(bring: Any, name: str) -> None:
    dataset, job = bring(zip_of(*GOOD, RawEntry(name, picture(7))))
    assert counts(dataset) == {"cat": 2, "dog": 2}
    assert list(skipped(job)) == [name]
    assert "lead out of" in skipped(job)[name] or "absolute path" in skipped(job)[name]


def test_a_zip_bomb_of_one_gibibyte_is_listed_and_the_rest_goes_in(bring: Any) -> None:
    dataset, job = bring(zip_of(*GOOD, bomb("cat/bomb.png", 1 << 30)))
    assert counts(dataset) == {"cat": 2, "dog": 2}
    assert "1,073,741,824 bytes" in skipped(job)["cat/bomb.png"]


def test_a_zip_bomb_that_lies_about_its_size_is_listed_too(bring: Any) -> None:
    dataset, job = bring(zip_of(*GOOD, bomb("cat/bomb.png", 1 << 30, claimed_bytes=9000)))
    assert counts(dataset) == {"cat": 2, "dog": 2}
    assert "cat/bomb.png" in skipped(job)


def test_a_png_bomb_is_listed_with_its_size_in_pixels(bring: Any) -> None:
    dataset, job = bring(zip_of(*GOOD, RawEntry("cat/bomb.png", png(60_000, 60_000, rows=b"\0"))))
    assert counts(dataset) == {"cat": 2, "dog": 2}
    assert "60000 x 60000 px; at most 50 megapixels" in skipped(job)["cat/bomb.png"]


@pytest.mark.parametrize("entries", [[], [RawEntry("cat/", b"", method=0)]], ids=["nothing", "empty folder"])
def test_an_archive_without_files_fails_with_what_to_put_into_it(bring: Any, entries: list[RawEntry]) -> None:
    dataset, job = bring(zip_of(*entries))
    assert job.state == "failed" and job.reason is not None
    assert job.reason.message == "The archive holds no files." and "folder named after it" in job.reason.hint
    assert dataset.num_images == 0 and len(job.attempts) == 1


def test_an_empty_folder_is_refused_before_anything_is_sent(running: Service, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="holds no files"):
        running.client.datasets.import_folder(tmp_path)


def test_what_is_no_archive_fails_in_words(bring: Any) -> None:
    dataset, job = bring(b"this is no archive at all")
    assert job.state == "failed" and job.reason is not None and job.reason.code == "archive_refused"
    assert dataset.num_images == 0 and len(job.attempts) == 1, "trying again would end the same way"


def test_one_class_alone_cannot_become_a_version(running: Service, bring: Any) -> None:
    dataset, job = bring(zip_of(*folder("cat", 5)))
    assert skipped(job) == {} and counts(dataset) == {"cat": 5}
    reason = snapshot(running, dataset).reason
    assert reason is not None and "All 5 pictures are of one class, 'cat'" in reason.message and reason.hint


def test_two_pictures_are_too_few_and_the_message_says_what_helps(running: Service, bring: Any) -> None:
    dataset, _ = bring(zip_of(*folder("cat", 1, 1), *folder("dog", 1, 2)))
    assert dataset.num_images == 2
    reason = snapshot(running, dataset).reason
    assert reason is not None and "2 pictures are too few to divide" in reason.message and "Add" in reason.hint


def test_a_class_with_one_picture_is_trained_on_with_a_warning(running: Service, bring: Any) -> None:
    dataset, _ = bring(zip_of(*folder("cat", 12, 1), *folder("dog", 12, 2), *folder("lone", 1, 3)))
    version = snapshot(running, dataset)
    assert version.result is not None, version.reason
    assert any("one picture only" in warning and "'lone'" in warning for warning in version.result["warnings"])
    recipe = ClassificationRecipe(backbone="scratch-cnn", epochs=1, image_size=16, precision="float32")
    trained = running.client.train(running.client.versions.made_by(version, dataset), recipe)
    ended = running.client.jobs.wait(trained, 90, must_succeed=True)
    assert ended.result is not None
    assert [entry["name"] for entry in ended.result["classes"]] == ["cat", "dog", "lone"]


def test_the_same_picture_in_two_classes_is_taken_with_a_warning_that_names_both(running: Service, bring: Any) -> None:
    same = [RawEntry(f"{name}/same.png", picture(99)) for name in ("cat", "dog")]
    dataset, _ = bring(zip_of(*folder("cat", 4, 1), *folder("dog", 4, 2), *same))
    assert counts(dataset) == {"cat": 5, "dog": 5}
    version = snapshot(running, dataset)
    assert version.result is not None, version.reason
    (warning,) = [text for text in version.result["warnings"] if "more than one class" in text]
    assert "cat/same.png" in warning and "dog/same.png" in warning


def test_names_in_chinese_and_with_emoji_stay_as_they_are(running: Service, bring: Any) -> None:
    names = ["猫/照片😀.png", "猫/第二张.png", "狗🐶/图.png"]
    dataset, job = bring(zip_of(*[RawEntry(name, picture(n), flags=0x800) for n, name in enumerate(names)]))
    assert skipped(job) == {} and counts(dataset) == {"猫": 2, "狗🐶": 1}
    assert sorted(image.name for image in running.client.datasets.images(dataset)) == sorted(names)


def test_names_of_300_characters_are_taken_whole(running: Service, bring: Any) -> None:
    names = ["cat/" + "n" * 300 + ".png", "d" * 300 + "/x.png"]
    dataset, job = bring(zip_of(*[RawEntry(name, picture(n)) for n, name in enumerate(names)]))
    assert skipped(job) == {} and set(counts(dataset)) == {"cat", "d" * 300}
    assert sorted(image.name for image in running.client.datasets.images(dataset)) == sorted(names)


def test_a_text_file_called_jpg_is_listed_and_the_rest_goes_in(bring: Any) -> None:
    dataset, job = bring(zip_of(*GOOD, RawEntry("cat/text.jpg", b"I am a text.\n" * 50)))
    assert counts(dataset) == {"cat": 2, "dog": 2}
    assert "is a text file" in skipped(job)["cat/text.jpg"]


def test_an_archive_with_no_picture_at_all_fails_and_names_some(bring: Any) -> None:
    dataset, job = bring(zip_of(RawEntry("cat/text.jpg", b"I am a text."), RawEntry("dog/b.jpg", b"So am I.")))
    assert job.state == "failed" and job.reason is not None and job.reason.code == "dataset_unfit"
    assert "None of the 2 files" in job.reason.message and "cat/text.jpg" in job.reason.message
    assert dataset.num_images == 0 and dataset.classes == []
