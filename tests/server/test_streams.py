"""Event streams from a real web process: replay, live, the end, many watchers, slow ones, and lost wake-ups."""

from __future__ import annotations

import contextlib
import itertools
import os
import queue
import socket
import statistics
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from conftest import ON_POSTGRESQL
from server import api_client
from server.api_client import API, Caller, Frame, Lab, frames, problem
from trainshed.schemas import EndReport, JobView, NewEvent


def _ledger() -> Any:
    from trainshed.server.queue import ledger

    return ledger


@contextlib.contextmanager
def watch(caller: Caller, path: str, *, after: str | None = None, seconds: float = 15.0) -> Iterator[Iterator[Frame]]:
    """The frames of a stream as they come; silence of so many seconds fails."""
    headers = {"Authorization": f"Bearer {caller.token}"}
    if after is not None:
        headers["Last-Event-ID"] = after
    with (
        httpx.Client(base_url=str(caller.http.base_url), timeout=seconds) as http,
        http.stream("GET", API + path, headers=headers) as answer,
    ):
        assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["cache-control"] == "no-store"
        yield (frame for frame in frames(answer.iter_lines()) if frame.kind != "comment")


class Follower:
    """A watcher in a thread of its own; what it saw lies in its queue, with the time."""

    def __init__(self, caller: Caller, path: str, after: str | None = None) -> None:
        self.seen: queue.Queue[tuple[float, Frame] | None] = queue.Queue()
        self._arguments = (caller, path, after)
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        caller, path, after = self._arguments
        with contextlib.suppress(httpx.TransportError), watch(caller, path, after=after) as found:
            for frame in found:
                self.seen.put((time.monotonic(), frame))
        self.seen.put(None)

    def next(self, kind: str, seconds: float = 10.0) -> tuple[float, Frame]:
        """The next frame of that kind and when it came."""
        while True:
            entry = self.seen.get(timeout=seconds)
            assert entry is not None, f"the stream ended before a frame `{kind}`"
            if entry[1].kind == kind:
                return entry

    def rest(self, seconds: float = 15.0) -> list[Frame]:
        """Everything until the stream ends by itself."""
        self.thread.join(seconds)
        assert not self.thread.is_alive(), "the stream did not end"
        return [entry[1] for entry in iter(self.seen.get, None) if entry]


def _path(lab: Lab, held: Any) -> str:
    return f"{lab.path}/jobs/{held.job_id}/stream"


def _metrics(*steps: int, **more: Any) -> list[NewEvent]:
    return [NewEvent(kind="metric", body={"step": step, **more}) for step in steps]


def _ended(lab: Lab, num_events: int) -> Any:
    held, _ = lab.attempt("train")
    for start in range(0, num_events, 500):
        _ledger().tell(held, start, _metrics(*range(start, min(start + 500, num_events))))
    _ledger().end(held, EndReport(end="failed"))
    return held


def _read(caller: Caller, path: str, after: str | None = None) -> list[Frame]:
    with watch(caller, path, after=after) as found:
        return list(found)


def test_an_ended_jobs_story_is_replayed_between_two_views_and_then_ends(viewer, lab):
    held = _ended(lab, 5)
    seen = _read(viewer, _path(lab, held))
    assert [frame.kind for frame in seen] == ["job", *["event"] * 9, "job"]
    assert [int(frame.cursor) for frame in seen[1:-1]] == list(range(1, 10))
    assert [frame.body["revision"] for frame in seen[1:-1]] == list(range(1, 10))
    assert JobView.model_validate(seen[-1].body).state == "failed"
    assert seen[0].cursor == seen[-1].cursor == ""


@pytest.mark.parametrize("after", [1, 4, 8])
def test_a_replay_goes_on_after_the_last_event_that_was_seen(viewer, lab, after):
    held = _ended(lab, 5)
    seen = _read(viewer, _path(lab, held), str(after))
    assert [frame.kind for frame in seen] == ["job", *["event"] * (9 - after), "job"]
    assert [int(frame.cursor) for frame in seen[1:-1]] == list(range(after + 1, 10))
    by_query = _read(viewer, f"{_path(lab, held)}?after={after}")
    assert by_query == seen


def test_a_watcher_who_has_seen_the_end_gets_the_last_view_and_the_end(viewer, lab):
    held = _ended(lab, 0)
    (seen,) = _read(viewer, _path(lab, held), "4")
    assert seen.kind == "job" and seen.body["state"] == "failed"


@pytest.mark.parametrize("cursor", ["5", "999999999", "x", "-1", "1.5", "²", "9" * 4000])
def test_a_cursor_beyond_the_end_or_of_nobody_starts_anew_with_a_reset(viewer, lab, cursor):
    held = _ended(lab, 0)
    headers = [(b"Authorization", f"Bearer {viewer.token}".encode()), (b"Last-Event-ID", cursor.encode("latin-1"))]
    with viewer.http.stream("GET", API + _path(lab, held), headers=headers) as answer:
        seen = list(frames(answer.iter_lines()))
    assert [frame.kind for frame in seen] == ["reset", "job", *["event"] * 4, "job"]


def test_a_story_longer_than_any_buffer_is_replayed_whole_and_in_order(viewer, lab):
    held = _ended(lab, 4300)
    for after in (0, 1500):
        seen = [frame for frame in _read(viewer, _path(lab, held), str(after)) if frame.kind != "job"]
        assert [int(frame.cursor) for frame in seen] == list(range(after + 1, 4305))


def test_a_live_event_comes_at_once_and_the_end_closes_the_stream(viewer, lab):
    held, _ = lab.attempt("train")
    follower = Follower(viewer, _path(lab, held))
    for _ in range(3):
        follower.next("event")
    delays = []
    for step in range(8):
        time.sleep(0.3)  # quieter than the hints' quarter second: each is on its leading edge
        told = time.monotonic()
        _ledger().tell(held, step, _metrics(step))
        at, frame = follower.next("event")
        assert frame.body["body"]["step"] == step
        delays.append(at - told)
    _ledger().publish(held, {"answer": 42}, {}, lambda: None)
    rest = follower.rest()
    assert [frame.kind for frame in rest] == ["event", "job"]
    assert rest[0].body["body"]["to"] == "succeeded"
    assert (rest[1].body["state"], rest[1].body["result"]) == ("succeeded", {"answer": 42})
    print(f"live event: median {statistics.median(delays) * 1000:.0f} ms, longest {max(delays) * 1000:.0f} ms")
    assert statistics.median(delays) < 0.5 and max(delays) < 3


def test_a_job_is_followed_from_the_queue_through_a_second_attempt_to_its_end(viewer, lab):
    job = lab.job()
    follower = Follower(viewer, f"{lab.path}/jobs/{job.id}/stream")
    assert follower.next("job")[1].body["state"] == "queued"
    from trainshed.server.records.models import Host, Slot

    Slot.objects.create(host=Host.objects.create(name="h", key_sha256="h"), pool="cpu", position=0)
    for _ in range(2):
        (assigned,) = _ledger().assign(lease_seconds=30)
        _ledger().renew(assigned.held, lease_seconds=30)
        _ledger().end(assigned.held, EndReport(end="stopped"))
    _ledger().cancel(job.id, actor="person:test")
    rest = follower.rest()
    states = [frame.body["body"]["to"] for frame in rest if frame.kind == "event"][1:]
    assert states == ["assigned", "running", "queued"] * 2 + ["cancelled"]
    assert rest[-1].body["state"] == "cancelled"


def test_a_request_for_cancel_is_told_and_does_not_end_the_stream(viewer, lab):
    held, _ = lab.attempt("train")
    follower = Follower(viewer, _path(lab, held))
    for _ in range(3):
        follower.next("event")
    _ledger().cancel(held.job_id, actor="person:test")
    assert follower.next("event")[1].body["body"] == {"cancel_requested_by": "person:test"}
    _ledger().end(held, EndReport(end="cancelled"))
    assert [frame.kind for frame in follower.rest()] == ["event", "job"]


def test_fifty_watchers_of_one_job_all_see_the_whole_story(viewer, lab):
    held, _ = lab.attempt("train")
    followers = [Follower(viewer, _path(lab, held), str(number % 3)) for number in range(50)]
    for follower in followers:
        follower.next("job")
    for start in range(0, 200, 20):
        _ledger().tell(held, start, _metrics(*range(start, start + 20)))
    _ledger().end(held, EndReport(end="failed"))
    for number, follower in enumerate(followers):
        events = [frame for frame in follower.rest(30) if frame.kind == "event"]
        assert [int(frame.cursor) for frame in events] == list(range(number % 3 + 1, 205))


# Lost wake-ups


def _tell_without_a_hint(held: Any, step: int) -> None:
    """What a committed event looks like whose wake-up was lost."""
    from django.db import transaction
    from django.db.models import F

    from trainshed.server.records.models import Event, Job

    with transaction.atomic():
        Job.objects.filter(id=held.job_id).update(revision=F("revision") + 1)
        revision = Job.objects.get(id=held.job_id).revision
        body = {"step": step}
        Event.objects.create(
            job_id=held.job_id, revision=revision, attempt=1, kind="metric", body=body, at=_ledger().now()
        )


def test_i9_with_all_wake_ups_lost_an_event_comes_within_the_poll_period(viewer, lab, monkeypatch):
    from trainshed.server.streams import channels

    assert channels.POLL_SECONDS <= 5
    monkeypatch.setattr(channels, "POLL_SECONDS", 0.6)
    held, _ = lab.attempt("train")
    first, second = Follower(viewer, _path(lab, held)), Follower(viewer, f"/workspaces/{lab.workspace_id}/stream")
    for _ in range(3):
        first.next("event")
    second.next("job")
    for step in range(3):
        told = time.monotonic()
        _tell_without_a_hint(held, step)
        at, frame = first.next("event")
        assert frame.body["body"] == {"step": step} and at - told < 3
        at, frame = second.next("job")
        assert frame.body["revision"] == 4 + step and at - told < 3
    _ledger().end(held, EndReport(end="failed"))
    first.rest()


def test_i9_with_the_listeners_sockets_gone_an_event_still_comes(viewer, lab, monkeypatch):
    from django.conf import settings
    from django.db import connection

    from trainshed.server.streams import channels

    monkeypatch.setattr(channels, "POLL_SECONDS", 0.6)
    held, _ = lab.attempt("train")
    follower = Follower(viewer, _path(lab, held))
    for _ in range(3):
        follower.next("event")
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'")
            assert cursor.fetchall()
    else:
        sockets = list(Path(settings.HOME, "run").glob("wake-*.sock"))
        assert sockets
        for path in sockets:
            path.unlink()
    _ledger().tell(held, 0, _metrics(7))
    assert follower.next("event", 5)[1].body["body"] == {"step": 7}
    _ledger().end(held, EndReport(end="failed"))
    assert follower.rest()[-1].body["state"] == "failed"


@pytest.mark.skipif(not ON_POSTGRESQL, reason="SQLite cannot be stopped")
def test_a_stream_outlives_its_database(viewer, lab, database_server, monkeypatch):
    from django.db import connection

    from trainshed.server.streams import channels

    monkeypatch.setattr(channels, "POLL_SECONDS", 0.4)
    held, _ = lab.attempt("train")
    followers = [Follower(viewer, _path(lab, held)), Follower(viewer, f"/workspaces/{lab.workspace_id}/stream")]
    for follower in followers:
        follower.next("job")
    connection.close()
    database_server.stop()
    try:
        time.sleep(1.5)  # several polls find nobody
        problem(viewer.get(_path(lab, held)), 503, "unavailable", "database")
    finally:
        database_server.start()
    _ledger().tell(held, 0, _metrics(7))
    while followers[0].next("event")[1].body["kind"] != "metric":
        pass
    while followers[1].next("job")[1].body["revision"] != 4:
        pass
    _ledger().end(held, EndReport(end="failed"))
    assert followers[0].rest()[-1].body["state"] == "failed"


# The workspace's stream: state, not story


def _snapshot(follower: Follower, num: int) -> dict[str, Frame]:
    return {frame.body["id"]: frame for frame in (follower.next("job")[1] for _ in range(num))}


def test_a_workspaces_stream_is_a_snapshot_and_then_the_latest_of_each_job(viewer, lab):
    done, queued = lab.job(state="succeeded").id, lab.job().id
    held, _ = lab.attempt("train")
    Lab("elsewhere").job()
    with watch(viewer, f"/workspaces/{lab.workspace_id}/stream") as found:
        snapshot = {frame.body["id"]: frame.body["state"] for frame in itertools.islice(found, 3)}
        running = {held.job_id, queued} - {job_id for job_id, state in snapshot.items() if state == "queued"}
        assert len(running) == 1 and snapshot[done] == "succeeded"
        _ledger().tell(held, 0, [NewEvent(kind="progress", body={"done": 3})])
        moved = next(found)
        assert (moved.kind, moved.body["id"], moved.body["progress"]) == ("job", held.job_id, {"done": 3})
        _ledger().end(held, EndReport(end="failed"))
        assert next(found).body["state"] == "failed"
        new = lab.job()
        _ledger().cancel(new.id, actor="person:test")
        last = next(frame for frame in found if frame.body["id"] == new.id and frame.body["state"] == "cancelled")
        assert last.kind == "job"


def test_a_workspaces_stream_repeats_nothing_that_has_not_moved(viewer, lab, monkeypatch):
    """More jobs than are listed, old unfinished ones among them: a refresh brings none of them again."""
    from django.db import transaction

    from trainshed.server.streams import channels

    monkeypatch.setattr(channels, "POLL_SECONDS", 0.3)
    with transaction.atomic():
        unfinished = [lab.job(state="paused", created_at=float(number)).id for number in range(60)]
        for _ in range(130):
            lab.job(state="succeeded")
        moving = lab.job()
    with watch(viewer, f"/workspaces/{lab.workspace_id}/stream") as found:
        seen = [next(found).body["id"]]
        while seen[-1] != moving.id:
            seen.append(next(found).body["id"])
        assert len(set(seen)) == len(seen) and set(unfinished) < set(seen)
        time.sleep(1.0)  # several refreshes
        _ledger().cancel(moving.id, actor="person:test")
        frame = next(found)
        assert (frame.body["id"], frame.body["state"]) == (moving.id, "cancelled")


# Slow and odd clients


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _open_and_never_read(caller: Caller, path: str) -> socket.socket:
    where = urlsplit(str(caller.http.base_url))
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect((where.hostname, where.port))
    head = f"GET {API}{path} HTTP/1.1\r\nHost: {where.netloc}\r\nAuthorization: Bearer {caller.token}\r\n\r\n"
    connection.sendall(head.encode())
    return connection


def test_slow_watchers_do_not_grow_the_servers_memory(viewer, lab):
    """30 of them hang in the middle of a story of 10 MB."""
    held, _ = lab.attempt("train")
    text = "x" * 5000
    for start in range(0, 2000, 250):
        _ledger().tell(held, start, _metrics(*range(start, start + 250), text=text))
    before = _resident_bytes()
    slow = [_open_and_never_read(viewer, _path(lab, held)) for _ in range(30)]
    try:
        for connection in slow:
            connection.settimeout(20)
            assert connection.recv(15, socket.MSG_PEEK | socket.MSG_WAITALL) == b"HTTP/1.1 200 OK"
        time.sleep(1.5)  # whatever the server would read ahead for them, it has now
        grown = _resident_bytes() - before
        with watch(viewer, _path(lab, held), after="2000") as found:
            assert next(found).kind == "job"
    finally:
        for connection in slow:
            connection.close()
    print(f"30 slow watchers: {grown / 2**20:.0f} MiB")
    assert grown < 100 * 2**20
    _ledger().end(held, EndReport(end="failed"))


def test_a_head_request_of_a_stream_does_not_hold_the_connection(viewer, lab):
    held, _ = lab.attempt("train")
    for path in (_path(lab, held), f"/workspaces/{lab.workspace_id}/stream"):
        assert viewer("HEAD", path).status_code == 405
        assert viewer.get("/me").status_code == 200


def test_watchers_that_leave_are_forgotten(viewer, lab):
    import gc

    from trainshed.server.streams.channels import hub

    held, _ = lab.attempt("train")
    for _ in range(5):
        with watch(viewer, _path(lab, held)) as found:
            next(found)
            assert held.job_id in hub._jobs
    deadline = time.monotonic() + 10
    while held.job_id in hub._jobs and time.monotonic() < deadline:
        _ledger().tell(held, 0, [])
        gc.collect()
        time.sleep(0.02)
    assert held.job_id not in hub._jobs


def test_a_stream_that_may_not_be_watched_says_why(nobody, lab):
    held, _ = lab.attempt("train")
    problem(nobody.get(_path(lab, held)), 401, "not_signed_in")
    other = Lab("other")
    for path in (_path(lab, held), f"/workspaces/{lab.workspace_id}/stream"):
        problem(nobody.as_(other.token()).get(path), 404, "not_found")


# The end of what was allowed


class Listener:
    """A stream of any address, opened as whoever these headers say; when its last byte came, and when it ended."""

    def __init__(self, site: str, path: str, headers: dict[str, str]) -> None:
        self.last = self.ended = 0.0
        self._began = threading.Event()
        self._arguments = (site, path, headers)
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()
        assert self._began.wait(10), path

    def _run(self) -> None:
        site, path, headers = self._arguments
        with (
            contextlib.suppress(httpx.TransportError),
            httpx.Client(base_url=site, timeout=60, headers=headers) as http,
            http.stream("GET", API + path) as answer,
        ):
            assert answer.status_code == 200
            for _ in answer.iter_lines():
                self.last = time.monotonic()
                self._began.set()
        self.ended = time.monotonic()


@pytest.fixture
def visit(site: str, database: None) -> Iterator[Any]:
    """`visit(person)` is a browser in which this person has signed in."""
    from web.visitors import Visitor, session_of

    with contextlib.ExitStack() as stack:

        def open_one(person: Any) -> Visitor:
            visitor = Visitor(site)
            stack.callback(visitor.http.close)
            return session_of(person, visitor)

        yield open_one


ENDS_WITHIN_SECONDS = 5.0
Revocations = dict[str, tuple[Lab, dict[str, str], Any]]


def _cookie(visitor: Any) -> dict[str, str]:
    return {"Cookie": "; ".join(f"{name}={value}" for name, value in visitor.http.cookies.items())}


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def _revocations(nobody: Caller, lab: Lab, visit: Any) -> Revocations:
    """Each end of what was allowed: whose workspace is listened to, as whom, and what is done then."""
    from trainshed.server.records.models import Token

    owner, gone = nobody.as_(lab.token("owner")), Lab("gone")

    def member() -> Any:
        return lab.add_member("viewer")

    def change_password(browser: Any) -> Any:
        words = {"password1": "another battery horse", "password2": "another battery horse"}
        return lambda: browser.send("/settings/password/first", words)

    leaver, twice, changed, switched, removed, left = (member() for _ in range(6))
    signed_out, first, second, password, passwords_other = map(visit, (leaver, twice, twice, changed, changed))
    runs_it = lab.add_member("viewer")
    runs_it.is_administrator = True
    runs_it.save()
    boss = visit(runs_it)
    mine, mine_id = api_client.make_token(left), Token.objects.get(person=left).id
    robot, robots_token = lab.robot("viewer")
    until = time.time() + 2
    return {
        "signed out": (lab, _cookie(signed_out), lambda: signed_out.send("/sign-out")),
        "ended from another browser": (lab, _cookie(first), lambda: second.send("/settings/sessions")),
        "password changed in another browser": (lab, _cookie(passwords_other), change_password(password)),
        "personal token revoked": (
            lab,
            _bearer(mine),
            lambda: nobody.as_(mine).delete(f"/tokens/{mine_id}"),
        ),
        "token expired by itself": (lab, _bearer(api_client.make_token(left, expires_at=until)), lambda: None),
        "robot revoked": (
            lab,
            _bearer(robots_token),
            lambda: owner.delete(f"/workspaces/{lab.workspace_id}/tokens/{robot.id}"),
        ),
        "member removed": (
            lab,
            _bearer(api_client.make_token(removed)),
            lambda: owner.delete(f"/workspaces/{lab.workspace_id}/members/{removed.id}"),
        ),
        "workspace deleted": (
            gone,
            _bearer(gone.token("viewer")),
            lambda: nobody.as_(gone.token("owner")).delete(f"/workspaces/{gone.workspace_id}"),
        ),
        "account switched off": (
            lab,
            _cookie(visit(switched)),
            lambda: boss.send("/installation", {"person": switched.id, "is_active": "off"}),
        ),
    }


def test_a_stream_ends_within_five_seconds_of_what_allowed_it_and_no_other_does(nobody, lab, visit):
    """Of each end a workspace's stream and a job's, all at once; who is still allowed goes on to hear what happens."""
    revocations = _revocations(nobody, lab, visit)
    site = str(nobody.http.base_url)
    labs = {where.workspace_id: where for where, _, _ in revocations.values()}
    held = {id_: where.attempt("train")[0] for id_, where in labs.items()}

    def listen(where: Lab, headers: dict[str, str]) -> list[Listener]:
        paths = (f"/workspaces/{where.workspace_id}/stream", _path(where, held[where.workspace_id]))
        return [Listener(site, path, headers) for path in paths]

    ending = {name: listen(where, headers) for name, (where, headers, _) in revocations.items()}
    staying = listen(lab, _cookie(visit(lab.person("viewer")))) + listen(lab, _bearer(lab.token("editor")))
    for name, (_, _, revoke) in revocations.items():
        answer = revoke()
        assert answer is None or answer.status_code in (200, 204, 302), (name, answer.text)
    done = time.monotonic()
    late = {}
    for name, listeners in ending.items():
        for listener in listeners:
            listener.thread.join(max(0.1, done + ENDS_WITHIN_SECONDS - time.monotonic()))
            late[name] = max(late.get(name, 0.0), (listener.ended or float("inf")) - done)
    print("streams end after", {name: f"{seconds:.1f} s" for name, seconds in late.items()})
    assert {name for name, seconds in late.items() if seconds > ENDS_WITHIN_SECONDS} == set()
    told_at = time.monotonic()
    _ledger().tell(held[lab.workspace_id], 0, _metrics(1))
    while time.monotonic() < told_at + 5 and any(each.last < told_at for each in staying):
        time.sleep(0.02)
    assert all(each.last > told_at and not each.ended for each in staying)


def test_an_upload_whose_token_is_revoked_on_the_way_keeps_nothing(nobody, lab):
    from trainshed.server.records.models import Blob, Upload
    from trainshed.server.services import blobs

    token, pieces = lab.token("editor"), [b"a" * 2**20, b"b" * 2**20, b"c" * 2**20]
    mine = nobody.as_(token)
    (row,) = mine.get("/tokens").json()["items"]

    def body() -> Iterator[bytes]:
        yield from pieces[:2]
        assert mine.delete(f"/tokens/{row['id']}").status_code == 204
        yield pieces[2]

    folder = blobs.storage().folder()
    files = {path for path in folder.rglob("*") if path.is_file()}
    with httpx.Client(base_url=str(nobody.http.base_url), timeout=30) as http:
        headers = {**_bearer(token), "Content-Length": str(3 * 2**20)}
        answer = http.post(f"{API}{lab.path}/uploads?name=a.zip", content=body(), headers=headers)
    problem(answer, 401, "not_signed_in")
    assert not Upload.objects.exists() and not Blob.objects.exists()
    assert {path for path in folder.rglob("*") if path.is_file()} == files
