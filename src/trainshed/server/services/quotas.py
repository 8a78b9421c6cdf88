"""Quotas: what a workspace uses and may use. The counting stands in `queue/counters.py`."""

from __future__ import annotations

from django.db import transaction
from django.db.models import Count

from trainshed.errors import InvalidInput, NotFound
from trainshed.schemas.quotas import RESOURCES, QuotaView, WorkspaceUse
from trainshed.server.queue import counters, ledger
from trainshed.server.records.models import Quota, Workspace
from trainshed.server.services import audit
from trainshed.server.services.actors import Actor, require, require_administrator

_LARGEST = 2**63 - 1


def visible(actor: Actor, workspace_id: str) -> list[QuotaView]:
    """Every resource of a workspace, for its members and for administrators of the installation."""
    if not (actor.is_administrator and "read" in actor.scopes):
        require(actor, workspace_id, "read")
    _require_workspace(workspace_id)
    rows = {row.resource: row for row in Quota.objects.filter(workspace_id=workspace_id)}
    month = counters.month(ledger.now())
    return [_view(rows.get(resource) or Quota(resource=resource), month) for resource in RESOURCES]


def everywhere(actor: Actor) -> list[WorkspaceUse]:
    """What each workspace of the installation uses, the oldest first, for its administrators."""
    require_administrator(actor, "read")
    month, kept = counters.month(ledger.now()), {(row.workspace_id, row.resource): row for row in Quota.objects.all()}
    rows = Workspace.objects.filter(deleted_at=None).annotate(num_members=Count("memberships")).order_by("created_at")
    return [
        WorkspaceUse(
            id=row.id,
            name=row.name,
            is_shelf=row.is_shelf,
            num_members=row.num_members,
            quotas=[_view(kept.get((row.id, each)) or Quota(resource=each), month) for each in RESOURCES],
        )
        for row in rows
    ]


def limit(actor: Actor, workspace_id: str, resource: str, most: int | None) -> QuotaView:
    """Set the most that a workspace may use, `None` for no limit. What it uses beyond that stays, and may not grow."""
    require_administrator(actor)
    if resource not in RESOURCES:
        raise InvalidInput(f"There is no quota of {resource[:40]!r}; it must be one of {list(RESOURCES)}.")
    if most is not None and not 0 <= most <= _LARGEST:
        raise InvalidInput(f"A limit must be from 0 to {_LARGEST}; it is {most}. Without one, send null.")
    _require_workspace(workspace_id)
    with transaction.atomic():
        Quota.objects.get_or_create(workspace_id=workspace_id, resource=resource)
        row = Quota.objects.select_for_update().get(workspace_id=workspace_id, resource=resource)
        before, row.most, row.grace = row.most, most, row.used
        row.save(update_fields=["most", "grace"])
        audit.note(actor, "quota.limit", on=row, resource=resource, before=before, most=most)
    return _view(row, counters.month(ledger.now()))


def require_room(workspace_id: str, size_bytes: int) -> None:
    """Before bytes are taken. Raises `QuotaExceeded` if they cannot fit."""
    row = Quota.objects.filter(workspace_id=workspace_id, resource=counters.STORED_BYTES).first()
    if row is not None and row.most is not None and row.used + size_bytes > row.most:
        raise counters.refusal(row.resource, row.used, row.most, size_bytes)


def _require_workspace(workspace_id: str) -> None:
    if not Workspace.objects.filter(id=workspace_id).exists():
        raise NotFound()


def _view(row: Quota, month: str) -> QuotaView:
    is_past = row.resource == counters.GPU_SECONDS and row.period < month
    return QuotaView(
        resource=row.resource,  # type: ignore[arg-type]
        used=0 if is_past else row.used,
        most=row.most,
        meaning=RESOURCES[row.resource],
    )
