"""Links to one thing, as pages: who makes them, what a stranger sees, and that nothing leads on from there."""

from __future__ import annotations

import time
from typing import Any

import pytest

from server import api_client
from server.api_client import Lab
from trainshed.schemas import ManifestRow
from web.visitors import Page, Visitor

NOUNS = ("model", "version", "job")
each_noun = pytest.mark.parametrize("noun", NOUNS)


def version_of(lab: Lab) -> Any:
    """A version whose manifest names a picture that is there."""
    row = lab.dataset("secret name of a dataset")
    image, version = lab.image(row), lab.version(row)
    told = {
        "image_id": image.id,
        "sha256": image.blob_id,
        "name": image.name,
        "width": 2,
        "height": 1,
        "class_id": "c0",
    }
    version.manifest_id = api_client.manifest([ManifestRow(**told)])
    version.save()
    return version


def thing(lab: Lab, noun: str) -> Any:
    result = {"metrics": {"accuracy": 0.9, "num_test": 10}}
    make = {
        "model": lab.model,
        "version": lambda: version_of(lab),
        "job": lambda: lab.job("train", "succeeded", title="Train cats", result=result),
    }
    return make[noun]()


def address(lab: Lab, noun: str, thing_id: str) -> str:
    return f"/w/{lab.workspace_id}/p/{lab.project_id}/share/{noun}/{thing_id}"


def link_on(page: Page) -> str:
    """The path of the link that a page shows once."""
    (code,) = [one.text for one in page.all("code") if "/share/" in one.text]
    return f"/share/{code.rpartition('/')[2]}"


def assert_no_way_in(page: Page) -> None:
    leads = [one.attributes.get("href", "") for one in page.all("a")]
    assert [href for href in leads if not href.startswith(("#", "?"))] == []
    assert not page.all("nav") and not page.all("form", method="post")
    assert not [one for one in page.elements if "data-island" in one.attributes or "data-stream" in one.attributes]
    reached = [value for one in page.elements for name, value in one.attributes.items() if value.startswith("/")]
    own = tuple(one for one in reached if not one.startswith(("/assets/", "/share/")))
    assert own == ()


@each_noun
def test_an_anonymous_visitor_sees_what_was_shared_and_no_way_on(owner, visit, lab, noun):
    made = owner.send(address(lab, noun, thing(lab, noun).id), {"days": "7", "note": "for the reviewers"})
    path = link_on(Page(made.text))
    stranger = visit()
    answer = stranger.get(path)
    page = Page(answer.text)
    assert answer.status_code == 200 and page.heading
    assert_no_way_in(page)
    assert page.all("meta", name="robots", content="noindex, nofollow")
    assert answer.headers["referrer-policy"] == "no-referrer" and "noindex" in answer.headers["x-robots-tag"]
    assert "no-store" in answer.headers["cache-control"]
    assert "secret name of a dataset" not in answer.text and "for the reviewers" not in answer.text
    assert lab.workspace_id not in answer.text and lab.project_id not in answer.text
    assert owner.get(path).text.count('aria-label="Main"') == 0, "also for a member it is the page of the link"


def test_what_a_link_opened_lets_nobody_go_further(visit, lab):
    """The visitor's browser, after the page: nothing of the workspace, neither as a page nor by REST."""
    model = lab.model()
    stranger = visit()
    path = f"/share/{lab.share('model', model.id)[1]}"
    assert stranger.page(path).heading == model.name
    assert "sessionid" not in stranger.http.cookies
    for page in (f"/w/{lab.workspace_id}", f"/w/{lab.workspace_id}/p/{lab.project_id}/models/{model.id}", "/"):
        assert stranger.get(page).headers["location"].startswith("/sign-in")
    for route in (
        f"{lab.path}/models/{model.id}",
        f"{lab.path}/models",
        "/me",
        f"{lab.path}/models/{model.id}/archive",
    ):
        assert stranger.ask("GET", route).status_code == 401
    secret = path.rpartition("/")[2]
    bearer = {"Authorization": f"Bearer {secret}"}
    assert stranger.ask("GET", f"{lab.path}/models/{model.id}", headers=bearer).status_code == 401


def test_a_version_shows_its_counts_and_pictures_that_stand_in_the_page(visit, lab):
    version = version_of(lab)
    page = visit().page(f"/share/{lab.share('version', version.id)[1]}")
    (picture,) = [one for one in page.all("img") if one.attributes["alt"] == "cat"]
    assert picture.attributes["src"].startswith("data:image/png;base64,")
    assert "1 picture" in page.text and "Training" in page.text


def _revoked(row: Any) -> None:
    row.revoked_at = time.time()


def _expired(row: Any) -> None:
    row.expires_at = time.time() - 1


def _of_a_thing_that_is_gone(row: Any) -> None:
    row.thing_id = "z" * 20


@pytest.mark.parametrize("end", [_revoked, _expired, _of_a_thing_that_is_gone])
def test_a_link_that_opens_nothing_is_the_same_page_as_an_unknown_one(visit, lab, end):
    row, secret = lab.share("model", lab.model().id)
    stranger = visit()
    assert stranger.get(f"/share/{secret}").status_code == 200
    end(row)
    row.save()
    ended, unknown = stranger.get(f"/share/{secret}"), stranger.get("/share/tsl_nothing")
    assert (ended.status_code, unknown.status_code) == (404, 404)
    assert ended.text.replace(secret, "") == unknown.text.replace("tsl_nothing", "")
    assert unknown.headers["referrer-policy"] == "no-referrer"


def test_a_link_is_shown_once_listed_and_revoked(owner, visit, lab):
    where = address(lab, "model", lab.model().id)
    first = owner.page(where)
    (key,) = {one.attributes["value"] for one in first.all("input", name="key")}
    form = {"days": "30", "note": "for Vera", "key": key}
    made = Page(owner.send(where, form).text)
    path = link_on(made)
    assert "not shown again" in made.text
    again = owner.send(where, form)
    assert "was sent already" in again.text, "a reload makes no second link"
    listed = owner.page(where)
    assert "for Vera" in listed.text and path.rpartition("/")[2] not in owner.get(where).text
    (share_id,) = {one.attributes["value"] for one in listed.all("input", name="revoke")}
    assert "for Vera" not in owner.send(where, {"revoke": share_id}).text
    assert visit().get(path).status_code == 404


def test_what_cannot_be_shared_is_not_there(owner, lab):
    assert owner.get(address(lab, "dataset", lab.dataset().id)).status_code == 404
    assert owner.get(address(lab, "model", lab.dataset().id)).status_code == 404


def test_a_viewer_is_offered_no_sharing(owner: Visitor, viewer: Visitor, lab: Lab):
    path = f"/w/{lab.workspace_id}/p/{lab.project_id}/models/{lab.model().id}"
    assert "/share/model/" in owner.get(path).text
    assert "/share/model/" not in viewer.get(path).text
