"""The audit log: every act of a person or robot stands in it, nobody changes it, and its table is safe to open."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest

from server import test_routes
from server.api_client import Lab, make_person, make_token, ok, problem
from server.test_routes import RULES, TABLE, Row, Scene

# What succeeds and changes nothing that lasts, or is written down under another name than the asking actor's.
UNTOLD = {
    "POST /setup": "the first owner is made by a code, and by nobody who could be named",
    "POST /sign-in": "nobody acts yet; the token that it makes is told in its person's name",
    "POST /login-codes": "nobody acts yet; the token that it makes is told in its person's name",
}


def _acts(row: Row) -> bool:
    """Whether the route is one by which a person or robot changes something."""
    rule = RULES[row.rule]
    may = [actor for actor in ("owner", "administrator", "robot") if rule[actor] is None]
    changes = row.method != "GET" and row.success < 400
    return changes and bool(may) and f"{row.method} {row.path}" not in UNTOLD


_ACTS = [row for row in TABLE if _acts(row)]
# Where a person was is blanked when they go.
_LEAVES = next(row for row in TABLE if (row.method, row.path) == ("DELETE", "/me"))


def _rows(label: str) -> list[Any]:
    from trainshed.server.records.models import AuditRow

    return list(AuditRow.objects.filter(actor=label).order_by("id"))


@pytest.mark.parametrize("row", _ACTS, ids=[f"{row.method} {row.path}" for row in _ACTS])
def test_every_act_is_written_down_with_who_did_it_and_by_which_token(nobody, row):
    from trainshed.server.services.actors import authenticate

    for actor in ("owner", "robot", "administrator"):
        if RULES[row.rule][actor] is not None:
            continue
        scene = Scene(Lab(), actor)
        scene.token = test_routes._token(actor, scene.lab, row.kind)
        ids, body = {**scene.ids, **row.things(scene)}, row.body(scene)
        who = authenticate(f"Bearer {scene.token}")
        assert _rows(who.label) == []
        answer = test_routes._ask(nobody.as_(scene.token), row, ids, body)
        assert answer.status_code == row.success, answer.text
        told = _rows(who.label)
        assert told, f"{actor} did it untold"
        for one in told:
            assert (one.token_id, one.address) == (who.token_id, "" if row is _LEAVES else "127.0.0.1"), one.action
            assert one.action.startswith(f"{one.noun}.")
            secrets = [scene.token, answer.json().get("token") if answer.content else None]
            assert not any(secret and secret[8:] in str(vars(one)) for secret in secrets)


def test_what_is_refused_is_not_written_down_as_done(viewer, lab):
    from trainshed.server.services.actors import authenticate

    problem(viewer.post(f"{lab.path}/datasets", {"name": "mine"}), 403, "forbidden")
    assert _rows(authenticate(f"Bearer {viewer.token}").label) == []


# Who reads it


@pytest.fixture
def told(owner, lab):
    """Three acts of the owner's, and one of an editor's."""
    path = f"{lab.path}/datasets"
    first = ok(owner.post(path, {"name": "birds"}), 201)
    ok(owner.patch(f"{path}/{first['id']}", {"name": "owls"}))
    ok(owner.delete(f"{path}/{first['id']}"), 204)
    ok(owner.as_(lab.token("editor")).post(path, {"name": "cats"}), 201)
    return f"/workspaces/{lab.workspace_id}/audit"


def test_an_owner_reads_what_was_done_the_newest_first(owner, lab, told):
    items = ok(owner.get(told))["items"]
    assert [one["action"] for one in items] == ["dataset.create", "dataset.delete", "dataset.rename", "dataset.create"]
    renamed, person = items[2], lab.person("owner")
    assert (renamed["actor"], renamed["actor_name"]) == (f"person:{person.id}", person.name)
    assert (renamed["noun"], renamed["thing_name"], renamed["details"]) == ("dataset", "owls", {"before": "birds"})
    assert renamed["address"] == "127.0.0.1" and renamed["token_id"] and renamed["workspace_id"] == lab.workspace_id


@pytest.mark.parametrize(
    ("query", "num"),
    [
        ("?action=dataset.create", 2),
        ("?noun=dataset", 4),
        ("?noun=model", 0),
        ("?who=person:{editor}", 1),
        ("?who=person:{owner}&action=dataset.create", 1),
        ("?who=person:nobody", 0),
    ],
)
def test_filters_choose_what_is_shown_and_what_is_exported(owner, lab, told, query, num):
    query = query.format(owner=lab.person("owner").id, editor=lab.person("editor").id)
    assert len(ok(owner.get(f"{told}{query}"))["items"]) == num
    assert len(_table(owner.get(f"{told}.csv{query}"))) == num + 1


def test_pages_lead_on_to_the_first_act_and_miss_none_that_is_added_meanwhile(owner, lab, told):
    seen, cursor = [], ""
    while cursor is not None:
        page = ok(owner.get(f"{told}?limit=1{f'&cursor={cursor}' if cursor else ''}"))
        seen += [one["id"] for one in page["items"]]
        ok(owner.post(f"{lab.path}/datasets", {"name": f"more {len(seen)}"}), 201)
        cursor = page["next_cursor"]
    assert len(seen) == 4 and seen == sorted(seen, reverse=True)
    for wrong in ("x", "-1", "9" * 30, "²"):
        problem(owner.get(f"{told}?cursor={wrong}"), 422, "invalid_input")


def test_a_workspace_tells_only_of_itself(owner, lab, told):
    other = Lab("other")
    ok(owner.as_(other.token("owner")).post(f"{other.path}/datasets", {"name": "theirs"}), 201)
    assert {one["workspace_id"] for one in ok(owner.get(told))["items"]} == {lab.workspace_id}
    assert "theirs" not in owner.get(f"{told}.csv").text


def test_only_an_administrator_reads_what_was_done_everywhere(owner, told):
    other = Lab("other")
    ok(owner.as_(other.token("owner")).post(f"{other.path}/datasets", {"name": "theirs"}), 201)
    problem(owner.get("/audit"), 403, "forbidden")
    boss = owner.as_(make_token(make_person(is_administrator=True)))
    problem(boss.get(told), 404, "not_found")
    assert {"theirs", "cats"} <= {one["thing_name"] for one in ok(boss.get("/audit?noun=dataset"))["items"]}
    unscoped = owner.as_(make_token(make_person(is_administrator=True), scopes=("read", "write", "jobs")))
    problem(unscoped.get("/audit"), 403, "forbidden")


# The table


def _table(answer: Any) -> list[list[str]]:
    assert answer.status_code == 200 and answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert "attachment" in answer.headers["content-disposition"]
    return list(csv.reader(io.StringIO(answer.text)))


@pytest.mark.parametrize("begins", ["=", "+", "-", "@", "＝", "＋", "－", "＠"])
def test_no_cell_of_the_table_is_a_formula(owner, lab, begins):
    name = f'{begins}cmd|" /C calc"!A0, "x"'
    ok(owner.post(f"{lab.path}/datasets", {"name": name}), 201)
    _, (*_, what, _address, _token, _details) = _table(owner.get(f"/workspaces/{lab.workspace_id}/audit.csv"))
    assert what == f"'{name}"


def test_control_characters_before_a_formula_do_not_help_it(database):
    from trainshed.server.services import audit

    for begins in ("\t=1", "\r=1", "\n=1", "\0=1"):
        assert audit._csv([(begins,)]).startswith("\"'")


def test_a_long_log_is_exported_whole_and_in_order(owner, lab, monkeypatch):
    from trainshed.server.services import audit

    monkeypatch.setattr(audit, "_PER_READ", 3)
    for number in range(8):
        ok(owner.post(f"{lab.path}/datasets", {"name": f"set {number}"}), 201)
    header, *lines = _table(owner.get(f"/workspaces/{lab.workspace_id}/audit.csv"))
    assert header == ["time", "actor", "name", "action", "id", "what", "address", "token", "details"]
    assert [line[5] for line in lines] == [f"set {number}" for number in range(7, -1, -1)]


# Nobody changes it


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM audit",
        "UPDATE audit SET action = 'nothing.happened'",
        "UPDATE audit SET actor = 'person:another'",
        "UPDATE audit SET workspace_id = NULL",
        "UPDATE audit SET thing_name = ''",
        "UPDATE audit SET details = '{}'",
        "UPDATE audit SET at = 0",
        "UPDATE audit SET address = '10.0.0.1'",
        "UPDATE audit SET address = '', action = 'nothing.happened'",
        "UPDATE audit SET id = id + 1000000",
    ],
)
def test_the_database_itself_keeps_every_row_as_it_is(owner, lab, statement):
    from django.db import DatabaseError, connection, transaction

    dataset = ok(owner.post(f"{lab.path}/datasets", {"name": "birds"}), 201)
    ok(owner.patch(f"{lab.path}/datasets/{dataset['id']}", {"name": "owls"}))
    where = f" WHERE workspace_id = '{lab.workspace_id}'"
    before = owner.get(f"/workspaces/{lab.workspace_id}/audit").json()
    with pytest.raises(DatabaseError, match="keeps its rows"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement + where)
    assert owner.get(f"/workspaces/{lab.workspace_id}/audit").json() == before


def test_of_a_person_who_has_gone_only_the_address_is_blanked(owner, lab):
    from trainshed.server.records.models import AuditRow

    ok(owner.post(f"{lab.path}/datasets", {"name": "birds"}), 201)
    AuditRow.objects.filter(workspace_id=lab.workspace_id).update(address="")
    (row,) = ok(owner.get(f"/workspaces/{lab.workspace_id}/audit"))["items"]
    assert (row["address"], row["thing_name"]) == ("", "birds")
