"""Datasets and their images, and what the job kind `import` reads and publishes."""

from __future__ import annotations

from typing import IO, Any

from django.db import IntegrityError, transaction
from django.db.models import Count, QuerySet, Sum

from trainshed.errors import Conflict, InvalidInput, NotFound
from trainshed.schemas import FINAL_STATES, BlobRef, DatasetView, ImageView, ImportReport, JobView, Page, StagedImage
from trainshed.server.queue import counters, ledger
from trainshed.server.queue.ledger import Held
from trainshed.server.records.models import Dataset, DatasetVersion, Image, ImageClass, Job, Project, Upload
from trainshed.server.services import audit, blobs, jobs, limits, names, pages, uploads, workspaces
from trainshed.server.services.actors import Actor, Need, Place, gate

TASKS = ("classification",)


def get(actor: Actor, dataset_id: str, *, need: Need = "read", within: Place | None = None) -> Dataset:
    return gate(Dataset.objects.all(), actor, dataset_id, need, within)


def get_image(actor: Actor, image_id: str, *, within: Place) -> Image:
    image: Image = gate(Image.objects.filter(is_staged=False), actor, image_id, "read", within)
    if image.dataset.project_id != within.project_id:
        raise NotFound()
    return image


def create(actor: Actor, place: Place, *, name: str, task: str) -> DatasetView:
    project = workspaces.get_project(actor, place, "work")
    if task not in TASKS:
        raise InvalidInput(f"The task {task!r} is unknown; it must be one of {list(TASKS)}.")
    try:
        with transaction.atomic():
            row = Dataset.objects.create(
                workspace_id=project.workspace_id, project=project, name=names.proved(name, "A dataset's"), task=task
            )
            audit.note(actor, "dataset.create", on=row)
    except IntegrityError:
        raise _name_taken(name) from None
    return view(row)


def _name_taken(name: str) -> Conflict:
    return Conflict(
        f"The project already has a dataset named {name.strip()!r}.",
        hint="Choose another name, or import into that one.",
    )


def rename(actor: Actor, dataset_id: str, name: str, within: Place) -> DatasetView:
    row = get(actor, dataset_id, need="work", within=within)
    before, row.name = row.name, names.proved(name, "A dataset's")
    try:
        with transaction.atomic():
            row.save(update_fields=["name"])
            audit.note(actor, "dataset.rename", on=row, before=before)
    except IntegrityError:
        raise _name_taken(name) from None
    return view(row)


@transaction.atomic
def delete(actor: Actor, dataset_id: str, within: Place) -> None:
    """Delete a dataset that no version was taken of; a version keeps its dataset, because models name it."""
    row = get(actor, dataset_id, need="work", within=within)
    Dataset.objects.select_for_update().filter(id=row.id).first()
    if row.versions.exists():
        raise Conflict("The dataset has versions, which trainings and models name; it cannot be deleted.")
    audit.note(actor, "dataset.delete", on=row)
    Image.objects.filter(dataset=row).delete()
    row.delete()


@counters.counted()
def move(actor: Actor, dataset_id: str, within: Place, target: Place) -> DatasetView:
    """Put a dataset into another project of mine, with its pictures, its versions and the jobs that made them.

    Trainings and their models stay where they are; out of a workspace only an owner takes something.
    """
    row = get(actor, dataset_id, need=workspaces.need_to_move(within, target), within=within)
    project = workspaces.get_project(actor, target, "work")
    row = Dataset.objects.select_for_update().get(id=row.id)
    about = Job.objects.filter(spec__dataset_id=row.id, workspace_id=row.workspace_id)
    if about.exclude(state__in=FINAL_STATES).exists():
        raise Conflict("Jobs that read or fill this dataset are not done yet.", hint="Wait for them, or cancel them.")
    if Dataset.objects.filter(project=project, name=row.name).exclude(id=row.id).exists():
        raise _name_taken(row.name)
    audit.note(actor, "dataset.move", on=row, to_workspace_id=project.workspace_id, to_project_id=project.id)
    _carry(row, project)
    jobs.carry(about.filter(kind__in=("import", "snapshot")), project)
    row.workspace_id, row.project_id = project.workspace_id, project.id
    row.save(update_fields=["workspace", "project"])
    return view(row)


def _carry(row: Dataset, project: Project) -> None:
    """What belongs to a dataset, and the right to its bytes, to the project that it moves to."""
    pictures, taken = Image.objects.filter(dataset=row), DatasetVersion.objects.filter(dataset=row)
    sent = Job.objects.filter(spec__dataset_id=row.id, kind="import").values_list("spec__upload_id", flat=True)
    sources = Upload.objects.filter(id__in=list(sent), workspace_id=row.workspace_id)
    for rows, name in ((pictures, "blob"), (pictures, "thumbnail"), (taken, "manifest"), (sources, "blob")):
        blobs.give(rows.values_list(f"{name}_id", flat=True), project.workspace_id)
    where = {"workspace_id": project.workspace_id, "project_id": project.id}
    taken.update(**where)
    sources.update(**where)
    pictures.update(workspace_id=project.workspace_id)
    ImageClass.objects.filter(dataset=row).update(workspace_id=project.workspace_id)


def visible(actor: Actor, place: Place, *, cursor: str | None, limit: int) -> Page[DatasetView]:
    project = workspaces.get_project(actor, place)
    return pages.newest_first(Dataset.objects.filter(project=project), cursor, limit, view)


def images(
    actor: Actor, dataset_id: str, within: Place, *, class_id: str | None, cursor: str | None, limit: int
) -> Page[ImageView]:
    dataset = get(actor, dataset_id, within=within)
    rows = Image.objects.filter(dataset=dataset, is_staged=False)
    if class_id:
        rows = rows.filter(image_class_id=class_id)
    return pages.newest_first(rows, cursor, limit, image_view)


def open_image(actor: Actor, image_id: str, within: Place, *, thumbnail: bool) -> tuple[IO[bytes], str]:
    """The original's or the thumbnail's bytes and its SHA-256."""
    image = get_image(actor, image_id, within=within)
    sha256 = image.thumbnail_id if thumbnail else image.blob_id
    return blobs.open_blob(sha256), sha256


def view(row: Dataset) -> DatasetView:
    shown = Image.objects.filter(dataset=row, is_staged=False)
    counts = shown.values("image_class_id", "image_class__name").annotate(num_images=Count("id"))
    classes = [
        {"id": count["image_class_id"], "name": count["image_class__name"], "num_images": count["num_images"]}
        for count in counts.order_by("image_class__name")
    ]
    return DatasetView(
        id=row.id,
        workspace_id=row.workspace_id,
        project_id=row.project_id,
        name=row.name,
        task=row.task,
        num_images=sum(entry["num_images"] for entry in classes),
        size_bytes=shown.aggregate(total=Sum("size_bytes"))["total"] or 0,
        classes=classes,
        created_at=row.created_at,
    )


def image_view(row: Image) -> ImageView:
    return ImageView(
        id=row.id,
        name=row.name,
        sha256=row.blob_id,
        class_id=row.image_class_id or "",
        width=row.width,
        height=row.height,
        size_bytes=row.size_bytes,
        format=row.format,
    )


# The job kind `import`


def start_import(actor: Actor, dataset_id: str, upload_id: str, within: Place, key: str | None) -> JobView:
    dataset = get(actor, dataset_id, need="run", within=within)
    upload = uploads.get(actor, upload_id, need="run", within=within)
    limits.take(limits.IMPORTS, actor.label)
    return jobs.submit(
        actor,
        ledger.Request(
            workspace_id=dataset.workspace_id,
            project_id=dataset.project_id,
            kind="import",
            title=f"Import {upload.name} into {dataset.name}"[:300],
            spec={"dataset_id": dataset.id, "upload_id": upload.id},
            asked={"dataset_id": dataset.id, "upload_id": upload.id},
            idempotency_key=key,
        ),
    )


def import_inputs(job: Job) -> tuple[dict[str, BlobRef], dict[str, Any]]:
    upload = Upload.objects.select_related("blob").get(id=job.spec["upload_id"], workspace_id=job.workspace_id)
    return {"archive": blobs.ref(upload.blob)}, {"archive_name": upload.name}


def lock_for(job: Job) -> Dataset:
    """Hold the dataset that a job reads or fills. Raises `NotFound` if it was deleted or moved meanwhile."""
    return of_job(job, Dataset.objects.select_for_update())


def of_job(job: Job, rows: QuerySet[Dataset] | None = None) -> Dataset:
    """The dataset that a job reads or fills. Raises `NotFound` if it is not where the job is any more."""
    rows = Dataset.objects.all() if rows is None else rows
    where = {"workspace_id": job.workspace_id, "project_id": job.project_id}
    dataset = rows.filter(id=job.spec["dataset_id"], **where).first()
    if dataset is None:
        raise NotFound("The dataset of this job was deleted or moved.")
    return dataset


def stage(held: Held, staged: list[StagedImage]) -> None:
    """Rows of a running import, invisible until it publishes; a name that is there already stays as it is."""
    with transaction.atomic():
        ledger.fence(held)
        job = Job.objects.get(id=held.job_id)
        if job.kind != "import":
            raise InvalidInput("Only an import stages images.")
        hashes = (sha256 for image in staged for sha256 in (image.sha256, image.thumbnail_sha256))
        blobs.require_held(hashes, held.workspace_id)
        lock_for(job)
        rows = [
            Image(
                workspace_id=job.workspace_id,
                dataset_id=job.spec["dataset_id"],
                import_job=job,
                class_name=image.class_name,
                name=image.name,
                blob_id=image.sha256,
                thumbnail_id=image.thumbnail_sha256,
                size_bytes=image.size_bytes,
                width=image.width,
                height=image.height,
                format=image.format,
            )
            for image in staged
        ]
        Image.objects.bulk_create(rows, ignore_conflicts=True)


def staged_names(held: Held) -> list[str]:
    return list(Image.objects.filter(import_job_id=held.job_id).values_list("name", flat=True))


def drop_abandoned() -> int:
    """Forget what imports that failed or were cancelled had staged; returns how many images."""
    abandoned = Image.objects.filter(is_staged=True, import_job__state__in=("failed", "cancelled"))
    num_dropped, _ = abandoned.delete()
    return num_dropped


def publish_import(job: Job, result: dict[str, Any], artifacts: dict[str, str]) -> dict[str, Any]:
    """Make the staged images visible; a picture that the dataset already has under that name is a duplicate."""
    ImportReport.model_validate(result)
    dataset = lock_for(job)
    staged = Image.objects.filter(import_job=job, is_staged=True)
    known = set(Image.objects.filter(dataset=dataset, is_staged=False).values_list("name", "blob_id", "class_name"))
    if known:
        again = [row[0] for row in staged.values_list("id", "name", "blob_id", "class_name") if row[1:] in known]
        for start in range(0, len(again), 500):
            Image.objects.filter(id__in=again[start : start + 500]).delete()
    class_names = staged.values_list("class_name", flat=True).distinct().order_by("class_name")
    for name in list(class_names):
        image_class, _ = ImageClass.objects.get_or_create(
            dataset=dataset, name=name, defaults={"workspace_id": dataset.workspace_id}
        )
        staged.filter(class_name=name).update(image_class=image_class)
    num_taken = staged.update(is_staged=False)
    return {"num_taken": num_taken, "num_duplicates": result["num_taken"] - num_taken}
