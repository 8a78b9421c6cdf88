"""What another site makes a browser send is refused, on Django's routes and on the asynchronous ones alike."""

from __future__ import annotations

from typing import Any

import pytest

from server.api_client import Lab, ok, problem
from web.visitors import Page, Visitor

PICTURE: dict[str, Any] = {"content": b"a picture"}
# Each door's route, what is sent there, and what it answers when all is well; no model server runs in these tests.
ROUTES: dict[str, tuple[str, str, dict[str, Any], int]] = {
    "a project, Django": ("POST", "/workspaces/{workspace_id}/projects", {"json": {"name": "new"}}, 201),
    "a new name, Django": ("PATCH", "{project}/models/{model_id}", {"json": {"name": "new"}}, 200),
    "a deletion, Django": ("DELETE", "{project}/models/{model_id}", {}, 204),
    "an upload, Starlette": ("POST", "{project}/uploads?name=a.zip", PICTURE, 201),
    "a prediction, Starlette": ("POST", "{project}/models/{model_id}/predict", PICTURE, 503),
}
FOREIGN_ORIGIN = {"Origin": "https://evil.example"}
FORGED: dict[str, dict[str, Any]] = {
    "without the proof": {"proof": ""},
    "with a wrong proof": {"proof": "x" * 32},
    "with a proof that is no text": {"proof": "é" * 32},
    "from another site": {"headers": FOREIGN_ORIGIN},
    "from a document without an origin": {"headers": {"Origin": "null"}},
    "from another port of this host": {"headers": {"Origin": "http://127.0.0.1:1"}},
    "cross-site": {"headers": {"Sec-Fetch-Site": "cross-site"}},
    "from a sibling": {"headers": {"Sec-Fetch-Site": "same-site"}},
}
route = pytest.mark.parametrize("route", ROUTES.values(), ids=ROUTES)


def _path(template: str, lab: Lab) -> str:
    return template.format(workspace_id=lab.workspace_id, project=lab.path, model_id=lab.model().id)


@route
@pytest.mark.parametrize("forged", FORGED.values(), ids=FORGED)
def test_a_request_that_is_not_from_our_page_is_refused(owner, lab, route, forged):
    method, template, body, _ = route
    if isinstance(forged.get("proof"), str) and not forged["proof"].isascii():
        forged = {"proof": "", "headers": {"X-CSRFToken": forged["proof"].encode()}}
    problem(owner.ask(method, _path(template, lab), **forged, **body), 403, "forbidden")


@route
def test_a_request_of_our_page_is_answered(owner, lab, route):
    method, template, body, success = route
    own = {"Origin": str(owner.http.base_url).rstrip("/"), "Sec-Fetch-Site": "same-origin"}
    for headers in ({}, own):
        assert owner.ask(method, _path(template, lab), headers=headers, **body).status_code == success
        lab.workspace_id, lab.project_id = _place_of(Lab("again"), lab)


def _place_of(fresh: Lab, lab: Lab) -> tuple[str, str]:
    """A place where nothing has been made yet, for the same owner."""
    from trainshed.server.records.models import Membership

    Membership.objects.create(workspace_id=fresh.workspace_id, person=lab.person("owner"), role="owner")
    return fresh.workspace_id, fresh.project_id


@route
def test_a_program_with_a_token_proves_nothing_more(visit, lab, route):
    method, template, body, success = route
    headers = {"Authorization": f"Bearer {lab.token('owner')}", **FOREIGN_ORIGIN, "Sec-Fetch-Site": "cross-site"}
    answer = visit().ask(method, _path(template, lab), proof="", headers=headers, **body)
    assert answer.status_code == success


def test_the_proof_of_another_session_does_not_fit(visit, lab):
    mine, theirs = visit(lab.person("owner")), visit(lab.person("editor"))
    answer = mine.ask("POST", f"{lab.path}/uploads", proof=theirs.http.cookies["csrftoken"], **PICTURE)
    problem(answer, 403, "forbidden")


def test_reading_needs_no_proof(owner, lab):
    ok(owner.ask("GET", "/me", proof=""))
    ok(owner.ask("GET", f"{lab.path}/datasets", proof="", headers=FOREIGN_ORIGIN))


@pytest.mark.parametrize("path", ["/settings", "/sign-out", "/settings/tokens/zzz/revoke", "/sign-in", "/setup"])
@pytest.mark.parametrize("forged", [{}, {"csrfmiddlewaretoken": "x" * 32}], ids=["without proof", "with a wrong proof"])
def test_a_form_that_is_not_from_our_page_is_refused(owner: Visitor, path, forged):
    answer = owner.http.post(path, data={"name": "stolen", "days": "7", **forged})
    assert answer.status_code == 403
    assert Page(answer.text).heading == "That form is not taken"
    assert owner.get("/hosts").status_code == 200, "the session goes on"


def test_a_form_from_another_site_is_refused_even_with_its_proof(owner):
    said = {"name": "stolen", "days": "7", "csrfmiddlewaretoken": owner.http.cookies["csrftoken"]}
    assert owner.http.post("/settings/tokens", data=said, headers=FOREIGN_ORIGIN).status_code == 403
