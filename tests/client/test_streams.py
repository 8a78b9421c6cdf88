"""Server-sent events, whatever way they are cut into chunks."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainshed.client.streams import Message, lines, messages


def read(*chunks: bytes) -> list[Message]:
    return list(messages(chunks))


def test_a_message_has_its_kind_data_and_id() -> None:
    assert read(b"id: 7\nevent: job\ndata: {}\n\n") == [Message("job", "{}", "7")]


def test_data_in_several_lines_is_one_message() -> None:
    [message] = read(b"data: one\ndata:two\ndata\ndata:  three\n\n")

    assert message == Message("message", "one\ntwo\n\n three", "")


def test_comments_are_told_so_that_a_reader_knows_that_the_line_is_alive() -> None:
    assert [message.kind for message in read(b": still here\n\n:\n\n")] == ["comment", "comment"]


def test_the_id_lasts_until_another_one_comes() -> None:
    ids = [message.last_id for message in read(b"id: 1\ndata: a\n\ndata: b\n\nid: 3\ndata: c\n\nid\ndata: d\n\n")]

    assert ids == ["1", "1", "3", ""]


def test_an_id_with_a_null_is_ignored_and_an_unknown_field_too() -> None:
    assert read(b"id: 1\nid: 2\x00\ncolour: red\ndata: a\n\n") == [Message("message", "a", "1")]


def test_retry_is_in_milliseconds_and_must_be_a_number() -> None:
    retries = [message.retry_seconds for message in read(b"retry: soon\ndata: a\n\nretry: 1500\ndata: b\n\n")]

    assert retries == [None, 1.5]


def test_an_event_without_data_is_none_and_its_kind_is_forgotten() -> None:
    assert read(b"event: job\n\ndata: a\n\n") == [Message("message", "a", "")]


def test_an_unfinished_message_at_the_end_is_dropped() -> None:
    assert read(b"data: whole\n\ndata: half\n") == [Message("message", "whole", "")]


def test_only_cr_lf_and_crlf_end_a_line() -> None:
    text = "data: a\u2028b\u0085c\x0bd\rdata: e\r\n\r\n"

    assert [message.data for message in read(text.encode())] == ["a\u2028b\u0085c\x0bd\ne"]


def test_a_byte_order_mark_at_the_start_is_no_part_of_the_first_field() -> None:
    assert read("\ufeffdata: a\n\n".encode()) == [Message("message", "a", "")]


@pytest.mark.parametrize("chunks", [(b"a\r", b"\nb\n"), (b"a", b"\r\n", b"b\n"), (b"a\r", b"", b"\nb\n")])
def test_a_crlf_between_two_chunks_is_one_end(chunks: tuple[bytes, ...]) -> None:
    assert list(lines(chunks)) == ["a", "b"]


def test_a_lone_lf_after_a_cut_crlf_is_an_end_of_its_own() -> None:
    assert list(lines([b"a\r", b"\n", b"\nb\n"])) == ["a", "", "b"]


@given(text=st.text("ab:\r\n é\u2028", max_size=40), cuts=st.lists(st.integers(0, 80), max_size=10))
def test_any_cut_into_chunks_gives_the_same_lines(text: str, cuts: list[int]) -> None:
    data = text.encode()
    ends = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    chunks = [data[start:end] for start, end in pairwise(ends)]

    assert list(lines(chunks)) == list(lines([data]))
    expected = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")[:-1]
    assert list(lines([data])) == expected
