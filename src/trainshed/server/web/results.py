"""A model's metrics as tables and sentences: how well each class is known, and which is taken for which.

The figures themselves are made by the training and only arranged here.
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext_lazy as _

MOST_CLASSES_IN_MATRIX = 40
MOST_CLASSES_WITHOUT_FILTER = 20
_SHADES = 5
_LONGEST_LEVEL_HEAD = 3
_Metrics = dict[str, Any]
_COLUMNS = {
    "name": _("Class"),
    "support": _("Pictures"),
    "precision": _("Precision"),
    "recall": _("Recall"),
    "f1": _("F1"),
}


@dataclass(frozen=True)
class Cell:
    """How often the pictures of one class were given one name; `shade` (0 to 5) grows with the share of them."""

    count: int
    shade: int
    is_right: bool


@dataclass(frozen=True)
class Mistake:
    """Pictures of one class that were taken for another."""

    right: str
    named: str
    count: int
    num_pictures: int


def class_names(metrics: _Metrics) -> list[str]:
    return [row["name"] for row in metrics.get("per_class") or []]


def matrix(metrics: _Metrics) -> list[dict[str, Any]]:
    """A row of cells for each class; empty without test pictures, or where there is too much to look at."""
    names = class_names(metrics)
    if not metrics.get("num_test") or len(names) > MOST_CLASSES_IN_MATRIX:
        return []
    rows = zip(names, metrics["confusion"], strict=True)
    return [{"name": name, "cells": _cells(counts, place)} for place, (name, counts) in enumerate(rows)]


def _cells(counts: list[int], right: int) -> list[Cell]:
    total = max(1, sum(counts))
    return [Cell(count, math.ceil(_SHADES * count / total), place == right) for place, count in enumerate(counts)]


def has_long_names(metrics: _Metrics) -> bool:
    """Whether the heads of the columns must stand upright to fit."""
    return any(len(name) > _LONGEST_LEVEL_HEAD for name in class_names(metrics))


def mistakes(metrics: _Metrics, most: int) -> list[Mistake]:
    """The most frequent confusions, the worst first."""
    names, found = class_names(metrics), []
    for right, counts in enumerate(metrics.get("confusion") or []):
        for named, count in enumerate(counts):
            if count and named != right:
                found.append(Mistake(names[right], names[named], count, sum(counts)))
    return heapq.nlargest(most, found, key=lambda mistake: mistake.count)


def by_class(metrics: _Metrics, order: str, wanted: str) -> list[dict[str, Any]]:
    """The rows of the class table whose name holds `wanted`; what is unknown comes last in any order."""
    rows = [row for row in metrics.get("per_class") or [] if wanted.casefold() in row["name"].casefold()]
    column = order.removeprefix("-")
    if column not in _COLUMNS:
        return rows
    known = [row for row in rows if row[column] is not None]
    known.sort(key=lambda row: _sortable(row[column]), reverse=order.startswith("-"))
    return known + [row for row in rows if row[column] is None]


def _sortable(value: Any) -> Any:
    return value.casefold() if isinstance(value, str) else value


def heads(order: str) -> list[dict[str, Any]]:
    """The heads of the class table: what each says, how it is sorted now, and the order that a press asks for."""
    sorted_by = {order.removeprefix("-"): "descending" if order.startswith("-") else "ascending"}
    return [
        {
            "name": name,
            "label": label,
            "sorted": sorted_by.get(name, ""),
            "next": f"-{name}" if order == name else name,
        }
        for name, label in _COLUMNS.items()
    ]


def interval(share: float | None, number: int | None) -> tuple[float, float] | None:
    """Between which shares the truth lies with 95 % confidence (Wilson, 1927); `None` where nothing was counted."""
    if share is None or not number:
        return None
    squared = 1.96**2
    middle = (share + squared / (2 * number)) / (1 + squared / number)
    spread = math.sqrt(share * (1 - share) / number + squared / (4 * number**2)) * 1.96 / (1 + squared / number)
    return max(0.0, middle - spread), min(1.0, middle + spread)
