"""Anything in any order, on the real SQL with a clock that stands until it is turned: the invariants always hold.

Hypothesis plays people, schedulers, guards (the newest and old ones) and time; after each step the whole database is
checked, and at the end everything must still be able to finish.
"""

from __future__ import annotations

import collections
import math
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from conftest import ON_POSTGRESQL
from server.conftest import World
from trainshed.errors import AttemptSuperseded, IdempotencyMismatch, QuotaExceeded, StateConflict
from trainshed.schemas import FINAL_STATES, EndReport, NewEvent, Reason

# I11: every change of state that may happen.
LISTED = {
    ("", "queued"), ("", "blocked"),
    ("blocked", "queued"), ("blocked", "cancelled"), ("blocked", "failed"),
    ("queued", "assigned"), ("queued", "cancelled"),
    ("assigned", "running"), ("assigned", "queued"),
    ("running", "succeeded"), ("running", "failed"), ("running", "cancelled"), ("running", "paused"),
    ("running", "queued"),
    ("paused", "cancelled"), ("paused", "queued"),
}  # fmt: skip
ENDS = ("failed", "crashed", "cancelled", "paused", "stopped")
_EMPTIED = ("Artifact", "Checkpoint", "Event", "Transition", "Attempt", "JobParent", "Job", "Slot", "Pulse", "Quota")
_WAITING, _WORKING = ("blocked", "queued", "paused"), ("assigned", "running")
_gpus = st.sampled_from([0, 0, 0, 1, 2, 3])
# Few jobs and the latest attempts, so that stories cross.
_MOST_JOBS = 6
_any = st.integers(0, 5)


class Ledger(RuleBasedStateMachine):
    """One installation; `world` is shared by all examples and emptied for each."""

    world: World

    def __init__(self) -> None:
        super().__init__()
        from trainshed.server.queue import ledger
        from trainshed.server.records import models

        self.ledger, self.rows = ledger, models
        self.helds: list[Any] = []
        self.jobs: list[str] = []
        self.keys: dict[str, tuple[str, int]] = {}
        self.published: dict[str, dict[str, Any]] = {}
        self.cancelled: set[str] = set()
        self._empty()

    def _empty(self) -> None:
        from django.db import transaction

        with transaction.atomic():
            for name in _EMPTIED:
                getattr(self.rows, name).objects.all().delete()
            self.rows.Host.objects.exclude(id=self.world.host_id).delete()
            self.rows.Workspace.objects.exclude(id=self.world.workspace_id).delete()
            self.rows.Blob.objects.get_or_create(sha256="b" * 64, defaults={"size_bytes": 1})
            other = self.rows.Host.objects.create(name="other", key_sha256="other")
            Slot = self.rows.Slot
            places = [(self.world.host_id, "cpu", 2), (self.world.host_id, "gpu", 1), (other.id, "gpu", 2)]
            for host_id, pool, num in places:
                Slot.objects.bulk_create([Slot(host_id=host_id, pool=pool, position=n) for n in range(num)])
        self.places = [(self.world.workspace_id, self.world.project_id), self.world.add_workspace("second", 2.0)]
        self.beat()
        self.submit(0, 0, 0, [])
        self.submit(1, 0, 0, [0])
        self.assign(True)

    # What is so

    def _job(self, choice: int) -> str:
        return self.jobs[-1 - choice % len(self.jobs)]

    def _held(self, choice: int) -> Any:
        return self.helds[-1 - choice % len(self.helds)]

    def _holds(self, held: Any, *states: str) -> bool:
        job = self.rows.Job.objects.get(id=held.job_id)
        return job.attempt == held.number and job.state in states

    def _picture(self, job_id: str) -> tuple[Any, ...]:
        job = self.rows.Job.objects.filter(id=job_id).values().get()
        attempts = list(self.rows.Attempt.objects.filter(job_id=job_id).order_by("number").values())
        counts = [self.rows.Event.objects.count(), self.rows.Transition.objects.count()]
        return (job, attempts, counts, list(self.rows.Checkpoint.objects.filter(job_id=job_id).values()))

    def _num(self, workspace_id: str, states: tuple[str, ...]) -> int:
        return int(self.rows.Job.objects.filter(workspace_id=workspace_id, state__in=states).count())

    def _most(self, workspace_id: str, resource: str) -> float:
        row = self.rows.Quota.objects.filter(workspace_id=workspace_id, resource=resource).first()
        return math.inf if row is None or row.most is None else row.most

    def _write(self, held: Any, may: bool, write: Any) -> bool:
        """I5: a write succeeds just when it may, and a refused one changes nothing."""
        before = self._picture(held.job_id)
        try:
            write()
        except AttemptSuperseded:
            assert not may
            assert self._picture(held.job_id) == before
            return False
        assert may
        return True

    # People

    @precondition(lambda self: len(self.jobs) < _MOST_JOBS)
    @rule(choice=_any, gpus=_gpus, priority=st.integers(-1, 1), parents=st.lists(_any, max_size=2))
    def submit(self, choice: int, gpus: int, priority: int, parents: list[int]) -> None:
        workspace_id, project_id = self.places[choice % 2]
        chosen = tuple({self._job(parent) for parent in parents})
        states = {self.rows.Job.objects.get(id=job_id).state for job_id in chosen}
        said = {"num_gpus": gpus, "priority": priority, "parents": chosen}
        is_full = self._num(workspace_id, _WAITING) >= self._most(workspace_id, "queued_jobs")
        try:
            made = self.world.submit(workspace_id=workspace_id, project_id=project_id, **said)
        except StateConflict:
            assert states & {"failed", "cancelled"}
            return
        except QuotaExceeded:
            assert is_full
            return
        assert not is_full
        assert not states & {"failed", "cancelled"}
        assert self.world.state(made) == ("blocked" if states - {"succeeded"} else "queued")
        self.jobs.append(made)

    @rule(key=st.sampled_from("xyz"), spec=st.integers(0, 1))
    def submit_with_a_key(self, key: str, spec: int) -> None:
        """I8."""
        try:
            made = self.world.submit(idempotency_key=key, title="keyed", spec={"n": spec})
        except IdempotencyMismatch:
            assert self.keys[key][1] != spec
            return
        except QuotaExceeded:
            assert key not in self.keys
            return
        known = self.keys.setdefault(key, (made, spec))
        assert known == (made, spec)
        if made not in self.jobs:
            self.jobs.append(made)

    @rule(choice=_any)
    def cancel(self, choice: int) -> None:
        job_id = self._job(choice)
        state = self.world.state(job_id)
        try:
            answer = self.ledger.cancel(job_id, actor="person:test")
        except StateConflict:
            assert state in ("succeeded", "failed")
            return
        assert state not in ("succeeded", "failed")
        assert answer == (state if state in ("assigned", "running") else "cancelled")
        self.cancelled.add(job_id)

    @rule(choice=_any)
    def pause(self, choice: int) -> None:
        job_id = self._job(choice)
        state = self.world.state(job_id)
        try:
            self.ledger.pause(job_id, actor="person:test")
        except StateConflict:
            assert state not in ("assigned", "running")
        else:
            assert state in ("assigned", "running")

    @rule(choice=_any)
    def resume(self, choice: int) -> None:
        job_id = self._job(choice)
        state = self.world.state(job_id)
        try:
            self.ledger.resume(job_id, actor="person:test")
        except StateConflict:
            assert state != "paused"
        else:
            assert state == "paused" and self.world.state(job_id) == "queued"

    @rule(choice=_any, resource=st.sampled_from(["queued_jobs", "running_jobs"]), most=st.sampled_from([0, 1, 2, None]))
    def limit(self, choice: int, resource: str, most: int | None) -> None:
        workspace_id, _ = self.places[choice % 2]
        row, _ = self.rows.Quota.objects.get_or_create(workspace_id=workspace_id, resource=resource)
        row.most, row.grace = most, row.used
        row.save()

    # Schedulers and time

    @rule(start=st.sampled_from([True, True, False]))
    def assign(self, start: bool) -> None:
        working = {workspace_id: self._num(workspace_id, _WORKING) for workspace_id, _ in self.places}
        new = [assigned.held for assigned in self.world.assign()]
        for workspace_id, num in working.items():
            most = max(num, self._most(workspace_id, "running_jobs"))
            assert self._num(workspace_id, _WORKING) <= most
        for held in new if start else []:
            self.world.renew(held)
        self.helds += new

    @rule()
    def wait_for_retries_and_start_them(self) -> None:
        self.world.wait(10)
        self.assign(True)

    @rule(seconds=st.sampled_from([0.2, 3.0, 12.0, 40.0]))
    def wait(self, seconds: float) -> None:
        self.world.wait(seconds)

    @rule()
    def beat(self) -> None:
        self.ledger.beat("web", gap_seconds=self.ledger.pulse_gap(self.world.lease_seconds))

    @rule()
    def wait_a_lease_with_the_web_up(self) -> None:
        self.world.wait_while_web_is_up(1.2 * self.world.lease_seconds)

    @rule()
    def sweep(self) -> None:
        self.ledger.sweep(lease_seconds=self.world.lease_seconds)

    @rule(choice=_any)
    def lose(self, choice: int) -> None:
        held = self._held(choice)
        may = self._holds(held, "assigned", "running")
        assert (self.ledger.lose(held.attempt_id, {"words": "gone"}) is not None) == may

    # Guards: the newest, and those that do not know yet that they are old

    @rule(choice=_any)
    def renew(self, choice: int) -> None:
        held = self._held(choice)
        job = self.rows.Job.objects.get(id=held.job_id)
        asked: list[Any] = []
        may = self._holds(held, "assigned", "running")
        if self._write(held, may, lambda: asked.append(self.world.renew(held))):
            assert asked[0].cancel_requested == job.cancel_requested
            assert asked[0].pause_requested == job.pause_requested

    @rule(choice=_any, num=st.integers(1, 3))
    def tell(self, choice: int, num: int) -> None:
        held = self._held(choice)
        events = [NewEvent(kind="progress", body={"n": n}) for n in range(num)]
        self._write(held, self._holds(held, "running"), lambda: self.ledger.tell(held, 0, events))

    @rule(choice=_any, step=st.integers(0, 99))
    def save_checkpoint(self, choice: int, step: int) -> None:
        held = self._held(choice)
        self._write(held, self._holds(held, "running"), lambda: self.ledger.save_checkpoint(held, "b" * 64, step))

    @rule(choice=_any)
    def publish(self, choice: int) -> None:
        """I2 and I3."""
        held = self._held(choice)
        may = self._holds(held, "running")
        result = {"by": held.number}
        before = self._picture(held.job_id)
        try:
            done = self._write(held, may, lambda: self.ledger.publish(held, result, {"f": "b" * 64}, lambda: None))
        except StateConflict:
            assert held.job_id in self.cancelled and self._picture(held.job_id) == before
            return
        if done:
            assert held.job_id not in self.cancelled and held.job_id not in self.published
            self.published[held.job_id] = result

    @rule(choice=_any, end=st.sampled_from(ENDS))
    def end(self, choice: int, end: Any) -> None:
        held = self._held(choice)
        report = EndReport(end=end, reason=Reason(code="c", message="m"))
        self._write(held, self._holds(held, "running"), lambda: self.ledger.end(held, report))

    # What always holds

    @invariant()
    def i2_i3_results_are_those_that_were_published(self) -> None:
        for job in self.rows.Job.objects.all():
            assert job.result == self.published.get(job.id)
            assert (job.state == "succeeded") == (job.id in self.published)
            if job.id in self.cancelled:
                assert job.state not in ("succeeded", "paused") or job.cancel_requested
        artifacts = collections.Counter(self.rows.Artifact.objects.values_list("job_id", flat=True))
        assert artifacts == dict.fromkeys(self.published, 1)

    @invariant()
    def i11_only_listed_changes_happen_and_each_is_written_down(self) -> None:
        stories: dict[str, list[tuple[str, str]]] = collections.defaultdict(list)
        for row in self.rows.Transition.objects.order_by("id"):
            stories[row.job_id].append((row.from_state, row.to_state))
        for job in self.rows.Job.objects.all():
            story = stories[job.id]
            assert set(story) <= LISTED
            assert [to for _, to in story[:-1]] == [before for before, _ in story[1:]]
            assert story[0][0] == "" and story[-1][1] == job.state
            assert (job.ended_at is not None) == (job.state in FINAL_STATES)

    @invariant()
    def i12_every_submitted_job_is_there_with_a_story_without_gaps(self) -> None:
        assert set(self.rows.Job.objects.values_list("id", flat=True)) == set(self.jobs)
        revisions: dict[str, list[int]] = collections.defaultdict(list)
        for job_id, revision in self.rows.Event.objects.order_by("revision").values_list("job_id", "revision"):
            revisions[job_id].append(revision)
        for job in self.rows.Job.objects.all():
            assert revisions[job.id] == list(range(1, job.revision + 1))

    @invariant()
    def slots_are_held_by_the_newest_attempts_of_working_jobs_and_by_nobody_else(self) -> None:
        attempts = {row.id: row for row in self.rows.Attempt.objects.select_related("job")}
        held: dict[str, list[Any]] = collections.defaultdict(list)
        for slot in self.rows.Slot.objects.exclude(attempt_id=None):
            held[slot.attempt_id].append(slot)
        for attempt_id, slots in held.items():
            attempt = attempts[attempt_id]
            assert attempt.job.state in ("assigned", "running") and attempt.number == attempt.job.attempt
            assert {slot.host_id for slot in slots} == {attempt.host_id}
            assert {slot.pool for slot in slots} == {attempt.job.pool}
            assert len(slots) == max(1, attempt.job.num_gpus)
        working = [row for row in attempts.values() if row.ended_at is None]
        assert {row.id for row in working} == set(held)

    @invariant()
    def i7_deaths_are_counted_and_three_are_the_end(self) -> None:
        for job in self.rows.Job.objects.all():
            crashed = self.rows.Attempt.objects.filter(job=job, end="crashed").count()
            assert job.deaths <= min(crashed, 3) and (job.deaths < 3 or job.state == "failed")

    @invariant()
    def i6_what_is_counted_is_what_is_so(self) -> None:
        counted: dict[tuple[str, str], int] = {
            (row.workspace_id, row.resource): row.used for row in self.rows.Quota.objects.all()
        }
        for workspace_id, _ in self.places:
            ended = self.rows.Attempt.objects.exclude(ended_at=None).exclude(started_at=None).select_related("job")
            so = {
                "queued_jobs": self._num(workspace_id, _WAITING),
                "running_jobs": self._num(workspace_id, _WORKING),
                "gpu_seconds": sum(
                    row.job.num_gpus * round(row.ended_at - row.started_at)
                    for row in ended.filter(job__workspace_id=workspace_id)
                ),
            }
            assert {resource: counted.get((workspace_id, resource), 0) for resource in so} == so

    @invariant()
    def a_job_is_blocked_just_as_long_as_a_parent_is_not_done(self) -> None:
        for job in self.rows.Job.objects.filter(state="blocked"):
            states = {row.parent.state for row in job.parents.select_related("parent")}
            assert not states & {"failed", "cancelled"} and states - {"succeeded"}

    # And at the end

    def teardown(self) -> None:
        """Everything that can still finish does, once no limit holds it back: nothing is stuck."""
        self.rows.Quota.objects.update(most=None)
        for _ in range(3 * len(self.jobs) + 5):
            self.world.wait_while_web_is_up(1.5 * self.world.lease_seconds)
            self.sweep()
            self.world.wait(10)  # longer than any pause before a retry
            for job in self.rows.Job.objects.filter(state="paused"):
                self.ledger.resume(job.id, actor="person:test")
            assigned = self.world.assign()
            if not assigned:
                break
            for each in assigned:
                self._do(each.held)
        left = self.rows.Job.objects.exclude(state__in=FINAL_STATES)
        too_large = {job.id for job in left if job.num_gpus > 2}
        assert all(job.id in too_large or job.state == "blocked" for job in left), [job.state for job in left]
        assert not self.rows.Slot.objects.exclude(attempt_id=None).exists()

    def _do(self, held: Any) -> None:
        """What a guard without bad luck does."""
        if self.world.renew(held).cancel_requested:
            self.ledger.end(held, EndReport(end="cancelled"))
        else:
            self.ledger.publish(held, {"by": held.number}, {}, lambda: None)


def test_the_invariants_hold_whatever_happens(world):
    class Here(Ledger):
        pass

    Here.world = world
    run_state_machine_as_test(
        Here,
        settings=settings(
            max_examples=10 if ON_POSTGRESQL else 25,
            stateful_step_count=50,
            deadline=None,
            database=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
