"""Tokens: scoped, hashed, expiring, shown once. A person's speak for them, a robot's for a workspace."""

from __future__ import annotations

import time
from typing import Any

from django.db import transaction
from django.db.models import QuerySet

from trainshed.errors import InvalidInput, NotFound
from trainshed.schemas import TokenView
from trainshed.server.records.models import Token
from trainshed.server.services import audit, names, workspaces
from trainshed.server.services.actors import SCOPES, Actor, hash_secret, new_secret, require, require_person

_DEFAULT_DAYS = 90.0
_BEGINNING = 8
_ROBOT_ROLES = ("viewer", "editor")
# A robot owns nothing, so that `admin` would open nothing.
_ROBOT_SCOPES = ("read", "write", "jobs")


def issue(
    actor: Actor,
    *,
    name: str,
    scopes: tuple[str, ...] = SCOPES,
    expires_in_days: float | None = _DEFAULT_DAYS,
    workspace_id: str | None = None,
) -> TokenView:
    """Make a token for the acting person; it never has a scope, nor a workspace, that the actor lacks."""
    person = require_person(actor, "write")
    unknown = [scope for scope in scopes if scope not in actor.scopes]
    if unknown or not scopes:
        raise InvalidInput(f"The scopes {unknown} cannot be given; yours are {sorted(actor.scopes)}.")
    workspace_id = workspace_id or actor.only or None
    if workspace_id is not None:
        require(actor, workspace_id, "read")
    said = {"kind": "personal", "person": person, "workspace_id": workspace_id}
    return _issue(actor, said, name, scopes, expires_in_days)


def issue_for_robot(
    actor: Actor,
    workspace_id: str,
    *,
    name: str,
    role: str = "viewer",
    scopes: tuple[str, ...] = _ROBOT_SCOPES,
    expires_in_days: float | None = _DEFAULT_DAYS,
) -> TokenView:
    """Make a token that speaks for a workspace, with a role of its own, whoever comes and goes."""
    workspace = workspaces.get(actor, workspace_id, "own")
    require_person(actor)
    if role not in _ROBOT_ROLES:
        raise InvalidInput(f"A robot cannot have the role {role!r}; it must be one of {list(_ROBOT_ROLES)}.")
    unknown = [scope for scope in scopes if scope not in _ROBOT_SCOPES]
    if unknown or not scopes:
        raise InvalidInput(f"A robot cannot have the scopes {unknown}; it may have {list(_ROBOT_SCOPES)}.")
    said = {"kind": "robot", "workspace": workspace, "role": role}
    return _issue(actor, said, name, scopes, expires_in_days)


def _issue(
    actor: Actor, said: dict[str, Any], name: str, scopes: tuple[str, ...], expires_in_days: float | None
) -> TokenView:
    secret = new_secret(said["kind"])
    with transaction.atomic():
        row = Token.objects.create(
            **said,
            name=names.proved(name[:200] if name.strip() else "unnamed", "A token's"),
            scopes=sorted(set(scopes)),
            sha256=hash_secret(secret),
            beginning=secret[:_BEGINNING],
            created_by=actor.label,
            expires_at=time.time() + expires_in_days * 86400 if expires_in_days else None,
        )
        audit.note(actor, "token.create", on=row, kind=row.kind, scopes=row.scopes)
    return _view(row, secret)


def issue_for_service(name: str) -> str:
    """The secret of a service process of ours; an earlier one of the same name stops working."""
    secret = new_secret("service")
    Token.objects.filter(kind="service", name=name).delete()
    Token.objects.create(kind="service", name=name, sha256=hash_secret(secret))
    return secret


def visible(actor: Actor) -> list[TokenView]:
    """The acting person's own; by a token of one workspace only those of that workspace."""
    return [_view(row) for row in _mine(actor).order_by("-created_at")]


def get(actor: Actor, token_id: str) -> Token:
    row = _mine(actor).filter(id=token_id).first()
    if row is None:
        raise NotFound()
    return row


def _mine(actor: Actor) -> QuerySet[Token]:
    rows = Token.objects.filter(person=require_person(actor), kind="personal", revoked_at=None)
    return rows.filter(workspace_id=actor.only) if actor.only else rows


def revoke(actor: Actor, token_id: str) -> None:
    require_person(actor, "write")
    _revoke(actor, get(actor, token_id))


def robots(actor: Actor, workspace_id: str) -> list[TokenView]:
    """The robots of a workspace, newest first, without their secrets."""
    workspace = workspaces.get(actor, workspace_id, "own")
    return [_view(row) for row in _robots_of(workspace.id).order_by("-created_at")]


def revoke_robot(actor: Actor, workspace_id: str, token_id: str) -> None:
    row = _robots_of(workspaces.get(actor, workspace_id, "own").id).filter(id=token_id).first()
    if row is None:
        raise NotFound()
    _revoke(actor, row)


def _robots_of(workspace_id: str) -> QuerySet[Token]:
    return Token.objects.filter(workspace_id=workspace_id, kind="robot", revoked_at=None)


@transaction.atomic
def _revoke(actor: Actor, row: Token) -> None:
    row.revoked_at = time.time()
    row.save(update_fields=["revoked_at"])
    audit.note(actor, "token.revoke", on=row)


def _view(row: Token, secret: str | None = None) -> TokenView:
    return TokenView(
        id=row.id,
        name=row.name,
        scopes=row.scopes,
        created_at=row.created_at,
        expires_at=row.expires_at,
        last_used_at=row.last_used_at,
        beginning=row.beginning,
        workspace_id=row.workspace_id,
        role=row.role,
        created_by=row.created_by,
        token=secret,
    )
