"""Models: list, name, delete, and the archive."""

from __future__ import annotations

import io
import zipfile
from urllib.parse import unquote

import httpx
import pytest

from server.api_client import ok, problem
from trainshed.schemas import ARCHIVE_FILES, ModelView


def test_models_are_listed_and_shown(viewer, lab):
    row = lab.model("digits")
    (listed,) = ok(viewer.get(f"{lab.path}/models"))["items"]
    shown = ModelView.model_validate(ok(viewer.get(f"{lab.path}/models/{row.id}")))
    assert ModelView.model_validate(listed) == shown
    assert (shown.name, shown.job_id, shown.is_pretrained) == ("digits", row.job_id, False)
    assert [entry.name for entry in shown.classes] == ["cat", "dog"] and shown.metrics == {"accuracy": 0.9}


@pytest.mark.parametrize("name", ["m", "猫模型 🐈", "n" * 300, 'a/b\\c"d\r\n'])
def test_a_model_can_be_renamed(editor, lab, name):
    row = lab.model()
    assert ok(editor.patch(f"{lab.path}/models/{row.id}", {"name": name}))["name"] == name.strip()


@pytest.mark.parametrize("name", ["", "  ", "n" * 301, None])
def test_a_models_name_has_1_to_300_characters(editor, lab, name):
    row = lab.model("before")
    problem(editor.patch(f"{lab.path}/models/{row.id}", {"name": name}), 422, "invalid_input")
    assert ok(editor.get(f"{lab.path}/models/{row.id}"))["name"] == "before"


def test_a_deleted_model_is_gone_and_its_job_stays(editor, lab):
    row = lab.model()
    ok(editor.delete(f"{lab.path}/models/{row.id}"), 204)
    problem(editor.get(f"{lab.path}/models/{row.id}"), 404, "not_found")
    problem(editor("POST", f"{lab.path}/models/{row.id}/predict", content=b"x"), 404, "not_found")
    problem(editor.delete(f"{lab.path}/models/{row.id}"), 404, "not_found")
    assert ok(editor.get(f"{lab.path}/jobs/{row.job_id}"))["state"] == "succeeded"


@pytest.mark.parametrize(
    ("name", "file_name"),
    [
        ("digits v1", "digits v1.zip"),
        ("猫", "猫.zip"),
        ("../../etc/passwd", ".._.._etc_passwd.zip"),
        ('a"; filename=evil.exe\r\nX: y', "a__ filename_evil.exe__X_ y.zip"),
        ("🐈", "_.zip"),
    ],
)
def test_the_archive_is_a_zip_of_the_models_files_with_a_safe_name(viewer, lab, name, file_name):
    row = lab.model(name)
    answer = viewer.get(f"{lab.path}/models/{row.id}/archive")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/zip")
    kind, _, said = answer.headers["content-disposition"].partition("; filename*=UTF-8''")
    assert (kind, unquote(said)) == ("attachment", file_name)
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == list(ARCHIVE_FILES)
        assert {file: archive.read(file) for file in ARCHIVE_FILES} == {file: file.encode() for file in ARCHIVE_FILES}


def test_an_archive_of_many_megabytes_comes_whole(viewer, lab):
    from server.api_client import store
    from trainshed.server.records.models import Artifact

    row, content = lab.model(), bytes(range(256)) * 20_000
    (sha256,) = store(content)
    Artifact.objects.filter(job=row.job, name="model.onnx").update(blob_id=sha256)
    answer = viewer.get(f"{lab.path}/models/{row.id}/archive")
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.read("model.onnx") == content


def test_a_prediction_without_a_model_server_says_that_it_may_be_starting(viewer, lab):
    answer = viewer("POST", f"{lab.path}/models/{lab.model().id}/predict", content=b"x")
    problem(answer, 503, "unavailable", "model server")


def test_what_the_model_server_says_is_handed_on_with_when_to_ask_again(viewer, lab, monkeypatch):
    from trainshed.server.streams import predictions

    def answer(request: httpx.Request) -> httpx.Response:
        said = {"path": request.url.path, "query": dict(request.url.params), "body": request.content.decode()}
        return httpx.Response(503, json=said, headers={"Retry-After": "1", "Server": "inside"})

    inside = httpx.AsyncClient(transport=httpx.MockTransport(answer), base_url="http://serving")
    monkeypatch.setattr(predictions, "_model_server", lambda: inside)
    row = lab.model()
    handed = viewer("POST", f"{lab.path}/models/{row.id}/predict?top=2&name=猫.png&token=x", content=b"bytes")
    assert (handed.status_code, handed.headers["retry-after"]) == (503, "1")
    assert handed.headers.get("server") != "inside"
    query = {"top": "2", "name": "猫.png"}
    assert handed.json() == {"path": f"/models/{row.id}/predict", "query": query, "body": "bytes"}


@pytest.mark.parametrize("announced", [True, False])
def test_a_picture_that_is_too_large_is_refused(viewer, lab, monkeypatch, announced):
    """With its length announced before the first byte, else as soon as too much has come."""
    monkeypatch.setenv("TRAINSHED_MAX_IMAGE_BYTES", "1000")
    content = b"x" * 1001 if announced else iter([b"x" * 500] * 3)
    problem(viewer("POST", f"{lab.path}/models/{lab.model().id}/predict", content=content), 413, "too_large", "1,000")
