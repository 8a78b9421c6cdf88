"""Counters of what a workspace uses (I6): right at every commit, and no limit is ever passed by asking."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from server.conftest import add_gpus
from server.queue.test_races import _at_once
from trainshed.errors import QuotaExceeded
from trainshed.schemas import EndReport

MONTH_SECONDS = 31 * 86400.0


def _ledger() -> Any:
    from trainshed.server.queue import ledger

    return ledger


def _limit(world: Any, resource: str, most: int | None, workspace_id: str = "") -> None:
    """As `quotas.limit` does, without a person."""
    from trainshed.server.records.models import Quota

    row, _ = Quota.objects.get_or_create(workspace_id=workspace_id or world.workspace_id, resource=resource)
    row.most, row.grace = most, row.used
    row.save(update_fields=["most", "grace"])


def _used(world: Any, resource: str, workspace_id: str = "") -> int:
    from trainshed.server.records.models import Quota

    row = Quota.objects.filter(workspace_id=workspace_id or world.workspace_id, resource=resource).first()
    return row.used if row else 0


def _counts(world: Any) -> tuple[int, int]:
    return _used(world, "queued_jobs"), _used(world, "running_jobs")


def test_a_job_is_counted_as_waiting_then_as_running_then_no_more(world):
    world.submit()
    assert _counts(world) == (1, 0)
    held = world.start()
    assert _counts(world) == (0, 1)
    _ledger().publish(held, {}, {}, lambda: None)
    assert _counts(world) == (0, 0)


def test_a_blocked_and_a_paused_job_wait_and_a_cancelled_one_does_not(world):
    parent = world.submit()
    world.submit(parents=(parent,))
    held = world.start()
    assert _counts(world) == (1, 1)
    _ledger().end(held, EndReport(end="paused"))
    assert _counts(world) == (2, 0)
    _ledger().cancel(parent, actor="person:test")
    assert _counts(world) == (0, 0)


def test_a_submit_beyond_the_limit_is_refused_in_words_and_leaves_nothing(world):
    from trainshed.server.records.models import Event, Job

    _limit(world, "queued_jobs", 2)
    world.submit()
    world.submit()
    with pytest.raises(QuotaExceeded, match="at its limit: 2 of at most 2 jobs wait") as refused:
        world.submit()
    assert refused.value.status == 507 and "cancel some" in refused.value.hint
    assert Job.objects.count() == Event.objects.count() == 2
    world.assign()
    world.submit()


def test_a_repeated_submit_of_the_same_job_takes_nothing_of_the_quota(world):
    _limit(world, "queued_jobs", 1)
    assert world.submit(idempotency_key="k", title="one") == world.submit(idempotency_key="k", title="one")
    assert _counts(world) == (1, 0)


def test_one_workspaces_limit_is_not_anothers(world):
    workspace_id, project_id = world.add_workspace("other")
    _limit(world, "queued_jobs", 0)
    world.submit(workspace_id=workspace_id, project_id=project_id)
    with pytest.raises(QuotaExceeded):
        world.submit()


def test_a_job_that_dies_is_put_back_although_the_queue_is_full(world):
    job_id = world.submit()
    held = world.start()
    _limit(world, "queued_jobs", 1)
    world.submit()
    _ledger().end(held, EndReport(end="crashed"))
    assert world.state(job_id) == "queued" and _counts(world) == (2, 0)
    with pytest.raises(QuotaExceeded):
        world.submit()


def test_what_is_used_beyond_a_lowered_limit_may_shrink_and_not_grow(world):
    jobs = [world.submit() for _ in range(3)]
    _limit(world, "queued_jobs", 1)
    _ledger().cancel(jobs[0], actor="person:test")
    assert _counts(world) == (2, 0)
    for job_id in jobs[1:]:
        with pytest.raises(QuotaExceeded):
            world.submit()
        _ledger().cancel(job_id, actor="person:test")
    world.submit()


def test_a_workspace_at_its_limit_of_running_jobs_is_given_no_slot_and_is_told_why(world):
    _limit(world, "running_jobs", 1)
    world.submit()
    world.wait(1)
    second = world.submit()
    held = world.start()
    assert world.assign() == []
    waiting = _ledger().why_waiting(second)
    assert waiting.waiting and waiting.place is None
    assert waiting.reason.code == "quota" and "1 of at most 1 jobs run" in waiting.reason.message
    _ledger().publish(held, {}, {}, lambda: None)
    assert [assigned.held.job_id for assigned in world.assign()] == [second]


def test_a_workspace_at_its_limit_holds_nobody_else_up(world):
    workspace_id, project_id = world.add_workspace("other")
    _limit(world, "running_jobs", 0)
    for _ in range(30):
        world.submit()
    other = world.submit(workspace_id=workspace_id, project_id=project_id)
    assert [assigned.held.job_id for assigned in world.assign()] == [other]


def test_the_limit_of_running_jobs_counts_those_with_and_without_cards_together(world):
    add_gpus(world, 2)
    _limit(world, "running_jobs", 1)
    world.submit()
    world.submit(num_gpus=1)
    assert len(world.assign()) == 1 and world.assign() == []
    assert _counts(world) == (1, 1)


def test_cards_are_charged_for_each_second_that_an_attempt_has_had_them(world):
    add_gpus(world, 2)
    world.submit(num_gpus=2)
    held = world.start()
    world.wait(100)
    _ledger().end(held, EndReport(end="stopped"))
    assert _used(world, "gpu_seconds") == 200
    world.submit()
    helds = [assigned.held for assigned in world.assign()]
    for held in helds:
        world.renew(held)
    world.wait(7)
    for held in helds:
        _ledger().publish(held, {}, {}, lambda: None)
    assert _used(world, "gpu_seconds") == 214, "a job without a card is not charged"


def test_an_attempt_that_never_started_is_not_charged(world):
    add_gpus(world, 1)
    world.submit(num_gpus=1)
    (assigned,) = world.assign()
    world.wait(50)
    _ledger().lose(assigned.held.attempt_id, {"words": "gone"})
    assert _used(world, "gpu_seconds") == 0


def test_a_workspace_without_gpu_hours_gets_no_card_until_the_next_month(world):
    add_gpus(world, 1)
    _limit(world, "gpu_seconds", 3600)
    world.submit(num_gpus=1)
    held = world.start()
    world.wait(5400)
    _ledger().publish(held, {}, {}, lambda: None)
    assert _used(world, "gpu_seconds") == 5400, "an end is never refused"
    job_id = world.submit(num_gpus=1)
    without = world.submit()
    assert [assigned.held.job_id for assigned in world.assign()] == [without]
    reason = _ledger().why_waiting(job_id).reason
    assert reason.code == "quota" and "1.5 of its 1.0 GPU-hours of 1970-01" in reason.message
    world.wait(MONTH_SECONDS)
    (assigned,) = world.assign()
    world.renew(assigned.held)
    world.wait(10)
    _ledger().publish(assigned.held, {}, {}, lambda: None)
    assert _used(world, "gpu_seconds") == 10, "a new month begins at nothing"


def test_a_clock_that_is_set_back_over_the_end_of_a_month_forgets_nothing(world):
    add_gpus(world, 1)
    for seconds in (MONTH_SECONDS, -20 * 86400.0):
        world.wait(seconds)
        world.submit(num_gpus=1)
        held = world.start()
        world.wait(60)
        _ledger().publish(held, {}, {}, lambda: None)
    assert _used(world, "gpu_seconds") == 120


@pytest.mark.parametrize("fault", ["missing", "wrong"])
def test_a_counter_that_is_missing_or_wrong_keeps_no_job_from_ending(world, fault):
    from trainshed.server.records.models import Quota

    world.submit()
    held = world.start()
    if fault == "missing":
        Quota.objects.all().delete()
    else:
        Quota.objects.update(used=0)
    _ledger().publish(held, {}, {}, lambda: None)
    assert _counts(world) == (0, 0)


# At once


def test_i6_submits_at_once_never_pass_the_limit(world):
    from django.db import connection

    from trainshed.server.records.models import Job

    _limit(world, "queued_jobs", 5)
    refused, begin = [], threading.Barrier(8)

    def submit() -> None:
        begin.wait()
        try:
            for _ in range(2):
                world.submit()
        except QuotaExceeded:
            refused.append(1)
        finally:
            connection.close()

    threads = [threading.Thread(target=submit) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert Job.objects.count() == 5 and _counts(world) == (5, 0)
    assert len(refused) >= 5


def test_i6_the_last_place_in_the_queue_is_given_once(world):
    _limit(world, "queued_jobs", 1)
    _, second = _at_once(world.submit, world.submit)
    assert isinstance(second, QuotaExceeded) and _counts(world) == (1, 0)


def test_i6_two_schedulers_at_once_never_pass_the_limit_of_running_jobs(world):
    add_gpus(world, 1)
    _limit(world, "running_jobs", 1)
    world.submit()
    world.submit(num_gpus=1)
    first, second = _at_once(world.assign, world.assign)
    assert (len(first), second) == (1, []) and _counts(world) == (1, 1)


def test_i6_jobs_of_two_workspaces_that_end_and_come_at_once_wait_in_no_circle(world):
    """Each transaction touches both workspaces' counters, in the opposite order of their jobs."""
    places = [(world.workspace_id, world.project_id), world.add_workspace("other")]
    from trainshed.server.queue import counters

    def submit_both(order: list[tuple[str, str]]) -> str:
        with counters.counted():
            for workspace_id, project_id in order:
                world.submit(workspace_id=workspace_id, project_id=project_id)
        return "done"

    barrier, answers = threading.Barrier(4), []

    def work(order: list[tuple[str, str]]) -> None:
        from django.db import connection

        barrier.wait()
        try:
            answers.extend(submit_both(order) for _ in range(10))
        finally:
            connection.close()

    threads = [threading.Thread(target=work, args=(places[:: (-1) ** n],)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert answers == ["done"] * 40
    assert _used(world, "queued_jobs", places[0][0]) == _used(world, "queued_jobs", places[1][0]) == 40


def test_what_an_inner_transaction_took_back_is_not_counted(world):
    from trainshed.server.queue import counters

    with counters.counted():
        world.submit()
        with pytest.raises(RuntimeError), counters.counted():
            world.submit()
            raise RuntimeError
    assert _counts(world) == (1, 0)


# Bytes


def test_bytes_are_counted_once_for_each_workspace_that_sends_them(world):
    from trainshed.server.services import blobs

    workspace_id, _ = world.add_workspace("other")
    blobs.store_many([b"12345", b"123"], world.workspace_id)
    blobs.store_many([b"12345", b"1"], world.workspace_id)
    blobs.store_many([b"12345"], workspace_id)
    assert _used(world, "stored_bytes") == 9 and _used(world, "stored_bytes", workspace_id) == 5


def test_bytes_beyond_the_limit_are_refused_and_are_not_held(world):
    from trainshed.server.services import blobs

    blobs.store_many([b"12345"], world.workspace_id)
    _limit(world, "stored_bytes", 7)
    with pytest.raises(QuotaExceeded, match=r"These 3 bytes do not fit: the workspace stores 5 of at most 7 bytes\."):
        blobs.store_many([b"abc"], world.workspace_id)
    assert blobs.store_many([b"12345", b"ab"], world.workspace_id)
    assert _used(world, "stored_bytes") == 7
    assert not blobs.is_held(blobs.storage().put_many([b"abc"])[0], world.workspace_id)


def test_i6_the_same_bytes_at_once_are_counted_once(world):
    from trainshed.server.services import blobs

    store = lambda: blobs.store_many([b"12345"], world.workspace_id)  # noqa: E731
    _at_once(store, store)
    assert _used(world, "stored_bytes") == 5


def test_i6_different_bytes_at_once_never_pass_the_limit(world):
    from trainshed.server.services import blobs

    _limit(world, "stored_bytes", 8)
    _, second = _at_once(
        lambda: blobs.store_many([b"12345"], world.workspace_id),
        lambda: blobs.store_many([b"abcde"], world.workspace_id),
    )
    assert isinstance(second, QuotaExceeded) and _used(world, "stored_bytes") == 5


# An installation that was there before


def test_the_migration_counts_what_is_there_already(world):
    import importlib

    from django.apps import apps

    from trainshed.server.queue import counters
    from trainshed.server.records.models import Attempt, Quota
    from trainshed.server.services import blobs

    add_gpus(world, 2)
    blobs.store_many([b"12345", b"1"], world.workspace_id)
    world.submit()
    world.submit(num_gpus=2)
    held = next(assigned.held for assigned in world.assign() if world.job(assigned.held.job_id).num_gpus)
    world.renew(held)
    world.wait(30)
    _ledger().end(held, EndReport(end="paused"))
    counted = {row.resource: row.used for row in Quota.objects.all()}
    assert counted == {"stored_bytes": 6, "queued_jobs": 1, "running_jobs": 1, "gpu_seconds": 60}
    Quota.objects.all().delete()
    # It counts the present month only.
    import time

    Attempt.objects.filter(id=held.attempt_id).update(started_at=time.time() - 30, ended_at=time.time())
    importlib.import_module("trainshed.server.records.migrations.0003_quotas").count(apps, None)
    assert {row.resource: row.used for row in Quota.objects.all()} == counted
    assert Quota.objects.get(resource="gpu_seconds").period == counters.month(time.time())
