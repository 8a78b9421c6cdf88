"""Lines of JSON over a pipe."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest

from trainshed.runner.lines import LineWriter, read_lines


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """Both ends of a pipe; what the test closes is closed already."""
    ends = os.pipe()
    yield ends
    for descriptor in ends:
        try:
            os.close(descriptor)
        except OSError:
            continue


def test_messages_arrive_as_they_were_written(pipe: tuple[int, int]) -> None:
    messages = [{"t": "event", "body": {"text": "ö\n\u2028 „Zeile“"}}, {"t": "done", "result": {}}]
    for message in messages:
        LineWriter(pipe[1]).write(message)
    os.close(pipe[1])
    assert list(read_lines(pipe[0])) == messages


def test_a_torn_last_line_is_dropped(pipe: tuple[int, int]) -> None:
    os.write(pipe[1], b'{"t": "event"}\n{"t": "do')
    os.close(pipe[1])
    assert list(read_lines(pipe[0])) == [{"t": "event"}]


def test_lines_longer_than_the_pipe_stay_whole_when_many_threads_write(pipe: tuple[int, int]) -> None:
    writer = LineWriter(pipe[1])
    threads = [
        threading.Thread(target=lambda number=number: writer.write({"from": number, "text": "x" * 200_000}))
        for number in range(4)
    ]
    for thread in threads:
        thread.start()
    reader = read_lines(pipe[0])
    heard = [next(reader) for _ in threads]
    for thread in threads:
        thread.join()
    assert sorted(message["from"] for message in heard) == [0, 1, 2, 3]
    assert {len(message["text"]) for message in heard} == {200_000}


def test_a_reader_that_has_gone_is_no_error(pipe: tuple[int, int]) -> None:
    os.close(pipe[0])
    LineWriter(pipe[1]).write({"t": "event"})


def test_a_float_that_is_no_number_arrives_as_nothing(pipe: tuple[int, int]) -> None:
    LineWriter(pipe[1]).write({"values": [float("nan"), float("inf"), -float("inf"), 0.5]})
    os.close(pipe[1])
    assert list(read_lines(pipe[0])) == [{"values": [None, None, None, 0.5]}]
