"""Every page x method x visitor: who sees it, who is sent to sign in, and that nobody learns what others hold.

The table is compared with the addresses of the pages, so a page that is missing here fails.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import pytest

from server import api_client
from server.api_client import Lab
from trainshed.schemas import ClassificationRecipe
from web import visitors
from web.visitors import Page, Visitor

UNKNOWN = "zzzzzzzzzzzzzzzzzzzz"
PROJECT = "/w/{workspace_id}/p/{project_id}"
NOT_SIGNED_IN = ("anonymous", "signed out", "deactivated")
# An administrator of the installation is no member of the workspace.
PERSONS = ("owner", "editor", "viewer", "outsider", "administrator")
ACTORS = (*PERSONS, *NOT_SIGNED_IN)

# What each visitor gets: `None` stands for the page's own success, 302 for the way to sign in.
_SENT_AWAY = dict.fromkeys(NOT_SIGNED_IN, 302)
_STRANGERS = dict.fromkeys(("outsider", "administrator"), 404)
RULES: dict[str, dict[str, int | None]] = {
    "anybody": dict.fromkeys(ACTORS),
    "person": {**_SENT_AWAY, **dict.fromkeys(PERSONS)},
    "read": {**_SENT_AWAY, **dict.fromkeys(PERSONS), **_STRANGERS},
    "work": {**_SENT_AWAY, **dict.fromkeys(PERSONS), "viewer": 403, **_STRANGERS},
    "own": {**_SENT_AWAY, "owner": None, "editor": 403, "viewer": 403, **_STRANGERS},
    "administrator": {**_SENT_AWAY, **dict.fromkeys(PERSONS, 403), "administrator": None},
    # Limits of a workspace: for a member who runs the installation, whom no visitor here is.
    "member and administrator": {**_SENT_AWAY, **dict.fromkeys(PERSONS, 403), **_STRANGERS},
}

Maker = Callable[[Lab, Any], dict[str, str]]


def nothing(lab: Lab, person: Any) -> dict[str, str]:
    return {}


def dataset(lab: Lab, person: Any) -> dict[str, str]:
    row = lab.dataset()
    lab.version(row)
    lab.image(row)
    return {"dataset_id": row.id}


def job(lab: Lab, person: Any) -> dict[str, str]:
    version = lab.version(lab.dataset())
    spec = {"version_id": version.id, "recipe": ClassificationRecipe().model_dump(), "name": "cats"}
    return {"job_id": lab.job("train", "queued", spec=spec).id}


def model(lab: Lab, person: Any) -> dict[str, str]:
    return {"model_id": lab.model().id}


def asking(lab: Lab, person: Any) -> dict[str, str]:
    """What a command line asks stands behind the address."""
    said = {"redirect_uri": "http://127.0.0.1:4000/in", "state": "s" * 16, "challenge": "c" * 43, "name": "laptop"}
    return {"query": urlencode(said)}


def own_token(lab: Lab, person: Any) -> dict[str, str]:
    from trainshed.server.records.models import Token

    who = person or lab.person("owner")
    api_client.make_token(who)
    return {"token_id": Token.objects.filter(person=who).latest("created_at").id}


def robot(lab: Lab, person: Any) -> dict[str, str]:
    return {"token_id": lab.robot()[0].id}


def another_member(lab: Lab, person: Any) -> dict[str, str]:
    return {"person_id": lab.add_member("viewer").id}


def invite(lab: Lab, person: Any) -> dict[str, str]:
    return {"secret": lab.invite()[1]}


def shared(lab: Lab, person: Any) -> dict[str, str]:
    return {"secret": lab.share("model", lab.model().id)[1]}


def shareable(lab: Lab, person: Any) -> dict[str, str]:
    return {"noun": "model", "thing_id": lab.model().id}


def movable(lab: Lab, person: Any) -> dict[str, str]:
    return {**shareable(lab, person), "target_id": lab.add_project(f"target {model(lab, person)}")}


@dataclass(frozen=True)
class Row:
    """One page: its rule, its success, what it shows, and the form that is sent to it, which may name their ids."""

    method: str
    name: str
    rule: str
    success: int = 200
    things: Maker = nothing
    form: tuple[tuple[str, str], ...] = ()


TABLE = [
    Row("GET", "front", "person", 302),
    # An installation that has people leads from its used-up link to the sign-in.
    Row("GET", "set-up", "anybody", 302),
    Row("POST", "set-up", "anybody", 302),
    Row("GET", "let-in", "person", 200, asking),
    Row("POST", "let-in", "person", 200, asking),
    Row("GET", "settings", "person"),
    Row("POST", "settings", "person", 302, form=(("name", "script"),)),
    Row("GET", "delete-account", "person"),
    # Nobody is deleted without having written their address.
    Row("POST", "delete-account", "person"),
    Row("GET", "sign-in-settings", "person"),
    Row("GET", "sessions", "person"),
    Row("POST", "sessions", "person", 302),
    Row("GET", "tokens", "person"),
    Row("POST", "tokens", "person", form=(("name", "script"),)),
    Row("POST", "revoke-token", "person", 302, own_token),
    Row("GET", "hosts", "person"),
    Row("GET", "home", "read"),
    Row("GET", "project", "read"),
    Row("GET", "datasets", "read"),
    Row("GET", "dataset", "read", 200, dataset),
    Row("GET", "jobs", "read"),
    Row("GET", "job", "read", 200, job),
    Row("GET", "models", "read"),
    Row("GET", "model", "read", 200, model),
    Row("GET", "train", "work"),
    Row("POST", "train", "work", 422),
    Row("GET", "delete-project", "work"),
    Row("POST", "delete-project", "work", 302, form=(("name", "project"),)),
    Row("GET", "sharing", "work", 200, shareable),
    Row("POST", "sharing", "work", 200, shareable),
    Row("GET", "move", "work", 200, shareable),
    Row("POST", "move", "work", 302, movable, form=(("to", "{workspace_id}/{target_id}"),)),
    Row("GET", "share", "anybody", 200, shared),
    Row("GET", "new-workspace", "person"),
    Row("POST", "new-workspace", "person", 302, form=(("name", "ours"),)),
    Row("GET", "workspace", "read"),
    Row("GET", "members", "read"),
    Row("POST", "members", "own"),
    Row("GET", "robots", "own"),
    Row("POST", "robots", "own", form=(("name", "script"),)),
    Row("POST", "revoke-robot", "own", 302, robot),
    Row("GET", "usage", "read"),
    Row("POST", "usage", "member and administrator", form=(("running_jobs", "1"),)),
    Row("GET", "audit", "own"),
    Row("POST", "hand-over", "own", 302, another_member, form=(("person", "{person_id}"),)),
    Row("GET", "delete-workspace", "own"),
    Row("POST", "delete-workspace", "own", 302, form=(("name", "lab"),)),
    Row("GET", "invite", "anybody", 200, invite),
    Row("POST", "invite", "person", 302, invite),
    Row("GET", "installation", "administrator"),
    Row("POST", "installation", "administrator", 302),
    Row("POST", "first-steps", "person", 302),
]
_names = [f"{row.method} {row.name}" for row in TABLE]
_with_ids = [row for row in TABLE if row.rule in ("read", "work", "own", "member and administrator")]


def _address(name: str, ids: dict[str, str]) -> str:
    path = dict(visitors.own_routes())[name].format(**ids)
    return f"{path}?{ids['query']}" if "query" in ids else path


def _visitor(actor: str, lab: Lab, visit: Any) -> tuple[Visitor, Any]:
    """Somebody's browser, and the person whose it is."""
    if actor == "anonymous":
        return visit(), None
    is_stranger = actor in ("outsider", "administrator")
    person = Lab("elsewhere").person("owner") if is_stranger else _member(actor, lab)
    if actor == "administrator":
        person.is_administrator = True
        person.save()
    visitor = visit(person)
    if actor == "signed out":
        _end_sessions()
    if actor == "deactivated":
        person.is_active = False
        person.save()
    return visitor, person


def _member(actor: str, lab: Lab) -> Any:
    return lab.person(actor if actor in ("editor", "viewer") else "owner")


def _end_sessions() -> None:
    from trainshed.server.records.sessions import Session

    Session.objects.all().delete()


def _ask(visitor: Visitor, row: Row, address: str, ids: dict[str, str] | None = None) -> Any:
    if row.method == "GET":
        return visitor.get(address)
    return visitor.send(address, {name: value.format(**ids or {}) for name, value in row.form} if ids else None)


def test_every_page_stands_in_this_table(django):
    assert len(set(_names)) == len(_names)
    assert {row.name for row in TABLE} == {name for name, _ in visitors.own_routes()}


@pytest.mark.parametrize("row", TABLE, ids=_names)
def test_each_visitor_gets_what_the_table_says(visit, row, record_property):
    expected = RULES[row.rule]
    assert set(expected) == set(ACTORS)
    got = {}
    for actor in ACTORS:
        lab = Lab()
        visitor, person = _visitor(actor, lab, visit)
        ids = {"workspace_id": lab.workspace_id, "project_id": lab.project_id, **row.things(lab, person)}
        answer = _ask(visitor, row, _address(row.name, ids), ids)
        got[actor] = answer.status_code
        if expected[actor] == 302:
            assert answer.headers["location"].startswith("/sign-in?next=")
        if answer.status_code >= 400:
            assert Page(answer.text).heading
    wanted = {actor: row.success if status is None else status for actor, status in expected.items()}
    record_property("cases", len(got))
    record_property("leaks", len(wanted.items() - got.items()))
    assert got == wanted


@pytest.mark.parametrize("row", _with_ids, ids=[f"{row.method} {row.name}" for row in _with_ids])
def test_a_foreign_and_an_unknown_id_give_the_same_page(visit, row):
    """For each id in the address: one that is nowhere, and one of another workspace."""
    lab, foreign = Lab(), Lab("elsewhere")
    visitor, path = visit(lab.person("owner")), dict(visitors.routes())[row.name]

    def ids_of(where: Lab) -> dict[str, str]:
        return {"workspace_id": where.workspace_id, "project_id": where.project_id, **row.things(where, None)}

    mine, theirs = ids_of(lab), ids_of(foreign)
    other_project = {**mine, "project_id": lab.add_project("other")}
    for name in (name for name in mine if f"{{{name}}}" in path and mine[name] != theirs[name]):
        answers = [_ask(visitor, row, path.format(**{**mine, name: id_}), mine) for id_ in (UNKNOWN, theirs[name])]
        assert [answer.status_code for answer in answers] == [404, 404], name
        unknown, known = map(visitors.lasting, answers)
        assert unknown == known, name
        assert UNKNOWN not in unknown
    if row.things is not nothing and "{project_id}" in path:
        assert visitor.get(path.format(**other_project)).status_code == 404


def test_a_page_that_does_not_exist_says_so_as_a_page(owner, visit):
    for visitor in (owner, visit()):
        page = visitor.page("/nowhere/at/all", 404)
        assert page.heading and page.all("a", href="/")
        assert bool(page.all("nav", aria_label="Main")) == (visitor is owner), "the menu leads on, but no stranger"


@pytest.mark.parametrize(
    ("name", "next_name"), [("cats", "cats 2"), ("cats 2", "cats 3"), ("cats 9", "cats 10"), ("", ""), ("7", "7 2")]
)
def test_a_training_that_is_cloned_comes_with_its_settings_and_a_name_of_its_own(owner, lab, name, next_name):
    recipe = ClassificationRecipe(epochs=17).model_dump()
    version = lab.version(lab.dataset())
    copied = lab.job("train", "succeeded", spec={"version_id": version.id, "recipe": recipe, "name": name})
    page = owner.page(f"/w/{lab.workspace_id}/p/{lab.project_id}/train?clone={copied.id}")
    (given,) = page.all("input", name="name")
    (epochs,) = page.all("input", name="epochs")
    assert (given.attributes["value"], epochs.attributes["value"]) == (next_name, "17")
    (chosen,) = [option for option in page.all("option", value=version.dataset_id) if "selected" in option.attributes]
    assert chosen.text


STOPPED = "It stopped after epoch 3 of 17: the last 6 brought nothing better."
LEFT_OUT = "Fine-tuning was left out: it could not be better on the validation pictures."
EPOCH = {"epoch": 1, "validation_loss": 0.5, "validation_accuracy": 0.8}


@pytest.mark.parametrize(
    ("metrics", "told"),
    [
        ({"stages": {"fine-tuned": {"epoch": 1}}, "history": [EPOCH] * 3}, STOPPED),
        ({"stages": {"fine-tuned": {"epoch": 1}}, "history": [EPOCH] * 17}, ""),
        ({"stages": {"fine-tuned": {"epoch": 17}}, "history": []}, ""),
        ({"stages": {"fine-tuned": None}, "history": [], "validation_accuracy": 1.0}, LEFT_OUT),
        ({"stages": {"fine-tuned": None}, "history": [], "validation_accuracy": None}, ""),
        ({}, ""),
    ],
    ids=[
        "patience",
        "all epochs",
        "no validation split",
        "perfect when frozen",
        "nothing to choose by",
        "a bare result",
    ],
)
def test_a_training_says_why_it_took_fewer_epochs_than_it_was_given(owner, lab, metrics, told):
    recipe = ClassificationRecipe(epochs=17).model_dump()
    spec = {"version_id": lab.version(lab.dataset()).id, "recipe": recipe, "name": "cats"}
    row = lab.job("train", "succeeded", spec=spec, result={"model_id": lab.model().id, "metrics": metrics})
    words = owner.page(f"/w/{lab.workspace_id}/p/{lab.project_id}/jobs/{row.id}").text
    assert "Model ready" in words and told in words
    assert ("It stopped after" in words, "was left out" in words) == (told == STOPPED, told == LEFT_OUT)


def test_a_recipe_is_told_by_the_labels_of_the_form(owner, lab):
    """Not by the names that a program gives its fields."""
    ids = job(lab, None)
    place = f"/w/{lab.workspace_id}/p/{lab.project_id}"
    for path in (f"jobs/{ids['job_id']}", "train?clone=" + ids["job_id"]):
        words = owner.page(f"{place}/{path}").text
        assert "Moving average of the weights" in words and "Mirror" in words
        assert "ema" not in words.casefold().split() and "Flip" not in words


def test_a_wrong_method_is_refused(owner, lab):
    taken = {(row.method, row.name) for row in TABLE}
    thing = {"workspace_id": lab.workspace_id, "project_id": lab.project_id}
    ids = {**thing, **dataset(lab, None), **job(lab, None), **model(lab, None), "token_id": UNKNOWN, "secret": UNKNOWN}
    ids |= shareable(lab, None)
    for name, path in visitors.own_routes():
        for method in {"GET", "POST"} - {method for method, of in taken if of == name}:
            row = Row(method, name, "")
            assert _ask(owner, row, path.format(**ids)).status_code == 405, (method, name)


def test_a_part_of_a_page_that_fails_becomes_a_notice(owner, lab):
    """A script of ours asks for a part of a page: the page stays, and the words appear in its corner."""
    address = _address("job", {"workspace_id": lab.workspace_id, "project_id": lab.project_id, "job_id": UNKNOWN})
    answer = owner.get(address, headers={"HX-Request": "true"})
    assert (answer.status_code, answer.headers["hx-retarget"]) == (200, "#notices")
    assert Page(answer.text).all("div", role="alert") and "<html" not in answer.text


def test_a_part_of_a_page_without_a_session_leads_to_sign_in(visit, lab):
    answer = visit().get("/hosts", headers={"HX-Request": "true"})
    assert answer.headers["hx-redirect"] == "/sign-in?next=%2Fhosts" and not answer.content


def test_a_viewer_is_shown_no_way_to_change_anything(owner, viewer, lab):
    lab.dataset("cats")
    assert owner.page(f"/w/{lab.workspace_id}/p/{lab.project_id}/datasets").all("input", type="file")
    for name in ("home", "project", "datasets"):
        page = viewer.page(_address(name, {"workspace_id": lab.workspace_id, "project_id": lab.project_id}))
        assert not page.all("section", data_island="upload"), name


def test_an_empty_list_says_what_will_be_there(owner, lab):
    for name in ("datasets", "jobs", "models"):
        page = owner.page(_address(name, {"workspace_id": lab.workspace_id, "project_id": lab.project_id}))
        assert page.heading and len(page.all("h1")) == 1


@pytest.mark.parametrize("name", ["datasets", "jobs", "models"])
def test_a_long_list_leads_on_to_its_end(owner, lab, name):
    make = {"datasets": lab.dataset, "jobs": lambda title: lab.job(title=title), "models": lab.model}[name]
    words = [f"thing number {number:02d}" for number in range(53)]
    for one in words:
        make(one)
    address = _address(name, {"workspace_id": lab.workspace_id, "project_id": lab.project_id})
    first = owner.page(address)
    (more,) = [link for link in first.all("a") if "cursor=" in link.attributes.get("href", "")]
    second = owner.page(address + more.attributes["href"])
    seen = [word for page in (first, second) for word in words if word in page.text]
    assert sorted(seen) == words
    assert not [link for link in second.all("a") if "cursor=" in link.attributes.get("href", "")]


@pytest.mark.parametrize("query", ["?cursor=rubbish", "?cursor=%00", "?state=nonsense", "?class=zzz", "?kind='"])
@pytest.mark.parametrize("name", ["datasets", "jobs", "models", "dataset"])
def test_a_wrong_question_is_answered_by_a_page(owner, lab, name, query):
    ids = {"workspace_id": lab.workspace_id, "project_id": lab.project_id, **dataset(lab, None)}
    answer = owner.get(_address(name, ids) + query)
    assert answer.status_code in (200, 404, 422), answer.status_code
    assert Page(answer.text).heading
