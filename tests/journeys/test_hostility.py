"""The token of an attempt opens its own job and its own workspace's blobs, and nothing else."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any

import httpx
import pytest

from trainshed.schemas import NewEvent


class Lab:
    """A workspace with a blob, a running import and its attempt's token."""

    def __init__(self, name: str) -> None:
        from trainshed.server.queue import ledger
        from trainshed.server.records.models import Dataset, Host, Project, Slot, Upload, Workspace
        from trainshed.server.services import blobs

        workspace = Workspace.objects.create(name=name)
        project = Project.objects.create(workspace=workspace, name="project")
        host = Host.objects.create(name=name, key_sha256=hashlib.sha256(name.encode()).hexdigest())
        Slot.objects.create(host=host, pool="cpu", position=0)
        self.content = f"what {name} keeps to itself".encode()
        (self.sha256,) = blobs.store_many([self.content], workspace.id)
        blob = blobs.register(self.sha256, len(self.content), workspace.id)
        upload = Upload.objects.create(workspace=workspace, project=project, name=name, blob=blob, created_by="test")
        dataset = Dataset.objects.create(workspace=workspace, project=project, name=name, task="classification")
        spec = {"upload_id": upload.id, "dataset_id": dataset.id}
        request = ledger.Request(workspace.id, project.id, "import", name, spec)
        self.job_id, _ = ledger.submit(request, actor="person:test")
        (assigned,) = ledger.assign(lease_seconds=60)
        self.held, self.token = assigned.held, assigned.token
        ledger.renew(self.held, lease_seconds=60)
        self.path = f"/workspaces/{workspace.id}/projects/{project.id}/jobs/{self.job_id}"


@pytest.fixture
def labs(database: None) -> tuple[Lab, Lab]:
    return Lab("ours"), Lab("theirs")


def ask(method: str, path: str, token: str, **named: Any) -> httpx.Response:
    """One request to the web application in this process."""
    from trainshed.server.asgi import app

    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            headers = {"Authorization": f"Bearer {token}"}
            return await client.request(method, f"/api/v1{path}", headers=headers, **named)

    return asyncio.run(send())


def test_an_attempt_reads_its_own_workspaces_blobs(labs: tuple[Lab, Lab]) -> None:
    ours, _ = labs
    answer = ask("GET", f"/attempt/blobs/{ours.sha256}", ours.token)
    assert (answer.status_code, answer.content) == (200, ours.content)


def test_another_workspaces_blob_and_an_unknown_one_are_the_same_404(labs: tuple[Lab, Lab]) -> None:
    ours, theirs = labs
    foreign = ask("GET", f"/attempt/blobs/{theirs.sha256}", ours.token)
    unknown = ask("GET", f"/attempt/blobs/{'0' * 64}", ours.token)
    assert foreign.status_code == unknown.status_code == 404
    assert foreign.json() == unknown.json()


def test_a_checkpoint_cannot_make_another_workspaces_blob_readable(labs: tuple[Lab, Lab]) -> None:
    """An attempt that knows a hash points its checkpoint at it and asks for the blob."""
    ours, theirs = labs
    ask("POST", "/attempt/checkpoint", ours.token, json={"sha256": theirs.sha256, "step": 1})
    assert ask("GET", f"/attempt/blobs/{theirs.sha256}", ours.token).status_code == 404


def test_staged_pictures_cannot_make_another_workspaces_blob_readable(labs: tuple[Lab, Lab]) -> None:
    ours, theirs = labs
    said = {"name": "cat/a.png", "class_name": "cat", "sha256": theirs.sha256, "thumbnail_sha256": theirs.sha256}
    image = {**said, "size_bytes": 1, "width": 1, "height": 1, "format": "PNG"}
    ask("POST", "/attempt/images", ours.token, json={"images": [image]})
    assert ask("GET", f"/attempt/blobs/{theirs.sha256}", ours.token).status_code == 404


@pytest.mark.parametrize("path", ["", "/events", "/stream"])
def test_an_attempts_token_is_no_persons(labs: tuple[Lab, Lab], path: str) -> None:
    ours, theirs = labs
    for lab in (ours, theirs):
        assert ask("GET", lab.path + path, ours.token).status_code in (403, 404)
    assert ask("POST", theirs.path + "/cancel", ours.token).status_code in (403, 404)


def test_an_attempts_token_is_worth_nothing_when_its_job_has_ended(labs: tuple[Lab, Lab]) -> None:
    from trainshed.schemas import EndReport
    from trainshed.server.queue import ledger

    ours, _ = labs
    ledger.tell(ours.held, 0, [NewEvent(kind="log", body={"text": "alive"})])
    ledger.end(ours.held, EndReport(end="failed"))
    for method, path in (
        ("GET", f"/attempt/blobs/{ours.sha256}"),
        ("GET", "/attempt/assignment"),
        ("PUT", "/attempt/blobs"),
    ):
        answer = ask(method, path, ours.token)
        assert (answer.status_code, answer.json()["code"]) == (409, "attempt_superseded")
