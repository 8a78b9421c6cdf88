"""Workspaces and their projects."""

from __future__ import annotations

import concurrent.futures
import time
from typing import Any

import pytest

from server.api_client import Lab, make_person, ok, problem
from trainshed.schemas import WorkspaceView


def test_a_project_is_made_and_listed(editor, lab):
    made = ok(editor.post(f"/workspaces/{lab.workspace_id}/projects", {"name": " Birds of Höxter "}), 201)
    assert made["name"] == "Birds of Höxter"
    (row,) = [WorkspaceView.model_validate(entry) for entry in ok(editor.get("/workspaces"))["items"]]
    assert [project.name for project in row.projects] == ["project", "Birds of Höxter"]
    assert ok(editor.get(f"/workspaces/{lab.workspace_id}/projects/{made['id']}/jobs"))["items"] == []


@pytest.mark.parametrize("name", ["", "   ", "p" * 201])
def test_a_projects_name_has_1_to_200_characters(editor, lab, name):
    problem(editor.post(f"/workspaces/{lab.workspace_id}/projects", {"name": name}), 422, "invalid_input", "200")


def test_two_projects_of_a_workspace_never_share_a_name(editor, lab):
    problem(editor.post(f"/workspaces/{lab.workspace_id}/projects", {"name": "project"}), 409, "conflict", "project")
    other = Lab("other")
    ok(editor.as_(other.token()).post(f"/workspaces/{other.workspace_id}/projects", {"name": "p" * 200}), 201)


def _audited(workspace_id: str) -> list[Any]:
    from trainshed.server.records.models import AuditRow

    return list(AuditRow.objects.filter(workspace_id=workspace_id).order_by("id").values_list("action", "details"))


def test_whoever_makes_a_workspace_owns_it_with_a_first_project(nobody, viewer):
    made = ok(viewer.post("/workspaces", {"name": " Bird lab "}), 201)
    assert (made["name"], made["role"], len(made["projects"])) == ("Bird lab", "owner", 1)
    assert ok(viewer.get(f"/workspaces/{made['id']}")) == made
    ok(viewer.patch(f"/workspaces/{made['id']}", {"name": "Bees"}))
    assert ok(viewer.get(f"/workspaces/{made['id']}"))["name"] == "Bees"
    assert _audited(made["id"]) == [("workspace.create", {}), ("workspace.rename", {"before": "Bird lab"})]


@pytest.mark.parametrize("name", ["", "  ", "w" * 201, "\u200b"])
def test_a_workspace_needs_a_name_that_can_be_seen(owner, lab, name):
    problem(owner.post("/workspaces", {"name": name}), 422, "invalid_input")
    problem(owner.patch(f"/workspaces/{lab.workspace_id}", {"name": name}), 422, "invalid_input")


def test_a_deleted_workspace_is_there_for_nobody_until_its_owner_takes_it_back(nobody, owner, editor, lab):
    lab.model()
    robot = nobody.as_(lab.robot()[1])
    ok(owner.delete(f"/workspaces/{lab.workspace_id}"), 204)
    for caller in (owner, editor):
        for path in (f"/workspaces/{lab.workspace_id}", f"{lab.path}/models", f"{lab.path}/jobs"):
            problem(caller.get(path), 404, "not_found")
        assert ok(caller.get("/workspaces"))["items"] == []
    problem(robot.get(f"{lab.path}/models"), 401, "not_signed_in")
    (gone,) = ok(owner.get("/workspaces?deleted=true"))["items"]
    assert gone["id"] == lab.workspace_id and abs(gone["ends_at"] - time.time() - 14 * 86400) < 60
    assert ok(editor.get("/workspaces?deleted=true"))["items"] == []
    problem(editor.post(f"/workspaces/{lab.workspace_id}/restore"), 404, "not_found")
    ok(owner.post(f"/workspaces/{lab.workspace_id}/restore"))
    assert len(ok(editor.get(f"{lab.path}/models"))["items"]) == 1
    ok(robot.get(f"{lab.path}/models"))


def test_deleting_a_workspace_ends_its_jobs(owner, lab):
    from trainshed.server.records.models import Job

    running, waiting, ended = lab.attempt("train")[0].job_id, lab.job().id, lab.job(state="succeeded").id
    ok(owner.delete(f"/workspaces/{lab.workspace_id}"), 204)
    states = dict(Job.objects.values_list("id", "state"))
    assert (states[waiting], states[ended]) == ("cancelled", "succeeded")
    assert states[running] == "running" and Job.objects.get(id=running).cancel_requested


def test_a_deleted_workspace_goes_for_good_after_the_grace_and_not_before(owner, lab):
    from trainshed.server.records.models import AuditRow, Dataset, Job, TrainedModel, Workspace
    from trainshed.server.services import workspaces

    dataset = lab.dataset()
    lab.image(dataset)
    version, elsewhere = lab.version(dataset), Lab("elsewhere")
    model = elsewhere.model()
    TrainedModel.objects.filter(id=model.id).update(version=version)
    lab.model()
    ok(owner.delete(f"/workspaces/{lab.workspace_id}"), 204)
    assert workspaces.sweep_deleted() == 0
    Workspace.objects.filter(id=lab.workspace_id).update(deleted_at=time.time() - 13.9 * 86400)
    assert workspaces.sweep_deleted() == 0
    Workspace.objects.filter(id=lab.workspace_id).update(deleted_at=time.time() - 14.1 * 86400)
    late = lab.job()
    assert workspaces.sweep_deleted() == 1, "what was queued meanwhile is cancelled first"
    assert not Workspace.objects.filter(id=lab.workspace_id).exists()
    assert not Dataset.objects.filter(workspace_id=lab.workspace_id).exists()
    assert not Job.objects.filter(id=late.id).exists()
    assert TrainedModel.objects.get(id=model.id).version_id is None
    assert AuditRow.objects.filter(workspace_id=lab.workspace_id, action="workspace.delete").exists()
    problem(owner.post(f"/workspaces/{lab.workspace_id}/restore"), 404, "not_found")


def test_a_workspace_whose_job_still_runs_waits_for_it(owner, lab):
    from trainshed.server.records.models import Workspace
    from trainshed.server.services import workspaces

    lab.attempt("train")
    ok(owner.delete(f"/workspaces/{lab.workspace_id}"), 204)
    Workspace.objects.update(deleted_at=1.0)
    assert workspaces.sweep_deleted() == 0
    assert Workspace.objects.filter(id=lab.workspace_id).exists()


def test_a_personal_workspace_is_made_once_and_stays(nobody):
    from django.db import connection

    from server.api_client import make_token
    from trainshed.server.records.models import Workspace
    from trainshed.server.services import workspaces

    person = make_person()

    def ensure(_: int) -> str:
        try:
            return workspaces.ensure_personal(person).id
        finally:
            connection.close()

    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        made = set(pool.map(ensure, range(6)))
    assert len(made) == Workspace.objects.filter(personal_of=person).count() == 1
    (id_,) = made
    caller = nobody.as_(make_token(person))
    (row,) = ok(caller.get("/workspaces"))["items"]
    assert row["is_personal"] and row["name"] == f"{person.name}'s workspace"
    assert [project["name"] for project in row["projects"]] == ["My project"]
    problem(caller.delete(f"/workspaces/{id_}"), 409, "conflict", "personal")
    problem(caller.post(f"/workspaces/{id_}/leave"), 409, "conflict", "personal")
    problem(caller("PATCH", f"/workspaces/{id_}/members/{person.id}", json={"role": "viewer"}), 409, "conflict")


def test_a_token_of_one_workspace_changes_nothing_beyond_it(nobody, lab):
    """Neither where its person belongs, nor by a new token without the limit."""
    other = Lab("other")
    from trainshed.server.records.models import Membership

    Membership.objects.create(workspace_id=other.workspace_id, person=lab.person("owner"), role="owner")
    caller = nobody.as_(lab.token("owner", workspace_id=lab.workspace_id))
    problem(caller.post("/workspaces", {"name": "n"}), 403, "forbidden", "one workspace")
    problem(caller.post("/invites/accept", {"link": other.invite()[1]}), 403, "forbidden", "one workspace")
    asked = {"name": "n", "scopes": ["read"], "workspace_id": other.workspace_id}
    problem(caller.post("/tokens", asked), 404, "not_found")
    made = ok(caller.post("/tokens", {"name": "n", "scopes": ["read"]}), 201)
    assert made["workspace_id"] == lab.workspace_id
    problem(nobody.as_(made["token"]).get(f"{other.path}/jobs"), 404, "not_found")
    foreign = ok(nobody.as_(lab.token("owner")).post("/tokens", {"name": "n", "scopes": ["read"]}), 201)
    problem(caller.delete(f"/tokens/{foreign['id']}"), 404, "not_found")


# Projects


def test_a_project_has_a_task_a_description_and_another_name(editor, lab):
    said = {"name": "Birds", "task": "classification", "description": " of Höxter "}
    made = ok(editor.post(f"/workspaces/{lab.workspace_id}/projects", said), 201)
    path = f"/workspaces/{lab.workspace_id}/projects/{made['id']}"
    assert (made["task"], made["description"]) == ("classification", "of Höxter")
    ok(editor.patch(path, {"name": "Bees"}))
    changed = ok(editor.patch(path, {"description": "and wasps"}))
    assert ok(editor.get(path)) == changed
    assert (changed["name"], changed["description"]) == ("Bees", "and wasps")
    problem(editor.patch(path, {"name": "project"}), 409, "conflict", "project")
    problem(editor.post(f"/workspaces/{lab.workspace_id}/projects", {**said, "task": "sorcery"}), 422, "invalid_input")
    listed = ok(editor.get(f"/workspaces/{lab.workspace_id}/projects"))["items"]
    assert [row["name"] for row in listed] == ["project", "Bees"]


def test_a_project_goes_when_it_is_empty_or_with_everything_by_an_owner(editor, owner, lab):
    from trainshed.server.records.models import Image, Project, TrainedModel

    lab.image(lab.dataset())
    lab.model()
    problem(editor.delete(lab.path), 409, "conflict", "1 dataset, 1 model, 2 jobs")
    problem(editor.delete(f"{lab.path}?with_everything=true"), 403, "forbidden", "owner")
    waiting = lab.job()
    problem(owner.delete(f"{lab.path}?with_everything=true"), 409, "conflict", "not done")
    ok(owner.post(f"{lab.path}/jobs/{waiting.id}/cancel"))
    ok(owner.delete(f"{lab.path}?with_everything=true"), 204)
    assert not (Image.objects.exists() or TrainedModel.objects.exists() or Project.objects.exists())
    empty = ok(editor.post(f"/workspaces/{lab.workspace_id}/projects", {"name": "empty"}), 201)
    ok(editor.delete(f"/workspaces/{lab.workspace_id}/projects/{empty['id']}"), 204)
