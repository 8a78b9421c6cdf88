"""The audit log: what each act writes down, and who may read it."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from django.db.models import QuerySet

from trainshed.errors import InvalidInput
from trainshed.schemas import AuditView, Page
from trainshed.server.records.models import AuditRow, Person, Token
from trainshed.server.services.actors import Actor, require, require_administrator
from trainshed.server.services.pages import MOST_PER_PAGE

_COLUMNS = ("time", "actor", "name", "action", "id", "what", "address", "token", "details")
_PER_READ = 1000
# What a spreadsheet takes for the beginning of a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\0", "＝", "＋", "－", "＠")


def note(actor: Actor, action: str, on: Any = None, *, workspace_id: str | None = None, **details: Any) -> None:
    """Write down an act, in the transaction that does it.

    `action` is `noun.verb`, such as `dataset.rename`; `on` is the row that it was done to, whose id and name are kept
    as they are now. `details` are small values that a person can read; never a secret.
    """
    noun = action.partition(".")[0]
    AuditRow.objects.create(
        workspace_id=workspace_id or _workspace_of(on),
        actor=actor.label,
        token_id=actor.token_id,
        address=actor.address,
        action=action,
        noun=noun,
        thing_id=str(getattr(on, "pk", "") or ""),
        thing_name=_name_of(on),
        details=details,
    )


def _workspace_of(row: Any) -> str | None:
    if row is not None and row._meta.model_name == "workspace":
        return str(row.id)
    return getattr(row, "workspace_id", None)


def _name_of(row: Any) -> str:
    name = getattr(row, "name", None) or getattr(row, "title", None) or getattr(row, "email", None) or ""
    return str(name)[:300]


def visible(
    actor: Actor,
    workspace_id: str | None,
    *,
    who: str = "",
    action: str = "",
    noun: str = "",
    cursor: str | None = None,
    limit: int = 100,
) -> Page[AuditView]:
    """What was done in a workspace, for its owners; with `None` everywhere, for administrators. The newest first.

    `who` is an actor such as `person:id`; `action` and `noun` are as `note` says.
    """
    rows = _within(actor, workspace_id, who, action, noun)
    if cursor:
        if not (cursor.isascii() and cursor.isdigit() and len(cursor) < 19):
            raise InvalidInput(f"The cursor {cursor[:40]!r} is not one that a page gave.")
        rows = rows.filter(id__lt=int(cursor))
    limit = max(1, min(limit, MOST_PER_PAGE))
    found = list(rows.order_by("-id")[: limit + 1])
    next_cursor = str(found[limit - 1].id) if len(found) > limit else None
    return Page(items=_views(found[:limit]), next_cursor=next_cursor)


def as_csv(actor: Actor, workspace_id: str | None, *, who: str = "", action: str = "", noun: str = "") -> Iterator[str]:
    """The same as a table, in pieces. No cell can be a formula (OWASP, CSV injection)."""
    rows = _within(actor, workspace_id, who, action, noun).order_by("-id")
    return _lines(rows)


def _lines(rows: QuerySet[AuditRow]) -> Iterator[str]:
    yield _csv([_COLUMNS])
    last: int | None = None
    while found := list((rows if last is None else rows.filter(id__lt=last))[:_PER_READ]):
        yield _csv([_cells(view) for view in _views(found)])
        last = found[-1].id


def _cells(view: AuditView) -> tuple[str, ...]:
    at = datetime.fromtimestamp(view.at, UTC).isoformat(timespec="seconds")
    details = json.dumps(view.details, ensure_ascii=False) if view.details else ""
    what = (view.thing_id, view.thing_name)
    return (at, view.actor, view.actor_name, view.action, *what, view.address, view.token_id, details)


def _csv(lines: list[tuple[str, ...]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_ALL)
    writer.writerows([[f"'{cell}" if cell.startswith(_FORMULA) else cell for cell in line] for line in lines])
    return text.getvalue()


def _within(actor: Actor, workspace_id: str | None, who: str, action: str, noun: str) -> QuerySet[AuditRow]:
    if workspace_id is None:
        require_administrator(actor)
        rows = AuditRow.objects.all()
    else:
        require(actor, workspace_id, "own")
        rows = AuditRow.objects.filter(workspace_id=workspace_id)
    said = {"actor": who, "action": action, "noun": noun}
    return rows.filter(**{name: value for name, value in said.items() if value})


def _views(rows: list[AuditRow]) -> list[AuditView]:
    ids = {
        kind: {row.actor.partition(":")[2] for row in rows if row.actor.startswith(kind)}
        for kind in ("person:", "robot:")
    }
    names = {
        f"person:{id_}": name for id_, name in Person.objects.filter(id__in=ids["person:"]).values_list("id", "name")
    }
    names |= {
        f"robot:{id_}": name for id_, name in Token.objects.filter(id__in=ids["robot:"]).values_list("id", "name")
    }
    return [_view(row, names.get(row.actor, "")) for row in rows]


def _view(row: AuditRow, actor_name: str) -> AuditView:
    return AuditView(
        id=row.id,
        at=row.at,
        workspace_id=row.workspace_id,
        actor=row.actor,
        actor_name=actor_name,
        token_id=row.token_id,
        address=row.address,
        action=row.action,
        noun=row.noun,
        thing_id=row.thing_id,
        thing_name=row.thing_name,
        details=row.details,
    )
