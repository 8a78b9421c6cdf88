"""The attempt protocol over HTTP: a token opens its own job, as long as it is the newest attempt's."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from server.api_client import Lab, ok, packed, problem, store
from trainshed.schemas import Assignment, EndReport, Renewal

ZERO = "0" * 64


def _ledger() -> Any:
    from trainshed.server.queue import ledger

    return ledger


def _staged(name: str = "a.png", content: bytes = b"picture", **changes: Any) -> dict[str, Any]:
    """A staged picture whose bytes are stored."""
    (sha256,) = store(content)
    return {
        "name": name,
        "class_name": "cat",
        "sha256": sha256,
        "thumbnail_sha256": sha256,
        "size_bytes": len(content),
        "width": 2,
        "height": 3,
        "format": "PNG",
        **changes,
    }


@pytest.fixture
def importing(nobody, lab):
    """(a caller with the token of a running import, what it holds, the dataset)."""
    dataset = lab.dataset()
    upload = lab.upload(b"the archive")
    held, token = lab.attempt("import", {"dataset_id": dataset.id, "upload_id": upload.id})
    return nobody.as_(token), held, dataset


@pytest.fixture
def training(nobody, lab):
    held, token = lab.attempt("train", {"version_id": lab.version(lab.dataset()).id, "recipe": {}, "name": "n"})
    return nobody.as_(token), held


def test_the_first_renewal_starts_the_job(nobody, lab, viewer):
    held, token = lab.attempt("train", start=False)
    address = f"{lab.path}/jobs/{held.job_id}"
    assert ok(viewer.get(address))["state"] == "assigned"
    renewal = Renewal.model_validate(ok(nobody.as_(token).post("/attempt/renewals")))
    assert (renewal.lease_seconds, renewal.cancel_requested, renewal.pause_requested) == (30.0, False, False)
    assert ok(viewer.get(address))["state"] == "running"


@pytest.mark.parametrize("act", ["cancel", "pause"])
def test_a_renewal_tells_what_is_asked(training, editor, lab, act):
    guard, held = training
    ok(editor.post(f"{lab.path}/jobs/{held.job_id}/{act}"))
    assert ok(guard.post("/attempt/renewals"))[f"{act}_requested"] is True


def test_an_assignment_holds_everything_to_start(importing, lab):
    guard, held, dataset = importing
    assignment = Assignment.model_validate(ok(guard.get("/attempt/assignment")))
    assert (assignment.job_id, assignment.attempt, assignment.kind) == (held.job_id, 1, "import")
    assert assignment.spec["dataset_id"] == dataset.id and assignment.spec["archive_name"] == "pictures.zip"
    assert assignment.inputs["archive"].sha256 == hashlib.sha256(b"the archive").hexdigest()
    assert assignment.inputs["archive"].size_bytes == 11 and assignment.checkpoint is None and assignment.gpus == []


def test_an_assignment_of_a_training_holds_manifest_classes_and_checkpoint(training):
    guard, _ = training
    (sha256,) = store(b"weights")
    ok(guard.post("/attempt/checkpoint", {"sha256": sha256, "step": 12}), 204)
    assignment = Assignment.model_validate(ok(guard.get("/attempt/assignment")))
    assert set(assignment.inputs) == {"manifest"} and assignment.spec["classes"] == [{"id": "c0", "name": "cat"}]
    assert assignment.checkpoint is not None
    assert (assignment.checkpoint.blob.sha256, assignment.checkpoint.step) == (sha256, 12)


def test_an_assignment_names_the_cards(nobody, lab):
    from trainshed.server.records.models import Host, Slot

    host = Host.objects.create(name="two cards", key_sha256="k" * 64)
    Slot.objects.bulk_create([Slot(host=host, pool="gpu", position=position) for position in (3, 5)])
    said = {"workspace_id": lab.workspace_id, "project_id": lab.project_id, "kind": "pretrained", "title": "t"}
    _ledger().submit(_ledger().Request(**said, spec={}, num_gpus=2), actor="person:test")
    (assigned,) = _ledger().assign(lease_seconds=30)
    guard = nobody.as_(assigned.token)
    ok(guard.post("/attempt/renewals"))
    assert ok(guard.get("/attempt/assignment"))["gpus"] == [3, 5]


def test_events_are_told_once_however_often_they_are_sent(training, viewer, lab):
    guard, held = training
    events = [{"kind": "metric", "body": {"step": step}} for step in range(4)]
    ok(guard.post("/attempt/events", {"first": 0, "events": events[:2]}), 204)
    ok(guard.post("/attempt/events", {"first": 0, "events": events[:2]}), 204)
    ok(guard.post("/attempt/events", {"first": 1, "events": events[1:]}), 204)
    story = ok(viewer.get(f"{lab.path}/jobs/{held.job_id}/events"))["items"]
    assert [event["body"] for event in story if event["kind"] == "metric"] == [{"step": step} for step in range(4)]


WRONG_BATCHES: list[Any] = [
    {"first": -1, "events": []},
    {"first": 10**30, "events": [{"kind": "log", "body": {}}]},
    {"first": 0, "events": [{"kind": "gossip", "body": {}}]},
    {"first": 0, "events": [{"kind": "log", "body": "text"}]},
    {"first": 0, "events": [{"kind": "log", "body": {}}] * 1001},
    {"first": 0},
]


@pytest.mark.parametrize("batch", WRONG_BATCHES, ids=lambda batch: str(batch)[:60])
def test_a_batch_that_cannot_be_told_is_refused_whole(training, viewer, lab, batch):
    guard, held = training
    problem(guard.post("/attempt/events", batch), 422, "invalid_input")
    assert ok(viewer.get(f"{lab.path}/jobs/{held.job_id}"))["revision"] == 3


def test_any_text_can_be_told_and_read_back(training, viewer, lab):
    """A child prints what it likes: NUL bytes, half characters, escapes, all of Unicode."""
    guard, held = training
    texts = ["\u0000", "a\ud800b", "\\u0000", "\x1b[31m", "🐈‍⬛", "‮", "\u2028", "x" * 100_000]
    body = json.dumps({"first": 0, "events": [{"kind": "log", "body": {"text": text}} for text in texts]})
    ok(guard("POST", "/attempt/events", content=body.encode(), headers={"Content-Type": "application/json"}), 204)
    story = ok(viewer.get(f"{lab.path}/jobs/{held.job_id}/events"))["items"]
    told = [event["body"]["text"] for event in story if event["kind"] == "log"]
    assert told == ["\ufffd", "a\ufffdb", *texts[2:]]


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_a_number_that_is_not_json_is_refused(training, viewer, lab, number):
    guard, held = training
    body = f'{{"first": 0, "events": [{{"kind": "metric", "body": {{"loss": {number}}}}}]}}'
    problem(guard("POST", "/attempt/events", content=body.encode()), 422, "invalid_input", "JSON")
    ok(viewer.get(f"{lab.path}/jobs/{held.job_id}/events"))


def test_small_blobs_come_packed_and_large_ones_alone(training):
    guard, _ = training
    contents = [b"", b"one", b"two" * 1000, b"one"]
    answer = ok(guard("POST", "/attempt/blobs", content=packed(*contents)))
    assert answer["sha256"] == [hashlib.sha256(content).hexdigest() for content in contents]
    large = b"l" * 3_000_000
    assert ok(guard("PUT", "/attempt/blobs", content=large))["sha256"] == [hashlib.sha256(large).hexdigest()]
    assert ok(guard("PUT", "/attempt/blobs", content=iter([b"ab", b"c"])))["sha256"] == [
        hashlib.sha256(b"abc").hexdigest()
    ]
    assert ok(guard("POST", "/attempt/blobs", content=b""))["sha256"] == []


@pytest.mark.parametrize(
    "body", [b"\0" * 7, packed(b"abc")[:-1], packed(b"abc") + b"\0", b"\xff" * 8, b"\xff" * 7 + b"\0x"]
)
def test_packed_blobs_that_break_off_are_refused_whole(training, body):
    from trainshed.server.records.models import Blob

    guard, _ = training
    before = Blob.objects.count()
    problem(guard("POST", "/attempt/blobs", content=body), 422, "invalid_input", "middle")
    assert Blob.objects.count() == before


@pytest.mark.parametrize("announced", [True, False])
def test_more_packed_bytes_than_fit_into_memory_are_refused(training, monkeypatch, announced):
    from trainshed.server.streams import uploads

    monkeypatch.setattr(uploads, "_MOST_PACKED_BYTES", 1000)
    guard, _ = training
    content = packed(b"x" * 1000) if announced else iter([b"\0" * 600] * 3)
    problem(guard("POST", "/attempt/blobs", content=content), 413, "too_large")


def test_an_attempt_reads_what_belongs_to_its_workspace(training, lab):
    guard, _ = training
    dataset = lab.dataset()
    shown = lab.image(dataset, content=b"an image").blob_id
    upload = lab.upload(b"an upload").blob_id
    (saved,) = store(b"a checkpoint")
    ok(guard.post("/attempt/checkpoint", {"sha256": saved, "step": 1}), 204)
    manifest = lab.version(dataset).manifest_id
    for sha256, content in ((shown, b"an image"), (upload, b"an upload"), (saved, b"a checkpoint")):
        answer = guard.get(f"/attempt/blobs/{sha256}")
        assert (answer.status_code, answer.content) == (200, content)
    assert guard.get(f"/attempt/blobs/{manifest}").status_code == 200


@pytest.mark.parametrize("name", [ZERO, "..", "%2e%2e%2fsecret_key", "x", "%00", "A" * 64])
def test_a_blob_name_that_is_none_is_not_found(training, name):
    guard, _ = training
    answer = guard.get(f"/attempt/blobs/{name}")
    assert answer.status_code in (404, 422), answer.text
    problem(answer, answer.status_code, answer.json()["code"])


def test_bytes_that_another_workspace_sent_are_not_readable_by_their_hash(training):
    """A blob stays closed to a workspace that has not sent it, even to who guesses its hash."""
    guard, _ = training
    (sha256,) = store(b"somebody else's picture", of=Lab("elsewhere").workspace_id)
    problem(guard.get(f"/attempt/blobs/{sha256}"), 404, "not_found")


def test_staged_pictures_are_invisible_and_named_to_the_next_attempt(importing, viewer, lab):
    guard, _, dataset = importing
    ok(guard.post("/attempt/images", {"images": [_staged("a.png"), _staged("b.png", b"other")]}), 204)
    ok(guard.post("/attempt/images", {"images": [_staged("a.png", b"again")]}), 204)
    assert sorted(ok(guard.get("/attempt/images"))["names"]) == ["a.png", "b.png"]
    shown = ok(viewer.get(f"{lab.path}/datasets/{dataset.id}"))
    assert (shown["num_images"], shown["classes"]) == (0, [])
    assert ok(viewer.get(f"{lab.path}/datasets/{dataset.id}/images"))["items"] == []
    _, token = lab.attempt("snapshot", {"dataset_id": dataset.id})
    assert guard.as_(token).get("/attempt/rows").content == b""


@pytest.mark.parametrize(
    "changes",
    [
        {"sha256": ZERO},
        {"thumbnail_sha256": ZERO},
        {"sha256": "../../x"},
        {"width": 0},
        {"size_bytes": 0},
        {"width": 10**30},
        {"size_bytes": 10**30},
        {"name": "n" * 4097},
        {"format": "f" * 17},
        {"class_name": None},
    ],
    ids=str,
)
def test_a_picture_that_cannot_be_staged_is_refused_with_its_batch(importing, changes):
    guard, _, _ = importing
    bad = {**_staged("b.png"), **changes}
    problem(guard.post("/attempt/images", {"images": [_staged("a.png"), bad]}), 422, "invalid_input")
    assert ok(guard.get("/attempt/images"))["names"] == []


@pytest.mark.parametrize("name", ["猫" * 300, "🐈/" * 200 + "a.png", "../../etc/passwd", "a\nb", "C:\\con.png"])
def test_a_picture_of_any_name_can_be_staged(importing, name):
    guard, _, _ = importing
    ok(guard.post("/attempt/images", {"images": [_staged(name, class_name=name[:1024])]}), 204)
    assert ok(guard.get("/attempt/images"))["names"] == [name]


def test_only_an_import_stages(training):
    guard, _ = training
    problem(guard.post("/attempt/images", {"images": [_staged()]}), 422, "invalid_input", "import")


def test_only_a_snapshot_reads_rows(training):
    guard, _ = training
    problem(guard.get("/attempt/rows"), 422, "invalid_input", "snapshot")


def test_a_snapshot_reads_every_visible_row(nobody, lab):
    dataset = lab.dataset()
    images = {lab.image(dataset, f"{n}.png", b"%d" % n, "猫").id for n in range(5)}
    lab.image(lab.dataset(), "elsewhere.png")
    _, token = lab.attempt("snapshot", {"dataset_id": dataset.id})
    rows = [json.loads(line) for line in nobody.as_(token).get("/attempt/rows").content.splitlines()]
    assert {row["image_id"] for row in rows} == images
    keys = {"image_id", "sha256", "name", "width", "height", "class_id", "class_name", "group"}
    assert set(rows[0]) == keys and rows[0]["class_name"] == "猫"


def test_a_checkpoint_whose_bytes_are_not_stored_is_refused(training):
    guard, _ = training
    problem(guard.post("/attempt/checkpoint", {"sha256": ZERO, "step": 1}), 422, "invalid_input", "stored")
    for body in ({"sha256": "x", "step": 1}, {"sha256": ZERO, "step": -1}, {"sha256": ZERO}):
        problem(guard.post("/attempt/checkpoint", body), 422, "invalid_input")
    (sha256,) = store(b"w")
    problem(guard.post("/attempt/checkpoint", {"sha256": sha256, "step": 10**30}), 422, "invalid_input")
    assert ok(guard.get("/attempt/assignment"))["checkpoint"] is None


ENDS = {"stopped": "queued", "paused": "paused", "cancelled": "cancelled", "failed": "failed", "crashed": "queued"}


@pytest.mark.parametrize("end", ENDS)
def test_an_end_is_told_and_shown(training, viewer, lab, end):
    guard, held = training
    reason = {"code": "why", "message": "because \u0000", "hint": "try"}
    report = {"end": end, "reason": reason, "exit": {"tail": ["last\u0000words"], "code": 1}}
    ok(guard("POST", "/attempt/end", content=json.dumps(report).encode()), 204)
    job = ok(viewer.get(f"{lab.path}/jobs/{held.job_id}"))
    assert job["state"] == ENDS[end]
    assert job["attempts"][0]["end"] == end and job["attempts"][0]["exit"]["code"] == 1
    if end == "failed":
        assert job["reason"]["code"] == "why" and job["reason"]["hint"] == "try"


def test_an_unknown_end_is_refused(training, viewer, lab):
    guard, held = training
    problem(guard.post("/attempt/end", {"end": "published"}), 422, "invalid_input", "end")
    assert ok(viewer.get(f"{lab.path}/jobs/{held.job_id}"))["state"] == "running"


# method, address, what it sends
CALLS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "renew": ("POST", "/attempt/renewals", {}),
    "assignment": ("GET", "/attempt/assignment", {}),
    "events": ("POST", "/attempt/events", {"json": {"first": 0, "events": [{"kind": "log", "body": {}}]}}),
    "stage": ("POST", "/attempt/images", {"json": {"images": []}}),
    "staged": ("GET", "/attempt/images", {}),
    "rows": ("GET", "/attempt/rows", {}),
    "checkpoint": ("POST", "/attempt/checkpoint", {"json": {"sha256": ZERO, "step": 1}}),
    "publish": ("POST", "/attempt/publication", {"json": {"result": {}}}),
    "end": ("POST", "/attempt/end", {"json": {"end": "failed"}}),
    "put blob": ("PUT", "/attempt/blobs", {"content": b"x"}),
    "post blobs": ("POST", "/attempt/blobs", {"content": packed(b"x")}),
    "get blob": ("GET", f"/attempt/blobs/{ZERO}", {}),
}


def _story(held: Any) -> tuple[Any, ...]:
    from trainshed.server.records.models import Blob, Event, Image, Job

    job = Job.objects.get(id=held.job_id)
    rows = (job.state, job.attempt, job.revision, job.result, job.deaths)
    return (*rows, Event.objects.count(), Blob.objects.count(), Image.objects.count())


def _supersede_by_another(held: Any) -> None:
    _ledger().lose(held.attempt_id, {"words": "gone"})
    from trainshed.server.records.models import Job

    Job.objects.update(available_at=0)
    (assigned,) = _ledger().assign(lease_seconds=30)
    _ledger().renew(assigned.held, lease_seconds=30)


def _supersede_by_its_end(held: Any) -> None:
    _ledger().end(held, EndReport(end="failed"))


def _supersede_by_its_pause(held: Any) -> None:
    _ledger().end(held, EndReport(end="paused"))


@pytest.mark.parametrize("how", [_supersede_by_another, _supersede_by_its_end, _supersede_by_its_pause])
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("kind", ["import", "snapshot"])
def test_i5_an_old_token_gets_409_attempt_superseded_and_changes_nothing(nobody, lab, call, how, kind):
    held, token = lab.attempt(kind, {"dataset_id": lab.dataset().id, "upload_id": lab.upload().id})
    how(held)
    before = _story(held)
    method, address, arguments = CALLS[call]
    problem(nobody.as_(token)(method, address, **arguments), 409, "attempt_superseded")
    assert _story(held) == before


def test_an_attempts_token_opens_its_own_job_alone(nobody, lab):
    first, _ = lab.attempt("train")
    second, token = lab.attempt("train")
    assert ok(nobody.as_(token).post("/attempt/renewals"))
    ok(nobody.as_(token).post("/attempt/end", {"end": "failed"}), 204)
    from trainshed.server.records.models import Job

    assert Job.objects.get(id=first.job_id).state == "running"
    problem(nobody.as_(token).get(f"{lab.path}/jobs/{second.job_id}"), 404, "not_found")


def test_the_token_is_kept_as_a_hash_only(nobody, lab):
    from trainshed.server.records.models import Attempt, Event, Transition

    _, token = lab.attempt("train")
    stored = str([*Attempt.objects.values(), *Event.objects.values(), *Transition.objects.values()])
    assert token not in stored and hashlib.sha256(token.encode()).hexdigest() in stored


def test_an_import_whose_dataset_was_deleted_ends_with_a_reason(importing, editor, lab):
    guard, _, dataset = importing
    ok(guard.post("/attempt/images", {"images": [_staged()]}), 204)
    ok(editor.delete(f"{lab.path}/datasets/{dataset.id}"), 204)
    problem(guard.post("/attempt/images", {"images": [_staged("b.png")]}), 404, "not_found", "dataset")
    result = {"num_taken": 1, "num_skipped": 0, "skipped": [], "classes": {}}
    problem(guard.post("/attempt/publication", {"result": result}), 404, "not_found", "dataset")


def test_two_labs_do_not_see_each_others_stages(nobody, lab):
    other = Lab("other")
    _, mine = lab.attempt("import", {"dataset_id": lab.dataset().id})
    _, theirs = other.attempt("import", {"dataset_id": other.dataset().id})
    ok(nobody.as_(mine).post("/attempt/images", {"images": [_staged("mine.png")]}), 204)
    assert ok(nobody.as_(theirs).get("/attempt/images"))["names"] == []
