"""Models, and what the job kinds `train` and `pretrained` read and publish."""

from __future__ import annotations

import io
import itertools
import zipfile
from collections.abc import Iterator
from typing import IO, Any

from django.db import transaction

from trainshed.errors import Forbidden, InvalidInput, NotFound
from trainshed.schemas import (
    ARCHIVE_FILES,
    FINAL_STATES,
    BlobRef,
    ClassificationRecipe,
    ImageClass,
    JobView,
    ModelSummary,
    ModelView,
    Page,
    ServedModel,
    SplitPlan,
)
from trainshed.server.queue import counters, ledger
from trainshed.server.records.models import Artifact, Dataset, DatasetVersion, Host, Job, TrainedModel
from trainshed.server.services import audit, blobs, datasets, jobs, names, pages, versions, workspaces
from trainshed.server.services.actors import Actor, Need, Place, gate


def get(actor: Actor, model_id: str, *, need: Need = "read", within: Place | None = None) -> TrainedModel:
    return gate(TrainedModel.objects.all(), actor, model_id, need, within)


def visible(actor: Actor, place: Place, *, cursor: str | None, limit: int) -> Page[ModelView]:
    project = workspaces.get_project(actor, place)
    return pages.newest_first(TrainedModel.objects.filter(project=project), cursor, limit, view)


def rename(actor: Actor, model_id: str, name: str, within: Place) -> ModelView:
    row = get(actor, model_id, need="work", within=within)
    before, row.name = row.name, names.proved(name, "A model's")
    with transaction.atomic():
        row.save(update_fields=["name"])
        audit.note(actor, "model.rename", on=row, before=before)
    return view(row)


@transaction.atomic
def delete(actor: Actor, model_id: str, within: Place) -> None:
    row = get(actor, model_id, need="work", within=within)
    audit.note(actor, "model.delete", on=row)
    row.delete()


@counters.counted()
def move(actor: Actor, model_id: str, within: Place, target: Place) -> ModelView:
    """Put a model, with the job that trained it and its files, into another project of mine.

    The dataset that it was trained on stays where it is; out of a workspace only an owner takes something.
    """
    row = get(actor, model_id, need=workspaces.need_to_move(within, target), within=within)
    project = workspaces.get_project(actor, target, "work")
    TrainedModel.objects.select_for_update().get(id=row.id)
    audit.note(actor, "model.move", on=row, to_workspace_id=project.workspace_id, to_project_id=project.id)
    jobs.carry(Job.objects.filter(id=row.job_id), project)
    row.workspace_id, row.project_id = project.workspace_id, project.id
    row.save(update_fields=["workspace", "project"])
    return view(row)


def view(row: TrainedModel) -> ModelView:
    return ModelView(
        id=row.id,
        workspace_id=row.workspace_id,
        project_id=row.project_id,
        name=row.name,
        task=row.task,
        backbone=row.backbone,
        job_id=row.job_id,
        version_id=row.version_id,
        classes=[ImageClass.model_validate(entry) for entry in row.classes],
        metrics=row.metrics,
        num_parameters=row.num_parameters,
        size_bytes=row.size_bytes,
        is_pretrained=row.is_pretrained,
        created_at=row.created_at,
    )


# The job kinds `train` and `pretrained`


def start_training(
    actor: Actor, version_id: str, recipe: ClassificationRecipe, name: str, within: Place, key: str | None
) -> JobView:
    """Train on a version."""
    version = versions.get(actor, version_id, need="run", within=within)
    asked = {"version_id": version.id, "recipe": recipe.model_dump(), "name": name}
    name = name.strip() or _unused(f"{version.dataset.name} v{version.number} {recipe.backbone}", version.project_id)
    spec = {"version_id": version.id, "dataset_id": version.dataset_id}
    return _submit_training(actor, version, recipe, name, spec, asked, key)


@counters.counted()
def train_dataset(
    actor: Actor, dataset_id: str, recipe: ClassificationRecipe, name: str, within: Place, key: str | None
) -> JobView:
    """Train on what the dataset holds now: on its newest version if that is the same, else on one taken first."""
    dataset = datasets.get(actor, dataset_id, need="run", within=within)
    asked = {"dataset_id": dataset.id, "recipe": recipe.model_dump(), "name": name}
    name = name.strip() or _unused(f"{dataset.name} {recipe.backbone}", dataset.project_id)
    version = versions.newest_of(dataset)
    if version is not None:
        spec: dict[str, Any] = {"version_id": version.id, "dataset_id": dataset.id}
        return _submit_training(actor, dataset, recipe, name, spec, asked, key)
    snapshot_key = f"snapshot of {key}"[:200] if key else None
    snapshot = versions.start_snapshot(actor, dataset.id, SplitPlan(), within, snapshot_key)
    spec = {"snapshot_job_id": snapshot.id, "dataset_id": dataset.id}
    return _submit_training(actor, dataset, recipe, name, spec, asked, key, parents=(snapshot.id,))


def _unused(name: str, project_id: str) -> str:
    """A name that no model has and no training will give: with a number behind it where that is needed."""
    trainings = Job.objects.filter(project_id=project_id, kind="train").exclude(state__in=FINAL_STATES)
    taken = set(TrainedModel.objects.filter(project_id=project_id).values_list("name", flat=True))
    taken |= set(trainings.values_list("spec__name", flat=True))
    numbered = (f"{name} {num}" for num in itertools.count(2))
    return next(each for each in itertools.chain([name], numbered) if each not in taken)


def _submit_training(
    actor: Actor,
    owner: Dataset | DatasetVersion,
    recipe: ClassificationRecipe,
    name: str,
    spec: dict[str, Any],
    asked: dict[str, Any],
    key: str | None,
    parents: tuple[str, ...] = (),
) -> JobView:
    name = names.proved(name[: names.MOST_CHARACTERS], "A model's")
    return jobs.submit(
        actor,
        ledger.Request(
            workspace_id=owner.workspace_id,
            project_id=owner.project_id,
            kind="train",
            title=f"Train {name}"[:300],
            spec={**spec, "recipe": recipe.model_dump(), "name": name},
            num_gpus=int(_wants_gpu(recipe)),
            parents=parents,
            asked=asked,
            idempotency_key=key,
        ),
    )


def _wants_gpu(recipe: ClassificationRecipe) -> bool:
    """`auto` takes a card where any host has one."""
    if recipe.device != "auto":
        return recipe.device == "cuda"
    return Host.objects.filter(slots__pool="gpu").exists()


def _version_of(job: Job) -> DatasetVersion | None:
    """The version that a training named, or that the snapshot before it has made; `None` where there is none."""
    snapshot_job_id = job.spec.get("snapshot_job_id")
    made = {"job_id": snapshot_job_id} if snapshot_job_id else {"id": job.spec.get("version_id")}
    return DatasetVersion.objects.select_related("manifest").filter(**made).first()


def training_inputs(job: Job) -> tuple[dict[str, BlobRef], dict[str, Any]]:
    version = _version_of(job)
    if version is None or version.workspace_id != job.workspace_id:
        raise NotFound("The dataset version of this training is gone.")
    return {"manifest": blobs.ref(version.manifest)}, {"classes": version.summary["classes"]}


def pretrained_inputs(job: Job) -> tuple[dict[str, BlobRef], dict[str, Any]]:
    return {}, {}


def publish_model(job: Job, result: dict[str, Any], artifacts: dict[str, str]) -> dict[str, Any]:
    summary = ModelSummary.model_validate(result)
    missing = [name for name in ARCHIVE_FILES if name not in artifacts]
    if missing:
        raise InvalidInput(f"The model's archive lacks {missing}.")
    files = _files(job.id)
    row = TrainedModel.objects.create(
        workspace_id=job.workspace_id,
        project_id=job.project_id,
        name=summary.name[:300],
        task=summary.task,
        backbone=summary.backbone,
        job=job,
        version=_version_of(job),
        classes=[entry.model_dump() for entry in summary.classes],
        transform=summary.transform.model_dump(),
        metrics=summary.metrics,
        num_parameters=summary.num_parameters,
        size_bytes=sum(files[name].size_bytes for name in ARCHIVE_FILES),
        is_pretrained=job.kind == "pretrained",
    )
    return {"model_id": row.id}


# Files


def _files(job_id: str) -> dict[str, BlobRef]:
    rows = Artifact.objects.filter(job_id=job_id).select_related("blob")
    return {row.name: blobs.ref(row.blob) for row in rows}


def _require_model_server(actor: Actor) -> None:
    if actor.kind != "service":
        raise Forbidden("Only the model server can do this.")


def served(actor: Actor, model_id: str) -> ServedModel:
    """What the model server loads; web has authorised the person before it asks."""
    _require_model_server(actor)
    row = TrainedModel.objects.filter(id=model_id).first()
    if row is None:
        raise NotFound("There is no such model.")
    files = _files(row.job_id)
    return ServedModel(
        id=row.id, files={name: files[name] for name in ("model.onnx", "classes.json", "transform.json")}
    )


def open_served(actor: Actor, sha256: str) -> IO[bytes]:
    """A file of a model, for the model server on another machine."""
    _require_model_server(actor)
    if not Artifact.objects.filter(blob_id=sha256, name__in=ARCHIVE_FILES).exists():
        raise NotFound()
    return blobs.open_blob(sha256)


def archive(actor: Actor, model_id: str, within: Place) -> tuple[str, Iterator[bytes]]:
    """(file name, pieces) of the model's archive: a zip of stored files, made while it is read."""
    row = get(actor, model_id, within=within)
    files = _files(row.job_id)
    name = "".join(letter if letter.isalnum() or letter in "-_. " else "_" for letter in row.name).strip() or "model"
    return f"{name}.zip", _zip([(name, files[name]) for name in ARCHIVE_FILES])


class _Pieces(io.RawIOBase):
    """An unseekable file that only remembers what was written since it was last asked."""

    def __init__(self) -> None:
        self._waiting: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._waiting.append(bytes(data))
        return len(data)

    def taken(self) -> bytes:
        data, self._waiting = b"".join(self._waiting), []
        return data


def _zip(files: list[tuple[str, BlobRef]]) -> Iterator[bytes]:
    pieces = _Pieces()
    with zipfile.ZipFile(pieces, "w", zipfile.ZIP_STORED) as archive:
        for name, ref in files:
            with blobs.open_blob(ref.sha256) as source, archive.open(zipfile.ZipInfo(name), "w") as target:
                while chunk := source.read(1 << 20):
                    target.write(chunk)
                    yield pieces.taken()
    yield pieces.taken()
