"""Shares: links to one thing, for anybody who has them, until a day or until somebody ends them."""

from __future__ import annotations

import time
from typing import Any

from django.db import transaction

from trainshed.errors import InvalidInput, NotFound
from trainshed.schemas import ShareView
from trainshed.server.records.models import Share
from trainshed.server.services import audit, jobs, links, models, versions, workspaces
from trainshed.server.services.actors import Actor, Need, Place, gate, hash_secret, new_secret, require_person

MOST_DAYS = 365.0
_DAY_SECONDS = 86400.0
_SEEN_EVERY_SECONDS = 60.0
# Noun -> the gate of what may be shared.
_GATES: dict[str, Any] = {"model": models.get, "version": versions.get, "job": jobs.get}


def get(actor: Actor, share_id: str, *, within: Place, need: Need = "work") -> Share:
    return gate(Share.objects.filter(revoked_at=None), actor, share_id, need, within)


def create(
    actor: Actor, place: Place, *, noun: str, thing_id: str, expires_in_days: float = 30.0, note: str = ""
) -> ShareView:
    """Make a link to one thing. The answer alone holds it."""
    if noun not in _GATES:
        raise InvalidInput(f"A {noun!r} cannot be shared; it must be one of {list(_GATES)}.")
    if not 1 <= expires_in_days <= MOST_DAYS:
        raise InvalidInput(f"A share is open for 1 to {MOST_DAYS:.0f} days, not {expires_in_days:g}.")
    thing = _GATES[noun](actor, thing_id, need="work", within=place)
    require_person(actor)
    secret, now = new_secret("share"), time.time()
    with transaction.atomic():
        row = Share.objects.create(
            workspace_id=thing.workspace_id,
            project_id=thing.project_id,
            noun=noun,
            thing_id=thing.id,
            note=note.strip().replace("\0", "\ufffd")[:200],
            sha256=hash_secret(secret),
            created_by=actor.label,
            created_at=now,
            expires_at=now + expires_in_days * _DAY_SECONDS,
        )
        audit.note(actor, "share.create", on=row, shared=noun, thing_id=thing.id)
    return _view(row, secret)


def visible(actor: Actor, place: Place, thing_id: str | None = None) -> list[ShareView]:
    """Links of a project that are open, or of one thing in it."""
    project = workspaces.get_project(actor, place, "work")
    rows = Share.objects.filter(project=project, revoked_at=None, expires_at__gt=time.time())
    rows = rows.filter(thing_id=thing_id) if thing_id else rows
    return [_view(row) for row in rows.order_by("-created_at")]


@transaction.atomic
def revoke(actor: Actor, share_id: str, within: Place) -> None:
    row = get(actor, share_id, within=within)
    row.revoked_at = time.time()
    row.save(update_fields=["revoked_at"])
    audit.note(actor, "share.revoke", on=row)


def open(secret: str) -> tuple[Actor, ShareView]:
    """Whoever holds the link, as an actor who may read its one thing; and which thing that is.

    A thing that was moved or deleted since takes its links with it. Raises `NotFound`.
    """
    now = time.time()
    rows = Share.objects.filter(revoked_at=None, expires_at__gt=now, workspace__deleted_at=None)
    row = rows.filter(sha256=hash_secret(secret)).first()
    if row is None:
        raise NotFound("This link is unknown, expired or revoked.", hint="Ask whoever sent it for a new one.")
    roles = {row.workspace_id: "viewer"}
    actor = Actor(
        kind="share",
        id=row.id,
        roles=roles,
        scopes=frozenset({"read"}),
        shared=row.thing_id,
        until=row.expires_at,
    )
    _GATES[row.noun](actor, row.thing_id, within=Place(row.workspace_id, row.project_id))
    if row.last_used_at is None or now - row.last_used_at > _SEEN_EVERY_SECONDS:
        Share.objects.filter(id=row.id).update(last_used_at=now)
    return actor, _view(row)


def _view(row: Share, secret: str | None = None) -> ShareView:
    return ShareView(
        id=row.id,
        workspace_id=row.workspace_id,
        project_id=row.project_id,
        noun=row.noun,  # type: ignore[arg-type]
        thing_id=row.thing_id,
        note=row.note,
        created_by=row.created_by,
        created_at=row.created_at,
        expires_at=row.expires_at,
        last_used_at=row.last_used_at,
        link=links.to("share", secret) if secret else None,
    )
