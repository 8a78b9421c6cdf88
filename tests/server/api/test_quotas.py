"""Quotas by REST: who sees them, who sets them, and what is told at the limit."""

from __future__ import annotations

from typing import Any

import pytest

from server.api_client import Lab, make_person, make_token, ok, packed, problem


@pytest.fixture
def administrator(nobody: Any) -> Any:
    """Of the installation, and in no workspace."""
    return nobody.as_(make_token(make_person(is_administrator=True)))


def _quotas(caller: Any, lab: Lab) -> dict[str, tuple[int, int | None]]:
    items = ok(caller("GET", f"/workspaces/{lab.workspace_id}/quotas"))["items"]
    assert all(item["meaning"] for item in items)
    return {item["resource"]: (item["used"], item["most"]) for item in items}


def _limit(administrator: Any, lab: Lab, resource: str, most: int | None) -> Any:
    return ok(administrator("PUT", f"/workspaces/{lab.workspace_id}/quotas/{resource}", json={"most": most}))


def test_a_fresh_workspace_uses_nothing_and_has_no_limit(viewer, lab):
    nothing = dict.fromkeys(("stored_bytes", "queued_jobs", "running_jobs", "gpu_seconds"), (0, None))
    assert _quotas(viewer, lab) == nothing


def test_members_see_what_is_used_beside_what_an_administrator_allows(viewer, editor, administrator, lab):
    ok(editor("POST", f"{lab.path}/uploads", content=b"12345"), 201)
    made = _limit(administrator, lab, "stored_bytes", 10**15)
    assert (made["resource"], made["used"], made["most"]) == ("stored_bytes", 5, 10**15)
    lab.attempt("train")
    assert _quotas(viewer, lab) == _quotas(administrator, lab)
    assert _quotas(viewer, lab) == {
        "stored_bytes": (5, 10**15),
        "queued_jobs": (0, None),
        "running_jobs": (1, None),
        "gpu_seconds": (0, None),
    }
    assert _limit(administrator, lab, "stored_bytes", None)["most"] is None


def test_not_even_an_owner_sets_a_limit(owner, lab):
    answer = owner("PUT", f"/workspaces/{lab.workspace_id}/quotas/queued_jobs", json={"most": 5})
    problem(answer, 403, "forbidden", "administrator of the installation")


@pytest.mark.parametrize(("resource", "most"), [("queued_jobs", -1), ("queued_jobs", 2**63), ("coffee", 1)])
def test_a_limit_that_makes_no_sense_is_refused(administrator, lab, resource, most):
    answer = administrator("PUT", f"/workspaces/{lab.workspace_id}/quotas/{resource}", json={"most": most})
    problem(answer, 422, "invalid_input")


def test_an_unknown_workspace_has_no_quota(administrator, lab):
    for method, path, body in (("GET", "", {}), ("PUT", "/queued_jobs", {"json": {"most": 1}})):
        problem(administrator(method, f"/workspaces/{'z' * 20}/quotas{path}", **body), 404, "not_found")


def test_a_limit_is_written_into_the_audit_log_with_what_was_before(administrator, lab):
    from trainshed.server.records.models import AuditRow

    _limit(administrator, lab, "queued_jobs", 7)
    _limit(administrator, lab, "queued_jobs", None)
    rows = AuditRow.objects.filter(action="quota.limit", workspace_id=lab.workspace_id).order_by("id")
    assert [(row.details["before"], row.details["most"]) for row in rows] == [(None, 7), (7, None)]


def test_a_job_too_many_is_refused_in_words(editor, administrator, lab):
    _limit(administrator, lab, "queued_jobs", 1)
    dataset = lab.dataset()
    ok(editor("POST", f"{lab.path}/datasets/{dataset.id}/versions", json={}), 202)
    answer = editor("POST", f"{lab.path}/datasets/{dataset.id}/versions", json={})
    found = problem(answer, 507, "quota_exceeded", "1 of at most 1 jobs wait.")
    assert "administrator" in found["hint"]


def test_a_training_with_the_version_before_it_is_queued_whole_or_not_at_all(editor, administrator, lab):
    from trainshed.server.records.models import Job

    dataset = lab.dataset()
    lab.image(dataset)
    before = Job.objects.count()
    _limit(administrator, lab, "queued_jobs", 1)
    problem(editor("POST", f"{lab.path}/trainings", json={"dataset_id": dataset.id}), 507, "quota_exceeded")
    assert Job.objects.count() == before and _quotas(editor, lab)["queued_jobs"] == (0, 1)
    _limit(administrator, lab, "queued_jobs", 2)
    ok(editor("POST", f"{lab.path}/trainings", json={"dataset_id": dataset.id}), 202)
    assert _quotas(editor, lab)["queued_jobs"] == (2, 2)


def test_an_upload_beyond_the_quota_is_refused_before_its_bytes_are_kept(editor, administrator, lab):
    from trainshed.server.records.models import Blob, Upload
    from trainshed.server.services import blobs

    _limit(administrator, lab, "stored_bytes", 10)
    ok(editor("POST", f"{lab.path}/uploads", content=b"12345678"), 201)
    folder = blobs.folder()
    assert folder is not None
    files = {path for path in folder.rglob("*") if path.is_file()}
    answer = editor("POST", f"{lab.path}/uploads", content=b"123")
    problem(answer, 507, "quota_exceeded", "These 3 bytes do not fit: the workspace stores 8 of at most 10 bytes.")
    assert {path for path in folder.rglob("*") if path.is_file()} == files
    assert (Blob.objects.count(), Upload.objects.count()) == (1, 1)


@pytest.mark.parametrize(
    ("method", "body"), [("PUT", b"weights"), ("POST", packed(b"wei", b"ghts"))], ids=["one", "packed"]
)
def test_what_an_attempt_stores_beyond_the_quota_is_refused(nobody, administrator, lab, method, body):
    from trainshed.server.records.models import Holding

    _limit(administrator, lab, "stored_bytes", 6)
    _, token = lab.attempt("train")
    problem(nobody.as_(token)(method, "/attempt/blobs", content=body), 507, "quota_exceeded", "These 7 bytes")
    assert not Holding.objects.exists()
