"""Uploads: bytes that arrive whole are kept, all others leave nothing."""

from __future__ import annotations

import hashlib
import socket
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from server.api_client import API, ok, problem


def _files() -> set[Path]:
    from trainshed.server.services import blobs

    folder = blobs.folder()
    assert folder is not None
    return {path for path in folder.rglob("*") if path.is_file()}


def test_an_upload_is_kept_under_its_hash(editor, lab):
    from trainshed.server.records.models import Upload
    from trainshed.server.services import blobs

    content = bytes(range(256)) * 12_345  # more than two pieces of a megabyte
    made = ok(editor("POST", f"{lab.path}/uploads?name=日本.zip", content=content), 201)
    assert (made["name"], made["size_bytes"]) == ("日本.zip", len(content))
    assert made["sha256"] == hashlib.sha256(content).hexdigest()
    with blobs.open_blob(made["sha256"]) as file:
        assert file.read() == content
    row = Upload.objects.get(id=made["id"])
    assert (row.workspace_id, row.project_id) == (lab.workspace_id, lab.project_id)


def test_the_same_bytes_twice_are_two_uploads_of_one_blob(editor, lab):
    first = ok(editor("POST", f"{lab.path}/uploads?name=a", content=b"same"), 201)
    before = _files()
    second = ok(editor("POST", f"{lab.path}/uploads?name=b", content=b"same"), 201)
    assert first["id"] != second["id"] and first["sha256"] == second["sha256"]
    assert _files() == before


@pytest.mark.parametrize(
    ("query", "name"),
    [("", "unnamed"), ("?name=", "unnamed"), ("?name=../../x", "../../x"), ("?name=" + "n" * 2000, "n" * 1024)],
    ids=["none", "empty", "path", "long"],
)
def test_an_uploads_name_is_a_label(editor, lab, query, name):
    assert ok(editor("POST", f"{lab.path}/uploads{query}", content=b"x"), 201)["name"] == name


def test_a_name_that_the_database_cannot_hold_breaks_nothing(editor, lab):
    assert editor("POST", f"{lab.path}/uploads?name=%00%FF", content=b"x").status_code in (201, 422)


def test_an_empty_upload_is_kept(editor, lab):
    assert ok(editor("POST", f"{lab.path}/uploads", content=b""), 201)["size_bytes"] == 0


def test_an_upload_without_its_length_is_refused(editor, lab):
    before = _files()
    answer = editor("POST", f"{lab.path}/uploads", content=iter([b"a", b"b"]))
    assert answer.request.headers["transfer-encoding"] == "chunked"
    problem(answer, 422, "invalid_input", "Content-Length")
    assert _files() == before


def test_an_upload_that_is_announced_too_large_is_refused_before_its_first_byte(editor, lab, monkeypatch):
    monkeypatch.setenv("TRAINSHED_MAX_UPLOAD_BYTES", "1000")
    before = _files()
    found = problem(editor("POST", f"{lab.path}/uploads", content=b"x" * 1001), 413, "too_large", "1,001")
    assert "TRAINSHED_MAX_UPLOAD_BYTES" in found["hint"]
    assert _files() == before
    ok(editor("POST", f"{lab.path}/uploads", content=b"x" * 1000), 201)


def _raw(caller: Any, head: list[str], body: bytes, *, close: bool) -> bytes:
    """Send a request by hand; returns what came back before the end."""
    where = urlsplit(str(caller.http.base_url))
    with socket.create_connection((where.hostname or "", where.port or 0), timeout=10) as connection:
        lines = [*head, f"Host: {where.netloc}", f"Authorization: Bearer {caller.token}", "", ""]
        connection.sendall("\r\n".join(lines).encode() + body)
        if close:
            connection.shutdown(socket.SHUT_WR)
        received = b""
        while piece := connection.recv(65536):
            received += piece
        return received


def _wait_until_quiet() -> set[Path]:
    """The blob folder once nothing is incoming any more."""
    deadline = time.monotonic() + 10
    while any(path.parent.name == "incoming" for path in _files()) and time.monotonic() < deadline:
        time.sleep(0.01)
    return _files()


def test_a_body_that_breaks_off_leaves_nothing(editor, lab):
    from trainshed.server.records.models import Upload

    before = _wait_until_quiet()
    head = [f"POST {API}{lab.path}/uploads HTTP/1.1", "Content-Length: 5000000"]
    _raw(editor, head, b"x" * 3_000_000, close=True)
    assert _wait_until_quiet() == before
    assert not Upload.objects.exists()


@pytest.mark.parametrize("length", ["abc", "-1", "1 1", "²", "0x10"])
def test_a_content_length_that_is_no_number_is_refused(editor, lab, length):
    from trainshed.server.records.models import Upload

    head = [f"POST {API}{lab.path}/uploads HTTP/1.1", f"Content-Length: {length}"]
    answer = _raw(editor, head, b"hello", close=True)
    assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 422"))
    assert not Upload.objects.exists()


def test_bytes_beyond_the_announced_length_are_not_part_of_the_upload(editor, lab):
    from trainshed.server.records.models import Upload

    head = [f"POST {API}{lab.path}/uploads HTTP/1.1", "Content-Length: 5", "Connection: close"]
    assert _raw(editor, head, b"hello and more", close=False).startswith(b"HTTP/1.1 201")
    assert [row.blob.size_bytes for row in Upload.objects.all()] == [5]


def test_a_viewer_is_refused_before_the_first_byte(viewer, lab):
    before = _files()
    problem(viewer("POST", f"{lab.path}/uploads", content=b"x" * 100_000), 403, "forbidden")
    assert _files() == before
