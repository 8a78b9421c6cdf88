"""The database's clock jumps: an hour forward or back costs nobody their work and holds up nobody."""

from __future__ import annotations

from typing import Any

import pytest

HOUR = 3600.0


def _ledger() -> Any:
    from trainshed.server.queue import ledger

    return ledger


def _sweep(world: Any) -> int:
    return int(_ledger().sweep(lease_seconds=world.lease_seconds))


@pytest.mark.parametrize("jump", [HOUR, -HOUR])
def test_a_jump_is_no_attempts_death(world, jump):
    job_id = world.submit()
    held = world.start()
    world.wait_while_web_is_up(2 * world.lease_seconds)
    world.renew(held)
    world.wait(jump)
    assert _sweep(world) == 0
    world.wait_while_web_is_up(world.lease_seconds / 6)  # the guard's next heartbeat
    assert _sweep(world) == 0
    world.renew(held)
    world.wait_while_web_is_up(0.9 * world.lease_seconds)
    assert _sweep(world) == 0
    assert (world.state(job_id), world.job(job_id).deaths) == ("running", 0)


@pytest.mark.parametrize("jump", [HOUR, -HOUR])
def test_after_a_jump_a_silent_attempt_is_still_found_within_two_leases(world, jump):
    job_id = world.submit()
    world.start()
    world.wait_while_web_is_up(2 * world.lease_seconds / 3)
    world.wait(jump)
    world.wait_while_web_is_up(2 * world.lease_seconds)
    assert _sweep(world) == 1 and world.state(job_id) == "queued"


@pytest.mark.parametrize("jump", [HOUR, -HOUR])
def test_after_a_jump_queued_jobs_start_at_once(world, jump):
    from trainshed.schemas import EndReport

    fresh, stopped = world.submit(), world.submit()
    for assigned in world.assign():
        world.renew(assigned.held)
        _ledger().end(assigned.held, EndReport(end="stopped"))
    world.wait(jump)
    assert {assigned.held.job_id for assigned in world.assign()} == {fresh, stopped}


@pytest.mark.parametrize("jump", [HOUR, -HOUR])
def test_after_a_jump_a_dead_schedulers_lease_ends(world, jump):
    assert _ledger().lead("dead", seconds=30)
    world.wait(jump)
    assert _ledger().lead("alive", seconds=30)
    assert not _ledger().lead("dead", seconds=30)
