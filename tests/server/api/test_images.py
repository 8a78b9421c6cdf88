"""A person's pictures as the doors give them back: untouched, typed by their bytes, never a page."""

from __future__ import annotations

import hashlib

import pytest

from server.api_client import ok, problem

CONTENTS = {
    "png": (b"\x89PNG\r\n\x1a\nrest", "image/png"),
    "jpeg": (b"\xff\xd8\xff\xe0rest", "image/jpeg"),
    "gif": (b"GIF89arest", "image/gif"),
    "webp": (b"RIFF\0\0\0\0WEBP", "image/webp"),
    "svg": (b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", "application/octet-stream"),
    "html": (b"<!doctype html><script>alert(1)</script>", "application/octet-stream"),
    "tiff": (b"II*\0rest", "application/octet-stream"),
}


@pytest.mark.parametrize("what", ["file", "thumbnail"])
@pytest.mark.parametrize("kind", CONTENTS)
def test_a_picture_is_given_back_untouched_and_can_never_run(viewer, lab, kind, what):
    content, media_type = CONTENTS[kind]
    image = lab.image(lab.dataset(), f"a.{kind}", content)
    answer = viewer.get(f"{lab.path}/images/{image.id}/{what}")
    assert (answer.status_code, answer.content) == (200, content)
    assert answer.headers["content-type"] == media_type
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"] == "default-src 'none'; sandbox"
    assert answer.headers["cache-control"].startswith("private")
    assert answer.headers["etag"] == f'"{hashlib.sha256(content).hexdigest()}"'
    assert "set-cookie" not in answer.headers


def test_a_thumbnail_is_another_file_than_the_original(viewer, lab):
    from server.api_client import store

    image = lab.image(lab.dataset(), "a.png", b"\x89PNG the original")
    (image.thumbnail_id,) = store(b"\xff\xd8\xff the thumbnail")
    image.save()
    assert viewer.get(f"{lab.path}/images/{image.id}/file").content == b"\x89PNG the original"
    assert viewer.get(f"{lab.path}/images/{image.id}/thumbnail").content == b"\xff\xd8\xff the thumbnail"


def test_a_staged_picture_cannot_be_seen(viewer, lab):
    image = lab.image(lab.dataset())
    image.is_staged = True
    image.save()
    for what in ("file", "thumbnail"):
        problem(viewer.get(f"{lab.path}/images/{image.id}/{what}"), 404, "not_found")


def test_a_picture_whose_bytes_are_missing_says_so(viewer, lab):
    from trainshed.server.services import blobs

    image = lab.image(lab.dataset(), content=b"soon gone")
    blobs.storage().delete(image.blob_id)
    problem(viewer.get(f"{lab.path}/images/{image.id}/file"), 404, "not_found", "missing from the storage")
    ok(viewer.get(f"{lab.path}/datasets"))
