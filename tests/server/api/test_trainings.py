"""Trainings of a version, and of a dataset as it is now."""

from __future__ import annotations

from typing import Any

import pytest

from server.api_client import Caller, Lab, ok, problem, store, version_summary


def _train(caller: Caller, lab: Lab, status: int = 202, **body: Any) -> dict[str, Any]:
    told: dict[str, Any] = ok(caller.post(f"{lab.path}/trainings", body), status)
    return told


def _snapshots(lab: Lab) -> list[Any]:
    from trainshed.server.records.models import Job

    return list(Job.objects.filter(kind="snapshot", project_id=lab.project_id).exclude(state="succeeded"))


def _current_version(lab: Lab, dataset: Any) -> Any:
    """A version whose snapshot began after everything in the dataset had been published."""
    from trainshed.server.queue import ledger

    version = lab.version(dataset)
    version.job.started_at = ledger.now() + 1
    version.job.save(update_fields=["started_at"])
    return version


def test_a_dataset_without_a_version_gets_one_before_the_training_starts(editor, lab, nobody, viewer):
    dataset = lab.dataset("digits")
    lab.image(dataset)
    job = _train(editor, lab, dataset_id=dataset.id)
    assert (job["state"], job["spec"]["name"], job["spec"]["dataset_id"]) == (
        "blocked",
        "digits tf_efficientnet_lite0",
        dataset.id,
    )
    (snapshot,) = _snapshots(lab)
    assert job["spec"]["snapshot_job_id"] == snapshot.id and snapshot.spec["dataset_id"] == dataset.id


def test_a_name_with_a_nul_is_stored_without_it_on_every_database(editor, lab):
    dataset = lab.dataset("digits")
    lab.image(dataset)
    assert _train(editor, lab, dataset_id=dataset.id, name="a\0b")["spec"]["name"] == "a\ufffdb"


@pytest.mark.parametrize("backbone", ["\0", "a b", "", "../x\n", "résumé"])
def test_a_backbone_that_can_be_no_name_is_refused_before_anything_is_queued(editor, lab, backbone):
    dataset = lab.dataset("digits")
    lab.image(dataset)
    body = {"dataset_id": dataset.id, "recipe": {"backbone": backbone}}
    problem(editor.post(f"{lab.path}/trainings", body), 422, "invalid_input")
    assert not _snapshots(lab)


def test_the_training_that_waited_reads_the_version_that_was_taken_for_it(editor, lab, nobody):
    from trainshed.server.queue import ledger
    from trainshed.server.records.models import Host, Slot

    dataset = lab.dataset()
    job = _train(editor, lab, dataset_id=dataset.id)
    (manifest,) = store(b"a manifest", of=lab.workspace_id)
    host = Host.objects.create(name="host", key_sha256="host")
    Slot.objects.create(host=host, pool="cpu", position=0)
    for kind in ("snapshot", "train"):
        (assigned,) = ledger.assign(lease_seconds=60)
        assert assigned.kind == kind
        guard = nobody.as_(assigned.token)
        ok(guard.post("/attempt/renewals"))
        if kind == "snapshot":
            result = {"result": version_summary(), "artifacts": {"manifest.parquet": manifest}}
            ok(guard.post("/attempt/publication", result), 204)
    assignment = ok(guard.get("/attempt/assignment"))
    assert assignment["job_id"] == job["id"] and assignment["inputs"]["manifest"]["sha256"] == manifest
    assert assignment["spec"]["classes"]


def test_a_dataset_whose_newest_version_is_current_is_trained_at_once(editor, lab):
    dataset = lab.dataset()
    lab.image(dataset)
    version = _current_version(lab, dataset)
    job = _train(editor, lab, dataset_id=dataset.id)
    assert (job["state"], job["spec"]["version_id"]) == ("queued", version.id) and not _snapshots(lab)


def test_pictures_that_came_after_the_newest_version_ask_for_another_one(editor, lab):
    dataset = lab.dataset()
    version = lab.version(dataset)
    version.job.started_at = 1.0
    version.job.save(update_fields=["started_at"])
    lab.image(dataset)
    assert _train(editor, lab, dataset_id=dataset.id)["state"] == "blocked"


@pytest.mark.parametrize("is_current", [True, False])
def test_i8_the_same_key_gives_the_same_training_and_one_snapshot(editor, lab, is_current):
    dataset = lab.dataset()
    said = {"headers": {"Idempotency-Key": "once"}}
    first = ok(editor.post(f"{lab.path}/trainings", {"dataset_id": dataset.id}, **said), 202)
    if is_current:  # its snapshot is done meanwhile, so another training would need none
        _current_version(lab, dataset)
    again = ok(editor.post(f"{lab.path}/trainings", {"dataset_id": dataset.id}, **said), 202)
    assert again["id"] == first["id"] and len(_snapshots(lab)) == 1
    other = editor.post(f"{lab.path}/trainings", {"dataset_id": dataset.id, "name": "other"}, **said)
    problem(other, 409, "idempotency_mismatch")


def test_trainings_without_a_name_get_different_ones(editor, lab):
    dataset = lab.dataset("digits")
    _current_version(lab, dataset)
    names = [_train(editor, lab, dataset_id=dataset.id)["spec"]["name"] for _ in range(3)]
    assert names == [f"digits tf_efficientnet_lite0{behind}" for behind in ("", " 2", " 3")]


@pytest.mark.parametrize("body", [{}, {"version_id": "x", "dataset_id": "y"}])
def test_a_training_names_a_version_or_a_dataset(editor, lab, body):
    problem(editor.post(f"{lab.path}/trainings", body), 422, "invalid_input", "dataset_id")


def test_a_dataset_that_one_cannot_see_is_not_trained(editor, lab):
    elsewhere = Lab("elsewhere").dataset()
    problem(editor.post(f"{lab.path}/trainings", {"dataset_id": elsewhere.id}), 404, "not_found")
    assert not _snapshots(lab)


def test_a_viewer_trains_nothing(viewer, lab):
    problem(viewer.post(f"{lab.path}/trainings", {"dataset_id": lab.dataset().id}), 403, "forbidden")
    assert not _snapshots(lab)
