"""Digits to train on, trainings long enough to be interrupted, and what must be true of every job's history."""

from __future__ import annotations

import itertools
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from journeys.service import Service, wait_until
from trainshed.schemas import FINAL_STATES, Augmentation, ClassificationRecipe, Event, JobView, VersionView

NUM_DIGITS = 400
# What `transition` may hold (the table of the ledger's design); everything else is a fault.
_LISTED = {
    ("", "queued"), ("", "blocked"),
    ("blocked", "queued"), ("blocked", "cancelled"), ("blocked", "failed"),
    ("queued", "assigned"), ("queued", "cancelled"),
    ("assigned", "running"), ("assigned", "queued"),
    ("running", "succeeded"), ("running", "failed"), ("running", "cancelled"), ("running", "paused"),
    ("running", "queued"),
    ("paused", "queued"), ("paused", "cancelled"),
}  # fmt: skip


def write_digits(folder: Path, first: int = 0, num_digits: int = NUM_DIGITS) -> Path:
    """scikit-learn's handwritten digits as PNG files in one folder per class."""
    digits = load_digits()
    for number in range(first, first + num_digits):
        path = folder / str(digits.target[number]) / f"{number:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((digits.images[number] * 255 / 16).astype(np.uint8)).save(path)
    return folder


def recipe(epochs: int = 12, **named: Any) -> ClassificationRecipe:
    """A small training with many checkpoints, the same to the bit each time it runs undisturbed."""
    said: dict[str, Any] = {
        "backbone": "scratch-cnn",
        "epochs": epochs,
        "image_size": 32,
        "patience": 1000,
        "precision": "float32",
        "checkpoint_seconds": 0.5,
        "augmentation": Augmentation(flip=False),
        **named,
    }
    return ClassificationRecipe(**said)


@dataclass(frozen=True)
class Scene:
    """A service with a dataset version on it, and what an undisturbed training made of that."""

    service: Service
    version: VersionView
    job: JobView

    def train(self) -> JobView:
        """Queue the same training once more."""
        return self.service.client.train(self.version, recipe())

    def train_until_checkpoint(self, num_steps: int = 15) -> JobView:
        """Queue it and return when it runs and has saved a checkpoint after so many steps."""
        job = self.train()
        wait_for_checkpoint(self.service, job, num_steps)
        return job

    def finish(self, job: JobView, seconds: float = 180) -> JobView:
        """The job when it has succeeded; its history is proved and its model compared with the undisturbed one."""
        ended = self.service.client.jobs.wait(job, seconds, must_succeed=True)
        check_history(self.service, ended)
        self.service.wait_idle()
        assert curve(self.service, ended) == curve(self.service, self.job)
        assert weights(self.service, ended) == weights(self.service, self.job), "the weights differ"
        return ended


def prepare(service: Service) -> Scene:
    """Import digits, take a version, train once undisturbed."""
    arrived = service.client.datasets.import_folder(write_digits(service.home / "digits"))
    service.client.jobs.wait(arrived.job, 60, must_succeed=True)
    version = service.client.versions.current(arrived.dataset, timeout_seconds=60)
    job = service.client.train(version, recipe())
    job = service.client.jobs.wait(job, 180, must_succeed=True)
    check_history(service, job)
    service.wait_idle()
    return Scene(service, version, job)


def checkpoint_step(service: Service, job: JobView) -> int:
    """The step of the job's newest checkpoint; 0 if there is none."""
    rows = service.rows(f"SELECT step FROM checkpoint WHERE job_id = '{job.id}'")
    return int(rows[0][0]) if rows else 0


def wait_for_checkpoint(service: Service, job: JobView, num_steps: int, seconds: float = 120) -> int:
    return wait_until(
        lambda: (step := checkpoint_step(service, job)) >= num_steps and step, seconds, f"a checkpoint at {num_steps}"
    )


def story(service: Service, job: JobView) -> list[Event]:
    return list(service.client.jobs.events(job))


def metric_points(service: Service, job: JobView, attempt: int) -> list[int]:
    """Steps at which an attempt told the loss, in the order told."""
    return [
        event.body["step"]
        for event in story(service, job)
        if event.kind == "metric" and event.attempt == attempt and "loss" in event.body["values"]
    ]


def curve(service: Service, job: JobView) -> dict[tuple[int, str], float]:
    """(step, name) -> value of everything told but the speed. Fails if two attempts told a point differently."""
    points: dict[tuple[int, str], float] = {}
    for event in story(service, job):
        for name, value in event.body["values"].items() if event.kind == "metric" else ():
            key = event.body["step"], name
            if name != "images_per_second":
                assert points.setdefault(key, value) == value, f"{key} was told as {points[key]} and as {value}"
    return points


def weights(service: Service, job: JobView) -> tuple[dict[str, Any], bytes]:
    """The names and bytes of all tensors in the archive of the job's model."""
    assert job.result is not None
    path = service.home / f"{job.id}.zip"
    service.client.models.download(service.client.models.get(job.result["model_id"]), path)
    with zipfile.ZipFile(path) as archive:
        data = archive.read("model.safetensors")
    path.unlink()
    size = int.from_bytes(data[:8], "little")  # a safetensors file: this many bytes of JSON, then the numbers
    header = json.loads(data[8 : 8 + size])
    del header["__metadata__"]
    return header, data[8 + size :]


def attempt_ends(service: Service, job: JobView) -> list[str]:
    """How each attempt ended, the first first."""
    return [attempt.end for attempt in service.client.jobs.get(job).attempts]


def num_deaths(service: Service, job: JobView) -> int:
    return int(service.rows(f"SELECT deaths FROM job WHERE id = '{job.id}'")[0][0])


def first_sign(service: Service, job: JobView, attempt: int) -> float | None:
    """When an attempt first told of a step of its own, in seconds since 1970; asked past the web, which may be down."""
    of_steps = f"job_id = '{job.id}' AND attempt = {attempt} AND kind IN ('metric', 'progress')"
    found: float | None = service.rows(f"SELECT MIN(at) FROM event WHERE {of_steps}")[0][0]
    return found


def check_history(service: Service, job: JobView) -> None:
    """I2, I5, I11 and I12 on what the database remembers of one finished job."""
    assert job.state in FINAL_STATES
    events = story(service, job)
    assert [event.revision for event in events] == list(range(1, job.revision + 1)), "the story has holes"
    changes = [event for event in events if event.kind == "state" and "to" in event.body]
    steps = [(event.body["from"], event.body["to"]) for event in changes]
    assert set(steps) <= _LISTED, steps
    assert all(before[1] == after[0] for before, after in itertools.pairwise(steps)), steps
    rows = service.rows(f"SELECT from_state, to_state FROM transition WHERE job_id = '{job.id}' ORDER BY id")
    assert [tuple(row) for row in rows] == steps, "the audit differs from the story"
    numbers = [event.attempt for event in events if event.attempt]
    assert numbers == sorted(numbers), "an old attempt wrote after a newer one had begun"
    artifacts = service.rows(f"SELECT DISTINCT attempt FROM artifact WHERE job_id = '{job.id}'")
    models = service.rows(f"SELECT id FROM trained_model WHERE job_id = '{job.id}'")
    assert all(job.state == "succeeded" and attempt == job.attempt for (attempt,) in artifacts), artifacts
    assert len(models) == int(job.state == "succeeded" and job.kind == "train"), models
    open_attempts = service.rows(f"SELECT number FROM attempt WHERE job_id = '{job.id}' AND ended_at IS NULL")
    assert not open_attempts, open_attempts
