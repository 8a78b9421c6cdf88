from __future__ import annotations

from collections import Counter, defaultdict
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainshed.errors import DatasetUnfit, InvalidInput
from trainshed.pictures.splits import split
from trainshed.schemas import ImageClass, ManifestRow, SplitPlan

CLASSES = [ImageClass(id="k0", name="cat"), ImageClass(id="k1", name="dog"), ImageClass(id="k2", name="猫")]


def row(number: int, class_id: str, *, content: int | None = None, group: str = "") -> ManifestRow:
    content = number if content is None else content
    return ManifestRow(
        image_id=f"i{number}",
        sha256=sha256(str(content).encode()).hexdigest(),
        name=f"{class_id}/{number}.png",
        width=8,
        height=8,
        class_id=class_id,
        group=group,
    )


def many(**counts: int) -> list[ManifestRow]:
    numbers = iter(range(10**6))
    return [row(next(numbers), class_id) for class_id, count in counts.items() for _ in range(count)]


def splits_of(rows: list[ManifestRow]) -> dict[str, str]:
    return {each.image_id: each.split for each in rows}


def counts(rows: list[ManifestRow], class_id: str) -> dict[str, int]:
    return dict(Counter(each.split for each in rows if each.class_id == class_id))


def test_each_class_is_divided_by_the_shares() -> None:
    divided, warnings = split(many(k0=1000, k1=200, k2=20), SplitPlan(validation=0.15, test=0.1), CLASSES)
    assert counts(divided, "k0") == {"train": 750, "validation": 150, "test": 100}
    assert counts(divided, "k1") == {"train": 150, "validation": 30, "test": 20}
    assert counts(divided, "k2") == {"train": 15, "validation": 3, "test": 2}
    assert warnings == []


def test_the_places_are_for_ever() -> None:
    """Stored versions name a seed: its split must not change with the code, the machine or Python."""
    divided, _ = split(many(k0=6, k1=5), SplitPlan(validation=0.2, test=0.2, seed=7))
    assert " ".join(each.split for each in divided) == (
        "train train test train train validation train train train test validation"
    )


def test_the_order_of_rows_does_not_matter_and_is_kept() -> None:
    rows = [*many(k0=50, k1=30), *(row(1000 + i, "k1", group=f"g{i % 4}") for i in range(20))]
    divided, _ = split(rows, SplitPlan())
    backwards, _ = split(rows[::-1], SplitPlan())
    assert [each.image_id for each in divided] == [each.image_id for each in rows]
    assert splits_of(divided) == splits_of(backwards)


def test_another_seed_gives_another_split() -> None:
    rows = many(k0=100, k1=100)
    assert splits_of(split(rows, SplitPlan(seed=1))[0]) != splits_of(split(rows, SplitPlan(seed=2))[0])


def test_a_few_more_pictures_move_few_others() -> None:
    rows = many(k0=1000, k1=1000)
    before = splits_of(split(rows, SplitPlan())[0])
    after = splits_of(split([*rows, *(row(5000 + i, "k0") for i in range(10))], SplitPlan())[0])
    assert sum(after[image_id] != before[image_id] for image_id in before) <= 20


def test_no_share_for_validation_or_test_means_none() -> None:
    divided, _ = split(many(k0=2, k1=1), SplitPlan(validation=0, test=0))
    assert {each.split for each in divided} == {"train"}
    divided, _ = split(many(k0=30, k1=30), SplitPlan(validation=0.5, test=0))
    assert counts(divided, "k0") == {"train": 15, "validation": 15}


@st.composite
def datasets(draw: st.DrawFn) -> list[ManifestRow]:
    num_rows = draw(st.integers(2, 40))
    num_classes = draw(st.integers(2, 6))
    return [
        row(
            number,
            f"k{draw(st.integers(0, num_classes - 1))}",
            content=draw(st.one_of(st.just(number), st.integers(0, 8))),
            group=draw(st.sampled_from(["", "", "", "a", "b", "c"])),
        )
        for number in range(num_rows)
    ]


def own_units(rows: list[ManifestRow]) -> dict[str, int]:
    """How many units (by group, by copies) of each class hold that class only; a second way to count them."""
    sets: list[set[int]] = []
    for number, each in enumerate(rows):
        same = {
            other
            for other, that in enumerate(rows)
            if that.sha256 == each.sha256 or (each.group and that.group == each.group)
        }
        joined = same | {number}
        apart = []
        for known in sets:
            if known & joined:
                joined |= known
            else:
                apart.append(known)
        sets = [*apart, joined]
    classes = [{rows[number].class_id for number in unit} for unit in sets]
    return Counter(next(iter(unit)) for unit in classes if len(unit) == 1)


@settings(max_examples=100, deadline=None)
@given(datasets(), st.sampled_from([0.0, 0.1, 0.3, 0.45]), st.sampled_from([0.0, 0.15, 0.4]), st.integers(0, 3))
def test_whatever_the_dataset_the_promises_hold(
    rows: list[ManifestRow], validation: float, test: float, seed: int
) -> None:
    plan = SplitPlan(validation=validation, test=test, seed=seed)
    wanted = {"train"} | {part for part, share in (("validation", validation), ("test", test)) if share}
    own = own_units(rows)
    try:
        divided, warnings = split(rows, plan)
    except DatasetUnfit:
        assert len({each.class_id for each in rows}) < 2 or all(own[class_id] < 3 for class_id in own)
        return
    found = defaultdict(set)
    for each in divided:
        found[each.class_id].add(each.split)
        assert each.split in wanted
    for key in ("group", "sha256"):
        sides = defaultdict(set)
        for each in divided:
            sides[getattr(each, key)].add(each.split)
        sides.pop("", None)
        assert all(len(each) == 1 for each in sides.values())
    for class_id, splits in found.items():
        assert "train" in splits
        assert own[class_id] < 3 or splits == wanted
        if splits != wanted:
            assert any(f"'{class_id}'" in warning for warning in warnings)
    assert [each.model_copy(update={"split": "train"}) for each in divided] == rows
    shuffled, _ = split(sorted(rows, key=lambda each: each.sha256), plan)
    assert splits_of(shuffled) == splits_of(divided)


def test_a_group_far_larger_than_its_share_goes_to_train() -> None:
    film = [row(1000 + i, "k0", group="film") for i in range(90)]
    for seed in range(10):
        divided, _ = split([*film, *many(k0=10, k1=40)], SplitPlan(seed=seed))
        assert {each.split for each in divided if each.group} == {"train"}
        assert counts(divided, "k0").keys() == {"train", "validation", "test"}


def test_no_pictures_are_unfit() -> None:
    with pytest.raises(DatasetUnfit, match=r"has no pictures") as caught:
        split([], SplitPlan())
    assert "dataset import" in caught.value.hint


def test_one_class_is_unfit() -> None:
    with pytest.raises(DatasetUnfit, match=r"All 12 pictures are of one class, 'cat'; .* at least two"):
        split(many(k0=12), SplitPlan(), CLASSES)


def test_two_pictures_are_unfit_with_what_to_do() -> None:
    with pytest.raises(DatasetUnfit, match=r"2 pictures are too few .* validation and test would") as caught:
        split(many(k0=1, k1=1), SplitPlan())
    assert "at least 3" in caught.value.hint and "to 0" in caught.value.hint


def test_a_plan_that_leaves_nothing_to_train_on_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"0.6 to validation and 0.4 to test"):
        split(many(k0=10, k1=10), SplitPlan(validation=0.6, test=0.4))


def test_a_class_with_one_picture_is_trained_on_and_named() -> None:
    divided, warnings = split([*many(k0=30, k1=30), row(99, "k2")], SplitPlan(), CLASSES)
    assert counts(divided, "k2") == {"train": 1}
    assert warnings == ["With one picture only, which is trained on and never tested: '猫'."]


def test_tiny_and_empty_classes_are_named() -> None:
    _, warnings = split(many(k0=30, k1=9), SplitPlan(), CLASSES)
    assert warnings == [
        "Without any picture, so never predicted: '猫'.",
        "With fewer than 10 pictures, so their figures say little: 'dog'.",
    ]
    _, warnings = split(many(k0=30, k1=2), SplitPlan(), CLASSES[:2])
    assert warnings[-1] == "Without a picture in test, being few or sharing groups or copies: 'dog'."


def test_the_same_picture_in_two_classes_is_named_and_stays_on_one_side() -> None:
    copies = [row(number, class_id, content=777) for number, class_id in ((90, "k0"), (91, "k1"), (92, "k0"))]
    rows = [*many(k0=30, k1=30), *copies]
    divided, warnings = split(rows, SplitPlan(), CLASSES[:2])
    assert len({each.split for each in divided[-3:]}) == 1
    assert warnings == [
        "In more than one class, byte for byte, which cannot be learnt: "
        "'k0/90.png' (cat) = 'k0/92.png' (cat) = 'k1/91.png' (dog)."
    ]
