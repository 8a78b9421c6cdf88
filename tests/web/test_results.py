"""A model's figures on its page: who is taken for whom, in which order, and what is not known."""

from __future__ import annotations

from typing import Any

import pytest

from trainshed.server.web import results


def _metrics(confusion: list[list[int]], names: list[str] | None = None) -> dict[str, Any]:
    names = names or [f"class {label}" for label in range(len(confusion))]
    rows = []
    for label, name in enumerate(names):
        support, named = sum(confusion[label]), sum(row[label] for row in confusion)
        recall = confusion[label][label] / support if support else None
        rows.append({"name": name, "support": support, "precision": None, "recall": recall, "f1": named / 10})
    return {"num_test": sum(map(sum, confusion)), "per_class": rows, "confusion": confusion}


def test_the_worst_confusions_come_first_and_right_answers_are_none():
    found = results.mistakes(_metrics([[5, 1, 0], [4, 6, 0], [0, 2, 9]], ["cat", "dog", "fox"]), 2)
    assert [(mistake.right, mistake.named, mistake.count, mistake.num_pictures) for mistake in found] == [
        ("dog", "cat", 4, 10),
        ("fox", "dog", 2, 11),
    ]


def test_a_class_without_test_pictures_has_cells_without_shade():
    rows = results.matrix(_metrics([[4, 1], [0, 0]]))
    assert [(cell.count, cell.shade, cell.is_right) for cell in rows[0]["cells"]] == [(4, 4, True), (1, 1, False)]
    assert [cell.shade for cell in rows[1]["cells"]] == [0, 0]


@pytest.mark.parametrize(("num_classes", "is_shown"), [(40, True), (41, False)])
def test_a_table_too_large_to_read_is_left_out(num_classes: int, is_shown: bool):
    one_mistake = [[1] * num_classes for _ in range(num_classes)]
    assert bool(results.matrix(_metrics(one_mistake))) == is_shown


@pytest.mark.parametrize("metrics", [{}, {"accuracy": None, "note": "Nothing was measured here."}])
def test_a_model_without_figures_has_neither_table_nor_mistakes(metrics: dict[str, Any]):
    assert results.matrix(metrics) == results.mistakes(metrics, 5) == results.by_class(metrics, "f1", "") == []


def test_unknown_figures_come_last_whichever_way_the_table_is_sorted():
    metrics = _metrics([[1, 1, 0], [0, 0, 0], [0, 0, 3]])
    assert [row["recall"] for row in results.by_class(metrics, "recall", "")] == [0.5, 1.0, None]
    assert [row["recall"] for row in results.by_class(metrics, "-recall", "")] == [1.0, 0.5, None]


def test_a_name_is_found_by_a_part_of_it_in_any_case():
    metrics = _metrics([[1, 0], [0, 1]], ["German Shepherd", "猫"])
    assert [row["name"] for row in results.by_class(metrics, "", "shep")] == ["German Shepherd"]
    assert [row["name"] for row in results.by_class(metrics, "no such column", "猫")] == ["猫"]


def test_a_second_press_on_a_head_turns_the_order_round():
    pressed_once = {head["name"]: head for head in results.heads("f1")}
    assert (pressed_once["f1"]["sorted"], pressed_once["f1"]["next"]) == ("ascending", "-f1")
    assert (pressed_once["recall"]["sorted"], pressed_once["recall"]["next"]) == ("", "recall")
    assert next(head for head in results.heads("-f1") if head["name"] == "f1")["next"] == "f1"


def test_few_pictures_leave_a_wide_interval_and_none_leave_no_interval():
    low, high = results.interval(0.9, 10) or (0, 0)
    assert (round(low, 3), round(high, 3)) == (0.596, 0.982)
    assert results.interval(1.0, 10_000) == pytest.approx((0.9996, 1.0), abs=1e-4)
    assert results.interval(None, 10) is results.interval(0.9, 0) is None
