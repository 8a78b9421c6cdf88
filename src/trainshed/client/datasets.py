"""Datasets: named collections of pictures, and the way pictures get in."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from trainshed.client.answers import pages, parse
from trainshed.client.folders import FileBody, Progress, packed
from trainshed.client.names import pick
from trainshed.client.place import Place, id_of
from trainshed.client.transport import Transport
from trainshed.errors import InvalidInput
from trainshed.schemas import DatasetView, ImageView, JobView, ProjectView, SkippedFile, UploadView, VersionView

UPLOAD_TIMEOUT_SECONDS = 600.0  # after the last byte the server still hashes and syncs many GB


@dataclass(frozen=True)
class FolderImport:
    """An import on its way: the dataset it fills, its job, and files that were not sent, with reasons."""

    dataset: DatasetView
    job: JobView
    left_out: tuple[SkippedFile, ...] = ()


class Datasets:
    """`client.datasets`"""

    def __init__(self, transport: Transport, place: Place) -> None:
        self._transport = transport
        self._place = place

    def create(self, name: str, task: str = "classification") -> DatasetView:
        body = {"name": name, "task": task}
        return parse(DatasetView, self._transport.request("POST", f"{self._place.path()}/datasets", json=body))

    def list(self) -> Iterator[DatasetView]:
        return pages(self._transport, f"{self._place.path()}/datasets", DatasetView)

    def get(self, dataset: DatasetView | str) -> DatasetView:
        """The dataset as it is now, by its view or its id."""
        return parse(DatasetView, self._transport.request("GET", self._path(dataset)))

    def find(self, wanted: str) -> DatasetView:
        """By id, name, or a beginning of one. Raises `NotFound`, or `InvalidInput` naming the candidates."""
        return pick(self.list(), wanted, "dataset")

    def rename(self, dataset: DatasetView | str, name: str) -> DatasetView:
        return parse(DatasetView, self._transport.request("PATCH", self._path(dataset), json={"name": name}))

    def move(self, dataset: DatasetView | str, to: ProjectView) -> DatasetView:
        """Put it with its versions into another project; out of a workspace only as an owner of it."""
        target = {"workspace_id": to.workspace_id, "project_id": to.id}
        return parse(DatasetView, self._transport.request("POST", f"{self._path(dataset)}/move", json=target))

    def delete(self, dataset: DatasetView | str) -> None:
        self._transport.request("DELETE", self._path(dataset))

    def images(self, dataset: DatasetView | str, class_id: str | None = None) -> Iterator[ImageView]:
        """Its pictures, of one class where `class_id` is given."""
        return pages(self._transport, f"{self._path(dataset)}/images", ImageView, {"class_id": class_id})

    def versions(self, dataset: DatasetView | str) -> Iterator[VersionView]:
        return pages(self._transport, f"{self._path(dataset)}/versions", VersionView)

    def upload(self, path: str | os.PathLike[str], progress: Progress | None = None, name: str = "") -> UploadView:
        """Send one zip, called `name` or else as the file; `start_import` brings it into a dataset."""
        body = FileBody(Path(path), progress)
        answer = self._transport.request(
            "POST",
            f"{self._place.path()}/uploads",
            content=body,
            headers={
                "Content-Length": str(body.size_bytes),
                "Content-Type": "application/zip",
                "Idempotency-Key": uuid.uuid4().hex,
            },
            params={"name": name or Path(path).name},
            timeout=UPLOAD_TIMEOUT_SECONDS,
        )
        return parse(UploadView, answer)

    def start_import(self, dataset: DatasetView | str, upload: UploadView | str) -> JobView:
        """Submit the job that proves each picture of an upload and brings it into the dataset."""
        answer = self._transport.request(
            "POST",
            f"{self._path(dataset)}/imports",
            json={"upload_id": upload if isinstance(upload, str) else upload.id},
            headers={"Idempotency-Key": uuid.uuid4().hex},
        )
        return parse(JobView, answer)

    def import_folder(
        self,
        path: str | os.PathLike[str],
        name: str | None = None,
        progress: Progress | None = None,
    ) -> FolderImport:
        """Send a folder whose sub-folders are classes, or a zip of one, into the dataset called `name`.

        A dataset of that name is added to, else one is made; without a name it gets the folder's. Links are
        not followed, hidden files not sent: both are listed in `left_out`. `progress` is called with the
        phase (`pack`, `upload`), the bytes done and the bytes in all. Returns while the import job is still
        to run: `client.jobs.wait(result.job)`.
        """
        source = Path(path).expanduser()
        own_name = _name_of(source)
        with packed(source, progress) as package:
            upload = self.upload(package.path, progress, f"{own_name}.zip")
        dataset = self._named(name or own_name)
        return FolderImport(dataset, self.start_import(dataset, upload), package.left_out)

    def _named(self, name: str) -> DatasetView:
        for dataset in self.list():
            if dataset.name == name:
                return dataset
        return self.create(name)

    def _path(self, dataset: DatasetView | str) -> str:
        return f"{self._place.path(dataset)}/datasets/{id_of(dataset)}"


def _name_of(source: Path) -> str:
    resolved = source.resolve()
    name = resolved.name if source.is_dir() else resolved.stem
    if not name:
        raise InvalidInput(f"{str(source)!r} has no name of its own.", hint="Give the dataset a name.")
    return name
