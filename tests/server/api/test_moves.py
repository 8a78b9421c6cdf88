"""Moving a dataset or a model to another project or workspace: all that is of it goes along, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from server.api_client import PNG, Lab, ok, problem


@pytest.fixture
def other(lab: Lab) -> Lab:
    """A second workspace of the same owner."""
    from trainshed.server.records.models import Membership

    made = Lab("other")
    Membership.objects.create(workspace_id=made.workspace_id, person=lab.person("owner"), role="owner")
    return made


def _target(lab: Lab) -> dict[str, str]:
    return {"workspace_id": lab.workspace_id, "project_id": lab.project_id}


def _filled(lab: Lab) -> Any:
    """A dataset with two pictures from an upload, a version, and the jobs that made them."""
    from trainshed.server.records.models import Artifact, Job

    dataset, upload = lab.dataset(), lab.upload(b"the zip")
    for name in ("a.png", "b.png"):
        image = lab.image(dataset, name, PNG + name.encode())
        spec = {"dataset_id": dataset.id, "upload_id": upload.id}
        Job.objects.filter(id=image.import_job_id).update(spec=spec, idempotency_key=f"key {name}")
    version = lab.version(dataset)
    Job.objects.filter(id=version.job_id).update(spec={"dataset_id": dataset.id})
    Artifact.objects.create(
        workspace_id=lab.workspace_id, job_id=version.job_id, attempt=1, name="manifest", blob_id=version.manifest_id
    )
    return dataset


def _owners() -> dict[str, set[str]]:
    """Table -> the workspaces that its rows belong to."""
    from trainshed.server.records import models as records

    kinds = (records.Dataset, records.Image, records.ImageClass if hasattr(records, "ImageClass") else records.Image)
    kinds += (records.DatasetVersion, records.Upload, records.Job, records.Artifact)
    return {kind.__name__: set(kind.objects.values_list("workspace_id", flat=True)) for kind in kinds}


def test_a_moved_dataset_belongs_to_its_new_workspace_with_all_that_is_of_it(owner, lab, other):
    dataset = _filled(lab)
    moved = ok(owner.post(f"{lab.path}/datasets/{dataset.id}/move", _target(other)))
    assert (moved["workspace_id"], moved["project_id"], moved["num_images"]) == (
        other.workspace_id,
        other.project_id,
        2,
    )
    assert all(found == {other.workspace_id} for found in _owners().values()), _owners()
    problem(owner.get(f"{lab.path}/datasets/{dataset.id}"), 404, "not_found")
    path = f"{other.path}/datasets/{dataset.id}"
    assert len(ok(owner.get(f"{path}/versions"))["items"]) == 1
    (image, _) = ok(owner.get(f"{path}/images"))["items"]
    picture = owner.get(f"{other.path}/images/{image['id']}/file")
    assert picture.status_code == 200 and picture.content.startswith(PNG)
    assert len(ok(owner.get(f"{other.path}/jobs"))["items"]) == 3


def test_the_new_workspace_holds_the_bytes_and_they_count_there(owner, lab, other):
    from trainshed.server.records.models import Blob, Holding, Quota

    dataset = _filled(lab)
    ok(owner.post(f"{lab.path}/datasets/{dataset.id}/move", _target(other)))
    held = set(Holding.objects.filter(workspace_id=other.workspace_id).values_list("blob_id", flat=True))
    assert held == set(Blob.objects.values_list("sha256", flat=True))
    counted = Quota.objects.get(workspace_id=other.workspace_id, resource="stored_bytes")
    assert counted.used == sum(Blob.objects.values_list("size_bytes", flat=True))


def test_a_dataset_that_a_job_reads_or_fills_stays(owner, lab, other):
    dataset = _filled(lab)
    job = lab.job("train", "queued", spec={"dataset_id": dataset.id})
    problem(owner.post(f"{lab.path}/datasets/{dataset.id}/move", _target(other)), 409, "conflict", "not done")
    ok(owner.post(f"{lab.path}/jobs/{job.id}/cancel"))
    ok(owner.post(f"{lab.path}/datasets/{dataset.id}/move", _target(other)))
    assert ok(owner.get(f"{lab.path}/jobs/{job.id}"))["state"] == "cancelled", "a training stays where it was"


def test_a_name_that_is_taken_there_refuses_the_move(owner, lab, other):
    dataset = lab.dataset("flowers")
    other.dataset("flowers")
    problem(owner.post(f"{lab.path}/datasets/{dataset.id}/move", _target(other)), 409, "conflict", "flowers")


def test_a_job_that_slipped_in_finds_the_dataset_gone(owner, lab, other):
    """Submitted for the old workspace at the moment of the move: it reads and writes nothing across the wall."""
    dataset = _filled(lab)
    ok(owner.post(f"{lab.path}/datasets/{dataset.id}/move", _target(other)))
    for kind in ("import", "snapshot"):
        held, token = lab.attempt(kind, {"dataset_id": dataset.id})
        attempt = owner.as_(token)
        if kind == "import":
            problem(attempt.post("/attempt/images", {"images": []}), 404, "not_found", "moved")
        else:
            problem(attempt.get("/attempt/rows"), 404, "not_found", "moved")
        assert held.workspace_id == lab.workspace_id


def test_a_moved_model_takes_its_job_and_its_files_along(owner, lab, other):
    from trainshed.server.records.models import Artifact, TrainedModel

    dataset = _filled(lab)
    model = lab.model("flowers")
    TrainedModel.objects.filter(id=model.id).update(version=dataset.versions.get())
    before = owner.get(f"{lab.path}/models/{model.id}/archive").content
    moved = ok(owner.post(f"{lab.path}/models/{model.id}/move", _target(other)))
    assert (moved["workspace_id"], moved["project_id"]) == (other.workspace_id, other.project_id)
    assert set(Artifact.objects.filter(job_id=model.job_id).values_list("workspace_id", flat=True)) == {
        other.workspace_id
    }
    assert owner.get(f"{other.path}/models/{model.id}/archive").content == before
    ok(owner.get(f"{other.path}/jobs/{model.job_id}"))
    problem(owner.get(f"{lab.path}/models/{model.id}"), 404, "not_found")
    ok(owner.get(f"{lab.path}/datasets/{dataset.id}"))


@pytest.mark.parametrize("noun", ["datasets", "models"])
def test_only_an_owner_takes_something_out_of_a_workspace_and_only_to_where_they_may_work(nobody, lab, other, noun):
    from trainshed.server.records.models import Membership

    thing = lab.dataset() if noun == "datasets" else lab.model()
    path = f"{lab.path}/{noun}/{thing.id}/move"
    for person in (lab.person("editor"), lab.person("viewer")):
        Membership.objects.create(workspace_id=other.workspace_id, person=person, role="owner")
    problem(nobody.as_(lab.token("editor")).post(path, _target(other)), 403, "forbidden", "owner")
    stranger = Lab("stranger")
    problem(nobody.as_(lab.token("owner")).post(path, _target(stranger)), 404, "not_found")
    Membership.objects.filter(workspace_id=other.workspace_id, person=lab.person("owner")).update(role="viewer")
    problem(nobody.as_(lab.token("owner")).post(path, _target(other)), 403, "forbidden", "editor")
    second = {"workspace_id": lab.workspace_id, "project_id": lab.add_project("second")}
    ok(nobody.as_(lab.token("editor")).post(path, second))
