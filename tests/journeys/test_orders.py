"""What a person asks of a running training: cancel, pause, resume, and stopping the service under it."""

from __future__ import annotations

import time
from collections.abc import Callable

from journeys.service import LEASE_SECONDS, wait_until
from journeys.trainings import Scene, attempt_ends, check_history, checkpoint_step, metric_points, num_deaths

Tell = Callable[[str], None]
HEARTBEAT_SECONDS = LEASE_SECONDS / 15


def test_i3_a_cancelled_training_ends_at_once_and_publishes_nothing(scene: Scene, tell: Tell) -> None:
    service = scene.service
    num_models = len(list(service.client.models.list()))
    job = scene.train_until_checkpoint()
    family = service.working()
    began = time.monotonic()
    assert service.client.jobs.cancel(job).cancel_requested
    wait_until(lambda: not any(process.is_alive() for process in family), 10, "the end of the work")
    seconds = time.monotonic() - began
    tell(f"all processes of a cancelled training had ended after {seconds:.1f} s")
    assert seconds <= 2 * HEARTBEAT_SECONDS + 2.0 + 0.5  # half a second for the signal and this look
    job = service.client.jobs.wait(job, 10)
    assert job.state == "cancelled" and job.result is None
    assert attempt_ends(service, job) == ["cancelled"] and num_deaths(service, job) == 0
    check_history(service, job)
    service.wait_idle()
    assert len(list(service.client.models.list())) == num_models


def test_a_paused_training_frees_its_slot_and_goes_on_when_resumed(scene: Scene) -> None:
    service = scene.service
    job = scene.train_until_checkpoint()
    service.client.jobs.pause(job)
    wait_until(lambda: service.client.jobs.get(job).state == "paused", 30, "the pause")
    service.wait_idle()
    step = checkpoint_step(service, job)
    assert service.client.jobs.why_waiting(job).reason.code == "paused"
    assert service.client.jobs.resume(job).state in ("queued", "assigned", "running")
    job = scene.finish(job)
    assert attempt_ends(service, job) == ["paused", "succeeded"] and num_deaths(service, job) == 0
    assert max(metric_points(service, job, 1)) <= step < min(metric_points(service, job, 2)), "a step was done twice"


def test_a_training_goes_on_after_a_clean_stop_and_start_of_the_service(scene: Scene, tell: Tell) -> None:
    service = scene.service
    job = scene.train_until_checkpoint()
    began = time.monotonic()
    assert service.stop() == 0
    tell(f"a clean stop in mid-training took {time.monotonic() - began:.1f} s")
    assert not service.processes()
    rows = service.rows(f"SELECT state, deaths FROM job WHERE id = '{job.id}'")
    assert [tuple(row) for row in rows] == [("queued", 0)]
    assert not service.rows("SELECT id FROM slot WHERE attempt_id IS NOT NULL")
    step = checkpoint_step(service, job)
    service.start()
    job = scene.finish(job)
    assert attempt_ends(service, job) == ["stopped", "succeeded"] and num_deaths(service, job) == 0
    assert max(metric_points(service, job, 1)) <= step < min(metric_points(service, job, 2)), "a step was done twice"
