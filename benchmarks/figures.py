"""How every benchmark tells its figures: a table for people, one JSON line per figure for machines."""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """One measured figure beside its anchor, measured in the same run. `None`: there was nothing to compare with."""

    id: str
    name: str
    ours: float
    anchor: float | None
    anchor_name: str
    ratio: float | None
    target: str
    holds: bool | None
    unit: str = ""
    interval: tuple[float, float] | None = None


def arguments(description: str) -> argparse.Namespace:
    """The command line of a benchmark: `--json` and `--pairs`."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", action="store_true", help="one JSON line per figure instead of a table")
    parser.add_argument("--pairs", type=int, default=12, help="alternating pairs per figure (12 or more count)")
    return parser.parse_args()


def print_figures(figures: Sequence[Figure], as_json: bool) -> None:
    """Print the figures; the table says which machine they come from."""
    if as_json:
        for figure in figures:
            print(json.dumps(_line(figure)), flush=True)
        return
    head = ["id", "figure", "ours", "anchor", "", "ratio", "95 % interval", "target", "holds"]
    rows = [head, *map(_cells, figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    print(f"On {os.cpu_count()} x {platform.processor() or platform.machine()}, Python {platform.python_version()}:")
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _line(figure: Figure) -> dict[str, object]:
    keys = ("id", "name", "ours", "anchor", "anchor_name", "ratio", "target", "holds", "unit", "interval")
    return {key: _rounded(getattr(figure, key)) for key in keys}


def _rounded(value: object) -> object:
    if isinstance(value, tuple):
        return [_rounded(item) for item in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value


def _cells(figure: Figure) -> list[str]:
    low_high = figure.interval
    return [
        figure.id,
        figure.name,
        _told(figure.ours, figure.unit),
        _told(figure.anchor, figure.unit),
        figure.anchor_name,
        _told(figure.ratio),
        f"{low_high[0]:.3f} .. {low_high[1]:.3f}" if low_high else "",
        figure.target,
        {True: "yes", False: "NO", None: ""}[figure.holds],
    ]


def _told(value: float | None, unit: str = "") -> str:
    return "" if value is None else f"{value:,.4g} {unit}".rstrip()


def median_interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, tuple[float, float]]:
    """The median, and an interval that holds the true one with at least this confidence.

    The interval is between order statistics (a sign test turned round), so it assumes no distribution.
    """
    ordered, count = sorted(values), len(values)
    rank = 0
    while 2 * sum(math.comb(count, k) for k in range(rank + 2)) / 2**count <= 1 - confidence and rank < count // 2 - 1:
        rank += 1
    return statistics.median(ordered), (ordered[rank], ordered[-1 - rank])


def alternate(
    ours: Callable[[], float], anchor: Callable[[], float], num_pairs: int
) -> tuple[list[float], list[float]]:
    """Measure both in turns, each time the other one first, after one unmeasured round of each."""
    ours()
    anchor()
    results: tuple[list[float], list[float]] = ([], [])
    for pair in range(num_pairs):
        for which in (0, 1) if pair % 2 == 0 else (1, 0):
            results[which].append((ours, anchor)[which]())
    return results
