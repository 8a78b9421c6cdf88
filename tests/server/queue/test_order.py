"""Who is next: the one pure function, its fairness, and that what it tells is what happens."""

from __future__ import annotations

import collections
import time
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server.conftest import add_gpus
from trainshed.server.queue.order import Decision, Pool, QueuedJob, Share, Slot, plan


def _pool(**hosts: int | tuple[int, int]) -> Pool:
    """Hosts by name: the number of free slots, or (free, in all)."""
    pool, slot = Pool(), 0
    for name, said in hosts.items():
        free, total = said if isinstance(said, tuple) else (said, said)
        pool.free[name] = [Slot(number, number) for number in range(slot, slot + free)]
        pool.totals[name] = total
        slot += free
    return pool


def _job(name: str, workspace: str = "a", gpus: int = 0, priority: int = 0, at: float | None = None) -> QueuedJob:
    return QueuedJob(name, workspace, gpus, priority, float(sum(map(ord, name))) if at is None else at)


def _shares(**weights: float) -> list[Share]:
    return [Share(name, weight, 0) for name, weight in weights.items()]


def _placed(decisions: list[Decision]) -> list[str]:
    return [decision.job.id for decision in decisions if decision.host_id]


def test_older_jobs_go_first():
    jobs = [_job("young", at=3), _job("old", at=1), _job("middle", at=2)]
    assert _placed(list(plan(jobs, _shares(a=1), _pool(h=2)))) == ["old", "middle"]


def test_a_higher_priority_goes_before_age_inside_a_workspace():
    jobs = [_job("old", at=1), _job("urgent", priority=5, at=9), _job("low", priority=-1, at=0)]
    assert _placed(list(plan(jobs, _shares(a=1), _pool(h=3)))) == ["urgent", "old", "low"]


def test_a_priority_gives_no_workspace_more_than_its_share():
    jobs = [_job(f"a{n}", "a", priority=100, at=n) for n in range(4)] + [
        _job(f"b{n}", "b", at=n + 10) for n in range(4)
    ]
    placed = _placed(list(plan(jobs, _shares(a=1, b=1), _pool(h=4))))
    assert collections.Counter(name[0] for name in placed) == {"a": 2, "b": 2}


def test_jobs_of_the_same_moment_go_by_id_so_that_every_scheduler_agrees():
    jobs = [_job(name, at=1) for name in "cab"]
    for order in (jobs, jobs[::-1]):
        assert _placed(list(plan(order, _shares(a=1), _pool(h=3)))) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("weights", "expected"), [((1, 1), (6, 6)), ((2, 1), (8, 4)), ((5, 1), (10, 2)), ((0.5, 1), (4, 8))]
)
def test_slots_are_shared_by_weight(weights, expected):
    jobs = [_job(f"{name}{n:02d}", name, at=n) for name in "ab" for n in range(20)]
    placed = _placed(list(plan(jobs, _shares(a=weights[0], b=weights[1]), _pool(h=12))))
    assert tuple(collections.Counter(name[0] for name in placed)[name] for name in "ab") == expected


def test_who_holds_slots_already_waits_for_who_holds_none():
    shares = [Share("a", 1, 3), Share("b", 1, 0)]
    jobs = [_job("a1", "a", at=1), _job("b1", "b", at=5), _job("b2", "b", at=6)]
    assert _placed(list(plan(jobs, shares, _pool(h=2)))) == ["b1", "b2"]


def test_a_job_of_many_cards_counts_as_many_slots():
    jobs = [
        _job("a1", "a", gpus=4, at=1),
        *(_job(f"b{n}", "b", gpus=1, at=2 + n) for n in range(4)),
        _job("a2", "a", 1, at=2),
    ]
    decisions = list(plan(jobs, _shares(a=1, b=1), _pool(h=8)))
    assert _placed(decisions) == ["a1", "b0", "b1", "b2", "b3"]
    assert [(decision.job.id, decision.place) for decision in decisions[5:]] == [("a2", 1)]


@pytest.mark.parametrize("num", [1000, 10_000])
def test_i13_10_000_jobs_of_one_workspace_delay_anothers_first_by_at_most_one(num):
    flood = [_job(f"a{n:05d}", "a", at=n) for n in range(num)]
    late = _job("b", "b", at=num + 1)
    began = time.process_time()
    decisions = list(plan([*flood, late], _shares(a=1, b=1), _pool(h=(0, 1))))
    seconds = time.process_time() - began
    order = [decision.job.id for decision in decisions]
    assert order.index("b") <= 1 and decisions[order.index("b")].place in (1, 2)
    assert seconds < 2, f"{seconds:.2f} s for {num} jobs"


def test_i13_also_while_the_flood_runs():
    flood = [_job(f"a{n:05d}", "a", at=n) for n in range(2000)]
    shares = [Share("a", 1, 7), Share("b", 1, 0)]
    decisions = list(plan([*flood, _job("b", "b", at=9999)], shares, _pool(h=(1, 8))))
    assert _placed(decisions) == ["b"]


def test_several_cards_are_always_of_one_host():
    decisions = list(plan([_job("j", gpus=3)], _shares(a=1), _pool(h1=2, h2=2, h3=3)))
    assert [(decision.host_id, len(decision.slots)) for decision in decisions] == [("h3", 3)]
    (waiting,) = plan([_job("j", gpus=3)], _shares(a=1), _pool(h1=2, h2=2, h3=(2, 3)))
    assert (waiting.host_id, waiting.place) == (None, 1)
    assert (
        waiting.reason is not None and waiting.reason.code == "slots_taken" and "3 free GPUs" in waiting.reason.message
    )


def test_a_job_takes_the_host_that_it_fills_best():
    decisions = list(plan([_job("j1", gpus=2, at=1), _job("j2", gpus=8, at=2)], _shares(a=1), _pool(big=8, small=2)))
    assert [decision.host_id for decision in decisions] == ["small", "big"]


def test_nobody_overtakes_a_job_that_only_waits_for_slots():
    """A large job would starve if small ones took each card that becomes free."""
    jobs = [_job("large", gpus=4, at=1), *(_job(f"small{n}", gpus=1, at=2 + n) for n in range(3))]
    decisions = list(plan(jobs, _shares(a=1), _pool(h=(3, 4))))
    assert _placed(decisions) == []
    assert [(decision.job.id, decision.place) for decision in decisions] == [
        ("large", 1),
        ("small0", 2),
        ("small1", 3),
        ("small2", 4),
    ]


def test_a_job_that_fits_nowhere_holds_up_nobody_and_says_why():
    jobs = [_job("huge", gpus=9, at=1, priority=9), _job("small", gpus=1, at=2)]
    decisions = list(plan(jobs, _shares(a=1), _pool(h=8)))
    assert _placed(decisions) == ["small"]
    (huge,) = [decision for decision in decisions if decision.job.id == "huge"]
    assert huge.place is None and huge.reason is not None and huge.reason.code == "fits_nowhere"
    assert "9 GPUs" in huge.reason.message and "8" in huge.reason.message and huge.reason.hint


def test_without_any_host_every_job_says_so():
    (decision,) = plan([_job("j")], _shares(a=1), _pool())
    assert decision.reason is not None and decision.reason.code == "no_host" and decision.place is None


# What holds for any world

_jobs = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(0, 5), st.integers(-2, 2), st.integers(0, 3)), max_size=25
)
_hosts = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=4)
_weights = st.tuples(*[st.sampled_from([0.5, 1.0, 2.0])] * 3)
_held = st.tuples(*[st.integers(0, 6)] * 3)


@given(_jobs, _hosts, _weights, _held)
@settings(max_examples=200, deadline=None)
def test_every_plan_is_sound(jobs, hosts, weights, held):
    queued = [_job(f"j{n}", *said[:3], at=said[3]) for n, said in enumerate(jobs)]
    shares = [Share(name, weights[n], held[n]) for n, name in enumerate("abc")]
    pool = _pool(**{f"h{n}": (free, free + more) for n, (free, more) in enumerate(hosts)})
    free = {name: list(slots) for name, slots in pool.free.items()}
    decisions = list(plan(queued, shares, pool))
    assert sorted(decision.job.id for decision in decisions) == sorted(job.id for job in queued)
    taken = [(decision.host_id, slot) for decision in decisions for slot in decision.slots]
    assert len(set(taken)) == len(taken)
    for decision in decisions:
        if decision.host_id:
            assert len(decision.slots) == decision.job.num_slots and decision.place is None
            assert set(decision.slots) <= set(free[decision.host_id])
        else:
            assert decision.reason is not None
    places = [decision.place for decision in decisions if decision.place]
    assert places == list(range(1, len(places) + 1))
    states = ["placed" if decision.host_id else "waits" for decision in decisions if decision.host_id or decision.place]
    assert states == sorted(states)  # after the first that waits nobody is placed
    in_line = [decision.job for decision in decisions if decision.host_id or decision.place]
    for workspace in "abc":
        mine = [job.rank for job in in_line if job.workspace_id == workspace]
        assert mine == sorted(mine)


def test_a_job_that_fits_nowhere_changes_nobodys_turn():
    """The line that is told holds such jobs, and the one that is acted on does not: both must be the same."""
    jobs = [_job("a1", "a", gpus=1, at=1), _job("b1", "b", gpus=1, at=2)]
    unfit = _job("a2", "a", gpus=2, priority=1, at=3)
    for queued in (jobs, [*jobs, unfit]):
        assert _placed(list(plan(queued, _shares(a=1, b=1), _pool(h=1)))) == ["a1"]


# On the ledger


def _ledger() -> Any:
    from trainshed.server.queue import ledger

    return ledger


def test_a_cpu_job_never_waits_for_a_card(world):
    add_gpus(world, 1)
    cards = [world.submit(num_gpus=1) for _ in range(5)]
    light = world.submit()
    started = {assigned.held.job_id for assigned in world.assign()}
    assert light in started and len(started) == 2
    waiting = [_ledger().why_waiting(job_id) for job_id in cards if job_id not in started]
    assert {said.reason.code for said in waiting} == {"slots_taken"}
    assert sorted(said.place for said in waiting) == [1, 2, 3, 4]


def test_a_card_job_never_takes_a_cpu_slot_and_gets_its_cards(world):
    add_gpus(world, 4)
    world.submit(num_gpus=3)
    (assigned,) = world.assign()
    assert sorted(assigned.gpus) == [0, 1, 2]
    world.submit()
    (light,) = world.assign()
    assert light.gpus == ()


def test_jobs_that_fit_nowhere_do_not_hold_up_those_behind_them(world):
    """However many there are, and however urgent."""
    add_gpus(world, 1)
    for _ in range(40):
        world.submit(num_gpus=8, priority=9)
    small = world.submit(num_gpus=1)
    assert _ledger().why_waiting(small).reason.code == "starting"
    assert [assigned.held.job_id for assigned in world.assign()] == [small]


def test_a_job_that_backs_off_holds_up_nobody(world):
    from trainshed.schemas import EndReport

    first = world.submit(priority=9)
    _ledger().end(world.start(), EndReport(end="crashed"))
    second = world.submit()
    assert [assigned.held.job_id for assigned in world.assign()] == [second]
    assert _ledger().why_waiting(first).reason.code == "backing_off"


def test_i13_on_the_ledger_the_flood_delays_a_newcomer_by_at_most_one(world):
    from trainshed.server.records.models import Job

    model = Job.objects.get(id=world.submit())
    flood = [
        Job(
            **{
                field.attname: getattr(model, field.attname)
                for field in Job._meta.concrete_fields
                if field.name not in ("id", "created_at")
            },
            created_at=world.seconds + number / 1e4,
        )
        for number in range(10_000)
    ]
    Job.objects.bulk_create(flood, batch_size=1000)
    world.wait(10)
    workspace_id, project_id = world.add_workspace("other")
    newcomer = world.submit(workspace_id=workspace_id, project_id=project_id)
    assert newcomer in {assigned.held.job_id for assigned in world.assign()}
    began = time.process_time()
    last = _ledger().why_waiting(flood[-1].id)
    print(f"why_waiting behind 10,000 jobs: {time.process_time() - began:.2f} s")
    assert last.place == 10_000 and time.process_time() - began < 5


_worlds = st.fixed_dictionaries(
    {
        "jobs": st.lists(st.tuples(st.sampled_from([0, 0, 1]), st.integers(0, 3), st.integers(-1, 1)), max_size=12),
        "hosts": st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3)), min_size=1, max_size=3),
        "ends": st.lists(st.integers(0, 30), max_size=6),
    }
)


def _build(world: Any, said: dict[str, Any]) -> list[str]:
    """A random world: hosts with cards and CPU slots, jobs of two workspaces."""
    from trainshed.server.records.models import Attempt, Host, Job, Slot, Workspace

    for model in (Slot, Attempt, Job, Host):
        model.objects.all().delete()
    Workspace.objects.exclude(id=world.workspace_id).delete()
    places = [(world.workspace_id, world.project_id), world.add_workspace("other", 2.0)]
    for number, (num_cpu, num_gpus) in enumerate(said["hosts"]):
        host = Host.objects.create(name=f"h{number}", key_sha256=f"h{number}")
        slots = [("cpu", position) for position in range(num_cpu)] + [("gpu", position) for position in range(num_gpus)]
        Slot.objects.bulk_create([Slot(host=host, pool=pool, position=position) for pool, position in slots])
    made = []
    for workspace, num_gpus, priority in said["jobs"]:
        world.wait(1)
        workspace_id, project_id = places[workspace]
        made.append(
            world.submit(workspace_id=workspace_id, project_id=project_id, num_gpus=num_gpus, priority=priority)
        )
    return made


def _foretold(queued: list[str]) -> tuple[set[str], list[str]]:
    """(the jobs that say they start now, those in line by place) of each pool taken together."""
    waiting = {job_id: _ledger().why_waiting(job_id) for job_id in queued}
    starting = {job_id for job_id, said in waiting.items() if said.reason and said.reason.code == "starting"}
    line = sorted((said.place, job_id) for job_id, said in waiting.items() if said.place is not None)
    return starting, [job_id for _, job_id in line]


@given(_worlds)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_why_waiting_foretells_what_assign_does(world, said):
    """Those that say `starting` start, no other does, and then the first in line is the next when slots free."""
    from django.db import transaction

    from trainshed.schemas import EndReport
    from trainshed.server.records.models import Job

    with transaction.atomic():
        queued = _build(world, said)
    running: list[Any] = []
    for choice in [0, *said["ends"]]:
        starting, _ = _foretold(queued)
        assigned = world.assign()
        assert {each.held.job_id for each in assigned} == starting
        for each in assigned:
            world.renew(each.held)
        running += [each.held for each in assigned]
        queued = [job_id for job_id in queued if job_id not in starting]
        _, line = _foretold(queued)
        if not running:
            break
        ended = running.pop(choice % len(running))
        pool = Job.objects.get(id=ended.job_id).pool
        _ledger().end(ended, EndReport(end="failed"))
        first = next((job_id for job_id in line if Job.objects.get(id=job_id).pool == pool), None)
        now_starting, _ = _foretold(queued)
        # The workspace that just lost a slot may go before; without that, the first in line is the first to start.
        of_pool = [job_id for job_id in now_starting if Job.objects.get(id=job_id).pool == pool]
        if first and of_pool and len({Job.objects.get(id=job_id).workspace_id for job_id in queued}) == 1:
            assert first in of_pool
