"""Divide a dataset version into train, validation and test: seeded, stratified by class, groups kept whole.

The place of a picture depends on the seed and on hashes, never on the order of rows or the machine.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b

from trainshed.errors import DatasetUnfit, InvalidInput
from trainshed.schemas.pictures import ImageClass, ManifestRow, Split, SplitPlan

_ORDER: tuple[Split, ...] = ("train", "validation", "test")
_TINY_CLASS_PICTURES = 10
_MOST_NAMED = 5


@dataclass(eq=False)
class _Unit:
    """Pictures that stay together: of one group, or with the same bytes. `rank` orders them by the seed."""

    rows: list[int]
    classes: Counter[str]
    rank: bytes
    split: Split = "train"


def split(
    rows: Sequence[ManifestRow], plan: SplitPlan, classes: Sequence[ImageClass] = ()
) -> tuple[list[ManifestRow], list[str]]:
    """The rows, in their order, each with its split, and warnings in words, where `classes` gives the names.

    Pictures of one group or with the same sha256 are never on both sides. Every class has a picture in train;
    with three or more units (groups, or pictures without one) of its own, also in each other split of the
    plan; with two, in one of them. Raises `DatasetUnfit` when the rows cannot be divided, `InvalidInput` when
    the plan leaves nothing to train on.
    """
    names = {row.class_id: row.class_id for row in rows} | {each.id: each.name for each in classes}
    _refuse_unfit(rows, plan, names)
    units = _units(rows, plan.seed)
    _assign(units, plan)
    _give_every_class_its_share(units, plan)
    splits: dict[int, Split] = {index: unit.split for unit in units for index in unit.rows}
    divided = [row.model_copy(update={"split": splits[index]}) for index, row in enumerate(rows)]
    _refuse_empty_split(divided, plan)
    return divided, _warnings(divided, units, plan, names)


def _refuse_unfit(rows: Sequence[ManifestRow], plan: SplitPlan, names: dict[str, str]) -> None:
    if plan.validation + plan.test >= 1:
        raise InvalidInput(
            f"The split gives {plan.validation:g} to validation and {plan.test:g} to test, which leaves "
            "nothing to train on; both together must be less than 1."
        )
    if not rows:
        raise DatasetUnfit("The dataset has no pictures.", hint="Import some: `trainshed dataset import FOLDER`.")
    class_ids = {row.class_id for row in rows}
    if len(class_ids) == 1:
        raise DatasetUnfit(
            f"All {len(rows)} pictures are of one class, '{names[class_ids.pop()]}'; a classifier needs at least two.",
            hint="Import pictures of another class, in a folder of its own beside the first.",
        )


def _refuse_empty_split(rows: Sequence[ManifestRow], plan: SplitPlan) -> None:
    found = {row.split for row in rows}
    missing = [part for part in _shares(plan) if part not in found]
    if missing:
        raise DatasetUnfit(
            f"{len(rows)} pictures are too few to divide: {' and '.join(missing)} would be empty.",
            hint="Add pictures (a class needs at least 3, better 20, neither copies nor of one group), or "
            f"set the share of {' and '.join(missing)} to 0.",
        )


def _units(rows: Sequence[ManifestRow], seed: int) -> list[_Unit]:
    """Rows joined by a shared group or sha256 (union-find), in seeded order."""
    parents = list(range(len(rows)))

    def root(index: int) -> int:
        while parents[index] != index:
            parents[index] = index = parents[parents[index]]
        return index

    first_of: dict[tuple[str, str], int] = {}
    for index, row in enumerate(rows):
        for key in (("sha256", row.sha256), ("group", row.group)):
            if key[1]:
                parents[root(index)] = root(first_of.setdefault(key, index))
    members = defaultdict(list)
    for index in range(len(rows)):
        members[root(index)].append(index)
    units = [
        _Unit(
            indices,
            Counter(rows[i].class_id for i in indices),
            _rank(seed, min(rows[i].sha256 for i in indices)),
        )
        for indices in members.values()
    ]
    return sorted(units, key=lambda unit: unit.rank)


def _rank(seed: int, sha256: str) -> bytes:
    return blake2b(sha256.encode(), key=f"trainshed split {seed}".encode(), digest_size=16).digest()


def _assign(units: list[_Unit], plan: SplitPlan) -> None:
    """In seeded order, each unit to the first of test, validation, train that lacks more than half its size.

    Lacking is counted in pictures of the unit's rarest class. A few pictures more or less move few others.
    """
    totals: Counter[str] = Counter()
    for unit in units:
        totals.update(unit.classes)
    lacking = {
        (class_id, part): round(total * share)
        for class_id, total in totals.items()
        for part, share in _shares(plan).items()
    }
    for unit in units:
        rarest = min(unit.classes, key=lambda class_id: (totals[class_id], class_id))
        fitting = [part for part in _shares(plan) if lacking[rarest, part] > unit.classes[rarest] / 2]
        if fitting:
            unit.split = fitting[-1]
            for class_id, count in unit.classes.items():
                lacking[class_id, unit.split] -= count


def _shares(plan: SplitPlan) -> dict[Split, float]:
    """The splits beside train that the plan asks for."""
    shares: dict[Split, float] = {"validation": plan.validation, "test": plan.test}
    return {part: share for part, share in shares.items() if share > 0}


def _give_every_class_its_share(units: list[_Unit], plan: SplitPlan) -> None:
    """Move single units until no class lacks a split that it has units enough for: train first."""
    units_of: defaultdict[str, list[_Unit]] = defaultdict(list)
    for unit in sorted(units, key=lambda each: len(each.rows)):  # the smallest are moved first
        for class_id in unit.classes:
            units_of[class_id].append(unit)
    num_in = Counter((class_id, unit.split) for unit in units for class_id in unit.classes)
    for part in ("train", *_shares(plan)):
        for class_id in sorted(units_of, key=lambda each: (len(units_of[each]), each)):
            if not num_in[class_id, part]:
                _move_one(units_of[class_id], part, num_in)


def _move_one(candidates: Iterable[_Unit], part: Split, num_in: Counter[tuple[str, Split]]) -> None:
    """Move to `part` the first unit whose classes all keep another where it was; into train even without."""
    for unit in candidates:
        if part == "train" or all(num_in[class_id, unit.split] > 1 for class_id in unit.classes):
            for class_id in unit.classes:
                num_in[class_id, unit.split] -= 1
                num_in[class_id, part] += 1
            unit.split = part
            return


def _warnings(rows: Sequence[ManifestRow], units: list[_Unit], plan: SplitPlan, names: dict[str, str]) -> list[str]:
    return [
        *_about_classes(rows, names),
        *_about_missing_shares(rows, plan, names),
        *_about_copies(rows, names),
    ]


def _about_classes(rows: Sequence[ManifestRow], names: dict[str, str]) -> list[str]:
    totals = Counter(row.class_id for row in rows)
    warnings = []
    if empty := [names[class_id] for class_id in names if not totals[class_id]]:
        warnings.append(f"Without any picture, so never predicted: {_listed(empty)}.")
    if single := [names[class_id] for class_id in sorted(totals) if totals[class_id] == 1]:
        warnings.append(f"With one picture only, which is trained on and never tested: {_listed(single)}.")
    if tiny := [names[class_id] for class_id in sorted(totals) if 1 < totals[class_id] < _TINY_CLASS_PICTURES]:
        warnings.append(
            f"With fewer than {_TINY_CLASS_PICTURES} pictures, so their figures say little: {_listed(tiny)}."
        )
    return warnings


def _about_missing_shares(rows: Sequence[ManifestRow], plan: SplitPlan, names: dict[str, str]) -> list[str]:
    totals = Counter(row.class_id for row in rows)
    found = {(row.class_id, row.split) for row in rows}
    warnings = []
    for part in ("train", *_shares(plan)):
        missing = [names[each] for each in sorted(totals) if totals[each] > 1 and (each, part) not in found]
        if missing:
            warnings.append(f"Without a picture in {part}, being few or sharing groups or copies: {_listed(missing)}.")
    return warnings


def _about_copies(rows: Sequence[ManifestRow], names: dict[str, str]) -> list[str]:
    rows_of: defaultdict[str, list[ManifestRow]] = defaultdict(list)
    for row in rows:
        rows_of[row.sha256].append(row)
    torn = [sorted(same, key=lambda row: row.name) for same in rows_of.values() if len({r.class_id for r in same}) > 1]
    torn.sort(key=lambda same: same[0].name)
    if not torn:
        return []
    examples = "; ".join(
        " = ".join(f"'{row.name}' ({names[row.class_id]})" for row in same[:3]) for same in torn[:_MOST_NAMED]
    )
    more = f" and {len(torn) - _MOST_NAMED:,} more" if len(torn) > _MOST_NAMED else ""
    return [f"In more than one class, byte for byte, which cannot be learnt: {examples}{more}."]


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(f"'{name}'" for name in names[:_MOST_NAMED]) + more
