"""Datasets, their images and their versions. Uploads and the pictures themselves are in `streams/`."""

from __future__ import annotations

from typing import Any, Literal

from django.http import HttpRequest
from ninja import Header, Status

from trainshed.schemas import DatasetView, ImageView, JobView, ManifestRow, Page, SplitPlan, VersionView
from trainshed.schemas.frozen import Received
from trainshed.server.api.door import PROJECT, actor, answers, place, router
from trainshed.server.services import datasets, versions

routes = router("datasets")
_DATASETS = f"{PROJECT}/datasets"
_DATASET = f"{_DATASETS}/{{dataset_id}}"
IdempotencyKey: Any = Header(None, alias="Idempotency-Key", max_length=200)  # type: ignore[type-arg]


class NewDataset(Received):
    name: str
    task: str = "classification"


class Renamed(Received):
    name: str


class Target(Received):
    """Where to: a project, of another workspace of mine or of this one."""

    workspace_id: str
    project_id: str


class NewImport(Received):
    upload_id: str


class NewVersion(Received):
    split: SplitPlan = SplitPlan()


@routes.get(_DATASETS, response=answers(Page[DatasetView]))
def list_datasets(request: HttpRequest, workspace_id: str, project_id: str, cursor: str | None = None, limit: int = 50):
    """The project's datasets, newest first."""
    return datasets.visible(actor(request), place(workspace_id, project_id), cursor=cursor, limit=limit)


@routes.post(_DATASETS, response=answers(DatasetView, 201))
def create_dataset(request: HttpRequest, workspace_id: str, project_id: str, body: NewDataset):
    """Make an empty dataset."""
    return Status(201, datasets.create(actor(request), place(workspace_id, project_id), name=body.name, task=body.task))


@routes.get(_DATASET, response=answers(DatasetView))
def show_dataset(request: HttpRequest, workspace_id: str, project_id: str, dataset_id: str):
    """One dataset with its classes and counts."""
    return datasets.view(datasets.get(actor(request), dataset_id, within=place(workspace_id, project_id)))


@routes.patch(_DATASET, response=answers(DatasetView))
def rename_dataset(request: HttpRequest, workspace_id: str, project_id: str, dataset_id: str, body: Renamed):
    """Give a dataset another name."""
    return datasets.rename(actor(request), dataset_id, body.name, place(workspace_id, project_id))


@routes.delete(_DATASET, response=answers(None, 204))
def delete_dataset(request: HttpRequest, workspace_id: str, project_id: str, dataset_id: str):
    """Delete a dataset that no version was taken of."""
    datasets.delete(actor(request), dataset_id, place(workspace_id, project_id))
    return Status(204, None)


@routes.post(f"{_DATASET}/move", response=answers(DatasetView))
def move_dataset(request: HttpRequest, workspace_id: str, project_id: str, dataset_id: str, body: Target):
    """Put a dataset with its versions into another project of mine; out of a workspace only as its owner."""
    target = place(body.workspace_id, body.project_id)
    return datasets.move(actor(request), dataset_id, place(workspace_id, project_id), target)


@routes.get(f"{_DATASET}/images", response=answers(Page[ImageView]))
def list_images(
    request: HttpRequest,
    workspace_id: str,
    project_id: str,
    dataset_id: str,
    class_id: str | None = None,
    cursor: str | None = None,
    limit: int = 100,
):
    """The dataset's images, newest first."""
    where = place(workspace_id, project_id)
    return datasets.images(actor(request), dataset_id, where, class_id=class_id, cursor=cursor, limit=limit)


@routes.post(f"{_DATASET}/imports", response=answers(JobView, 202))
def import_upload(
    request: HttpRequest,
    workspace_id: str,
    project_id: str,
    dataset_id: str,
    body: NewImport,
    key: str | None = IdempotencyKey,
):
    """Queue the import of an upload: a zip of class folders."""
    where = place(workspace_id, project_id)
    return Status(202, datasets.start_import(actor(request), dataset_id, body.upload_id, where, key))


@routes.get(f"{_DATASET}/versions", response=answers(Page[VersionView]))
def list_versions(
    request: HttpRequest,
    workspace_id: str,
    project_id: str,
    dataset_id: str,
    cursor: str | None = None,
    limit: int = 50,
):
    """The dataset's versions, newest first."""
    where = place(workspace_id, project_id)
    return versions.visible(actor(request), dataset_id, where, cursor=cursor, limit=limit)


@routes.post(f"{_DATASET}/versions", response=answers(JobView, 202))
def create_version(
    request: HttpRequest,
    workspace_id: str,
    project_id: str,
    dataset_id: str,
    body: NewVersion,
    key: str | None = IdempotencyKey,
):
    """Queue an immutable snapshot of the dataset with a seeded, stratified split."""
    where = place(workspace_id, project_id)
    return Status(202, versions.start_snapshot(actor(request), dataset_id, body.split, where, key))


@routes.get(f"{PROJECT}/versions/{{version_id}}", response=answers(VersionView))
def show_version(request: HttpRequest, workspace_id: str, project_id: str, version_id: str):
    """One dataset version."""
    return versions.view(versions.get(actor(request), version_id, within=place(workspace_id, project_id)))


@routes.get(f"{PROJECT}/versions/{{version_id}}/images", response=answers(Page[ManifestRow]))
def list_version_images(
    request: HttpRequest,
    workspace_id: str,
    project_id: str,
    version_id: str,
    split: Literal["train", "validation", "test"] | None = None,
    cursor: str | None = None,
    limit: int = 100,
):
    """The version's pictures with their split, by name."""
    where = place(workspace_id, project_id)
    return versions.images(actor(request), version_id, where, split=split, cursor=cursor, limit=limit)
