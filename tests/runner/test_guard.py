"""The guard as a real process with a real child, against the attempt protocol of the fake server."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from runner.attempt_server import AttemptServer
from runner.processes import GuardProcess, is_running, wait_for_end
from trainshed.errors import (
    AttemptSuperseded,
    Conflict,
    Forbidden,
    InvalidInput,
    NotFound,
    StateConflict,
    TooManyRequests,
    TrainshedError,
    Unavailable,
)
from trainshed.schemas import EndReport

Begin = Callable[..., tuple[AttemptServer, GuardProcess]]


@pytest.fixture(scope="module")
def next_guard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], GuardProcess]]:
    """Gives a warm guard and starts to warm the next two, as the executor does: warming takes most of a test's time."""
    spares: list[GuardProcess] = []

    def next_guard() -> GuardProcess:
        while len(spares) < 3:
            spares.append(GuardProcess(tmp_path_factory.mktemp("guard")))
        return spares.pop(0)

    yield next_guard
    for spare in spares:
        spare.end()


@pytest.fixture
def begin(next_guard: Callable[[], GuardProcess]) -> Iterator[Begin]:
    """Starts a server with a job that does what its name says; gives it with a guard that waits for the order."""
    with ExitStack() as closing:

        def begin(do: str, *, lease_seconds: float = 1.5, **spec: Any) -> tuple[AttemptServer, GuardProcess]:
            server = closing.enter_context(AttemptServer(lease_seconds=lease_seconds, do=do, **spec))
            return server, closing.enter_context(next_guard())

        yield begin


def end_of(server: AttemptServer, guard: GuardProcess) -> EndReport:
    """The one end that the guard has told."""
    assert guard.wait() == 0, guard.log.read_text()
    assert not server.published
    (end,) = server.ends
    return end


def reason_of(end: EndReport) -> dict[str, str]:
    assert end.reason is not None
    return end.reason.model_dump()


# The beginning


def test_what_a_warm_child_has_printed_is_told_after_the_first_renewal_and_not_before(tmp_path: Path) -> None:
    """An attempt holds its job from its first renewal on: whatever it told earlier would be refused as superseded."""
    with AttemptServer(do="publish") as server, GuardProcess(tmp_path, greeting="printed while warm") as guard:
        server.refusals["/events"] = AttemptSuperseded
        server.after["POST /renewals"] = lambda: server.refusals.pop("/events", None)
        server.gates["/renewals"] = threading.Event()
        guard.order(server)
        server.wait_until_asked("/renewals")
        threading.Timer(0.5, server.gates["/renewals"].set).start()
        assert guard.wait() == 0, guard.log.read_text()
        assert len(server.published) == 1
        assert server.wait_for("log")["text"] == "printed while warm"


# The end that counts


def test_work_that_is_done_is_published_with_its_files_and_leaves_nothing(begin: Begin) -> None:
    server, guard = begin("publish")
    guard.order(server)
    assert guard.wait() == 0
    (published,) = server.published
    assert server.blobs[published.artifacts["made.txt"]] == b"made by the child"
    assert not server.ends
    assert not guard.work_folder.exists()
    assert not is_running(published.result["pid"])


def test_a_publication_whose_answer_was_lost_is_said_again(begin: Begin) -> None:
    server, guard = begin("publish")
    server.losses = ["/publication"]
    guard.order(server)
    assert guard.wait() == 0
    first, again = server.published
    assert first == again and not server.ends


def test_a_publication_that_comes_after_a_cancel_ends_as_cancelled(begin: Begin) -> None:
    server, guard = begin("publish")
    server.refusals["/publication"] = StateConflict
    guard.order(server)
    assert end_of(server, guard).end == "cancelled"


def test_a_publication_that_is_refused_fails_with_the_servers_reason(begin: Begin) -> None:
    server, guard = begin("publish")
    server.refusals["/publication"] = InvalidInput
    guard.order(server)
    end = end_of(server, guard)
    assert end.end == "failed" and reason_of(end)["code"] == "invalid_input"


# The lease


def test_a_superseded_attempt_is_killed_and_says_nothing_more(begin: Begin) -> None:
    server, guard = begin("ignore")
    guard.order(server)
    child = guard.child_pid()
    server.is_superseded = True
    wait_for_end(child)
    assert guard.wait() == 0
    assert not server.ends and not server.published and server.count("/end") == 0
    assert not guard.work_folder.exists()


def test_a_superseded_attempt_never_starts(begin: Begin) -> None:
    server, guard = begin("publish")
    server.is_superseded = True
    guard.order(server)
    assert guard.wait() == 0
    assert server.count("/renewals") == 1 and server.count("/assignment") == 0


def test_a_story_that_is_superseded_ends_the_attempt_too(begin: Begin) -> None:
    server, guard = begin("ignore")
    server.refusals["/events"] = AttemptSuperseded
    guard.order(server)
    assert guard.wait() == 0
    assert not server.ends and server.count("/events") == 1


def test_no_other_refusal_of_a_renewal_hurts_the_child(begin: Begin) -> None:
    server, guard = begin("work_until_released")
    server.gates["/rows"] = threading.Event()
    guard.order(server)
    child = guard.child_pid()
    for refusal in (Conflict, StateConflict, Forbidden, NotFound, InvalidInput, TooManyRequests, Unavailable):
        renewals = server.count("/renewals")
        server.refusals["/renewals"] = refusal
        server.wait_until(lambda before=renewals: server.count("/renewals") >= before + 2)
        assert is_running(child), f"{refusal.code} has ended the child"
    server.refusals.clear()
    server.gates["/rows"].set()
    assert guard.wait() == 0
    assert [published.result["pid"] for published in server.published] == [child]


def test_a_first_renewal_that_fails_is_tried_again(begin: Begin) -> None:
    server, guard = begin("publish")
    for refusal in (Unavailable, TrainshedError):
        renewals = server.count("/renewals")
        server.refusals["/renewals"] = refusal
        if not renewals:
            guard.order(server)
        server.wait_until(lambda before=renewals: server.count("/renewals") >= before + 2)
    assert server.count("/assignment") == 0, "it started without a lease"
    server.refusals.clear()
    assert guard.wait() == 0 and len(server.published) == 1


def test_a_server_that_is_away_for_a_while_does_not_hurt_the_child(begin: Begin) -> None:
    server, guard = begin("count")
    guard.order(server)
    child = guard.child_pid()
    server.wait_for("metric")
    with server.away(num_requests=8):
        pass
    assert guard.wait() == 0
    numbers = [event["body"]["number"] for event in server.events if event["kind"] == "metric"]
    assert numbers == list(range(100)), "the story has a gap, or a line twice"
    assert [published.result["pid"] for published in server.published] == [child]
    assert not server.ends


def test_a_hurried_guard_asks_for_news_at_once(begin: Begin) -> None:
    server, guard = begin("ignore", lease_seconds=600)
    guard.order(server)
    guard.child_pid()
    began = time.monotonic()
    for _ in range(10):
        renewals = server.count("/renewals")
        guard.signal(signal.SIGUSR1)
        server.wait_until(lambda before=renewals: server.count("/renewals") > before)
    assert time.monotonic() - began < 10, "ten renewals at their usual pace take 20 seconds"


# What is asked of it


def test_a_cancelled_attempt_stops_and_is_cancelled(begin: Begin) -> None:
    server, guard = begin("wait")
    guard.order(server)
    guard.child_pid()
    server.cancel_requested = True
    assert end_of(server, guard).end == "cancelled"


def test_a_pause_waits_for_the_checkpoint(begin: Begin) -> None:
    server, guard = begin("save_when_asked")
    guard.order(server)
    guard.child_pid()
    server.pause_requested = True
    assert end_of(server, guard).end == "paused"
    (saved,) = server.saved
    assert saved.step == 7 and server.blobs[saved.sha256] == b"all that was learned"
    routes = [asked.path.rpartition("/")[2] for asked in server.asked]
    assert routes.index("checkpoint") < routes.index("end")


def test_a_terminated_guard_says_that_it_was_stopped(begin: Begin) -> None:
    server, guard = begin("wait")
    guard.order(server)
    guard.child_pid()
    guard.signal(signal.SIGTERM)
    assert end_of(server, guard).end == "stopped"


def test_work_that_does_not_listen_is_killed_and_a_cancel_overrides_a_pause(begin: Begin) -> None:
    server, guard = begin("ignore")
    guard.order(server)
    child = guard.child_pid()
    server.pause_requested = True
    renewals = server.count("/renewals")
    server.wait_until(lambda: server.count("/renewals") >= renewals + 2)
    assert is_running(child), "a pause has a minute's time"
    server.cancel_requested = True
    wait_for_end(child)
    assert end_of(server, guard).end == "cancelled"


def test_work_that_was_done_when_it_was_paused_is_published(begin: Begin) -> None:
    server, guard = begin("finish_when_asked")
    guard.order(server)
    guard.child_pid()
    server.pause_requested = True
    assert guard.wait() == 0
    assert len(server.published) == 1 and not server.ends


def test_work_that_was_done_when_it_was_cancelled_is_not_published(begin: Begin) -> None:
    server, guard = begin("finish_when_asked")
    guard.order(server)
    guard.child_pid()
    server.cancel_requested = True
    assert end_of(server, guard).end == "cancelled" and server.count("/publication") == 0


def test_a_stop_in_the_middle_of_an_outage_is_no_crash(begin: Begin) -> None:
    server, guard = begin("ask_always")
    server.refusals["/rows"] = Unavailable
    guard.order(server)
    guard.child_pid()
    server.wait_until(lambda: server.count("/rows") >= 2)
    guard.signal(signal.SIGTERM)
    assert end_of(server, guard).end == "stopped"


# How each other end is named


def test_an_exit_code_is_named_with_the_last_words(begin: Begin) -> None:
    server, guard = begin("exit_with_code")
    guard.order(server)
    end = end_of(server, guard)
    assert end.end == "crashed" and reason_of(end)["code"] == "exit_code"
    assert reason_of(end)["message"] == "The work process ended with exit code 7: the last words"
    assert end.exit["tail"] == ["the first line", "the last words"]
    assert [event["body"]["text"] for event in server.events] == end.exit["tail"], "what it prints is its log"


@pytest.mark.parametrize(
    ("number", "code", "word"),
    [
        (signal.SIGKILL, "killed", "ran out of memory"),
        (signal.SIGSEGV, "signal", "SIGSEGV"),
        (signal.SIGRTMIN + 3, "signal", "the signal 37"),
    ],
)
def test_a_signal_is_named(begin: Begin, number: int, code: str, word: str) -> None:
    server, guard = begin("end_by_signal", number=int(number))
    guard.order(server)
    end = end_of(server, guard)
    assert end.end == "crashed" and reason_of(end)["code"] == code
    assert word in reason_of(end)["message"]


def test_a_lack_of_memory_is_named_with_its_place_and_counts_as_a_crash(begin: Begin) -> None:
    server, guard = begin("fail", error="MemoryError")
    guard.order(server)
    end = end_of(server, guard)
    assert end.end == "crashed" and reason_of(end)["code"] == "out_of_memory"
    assert "smaller batch size" in reason_of(end)["hint"]
    assert "doings.py" in end.exit["traceback"]


def test_an_error_of_the_request_itself_is_final(begin: Begin) -> None:
    server, guard = begin("fail", error="DatasetUnfit")
    guard.order(server)
    end = end_of(server, guard)
    assert end.end == "failed"
    assert reason_of(end) == {"code": "dataset_unfit", "message": "Too few pictures.", "hint": "Bring more."}


def test_a_checkpoint_counts_although_the_child_was_killed_right_after_it(begin: Begin) -> None:
    server, guard = begin("save_and_die")
    guard.order(server)
    assert end_of(server, guard).end == "crashed"
    assert [saved.step for saved in server.saved] == [7]


def test_an_end_whose_answer_was_lost_is_said_again(begin: Begin) -> None:
    server, guard = begin("fail", error="ZeroDivisionError")
    server.losses = ["/end"]
    guard.order(server)
    assert guard.wait() == 0
    first, again = server.ends
    assert first == again and reason_of(first)["message"] == "ZeroDivisionError: by nought"


def test_a_value_that_is_no_number_does_not_hold_up_the_end(begin: Begin) -> None:
    server, guard = begin("tell_no_number")
    guard.order(server)
    assert guard.wait() == 0 and len(server.published) == 1
    assert server.wait_for("metric") == {"step": 1, "values": {"loss": None, "rates": [None, 1.0]}}


# Nobody is left


def test_grandchildren_end_with_the_work_even_those_that_have_left_the_family(begin: Begin) -> None:
    server, guard = begin("leave_family")
    guard.order(server)
    left = server.wait_for("progress")
    assert guard.wait() == 0 and len(server.published) == 1
    wait_for_end(left["near"], left["far"])


def test_grandchildren_end_with_a_superseded_attempt(begin: Begin) -> None:
    server, guard = begin("leave_family")
    server.gates["/rows"] = threading.Event()
    guard.order(server)
    left = server.wait_for("progress")
    server.is_superseded = True
    wait_for_end(left["near"], left["far"])
    server.gates["/rows"].set()
    assert guard.wait() == 0 and not server.published


def test_a_fork_that_holds_the_pipes_does_not_hold_up_the_end(begin: Begin) -> None:
    server, guard = begin("fork_with_pipe")
    guard.order(server)
    forked = server.wait_for("progress")["forked"]
    assert guard.wait() == 0 and len(server.published) == 1
    wait_for_end(forked)


def test_the_child_ends_with_a_guard_that_is_killed(begin: Begin) -> None:
    server, guard = begin("ignore")
    guard.order(server)
    child = guard.child_pid()
    guard.signal(signal.SIGKILL)
    wait_for_end(child)
    assert not server.ends


def test_the_end_of_the_lifeline_ends_all_without_a_word(tmp_path: Path) -> None:
    lifeline, held = os.pipe()
    with AttemptServer(do="ignore") as server, GuardProcess(tmp_path, lifeline=lifeline) as guard:
        guard.order(server)
        child = guard.child_pid()
        os.close(held)
        wait_for_end(child)
        assert guard.wait() == 0 and not server.ends
    os.close(lifeline)


def test_the_end_of_the_lifeline_ends_a_guard_whose_server_is_away(tmp_path: Path) -> None:
    lifeline, held = os.pipe()
    with AttemptServer(do="publish") as server, GuardProcess(tmp_path, lifeline=lifeline) as guard:
        server.refusals["/publication"] = Unavailable
        guard.order(server)
        server.wait_until(lambda: server.count("/publication") >= 1)
        os.close(held)
        assert guard.wait() == 0 and not server.ends
    os.close(lifeline)


def test_a_warm_guard_whose_executor_is_gone_dismisses_its_child(begin: Begin) -> None:
    server, guard = begin("publish")
    assert guard.process.stdin is not None
    guard.process.stdin.close()
    assert guard.wait() == 0, guard.log.read_text()
    assert not server.asked
