"""What a running attempt may do with its own job, and which rows each job kind reads and publishes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import IO, Any

from pydantic import ValidationError

from trainshed.errors import Forbidden, InvalidInput, NotFound
from trainshed.schemas import (
    Assignment,
    BlobRef,
    Checkpoint,
    EndReport,
    EventBatch,
    NewCheckpoint,
    Publication,
    Renewal,
    StagedImage,
    settings,
)
from trainshed.server.queue import ledger
from trainshed.server.queue.ledger import Held
from trainshed.server.records import models as records
from trainshed.server.records.models import Job, Slot
from trainshed.server.services import blobs, datasets, models, versions
from trainshed.server.services.actors import Actor

Inputs = Callable[[Job], tuple[dict[str, BlobRef], dict[str, Any]]]
Effect = Callable[[Job, dict[str, Any], dict[str, str]], dict[str, Any]]

# kind -> (what its runner gets, what its publish writes)
KINDS: dict[str, tuple[Inputs, Effect]] = {
    "import": (datasets.import_inputs, datasets.publish_import),
    "snapshot": (versions.snapshot_inputs, versions.publish_snapshot),
    "train": (models.training_inputs, models.publish_model),
    "pretrained": (models.pretrained_inputs, models.publish_model),
}


def held(actor: Actor) -> Held:
    """The gate of this noun: an attempt's token opens its own job and nothing else."""
    if actor.held is None:
        raise Forbidden("Only the attempt of a job can do this.")
    return actor.held


def lease_seconds() -> float:
    return settings.number("TRAINSHED_LEASE_SECONDS")


def renew(actor: Actor) -> Renewal:
    return ledger.renew(held(actor), lease_seconds=lease_seconds())


def assignment(actor: Actor) -> Assignment:
    mine = held(actor)
    ledger.fence(mine)
    job = Job.objects.get(id=mine.job_id)
    inputs, added = KINDS[job.kind][0](job)
    saved = records.Checkpoint.objects.select_related("blob").filter(job=job).first()
    folder = blobs.folder()
    return Assignment(
        job_id=job.id,
        attempt=mine.number,
        kind=job.kind,  # type: ignore[arg-type]
        spec={**job.spec, **added},
        inputs=inputs,
        blobs_folder=str(folder) if folder else None,
        checkpoint=Checkpoint(blob=blobs.ref(saved.blob), step=saved.step, attempt=saved.attempt) if saved else None,
        gpus=list(Slot.objects.filter(attempt_id=mine.attempt_id, pool="gpu").values_list("position", flat=True)),
    )


def tell(actor: Actor, batch: EventBatch) -> int:
    return ledger.tell(held(actor), batch.first, batch.events)


def admit_blobs(actor: Actor) -> None:
    """Before the bytes: only the newest attempt may store any."""
    ledger.fence(held(actor))


def store(actor: Actor, packed: bytes) -> list[str]:
    """Store small blobs, each preceded by its length as 8 bytes; returns their SHA-256 in order."""
    contents, position = [], 0
    while position < len(packed):
        size = int.from_bytes(packed[position : position + 8], "big")
        contents.append(packed[position + 8 : position + 8 + size])
        position += 8 + size
    if position != len(packed):
        raise InvalidInput("The packed blobs end in the middle of one.")
    return blobs.store_many(contents, held(actor).workspace_id)


def register(actor: Actor, sha256: str, size_bytes: int) -> None:
    """One blob whose bytes are in place."""
    blobs.register(sha256, size_bytes, held(actor).workspace_id)


def open_blob(actor: Actor, sha256: str) -> IO[bytes]:
    """A blob of the job's own workspace."""
    mine = held(actor)
    ledger.fence(mine)
    if not blobs.is_held(sha256, mine.workspace_id):
        raise NotFound()
    return blobs.open_blob(sha256)


def stage(actor: Actor, staged: list[StagedImage]) -> None:
    datasets.stage(held(actor), staged)


def staged_names(actor: Actor) -> list[str]:
    ledger.fence(held(actor))
    return datasets.staged_names(held(actor))


def rows(actor: Actor) -> Iterator[bytes]:
    mine = held(actor)
    ledger.fence(mine)
    return versions.rows(Job.objects.get(id=mine.job_id))


def save_checkpoint(actor: Actor, checkpoint: NewCheckpoint) -> None:
    mine = held(actor)
    ledger.fence(mine)
    blobs.require_held([checkpoint.sha256], mine.workspace_id)
    ledger.save_checkpoint(mine, checkpoint.sha256, checkpoint.step)


def publish(actor: Actor, publication: Publication) -> None:
    """The kind's rows, the artifacts and the state at once. Raises `InvalidInput` if the result cannot be kept."""
    mine = held(actor)
    job = Job.objects.get(id=mine.job_id)

    def effect() -> dict[str, Any]:
        blobs.require_held(publication.artifacts.values(), mine.workspace_id)
        try:
            return KINDS[job.kind][1](job, publication.result, publication.artifacts)
        except ValidationError as error:
            raise InvalidInput(f"The result of this {job.kind} cannot be kept: {error}") from error

    ledger.publish(mine, publication.result, publication.artifacts, effect)


def end(actor: Actor, report: EndReport) -> str:
    return ledger.end(held(actor), report)
