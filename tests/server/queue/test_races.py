"""Two transactions at once, on the real databases: the second one starts while the first is still open.

On SQLite the second waits for its turn; on PostgreSQL both see the same past, which is what these tests are about.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from trainshed.errors import StateConflict


def _ledger() -> Any:
    from trainshed.server.queue import ledger

    return ledger


class Meanwhile:
    """Something done in another thread, on a connection of its own, while a transaction here is open."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self.answer: Any = None
        self._work = work
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        from django.db import connection

        try:
            self.answer = self._work()
        except Exception as error:
            self.answer = error
        finally:
            connection.close()

    def start(self) -> None:
        """Let it run until it has ended or waits for us."""
        self._thread.start()
        self._thread.join(0.5)

    def end(self) -> Any:
        """What came of it, now that our transaction has ended."""
        self._thread.join(20)
        assert not self._thread.is_alive()
        return self.answer


def _at_once(first: Callable[[], Any], second: Callable[[], Any]) -> tuple[Any, Any]:
    from django.db import transaction

    meanwhile = Meanwhile(second)
    with transaction.atomic():
        answer = first()
        meanwhile.start()
    return answer, meanwhile.end()


def test_a_child_is_released_when_its_parents_publish_at_once(world):
    first, second = world.submit(), world.submit()
    child = world.submit(parents=(first, second))
    helds = [assigned.held for assigned in world.assign()]
    for held in helds:
        world.renew(held)
    publishes = [lambda held=held: _ledger().publish(held, {}, {}, lambda: None) for held in helds]
    _at_once(*publishes)
    assert [world.state(job_id) for job_id in (first, second, child)] == ["succeeded", "succeeded", "queued"]


def test_a_child_of_a_parent_that_ends_meanwhile_is_not_left_blocked(world):
    parent = world.submit()
    held = world.start()
    _, child = _at_once(lambda: _ledger().publish(held, {}, {}, lambda: None), lambda: world.submit(parents=(parent,)))
    assert world.state(child) == "queued"


def test_a_cancel_of_a_job_that_is_just_assigned_is_taken(world):
    job_id = world.submit()
    _, answer = _at_once(world.assign, lambda: _ledger().cancel(job_id, actor="person:test"))
    assert answer == "assigned" and world.job(job_id).cancel_requested


def test_a_cancel_of_a_job_that_just_ends_says_how_it_ended(world):
    job_id = world.submit()
    held = world.start()
    _, answer = _at_once(
        lambda: _ledger().publish(held, {}, {}, lambda: None), lambda: _ledger().cancel(job_id, actor="person:test")
    )
    assert isinstance(answer, StateConflict) and "already succeeded" in answer.message


def test_a_cancel_of_a_job_that_just_goes_back_to_the_queue_ends_it(world):
    from trainshed.schemas import EndReport

    job_id = world.submit()
    held = world.start()
    _, answer = _at_once(
        lambda: _ledger().end(held, EndReport(end="stopped")), lambda: _ledger().cancel(job_id, actor="person:test")
    )
    assert answer == "cancelled" and world.state(job_id) == "cancelled"


def test_i3_a_cancel_that_comes_first_stops_the_publish(world):
    job_id = world.submit()
    held = world.start()
    _, answer = _at_once(
        lambda: _ledger().cancel(job_id, actor="person:test"), lambda: _ledger().publish(held, {}, {}, lambda: None)
    )
    assert isinstance(answer, StateConflict) and world.job(job_id).result is None


def test_two_resumes_at_once_queue_a_job_once(world):
    from trainshed.schemas import EndReport

    job_id = world.submit()
    held = world.start()
    _ledger().end(held, EndReport(end="paused"))
    resume = lambda: _ledger().resume(job_id, actor="person:test")  # noqa: E731
    first, second = _at_once(resume, resume)
    assert first == "queued" and isinstance(second, StateConflict) and "is queued" in second.message


def test_an_attempt_that_renews_while_it_is_swept_is_kept(world):
    job_id = world.submit()
    held = world.start()
    world.wait_while_web_is_up(3 * world.lease_seconds)
    _, swept = _at_once(lambda: world.renew(held), lambda: _ledger().sweep(lease_seconds=world.lease_seconds))
    assert swept == 0
    assert (world.state(job_id), world.job(job_id).deaths) == ("running", 0)
    world.renew(held)


def test_a_sweep_of_others_does_not_stumble_over_one_that_starts_meanwhile(world):
    started, silent = world.submit(), world.submit()
    helds = {assigned.held.job_id: assigned.held for assigned in world.assign()}
    world.wait_while_web_is_up(3 * world.lease_seconds)
    _, swept = _at_once(lambda: world.renew(helds[started]), lambda: _ledger().sweep(lease_seconds=world.lease_seconds))
    assert swept == 1
    assert (world.state(started), world.state(silent)) == ("running", "queued")


def test_a_guard_that_dies_in_its_first_renewal_is_taken_for_dead(world):
    job_id = world.submit()
    (assigned,) = world.assign()
    _, answer = _at_once(
        lambda: world.renew(assigned.held), lambda: _ledger().lose(assigned.held.attempt_id, {"words": "gone"})
    )
    assert answer == "queued" and world.state(job_id) == "queued"


@pytest.mark.parametrize("late", ["renew", "publish", "tell"])
def test_i5_a_write_that_waits_for_a_sweep_comes_too_late(world, late):
    from trainshed.errors import AttemptSuperseded
    from trainshed.schemas import NewEvent

    writes = {
        "renew": world.renew,
        "publish": lambda held: _ledger().publish(held, {}, {}, lambda: None),
        "tell": lambda held: _ledger().tell(held, 0, [NewEvent(kind="log", body={})]),
    }
    job_id = world.submit()
    held = world.start()
    world.wait_while_web_is_up(3 * world.lease_seconds)
    swept, answer = _at_once(lambda: _ledger().sweep(lease_seconds=world.lease_seconds), lambda: writes[late](held))
    assert swept == 1 and isinstance(answer, AttemptSuperseded)
    assert world.state(job_id) == "queued"
