"""Wake-ups: at once on the leading edge, then at most four a second per job, and the last one always comes."""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import ON_POSTGRESQL

QUIET = 0.25


class Sent:
    """What a waker sent, and when."""

    def __init__(self) -> None:
        self.all: list[tuple[float, str]] = []
        self.changed = threading.Condition()

    def __call__(self, hint: str) -> None:
        with self.changed:
            self.all.append((time.monotonic(), hint))
            self.changed.notify_all()

    def wait_for(self, num: int, seconds: float = 3.0) -> list[tuple[float, str]]:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.all) >= num, seconds), self.all
            return list(self.all)


@pytest.fixture
def sent(django: None) -> Sent:
    return Sent()


def _waker(sent: Any) -> Any:
    from trainshed.server.queue.wake import Waker

    return Waker(sent)


def test_the_first_hint_leaves_at_once(sent):
    waker = _waker(sent)
    for number in range(50):
        began = time.monotonic()
        waker.wake(f"job {number}")
        assert sent.all[-1][1] == f"job {number}" and sent.all[-1][0] - began < QUIET


def test_a_burst_is_at_most_four_a_second_and_its_last_hint_comes(sent):
    waker, began = _waker(sent), time.monotonic()
    while time.monotonic() - began < 1.2:
        waker.wake("job")
        time.sleep(0.005)
    last = time.monotonic()
    time.sleep(2 * QUIET)
    times = [at for at, _ in sent.all]
    assert 3 <= len(times) <= 7
    # A busy machine may deliver one late and the next in time.
    assert all(later - earlier >= QUIET / 2 for earlier, later in itertools.pairwise(times))
    assert times[0] - began < QUIET and times[-1] >= last - 0.02


def test_a_late_hint_that_another_has_overtaken_is_not_sent_again(sent):
    """The thread that sends late was kept from running: a hint that comes meanwhile leaves at once, for both."""
    waker = _waker(sent)
    waker.wake("job")
    waker._start = lambda: None  # it does not run
    waker.wake("job")
    time.sleep(QUIET)
    waker.wake("job")
    del waker._start
    waker._start()
    time.sleep(0.1)
    assert len(sent.all) == 2


def test_a_hint_after_a_quiet_time_leaves_at_once_again(sent):
    waker = _waker(sent)
    waker.wake("job")
    waker.wake("job")
    sent.wait_for(2)
    time.sleep(QUIET + 0.05)
    began = time.monotonic()
    waker.wake("job")
    assert len(sent.all) == 3 and sent.all[-1][0] - began < QUIET


def test_one_jobs_burst_does_not_hold_up_another_job(sent):
    waker = _waker(sent)
    for _ in range(100):
        waker.wake("busy")
    waker.wake("calm")
    assert [hint for _, hint in sent.all] == ["busy", "calm"]
    assert [hint for _, hint in sent.wait_for(3)] == ["busy", "calm", "busy"]


def test_a_hint_that_cannot_be_sent_does_not_stop_the_later_ones(sent):
    refuses = [True]

    def send(hint: str) -> None:
        if refuses[0]:
            raise ConnectionRefusedError
        sent(hint)

    waker = _waker(send)
    with contextlib.suppress(OSError):
        waker.wake("job")
    waker.wake("job")
    time.sleep(2 * QUIET)
    refuses[0] = False
    waker.wake("job")
    assert [hint for _, hint in sent.wait_for(1)] == ["job"]


def test_many_jobs_do_not_fill_the_memory(sent):
    waker = _waker(lambda hint: None)
    waker._remember = lambda hint, now: type(waker)._remember(waker, hint, now - 1)
    for number in range(30_000):
        waker.wake(str(number))
    assert len(waker._last) <= 10_001


# With the connected database


@pytest.fixture
def listener(database: None) -> Iterator[Any]:
    from trainshed.server.queue import wake

    made = wake.listen()
    made.wait(0.0)  # on PostgreSQL this is when it begins to listen
    yield made
    made.close()


def _heard(listener: Any, seconds: float = 2.0) -> set[tuple[str, str]]:
    deadline = time.monotonic() + seconds
    heard: set[tuple[str, str]] = set()
    while not heard and time.monotonic() < deadline:
        heard = listener.wait(max(0.0, deadline - time.monotonic()))
    return heard


def test_a_hint_comes_after_the_commit_and_not_before(listener):
    from django.db import transaction

    from trainshed.server.queue import wake

    with transaction.atomic():
        wake.after_commit("job-a", "w")
        assert _heard(listener, 0.3) == set()
    assert _heard(listener) == {("job-a", "w")}


def test_what_is_rolled_back_wakes_nobody(listener):
    from django.db import transaction

    from trainshed.server.queue import wake

    with contextlib.suppress(RuntimeError), transaction.atomic():
        wake.after_commit("job-b", "w")
        raise RuntimeError
    assert _heard(listener, 0.3) == set()


def test_every_listener_hears(listener, database):
    from trainshed.server.queue import wake

    second = wake.listen()
    second.wait(0.0)
    wake.after_commit("job-c", "w")
    assert _heard(listener) == _heard(second) == {("job-c", "w")}
    second.close()


def test_a_burst_of_commits_is_heard_to_its_end(listener):
    from trainshed.server.queue import wake

    for _ in range(30):
        wake.after_commit("job-d", "w")
    last = time.monotonic()
    heard_at = []
    while time.monotonic() - last < 0.8:
        if listener.wait(0.1):
            heard_at.append(time.monotonic())
    assert 2 <= len(heard_at) <= 4 and heard_at[-1] - last > 0.1


def test_a_listener_returns_at_its_timeout(listener):
    began = time.monotonic()
    assert listener.wait(0.2) == set()
    assert 0.15 < time.monotonic() - began < 1.5


@pytest.mark.skipif(ON_POSTGRESQL, reason="sockets are SQLite's way")
def test_a_dead_listeners_socket_is_swept_away_by_the_next_sender(listener):
    import socket

    from django.conf import settings

    from trainshed.server.queue import wake

    stale = Path(settings.HOME) / "run" / "wake-0-dead.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as dead:
        dead.bind(str(stale))
    wake.after_commit("job-e", "w")
    assert _heard(listener) == {("job-e", "w")}
    assert not stale.exists()


@pytest.mark.skipif(ON_POSTGRESQL, reason="sockets are SQLite's way")
def test_a_listener_whose_socket_was_removed_listens_again(listener):
    from django.conf import settings

    from trainshed.server.queue import wake

    for path in (Path(settings.HOME) / "run").glob("wake-*.sock"):
        path.unlink()
    assert listener.wait(0.0) == set()
    wake.after_commit("job-f", "w")
    assert _heard(listener) == {("job-f", "w")}


@pytest.mark.skipif(ON_POSTGRESQL, reason="sockets are SQLite's way")
def test_a_listener_that_does_not_read_holds_up_nobody(listener):
    from trainshed.server.queue import wake

    began = time.monotonic()
    for number in range(2000):
        wake.after_commit(f"job-{number}", "w")
    assert time.monotonic() - began < 5
    assert listener.wait(0.1)


@pytest.mark.skipif(not ON_POSTGRESQL, reason="NOTIFY is PostgreSQL's way")
def test_a_listener_whose_connection_was_lost_listens_again(listener):
    from trainshed.server.queue import wake

    _terminate("LISTEN%")
    deadline = time.monotonic() + 10
    heard: set[tuple[str, str]] = set()
    number = 0
    while not heard and time.monotonic() < deadline:
        wake.after_commit(f"job-{number}", "w")
        heard, number = listener.wait(0.2), number + 1
    assert heard


@pytest.mark.skipif(not ON_POSTGRESQL, reason="NOTIFY is PostgreSQL's way")
def test_the_late_hints_survive_a_lost_connection(listener):
    from trainshed.server.queue import wake

    def burst(job: str) -> int:
        for _ in range(5):
            wake.after_commit(job, "w")
        end, num = time.monotonic() + 0.8, 0
        while time.monotonic() < end:
            num += bool(listener.wait(0.1))
        return num

    assert burst("job-g") == 2
    _terminate("SELECT pg_notify%")
    burst("job-h")
    assert burst("job-i") == 2


def _terminate(query: str) -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE %s AND pid <> pg_backend_pid()",
            [query],
        )
        assert cursor.fetchall()
