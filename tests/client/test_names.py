"""What a person typed, and what they mean by it."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from trainshed.client.names import pick
from trainshed.errors import InvalidInput, NotFound


@dataclass
class Thing:
    id: str
    name: str


THINGS = [Thing("abc1", "roses"), Thing("abd2", "roses red"), Thing("x3", "tulips"), Thing("tulips", "odd")]


@pytest.mark.parametrize(
    ("wanted", "meant"),
    [
        ("abc1", "abc1"),
        ("roses", "abc1"),
        ("roses r", "abd2"),
        ("abd", "abd2"),
        ("tulips", "tulips"),
        ("tuli", None),
    ],
)
def test_an_id_goes_before_a_name_and_a_whole_one_before_a_beginning(wanted: str, meant: str | None) -> None:
    if meant:
        assert pick(THINGS, wanted, "dataset").id == meant
    else:
        with pytest.raises(InvalidInput, match="could be"):
            pick(THINGS, wanted, "dataset")


def test_an_ambiguous_beginning_lists_whom_it_could_mean() -> None:
    with pytest.raises(InvalidInput, match=r"'ab' could be 'roses' \(abc1\), 'roses red' \(abd2\)\."):
        pick(THINGS, "ab", "dataset")


def test_two_of_the_same_name_are_told_by_their_ids() -> None:
    with pytest.raises(InvalidInput, match=r"'a' could be 'a' \(1\), 'a' \(2\)"):
        pick([Thing("1", "a"), Thing("2", "a")], "a", "model")


def test_a_long_list_of_candidates_is_cut() -> None:
    with pytest.raises(InvalidInput, match="and 90 others"):
        pick([Thing(f"id{number}", "a") for number in range(100)], "id", "model")


def test_nothing_found_tells_what_there_is() -> None:
    with pytest.raises(NotFound, match="no dataset 'lilies'") as caught:
        pick(THINGS[:1], "lilies", "dataset")
    assert "'roses' (abc1)" in caught.value.hint
    with pytest.raises(NotFound) as caught:
        pick(list[Thing](), "", "dataset")
    assert "no dataset at all yet" in caught.value.hint


def test_an_empty_word_means_nothing() -> None:
    with pytest.raises(NotFound):
        pick(THINGS, "", "dataset")
