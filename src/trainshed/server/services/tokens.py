"""Personal access tokens: scoped, hashed, expiring, shown once."""

from __future__ import annotations

import time

from trainshed.errors import InvalidInput, NotFound
from trainshed.schemas import TokenView
from trainshed.server.records.models import Token
from trainshed.server.services import names
from trainshed.server.services.actors import SCOPES, Actor, hash_secret, new_secret, require_person

_DEFAULT_DAYS = 90.0


def issue(
    actor: Actor, *, name: str, scopes: tuple[str, ...] = SCOPES, expires_in_days: float | None = _DEFAULT_DAYS
) -> TokenView:
    """Make a token for the acting person; it never has a scope that the actor lacks."""
    person = require_person(actor, "write")
    unknown = [scope for scope in scopes if scope not in actor.scopes]
    if unknown or not scopes:
        raise InvalidInput(f"The scopes {unknown} cannot be given; yours are {sorted(actor.scopes)}.")
    secret = new_secret("personal")
    row = Token.objects.create(
        kind="personal",
        person=person,
        name=names.proved(name[:200] if name.strip() else "unnamed", "A token's"),
        scopes=sorted(set(scopes)),
        sha256=hash_secret(secret),
        expires_at=time.time() + expires_in_days * 86400 if expires_in_days else None,
    )
    return _view(row, secret)


def issue_for_service(name: str) -> str:
    """The secret of a service process of ours; an earlier one of the same name stops working."""
    secret = new_secret("service")
    Token.objects.filter(kind="service", name=name).delete()
    Token.objects.create(kind="service", name=name, sha256=hash_secret(secret))
    return secret


def visible(actor: Actor) -> list[TokenView]:
    rows = Token.objects.filter(person=require_person(actor), kind="personal", revoked_at=None)
    return [_view(row) for row in rows.order_by("-created_at")]


def get(actor: Actor, token_id: str) -> Token:
    row = Token.objects.filter(id=token_id, person=require_person(actor), kind="personal", revoked_at=None).first()
    if row is None:
        raise NotFound()
    return row


def revoke(actor: Actor, token_id: str) -> None:
    require_person(actor, "write")
    row = get(actor, token_id)
    row.revoked_at = time.time()
    row.save(update_fields=["revoked_at"])


def _view(row: Token, secret: str | None = None) -> TokenView:
    return TokenView(
        id=row.id,
        name=row.name,
        scopes=row.scopes,
        created_at=row.created_at,
        expires_at=row.expires_at,
        last_used_at=row.last_used_at,
        token=secret,
    )
