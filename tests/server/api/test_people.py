"""The first owner, signing in, and who am I."""

from __future__ import annotations

import concurrent.futures
import time
from typing import Any

import pytest

from server.api_client import make_person, ok, problem

PASSWORD = "a long enough passphrase"


@pytest.fixture
def code(nobody) -> str:
    """The setup code of a fresh installation."""
    from trainshed.server.services import people

    made = people.new_setup_code()
    assert made is not None
    return made


def _setup(code: str, **changes: Any) -> dict[str, Any]:
    return {"code": code, "name": "Ann", "email": "ann@example.org", "password": PASSWORD, **changes}


def test_the_first_owner_is_administrator_of_a_workspace_with_a_project(nobody, code):
    made = ok(nobody.post("/setup", _setup(code)), 201)
    me = ok(nobody.as_(made["token"]).get("/me"))
    assert (me["name"], me["email"], me["is_administrator"]) == ("Ann", "ann@example.org", True)
    ((workspace,),) = [me["workspaces"]]
    assert workspace["role"] == "owner" and len(workspace["projects"]) == 1


def test_the_setup_code_works_once(nobody, code):
    ok(nobody.post("/setup", _setup(code)), 201)
    problem(nobody.post("/setup", _setup(code, email="eve@example.org")), 404, "not_found", "unknown or used up")


def test_of_many_at_once_one_becomes_the_first_owner(nobody, code):
    from trainshed.server.records.models import Person, Workspace

    bodies = [_setup(code, email=f"p{number}@example.org") for number in range(6)]
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        statuses = sorted(answer.status_code for answer in pool.map(lambda body: nobody.post("/setup", body), bodies))
    assert statuses == [201, 404, 404, 404, 404, 404]
    assert (Person.objects.count(), Workspace.objects.count()) == (1, 1)


@pytest.mark.parametrize(
    "wrong", ["", "tsu_", "tsu_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "' OR 1=1 --", "\u0000", "é"]
)
def test_a_wrong_setup_code_opens_nothing(nobody, code, wrong):
    problem(nobody.post("/setup", _setup(wrong)), 404, "not_found")
    ok(nobody.post("/setup", _setup(code)), 201)


def test_an_expired_setup_code_opens_nothing(nobody, code):
    from trainshed.server.records.models import Token

    Token.objects.filter(kind="setup").update(expires_at=time.time() - 1)
    problem(nobody.post("/setup", _setup(code)), 404, "not_found")


def test_no_setup_code_is_made_once_somebody_has_signed_up(nobody, code):
    from trainshed.server.services import people

    ok(nobody.post("/setup", _setup(code)), 201)
    assert people.new_setup_code() is None


def test_a_new_setup_code_replaces_the_old_one(nobody, code):
    from trainshed.server.services import people

    newer = people.new_setup_code()
    problem(nobody.post("/setup", _setup(code)), 404, "not_found")
    ok(nobody.post("/setup", _setup(newer)), 201)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"password": "short"}, "password"),
        ({"password": "password123"}, "password"),
        ({"password": "ann@example.org"}, "password"),
        ({"password": "x" * 1001}, "password"),
        ({"email": "ann"}, "email"),
        ({"email": ""}, "email"),
        ({"email": "ann@exam ple.org"}, "email"),
        ({"email": f"{'a' * 245}@example.org"}, "email"),
        ({"name": "  "}, "name"),
        ({"name": "n" * 201}, "name"),
        ({"name": None}, "name"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_refused_setup_names_the_field_and_keeps_the_code(nobody, code, changes, field):
    found = problem(nobody.post("/setup", _setup(code, **changes)), 422, "invalid_input")
    assert {error["field"] for error in found["errors"]} == {field}
    ok(nobody.post("/setup", _setup(code)), 201)


def test_every_fault_of_a_setup_is_told_at_once(nobody, code):
    found = problem(nobody.post("/setup", _setup(code, email="x", name="", password="y")), 422, "invalid_input")
    assert {error["field"] for error in found["errors"]} == {"email", "name", "password"}


def _make(**values: Any) -> Any:
    person = make_person(**values)
    person.set_password(PASSWORD)
    person.save()
    return person


def test_the_right_password_gives_a_token_in_any_case_of_the_address(nobody):
    person = _make()
    made = ok(nobody.post("/sign-in", {"email": f" {person.email.upper()} ", "password": PASSWORD}), 201)
    assert ok(nobody.as_(made["token"]).get("/me"))["id"] == person.id


def test_a_wrong_password_an_unknown_and_an_inactive_person_look_the_same(nobody):
    active, inactive, without = _make(), _make(is_active=False), make_person()
    answers = [
        nobody.post("/sign-in", {"email": active.email, "password": "wrong"}),
        nobody.post("/sign-in", {"email": inactive.email, "password": PASSWORD}),
        nobody.post("/sign-in", {"email": "nobody@example.org", "password": PASSWORD}),
        nobody.post("/sign-in", {"email": without.email, "password": ""}),
        nobody.post("/sign-in", {"email": "", "password": PASSWORD}),
        nobody.post("/sign-in", {"email": "a\u0000b", "password": PASSWORD}),
    ]
    for answer in answers:
        problem(answer, 401, "not_signed_in", "wrong")
    assert len({answer.content for answer in answers}) == 1


def test_passwords_are_kept_as_argon2_and_nowhere_in_clear(nobody, code):
    from trainshed.server.records.models import Person

    ok(nobody.post("/setup", _setup(code)), 201)
    stored = Person.objects.get().password
    assert stored.startswith("argon2$argon2id$") and PASSWORD not in stored


def test_me_lists_my_workspaces_and_no_other(nobody, lab, viewer):
    from server.api_client import Lab

    Lab("elsewhere")
    me = ok(viewer.get("/me"))
    assert [(row["id"], row["role"]) for row in me["workspaces"]] == [(lab.workspace_id, "viewer")]
    assert me["is_administrator"] is False
