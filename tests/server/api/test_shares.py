"""Shares: a link opens one thing to read, and nothing else."""

from __future__ import annotations

import time
from typing import Any

import pytest

from server.api_client import Lab, ok, problem
from trainshed.errors import Forbidden, NotFound, TrainshedError


def _thing(lab: Lab, noun: str) -> Any:
    make = {
        "model": lab.model,
        "version": lambda: lab.version(lab.dataset()),
        "job": lambda: lab.job("train", "succeeded"),
    }
    return make[noun]()


def _shared(editor: Any, lab: Lab, noun: str, thing_id: str, **said: Any) -> Any:
    return ok(editor.post(f"{lab.path}/shares", {"noun": noun, "thing_id": thing_id, **said}), 201)


def _secret(made: Any) -> str:
    return str(made["link"].rpartition("/")[2])


@pytest.mark.parametrize("noun", ["model", "version", "job"])
def test_a_link_opens_its_one_thing_and_nothing_else(editor, lab, noun):
    """Every gate of every noun, and every list, with the actor of the link."""
    from trainshed.server.services import (
        datasets,
        jobs,
        members,
        models,
        projects,
        shares,
        uploads,
        versions,
        workspaces,
    )
    from trainshed.server.services.actors import Place

    thing, place = _thing(lab, noun), Place(lab.workspace_id, lab.project_id)
    dataset = lab.dataset()
    others = {"model": lab.model("other"), "version": lab.version(dataset), "job": lab.job("train", "succeeded")}
    image, upload = lab.image(dataset), lab.upload()
    actor, told = shares.open(_secret(_shared(editor, lab, noun, thing.id)))
    gates = {"model": models.get, "version": versions.get, "job": jobs.get}
    assert (told.noun, told.thing_id, told.link) == (noun, thing.id, None)
    assert gates[noun](actor, thing.id, within=place).id == thing.id
    newest: dict[str, Any] = {"cursor": None, "limit": 5}
    refused = [
        *(lambda gate=gate, row=others[name]: gate(actor, row.id, within=place) for name, gate in gates.items()),
        lambda: datasets.get(actor, dataset.id),
        lambda: datasets.open_image(actor, image.id, place, thumbnail=True),
        lambda: uploads.get(actor, upload.id),
        lambda: workspaces.get(actor, lab.workspace_id),
        lambda: workspaces.show(actor, lab.workspace_id),
        lambda: workspaces.get_project(actor, place),
        lambda: projects.visible(actor, lab.workspace_id),
        lambda: members.visible(actor, lab.workspace_id),
        lambda: datasets.visible(actor, place, **newest),
        lambda: models.visible(actor, place, **newest),
        lambda: jobs.visible(actor, place, state=None, kind=None, **newest),
        lambda: shares.visible(actor, place),
        lambda: datasets.create(actor, place, name="n", task="classification"),
    ]
    for attempt in refused:
        with pytest.raises(NotFound) as caught:
            attempt()
        assert caught.value.message == NotFound().message
    assert workspaces.visible(actor) == []
    with pytest.raises(Forbidden):
        gates[noun](actor, thing.id, need="work", within=place)
    with pytest.raises(Forbidden):
        gates[noun](actor, thing.id, need="ask", within=place)
    assert not actor.may(lab.workspace_id, "read")


def test_a_link_is_no_token(nobody, editor, lab):
    made = _shared(editor, lab, "model", lab.model().id)
    problem(nobody.as_(_secret(made)).get("/workspaces"), 401, "not_signed_in")


def test_a_revoked_an_expired_a_moved_and_an_unknown_link_open_nothing(editor, owner, lab):
    from trainshed.server.records.models import Share
    from trainshed.server.services import shares

    secrets = {
        name: _secret(_shared(editor, lab, "model", lab.model(name).id)) for name in ("moved", "expired", "deleted")
    }
    rows = {row.id: row for row in Share.objects.order_by("created_at")}
    moved, expired, deleted = rows.values()
    kept = _shared(editor, lab, "model", lab.model("revoked").id, note="for Ada", expires_in_days=2)
    assert abs(kept["expires_at"] - time.time() - 2 * 86400) < 60
    assert shares.open(_secret(kept))[1].note == "for Ada"
    ok(editor.delete(f"{lab.path}/shares/{kept['id']}"), 204)
    problem(editor.delete(f"{lab.path}/shares/{kept['id']}"), 404, "not_found")
    target = {"workspace_id": lab.workspace_id, "project_id": lab.add_project("second")}
    ok(editor.post(f"{lab.path}/models/{moved.thing_id}/move", target))
    Share.objects.filter(id=expired.id).update(expires_at=time.time() - 0.001)
    ok(editor.delete(f"{lab.path}/models/{deleted.thing_id}"), 204)
    for secret in (_secret(kept), *secrets.values(), "tsl_unknown", ""):
        with pytest.raises(TrainshedError) as caught:
            shares.open(secret)
        assert caught.value.status == 404
    assert [row["id"] for row in ok(editor.get(f"{lab.path}/shares"))["items"]] == [deleted.id, moved.id]
    still = _shared(editor, lab, "job", lab.job("train", "succeeded").id)
    shares.open(_secret(still))
    ok(owner.delete(f"/workspaces/{lab.workspace_id}"), 204)
    with pytest.raises(NotFound):
        shares.open(_secret(still))


def test_a_link_is_shown_once_and_says_when_it_was_used(editor, lab):
    from trainshed.server.records.models import Share
    from trainshed.server.services import shares

    made = _shared(editor, lab, "model", lab.model().id)
    (listed,) = ok(editor.get(f"{lab.path}/shares"))["items"]
    assert (listed["link"], listed["last_used_at"]) == (None, None)
    assert _secret(made) not in str(Share.objects.values())
    shares.open(_secret(made))
    (listed,) = ok(editor.get(f"{lab.path}/shares?thing_id={made['thing_id']}"))["items"]
    assert abs(listed["last_used_at"] - time.time()) < 30


@pytest.mark.parametrize(
    "said", [{"noun": "dataset"}, {"expires_in_days": 0}, {"expires_in_days": 366}, {"note": "n" * 201}], ids=str
)
def test_a_refused_share_names_the_field(editor, lab, said):
    (field,) = said
    body = {"noun": "model", "thing_id": lab.model().id, **said}
    found = problem(editor.post(f"{lab.path}/shares", body), 422, "invalid_input")
    assert [error["field"] for error in found["errors"]] == [field]


def test_only_what_is_there_can_be_shared(editor, lab):
    foreign = Lab("elsewhere").model()
    for thing_id in (foreign.id, "zzzzzzzzzzzzzzzzzzzz", lab.dataset().id):
        problem(editor.post(f"{lab.path}/shares", {"noun": "model", "thing_id": thing_id}), 404, "not_found")
