"""What every answer tells a browser, whichever door it comes from."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest

from server.api_client import Lab
from trainshed.server.web.templatetags import trainshed as tags
from web.visitors import Visitor

FIXED = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "permissions-policy": "camera=(self), microphone=(), geolocation=()",
}


def policy(answer: httpx.Response) -> dict[str, str]:
    """The content security policy: directive -> sources."""
    (said,) = answer.headers.get_list("content-security-policy")
    return dict(part.strip().split(" ", 1) for part in said.split(";"))


def check_bytes(answer: httpx.Response) -> None:
    """What a person has sent is shown in a sandbox where nothing runs."""
    (said,) = answer.headers.get_list("content-security-policy")
    assert {"default-src 'none'", "sandbox"} <= {part.strip() for part in said.split(";")}
    assert answer.headers["x-content-type-options"] == "nosniff"


def check(answer: httpx.Response) -> None:
    assert {name: answer.headers.get(name) for name in FIXED} == FIXED, answer.headers
    told = policy(answer)
    assert told["default-src"] == told["base-uri"] == told["frame-ancestors"] == "'none'"
    assert told["script-src"] == told["style-src"] == told["connect-src"] == told["form-action"] == "'self'"
    assert not re.search(r"unsafe|\*|https?:", answer.headers["content-security-policy"])


def answers(owner: Visitor, visitor: Visitor, lab: Lab) -> dict[str, httpx.Response]:
    """One answer of each kind that the web process gives."""
    project = f"/w/{lab.workspace_id}/p/{lab.project_id}"
    job = lab.job("train", "succeeded")
    asset = tags.asset("src/main.ts")
    said: dict[str, Any] = {"content": b"zip"}
    return {
        "a page": owner.get("/hosts"),
        "a page of a project": owner.get(project),
        "the sign-in": visitor.get("/sign-in"),
        "a redirect": visitor.get("/"),
        "a form that is refused": visitor.send("/sign-in", {"email": "a@example.org", "password": "wrong"}),
        "a form without its proof": visitor.http.post("/sign-in"),
        "a page that is not there": owner.get("/nowhere"),
        "a thing that is not there": owner.get(f"{project}/jobs/zzz"),
        "a wrong method": visitor.get("/sign-out"),
        "REST": owner.ask("GET", "/me"),
        "a problem of REST": owner.ask("GET", "/workspaces/zzz/stream"),
        "a route that is not there": owner.ask("GET", "/nowhere"),
        "not signed in": visitor.ask("GET", "/me"),
        "a request of another site": owner.ask("POST", f"{lab.path}/uploads", proof="", **said),
        "an upload": owner.ask("POST", f"{lab.path}/uploads", **said),
        "a stream": owner.ask("GET", f"{lab.path}/jobs/{job.id}/stream"),
        "a script": visitor.get(asset),
        "a style sheet": visitor.get(tags.styles("src/main.ts")[0]),
        "an asset that is not there": visitor.get("/assets/nothing.js"),
        "a file of the API's page": visitor.get("/static/ninja/swagger-ui.css"),
        "the API's page": visitor.get("/api/v1/docs"),
    }


def test_every_answer_carries_the_policy_and_the_fixed_headers(owner, visit, lab):
    for kind, answer in answers(owner, visit(), lab).items():
        try:
            check(answer)
        except (AssertionError, ValueError, KeyError) as error:
            pytest.fail(f"{kind} ({answer.status_code}): {error!r}")


def test_what_a_person_sees_is_kept_by_no_shared_cache(owner, lab):
    for path in ("/hosts", f"/w/{lab.workspace_id}", "/settings"):
        told = owner.get(path).headers.get("cache-control", "")
        varies = owner.get(path).headers.get("vary", "").lower()
        assert "no-store" in told or "private" in told or "cookie" in varies, path
    for path in ("/sign-in", "/setup"):
        assert "no-store" in owner.get(path).headers["cache-control"]


def test_an_asset_is_asked_for_once(visit):
    answer = visit().get(tags.asset("src/main.ts"))
    assert answer.status_code == 200 and "immutable" in answer.headers["cache-control"]
    assert answer.headers["content-type"].startswith(("text/javascript", "application/javascript"))


@pytest.mark.parametrize("path", ["/assets/../door.py", "/assets/%2e%2e/door.py", "/assets/..%2fdoor.py", "/assets/"])
def test_assets_are_nothing_but_the_built_files(visit, path):
    assert visit().get(path).status_code == 404


def test_a_picture_that_is_a_page_is_not_shown_as_one(owner, lab):
    """A person of the workspace may upload anything; the browser never runs it here."""
    image = lab.image(lab.dataset(), content=b"<script>alert(1)</script>")
    answer = owner.ask("GET", f"{lab.path}/images/{image.id}/file")
    check_bytes(answer)
    assert "html" not in answer.headers["content-type"]
