"""A second server: the REST contract of `/api/v1` in memory, for tests of whatever speaks it.

    with FakeServer() as server:
        client = Client(server.url, server.token)

Imports and snapshots are done at once; a training too, unless `holds_trainings` is set: then `tell` and `end`
move it. `faults` holds answers to give instead of the right ones. Who may do what is deliberately not here.
"""

from __future__ import annotations

import io
import json
import threading
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from trainshed.errors import (
    Conflict,
    IdempotencyMismatch,
    InvalidInput,
    NotFound,
    NotSignedIn,
    TrainshedError,
)
from trainshed.schemas import (
    FINAL_STATES,
    DatasetView,
    Event,
    HostReading,
    HostView,
    ImageClass,
    ImageView,
    ImportReport,
    JobView,
    Me,
    ModelView,
    Prediction,
    Reason,
    SkippedFile,
    SplitPlan,
    TokenView,
    UploadView,
    VersionSummary,
    VersionView,
    Waiting,
)
from trainshed.schemas.models import ClassScore
from trainshed.testing.fake_quotas import FakeQuotas
from trainshed.testing.fake_routes import ROUTES, Answer, Asked, answer_json, get, route
from trainshed.testing.fake_workspaces import PROJECT, SHELF, SHELF_PROJECT, WORKSPACE, FakeWorkspaces

EMAIL, PASSWORD, CODE = "ada@example.org", "analytical engine", "setup-code"


@dataclass
class Fault:
    """One answer to give instead of the right one; status 0 drops the connection without a word.

    `after_work` does what was asked first: the answer is lost, the work is not.
    """

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    after_work: bool = False


class FakeServer(FakeQuotas, FakeWorkspaces):
    """Starts on a free port of this machine with the block and stops with it."""

    def __init__(self, *, is_set_up: bool = True, page_size: int = 50) -> None:
        self.is_set_up = is_set_up
        self.page_size = page_size
        self.holds_trainings = False
        self.training_ends = ("succeeded", None)
        super().__init__()
        self.token = "token-of-ada"
        self.tokens = {"tok0": self.token}
        self.faults: list[Fault] = []
        self.asked: list[Asked] = []
        self.stream_cuts = 0
        self.forgets_cursors = False
        self.datasets: dict[str, DatasetView] = {}
        self.uploads: dict[str, tuple[UploadView, bytes]] = {}
        self.versions: dict[str, VersionView] = {}
        self.jobs: dict[str, JobView] = {}
        self.stories: dict[str, list[Event]] = {}
        self.hosts: dict[str, HostView] = {}
        self.models = {"pretrained0": _pretrained()}
        self._submitted: dict[str, tuple[bytes, str]] = {}
        self._changed = threading.Condition()
        self._num_made = 0
        self._is_stopping = False
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"fake": self}))
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02})

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    def __enter__(self) -> FakeServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._is_stopping = True
            self._changed.notify_all()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def asked_for(self, method: str, ending: str) -> list[Asked]:
        """The requests so far whose path ends so."""
        return [asked for asked in self.asked if asked.method == method and asked.path.endswith(ending)]

    # Moving jobs

    def tell(self, job_id: str, kind: str, body: dict[str, Any]) -> None:
        """Add an event to a job's story."""
        with self._changed:
            story = self.stories[job_id]
            event = {"job_id": job_id, "revision": len(story) + 1, "attempt": 1, "kind": kind, "body": body}
            story.append(Event.model_validate(event | {"at": time.time()}))
            update: dict[str, Any] = {"revision": len(story)} | ({"progress": body} if kind == "progress" else {})
            self.jobs[job_id] = self.jobs[job_id].model_copy(update=update)
            self._changed.notify_all()

    def move(self, job_id: str, state: str, **update: Any) -> None:
        """Change a job's state, with the event that tells it."""
        with self._changed:
            before = self.jobs[job_id].state
            self.jobs[job_id] = self.jobs[job_id].model_copy(update={"state": state, **update})
            self.tell(job_id, "state", {"from": before, "to": state})

    def end(self, job_id: str, state: str = "succeeded", reason: Reason | None = None) -> None:
        """Finish a job; a training that succeeded leaves its model."""
        job = self.jobs[job_id]
        result = job.result
        if job.kind == "train" and state == "succeeded":
            result = {"model_id": self._publish(job)}
        self.move(job_id, state, result=result, reason=reason, ended_at=time.time())

    def cut_streams(self) -> None:
        """Cut every open stream now, as a restart of the server would."""
        with self._changed:
            self.stream_cuts += 1
            self._changed.notify_all()

    def answer(self, asked: Asked) -> Answer:
        """The right answer to one request."""
        path = asked.path.removeprefix("/api/v1")
        for method, expression, function in ROUTES:
            match = expression.fullmatch(path)
            if match and method == asked.method:
                if function not in _OPEN:
                    self._authenticate(asked)
                return function(self, asked, **{k: v for k, v in match.groupdict().items() if k != "workspace_id"})
        raise NotFound(f"No route {asked.method} {path}.")

    # People

    @route("GET", "/health")
    def health(self, asked: Asked) -> Answer:
        return answer_json(200, {"status": "ok", "version": "0.1.0"})

    @route("POST", "/setup")
    def setup(self, asked: Asked) -> Answer:
        if self.is_set_up:
            raise Conflict("The first owner has already been made.", hint="Sign in instead.")
        body = asked.json()
        if body["code"] != CODE:
            raise NotFound("This setup code is unknown or used up.")
        if len(body["password"]) < 10:
            raise InvalidInput("This password is too short.", details=[{"field": "password"}])
        self.is_set_up = True
        return answer_json(201, self._token_view("tok0", "first sign-in", with_secret=True))

    @route("POST", "/sign-in")
    def sign_in(self, asked: Asked) -> Answer:
        body = asked.json()
        if (body["email"], body["password"]) != (EMAIL, PASSWORD):
            raise NotSignedIn("The e-mail address or the password is wrong.", hint="Try again.")
        return answer_json(201, self._token_view("tok0", body["token_name"], with_secret=True))

    @route("GET", "/me")
    def me(self, asked: Asked) -> Answer:
        workspaces = list(self.workspaces.values())
        return answer_json(200, Me(id="ada", name="Ada", email=EMAIL, is_administrator=True, workspaces=workspaces))

    @route("GET", "/tokens")
    def list_tokens(self, asked: Asked) -> Answer:
        return self._page(asked, [self._token_view(token_id, token_id) for token_id in self.tokens])

    @route("POST", "/tokens")
    def create_token(self, asked: Asked) -> Answer:
        token_id = self._new_id("tok")
        self.tokens[token_id] = f"secret-of-{token_id}"
        view = self._token_view(token_id, asked.json()["name"], with_secret=True)
        return answer_json(201, view.model_copy(update={"scopes": asked.json()["scopes"]}))

    @route("DELETE", "/tokens/{token_id}")
    def revoke_token(self, asked: Asked, token_id: str) -> Answer:
        if self.tokens.pop(token_id, None) is None:
            raise NotFound()
        return Answer(204)

    # Datasets

    @route("GET", "{own}/datasets")
    def list_datasets(self, asked: Asked, project_id: str) -> Answer:
        return self._page(asked, [it for it in reversed(self.datasets.values()) if it.project_id == project_id])

    @route("POST", "{own}/datasets")
    def create_dataset(self, asked: Asked, project_id: str) -> Answer:
        body = asked.json()
        if any((it.name, it.project_id) == (body["name"], project_id) for it in self.datasets.values()):
            raise Conflict(f"The project already has a dataset named {body['name']!r}.")
        placed = {"id": self._new_id("ds"), "workspace_id": self._workspace_of(project_id), "project_id": project_id}
        empty = {"num_images": 0, "size_bytes": 0, "classes": [], "created_at": time.time()}
        dataset = DatasetView.model_validate({**body, **placed, **empty})
        self.datasets[dataset.id] = dataset
        return answer_json(201, dataset)

    @route("GET", "{own}/datasets/{dataset_id}")
    def show_dataset(self, asked: Asked, project_id: str, dataset_id: str) -> Answer:
        return answer_json(200, get(self.datasets, dataset_id))

    @route("PATCH", "{own}/datasets/{dataset_id}")
    def rename_dataset(self, asked: Asked, project_id: str, dataset_id: str) -> Answer:
        renamed = get(self.datasets, dataset_id).model_copy(update=asked.json())
        self.datasets[dataset_id] = renamed
        return answer_json(200, renamed)

    @route("DELETE", "{own}/datasets/{dataset_id}")
    def delete_dataset(self, asked: Asked, project_id: str, dataset_id: str) -> Answer:
        get(self.datasets, dataset_id)
        del self.datasets[dataset_id]
        return Answer(204)

    @route("POST", "{own}/datasets/{dataset_id}/move")
    def move_dataset(self, asked: Asked, project_id: str, dataset_id: str) -> Answer:
        self.datasets[dataset_id] = get(self.datasets, dataset_id).model_copy(update=asked.json())
        return answer_json(200, self.datasets[dataset_id])

    @route("GET", "{own}/datasets/{dataset_id}/images")
    def list_images(self, asked: Asked, project_id: str, dataset_id: str) -> Answer:
        images = [
            ImageView(
                id=f"{of_class['id']}-{number}",
                name=f"{of_class['name']}/{number}.png",
                sha256="0" * 64,
                class_id=of_class["id"],
                width=8,
                height=8,
                size_bytes=100,
                format="PNG",
            )
            for of_class in get(self.datasets, dataset_id).classes
            if asked.query.get("class_id") in (None, of_class["id"])
            for number in range(of_class["num_images"])
        ]
        return self._page(asked, images)

    @route("POST", "{own}/uploads")
    def upload(self, asked: Asked, project_id: str) -> Answer:
        upload = UploadView(
            id=self._new_id("up"), name=asked.query["name"], size_bytes=len(asked.body), sha256="0" * 64
        )
        self.uploads[upload.id] = (upload, asked.body)
        return answer_json(201, upload)

    @route("POST", "{own}/datasets/{dataset_id}/imports")
    def start_import(self, asked: Asked, project_id: str, dataset_id: str) -> Answer:
        dataset = get(self.datasets, dataset_id)
        upload_id = asked.json()["upload_id"]
        data = get(self.uploads, upload_id)[1]

        def work() -> dict[str, Any]:
            counts, report = _classes_in(data)
            known = Counter({of_class["name"]: of_class["num_images"] for of_class in dataset.classes})
            classes: list[dict[str, Any]] = [
                {"id": f"class-{name}", "name": name, "num_images": number}
                for name, number in sorted((known + counts).items())
            ]
            num_images = sum(of_class["num_images"] for of_class in classes)
            update = {
                "classes": classes,
                "num_images": num_images,
                "size_bytes": dataset.size_bytes + len(data),
            }
            self.datasets[dataset_id] = dataset.model_copy(update=update)
            return report.model_dump()

        spec = {"dataset_id": dataset_id, "upload_id": upload_id}
        return answer_json(202, self._submit(asked, "import", f"Import into {dataset.name}", spec, work))

    @route("GET", "{own}/datasets/{dataset_id}/versions")
    def list_versions(self, asked: Asked, project_id: str, dataset_id: str) -> Answer:
        versions = [version for version in self.versions.values() if version.dataset_id == dataset_id]
        return self._page(asked, versions[::-1])

    @route("POST", "{own}/datasets/{dataset_id}/versions")
    def create_version(self, asked: Asked, project_id: str, dataset_id: str) -> Answer:
        dataset = get(self.datasets, dataset_id)
        split = SplitPlan.model_validate(asked.json()["split"])
        job = self._submit(asked, "snapshot", f"Version of {dataset.name}", {"dataset_id": dataset_id})
        if job.state == "queued":
            if dataset.num_images < 2:
                words = f"The dataset has {dataset.num_images} pictures; at least 2 are needed."
                reason = Reason(code="dataset_unfit", message=words, hint="Import more.")
                self.end(job.id, "failed", reason)
            else:
                version = self._snapshot(dataset, split, job.id)
                self.jobs[job.id] = self.jobs[job.id].model_copy(update={"result": {"version_id": version.id}})
                self.end(job.id)
        return answer_json(202, job)

    @route("GET", "{own}/versions/{version_id}")
    def show_version(self, asked: Asked, project_id: str, version_id: str) -> Answer:
        return answer_json(200, get(self.versions, version_id))

    # Jobs

    @route("POST", "{own}/trainings")
    def start_training(self, asked: Asked, project_id: str) -> Answer:
        body = asked.json()
        version = get(self.versions, body["version_id"])
        title = body["name"] or f"Train on {self.datasets[version.dataset_id].name}"
        job = self._submit(asked, "train", title, body)
        if job.state == "queued" and not self.holds_trainings:
            self.move(job.id, "running", started_at=time.time(), attempt=1)
            progress = {"phase": "fine-tuning", "done": 10, "total": 10, "unit": "steps", "eta_seconds": 0.0}
            self.tell(job.id, "progress", progress)
            self.tell(job.id, "metric", {"step": 10, "epoch": 1, "values": {"loss": 0.25, "accuracy": 0.9875}})
            self.end(job.id, *self.training_ends)
        return answer_json(202, job)

    @route("GET", "{own}/jobs")
    def list_jobs(self, asked: Asked, project_id: str) -> Answer:
        wanted = (asked.query.get("state"), asked.query.get("kind"))
        jobs = [job for job in self.jobs.values() if wanted[0] in (None, job.state) and wanted[1] in (None, job.kind)]
        return self._page(asked, jobs[::-1])

    @route("GET", "{own}/jobs/{job_id}")
    def show_job(self, asked: Asked, project_id: str, job_id: str) -> Answer:
        return answer_json(200, get(self.jobs, job_id))

    @route("POST", "{own}/jobs/{job_id}/cancel")
    def cancel_job(self, asked: Asked, project_id: str, job_id: str) -> Answer:
        return self._order(job_id, {"blocked", "queued", "assigned", "running", "paused"}, "cancelled")

    @route("POST", "{own}/jobs/{job_id}/pause")
    def pause_job(self, asked: Asked, project_id: str, job_id: str) -> Answer:
        return self._order(job_id, {"running"}, "paused")

    @route("POST", "{own}/jobs/{job_id}/resume")
    def resume_job(self, asked: Asked, project_id: str, job_id: str) -> Answer:
        return self._order(job_id, {"paused"}, "queued")

    @route("GET", "{own}/jobs/{job_id}/waiting")
    def why_waiting(self, asked: Asked, project_id: str, job_id: str) -> Answer:
        if get(self.jobs, job_id).state != "queued":
            return answer_json(200, Waiting(waiting=False))
        reason = Reason(code="no_free_slot", message="All 2 CPU slots are busy.", hint="It starts by itself.")
        return answer_json(200, Waiting(waiting=True, place=1, reason=reason))

    @route("GET", "{own}/jobs/{job_id}/events")
    def list_events(self, asked: Asked, project_id: str, job_id: str) -> Answer:
        get(self.jobs, job_id)
        after, limit = int(asked.query.get("after", 0)), int(asked.query.get("limit", 100))
        items = self.stories[job_id][after : after + limit]
        return answer_json(200, {"items": [item.model_dump() for item in items], "next_cursor": None})

    @route("GET", "{own}/jobs/{job_id}/stream")
    def stream_job(self, asked: Asked, project_id: str, job_id: str) -> Answer:
        get(self.jobs, job_id)
        return Answer(200, self._stream(job_id, asked.headers.get("last-event-id", "")), "text/event-stream")

    # Models and hosts

    @route("GET", "{own}/models")
    def list_models(self, asked: Asked, project_id: str) -> Answer:
        models = [model for model in self.models.values() if model.project_id == project_id]
        return self._page(asked, models[::-1])

    @route("GET", "{own}/models/{model_id}")
    def show_model(self, asked: Asked, project_id: str, model_id: str) -> Answer:
        return answer_json(200, self._model(project_id, model_id))

    @route("PATCH", "{own}/models/{model_id}")
    def rename_model(self, asked: Asked, project_id: str, model_id: str) -> Answer:
        self.models[model_id] = self._model(project_id, model_id).model_copy(update=asked.json())
        return answer_json(200, self.models[model_id])

    @route("POST", "{own}/models/{model_id}/move")
    def move_model(self, asked: Asked, project_id: str, model_id: str) -> Answer:
        self.models[model_id] = self._model(project_id, model_id).model_copy(update=asked.json())
        return answer_json(200, self.models[model_id])

    @route("DELETE", "{own}/models/{model_id}")
    def delete_model(self, asked: Asked, project_id: str, model_id: str) -> Answer:
        del self.models[self._model(project_id, model_id).id]
        return Answer(204)

    @route("GET", "{own}/models/{model_id}/archive")
    def model_archive(self, asked: Asked, project_id: str, model_id: str) -> Answer:
        self._model(project_id, model_id)
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("card.md", f"# {model_id}\n")
        return Answer(200, iter([buffer.getvalue()]), "application/zip")

    @route("POST", "{own}/models/{model_id}/load")
    def load_model(self, asked: Asked, project_id: str, model_id: str) -> Answer:
        self._model(project_id, model_id)
        return Answer(204)

    @route("POST", "{own}/models/{model_id}/predict")
    def predict(self, asked: Asked, project_id: str, model_id: str) -> Answer:
        model = self._model(project_id, model_id)
        if not asked.body.startswith(b"\x89PNG"):
            raise InvalidInput("The file is not a picture.")
        scores = [
            ClassScore(class_id=of_class.id, label=of_class.name, score=round(0.9 / 10**place, 4))
            for place, of_class in enumerate(model.classes)
        ]
        scores = scores[: int(asked.query.get("top", 5))]
        return answer_json(200, Prediction(model_id=model_id, predictions=scores, milliseconds=1.5))

    @route("GET", "/hosts")
    def list_hosts(self, asked: Asked) -> Answer:
        return self._page(asked, list(self.hosts.values()))

    @route("POST", "/hosts/readings")
    def report(self, asked: Asked) -> Answer:
        reading = HostReading.model_validate(asked.json())
        slots = [{"pool": "cpu", "position": 0, "is_busy": False, "job_id": None, "job_title": None}]
        host = HostView(id="host0", name=reading.hostname, age_seconds=0.5, reading=reading, slots=slots)
        with self._changed:
            self.hosts[host.name] = host
            self._changed.notify_all()
        return Answer(204)

    # Inside

    def wait_until(self, is_so: Callable[[], object], timeout_seconds: float = 20.0) -> None:
        """Wait for something that a request changes."""
        with self._changed:
            assert self._changed.wait_for(is_so, timeout_seconds), "it has not happened in time"

    def _authenticate(self, asked: Asked) -> None:
        if asked.headers.get("authorization") not in {f"Bearer {token}" for token in self.tokens.values()}:
            raise NotSignedIn("The token is unknown, expired or revoked.")

    def _page(self, asked: Asked, items: list[Any]) -> Answer:
        start = int(asked.query.get("cursor", 0))
        end = start + self.page_size
        cursor = str(end) if end < len(items) else None
        return answer_json(200, {"items": [item.model_dump() for item in items[start:end]], "next_cursor": cursor})

    def _new_id(self, prefix: str) -> str:
        self._num_made += 1
        return f"{prefix}{self._num_made:04d}"

    def _token_view(self, token_id: str, name: str, *, with_secret: bool = False) -> TokenView:
        return TokenView(
            id=token_id,
            name=name,
            scopes=["read", "write", "jobs"],
            created_at=time.time(),
            expires_at=None,
            last_used_at=None,
            token=self.tokens[token_id] if with_secret else None,
        )

    def _submit(
        self,
        asked: Asked,
        kind: str,
        title: str,
        spec: dict[str, Any],
        work: Callable[[], dict[str, Any]] | None = None,
    ) -> JobView:
        """The job of this Idempotency-Key, made once; `work` is done at once and ends it."""
        key = asked.headers.get("idempotency-key", "")
        if key in self._submitted:
            body, job_id = self._submitted[key]
            if body != asked.body:
                raise IdempotencyMismatch()
            return self.jobs[job_id]
        job = JobView.model_validate(
            {
                "id": self._new_id("job"),
                "workspace_id": WORKSPACE,
                "project_id": PROJECT,
                "kind": kind,
                "title": title,
                "state": "queued",
                "spec": spec,
                "priority": 0,
                "attempt": 0,
                "cancel_requested": False,
                "pause_requested": False,
                "revision": 0,
                "created_at": time.time(),
            }
        )
        self.jobs[job.id] = job
        self.stories[job.id] = []
        if key:
            self._submitted[key] = (asked.body, job.id)
        if work:
            self.jobs[job.id] = job.model_copy(update={"result": work()})
            self.end(job.id)
        return job

    def _snapshot(self, dataset: DatasetView, split: SplitPlan, job_id: str) -> VersionView:
        classes = [ImageClass(id=it["id"], name=it["name"]) for it in dataset.classes]
        counts = {"train": {it["id"]: it["num_images"] for it in dataset.classes}}
        version = VersionView(
            id=self._new_id("ver"),
            workspace_id=WORKSPACE,
            project_id=PROJECT,
            dataset_id=dataset.id,
            number=sum(other.dataset_id == dataset.id for other in self.versions.values()) + 1,
            job_id=job_id,
            split=split.model_dump(),
            summary=VersionSummary(digest="d" * 64, num_images=dataset.num_images, classes=classes, counts=counts),
            created_at=time.time(),
        )
        self.versions[version.id] = version
        return version

    def _publish(self, job: JobView) -> str:
        version = self.versions[job.spec["version_id"]]
        model = _pretrained().model_copy(
            update={
                "id": self._new_id("mod"),
                "workspace_id": WORKSPACE,
                "project_id": PROJECT,
                "name": job.spec["name"] or self.datasets[version.dataset_id].name,
                "job_id": job.id,
                "version_id": version.id,
                "classes": version.summary.classes,
                "metrics": {"accuracy": 0.9875},
                "is_pretrained": False,
            }
        )
        self.models[model.id] = model
        return model.id

    def _model(self, project_id: str, model_id: str) -> ModelView:
        model = get(self.models, model_id)
        if model.project_id != project_id:
            raise NotFound()
        return model

    def _order(self, job_id: str, allowed: set[str], state: str) -> Answer:
        job = get(self.jobs, job_id)
        if job.state not in allowed:
            raise Conflict(f"The job is {job.state}.")
        self.move(job_id, state)
        return answer_json(200, self.jobs[job_id])

    def _stream(self, job_id: str, last_id: str) -> Iterator[bytes]:
        """The story as server-sent events, until the job has ended or the streams are cut."""
        sent, cuts = int(last_id or 0), self.stream_cuts
        yield b"retry: 10\n: hello\n\n"
        if sent > len(self.stories[job_id]) or (sent and self.forgets_cursors):
            yield b"event: reset\ndata: {}\n\n"
            sent = 0
        while self._has_more(job_id, sent, cuts):
            fresh, job = self.stories[job_id][sent:], self.jobs[job_id]
            for event in fresh:
                yield f"id: {event.revision}\nevent: event\ndata: {event.model_dump_json()}\n\n".encode()
            yield f"event: job\ndata: {job.model_dump_json()}\n\n".encode()
            sent += len(fresh)
            if job.state in FINAL_STATES:
                return

    def _has_more(self, job_id: str, sent: int, cuts: int) -> bool:
        """Wait for an event after `sent`; False when the stream is cut instead."""

        def is_cut() -> bool:
            return self._is_stopping or self.stream_cuts > cuts

        with self._changed:
            self._changed.wait_for(lambda: len(self.stories[job_id]) > sent or is_cut())
            return not is_cut()


_OPEN = {FakeServer.health, FakeServer.setup, FakeServer.sign_in}


class _Handler(BaseHTTPRequestHandler):
    """HTTP on one side, `FakeServer.answer` on the other."""

    protocol_version = "HTTP/1.1"
    fake: FakeServer

    def _serve(self) -> None:
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self.rfile.read(int(headers.get("content-length", 0)))
        asked = Asked(self.command, parts.path, query, headers, body)
        self.fake.asked.append(asked)
        fault = self.fake.faults.pop(0) if self.fake.faults else None
        answer = self._answer(asked) if fault is None or fault.after_work else Answer(0)
        if fault:
            self._fail(fault)
        else:
            self._send(answer)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # the names are http.server's

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self, asked: Asked) -> Answer:
        try:
            return self.fake.answer(asked)
        except TrainshedError as error:
            return Answer(error.status, json.dumps(error.to_problem()).encode(), "application/problem+json")

    def _fail(self, fault: Fault) -> None:
        self.close_connection = True
        if fault.status:
            self.send_response(fault.status)
            headers = {"Content-Length": str(len(fault.body)), "Connection": "close"} | fault.headers
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(fault.body)

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.kind)
        if isinstance(answer.body, bytes):
            if answer.status != 204:
                self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)
            return
        self.close_connection = True
        self.send_header("Connection", "close")
        self.end_headers()
        try:
            for chunk in answer.body:
                self.wfile.write(chunk)
                self.wfile.flush()
        except (BrokenPipeError, ConnectionResetError):
            pass  # the reader has gone


def _classes_in(data: bytes) -> tuple[Counter[str], ImportReport]:
    """Pictures by class folder, and what is no picture."""
    counts: Counter[str] = Counter()
    skipped = []
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for name in archive.namelist():
            if name.endswith(".png"):
                counts[name.rpartition("/")[0]] += 1
            else:
                skipped.append(SkippedFile(name=name, code="picture_refused", reason="It is not a picture."))
    report = ImportReport(num_taken=counts.total(), num_skipped=len(skipped), skipped=skipped, classes=dict(counts))
    return counts, report


def _pretrained() -> ModelView:
    return ModelView(
        id="pretrained0",
        workspace_id=SHELF,
        project_id=SHELF_PROJECT,
        name="ImageNet",
        task="classification",
        backbone="tf_efficientnet_lite0",
        job_id=None,
        version_id=None,
        classes=[ImageClass(id="n1", name="tabby"), ImageClass(id="n2", name="tiger")],
        metrics={},
        num_parameters=4_652_008,
        size_bytes=18_000_000,
        is_pretrained=True,
        created_at=0.0,
    )
