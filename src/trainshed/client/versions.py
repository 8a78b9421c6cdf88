"""Dataset versions: immutable snapshots that trainings name."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Literal

from trainshed.client.answers import pages, parse
from trainshed.client.jobs import Jobs
from trainshed.client.place import Place, id_of
from trainshed.client.transport import Transport
from trainshed.errors import NotFound
from trainshed.schemas import DatasetView, JobView, ManifestRow, SplitPlan, VersionView


class Versions:
    """`client.versions`"""

    def __init__(self, transport: Transport, place: Place, jobs: Jobs) -> None:
        self._transport = transport
        self._place = place
        self._jobs = jobs

    def create(self, dataset: DatasetView | str, split: SplitPlan | None = None) -> JobView:
        """Submit the job that snapshots the dataset; `made_by` gives the version when it has succeeded."""
        answer = self._transport.request(
            "POST",
            f"{self._path(dataset)}/versions",
            json={"split": (split or SplitPlan()).model_dump()},
            headers={"Idempotency-Key": uuid.uuid4().hex},
        )
        return parse(JobView, answer)

    def list(self, dataset: DatasetView | str) -> Iterator[VersionView]:
        return pages(self._transport, f"{self._path(dataset)}/versions", VersionView)

    def get(self, version: VersionView | str) -> VersionView:
        path = f"{self._place.path(version)}/versions/{id_of(version)}"
        return parse(VersionView, self._transport.request("GET", path))

    def images(
        self, version: VersionView | str, split: Literal["train", "validation", "test"] | None = None
    ) -> Iterator[ManifestRow]:
        """The version's pictures by name, with their class and split; of one split where it is given."""
        path = f"{self._place.path(version)}/versions/{id_of(version)}/images"
        return pages(self._transport, path, ManifestRow, {"split": split})

    def made_by(self, job: JobView, dataset: DatasetView | str) -> VersionView:
        """The version that this snapshot job made. Raises `NotFound` when it made none."""
        for version in self.list(dataset):
            if version.job_id == job.id:
                return version
        raise NotFound(f"Job {job.id} made no version of this dataset; it is {job.state}.")

    def newest(self, dataset: DatasetView | str) -> VersionView | None:
        return max(self.list(dataset), key=lambda version: version.number, default=None)

    def current(
        self, dataset: DatasetView, split: SplitPlan | None = None, timeout_seconds: float | None = None
    ) -> VersionView:
        """The newest version if the dataset still looks like it (and `split` is its plan), else a new one.

        Waits for the snapshot. 'Looks like it' compares the classes and how many pictures each has.
        Raises the snapshot's own error when it fails.
        """
        newest = self.newest(dataset)
        if newest and is_current(newest, dataset) and (split is None or split.model_dump() == newest.split):
            return newest
        job = self._jobs.wait(self.create(dataset, split), timeout_seconds, must_succeed=True)
        return self.made_by(job, dataset)

    def _path(self, dataset: DatasetView | str) -> str:
        return f"{self._place.path(dataset)}/datasets/{id_of(dataset)}"


def is_current(version: VersionView, dataset: DatasetView) -> bool:
    """Whether the version holds as many pictures of each class as the dataset does now."""
    counts: dict[str, int] = {}
    for of_split in version.summary.counts.values():
        for class_id, num_images in of_split.items():
            counts[class_id] = counts.get(class_id, 0) + num_images
    present = {str(it["id"]): it.get("num_images") for it in dataset.classes}
    has_same_classes = {it.id for it in version.summary.classes} == set(present)
    has_same_counts = all(number in (None, counts.get(class_id, 0)) for class_id, number in present.items())
    return has_same_classes and has_same_counts and version.summary.num_images == dataset.num_images
