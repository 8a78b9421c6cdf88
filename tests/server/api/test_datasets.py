"""Datasets: names, counts, pages, and what may be deleted."""

from __future__ import annotations

import base64
import concurrent.futures
import time

import pytest

from server.api_client import Lab, ok, problem

NAMES = {
    "one letter": "x",
    "300 letters": "n" * 300,
    "Chinese": "数字图像",
    "300 Chinese": "猫" * 300,
    "emoji": "🐈‍⬛🐕 cats & dogs",
    "a path": "../../etc/passwd",
    "SQL": "'; DROP TABLE dataset; --",
    "HTML": "<script>alert(1)</script>",
    "right to left": "مجموعة‮abc",
}


@pytest.mark.parametrize("name", NAMES.values(), ids=list(NAMES))
def test_any_name_up_to_300_characters_is_kept_as_it_is(editor, lab, name):
    made = ok(editor.post(f"{lab.path}/datasets", {"name": name}), 201)
    assert ok(editor.get(f"{lab.path}/datasets/{made['id']}"))["name"] == name
    renamed = ok(editor.patch(f"{lab.path}/datasets/{made['id']}", {"name": f" {name[::-1]} "}))
    assert renamed["name"] == name[::-1].strip()


@pytest.mark.parametrize("name", ["", " ", "n" * 301, "猫" * 301, None, 7, ["a"]], ids=lambda name: str(name)[:8])
def test_a_name_that_does_not_fit_is_refused(editor, lab, name):
    problem(editor.post(f"{lab.path}/datasets", {"name": name}), 422, "invalid_input")
    row = lab.dataset("before")
    problem(editor.patch(f"{lab.path}/datasets/{row.id}", {"name": name}), 422, "invalid_input")
    assert [entry["name"] for entry in ok(editor.get(f"{lab.path}/datasets"))["items"]] == ["before"]


def test_characters_that_no_database_can_hold_are_replaced(editor, lab):
    """NUL and half of a surrogate pair: PostgreSQL refuses the one, UTF-8 the other."""
    answer = editor("POST", f"{lab.path}/datasets", content=b'{"name": "a\\u0000b\\ud800c"}')
    assert ok(answer, 201)["name"] == "a�b�c"


def test_a_project_has_one_dataset_of_a_name(editor, lab):
    ok(editor.post(f"{lab.path}/datasets", {"name": "digits"}), 201)
    problem(editor.post(f"{lab.path}/datasets", {"name": " digits "}), 409, "conflict", "'digits'")
    other = lab.dataset("letters")
    problem(editor.patch(f"{lab.path}/datasets/{other.id}", {"name": "digits"}), 409, "conflict", "'digits'")
    ok(editor.patch(f"{lab.path}/datasets/{other.id}", {"name": "letters"}))
    second = lab.add_project("second")
    ok(editor.post(f"/workspaces/{lab.workspace_id}/projects/{second}/datasets", {"name": "digits"}), 201)


def test_of_many_who_make_the_same_name_at_once_one_succeeds(editor, lab):
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        answers = pool.map(lambda _: editor.post(f"{lab.path}/datasets", {"name": "digits"}), range(6))
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409, 409, 409]


def test_an_unknown_task_is_refused_by_name(editor, lab):
    answer = editor.post(f"{lab.path}/datasets", {"name": "n", "task": "detection?"})
    problem(answer, 422, "invalid_input", "'detection?'")


@pytest.mark.parametrize("name", ["", " ", "\u200b", "\u202e\u202c", "\u2028", "x" * 301])
def test_a_name_that_cannot_be_seen_or_is_too_long_is_refused(editor, lab, name):
    problem(editor.post(f"{lab.path}/datasets", {"name": name}), 422, "invalid_input")
    made = ok(editor.post(f"{lab.path}/datasets", {"name": "visible"}), 201)
    problem(editor.patch(f"{lab.path}/datasets/{made['id']}", {"name": name}), 422, "invalid_input")


@pytest.mark.parametrize("name", ["犬", "🐕", "…", "\u202eabc", "e\u0301"])
def test_a_name_of_any_script_or_sign_is_a_name(editor, lab, name):
    assert ok(editor.post(f"{lab.path}/datasets", {"name": name}), 201)["name"] == name


FORGED = [
    '[1e400, "x"]',
    f'[1{400 * "0"}, "x"]',
    '[1.0, "\\ud800"]',
    "[" * 12_000,
    "[1]",
    "{}",
    '["a", "x"]',
    "nothing",
]


@pytest.mark.parametrize("forged", FORGED, ids=range(len(FORGED)))
@pytest.mark.parametrize("what", ["datasets", "jobs", "models"])
def test_a_crafted_cursor_is_refused_in_every_list(editor, lab, what, forged):
    cursor = base64.urlsafe_b64encode(forged.encode()).decode()
    answer = editor.get(f"{lab.path}/{what}", params={"cursor": cursor})
    problem(answer, 422, "invalid_input", "is not one that a page gave")


def test_a_dataset_counts_what_can_be_seen(editor, lab):
    row = lab.dataset()
    lab.image(row, "a.png", b"aa", "cat")
    lab.image(row, "b.png", b"bbbb", "cat")
    lab.image(row, "c.png", b"c", "犬")
    hidden = lab.image(row, "d.png", b"dddddddd", "cat")
    hidden.__class__.objects.filter(id=hidden.id).update(is_staged=True)
    shown = ok(editor.get(f"{lab.path}/datasets/{row.id}"))
    assert (shown["num_images"], shown["size_bytes"]) == (3, 7)
    assert [(entry["name"], entry["num_images"]) for entry in shown["classes"]] == [("cat", 2), ("犬", 1)]


def test_images_are_listed_by_class_and_page(editor, lab):
    row = lab.dataset()
    for number in range(5):
        lab.image(row, f"{number}.png", b"%d" % number, "cat" if number % 2 else "dog")
    address = f"{lab.path}/datasets/{row.id}/images"
    everything = ok(editor.get(address))["items"]
    assert len(everything) == 5
    cat = next(image["class_id"] for image in everything if image["name"] == "1.png")
    assert {image["name"] for image in ok(editor.get(address, params={"class_id": cat}))["items"]} == {"1.png", "3.png"}
    assert ok(editor.get(address, params={"class_id": "none"}))["items"] == []
    found, cursor = [], None
    while True:
        page = ok(editor.get(address, params={"limit": 2, **({"cursor": cursor} if cursor else {})}))
        assert 1 <= len(page["items"]) <= 2
        found += [image["id"] for image in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert found == [image["id"] for image in everything]


def test_a_list_is_newest_first_and_stable_while_rows_are_added(editor, lab):
    for number in range(4):
        lab.dataset(f"d{number}")
    first = ok(editor.get(f"{lab.path}/datasets", params={"limit": 2}))
    assert [row["name"] for row in first["items"]] == ["d3", "d2"]
    lab.dataset("added meanwhile")
    second = ok(editor.get(f"{lab.path}/datasets", params={"limit": 2, "cursor": first["next_cursor"]}))
    assert [row["name"] for row in second["items"]] == ["d1", "d0"] and second["next_cursor"] is None


def test_rows_made_at_the_same_moment_are_all_listed_once(editor, lab):
    from trainshed.server.records.models import Dataset

    made = {lab.dataset().id for _ in range(5)}
    Dataset.objects.update(created_at=time.time())
    found, cursor = [], None
    for _ in range(3):
        page = ok(editor.get(f"{lab.path}/datasets", params={"limit": 2, **({"cursor": cursor} if cursor else {})}))
        found += [row["id"] for row in page["items"]]
        cursor = page["next_cursor"]
    assert cursor is None and sorted(found) == sorted(made)


@pytest.mark.parametrize("cursor", ["x", "é", "W10", "bnVsbA", "eyJhIjoxfQ", "²", "%00", "9" * 5000])
def test_a_cursor_that_no_page_gave_is_refused(editor, lab, cursor):
    problem(editor.get(f"{lab.path}/datasets", params={"cursor": cursor}), 422, "invalid_input", "cursor")


@pytest.mark.parametrize(("limit", "expected"), [("0", 1), ("-5", 1), ("1", 1), ("100000000000000000000", 3)])
def test_a_limit_out_of_range_is_brought_into_it(editor, lab, limit, expected):
    for _ in range(3):
        lab.dataset()
    assert len(ok(editor.get(f"{lab.path}/datasets", params={"limit": limit}))["items"]) == expected


def test_a_limit_that_is_no_number_names_the_field(editor, lab):
    found = problem(editor.get(f"{lab.path}/datasets", params={"limit": "many"}), 422, "invalid_input", "limit")
    assert [error["field"] for error in found["errors"]] == ["limit"]


def test_a_dataset_without_versions_can_be_deleted_with_its_images(editor, lab):
    from trainshed.server.records.models import Blob, Image

    row = lab.dataset("gone")
    image = lab.image(row)
    ok(editor.delete(f"{lab.path}/datasets/{row.id}"), 204)
    problem(editor.get(f"{lab.path}/datasets/{row.id}"), 404, "not_found")
    problem(editor.get(f"{lab.path}/images/{image.id}/file"), 404, "not_found")
    assert not Image.objects.exists() and Blob.objects.exists()
    ok(editor.post(f"{lab.path}/datasets", {"name": "gone"}), 201)


def test_a_dataset_with_versions_cannot_be_deleted(editor, lab):
    row = lab.dataset()
    lab.image(row)
    lab.version(row)
    problem(editor.delete(f"{lab.path}/datasets/{row.id}"), 409, "conflict", "versions")
    assert ok(editor.get(f"{lab.path}/datasets/{row.id}"))["num_images"] == 1


def test_datasets_of_other_projects_are_not_listed(editor, lab):
    mine = lab.dataset()
    Lab("elsewhere").dataset()
    second = Lab("same")
    second.workspace_id, second.project_id = lab.workspace_id, lab.add_project("second")
    second.dataset()
    assert [row["id"] for row in ok(editor.get(f"{lab.path}/datasets"))["items"]] == [mine.id]


def test_a_versions_pictures_are_listed_with_their_split(editor, lab):
    from server.api_client import manifest
    from trainshed.schemas import ManifestRow

    rows = [
        ManifestRow(
            image_id=f"i{number}",
            sha256=f"{number:064x}",
            name=f"{number}.png",
            width=1,
            height=1,
            class_id="c0",
            split=("train", "validation", "test")[number % 3],
        )
        for number in range(7)
    ]
    version = lab.version(lab.dataset())
    version.manifest_id = manifest(rows)
    version.save()
    address = f"{lab.path}/versions/{version.id}/images"
    assert [row["name"] for row in ok(editor.get(address))["items"]] == [f"{number}.png" for number in range(7)]
    test_rows = ok(editor.get(address, params={"split": "test"}))["items"]
    assert [row["image_id"] for row in test_rows] == ["i2", "i5"]
    first = ok(editor.get(address, params={"limit": 4}))
    second = ok(editor.get(address, params={"limit": 4, "cursor": first["next_cursor"]}))
    assert [row["image_id"] for row in first["items"] + second["items"]] == [row.image_id for row in rows]
    assert second["next_cursor"] is None
    problem(editor.get(address, params={"split": "half"}), 422, "invalid_input", "split")
    for cursor in ("x", "-1", "²", "1.5", "9" * 5000):
        problem(editor.get(address, params={"cursor": cursor}), 422, "invalid_input", "cursor")
