"""What a publish does for each kind of job: all of it, at once, or nothing."""

from __future__ import annotations

import concurrent.futures
from typing import Any

import pytest

from server.api_client import Caller, Lab, model_summary, ok, packed, problem, store, version_summary
from trainshed.schemas import ARCHIVE_FILES


def _report(num_taken: int, **changes: Any) -> dict[str, Any]:
    return {"num_taken": num_taken, "num_skipped": 0, "skipped": [], "classes": {}, **changes}


def _import(nobody: Caller, lab: Lab, dataset: Any, pictures: dict[str, tuple[bytes, str]]) -> Caller:
    """A running import that has staged these: name -> (content, class)."""
    _, token = lab.attempt("import", {"dataset_id": dataset.id})
    guard = nobody.as_(token)
    hashes = ok(guard("POST", "/attempt/blobs", content=packed(*(content for content, _ in pictures.values()))))
    staged = [
        {
            "name": name,
            "class_name": class_name,
            "sha256": sha256,
            "thumbnail_sha256": sha256,
            "size_bytes": len(content),
            "width": 1,
            "height": 1,
            "format": "PNG",
        }
        for (name, (content, class_name)), sha256 in zip(pictures.items(), hashes["sha256"], strict=True)
    ]
    ok(guard.post("/attempt/images", {"images": staged}), 204)
    return guard


def _publish(guard: Caller, result: dict[str, Any], artifacts: dict[str, str] | None = None) -> Any:
    return guard.post("/attempt/publication", {"result": result, "artifacts": artifacts or {}})


def _shown(caller: Caller, lab: Lab, dataset: Any) -> dict[str, str]:
    rows = ok(caller.get(f"{lab.path}/datasets/{dataset.id}/images"))["items"]
    classes = {entry["id"]: entry["name"] for entry in ok(caller.get(f"{lab.path}/datasets/{dataset.id}"))["classes"]}
    return {row["name"]: classes[row["class_id"]] for row in rows}


def _job(caller: Caller, lab: Lab, kind: str) -> Any:
    """The newest job of a kind."""
    return ok(caller.get(f"{lab.path}/jobs", params={"kind": kind}))["items"][0]


TWO = {"cat/a.png": (b"a", "cat"), "dog/b.png": (b"b", "dog")}


def test_an_import_becomes_visible_when_it_is_published(nobody, lab, viewer):
    dataset = lab.dataset()
    guard = _import(nobody, lab, dataset, TWO)
    assert _shown(viewer, lab, dataset) == {}
    ok(_publish(guard, _report(2)), 204)
    assert _shown(viewer, lab, dataset) == {"cat/a.png": "cat", "dog/b.png": "dog"}
    job = _job(viewer, lab, "import")
    assert (job["state"], job["result"]["num_taken"], job["result"]["num_duplicates"]) == ("succeeded", 2, 0)


def test_an_import_again_adds_only_what_is_new(nobody, lab, viewer):
    dataset = lab.dataset()
    ok(_publish(_import(nobody, lab, dataset, TWO), _report(2)), 204)
    before = ok(viewer.get(f"{lab.path}/datasets/{dataset.id}"))["classes"]
    more = {**TWO, "cat/c.png": (b"c", "cat"), "dog/a.png": (b"a", "dog")}
    ok(_publish(_import(nobody, lab, dataset, more), _report(4)), 204)
    result = _job(viewer, lab, "import")["result"]
    assert (result["num_taken"], result["num_duplicates"]) == (2, 2)
    assert _shown(viewer, lab, dataset) == {
        "cat/a.png": "cat",
        "dog/b.png": "dog",
        "cat/c.png": "cat",
        "dog/a.png": "dog",
    }
    after = {entry["name"]: entry["id"] for entry in ok(viewer.get(f"{lab.path}/datasets/{dataset.id}"))["classes"]}
    assert after == {entry["name"]: entry["id"] for entry in before}


def test_a_picture_that_has_changed_under_its_name_is_no_duplicate(nobody, lab, viewer):
    dataset = lab.dataset()
    ok(_publish(_import(nobody, lab, dataset, {"a.png": (b"old", "cat")}), _report(1)), 204)
    ok(_publish(_import(nobody, lab, dataset, {"a.png": (b"new", "cat")}), _report(1)), 204)
    assert ok(viewer.get(f"{lab.path}/datasets/{dataset.id}"))["num_images"] == 2


def test_an_import_of_many_pictures_again_takes_none(nobody, lab, viewer):
    """More than one statement's worth of duplicates."""
    dataset = lab.dataset()
    many = {f"{number}.png": (b"%d" % number, f"class {number % 7}") for number in range(1100)}
    ok(_publish(_import(nobody, lab, dataset, many), _report(1100)), 204)
    ok(_publish(_import(nobody, lab, dataset, many), _report(1100)), 204)
    assert _job(viewer, lab, "import")["result"]["num_duplicates"] == 1100
    shown = ok(viewer.get(f"{lab.path}/datasets/{dataset.id}"))
    assert (shown["num_images"], len(shown["classes"])) == (1100, 7)


def test_two_imports_into_one_dataset_at_once_make_each_class_once(nobody, lab, viewer):
    dataset = lab.dataset()
    guards = [
        _import(nobody, lab, dataset, {f"{number}.png": (b"%d" % number, "cat"), f"{number}d.png": (b"d", "dog")})
        for number in range(3)
    ]
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(lambda guard: _publish(guard, _report(2)), guards))
    assert {answer.status_code for answer in answers} == {204}
    shown = ok(viewer.get(f"{lab.path}/datasets/{dataset.id}"))
    assert {entry["name"]: entry["num_images"] for entry in shown["classes"]} == {"cat": 3, "dog": 3}


@pytest.mark.parametrize("end", ["failed", "cancelled"])
def test_what_an_import_that_did_not_succeed_had_staged_never_shows(nobody, lab, viewer, end):
    from trainshed.server.records.models import Image
    from trainshed.server.services import datasets

    dataset = lab.dataset()
    ok(_import(nobody, lab, dataset, TWO).post("/attempt/end", {"end": end}), 204)
    assert _shown(viewer, lab, dataset) == {}
    assert datasets.drop_abandoned() == 2 and not Image.objects.exists()
    ok(_publish(_import(nobody, lab, dataset, TWO), _report(2)), 204)
    assert datasets.drop_abandoned() == 0 and Image.objects.count() == 2


def test_a_stopped_import_goes_on_where_it_was(nobody, lab, viewer):
    from trainshed.server.queue import ledger
    from trainshed.server.services import datasets

    dataset = lab.dataset()
    ok(_import(nobody, lab, dataset, TWO).post("/attempt/end", {"end": "stopped"}), 204)
    assert datasets.drop_abandoned() == 0
    (assigned,) = ledger.assign(lease_seconds=30)
    guard = nobody.as_(assigned.token)
    ok(guard.post("/attempt/renewals"))
    assert sorted(ok(guard.get("/attempt/images"))["names"]) == sorted(TWO)
    ok(_publish(guard, _report(2)), 204)
    assert len(_shown(viewer, lab, dataset)) == 2


def _snapshot(nobody: Caller, lab: Lab, dataset: Any) -> Caller:
    return nobody.as_(lab.attempt("snapshot", {"dataset_id": dataset.id, "split": {"seed": 1}})[1])


def test_snapshots_are_numbered_per_dataset(nobody, lab, viewer):
    first, second = lab.dataset(), lab.dataset()
    (manifest,) = store(b"manifest")
    for dataset, number in ((first, 1), (first, 2), (second, 1), (first, 3)):
        ok(_publish(_snapshot(nobody, lab, dataset), version_summary(), {"manifest.parquet": manifest}), 204)
        result = _job(viewer, lab, "snapshot")["result"]
        version = ok(viewer.get(f"{lab.path}/versions/{result['version_id']}"))
        assert (result["number"], version["number"], version["dataset_id"]) == (number, number, dataset.id)
        assert version["summary"]["digest"] == "d" * 64 and version["split"] == {"seed": 1}
    listed = ok(viewer.get(f"{lab.path}/datasets/{first.id}/versions"))["items"]
    assert [row["number"] for row in listed] == [3, 2, 1]


def test_snapshots_at_once_get_different_numbers(nobody, lab, viewer):
    dataset = lab.dataset()
    (manifest,) = store(b"manifest")
    guards = [_snapshot(nobody, lab, dataset) for _ in range(4)]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        answers = pool.map(lambda guard: _publish(guard, version_summary(), {"manifest.parquet": manifest}), guards)
    assert {answer.status_code for answer in answers} == {204}
    listed = ok(viewer.get(f"{lab.path}/datasets/{dataset.id}/versions"))["items"]
    assert sorted(row["number"] for row in listed) == [1, 2, 3, 4]


def _archive() -> dict[str, str]:
    return dict(zip(ARCHIVE_FILES, store(*(name.encode() for name in ARCHIVE_FILES)), strict=True))


def _training(nobody: Caller, lab: Lab) -> tuple[Caller, str]:
    version = lab.version(lab.dataset())
    return nobody.as_(lab.attempt("train", {"version_id": version.id, "recipe": {}, "name": "n"})[1]), version.id


def test_a_published_training_is_a_model_with_its_lineage(nobody, lab, viewer):
    guard, version_id = _training(nobody, lab)
    ok(_publish(guard, model_summary(), _archive()), 204)
    job = _job(viewer, lab, "train")
    model = ok(viewer.get(f"{lab.path}/models/{job['result']['model_id']}"))
    assert (model["job_id"], model["version_id"], model["name"]) == (job["id"], version_id, "digits v1")
    assert model["size_bytes"] == sum(map(len, ARCHIVE_FILES)) and model["is_pretrained"] is False
    assert viewer.get(f"{lab.path}/models/{model['id']}/archive").status_code == 200


def test_a_pretrained_network_is_a_model_without_a_version(nobody, lab, viewer):
    _, token = lab.attempt("pretrained")
    ok(_publish(nobody.as_(token), model_summary(), _archive()), 204)
    (model,) = ok(viewer.get(f"{lab.path}/models"))["items"]
    assert (model["is_pretrained"], model["version_id"]) == (True, None)


# kind -> (a result that can be published, its artifacts' names)
GOOD: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "import": (_report(0), ()),
    "snapshot": (version_summary(), ("manifest.parquet",)),
    "train": (model_summary(), ARCHIVE_FILES),
}
WRONG: list[tuple[str, dict[str, Any], tuple[str, ...]]] = [
    ("import", {}, ()),
    ("import", {**_report(0), "num_taken": "many"}, ()),
    ("snapshot", {}, ("manifest.parquet",)),
    ("snapshot", version_summary(num_images="many"), ("manifest.parquet",)),
    ("snapshot", version_summary(), ()),
    ("train", {}, ARCHIVE_FILES),
    ("train", model_summary(transform={"size": 0}), ARCHIVE_FILES),
    ("train", model_summary(num_parameters=10**30), ARCHIVE_FILES),
    ("train", model_summary(), ARCHIVE_FILES[1:]),
]


def _guard(nobody: Caller, lab: Lab, kind: str) -> Caller:
    if kind == "train":
        return _training(nobody, lab)[0]
    return _snapshot(nobody, lab, lab.dataset()) if kind == "snapshot" else _import(nobody, lab, lab.dataset(), TWO)


def _nothing_was_published(caller: Caller, lab: Lab, kind: str) -> None:
    from trainshed.server.records.models import Artifact, DatasetVersion, Image, TrainedModel

    assert _job(caller, lab, kind)["state"] == "running"
    assert not Artifact.objects.exists() and not TrainedModel.objects.exists()
    assert not Image.objects.filter(is_staged=False).exists()
    assert not DatasetVersion.objects.filter(job__kind=kind, job__state="running").exists()


@pytest.mark.parametrize(("kind", "result", "names"), WRONG, ids=lambda value: str(value)[:40])
def test_a_result_that_cannot_be_kept_is_refused_whole(nobody, lab, viewer, kind, result, names):
    guard = _guard(nobody, lab, kind)
    artifacts = {name: store(name.encode())[0] for name in names}
    problem(_publish(guard, result, artifacts), 422, "invalid_input")
    _nothing_was_published(viewer, lab, kind)


@pytest.mark.parametrize("kind", GOOD)
def test_i12_a_result_whose_bytes_are_not_stored_is_refused_whole(nobody, lab, viewer, kind):
    guard = _guard(nobody, lab, kind)
    result, names = GOOD[kind]
    artifacts = {name: store(name.encode())[0] for name in names}
    problem(_publish(guard, result, {**artifacts, "more": "0" * 64}), 422, "invalid_input", "stored")
    _nothing_was_published(viewer, lab, kind)
    problem(_publish(guard, result, {**artifacts, "n" * 201: "0" * 64}), 422, "invalid_input")
    problem(_publish(guard, result, {**artifacts, "more": "../x"}), 422, "invalid_input")
    ok(_publish(guard, result, artifacts), 204)


@pytest.mark.parametrize("kind", GOOD)
def test_i3_a_cancelled_job_publishes_nothing(nobody, lab, viewer, editor, kind):
    guard = _guard(nobody, lab, kind)
    ok(editor.post(f"{lab.path}/jobs/{_job(viewer, lab, kind)['id']}/cancel"))
    result, names = GOOD[kind]
    answer = _publish(guard, result, {name: store(name.encode())[0] for name in names})
    problem(answer, 409, "state_conflict", "cancelled")
    _nothing_was_published(viewer, lab, kind)


@pytest.mark.parametrize("kind", GOOD)
def test_i2_of_two_publishes_at_once_one_counts(nobody, lab, viewer, kind):
    guard = _guard(nobody, lab, kind)
    result, names = GOOD[kind]
    artifacts = {name: store(name.encode())[0] for name in names}
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: _publish(guard, result, artifacts), range(4)))
    assert sorted(answer.status_code for answer in answers) == [204, 409, 409, 409]
    assert {answer.json()["code"] for answer in answers if answer.status_code == 409} == {"attempt_superseded"}
    assert _job(viewer, lab, kind)["state"] == "succeeded"
