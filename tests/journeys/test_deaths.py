"""Processes that die or freeze in mid-training: the job goes on from its checkpoint and has one result (I2, I4, I5)."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

import pytest

from journeys.service import LEASE_SECONDS, Process, Service, wait_until
from journeys.trainings import Scene, attempt_ends, checkpoint_step, first_sign, metric_points, num_deaths
from trainshed.schemas import JobView

Tell = Callable[[str], None]
HEARTBEAT_SECONDS = LEASE_SECONDS / 15
# Not the target, which is 5 s on a quiet machine: the patience on one that is busy with other things.
MOST_RESUME_SECONDS = 120.0


def one_of(family: list[Process], role: str) -> Process:
    (found,) = (process for process in family if process.role == role)
    return found


def all_gone(processes: list[Process], seconds: float) -> float:
    """Wait until none of them lives; the seconds it took."""
    began = time.monotonic()
    wait_until(lambda: not any(process.is_alive() for process in processes), seconds, f"the end of {processes}")
    return time.monotonic() - began


def resume_seconds(service: Service, job: JobView, attempt: int, since: float) -> float:
    """From a kill to the first step that the next attempt tells of."""
    first = wait_until(lambda: first_sign(service, job, attempt), MOST_RESUME_SECONDS, f"attempt {attempt} to go on")
    return first - since


def given_seconds(service: Service, job: JobView, attempt: int, since: float) -> float:
    """From a kill to the ledger's giving the job to the next attempt."""
    rows = service.rows(f"SELECT assigned_at FROM attempt WHERE job_id = '{job.id}' AND number = {attempt}")
    return float(rows[0][0]) - since


@pytest.mark.parametrize("role", ["child", "guard"])
def test_i4_a_training_whose_worker_is_killed_goes_on_from_its_checkpoint(scene: Scene, role: str, tell: Tell) -> None:
    service = scene.service
    job = scene.train_until_checkpoint()
    step = checkpoint_step(service, job)
    family, spare = service.working(), "was" if service.has_warm_spare() else "was not"
    killed_at = time.time()
    one_of(family, role).signal(signal.SIGKILL)
    all_gone(family, 5)
    seconds = resume_seconds(service, job, 2, killed_at)
    given = given_seconds(service, job, 2, killed_at)
    tell(f"kill -9 of the {role}: given to the next attempt after {given:.1f} s, which told its first step after")
    tell(f"    {seconds:.1f} s (target <= 5 s on a quiet machine; the spare runner {spare} warm)")
    job = scene.finish(job)
    assert attempt_ends(service, job) == ["crashed", "succeeded"] and num_deaths(service, job) == 1
    redone = min(metric_points(service, job, 2))
    assert redone > step, "steps before the checkpoint were done again"


@pytest.mark.parametrize("role", ["scheduler", "web"])
def test_a_training_does_not_notice_the_death_of_the(scene: Scene, role: str) -> None:
    service = scene.service
    job = scene.train_until_checkpoint()
    family = service.working()
    dead = service.process(role)
    dead.signal(signal.SIGKILL)
    wait_until(lambda: not dead.is_alive(), 5, f"the end of the {role}")
    after = service.process(role)
    assert after != dead
    assert all(process.is_alive() for process in family), "the attempt died with it"
    job = scene.finish(job)
    assert attempt_ends(service, job) == ["succeeded"] and num_deaths(service, job) == 0


def test_the_next_scheduler_sees_a_guard_die_that_an_earlier_one_started(scene: Scene) -> None:
    service = scene.service
    job = scene.train_until_checkpoint()
    family = service.working()
    service.process("scheduler").signal(signal.SIGKILL)
    one_of(family, "guard").signal(signal.SIGKILL)
    all_gone(family, 5)
    job = scene.finish(job)
    assert attempt_ends(service, job) == ["crashed", "succeeded"]


def test_a_training_goes_on_when_everything_but_the_supervisor_is_killed_at_once(scene: Scene, tell: Tell) -> None:
    service = scene.service
    job = scene.train_until_checkpoint()
    everyone = [process for process in service.processes() if process.role != "supervisor"]
    killed_at = time.time()
    for process in everyone:
        process.signal(signal.SIGKILL)
    all_gone(everyone, 5)
    seconds = resume_seconds(service, job, 2, killed_at)
    tell(f"resumed {seconds:.1f} s after kill -9 of all processes but the supervisor")
    job = scene.finish(job)
    assert attempt_ends(service, job) == ["crashed", "succeeded"] and num_deaths(service, job) == 1
    answer = service.client.models.predict(service.wait_for_shelf(), _any_picture(service))
    assert answer.predictions


def test_everything_ends_with_the_supervisor_and_the_training_goes_on_at_the_next_start(
    scene: Scene, tell: Tell
) -> None:
    service = scene.service
    job = scene.train_until_checkpoint()
    everyone = service.processes()
    one_of(everyone, "supervisor").signal(signal.SIGKILL)
    seconds = all_gone(everyone, 20)
    tell(f"everything ended {seconds:.1f} s after kill -9 of the supervisor")
    service.wait_stopped()
    service.start()
    job = scene.finish(job)
    assert len(attempt_ends(service, job)) == 2 and num_deaths(service, job) <= 1


def test_i5_a_frozen_attempt_that_wakes_up_after_its_lease_changes_nothing(scene: Scene, tell: Tell) -> None:
    service = scene.service
    job = scene.train_until_checkpoint()
    frozen = service.working()
    for process in frozen:
        process.signal(signal.SIGSTOP)
    frozen_at = time.time()
    seconds = resume_seconds(service, job, 2, frozen_at)
    tell(f"another attempt went on {seconds:.1f} s after the guard froze (lease {LEASE_SECONDS:g} s)")
    for process in frozen:
        process.signal(signal.SIGCONT)
    seconds = all_gone(frozen, 2 * HEARTBEAT_SECONDS + 2.0)  # it was killed; it did not run to its own end
    tell(f"the old attempt ended {seconds:.1f} s after it woke up")
    assert service.client.jobs.get(job).state == "running", "it should still run, or this proves nothing"
    job = scene.finish(job)  # proves that no event of the old attempt came after the new one had begun
    assert attempt_ends(service, job) == ["crashed", "succeeded"]


def _any_picture(service: Service) -> bytes:
    return next((service.home / "digits").glob("*/*.png")).read_bytes()
