"""Datasets, trainings, jobs and models by the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trainshed import Client
from trainshed.schemas import GpuReading, HostReading, HostView, JobView, Reason
from trainshed.testing.fake_server import FakeServer

Trainshed = Callable[..., Any]  # the fixture `trainshed`: arguments in, what it said out


@pytest.fixture
def imported(trainshed: Trainshed, signed_in: FakeServer, pictures: Path) -> FakeServer:
    """A server with the dataset `flowers`."""
    assert trainshed("dataset", "import", pictures).code == 0
    return signed_in


@pytest.fixture
def queued(trainshed: Trainshed, imported: FakeServer) -> JobView:
    """A training that waits until the test moves it."""
    imported.holds_trainings = True
    return JobView.model_validate(trainshed("train", "flowers", "--no-watch", "--json").json())


def test_an_import_tells_what_came_in_and_what_did_not(
    trainshed: Trainshed, signed_in: FakeServer, pictures: Path
) -> None:
    (pictures / "rose" / "link.png").symlink_to("0.png")
    said = trainshed("dataset", "import", pictures, "--name", "garden")

    assert said.code == 0
    assert "1 files were not sent" in said.out
    assert "rose/link.png: Links are not followed" in said.out
    assert "6 pictures in 2 classes; 0 were there already, 1 left out." in said.out
    assert "rose/notes.txt: It is not a picture." in said.out
    assert "Next: trainshed train garden" in said.out


def test_an_import_as_json_holds_the_dataset_the_job_and_what_was_not_sent(
    trainshed: Trainshed, signed_in: FakeServer, pictures: Path
) -> None:
    said = trainshed("dataset", "import", pictures, "--json")

    told = said.json()
    assert told["dataset"]["num_images"] == 6
    assert told["job"]["state"] == "succeeded"
    assert told["left_out"] == []
    assert said.err == ""


def test_an_import_need_not_be_waited_for(trainshed: Trainshed, signed_in: FakeServer, pictures: Path) -> None:
    said = trainshed("dataset", "import", pictures, "--no-wait")

    assert "trainshed jobs watch job" in said.out
    assert not signed_in.asked_for("GET", "/stream")


def test_a_folder_that_is_none_is_refused(trainshed: Trainshed, signed_in: FakeServer, tmp_path: Path) -> None:
    said = trainshed("dataset", "import", tmp_path / "nothing")

    assert said.code == 1
    assert "There is no folder or zip" in said.err


def test_datasets_are_listed_and_shown_by_the_beginning_of_a_name(trainshed: Trainshed, imported: FakeServer) -> None:
    assert "flowers" in trainshed("dataset", "list").out
    shown = trainshed("dataset", "show", "flo")
    assert "tulip" in shown.out
    told = trainshed("dataset", "show", "flowers", "--json").json()
    assert [it["name"] for it in told["classes"]] == ["rose", "tulip"]
    assert told["versions"] == []


def test_an_empty_list_says_how_to_begin(trainshed: Trainshed, signed_in: FakeServer) -> None:
    assert "trainshed dataset import FOLDER" in trainshed("dataset", "list").out
    assert trainshed("dataset", "list", "--json").json() == []
    assert "There are no jobs" in trainshed("jobs", "list").out


def test_an_ambiguous_name_lists_the_candidates(trainshed: Trainshed, imported: FakeServer, pictures: Path) -> None:
    trainshed("dataset", "import", pictures, "--name", "flowers too")

    said = trainshed("dataset", "show", "flow")
    assert said.code == 1
    assert "'flowers'" in said.err
    assert "'flowers too'" in said.err


def test_a_version_is_made_with_its_split_and_listed(trainshed: Trainshed, imported: FakeServer) -> None:
    said = trainshed("dataset", "version", "flowers", "--validation", "0.2", "--test", "0.3", "--seed", "7", "--json")

    assert said.json()["split"] == {"validation": 0.2, "test": 0.3, "seed": 7}
    assert "6 train" in trainshed("dataset", "versions", "flowers").out


def test_a_dataset_is_renamed_and_deleted_only_on_purpose(trainshed: Trainshed, imported: FakeServer) -> None:
    assert trainshed("dataset", "rename", "flowers", "garden").code == 0
    refused = trainshed("dataset", "delete", "garden")
    assert (refused.code, len(imported.datasets)) == (1, 1)
    assert "--yes" in refused.err
    assert trainshed("dataset", "delete", "garden", "--yes", "--json").json()["deleted"]
    assert imported.datasets == {}


def test_a_training_is_watched_and_its_model_named(trainshed: Trainshed, imported: FakeServer) -> None:
    said = trainshed("train", "flowers")

    assert said.code == 0
    assert "fine-tuning  100 %  10/10 steps" in said.out
    assert "Model 'mod" in said.out
    assert "trainshed predict mod" in said.out


def test_options_of_a_training_become_its_recipe(trainshed: Trainshed, imported: FakeServer) -> None:
    said = trainshed(
        *("train", "flowers", "--epochs", 3, "--no-flip", "--rotate-degrees", 0, "--weights", "none"),
        *("--no-frozen-first", "--learning-rate", 0.001, "--name", "my flowers", "--split-seed", 5, "--json"),
    )

    spec = said.json()["spec"]
    recipe = spec["recipe"]
    assert (recipe["epochs"], recipe["weights"], recipe["frozen_first"]) == (3, "none", False)
    assert (recipe["augmentation"]["flip"], recipe["augmentation"]["rotate_degrees"]) == (False, 0.0)
    assert recipe["augmentation"]["scale"] == 0.1
    assert recipe["learning_rate"] == 0.001
    assert spec["name"] == "my flowers"
    assert imported.versions[spec["version_id"]].split["seed"] == 5


def test_every_field_of_the_recipe_and_the_split_is_an_option_with_its_help(trainshed: Trainshed) -> None:
    from trainshed.schemas import ClassificationRecipe, SplitPlan
    from trainshed.schemas.recipes import Augmentation

    words = " ".join(trainshed("train", "--help").out.split())
    for kind in (ClassificationRecipe, Augmentation, SplitPlan):
        for name, field in kind.model_fields.items():
            if name in ("schema_version", "task", "augmentation"):
                continue
            option = "split-seed" if (kind, name) == (SplitPlan, "seed") else name.replace("_", "-")
            assert f"--{option}" in words
            assert " ".join((field.description or "?").split()) in words


def test_a_recipe_that_cannot_be_is_refused_before_anything_is_asked(
    trainshed: Trainshed, imported: FakeServer
) -> None:
    num_asked = len(imported.asked)

    said = trainshed("train", "flowers", "--batch-size", "0", "--json")
    assert (said.code, said.json()["code"]) == (1, "invalid_input")
    assert said.json()["errors"][0]["field"] == "batch_size"
    said = trainshed("train", "flowers", "--backbone", "scratch-cnn", "--weights", "hub")
    assert "`scratch-cnn` has no pretrained weights" in said.err
    assert trainshed("train", "flowers", "--weights", "magic").code == 2
    assert len(imported.asked) == num_asked


def test_a_version_is_named_by_its_number(trainshed: Trainshed, imported: FakeServer, pictures: Path) -> None:
    first = trainshed("dataset", "version", "flowers", "--json").json()
    (pictures / "rose" / "new.png").write_bytes(b"\x89PNG")
    trainshed("dataset", "import", pictures)

    assert trainshed("train", "flowers", "--version", "1", "--json").json()["spec"]["version_id"] == first["id"]
    assert trainshed("train", "flowers", "--json").json()["spec"]["version_id"] != first["id"]
    wrong = trainshed("train", "flowers", "--version", "9")
    assert "has no version '9'" in wrong.err
    assert "2, 1" in wrong.err
    assert "does not go with" in trainshed("train", "flowers", "--version", "1", "--test", "0.5").err


def test_a_training_that_fails_is_a_failure_with_its_reason(trainshed: Trainshed, imported: FakeServer) -> None:
    reason = Reason(code="training_diverged", message="The loss became NaN at step 7.", hint="Lower the learning rate.")
    imported.training_ends = ("failed", reason)

    said = trainshed("train", "flowers")
    assert said.code == 1
    assert "The loss became NaN at step 7." in said.err
    assert "Lower the learning rate." in said.err


def test_a_training_as_json_is_queued_and_not_watched_unless_asked(trainshed: Trainshed, imported: FakeServer) -> None:
    assert trainshed("train", "flowers", "--json").json()["kind"] == "train"

    lines = [json.loads(line) for line in trainshed("train", "flowers", "--watch", "--json").out.splitlines()]
    assert [line["event"]["kind"] for line in lines if "event" in line].count("metric") == 1
    assert lines[-1]["job"]["state"] == "succeeded"


def test_jobs_are_listed_and_shown(trainshed: Trainshed, imported: FakeServer, queued: JobView) -> None:
    imported.move(queued.id, "running")
    imported.tell(queued.id, "progress", {"phase": "fine-tuning", "done": 5, "total": 20, "eta_seconds": 90})

    assert "fine-tuning 25 %, 1:30 min left" in trainshed("jobs", "list").out
    assert [job["id"] for job in trainshed("jobs", "list", "--state", "running", "--json").json()] == [queued.id]
    assert len(trainshed("jobs", "list", "--limit", "1", "--json").json()) == 1
    assert "Train on flowers" in trainshed("jobs", "show", queued.id).out
    assert trainshed("jobs", "show", queued.id, "--json").json()["progress"]["done"] == 5


def test_a_waiting_job_says_why(trainshed: Trainshed, imported: FakeServer, queued: JobView) -> None:
    assert "Place 1 in the queue. All 2 CPU slots are busy." in trainshed("jobs", "why", queued.id).out
    imported.move(queued.id, "running")
    assert "does not wait: it is running" in trainshed("jobs", "why", queued.id).out


def test_a_job_is_paused_resumed_and_cancelled(trainshed: Trainshed, imported: FakeServer, queued: JobView) -> None:
    imported.move(queued.id, "running")

    assert "it is paused" in trainshed("jobs", "pause", queued.id).out
    assert trainshed("jobs", "resume", queued.id, "--json").json()["state"] == "queued"
    assert "it is cancelled" in trainshed("jobs", "cancel", queued.id).out
    assert trainshed("jobs", "cancel", queued.id).code == 1
    assert "is cancelled" in trainshed("jobs", "watch", queued.id).err


def test_the_models_of_the_project_and_the_shelf_are_listed(trainshed: Trainshed, imported: FakeServer) -> None:
    trainshed("train", "flowers", "--name", "bloom")

    listed = trainshed("models", "list").out
    assert "bloom" in listed
    assert "0.9875" in listed
    assert "shelf" in listed
    assert trainshed("models", "show", "bloom", "--json").json()["name"] == "bloom"
    assert "rose, tulip" in trainshed("models", "show", "bloom").out
    assert trainshed("models", "rename", "bloom", "blossom").code == 0
    assert trainshed("models", "delete", "blossom", "--yes").code == 0
    assert "bloss" not in trainshed("models", "list").out


def test_an_archive_is_saved(trainshed: Trainshed, signed_in: FakeServer, tmp_path: Path) -> None:
    told = trainshed("models", "download", "ImageNet", tmp_path, "--json").json()

    assert Path(told["path"]).stat().st_size == told["size_bytes"]
    assert "Saved 'ImageNet'" in trainshed("models", "download", "ImageNet", tmp_path / "other.zip").out


def test_each_picture_is_answered_and_a_bad_one_named(
    trainshed: Trainshed, signed_in: FakeServer, pictures: Path, tmp_path: Path
) -> None:
    good, bad, missing = pictures / "rose" / "0.png", pictures / "rose" / "notes.txt", tmp_path / "none.png"
    said = trainshed("predict", "ImageNet", good, bad, missing, "--top", "1")

    assert said.code == 1
    assert "tabby" in said.out
    assert "90.0 %" in said.out
    assert "tiger" not in said.out
    assert f"{bad}: The file is not a picture." in said.err
    assert "cannot be read" in said.err
    answers = trainshed("predict", "ImageNet", good, bad, "--json").json()
    assert answers[0]["predictions"][0]["label"] == "tabby"
    assert answers[1]["problem"]["code"] == "invalid_input"
    assert trainshed("predict", "ImageNet", good).code == 0


def test_hosts_and_cards_are_shown_with_what_they_do(trainshed: Trainshed, signed_in: FakeServer) -> None:
    cards = [
        GpuReading(
            index=0,
            name="NVIDIA A10",
            memory_total_bytes=24 * 10**9,
            memory_used_bytes=0,
            utilization_percent=0,
        ),
        GpuReading(index=1, fault="The card has fallen off the bus."),
        GpuReading(index=2, name="NVIDIA A10"),
    ]
    reading = HostReading(hostname="shed", cpu_count=16, gpu_state="ok", gpus=cards)
    slots = [
        {"pool": "gpu", "position": 0, "is_busy": False, "job_title": None},
        {"pool": "gpu", "position": 2, "is_busy": True, "job_title": "Train flowers"},
        {"pool": "cpu", "position": 0, "is_busy": True, "job_title": None},
    ]
    signed_in.hosts = {
        "a": HostView(id="a", name="shed", age_seconds=1, reading=reading, slots=slots),
        "b": HostView(id="b", name="attic", age_seconds=300, reading=reading, slots=[]),
        "c": HostView(id="c", name="new", age_seconds=None),
    }

    lines = trainshed("gpus").out.splitlines()
    [free, faulty, busy, cpu] = [line for line in lines if line.startswith("shed")]
    assert "free" in free and "0 B of 24.0 GB" in free and "0 %" in free
    assert "faulty: The card has fallen off the bus." in faulty
    assert "busy" in busy and "Train flowers" in busy
    assert "1 of 1 busy" in cpu and "16 cores" in cpu
    assert "stale (5:00 min)" in next(line for line in lines if line.startswith("attic"))
    assert "never heard of" in next(line for line in lines if line.startswith("new"))
    assert len(trainshed("gpus", "--json").json()) == 3


def test_a_driver_that_refuses_is_explained(trainshed: Trainshed, signed_in: FakeServer) -> None:
    with Client() as client:
        state = {"gpu_state": "mismatch", "gpu_state_words": "The library and its module differ. Reboot."}
        client.hosts.report(HostReading(hostname="shed", cpu_count=2, **state))

    assert "shed: The library and its module differ. Reboot." in trainshed("gpus").out
