"""Uploads: files that a person sent, waiting for the import that reads them."""

from __future__ import annotations

from django.db import transaction

from trainshed.errors import InvalidInput, TooLarge
from trainshed.schemas import UploadView, settings
from trainshed.server.records.models import Upload
from trainshed.server.services import audit, blobs, quotas, workspaces
from trainshed.server.services.actors import Actor, Need, Place, gate


def get(actor: Actor, upload_id: str, *, need: Need = "read", within: Place | None = None) -> Upload:
    return gate(Upload.objects.select_related("blob"), actor, upload_id, need, within)


def admit(actor: Actor, place: Place, size_bytes: int | None) -> None:
    """Before the first byte: may this actor send that much here?"""
    workspaces.get_project(actor, place, "work")
    if size_bytes is None:
        raise InvalidInput("An upload needs the header Content-Length.")
    check_size(size_bytes)
    quotas.require_room(place.workspace_id, size_bytes)


def check_size(size_bytes: int) -> None:
    most = settings.whole("TRAINSHED_MAX_UPLOAD_BYTES")
    if size_bytes > most:
        raise TooLarge(
            f"The upload has {size_bytes:,} bytes; at most {most:,} are taken.",
            hint="Split it, or raise TRAINSHED_MAX_UPLOAD_BYTES.",
        )


def keep(actor: Actor, place: Place, *, name: str, sha256: str, size_bytes: int) -> UploadView:
    """Note a file whose bytes have arrived whole."""
    project = workspaces.get_project(actor, place, "work")
    with transaction.atomic():
        row = Upload.objects.create(
            workspace_id=project.workspace_id,
            project=project,
            name=name[:1024] or "unnamed",
            blob=blobs.register(sha256, size_bytes, place.workspace_id),
            created_by=actor.label,
        )
        audit.note(actor, "upload.create", on=row, size_bytes=size_bytes)
    return UploadView(id=row.id, name=row.name, size_bytes=size_bytes, sha256=sha256)
