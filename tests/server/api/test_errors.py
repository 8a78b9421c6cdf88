"""Every refusal, whoever makes it, is one problem document that tells nothing of the inside."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from conftest import ON_POSTGRESQL
from postgresql import free_port
from server.api_client import API, Caller, ok, problem
from trainshed import errors as kinds


@pytest.mark.parametrize("path", ["/nothing", "/workspaces/x", "/me/", "//me", "/%00", "/me/../../secret", "/é"])
def test_an_unknown_path_is_a_problem(owner, path):
    problem(owner.get(path), 404, "not_found")


@pytest.mark.parametrize("path", ["/static/nothing.js", "/static/%2e%2e/x", "/assets/nothing.js"])
def test_a_file_that_is_not_there_is_a_problem_too(nobody, path):
    problem(nobody.http.get(path), 404, "not_found")


@pytest.mark.parametrize("path", ["/nothing", "/static/../../../etc/passwd"])
def test_elsewhere_a_path_that_is_none_is_a_page_for_people(nobody, path):
    answer = nobody.http.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert "Not found" in answer.text


WRONG_METHODS = [
    ("PUT", "/me", "DELETE, GET, PATCH"),
    ("DELETE", "{lab}/datasets", "GET, POST"),
    ("HEAD", "/me", "DELETE, GET, PATCH"),
    ("OPTIONS", "/me", "DELETE, GET, PATCH"),
    ("GET", "{lab}/uploads", "POST"),
    ("DELETE", "/attempt/blobs", "POST, PUT"),
    ("POST", "{lab}/jobs/x/stream", "GET"),
    ("PATCH", "{lab}/models/x/predict", "POST"),
]


@pytest.mark.parametrize(("method", "path", "allowed"), WRONG_METHODS)
def test_a_wrong_method_names_the_right_ones(owner, lab, method, path, allowed):
    answer = owner(method, path.format(lab=lab.path))
    assert answer.headers["allow"] == allowed
    if method != "HEAD":
        problem(answer, 405, "method_not_allowed", method)
    assert answer.status_code == 405


BODIES = {
    "nothing": b"",
    "half": b'{"name": ',
    "not UTF-8": b'{"name": "\xff\xfe"}',
    "UTF-16": '{"name": "x"}'.encode("utf-16"),
    "a list": b'["name"]',
    "a number": b"7",
    "null": b"null",
    "NaN": b'{"name": NaN}',
    "a form": b"name=x",
    "deep": b"[" * 100_000,
    "deep object": b'{"name":' * 50_000,
    "a huge number": b'{"name": ' + b"9" * 10_000 + b"}",
}


@pytest.mark.parametrize("body", BODIES.values(), ids=list(BODIES))
def test_a_body_that_cannot_be_read_is_refused(editor, lab, body):
    problem(editor("POST", f"{lab.path}/datasets", content=body), 422, "invalid_input")


def test_a_body_with_a_byte_order_mark_is_read(editor, lab):
    ok(editor("POST", f"{lab.path}/datasets", content='{"name": "x"}'.encode("utf-8-sig")), 201)


def test_a_huge_body_is_refused_by_its_size(editor, lab):
    body = b'{"name": "' + b"x" * (20 * 1024 * 1024) + b'"}'
    problem(editor("POST", f"{lab.path}/datasets", content=body), 413, "too_large", "20,971,520")


def test_a_body_without_its_length_is_read_all_the_same(editor, lab):
    ok(editor("POST", f"{lab.path}/datasets", content=iter([b'{"name"', b': "x"}'])), 201)


def test_a_host_that_is_not_ours_is_refused(owner):
    answer = owner("GET", "/me", headers={"Host": "evil.example"})
    problem(answer, 422, "invalid_input", "host")


def test_the_headers_that_protect_a_browser_are_there(owner):
    for path in ("/me", "/nothing", "/docs"):
        headers = owner.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "same-origin"
        assert "server" not in headers and "x-powered-by" not in headers


def test_no_cookie_is_ever_set(owner, nobody):
    for answer in (owner.get("/me"), nobody.get("/docs"), nobody.get("/health"), nobody.get("/me")):
        assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("kind", sorted(kinds.BY_CODE.values(), key=lambda kind: kind.code), ids=lambda kind: kind.code)
def test_every_error_of_ours_goes_out_and_comes_back_as_itself(kind):
    import json

    from trainshed.server.api.errors import respond
    from trainshed.server.streams import door

    error = kind("what happened", hint="what to do", details=[{"field": "f", "message": "m"}])
    for response in (respond(error), door.problem(error)):
        body = response.content if hasattr(response, "content") else response.body
        assert response.status_code == kind.status
        back = kinds.from_problem(json.loads(body))
        assert type(back) is kind and (back.message, back.hint) == ("what happened", "what to do")
        assert back.details == [{"field": "f", "message": "m"}]


SECRET = "the password is hunter2"


def test_what_nobody_foresaw_is_a_500_that_tells_nothing(owner, lab, monkeypatch):
    from trainshed.server.services import datasets

    def fails(*arguments: object, **named: object) -> None:
        raise RuntimeError(SECRET)

    monkeypatch.setattr(datasets, "visible", fails)
    answer = owner.get(f"{lab.path}/datasets")
    found = problem(answer, 500, "internal_error")
    assert "log" in found["hint"]
    for leak in (SECRET, "RuntimeError", "Traceback", ".py", "datasets.visible"):
        assert leak not in answer.text


def test_a_stream_doors_500_tells_nothing_either(owner, lab, monkeypatch):
    from trainshed.server.services import uploads

    def fails(*arguments: object, **named: object) -> None:
        raise RuntimeError(SECRET)

    monkeypatch.setattr(uploads, "keep", fails)
    answer = owner("POST", f"{lab.path}/uploads", content=b"x")
    problem(answer, 500, "internal_error")
    assert SECRET not in answer.text and "Traceback" not in answer.text


def test_a_full_disk_is_a_507_at_both_doors(owner, lab, monkeypatch):
    import errno

    from trainshed.server.blobs import local

    def full(*arguments: object, **named: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "/secret/path")

    monkeypatch.setattr(local.os, "fsync", full)
    answer = owner("POST", f"{lab.path}/uploads", content=b"never stored before")
    found = problem(answer, 507, "storage_full", "full")
    assert "space" in found["hint"] and "/secret/path" not in answer.text


# The database is away


class Away:
    """A web process of its own, whose database can be taken away and given back."""

    def __init__(self, take: Callable[[], None], give: Callable[[], None], environment: dict[str, str]) -> None:
        self.take, self.give = take, give
        self._port = free_port()
        self._environment = {**os.environ, **environment, "TRAINSHED_PORT": str(self._port)}
        self.address = f"http://127.0.0.1:{self._port}"

    def start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "trainshed.server.asgi"]
        process = subprocess.Popen(command, env=self._environment, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and process.poll() is None:
            try:
                httpx.get(f"{self.address}/static/ninja/favicon.svg", timeout=5)
            except httpx.TransportError:
                time.sleep(0.05)
            else:
                return process
        process.kill()
        process.wait()
        raise AssertionError("the web process did not start")


@pytest.fixture
def away(database_server: Any, django: None) -> Iterator[Away]:
    """On PostgreSQL the server is stopped; on SQLite a folder stands where the file should be."""
    from django.db import connection

    if database_server is not None:
        connection.close()
        is_up = [True]

        def stop() -> None:
            database_server.stop()
            is_up[0] = False

        def start() -> None:
            database_server.start()
            is_up[0] = True

        yield Away(stop, start, {})
        if not is_up[0]:
            database_server.start()
        connection.close()
        return
    with tempfile.TemporaryDirectory(prefix="ts-away-") as home:
        file, kept = Path(home) / "trainshed.sqlite3", Path(home) / "kept"
        with sqlite3.connect(kept) as copy:
            connection.ensure_connection()
            connection.connection.backup(copy)
        copy.close()

        def give() -> None:
            file.rmdir()
            kept.rename(file)

        yield Away(file.mkdir, give, {"TRAINSHED_HOME": home})


def _until(answer: Callable[[], httpx.Response], status: int) -> httpx.Response:
    """The first answer with that status; the others must be honest outages."""
    deadline = time.monotonic() + 30
    while (found := answer()).status_code != status:
        assert time.monotonic() < deadline, f"{found.status_code} {found.text}"
        assert found.status_code in (200, 401, 503), found.text
        time.sleep(0.05)
    return found


def test_without_its_database_every_door_says_503_and_when_to_come_back(away):
    if not ON_POSTGRESQL:
        away.take()
    process = away.start()
    try:
        with httpx.Client(base_url=away.address, timeout=40) as http:
            caller = Caller(http, "tsp_nobody")
            lab = "/workspaces/w/projects/p"
            if ON_POSTGRESQL:
                problem(caller.get("/me"), 401, "not_signed_in")
                problem(caller.get(f"{lab}/jobs/j/stream"), 401, "not_signed_in")
                away.take()
            for answer in (
                caller.get("/me"),
                caller.get("/health"),
                caller.get(f"{lab}/jobs/j/stream"),
                caller("POST", f"{lab}/uploads", content=b"x"),
                caller.post("/sign-in", {"email": "a@example.org", "password": "x"}),
                caller.as_("tsa_x").post("/attempt/renewals"),
            ):
                found = problem(answer, 503, "unavailable", "database")
                assert answer.headers["retry-after"] == "1"
                assert "sqlite" not in str(found).lower() and "psycopg" not in str(found).lower()
            assert http.get(f"{API}/docs").status_code == 200
            away.give()
            assert _until(lambda: caller.get("/health"), 200)
            problem(_until(lambda: caller.get("/me"), 401), 401, "not_signed_in")
            problem(_until(lambda: caller.get(f"{lab}/jobs/j/stream"), 401), 401, "not_signed_in")
            _pulse_goes_on(away)
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) in (0, -signal.SIGTERM)


def _pulse_goes_on(away: Away) -> None:
    """The web's pulse is written again, or no silent attempt would ever be swept."""
    from django.db import connection

    def beat_at() -> float:
        if ON_POSTGRESQL:
            with connection.cursor() as cursor:
                cursor.execute("SELECT beat_at FROM pulse WHERE name = 'web'")
                return float((cursor.fetchone() or [0.0])[0])
        file = Path(away._environment["TRAINSHED_HOME"]) / "trainshed.sqlite3"
        with sqlite3.connect(file) as found:
            rows = found.execute("SELECT beat_at FROM pulse WHERE name = 'web'").fetchall()
        found.close()
        return float(rows[0][0]) if rows else 0.0

    began, deadline = time.time(), time.monotonic() + 20
    while beat_at() < began:
        assert time.monotonic() < deadline, "the pulse did not come back"
        time.sleep(0.05)


def test_a_client_that_goes_away_in_the_middle_harms_nobody(owner, lab):
    """Many half requests, then a whole one."""
    address = httpx.URL(str(owner.http.base_url))

    async def half() -> None:
        _, writer = await asyncio.open_connection(address.host, address.port)
        writer.write(
            f"POST {API}{lab.path}/datasets HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\nx".encode()
        )
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async def many() -> None:
        await asyncio.gather(*(half() for _ in range(40)))

    asyncio.run(many())
    ok(owner.post(f"{lab.path}/datasets", {"name": "after"}), 201)


def _open(caller: Caller, head: str) -> socket.socket:
    """A connection that has sent this much and then neither sends nor reads."""
    address = httpx.URL(str(caller.http.base_url))
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect((address.host, address.port))
    connection.sendall(f"{head}\r\nHost: localhost\r\n".encode())
    return connection


def test_senders_that_never_finish_hold_up_nobody(owner):
    """More of them than there are threads for REST; they need no token."""
    slow = [_open(owner, f"POST {API}/sign-in HTTP/1.1") for _ in range(30)]
    try:
        for connection in slow:
            connection.sendall(b"Content-Length: 99\r\n\r\n{")
        began = time.monotonic()
        ok(owner.get("/me"))
        ok(owner.get("/health"))
        assert time.monotonic() - began < 5
    finally:
        for connection in slow:
            connection.close()


def test_a_body_that_does_not_arrive_is_given_up(owner, monkeypatch):
    from trainshed.server import asgi

    monkeypatch.setattr(asgi, "_BODY_SECONDS", 0.2)
    with _open(owner, f"POST {API}/sign-in HTTP/1.1") as connection:
        connection.sendall(b"Content-Length: 99\r\n\r\n{")
        connection.settimeout(10)
        assert connection.recv(12, socket.MSG_WAITALL) == b"HTTP/1.1 422"


@pytest.mark.parametrize("what", ["archive", "file"])
def test_readers_that_never_read_hold_up_nobody(viewer, lab, what):
    """More of them than there are threads for REST, each with a download of 20 MB."""
    from server.api_client import store
    from trainshed.server.records.models import Artifact

    content = os.urandom(20_000_000)
    if what == "archive":
        row = lab.model()
        Artifact.objects.filter(job=row.job, name="model.onnx").update(blob_id=store(content)[0])
        path = f"{lab.path}/models/{row.id}/archive"
    else:
        path = f"{lab.path}/images/{lab.image(lab.dataset(), content=content).id}/file"
    slow = [_open(viewer, f"GET {API}{path} HTTP/1.1") for _ in range(30)]
    try:
        for connection in slow:
            connection.sendall(f"Authorization: Bearer {viewer.token}\r\n\r\n".encode())
            connection.settimeout(20)
            assert connection.recv(12, socket.MSG_WAITALL) == b"HTTP/1.1 200"
        began = time.monotonic()
        ok(viewer.get("/me"))
        ok(viewer.get(f"{lab.path}/jobs"))
        assert time.monotonic() - began < 5
        assert len(viewer.get(path).content) >= 20_000_000
    finally:
        for connection in slow:
            connection.close()


@pytest.mark.parametrize("address", ["/tokens/a%0A", "/tokens/%0A", "/to%0Akens", "/workspaces/x/stream%0A", "%0A"])
def test_an_address_with_a_line_break_is_answered_like_any_other(owner, address):
    assert "Not Found" not in owner.get(address).text
    problem(owner.get(address), *{"/tokens/": (405, "method_not_allowed")}.get(address[:8], (404, "not_found")))
