"""A training that was interrupted gives the same weights to the bit as one that was not."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from trainshed.errors import InvalidInput, JobStopped
from trainshed.pictures import manifest
from trainshed.vision import checkpoints
from trainshed.vision.classification import train
from trainshed.vision.story import SilentStory

from .material import DIGITS_RECIPE, Shelf, StoppingStory, digits, photo_crops, said, weights

RECIPE = DIGITS_RECIPE.model_copy(update={"epochs": 2, "image_size": 16})
# One question for each picture that is decoded, then one for each step.
NUM_PICTURES, NUM_STEPS = 120, 2 * 6
STEP = NUM_PICTURES


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("resume")


@pytest.fixture(scope="module")
def task(folder):
    shelf = Shelf(folder / "originals")
    shelf.folder.mkdir()
    rows, classes = digits(shelf, NUM_PICTURES)
    return {"rows": rows, "classes": classes, "recipe": RECIPE, "blob": shelf.blob}


@pytest.fixture(scope="module")
def uninterrupted(task, folder, cache_folder):
    (folder / "work").mkdir()
    story = SilentStory(folder / "work")
    return train(**task, cache_folder=cache_folder, story=story), said(story, "metric")


def assert_same(model, metrics, uninterrupted):
    expected, expected_metrics = uninterrupted
    for name in ("model.safetensors", "last.safetensors"):
        ours, theirs = weights(model, name), weights(expected, name)
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    assert [without_speed(body) for body in metrics] == [without_speed(body) for body in expected_metrics]
    assert model.summary.metrics == expected.summary.metrics


def without_speed(body):
    values = {name: value for name, value in body["values"].items() if name != "images_per_second"}
    return {**body, "values": values}


def folder_for(path: Path) -> Path:
    path.mkdir(parents=True)
    return path


STOPS = [2, STEP + 1, STEP + 4, STEP + 6, STEP + 9, STEP + NUM_STEPS, STEP + NUM_STEPS + 1]


@pytest.mark.parametrize("stop_at", STOPS)
def test_a_training_stopped_at_any_step_resumes_to_the_bit(stop_at, task, uninterrupted, tmp_path):
    cache_folder = tmp_path / "cache"  # of its own, so that the pictures are decoded and the story is asked
    first = StoppingStory(folder_for(tmp_path / "first"), stop_at=stop_at)
    with pytest.raises(JobStopped, match="pause"):
        train(**task, cache_folder=cache_folder, story=first)
    assert first.saved_steps[-1] == min(NUM_STEPS, max(0, stop_at - STEP))
    second = SilentStory(folder_for(tmp_path / "second"), first.checkpoint)
    model = train(**task, cache_folder=cache_folder, story=second)
    assert_same(model, said(first, "metric") + said(second, "metric"), uninterrupted)


def test_a_training_stopped_again_and_again_resumes_to_the_bit(task, uninterrupted, cache_folder, tmp_path):
    checkpoint, metrics, attempts = None, [], 0
    while True:
        attempts += 1
        story = StoppingStory(folder_for(tmp_path / str(attempts)), checkpoint, stop_at=5)
        try:
            model = train(**task, cache_folder=cache_folder, story=story)
        except JobStopped:
            checkpoint = story.checkpoint
            metrics += said(story, "metric")
        else:
            break
    assert attempts == 3
    assert_same(model, metrics + said(story, "metric"), uninterrupted)


def test_a_resumed_training_that_is_stopped_while_it_decodes_loses_nothing(task, uninterrupted, cache_folder, tmp_path):
    first = StoppingStory(folder_for(tmp_path / "first"), stop_at=8)
    with pytest.raises(JobStopped):
        train(**task, cache_folder=cache_folder, story=first)
    second = StoppingStory(folder_for(tmp_path / "second"), first.checkpoint, stop_at=5)
    with pytest.raises(JobStopped):
        train(**task, cache_folder=tmp_path / "empty", story=second)
    assert second.saved_steps == [8]
    third = SilentStory(folder_for(tmp_path / "third"), second.checkpoint)
    model = train(**task, cache_folder=cache_folder, story=third)
    assert_same(model, said(first, "metric") + said(third, "metric"), uninterrupted)


CHILD = """
import json, sys, torch
from pathlib import Path
from trainshed.pictures import manifest
from trainshed.schemas import ClassificationRecipe, ImageClass
from trainshed.vision.classification import train
from trainshed.vision.story import SilentStory

class Telling(SilentStory):
    def save_checkpoint(self, path, step):
        path.rename(path.with_name(f"{step}.pt"))
        print(step, flush=True)
        if step == 7:
            sys.stdin.read()  # wait here to be killed

torch.set_num_threads(2)
folder = Path(sys.argv[1])
recipe = ClassificationRecipe.model_validate_json(sys.argv[2])
train(manifest.read(folder / "rows.parquet"), [ImageClass(id=str(n), name=str(n)) for n in range(10)], recipe,
      blob=lambda sha256: folder / "originals" / sha256, cache_folder=folder / "cache", story=Telling(folder))
"""


def test_a_training_killed_with_signal_9_resumes_to_the_bit(task, uninterrupted, folder, cache_folder, tmp_path):
    often = RECIPE.model_copy(update={"checkpoint_seconds": 1e-6})
    manifest.write(tmp_path / "rows.parquet", task["rows"])
    shutil.copytree(folder / "originals", tmp_path / "originals")
    command = [sys.executable, "-c", CHILD, str(tmp_path), often.model_dump_json()]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout
        for line in child.stdout:
            if line.strip() == "7":
                os.kill(child.pid, signal.SIGKILL)
                break
    assert child.returncode == -signal.SIGKILL
    story = SilentStory(folder_for(tmp_path / "second"), tmp_path / "7.pt")
    model = train(**task, cache_folder=cache_folder, story=story)
    _, metrics = uninterrupted
    assert_same(model, [body for body in metrics if body["step"] <= 7] + said(story, "metric"), uninterrupted)


def test_frozen_features_go_on_where_they_were(shelf, cache_folder, tmp_path):
    rows, classes = photo_crops(shelf, 30)
    recipe = RECIPE.model_copy(update={"backbone": "test_vit", "weights": "none", "epochs": 0, "image_size": 64})
    task = {"rows": rows, "classes": classes, "recipe": recipe, "blob": shelf.blob, "cache_folder": cache_folder}
    whole = train(**task, story=SilentStory(folder_for(tmp_path / "whole")))
    first = StoppingStory(folder_for(tmp_path / "first"), stop_at=1)
    with pytest.raises(JobStopped):
        train(**task, story=first)
    saved = checkpoints.read(first.checkpoint, checkpoints.fingerprint(rows, classes, recipe))
    assert saved["phase"] == "features" and len(saved["state"]["features"]) == 64
    second = SilentStory(folder_for(tmp_path / "second"), first.checkpoint)
    resumed = train(**task, story=second)
    assert all(torch.equal(value, weights(whole)[name]) for name, value in weights(resumed).items())
    first_said = next(body for body in said(second, "progress") if body["phase"] == "features")
    assert first_said["done"] > 64


def test_a_checkpoint_of_another_training_is_refused(task, cache_folder, tmp_path):
    story = StoppingStory(folder_for(tmp_path / "first"), stop_at=3)
    with pytest.raises(JobStopped):
        train(**task, cache_folder=cache_folder, story=story)
    other = {**task, "recipe": RECIPE.model_copy(update={"batch_size": 8})}
    with pytest.raises(InvalidInput, match="another training"):
        train(**other, cache_folder=cache_folder, story=SilentStory(tmp_path, story.checkpoint))


def test_a_checkpoint_that_was_cut_off_is_refused(task, cache_folder, tmp_path):
    story = StoppingStory(folder_for(tmp_path / "first"), stop_at=3)
    with pytest.raises(JobStopped):
        train(**task, cache_folder=cache_folder, story=story)
    os.truncate(story.checkpoint, 5000)
    with pytest.raises(InvalidInput, match="cut off"):
        train(**task, cache_folder=cache_folder, story=SilentStory(tmp_path, story.checkpoint))


def test_a_checkpoint_holds_only_tensors_and_plain_values(task, cache_folder, tmp_path):
    story = StoppingStory(folder_for(tmp_path / "first"), stop_at=3)
    with pytest.raises(JobStopped):
        train(**task, cache_folder=cache_folder, story=story)
    state = torch.load(story.checkpoint, weights_only=True)
    parts = {"network", "averages", "optimizer", "counters", "best", "last", "meter", "history"}
    assert state["state"].keys() == parts
    assert not list(story.work_folder.glob("*.part"))
