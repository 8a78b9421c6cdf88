"""The web process of these tests, in a thread behind a real socket, and rows that most tests of the doors need.

Rows are made straight in the database; what a test is about it says over HTTP.
"""

from __future__ import annotations

import itertools
import json
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import httpx
import pytest

API = "/api/v1"
SCOPES = ("admin", "jobs", "read", "write")
PNG = b"\x89PNG\r\n\x1a\n"
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def site(django: None) -> Iterator[str]:
    """The address of a running web process, with its hub and its pulse."""
    import uvicorn

    from trainshed.server.asgi import app

    # As asyncio makes it itself: the protocol is named, or it would not set TCP_NODELAY.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.bind(("127.0.0.1", 0))
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=1,
        proxy_headers=False,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, name="site")
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the web process did not start"
        time.sleep(0.005)
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    server.should_exit = True
    thread.join(10)
    listening.close()
    assert not thread.is_alive(), "the web process did not stop"


@dataclass
class Caller:
    """Somebody who speaks to the API with one token, or with none."""

    http: httpx.Client
    token: str | None = None

    def __call__(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        headers = dict(arguments.pop("headers", {}))
        if self.token is not None:
            headers.setdefault("Authorization", f"Bearer {self.token}")
        return self.http.request(method, API + path, headers=headers, **arguments)

    def get(self, path: str, **arguments: Any) -> httpx.Response:
        return self("GET", path, **arguments)

    def post(self, path: str, body: Any = None, **arguments: Any) -> httpx.Response:
        return self("POST", path, **({} if body is None else {"json": body}), **arguments)

    def patch(self, path: str, body: Any) -> httpx.Response:
        return self("PATCH", path, json=body)

    def delete(self, path: str) -> httpx.Response:
        return self("DELETE", path)

    def as_(self, token: str | None) -> Caller:
        return Caller(self.http, token)


@pytest.fixture
def nobody(site: str, database: None) -> Iterator[Caller]:
    """A caller without a token, on an empty database."""
    with httpx.Client(base_url=site, timeout=30) as http:
        yield Caller(http)


def problem(answer: httpx.Response, status: int, code: str, words: str = "") -> dict[str, Any]:
    """The problem document of an answer, proved to be one."""
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text
    found: dict[str, Any] = answer.json()
    assert set(found) == {"type", "title", "status", "detail", "code", "hint", "errors"}
    assert (found["status"], found["code"]) == (status, code), found
    assert found["type"] == f"urn:trainshed:error:{code}" and found["title"] and found["detail"]
    assert words in found["detail"], found["detail"]
    assert ("retry-after" in answer.headers) == (status in (429, 503))
    assert ("www-authenticate" in answer.headers) == (status == 401)
    return found


def ok(answer: httpx.Response, status: int = 200) -> Any:
    """The body of an answer that must have succeeded."""
    assert answer.status_code == status, answer.text
    return answer.json() if answer.content else None


def make_person(**values: Any) -> Any:
    from trainshed.server.records.models import Person

    number = next(_numbers)
    person = Person(email=f"person{number}@example.org", name=f"Person {number}", **values)
    person.set_unusable_password()
    person.save()
    return person


def make_session(person: Any) -> Any:
    """A row of a browser in which this person is signed in."""
    from django.utils import timezone

    from trainshed.server.records.models import Session

    until = timezone.now() + timedelta(days=1)
    return Session.objects.create(session_key=secrets.token_hex(32), person=person, expire_date=until)


def make_token(person: Any, *, scopes: tuple[str, ...] = SCOPES, **values: Any) -> str:
    """The secret of a personal token of this person."""
    from trainshed.server.records.models import Token
    from trainshed.server.services.actors import hash_secret, new_secret

    secret = new_secret("personal")
    Token.objects.create(
        kind="personal", person=person, name="test", scopes=list(scopes), sha256=hash_secret(secret), **values
    )
    return secret


def manifest(rows: list[Any]) -> str:
    """The blob of a version's manifest with these rows."""
    import tempfile
    from pathlib import Path

    from trainshed import pictures

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "manifest.parquet"
        pictures.manifest.write(path, rows)
        return store(path.read_bytes())[0]


def store(*contents: bytes, of: str = "") -> list[str]:
    """Bytes that one workspace has sent, or else every one that there is."""
    from trainshed.server.records.models import Workspace
    from trainshed.server.services import blobs

    senders = [of] if of else Workspace.objects.values_list("id", flat=True)
    names: list[str] = []
    for workspace_id in senders:
        names = blobs.store_many(list(contents), workspace_id)
    return names


@dataclass
class Lab:
    """A workspace with a project, and short words that put things into it."""

    name: str = "lab"
    workspace_id: str = ""
    project_id: str = ""
    people: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        from trainshed.server.records.models import Workspace

        self.workspace_id = Workspace.objects.create(name=self.name).id
        self.project_id = self.add_project("project")

    @property
    def path(self) -> str:
        return f"/workspaces/{self.workspace_id}/projects/{self.project_id}"

    @property
    def _place(self) -> dict[str, str]:
        return {"workspace_id": self.workspace_id, "project_id": self.project_id}

    def add_project(self, name: str) -> str:
        from trainshed.server.records.models import Project

        return str(Project.objects.create(workspace_id=self.workspace_id, name=name).id)

    def person(self, role: str) -> Any:
        """The member with that role; the same one each time."""
        from trainshed.server.records.models import Membership

        if role not in self.people:
            self.people[role] = make_person()
            Membership.objects.create(workspace_id=self.workspace_id, person=self.people[role], role=role)
        return self.people[role]

    def token(self, role: str = "owner", **values: Any) -> str:
        return make_token(self.person(role), **values)

    def add_member(self, role: str) -> Any:
        """One more person in the workspace."""
        from trainshed.server.records.models import Membership

        person = make_person()
        Membership.objects.create(workspace_id=self.workspace_id, person=person, role=role)
        return person

    def invite(self, role: str = "viewer", email: str = "", *, days: float = 7) -> tuple[Any, str]:
        """An invite of the owner's: (the row, its secret)."""
        from trainshed.server.records.models import Invite
        from trainshed.server.services.actors import hash_secret, new_secret

        secret, until = new_secret("invite"), time.time() + days * 86400
        said = {"workspace_id": self.workspace_id, "role": role, "email": email, "invited_by": self.person("owner")}
        return Invite.objects.create(sha256=hash_secret(secret), expires_at=until, **said), secret

    def robot(self, role: str = "editor", scopes: tuple[str, ...] = ("read", "write", "jobs")) -> tuple[Any, str]:
        """A robot of the workspace: (the row, its token)."""
        from trainshed.server.records.models import Token
        from trainshed.server.services.actors import hash_secret, new_secret

        secret = new_secret("robot")
        said = {"kind": "robot", "workspace_id": self.workspace_id, "name": "robot", "role": role}
        return Token.objects.create(sha256=hash_secret(secret), scopes=list(scopes), **said), secret

    def share(self, noun: str, thing_id: str, *, days: float = 30) -> tuple[Any, str]:
        """A link to one thing: (the row, its secret)."""
        from trainshed.server.records.models import Share
        from trainshed.server.services.actors import hash_secret, new_secret

        secret, until = new_secret("share"), time.time() + days * 86400
        said = {"noun": noun, "thing_id": thing_id, "expires_at": until, "created_by": "test", **self._place}
        return Share.objects.create(sha256=hash_secret(secret), **said), secret

    def dataset(self, name: str | None = None) -> Any:
        from trainshed.server.records.models import Dataset

        return Dataset.objects.create(name=name or f"dataset {next(_numbers)}", task="classification", **self._place)

    def upload(self, content: bytes = b"a zip, nearly") -> Any:
        from trainshed.server.records.models import Upload

        (sha256,) = store(content, of=self.workspace_id)
        return Upload.objects.create(name="pictures.zip", blob_id=sha256, created_by="test", **self._place)

    def job(self, kind: str = "train", state: str = "queued", **values: Any) -> Any:
        """A job row in that state, with the shortest story."""
        from trainshed.server.queue import ledger
        from trainshed.server.records.models import Event, Job

        now = ledger.now()
        said = {"title": f"{kind} {next(_numbers)}", "spec": {}, "pool": "cpu", "created_by": "test", "revision": 1}
        final = {"ended_at": now} if state in ("succeeded", "failed", "cancelled") else {}
        made = {**said, **final, "created_at": now, "available_at": now, **values}
        job = Job.objects.create(kind=kind, state=state, **made, **self._place)
        Event.objects.create(job=job, revision=1, attempt=0, kind="state", body={"from": "", "to": state}, at=now)
        return job

    def image(self, dataset: Any, name: str = "a.png", content: bytes = PNG, class_name: str = "cat") -> Any:
        from trainshed.server.records.models import Image, ImageClass

        (sha256,) = store(content, of=self.workspace_id)
        image_class, _ = ImageClass.objects.get_or_create(
            dataset=dataset, name=class_name, defaults={"workspace_id": self.workspace_id}
        )
        return Image.objects.create(
            workspace_id=self.workspace_id,
            dataset=dataset,
            image_class=image_class,
            class_name=class_name,
            name=name,
            blob_id=sha256,
            thumbnail_id=sha256,
            size_bytes=len(content),
            width=2,
            height=1,
            format="PNG",
            import_job=self.job("import", "succeeded"),
            is_staged=False,
        )

    def version(self, dataset: Any, number: int = 1) -> Any:
        from trainshed.server.records.models import DatasetVersion

        (sha256,) = store(b"a manifest", of=self.workspace_id)
        return DatasetVersion.objects.create(
            dataset=dataset,
            number=number,
            job=self.job("snapshot", "succeeded"),
            split={"validation": 0.15, "test": 0.15, "seed": 0},
            summary=version_summary(),
            digest="d" * 64,
            manifest_id=sha256,
            **self._place,
        )

    def model(self, name: str = "a model") -> Any:
        """A model with all the files of its archive, each one its own name's bytes."""
        from trainshed.schemas import ARCHIVE_FILES
        from trainshed.server.records.models import Artifact, TrainedModel

        job = self.job("train", "succeeded")
        hashes = store(*(name.encode() for name in ARCHIVE_FILES), of=self.workspace_id)
        for file_name, sha256 in zip(ARCHIVE_FILES, hashes, strict=True):
            Artifact.objects.create(workspace_id=self.workspace_id, job=job, attempt=1, name=file_name, blob_id=sha256)
        summary = model_summary()
        return TrainedModel.objects.create(
            name=name,
            task=summary["task"],
            backbone=summary["backbone"],
            job=job,
            classes=summary["classes"],
            transform=summary["transform"],
            metrics=summary["metrics"],
            num_parameters=summary["num_parameters"],
            size_bytes=sum(map(len, ARCHIVE_FILES)),
            **self._place,
        )

    def attempt(self, kind: str, spec: dict[str, Any] | None = None, *, start: bool = True) -> tuple[Any, str]:
        """A job of that kind on a host of its own, assigned and, if asked, started: (what is held, the token)."""
        from trainshed.server.queue import ledger
        from trainshed.server.records.models import Host, Slot

        number = next(_numbers)
        host = Host.objects.create(name=f"host {number}", key_sha256=f"{number:064d}")
        Slot.objects.create(host=host, pool="cpu", position=0)
        said = ledger.Request(kind=kind, title=f"{kind} {number}", spec=spec or {}, **self._place)
        ledger.submit(said, actor="person:test")
        (assigned,) = ledger.assign(lease_seconds=30)
        if start:
            ledger.renew(assigned.held, lease_seconds=30)
        return assigned.held, assigned.token


def model_summary(**changes: Any) -> dict[str, Any]:
    """What a training publishes."""
    return {
        "name": "digits v1",
        "backbone": "scratch-cnn",
        "task": "classification",
        "classes": [{"id": "c0", "name": "cat"}, {"id": "c1", "name": "dog"}],
        "transform": {"size": 32},
        "metrics": {"accuracy": 0.9},
        "num_parameters": 7,
        "seconds": 1.5,
        **changes,
    }


def version_summary(**changes: Any) -> dict[str, Any]:
    """What a snapshot publishes."""
    classes = [{"id": "c0", "name": "cat"}]
    return {"digest": "d" * 64, "num_images": 1, "classes": classes, "counts": {"train": {"c0": 1}}, **changes}


def make_host(name: str = "machine") -> tuple[Any, str]:
    """A host and its agent's key."""
    from trainshed.server.records.models import Host
    from trainshed.server.services.actors import hash_secret, new_secret

    key = new_secret("host")
    return Host.objects.create(name=name, key_sha256=hash_secret(key)), key


def make_service_token() -> str:
    from trainshed.server.services import tokens

    return tokens.issue_for_service("model server")


def packed(*contents: bytes) -> bytes:
    """Small blobs in one body, as the attempt protocol sends them."""
    return b"".join(len(content).to_bytes(8, "big") + content for content in contents)


@dataclass(frozen=True)
class Frame:
    """One server-sent event."""

    kind: str
    cursor: str
    body: Any


def frames(lines: Iterator[str]) -> Iterator[Frame]:
    """The frames of an event stream; a comment is a frame of the kind `comment`."""
    said: dict[str, str] = {}
    for line in lines:
        if line.startswith(":"):
            yield Frame("comment", "", line)
        elif line:
            name, _, value = line.partition(": ")
            said[name] = value
        elif said:
            yield Frame(said["event"], said.get("id", ""), json.loads(said["data"]))
            said = {}


@pytest.fixture
def lab(nobody: Caller) -> Lab:
    return Lab()


@pytest.fixture
def owner(nobody: Caller, lab: Lab) -> Caller:
    return nobody.as_(lab.token("owner"))


@pytest.fixture
def viewer(nobody: Caller, lab: Lab) -> Caller:
    return nobody.as_(lab.token("viewer"))


@pytest.fixture
def editor(nobody: Caller, lab: Lab) -> Caller:
    return nobody.as_(lab.token("editor"))
