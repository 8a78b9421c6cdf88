"""Names are data: markup, quotes, length and every script of the world stay text on every page that shows them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from server.api_client import Lab, make_host, make_token
from trainshed.schemas import ClassificationRecipe
from web import visitors
from web.visitors import Page, Visitor

NAMES = {
    "a script": "<script>alert(1)</script>",
    "an attribute": '" onmouseover="alert(1)" x=\'',
    "the end of a script": "</script><img src=x onerror=alert(1)>",
    "a template": "{{ 7|add:7 }}{% now %}${7*7}",
    "long": "w" * 300,
    "long in Chinese": "图" * 300,
    "emoji": "🏳️‍🌈👩🏽‍🚀" * 20,
    "right to left": "\u202eتفاحة\u202c",
    "an ampersand": "Tom &amp; <b>Jerry</b> & \"Co\" 'x'",
}
# Forms without a page of their own, what leads elsewhere, and what an administrator alone sees.
NOT_LOOKED_AT = {"front", "set-up", "let-in", "revoke-token", "revoke-robot", "hand-over", "first-steps"}
NOT_LOOKED_AT |= {"installation"}


def reading(name: str) -> dict[str, Any]:
    gpu = {"index": 0, "name": name, "uuid": name}
    return {"hostname": name, "cpu_count": 2, "gpus": [gpu], "gpu_state": "ok", "gpu_state_words": name}


@pytest.fixture
def hostile(lab: Lab, request: pytest.FixtureRequest) -> dict[str, str]:
    """A workspace with one of everything, all with that name; returns the ids in the pages' addresses."""
    from trainshed.server.records.models import Project, Workspace

    name: str = request.param
    Workspace.objects.filter(id=lab.workspace_id).update(name=name[:200])
    Project.objects.filter(id=lab.project_id).update(name=name[:200], description=name)
    person = lab.person("owner")
    person.name = name[:200]
    person.save()
    make_token(person)
    person.tokens.update(name=name[:200])
    return {"workspace_id": lab.workspace_id, "project_id": lab.project_id, **things(lab, name)}


def things(lab: Lab, name: str) -> dict[str, str]:
    dataset = lab.dataset(name)
    lab.image(dataset, name=f"{name}/a.png", class_name=name[:200])
    version = lab.version(dataset)
    classes = [{"id": "c0", "name": name[:200]}, {"id": "c1", "name": "dog"}]
    version.summary = {**version.summary, "classes": classes, "counts": {"train": {"c0": 1}, "test": {"c1": 1}}}
    version.save()
    model = lab.model(name)
    model.classes, model.version = classes, version
    model.backbone = name[:100]
    model.save()
    reason = {"code": "internal", "message": name, "hint": name}
    spec = {"version_id": version.id, "recipe": ClassificationRecipe().model_dump(), "name": name}
    failed = lab.job("train", "failed", title=name, reason=reason, spec=spec)
    lab.job("import", "queued", title=name, spec={"dataset_id": dataset.id, "upload_id": "u"})
    host, _ = make_host(name[:200])
    host.reading, host.read_at = reading(name[:100]), 1.0
    host.save()
    links = {"invite": lab.invite()[1], "share": lab.share("model", model.id)[1]}
    ids = {"dataset_id": dataset.id, "job_id": failed.id, "model_id": model.id, "noun": "model", "thing_id": model.id}
    return {**ids, **links}


def check(page: Page) -> None:
    """Nothing of a name has become markup."""
    for element in page.elements:
        assert not [name for name in element.attributes if name.startswith("on")], element
        assert "style" not in element.attributes and element.tag not in ("style", "b", "iframe"), element
        if element.tag == "script":
            assert element.attributes.get("type") == "application/json" or element.attributes.get("src"), element
            if "src" not in element.attributes:
                json.loads(element.text)
        if element.tag == "img":
            assert element.attributes.get("src") != "x"
        for name in ("href", "src", "action", "formaction"):
            assert element.attributes.get(name, "/")[:1] in "/#?", element
    assert page.all("body") and len(page.all("h1")) == 1


@pytest.mark.parametrize("hostile", NAMES.values(), ids=NAMES, indirect=True)
def test_a_name_is_text_on_every_page(owner: Visitor, hostile: dict[str, str], request: pytest.FixtureRequest):
    name = NAMES[request.node.callspec.id]
    seen = set()
    for page_name, path in visitors.own_routes():
        if page_name in NOT_LOOKED_AT:
            continue
        page = owner.page(path.format(**hostile, token_id="", secret=hostile.get(page_name, "")))
        check(page)
        if name[:100].strip() in page.text:
            seen.add(page_name)
    assert {"home", "project", "datasets", "dataset", "jobs", "job", "models", "model", "hosts", "settings"} <= seen
    assert {"workspace", "members", "delete-project", "sharing", "move", "share", "invite"} <= seen


def test_what_a_person_typed_comes_back_as_text(visit, lab):
    person = lab.person("owner")
    person.set_password("correct horse battery")
    person.save()
    for name in NAMES.values():
        page = Page(visit().sign_in(f"{name}@example.org", next_=name).text)
        check(page)
        assert page.all("input", name="login")[0].attributes["value"] == f"{name}@example.org".strip()


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_an_address_that_is_not_there_is_told_as_text(visit, name):
    from urllib.parse import quote

    check(visit().page(f"/nowhere/{quote(name)}", 404))
    check(visit().page(f"/setup?code={quote(name)}"))
    check(visit().page(f"/sign-in?next={quote(name)}"))


def test_a_theme_of_nobodys_is_not_taken(visit, database):
    visitor = visit()
    for planted in ("night", "d", '"><b>'):
        visitor.http.cookies.set("theme", planted, domain=visitor.http.base_url.host)
        (html,) = visitor.page("/sign-in").all("html")
        assert html.attributes.get("data-theme", "") in ("", "day", "night"), planted
