"""PostgreSQL taken away in mid-training: an outage of ours is no attempt's death."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator

import pytest

import postgresql
from journeys import service as services
from journeys import trainings
from journeys.service import LEASE_SECONDS, Service, wait_until
from journeys.trainings import attempt_ends, check_history, num_deaths, recipe, wait_for_checkpoint

Tell = Callable[[str], None]
OUTAGE_SECONDS = 20.0


@pytest.fixture(scope="module")
def database() -> Iterator[postgresql.Server]:
    """A server of this journey's own, so that nobody else's connections break."""
    if postgresql.binaries() is None:
        pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    with postgresql.server() as server:
        yield server


@pytest.fixture(scope="module")
def service(database: postgresql.Server) -> Iterator[Service]:
    with services.running(TRAINSHED_DATABASE_URL=database.url) as started:
        yield started


def test_no_process_that_speaks_rest_holds_the_database_password(service: Service) -> None:
    """The hard wall: runners, the agent and the model server get a token of their own and nothing else."""
    wait_until(lambda: service.processes("child"), 60, "a warm runner")
    holding = {process.role for process in service.processes() if "TRAINSHED_DATABASE_URL" in process.environment}
    assert holding == {"supervisor", "web", "scheduler"}


@pytest.mark.timeout(400, func_only=True)
def test_a_training_outlives_twenty_seconds_without_the_database(
    service: Service, database: postgresql.Server, tell: Tell
) -> None:
    client = service.client
    service.wait_for_shelf()
    arrived = client.datasets.import_folder(trainings.write_digits(service.home / "digits"))
    client.jobs.wait(arrived.job, 60, must_succeed=True)
    version = client.versions.current(arrived.dataset, timeout_seconds=60)
    said = recipe(epochs=30)
    job = client.train(version, said)
    of_job = service.job_path(job)
    step = wait_for_checkpoint(service, job, 15)
    family = service.working()
    database.stop("immediate")
    try:
        stopped_at = time.monotonic()
        num_answers = 0
        while time.monotonic() - stopped_at < OUTAGE_SECONDS:
            for method, path in (
                ("GET", of_job),
                ("GET", "/me"),
                ("POST", f"{of_job}/cancel"),
                ("GET", f"{of_job}/stream"),
            ):
                answer = service.raw(method, path)
                assert answer.status_code == 503, answer.text
                assert answer.headers["content-type"] == "application/problem+json"
                assert answer.json()["code"] == "unavailable" and answer.headers["retry-after"]
                num_answers += 1
            time.sleep(0.5)
    finally:
        database.start()
    started_at = time.monotonic()
    assert all(process.is_alive() for process in family if process.role == "guard"), "a guard gave up"
    wait_until(lambda: service.raw("GET", "/me").status_code == 200, 30, "an answer")
    tell(
        f"{num_answers} answers were 503; the first good one came {time.monotonic() - started_at:.1f} s after the start"
    )
    ended = client.jobs.wait(job, 240, must_succeed=True)
    assert ended.attempt == 1 and attempt_ends(service, ended) == ["succeeded"] and num_deaths(service, ended) == 0
    check_history(service, ended)
    service.wait_idle()
    points = trainings.metric_points(service, ended, 1)
    assert points == sorted(set(points)), "a point was told twice or out of order"
    whole = trainings.curve(service, ended)
    assert sum(name == "validation_loss" for _, name in whole) == said.epochs
    gaps = {after - before for before, after in itertools.pairwise(points)}
    assert len(gaps) == 1, f"the curve has holes: {sorted(gaps)}"
    assert step < points[-1]
    # The scheduler has come back as well, its wake-ups included.
    again = client.jobs.wait(client.versions.create(arrived.dataset), 3 * LEASE_SECONDS + 20, must_succeed=True)
    assert again.state == "succeeded"
