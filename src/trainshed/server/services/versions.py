"""Dataset versions, and what the job kind `snapshot` reads and publishes."""

from __future__ import annotations

import functools
import itertools
import json
from collections.abc import Iterator
from typing import Any

from django.db.models import Max

from trainshed import pictures
from trainshed.errors import InvalidInput
from trainshed.schemas import BlobRef, JobView, ManifestRow, Page, SplitPlan, VersionSummary, VersionView
from trainshed.server.queue import ledger
from trainshed.server.records.models import Dataset, DatasetVersion, Image, Job
from trainshed.server.services import blobs, datasets, jobs, pages
from trainshed.server.services.actors import Actor, Need, Place, gate

_MANIFEST = "manifest.parquet"


def get(actor: Actor, version_id: str, *, need: Need = "read", within: Place | None = None) -> DatasetVersion:
    return gate(DatasetVersion.objects.select_related("manifest"), actor, version_id, need, within)


def visible(actor: Actor, dataset_id: str, within: Place, *, cursor: str | None, limit: int) -> Page[VersionView]:
    dataset = datasets.get(actor, dataset_id, within=within)
    return pages.newest_first(DatasetVersion.objects.filter(dataset=dataset), cursor, limit, view)


def view(row: DatasetVersion) -> VersionView:
    return VersionView(
        id=row.id,
        workspace_id=row.workspace_id,
        project_id=row.project_id,
        dataset_id=row.dataset_id,
        number=row.number,
        job_id=row.job_id,
        split=row.split,
        summary=VersionSummary.model_validate(row.summary),
        created_at=row.created_at,
    )


@functools.lru_cache(maxsize=8)
def _manifest(sha256: str) -> tuple[ManifestRow, ...]:
    """A version's rows; versions never change, so neither does this."""
    with blobs.open_blob(sha256) as file:
        return tuple(pictures.manifest.read(file.name))


def images(
    actor: Actor, version_id: str, within: Place, *, split: str | None, cursor: str | None, limit: int
) -> Page[ManifestRow]:
    """The version's pictures with their split, in the order of their names."""
    version = get(actor, version_id, within=within)
    rows = [row for row in _manifest(version.manifest_id) if split in (None, row.split)]
    return pages.numbered(sorted(rows, key=lambda row: (row.name, row.image_id)), cursor, limit)


def samples(actor: Actor, version_id: str, within: Place, *, most: int) -> list[tuple[str, bytes]]:
    """A few pictures of a version as (class name, thumbnail's bytes), each class in turn."""
    version = get(actor, version_id, within=within)
    names = {entry["id"]: entry["name"] for entry in version.summary["classes"]}
    chosen = _in_turn(_manifest(version.manifest_id), most)
    shown = Image.objects.filter(id__in=[row.image_id for row in chosen], workspace_id=version.workspace_id)
    thumbnails = dict(shown.values_list("id", "thumbnail_id"))
    return [
        (names.get(row.class_id, ""), _bytes(thumbnails[row.image_id])) for row in chosen if row.image_id in thumbnails
    ]


def _in_turn(found: tuple[ManifestRow, ...], most: int) -> list[ManifestRow]:
    """One of each class, then the next of each, until there are enough."""
    by_class: dict[str, list[ManifestRow]] = {}
    for row in found:
        by_class.setdefault(row.class_id, []).append(row)
    turns = itertools.chain.from_iterable(itertools.zip_longest(*by_class.values()))
    return list(itertools.islice((row for row in turns if row is not None), most))


def _bytes(sha256: str) -> bytes:
    with blobs.open_blob(sha256) as file:
        return file.read()


def newest_of(dataset: Dataset) -> DatasetVersion | None:
    """The newest version if it holds what the dataset holds now: nothing was published since its snapshot began."""
    newest = DatasetVersion.objects.filter(dataset=dataset).select_related("job").order_by("-number").first()
    shown = Image.objects.filter(dataset=dataset, is_staged=False)
    changed_at = shown.aggregate(newest=Max("import_job__ended_at"))["newest"] or 0.0
    is_current = newest is not None and newest.job.started_at is not None and newest.job.started_at > changed_at
    return newest if is_current else None


# The job kind `snapshot`


def start_snapshot(actor: Actor, dataset_id: str, split: SplitPlan, within: Place, key: str | None) -> JobView:
    dataset = datasets.get(actor, dataset_id, need="run", within=within)
    if split.validation + split.test >= 1:
        raise InvalidInput("The validation and test shares together must leave something to train on.")
    return jobs.submit(
        actor,
        ledger.Request(
            workspace_id=dataset.workspace_id,
            project_id=dataset.project_id,
            kind="snapshot",
            title=f"Version of {dataset.name}"[:300],
            spec={"dataset_id": dataset.id, "split": split.model_dump()},
            asked={"dataset_id": dataset.id, "split": split.model_dump()},
            idempotency_key=key,
        ),
    )


def snapshot_inputs(job: Job) -> tuple[dict[str, BlobRef], dict[str, Any]]:
    return {}, {}


def rows(job: Job) -> Iterator[bytes]:
    """The dataset's visible images as JSON lines, read in one statement: one consistent picture of it."""
    if job.kind != "snapshot":
        raise InvalidInput("Only a snapshot reads the dataset's rows.")
    datasets.of_job(job)
    return _lines(job)


def _lines(job: Job) -> Iterator[bytes]:
    fields = ("id", "blob_id", "name", "width", "height", "image_class_id", "image_class__name", "group")
    names = ("image_id", "sha256", "name", "width", "height", "class_id", "class_name", "group")
    mine = Image.objects.filter(dataset_id=job.spec["dataset_id"], workspace_id=job.workspace_id)
    shown = mine.filter(is_staged=False).order_by("id")
    for row in shown.values_list(*fields).iterator(chunk_size=2000):
        yield json.dumps(dict(zip(names, row, strict=True)), ensure_ascii=False).encode() + b"\n"


def publish_snapshot(job: Job, result: dict[str, Any], artifacts: dict[str, str]) -> dict[str, Any]:
    summary = VersionSummary.model_validate(result)
    if _MANIFEST not in artifacts:
        raise InvalidInput(f"The version lacks its {_MANIFEST}.")
    dataset = datasets.lock_for(job)
    newest = DatasetVersion.objects.filter(dataset=dataset).aggregate(newest=Max("number"))["newest"] or 0
    row = DatasetVersion.objects.create(
        workspace_id=job.workspace_id,
        project_id=job.project_id,
        dataset=dataset,
        number=newest + 1,
        job=job,
        split=job.spec["split"],
        summary=summary.model_dump(),
        digest=summary.digest,
        manifest_id=artifacts[_MANIFEST],
    )
    return {"version_id": row.id, "number": row.number}
