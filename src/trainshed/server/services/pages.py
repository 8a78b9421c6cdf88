"""Cursor pagination: newest first, stable while rows are added, the same cost on every page."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from django.db import models
from django.db.models import Q

from trainshed.errors import InvalidInput
from trainshed.schemas import Page

MOST_PER_PAGE = 500
Row = TypeVar("Row", bound=models.Model)
View = TypeVar("View")


def newest_first(rows: models.QuerySet[Row], cursor: str | None, limit: int, view: Callable[[Row], View]) -> Page[View]:
    """One page ordered by (created_at, id), newest first."""
    if cursor:
        created_at, id_ = _decode(cursor)
        rows = rows.filter(Q(created_at__lt=created_at) | Q(created_at=created_at, id__lt=id_))
    limit = max(1, min(limit, MOST_PER_PAGE))
    found: list[Any] = list(rows.order_by("-created_at", "-id")[: limit + 1])
    more = len(found) > limit
    last = found[limit - 1] if more else None
    next_cursor = _encode(last.created_at, last.id) if last else None
    return Page(items=[view(row) for row in found[:limit]], next_cursor=next_cursor)


def numbered(rows: Sequence[View], cursor: str | None, limit: int) -> Page[View]:
    """One page of a list that never changes; the cursor is the number of the first row."""
    if cursor is not None and not (cursor.isascii() and cursor.isdigit() and len(cursor) < 12):
        raise InvalidInput(f"The cursor {cursor[:40]!r} is not one that a page gave.")
    start, limit = int(cursor or 0), max(1, min(limit, MOST_PER_PAGE))
    end = start + limit
    return Page(items=list(rows[start:end]), next_cursor=str(end) if end < len(rows) else None)


def _encode(created_at: float, id_: str) -> str:
    return base64.urlsafe_b64encode(json.dumps([created_at, id_]).encode()).decode().rstrip("=")


def _decode(cursor: str) -> tuple[float, str]:
    try:
        created_at, id_ = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        if not math.isfinite(float(created_at)):
            raise ValueError
        return float(created_at), str(id_).encode("ascii").decode()
    except (ValueError, TypeError, OverflowError, RecursionError):
        raise InvalidInput(f"The cursor {cursor[:40]!r} is not one that a page gave.") from None
