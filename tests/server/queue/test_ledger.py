"""The ledger's contract, on the real SQL with a clock that the test turns. I1-I13 are the queue's invariants."""

from __future__ import annotations

import functools
import threading
import time
from typing import Any

import pytest

from trainshed.errors import AttemptSuperseded, IdempotencyMismatch, NotFound, StateConflict
from trainshed.schemas import EndReport, NewEvent, Reason


def _ledger() -> Any:
    from trainshed.server.queue import ledger

    return ledger


def _events(job_id: str) -> list[Any]:
    from trainshed.server.records.models import Event

    return list(Event.objects.filter(job_id=job_id).order_by("revision"))


def _nothing() -> None:
    return None


def test_i1_an_acknowledged_submit_is_a_queued_row(world):
    job_id = world.submit()
    assert world.state(job_id) == "queued"
    assert [event.body["to"] for event in _events(job_id)] == ["queued"]


def test_i8_the_same_key_and_request_give_the_same_job(world):
    first = world.submit(idempotency_key="k", title="one")
    assert world.submit(idempotency_key="k", title="one") == first
    with pytest.raises(IdempotencyMismatch):
        world.submit(idempotency_key="k", title="another")


def test_i8_the_same_key_in_another_workspace_is_another_job(world):
    workspace_id, project_id = world.add_workspace("other")
    first = world.submit(idempotency_key="k", title="one")
    assert world.submit(idempotency_key="k", title="one", workspace_id=workspace_id, project_id=project_id) != first


def test_a_job_goes_from_queued_to_succeeded_with_an_audit_row_for_each_step(world):
    from trainshed.server.records.models import Slot, Transition

    job_id = world.submit()
    held = world.start()
    _ledger().publish(held, {"answer": 1}, {}, lambda: {"model_id": "m"})
    job = world.job(job_id)
    assert (job.state, job.result) == ("succeeded", {"answer": 1, "model_id": "m"})
    steps = Transition.objects.filter(job_id=job_id).order_by("id").values_list("from_state", "to_state")
    assert list(steps) == [("", "queued"), ("queued", "assigned"), ("assigned", "running"), ("running", "succeeded")]
    assert not Slot.objects.exclude(attempt_id=None).exists()


def test_revisions_number_the_story_without_gaps(world):
    job_id = world.submit()
    held = world.start()
    _ledger().tell(held, 0, [NewEvent(kind="log", body={"text": str(n)}) for n in range(5)])
    _ledger().cancel(job_id, actor="person:test")
    _ledger().end(held, EndReport(end="cancelled"))
    revisions = [event.revision for event in _events(job_id)]
    assert revisions == list(range(1, len(revisions) + 1))
    assert world.job(job_id).revision == revisions[-1]


def test_a_repeated_batch_of_events_changes_nothing(world):
    job_id = world.submit()
    held = world.start()
    batch = [NewEvent(kind="metric", body={"step": n}) for n in range(3)]
    assert _ledger().tell(held, 0, batch) == 3
    assert _ledger().tell(held, 0, batch) == 0
    assert _ledger().tell(held, 2, [batch[2], NewEvent(kind="metric", body={"step": 3})]) == 1
    told = [event.body["step"] for event in _events(job_id) if event.kind == "metric"]
    assert told == [0, 1, 2, 3]


def test_the_latest_progress_is_kept_on_the_job(world):
    job_id = world.submit()
    held = world.start()
    _ledger().tell(held, 0, [NewEvent(kind="progress", body={"done": n}) for n in (1, 2)])
    _ledger().tell(held, 2, [NewEvent(kind="log", body={"text": "x"})])
    assert world.job(job_id).progress == {"done": 2}


# Fences: I2, I3, I5


def _supersede(world: Any) -> tuple[Any, Any]:
    """(the old attempt, the new one) of a job that was swept and started again."""
    world.submit()
    old = world.start()
    world.wait_while_web_is_up(3 * world.lease_seconds)
    assert _ledger().sweep(lease_seconds=world.lease_seconds) == 1
    world.wait(10)
    return old, world.start()


def _blob(name: str) -> str:
    from trainshed.server.records.models import Blob

    Blob.objects.create(sha256=name * 64, size_bytes=1)
    return name * 64


WRITES = {
    "renew": lambda ledger, held, sha256: ledger.renew(held, lease_seconds=30),
    "tell": lambda ledger, held, sha256: ledger.tell(held, 0, [NewEvent(kind="log", body={"text": "late"})]),
    "fence": lambda ledger, held, sha256: ledger.fence(held),
    "checkpoint": lambda ledger, held, sha256: ledger.save_checkpoint(held, sha256, 7),
    "publish": lambda ledger, held, sha256: ledger.publish(held, {}, {"f": sha256}, _nothing),
    "end": lambda ledger, held, sha256: ledger.end(held, EndReport(end="failed")),
}


@pytest.mark.parametrize("write", WRITES)
def test_i5_an_old_attempt_writes_nothing_while_the_new_one_runs(world, write):
    from trainshed.server.records.models import Artifact, Checkpoint

    old, new = _supersede(world)
    sha256 = _blob("a")
    story = len(_events(new.job_id))
    with pytest.raises(AttemptSuperseded):
        WRITES[write](_ledger(), old, sha256)
    job = world.job(new.job_id)
    assert (job.state, job.attempt, job.result) == ("running", new.number, None)
    assert len(_events(new.job_id)) == story
    assert not Checkpoint.objects.exists() and not Artifact.objects.exists()
    _ledger().publish(new, {"by": "new"}, {}, _nothing)
    assert world.job(new.job_id).result == {"by": "new"}


@pytest.mark.parametrize("write", WRITES)
def test_i5_an_attempt_writes_nothing_after_its_job_has_ended(world, write):
    from trainshed.server.records.models import Artifact, Checkpoint

    job_id = world.submit()
    held = world.start()
    _ledger().publish(held, {"n": 1}, {}, _nothing)
    story = len(_events(job_id))
    with pytest.raises(AttemptSuperseded):
        WRITES[write](_ledger(), held, _blob("b"))
    assert (world.state(job_id), world.job(job_id).result) == ("succeeded", {"n": 1})
    assert len(_events(job_id)) == story
    assert not Checkpoint.objects.exists() and not Artifact.objects.exists()


@pytest.mark.parametrize("write", [name for name in WRITES if name != "renew"])
def test_i5_an_attempt_writes_nothing_before_it_has_started(world, write):
    job_id = world.submit()
    (assigned,) = world.assign()
    with pytest.raises(AttemptSuperseded):
        WRITES[write](_ledger(), assigned.held, _blob("c"))
    assert world.state(job_id) == "assigned"


def test_i5_an_old_attempt_cannot_start_the_job_that_a_new_one_was_given(world):
    job_id = world.submit()
    (old,) = world.assign()
    world.wait_while_web_is_up(3 * world.lease_seconds)
    _ledger().sweep(lease_seconds=world.lease_seconds)
    (new,) = world.assign()
    with pytest.raises(AttemptSuperseded):
        world.renew(old.held)
    assert world.state(job_id) == "assigned"
    world.renew(new.held)
    assert world.state(job_id) == "running"


def test_i2_a_job_is_published_once(world):
    job_id = world.submit()
    held = world.start()
    effects: list[int] = []

    def effect() -> None:
        effects.append(1)

    _ledger().publish(held, {"n": 1}, {}, effect)
    with pytest.raises(AttemptSuperseded):
        _ledger().publish(held, {"n": 2}, {}, effect)
    assert world.job(job_id).result == {"n": 1} and effects == [1]


def test_a_publish_whose_effect_fails_changes_nothing(world):
    from trainshed.server.records.models import Artifact

    job_id = world.submit()
    held = world.start()

    def effect() -> None:
        raise NotFound("its dataset is gone")

    with pytest.raises(NotFound):
        _ledger().publish(held, {}, {"f": _blob("d")}, effect)
    assert world.state(job_id) == "running" and not Artifact.objects.exists()


def test_i3_an_acknowledged_cancel_never_publishes(world):
    job_id = world.submit()
    held = world.start()
    _ledger().cancel(job_id, actor="person:test")
    assert world.renew(held).cancel_requested
    with pytest.raises(StateConflict):
        _ledger().publish(held, {}, {}, _nothing)
    assert world.job(job_id).result is None
    _ledger().end(held, EndReport(end="cancelled"))
    assert world.state(job_id) == "cancelled"


def test_i3_a_cancel_between_the_look_and_the_write_of_a_publish_wins(world):
    """The effect runs inside the publish; a cancel that lands there must still stop the write."""
    from trainshed.server.records.models import Job

    job_id = world.submit()
    held = world.start()

    def effect() -> None:
        Job.objects.filter(id=job_id).update(cancel_requested=True)

    with pytest.raises(AttemptSuperseded):
        _ledger().publish(held, {}, {}, effect)
    assert world.job(job_id).result is None and world.state(job_id) == "running"


def test_i2_a_job_that_moved_on_inside_a_publish_is_not_published(world):
    """Whatever the row looks like when the publish writes it, the write names the attempt and the state."""
    from trainshed.server.records.models import Job

    for change in ({"attempt": 99}, {"state": "failed"}):
        job_id = world.submit()
        held = world.start()
        move_on = functools.partial(Job.objects.filter(id=job_id).update, **change)
        with pytest.raises(AttemptSuperseded):
            _ledger().publish(held, {}, {}, lambda move_on=move_on: move_on() and None)
        assert world.job(job_id).result is None


@pytest.mark.parametrize("end", ["failed", "crashed", "stopped", "paused"])
def test_i3_a_cancelled_job_ends_cancelled_however_its_attempt_ends(world, end):
    job_id = world.submit()
    held = world.start()
    _ledger().cancel(job_id, actor="person:test")
    _ledger().end(held, EndReport(end=end))
    assert world.state(job_id) == "cancelled"


def test_a_cancel_of_a_waiting_job_is_final_at_once(world):
    job_id = world.submit()
    assert _ledger().cancel(job_id, actor="person:test") == "cancelled"
    assert world.assign() == []
    assert _ledger().cancel(job_id, actor="person:test") == "cancelled"


def test_a_cancel_of_a_finished_job_is_refused_with_its_state(world):
    job_id = world.submit()
    _ledger().publish(world.start(), {}, {}, _nothing)
    with pytest.raises(StateConflict, match="already succeeded"):
        _ledger().cancel(job_id, actor="person:test")


def test_a_cancel_before_the_first_renewal_is_seen_by_it(world):
    job_id = world.submit()
    (assigned,) = world.assign()
    _ledger().cancel(job_id, actor="person:test")
    assert world.renew(assigned.held).cancel_requested


def test_a_cancelled_job_whose_runner_never_came_is_cancelled_by_the_sweep(world):
    job_id = world.submit()
    world.assign()
    _ledger().cancel(job_id, actor="person:test")
    world.wait_while_web_is_up(3 * world.lease_seconds)
    _ledger().sweep(lease_seconds=world.lease_seconds)
    assert world.state(job_id) == "cancelled"


# Leases, deaths, outages: I4, I7, I10


def test_i4_a_silent_attempts_job_is_given_to_another(world):
    old, new = _supersede(world)
    assert new.number == old.number + 1
    assert world.job(new.job_id).deaths == 1


def test_a_renewed_attempt_is_not_swept(world):
    world.submit()
    held = world.start()
    for _ in range(8):
        world.wait_while_web_is_up(world.lease_seconds / 2)
        world.renew(held)
        assert _ledger().sweep(lease_seconds=world.lease_seconds) == 0


def test_an_outage_is_no_attempts_death(world):
    """Web (or the database, or the whole machine) was away: the attempts get one whole lease to come back."""
    job_id = world.submit()
    held = world.start()
    world.wait_while_web_is_up(world.lease_seconds)
    world.renew(held)
    world.wait(20 * world.lease_seconds)
    assert _ledger().sweep(lease_seconds=world.lease_seconds) == 0
    world.wait_while_web_is_up(0.8 * world.lease_seconds)
    assert _ledger().sweep(lease_seconds=world.lease_seconds) == 0
    world.renew(held)
    assert (world.state(job_id), world.job(job_id).deaths) == ("running", 0)


def test_after_an_outage_a_silent_attempt_is_swept_after_one_whole_lease(world):
    job_id = world.submit()
    world.start()
    world.wait(20 * world.lease_seconds)
    world.wait_while_web_is_up(1.5 * world.lease_seconds)
    assert _ledger().sweep(lease_seconds=world.lease_seconds) == 1
    assert world.state(job_id) == "queued"


def test_a_late_renewal_that_nobody_has_swept_counts(world):
    job_id = world.submit()
    held = world.start()
    world.wait(5 * world.lease_seconds)
    world.renew(held)
    assert world.state(job_id) == "running"


def test_an_attempt_that_never_started_costs_no_death(world):
    job_id = world.submit()
    world.assign()
    world.wait_while_web_is_up(3 * world.lease_seconds)
    _ledger().sweep(lease_seconds=world.lease_seconds)
    assert (world.state(job_id), world.job(job_id).deaths) == ("queued", 0)


def test_i7_the_third_death_fails_the_job_with_its_reason(world):
    job_id = world.submit()
    for death in range(3):
        world.wait(100)
        held = world.start()
        reason = Reason(code="signal", message="It ended by the signal SIGSEGV.")
        _ledger().end(held, EndReport(end="crashed", reason=reason))
        assert world.job(job_id).deaths == death + 1
    job = world.job(job_id)
    assert job.state == "failed"
    assert job.reason["code"] == "signal" and "SIGSEGV" in job.reason["message"] and "3" in job.reason["message"]


def test_a_crashed_job_waits_longer_after_each_death(world):
    job_id = world.submit()
    _ledger().end(world.start(), EndReport(end="crashed"))
    assert world.assign() == []
    first = world.job(job_id).available_at - world.seconds
    world.wait(first)
    _ledger().end(world.start(), EndReport(end="crashed"))
    second = world.job(job_id).available_at - world.seconds
    assert 0.5 <= first <= 1.5 and 1.0 <= second <= 3.0


def test_a_stop_costs_no_death_and_no_wait(world):
    job_id = world.submit()
    for _ in range(5):
        _ledger().end(world.start(), EndReport(end="stopped"))
    assert (world.state(job_id), world.job(job_id).deaths) == ("queued", 0)


def test_a_handlers_refusal_is_not_tried_again(world):
    job_id = world.submit()
    _ledger().end(world.start(), EndReport(end="failed", reason=Reason(code="dataset_unfit", message="One class.")))
    job = world.job(job_id)
    assert (job.state, job.reason["message"]) == ("failed", "One class.")


def test_a_guard_that_an_executor_saw_die_frees_its_job_at_once(world):
    job_id = world.submit()
    held = world.start()
    assert _ledger().lose(held.attempt_id, {"words": "gone"}) == "queued"
    assert _ledger().lose(held.attempt_id, {"words": "gone"}) is None
    assert world.state(job_id) == "queued"


def test_a_dead_guard_of_an_ended_attempt_changes_nothing(world):
    job_id = world.submit()
    held = world.start()
    _ledger().publish(held, {}, {}, _nothing)
    assert _ledger().lose(held.attempt_id, {"words": "gone"}) is None
    assert world.state(job_id) == "succeeded"


def test_i10_time_comes_from_the_database(world):
    from trainshed.server.queue import dialect

    dialect.set_clock(None)
    first = _ledger().now()
    assert abs(first - time.time()) < 5
    job_id = world.submit()
    assert first <= world.job(job_id).created_at <= _ledger().now()


# Pause and resume


def test_a_paused_job_gives_its_slots_back_and_goes_on_when_resumed(world):
    from trainshed.server.records.models import Slot

    job_id = world.submit()
    held = world.start()
    _ledger().pause(job_id, actor="person:test")
    assert world.renew(held).pause_requested
    _ledger().save_checkpoint(held, _blob("e"), 12)
    _ledger().end(held, EndReport(end="paused"))
    assert world.state(job_id) == "paused" and not Slot.objects.exclude(attempt_id=None).exists()
    assert world.assign() == []
    _ledger().resume(job_id, actor="person:test")
    again = world.start()
    assert again.number == 2 and not world.renew(again).pause_requested
    assert world.job(job_id).checkpoint.step == 12


@pytest.mark.parametrize("act", ["pause", "resume"])
def test_pause_and_resume_of_a_queued_job_are_refused(world, act):
    job_id = world.submit()
    with pytest.raises(StateConflict, match="is queued"):
        getattr(_ledger(), act)(job_id, actor="person:test")


# Dependencies


def test_a_job_waits_for_its_parents(world):
    first, second = world.submit(), world.submit()
    child = world.submit(parents=(first, second))
    assert world.state(child) == "blocked"
    for assigned in world.assign():
        world.renew(assigned.held)
        assert world.state(child) == "blocked"
        _ledger().publish(assigned.held, {}, {}, _nothing)
    assert world.state(child) == "queued"


@pytest.mark.parametrize("how", ["failed", "cancelled"])
def test_a_parents_end_ends_its_descendants_and_names_it(world, how):
    parent = world.submit(title="the parent")
    child = world.submit(parents=(parent,), title="the child")
    grandchild = world.submit(parents=(child,))
    if how == "failed":
        _ledger().end(world.start(), EndReport(end="failed"))
    else:
        _ledger().cancel(parent, actor="person:test")
    assert (world.state(child), world.state(grandchild)) == (how, how)
    assert "the parent" in world.job(child).reason["message"]
    assert "the child" in world.job(grandchild).reason["message"]


def test_a_child_of_a_parent_that_has_succeeded_is_queued_at_once(world):
    parent = world.submit()
    _ledger().publish(world.start(), {}, {}, _nothing)
    assert world.state(world.submit(parents=(parent,))) == "queued"


def test_a_child_of_a_failed_or_unknown_parent_is_refused(world):
    parent = world.submit()
    _ledger().cancel(parent, actor="person:test")
    with pytest.raises(StateConflict):
        world.submit(parents=(parent,))
    with pytest.raises(NotFound):
        world.submit(parents=("nobody",))


# Slots


def test_a_host_runs_no_more_jobs_than_it_has_slots(world):
    jobs = [world.submit() for _ in range(5)]
    assert len(world.assign()) == 2
    assert world.assign() == []
    assert [world.state(job) for job in jobs].count("assigned") == 2


def test_a_slot_has_one_holder_however_many_schedulers_assign(world):
    from django.db import connection

    from trainshed.server.records.models import Attempt, Slot

    for _ in range(6):
        world.submit()
    errors: list[BaseException] = []

    def race() -> None:
        try:
            for _ in range(4):
                world.assign()
        except StateConflict:
            pass
        except BaseException as error:
            errors.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=race) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    holders = [slot.attempt_id for slot in Slot.objects.all()]
    assert not errors
    assert None not in holders and len(set(holders)) == 2
    assert Attempt.objects.count() == 2


def test_one_scheduler_leads_until_its_lease_ends(world):
    assert _ledger().lead("a", seconds=30)
    assert not _ledger().lead("b", seconds=30)
    assert _ledger().lead("a", seconds=30)
    world.wait(31)
    assert _ledger().lead("b", seconds=30)
    assert not _ledger().lead("a", seconds=30)
    _ledger().stand_down("b")
    assert _ledger().lead("a", seconds=30)


def test_i12_every_job_is_in_exactly_one_state_and_a_final_state_is_final(world):
    from trainshed.server.records.models import Job

    ids = [world.submit() for _ in range(4)]
    _ledger().cancel(ids[0], actor="person:test")
    first, second = world.assign()
    world.renew(first.held)
    world.renew(second.held)
    _ledger().publish(first.held, {}, {}, _nothing)
    _ledger().end(second.held, EndReport(end="failed"))
    counts: dict[str, int] = {}
    for state in Job.objects.values_list("state", flat=True):
        counts[state] = counts.get(state, 0) + 1
    assert counts == {"cancelled": 1, "succeeded": 1, "failed": 1, "queued": 1}
    for job_id in (first.held.job_id, second.held.job_id, ids[0]):
        before = world.job(job_id).revision
        with pytest.raises((StateConflict, AttemptSuperseded)):
            _ledger().resume(job_id, actor="person:test")
        assert world.job(job_id).revision == before


# Each fence by itself: the transactions above hold more than one, so these ask the statements


def test_i5_no_fenced_statement_answers_an_attempt_that_does_not_hold_the_job(world):
    from trainshed.server.queue import sql

    old, new = _supersede(world)
    end = {"to": "failed", "reason": None, "deaths": 0, "delay": 0.0, "final": True}
    for state in ("assigned", "running", "queued"):
        assert _ledger()._ask(sql.END, **old.keys, **end, **{"from": state}) == []
    assert _ledger()._ask(sql.END, **new.keys, **end, **{"from": "assigned"}) == []
    assert _ledger()._ask(sql.HOLD, **old.keys) == []
    assert _ledger()._ask(sql.PUBLISH, result="{}", **old.keys) == []
    assert (world.state(new.job_id), world.job(new.job_id).attempt) == ("running", new.number)


def test_i5_only_the_assigned_attempt_starts_a_job(world):
    from trainshed.server.queue import sql

    job_id = world.submit()
    (assigned,) = world.assign()
    stranger = {**assigned.held.keys, "attempt": assigned.held.number + 1}
    assert _ledger()._ask(sql.START, **stranger) == []
    assert world.state(job_id) == "assigned"
    assert len(_ledger()._ask(sql.START, **assigned.held.keys)) == 1
    assert _ledger()._ask(sql.START, **assigned.held.keys) == []


def test_i11_only_a_queued_job_is_assigned(world):
    from trainshed.server.queue import sql
    from trainshed.server.records.models import Job

    job_id = world.submit()
    assert len(_ledger()._ask(sql.ASSIGN, job=job_id)) == 1
    for state in ("blocked", "assigned", "running", "paused", "succeeded", "failed", "cancelled"):
        Job.objects.filter(id=job_id).update(state=state)
        assert _ledger()._ask(sql.ASSIGN, job=job_id) == []


def test_a_slot_that_is_held_is_not_taken(world):
    from trainshed.server.queue import sql
    from trainshed.server.records.models import Slot

    slot = Slot.objects.first().id
    assert _ledger()._ask(sql.TAKE_SLOT, attempt_id="first", slot=slot) == [(slot,)]
    assert _ledger()._ask(sql.TAKE_SLOT, attempt_id="second", slot=slot) == []
    assert Slot.objects.get(id=slot).attempt_id == "first"


def test_the_sweep_looks_at_the_newest_attempt_alone(world):
    old, new = _supersede(world)
    for _ in range(4):
        world.wait_while_web_is_up(world.lease_seconds / 2)
        world.renew(new)
    assert _ledger().sweep(lease_seconds=world.lease_seconds) == 0
    assert world.job(new.job_id).attempt == new.number == old.number + 1
