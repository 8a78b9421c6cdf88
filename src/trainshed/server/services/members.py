"""Members: who is in a workspace and with which role. How somebody comes in stands in `invites`."""

from __future__ import annotations

import time

from django.db import transaction

from trainshed.errors import Conflict, Forbidden, InvalidInput, NotFound
from trainshed.schemas import MemberView
from trainshed.server.records.models import Invite, Membership, Workspace
from trainshed.server.services import audit, workspaces
from trainshed.server.services.actors import Actor, require_whole_person

ROLES = ("viewer", "editor", "owner")


def visible(actor: Actor, workspace_id: str) -> list[MemberView]:
    """Everybody in the workspace, the longest member first."""
    workspace = workspaces.get(actor, workspace_id)
    rows = Membership.objects.filter(workspace=workspace).select_related("person")
    return [_view(row, actor) for row in rows.order_by("created_at", "id")]


def proved_role(role: str) -> str:
    if role not in ROLES:
        raise InvalidInput(f"The role {role!r} is unknown; it must be one of {list(ROLES)}.")
    return role


@transaction.atomic
def change(actor: Actor, workspace_id: str, person_id: str, role: str) -> MemberView:
    """Give a member another role."""
    members = _held_by_owner(actor, workspace_id)
    row = _member(members, person_id)
    if proved_role(role) != "owner":
        _require_another_owner(members, row)
        _end_invites_of(row)
    before, row.role = row.role, role
    row.save(update_fields=["role"])
    audit.note(actor, "member.change", on=row.person, workspace_id=workspace_id, before=before, after=role)
    return _view(row, actor)


@transaction.atomic
def remove(actor: Actor, workspace_id: str, person_id: str) -> None:
    """End a membership; what the person made stays with the workspace."""
    members = _held_by_owner(actor, workspace_id)
    _end(actor, "member.remove", members, _member(members, person_id))


@transaction.atomic
def leave(actor: Actor, workspace_id: str) -> None:
    """End one's own membership."""
    workspace = workspaces.get(actor, workspace_id)
    person = require_whole_person(actor)
    members = _held(workspace)
    _end(actor, "member.leave", members, _member(members, person.id))


@transaction.atomic
def hand_over(actor: Actor, workspace_id: str, person_id: str) -> MemberView:
    """Make another member the owner in one's own place; one stays as an editor."""
    members = _held_by_owner(actor, workspace_id)
    mine, row = _member(members, actor.id), _member(members, person_id)
    if row.person_id == mine.person_id:
        raise InvalidInput("You own the workspace already.", hint="Name another member.")
    _require_not_personal(mine)
    mine.role, row.role = "editor", "owner"
    for each in (mine, row):
        each.save(update_fields=["role"])
    _end_invites_of(mine)
    audit.note(actor, "member.hand_over", on=row.person, workspace_id=workspace_id)
    return _view(row, actor)


def _held_by_owner(actor: Actor, workspace_id: str) -> dict[str, Membership]:
    """The memberships as they are, held until the transaction ends, for an owner who is one still."""
    members = _held(workspaces.get(actor, workspace_id, "own"))
    if actor.id not in members or members[actor.id].role != "owner":
        raise Forbidden("You own this workspace no more.", hint="Ask an owner of it.")
    return members


def _held(workspace: Workspace) -> dict[str, Membership]:
    """The lock is on the workspace: of two owners who leave at once one comes second, and sees that."""
    Workspace.objects.select_for_update(no_key=True).get(id=workspace.id)
    rows = Membership.objects.filter(workspace=workspace).select_related("person", "workspace")
    return {row.person_id: row for row in rows}


def _member(members: dict[str, Membership], person_id: str) -> Membership:
    if person_id not in members:
        raise NotFound()
    return members[person_id]


def _end(actor: Actor, action: str, members: dict[str, Membership], row: Membership) -> None:
    _require_another_owner(members, row)
    _end_invites_of(row)
    row.delete()
    audit.note(actor, action, on=row.person, workspace_id=row.workspace_id, role=row.role)


def _require_another_owner(members: dict[str, Membership], row: Membership) -> None:
    """Before a member stops being an owner."""
    _require_not_personal(row)
    others = [each for each in members.values() if each.role == "owner" and each is not row]
    if row.role == "owner" and not others:
        raise Conflict(
            f"{row.person.name} is the last owner of {row.workspace.name!r}.",
            hint="Make another member owner first, or delete the workspace.",
        )


def _require_not_personal(row: Membership) -> None:
    if row.workspace.personal_of_id == row.person_id:
        raise Conflict(f"This is the personal workspace of {row.person.name}: they own it as long as they are here.")


def _end_invites_of(row: Membership) -> None:
    """Who owns a workspace no more must not come back by an invite of their own."""
    mine = Invite.objects.filter(workspace=row.workspace, invited_by=row.person, accepted_at=None, revoked_at=None)
    mine.update(revoked_at=time.time())


def _view(row: Membership, actor: Actor) -> MemberView:
    return MemberView(
        id=row.person_id,
        name=row.person.name,
        email=row.person.email if actor.person is not None else None,
        role=row.role,  # type: ignore[arg-type]
        since=row.created_at,
    )
