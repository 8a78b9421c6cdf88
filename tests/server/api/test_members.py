"""Members of a workspace: roles, leaving, handing over; and that an owner is always left."""

from __future__ import annotations

import concurrent.futures
from typing import Any

import pytest

from server.api_client import Caller, Lab, make_token, ok, problem


def _members(caller: Caller, lab: Lab) -> dict[str, Any]:
    return {row["id"]: row for row in ok(caller.get(f"/workspaces/{lab.workspace_id}/members"))["items"]}


def _path(lab: Lab, person: Any) -> str:
    return f"/workspaces/{lab.workspace_id}/members/{person.id}"


def test_everybody_in_a_workspace_sees_who_is_in_it_and_robots_see_no_addresses(nobody, owner, viewer, lab):
    for caller in (owner, viewer):
        told = _members(caller, lab)
        assert {row["role"] for row in told.values()} == {"owner", "viewer"}
        assert {row["email"] for row in told.values()} == {lab.person(role).email for role in ("owner", "viewer")}
    robot = _members(nobody.as_(lab.robot()[1]), lab)
    assert {row["email"] for row in robot.values()} == {None}


def test_a_new_role_counts_from_the_next_request_on(owner, viewer, lab):
    problem(viewer.post(f"{lab.path}/datasets", {"name": "n"}), 403, "forbidden")
    changed = ok(owner.patch(_path(lab, lab.person("viewer")), {"role": "editor"}))
    assert changed["role"] == "editor"
    ok(viewer.post(f"{lab.path}/datasets", {"name": "n"}), 201)


def test_a_removed_member_sees_the_workspace_no_more(owner, viewer, lab):
    ok(owner.delete(_path(lab, lab.person("viewer"))), 204)
    problem(viewer.get(f"{lab.path}/jobs"), 404, "not_found")
    problem(owner.delete(_path(lab, lab.person("viewer"))), 404, "not_found")


def test_the_last_owner_neither_leaves_nor_is_removed_nor_demoted(owner, lab):
    lab.person("editor")
    mine = _path(lab, lab.person("owner"))
    problem(owner.post(f"/workspaces/{lab.workspace_id}/leave"), 409, "conflict", "last owner")
    problem(owner.delete(mine), 409, "conflict", "last owner")
    problem(owner.patch(mine, {"role": "editor"}), 409, "conflict", "last owner")
    assert ok(owner.patch(mine, {"role": "owner"}))["role"] == "owner"
    lab.add_member("owner")
    ok(owner.post(f"/workspaces/{lab.workspace_id}/leave"), 204)
    problem(owner.get(f"{lab.path}/jobs"), 404, "not_found")


def test_ownership_is_handed_over_to_a_member(owner, viewer, lab):
    problem(owner.post(f"{_path(lab, lab.person('owner'))}/hand-over"), 422, "invalid_input")
    ok(owner.post(f"{_path(lab, lab.person('viewer'))}/hand-over"))
    assert [row["role"] for row in _members(owner, lab).values()] == ["editor", "owner"]
    problem(owner.patch(f"/workspaces/{lab.workspace_id}", {"name": "mine"}), 403, "forbidden", "owner")
    ok(viewer.patch(f"/workspaces/{lab.workspace_id}", {"name": "mine"}))


@pytest.mark.parametrize("act", ["leave", "demote", "remove"])
def test_of_owners_who_go_at_once_one_stays(nobody, lab, act):
    """Each round two owners go, or end each other, at the same moment."""
    from trainshed.server.records.models import Membership

    for _ in range(4):
        Membership.objects.filter(workspace_id=lab.workspace_id).delete()
        pair = [lab.add_member("owner") for _ in range(2)]
        callers = [nobody.as_(make_token(person)) for person in pair]

        def go(number: int, pair: list[Any] = pair, callers: list[Caller] = callers) -> int:
            if act == "leave":
                return callers[number].post(f"/workspaces/{lab.workspace_id}/leave").status_code
            if act == "demote":
                return callers[number].patch(_path(lab, pair[1 - number]), {"role": "viewer"}).status_code
            return callers[number].delete(_path(lab, pair[1 - number])).status_code

        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            statuses = sorted(pool.map(go, range(2)))
        assert statuses[0] in (200, 204) and statuses[1] in (403, 404, 409), statuses
        assert Membership.objects.filter(workspace_id=lab.workspace_id, role="owner").count() == 1


def test_whoever_owns_no_more_cannot_come_back_by_an_invite_of_their_own(nobody, owner, lab):
    second = lab.add_member("owner")
    link = ok(owner.post(f"/workspaces/{lab.workspace_id}/invites", {"role": "owner"}), 201)["link"]
    ok(nobody.as_(make_token(second)).delete(_path(lab, lab.person("owner"))), 204)
    problem(owner.post("/invites/accept", {"link": link}), 404, "not_found")


def test_what_is_done_to_members_is_written_down(owner, lab):
    from trainshed.server.records.models import AuditRow

    person = lab.add_member("viewer")
    ok(owner.patch(_path(lab, person), {"role": "editor"}))
    ok(owner.delete(_path(lab, person)), 204)
    rows = list(AuditRow.objects.filter(workspace_id=lab.workspace_id).order_by("id"))
    assert [(row.action, row.thing_id) for row in rows] == [("member.change", person.id), ("member.remove", person.id)]
    assert rows[0].details == {"before": "viewer", "after": "editor"}
    assert rows[0].actor == f"person:{lab.person('owner').id}" and rows[0].token_id
