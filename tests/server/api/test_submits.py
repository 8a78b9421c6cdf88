"""Imports, versions and trainings: what is asked becomes a job, once."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable
from typing import Any

import pytest

from server.api_client import Caller, Lab, make_host, ok, problem

Submit = Callable[..., Any]


def _import(lab: Lab) -> tuple[str, dict[str, Any], dict[str, Any]]:
    address = f"{lab.path}/datasets/{lab.dataset().id}/imports"
    return address, {"upload_id": lab.upload(b"one").id}, {"upload_id": lab.upload(b"two").id}


def _snapshot(lab: Lab) -> tuple[str, dict[str, Any], dict[str, Any]]:
    return f"{lab.path}/datasets/{lab.dataset().id}/versions", {}, {"split": {"seed": 7}}


def _train(lab: Lab) -> tuple[str, dict[str, Any], dict[str, Any]]:
    body = {"version_id": lab.version(lab.dataset()).id, "recipe": {"epochs": 2}}
    return f"{lab.path}/trainings", body, {**body, "recipe": {"epochs": 3}}


# kind -> (address, a body, another body)
SUBMITS: dict[str, Callable[[Lab], tuple[str, dict[str, Any], dict[str, Any]]]] = {
    "import": _import,
    "snapshot": _snapshot,
    "train": _train,
}
submits = pytest.mark.parametrize("kind", SUBMITS)


def _count() -> int:
    from trainshed.server.records.models import Job

    return Job.objects.count()


def _post(caller: Caller, address: str, body: dict[str, Any], key: str | None = None) -> Any:
    return caller.post(address, body, headers={"Idempotency-Key": key} if key is not None else {})


@submits
def test_a_submit_is_a_queued_job_of_its_project(editor, lab, kind):
    address, body, _ = SUBMITS[kind](lab)
    job = ok(_post(editor, address, body), 202)
    assert (job["kind"], job["state"], job["attempt"]) == (kind, "queued", 0)
    assert (job["workspace_id"], job["project_id"]) == (lab.workspace_id, lab.project_id)
    assert job["created_by"] == f"person:{lab.person('editor').id}" and job["title"]
    assert ok(editor.get(f"{lab.path}/jobs/{job['id']}"))["spec"] == job["spec"]


@submits
def test_i8_the_same_key_and_body_give_the_same_job(editor, lab, kind):
    address, body, _ = SUBMITS[kind](lab)
    before = _count()
    first = ok(_post(editor, address, body, "k1"), 202)
    assert ok(_post(editor, address, body, "k1"), 202)["id"] == first["id"]
    assert _count() == before + 1
    assert ok(_post(editor, address, body, "k2"), 202)["id"] != first["id"]
    assert ok(_post(editor, address, body), 202)["id"] not in (first["id"], None)


@submits
def test_i8_the_same_key_and_another_body_is_a_conflict(editor, lab, kind):
    address, body, other = SUBMITS[kind](lab)
    ok(_post(editor, address, body, "k"), 202)
    before = _count()
    problem(_post(editor, address, other, "k"), 409, "idempotency_mismatch")
    assert _count() == before


def test_i8_the_same_key_for_another_kind_or_project_is_a_conflict(editor, lab):
    ok(_post(editor, *_train(lab)[:2], "k"), 202)
    problem(_post(editor, *_snapshot(lab)[:2], "k"), 409, "idempotency_mismatch")
    second = Lab("same workspace")
    second.workspace_id, second.project_id = lab.workspace_id, lab.add_project("second")
    problem(_post(editor, *_train(second)[:2], "k"), 409, "idempotency_mismatch")


def test_i8_another_workspace_may_use_the_same_key(editor, lab):
    first = ok(_post(editor, *_train(lab)[:2], "k"), 202)
    other = Lab("other")
    second = ok(_post(editor.as_(other.token()), *_train(other)[:2], "k"), 202)
    assert first["id"] != second["id"]


@submits
def test_i8_many_at_once_with_one_key_make_one_job(editor, lab, kind):
    address, body, _ = SUBMITS[kind](lab)
    before = _count()
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: _post(editor, address, body, "k"), range(6)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["id"] for answer in answers}) == 1 and _count() == before + 1


def test_i8_a_key_still_gives_its_job_after_a_rename_and_after_a_card_has_come(editor, lab):
    """What the server works out for a job (its title, its card) is not part of what was asked."""
    from trainshed.server.records.models import Dataset, Slot

    address, body, _ = _train(lab)
    snapshot = f"{lab.path}/datasets/{Dataset.objects.get().id}/versions"
    job, version = ok(_post(editor, address, body, "k"), 202), ok(_post(editor, snapshot, {}, "v"), 202)
    Dataset.objects.update(name="renamed")
    Slot.objects.create(host=make_host()[0], pool="gpu", position=0)
    assert ok(_post(editor, address, body, "k"), 202)["id"] == job["id"]
    assert ok(_post(editor, snapshot, {}, "v"), 202)["id"] == version["id"]


def test_i8_a_key_is_still_known_when_its_job_has_ended(editor, lab):
    address, body, _ = _train(lab)
    job = ok(_post(editor, address, body, "k"), 202)
    ok(editor.post(f"{lab.path}/jobs/{job['id']}/cancel"))
    again = ok(_post(editor, address, body, "k"), 202)
    assert (again["id"], again["state"]) == (job["id"], "cancelled")


@pytest.mark.parametrize("key", ["k" * 201, "k" * 10_000])
def test_a_key_that_is_too_long_names_the_header(editor, lab, key):
    found = problem(_post(editor, *_train(lab)[:2], key), 422, "invalid_input")
    assert [error["field"] for error in found["errors"]] == ["Idempotency-Key"]


RECIPES: list[tuple[dict[str, Any], str]] = [
    ({"epochs": -1}, "recipe.epochs"),
    ({"epochs": 1.5}, "recipe.epochs"),
    ({"epochs": 10**30}, "recipe.epochs"),
    ({"epochs": "many"}, "recipe.epochs"),
    ({"batch_size": 0}, "recipe.batch_size"),
    ({"learning_rate": 0}, "recipe.learning_rate"),
    ({"learning_rate": "fast"}, "recipe.learning_rate"),
    ({"image_size": 8}, "recipe.image_size"),
    ({"resize": "stretch"}, "recipe.resize"),
    ({"backbone": "b" * 121}, "recipe.backbone"),
    ({"backbone": "scratch-cnn", "weights": "hub"}, "recipe"),
    ({"augmentation": {"rotate_degrees": 181}}, "recipe.augmentation.rotate_degrees"),
    ({"augmentation": {"sheer": 1}}, "recipe.augmentation.sheer"),
    ({"learning_rat": 0.1}, "recipe.learning_rat"),
    ({"device": "tpu"}, "recipe.device"),
    ({"task": "detection"}, "recipe.task"),
    ({"schema_version": 2}, "recipe.schema_version"),
    ({"seed": 2**31}, "recipe.seed"),
]


@pytest.mark.parametrize(("recipe", "field"), RECIPES, ids=str)
def test_a_recipe_that_cannot_be_used_names_the_field(editor, lab, recipe, field):
    address, body, _ = _train(lab)
    before = _count()
    found = problem(editor.post(address, {**body, "recipe": recipe}), 422, "invalid_input", field)
    assert [error["field"] for error in found["errors"]] == [field]
    assert _count() == before


def test_every_fault_of_a_recipe_is_told_at_once(editor, lab):
    address, body, _ = _train(lab)
    found = problem(editor.post(address, {**body, "recipe": {"epochs": -1, "batch_size": 0}}), 422, "invalid_input")
    assert {error["field"] for error in found["errors"]} == {"recipe.epochs", "recipe.batch_size"}


def test_a_training_without_a_recipe_takes_the_defaults(editor, lab):
    from trainshed.schemas import ClassificationRecipe

    address, body, _ = _train(lab)
    job = ok(editor.post(address, {"version_id": body["version_id"]}), 202)
    assert ClassificationRecipe.model_validate(job["spec"]["recipe"]) == ClassificationRecipe()


def test_a_training_is_named_after_its_dataset_or_as_asked(editor, lab):
    dataset = lab.dataset("digits")
    version = lab.version(dataset)
    address = f"{lab.path}/trainings"
    job = ok(editor.post(address, {"version_id": version.id}), 202)
    assert job["title"].startswith("Train digits v1")
    named = ok(editor.post(address, {"version_id": version.id, "name": " 我的模型 "}), 202)
    assert named["title"] == "Train 我的模型"
    long = ok(editor.post(address, {"version_id": version.id, "name": "n" * 300}), 202)
    assert len(long["title"]) == 300
    problem(editor.post(address, {"version_id": version.id, "name": "n" * 301}), 422, "invalid_input", "name")


@pytest.mark.parametrize(("device", "pool"), [("auto", "gpu"), ("cuda", "gpu"), ("cpu", "cpu")])
def test_a_training_takes_a_card_where_there_is_one(editor, lab, device, pool):
    from trainshed.server.records.models import Job, Slot

    Slot.objects.create(host=make_host()[0], pool="gpu", position=0)
    address, body, _ = _train(lab)
    job = ok(editor.post(address, {**body, "recipe": {"device": device}}), 202)
    assert Job.objects.get(id=job["id"]).pool == pool


SPLITS: list[tuple[Any, str | None]] = [
    ({"validation": 0.5, "test": 0.5}, None),
    ({"validation": 0.9, "test": 0.2}, None),
    ({"validation": -0.1}, "split.validation"),
    ({"test": 1}, "split.test"),
    ({"seed": -1}, "split.seed"),
    ({"tset": 0.1}, "split.tset"),
    ("half", "split"),
]


@pytest.mark.parametrize(("split", "field"), SPLITS, ids=str)
def test_a_split_that_cannot_be_used_is_refused(editor, lab, split, field):
    address = _snapshot(lab)[0]
    found = problem(editor.post(address, {"split": split}), 422, "invalid_input")
    assert [error["field"] for error in found["errors"]] == ([field] if field else [])


def test_an_import_without_an_upload_names_the_field(editor, lab):
    found = problem(editor.post(_import(lab)[0], {}), 422, "invalid_input")
    assert [error["field"] for error in found["errors"]] == ["upload_id"]


def test_an_imports_title_fits_whatever_the_names_are(editor, lab):
    from trainshed.server.records.models import Upload

    dataset, upload = lab.dataset("猫" * 300), lab.upload()
    Upload.objects.filter(id=upload.id).update(name="犬" * 1024)
    job = ok(editor.post(f"{lab.path}/datasets/{dataset.id}/imports", {"upload_id": upload.id}), 202)
    assert len(job["title"]) == 300
