"""Personal access tokens: scoped, hashed, expiring, shown once, revoked at once."""

from __future__ import annotations

import hashlib
import time
from typing import Any

import pytest

from server.api_client import SCOPES, ok, problem


def _new(**changes: Any) -> dict[str, Any]:
    return {"name": "laptop", "scopes": ["read", "write"], **changes}


def test_a_token_is_shown_once_and_kept_as_a_hash(owner):
    from trainshed.server.records.models import Token

    made = ok(owner.post("/tokens", _new()), 201)
    assert made["token"].startswith("tsp_") and len(made["token"]) >= 40
    listed = {row["id"]: row for row in ok(owner.get("/tokens"))["items"]}
    assert listed[made["id"]]["token"] is None and listed[made["id"]]["scopes"] == ["read", "write"]
    row = Token.objects.get(id=made["id"])
    assert row.sha256 == hashlib.sha256(made["token"].encode()).hexdigest()
    assert made["token"] not in str(Token.objects.values())


def test_a_dump_of_the_database_holds_no_usable_token(owner):
    """Neither the row's id nor its hash signs anybody in."""
    from trainshed.server.records.models import Token

    ok(owner.post("/tokens", _new()), 201)
    for row in Token.objects.all():
        for secret in (row.id, row.sha256, f"tsp_{row.sha256}"):
            problem(owner.as_(secret).get("/me"), 401, "not_signed_in")


def test_a_revoked_token_stops_at_once(owner):
    made = ok(owner.post("/tokens", _new()), 201)
    mine = owner.as_(made["token"])
    ok(mine.get("/me"))
    ok(owner.delete(f"/tokens/{made['id']}"), 204)
    problem(mine.get("/me"), 401, "not_signed_in")
    assert made["id"] not in {row["id"] for row in ok(owner.get("/tokens"))["items"]}
    problem(owner.delete(f"/tokens/{made['id']}"), 404, "not_found")


def test_a_token_may_revoke_itself(owner):
    made = ok(owner.post("/tokens", _new()), 201)
    mine = owner.as_(made["token"])
    ok(mine.delete(f"/tokens/{made['id']}"), 204)
    problem(mine.get("/me"), 401, "not_signed_in")


@pytest.mark.parametrize("more", [scope for scope in SCOPES if scope not in ("read", "write")])
def test_a_token_never_gives_a_scope_that_it_lacks(owner, lab, more):
    limited = owner.as_(lab.token("owner", scopes=("read", "write")))
    problem(limited.post("/tokens", _new(scopes=["read", more])), 422, "invalid_input", more)
    ok(limited.post("/tokens", _new(scopes=["read"])), 201)


def test_a_scope_does_not_lift_a_role(owner, lab):
    """An administrator's scope on a viewer's token is still a viewer."""
    caller = owner.as_(lab.token("viewer", scopes=SCOPES))
    problem(caller.post(f"{lab.path}/datasets", {"name": "n"}), 403, "forbidden", "editor")


def test_a_token_without_the_scope_read_reads_nothing(owner, lab):
    caller = owner.as_(lab.token("owner", scopes=("write",)))
    problem(caller.get(f"{lab.path}/datasets"), 403, "forbidden", "read")
    problem(caller.get(f"/workspaces/{lab.workspace_id}/stream"), 403, "forbidden", "read")
    assert ok(caller.get("/workspaces"))["items"] == []


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"scopes": ["everything"]}, None),
        ({"scopes": []}, None),
        ({"scopes": "read"}, "scopes"),
        ({"name": ""}, "name"),
        ({"name": "n" * 201}, "name"),
        ({"expires_in_days": 0}, "expires_in_days"),
        ({"expires_in_days": -1}, "expires_in_days"),
        ({"expires_in_days": 4000}, "expires_in_days"),
        ({"expires_in_days": "soon"}, "expires_in_days"),
    ],
    ids=str,
)
def test_a_refused_token_names_the_field(owner, changes, field):
    before = len(ok(owner.get("/tokens"))["items"])
    found = problem(owner.post("/tokens", _new(**changes)), 422, "invalid_input")
    assert [error["field"] for error in found["errors"]] == ([field] if field else [])
    assert len(ok(owner.get("/tokens"))["items"]) == before


def test_a_token_ends_when_it_said_it_would(owner):
    from trainshed.server.records.models import Token

    made = ok(owner.post("/tokens", _new(expires_in_days=2)), 201)
    assert abs(made["expires_at"] - time.time() - 2 * 86400) < 60
    mine = owner.as_(made["token"])
    ok(mine.get("/me"))
    Token.objects.filter(id=made["id"]).update(expires_at=time.time() - 0.001)
    problem(mine.get("/me"), 401, "not_signed_in")


def test_the_last_use_of_a_token_is_told(owner):
    made = ok(owner.post("/tokens", _new()), 201)
    assert made["last_used_at"] is None
    ok(owner.as_(made["token"]).get("/me"))
    (row,) = [row for row in ok(owner.get("/tokens"))["items"] if row["id"] == made["id"]]
    assert abs(row["last_used_at"] - time.time()) < 30


def test_nobody_sees_another_persons_tokens(owner, viewer):
    made = ok(owner.post("/tokens", _new()), 201)
    assert made["id"] not in {row["id"] for row in ok(viewer.get("/tokens"))["items"]}


def test_two_tokens_are_never_alike(owner):
    assert len({ok(owner.post("/tokens", _new()), 201)["token"] for _ in range(20)}) == 20


# What each scope opens. Everything that a person may is asked of a token with that scope alone.


@pytest.mark.parametrize(
    ("scope", "opens"),
    [
        ("read", {"look"}),
        ("jobs", {"ask", "queue", "steer"}),
        ("write", {"change"}),
        ("admin", {"manage"}),
    ],
)
def test_a_scope_opens_what_its_name_says_and_nothing_else(owner, lab, scope, opens):
    caller = owner.as_(lab.token("owner", scopes=(scope,)))
    dataset, model, job = lab.dataset(), lab.model(), lab.job()
    asked = {
        "look": lambda: caller.get(f"{lab.path}/datasets/{dataset.id}"),
        "ask": lambda: caller("POST", f"{lab.path}/models/{model.id}/predict", content=b"a picture"),
        "queue": lambda: caller.post(f"{lab.path}/datasets/{dataset.id}/versions", {}),
        "steer": lambda: caller.post(f"{lab.path}/jobs/{job.id}/cancel"),
        "change": lambda: caller.patch(f"{lab.path}/datasets/{dataset.id}", {"name": "renamed"}),
        "manage": lambda: caller.patch(f"/workspaces/{lab.workspace_id}", {"name": "renamed"}),
    }
    statuses = {name: ask().status_code for name, ask in asked.items()}
    assert {name for name, status in statuses.items() if status != 403} == opens, statuses


# Robots


def _robot(owner: Any, lab: Any, **said: Any) -> Any:
    return ok(owner.post(f"/workspaces/{lab.workspace_id}/tokens", {"name": "nightly", **said}), 201)


def test_a_robot_works_in_its_workspace_whoever_comes_and_goes(owner, lab):
    from trainshed.server.records.models import Membership

    made = _robot(owner, lab, role="editor")
    robot = owner.as_(made["token"])
    assert made["token"].startswith(made["beginning"]) and made["token"].startswith("tsr_")
    assert len(made["beginning"]) == 8
    assert [row["id"] for row in ok(robot.get("/workspaces"))["items"]] == [lab.workspace_id]
    Membership.objects.filter(workspace_id=lab.workspace_id).delete()
    ok(robot.post(f"{lab.path}/datasets", {"name": "n"}), 201)
    problem(robot.get("/me"), 403, "forbidden", "person")


def test_a_robot_makes_neither_tokens_nor_invites_and_manages_nothing(owner, lab):
    robot = owner.as_(_robot(owner, lab, role="editor")["token"])
    for path in ("/tokens", f"/workspaces/{lab.workspace_id}/tokens", f"/workspaces/{lab.workspace_id}/invites"):
        problem(robot.post(path, {"name": "n"}), 403, "forbidden")
        problem(robot.get(path), 403, "forbidden")


@pytest.mark.parametrize("said", [{"role": "owner"}, {"scopes": ["admin"]}, {"scopes": []}, {"name": ""}], ids=str)
def test_a_robot_is_never_an_owner(owner, lab, said):
    path = f"/workspaces/{lab.workspace_id}/tokens"
    problem(owner.post(path, {"name": "nightly", **said}), 422, "invalid_input")
    assert ok(owner.get(path))["items"] == []


def test_a_robot_has_the_role_that_it_was_given(owner, lab):
    robot = owner.as_(_robot(owner, lab)["token"])
    ok(robot.get(f"{lab.path}/datasets"))
    problem(robot.post(f"{lab.path}/datasets", {"name": "n"}), 403, "forbidden", "editor")


def test_a_revoked_robot_stops_at_once_and_another_workspaces_is_not_there(owner, lab):
    from server.api_client import Lab

    made = _robot(owner, lab)
    robot = owner.as_(made["token"])
    ok(robot.get(f"{lab.path}/datasets"))
    foreign = Lab("elsewhere").robot()[0]
    problem(owner.delete(f"/workspaces/{lab.workspace_id}/tokens/{foreign.id}"), 404, "not_found")
    ok(owner.delete(f"/workspaces/{lab.workspace_id}/tokens/{made['id']}"), 204)
    problem(robot.get(f"{lab.path}/datasets"), 401, "not_signed_in")
    assert ok(owner.get(f"/workspaces/{lab.workspace_id}/tokens"))["items"] == []
    assert made["id"] not in {row["id"] for row in ok(owner.get("/tokens"))["items"]}
