"""A full disk under TRAINSHED_HOME: a clear message, nothing half visible, and all well when there is room again."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from journeys import service as services
from journeys.service import Service
from pictures.material import RawEntry, encode, photo, zip_of
from trainshed.errors import StorageFull
from trainshed.schemas import DatasetView

_MEBIBYTE = 1 << 20
_DISK_BYTES = 300 * _MEBIBYTE


@pytest.fixture(scope="module")
def disk() -> Iterator[Path]:
    """A small disk of its own."""
    folder = Path(tempfile.mkdtemp(prefix="tj-disk-", dir="/tmp"))
    mount = ["mount", "-t", "tmpfs", "-o", f"size={_DISK_BYTES}", "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        folder.rmdir()
        pytest.skip(f"a disk cannot be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
        folder.rmdir()


@pytest.fixture(scope="module")
def service(disk: Path) -> Iterator[Service]:
    with services.running(disk) as started:
        started.wait_for_shelf()
        yield started


class Ballast:
    """A file that leaves only so much room on the disk."""

    def __init__(self, disk: Path) -> None:
        self._path = disk / "ballast"

    def leave(self, num_bytes: int) -> None:
        self.remove()
        stat = os.statvfs(self._path.parent)
        with self._path.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, stat.f_bavail * stat.f_frsize - num_bytes)

    def remove(self) -> None:
        self._path.unlink(missing_ok=True)


@pytest.fixture
def ballast(disk: Path) -> Iterator[Ballast]:
    weight = Ballast(disk)
    yield weight
    weight.remove()


def archive(tmp_path: Path, num_pictures: int) -> Path:
    """Pictures of about 350 KiB each in two classes."""
    path = tmp_path / f"{num_pictures}.zip"
    names = [f"{('cat', 'dog')[number % 2]}/{number}.png" for number in range(num_pictures)]
    path.write_bytes(
        zip_of(*[RawEntry(name, encode(photo(400, 300, n), "PNG"), method=0) for n, name in enumerate(names)])
    )
    return path


def is_untouched(service: Service, dataset: DatasetView) -> bool:
    """Nothing of an import is to be seen."""
    now = service.client.datasets.get(dataset)
    return now.num_images == 0 and not now.classes and not list(service.client.datasets.images(dataset))


def test_an_upload_without_room_is_refused_and_goes_in_when_there_is_room(
    service: Service, ballast: Ballast, tmp_path: Path
) -> None:
    path = archive(tmp_path, 30)
    ballast.leave(path.stat().st_size // 2)
    with pytest.raises(StorageFull, match="full") as caught:
        service.client.datasets.upload(path)
    assert caught.value.status == 507 and "Free some space" in caught.value.hint
    assert not list((service.home / "blobs" / "incoming").iterdir()), "half an upload was left"
    ballast.remove()
    assert service.client.datasets.upload(path).size_bytes == path.stat().st_size


def test_an_import_without_room_fails_in_words_and_goes_in_when_there_is_room(
    service: Service, ballast: Ballast, tmp_path: Path
) -> None:
    client = service.client
    dataset = client.datasets.create("full")
    path = archive(tmp_path, 60)
    upload = client.datasets.upload(path)
    ballast.leave(path.stat().st_size // 2)
    job = client.jobs.wait(client.datasets.start_import(dataset, upload), 60)
    assert job.state == "failed" and job.reason is not None and job.reason.code == "storage_full", job.reason
    assert "full" in job.reason.message and job.reason.hint
    assert is_untouched(service, dataset)
    service.wait_idle()
    ballast.remove()
    again = client.jobs.wait(client.datasets.start_import(dataset, upload), 60, must_succeed=True)
    assert again.result is not None and again.result["num_taken"] == 60
    assert client.datasets.get(dataset).num_images == 60


def test_without_any_room_every_request_ends_in_words_and_the_service_comes_back(
    service: Service, ballast: Ballast
) -> None:
    """Not even the database can write."""
    ballast.leave(0)
    answer = service.raw("POST", service.client._place.path() + "/datasets", json={"name": "x" * 300})
    assert answer.status_code in (201, 503, 507), answer.text
    print(answer.status_code, answer.text)
    if answer.status_code != 201:
        assert answer.json()["code"] in ("unavailable", "storage_full")
    assert service.raw("GET", "/me").status_code == 200
    ballast.remove()
    assert service.client.datasets.create("room again").num_images == 0
    assert {process.role for process in service.processes()} >= {"web", "scheduler", "agent", "model-server"}
