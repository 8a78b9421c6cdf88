"""Who is in a workspace, how somebody gets in, and the robots that work there."""

from __future__ import annotations

from typing import Literal

from django.http import HttpRequest
from ninja import Status
from pydantic import Field

from trainshed.schemas import InviteView, MemberView, Page, Role, TokenView, WorkspaceView
from trainshed.schemas.frozen import Received
from trainshed.server.api.door import actor, answers, router
from trainshed.server.services import invites, members, tokens

routes = router("members")
_WORKSPACE = "/workspaces/{workspace_id}"
_MEMBER = f"{_WORKSPACE}/members/{{person_id}}"
_INVITE = f"{_WORKSPACE}/invites/{{invite_id}}"


class ChangedMember(Received):
    role: Role


class NewInvite(Received):
    role: Role = "viewer"
    email: str = Field("", max_length=254)
    expires_in_days: float = Field(7, ge=1, le=invites.MOST_DAYS)


class HeldLink(Received):
    """The link of an invite, or the secret at its end."""

    link: str = Field(max_length=2000)


class NewRobot(Received):
    name: str = Field(min_length=1, max_length=200)
    role: Literal["viewer", "editor"] = "viewer"
    scopes: list[str] = Field(default_factory=lambda: ["read", "write", "jobs"])
    expires_in_days: float | None = Field(90, gt=0, le=3650)


@routes.get(f"{_WORKSPACE}/members", response=answers(Page[MemberView]))
def list_members(request: HttpRequest, workspace_id: str):
    """The people in a workspace, the longest member first."""
    return Page(items=members.visible(actor(request), workspace_id))


@routes.patch(_MEMBER, response=answers(MemberView))
def change_member(request: HttpRequest, workspace_id: str, person_id: str, body: ChangedMember):
    """Give a member another role; the last owner keeps theirs."""
    return members.change(actor(request), workspace_id, person_id, body.role)


@routes.delete(_MEMBER, response=answers(None, 204))
def remove_member(request: HttpRequest, workspace_id: str, person_id: str):
    """End a membership, at once; what the person made stays."""
    members.remove(actor(request), workspace_id, person_id)
    return Status(204, None)


@routes.post(f"{_MEMBER}/hand-over", response=answers(MemberView))
def hand_over(request: HttpRequest, workspace_id: str, person_id: str):
    """Make another member the owner in my place; I stay as an editor."""
    return members.hand_over(actor(request), workspace_id, person_id)


@routes.get(f"{_WORKSPACE}/invites", response=answers(Page[InviteView]))
def list_invites(request: HttpRequest, workspace_id: str):
    """Invites that nobody has used yet, without their links."""
    return Page(items=invites.visible(actor(request), workspace_id))


@routes.post(f"{_WORKSPACE}/invites", response=answers(InviteView, 201))
def create_invite(request: HttpRequest, workspace_id: str, body: NewInvite):
    """Make an invite, mailed if it is for one e-mail address; its link is in this answer and never shown again."""
    return Status(201, invites.create(actor(request), workspace_id, **body.model_dump()))


@routes.post(f"{_INVITE}/remind", response=answers(InviteView))
def remind(request: HttpRequest, workspace_id: str, invite_id: str):
    """Mail an invite again, with a new link; the earlier one ends."""
    return invites.remind(actor(request), workspace_id, invite_id)


@routes.delete(_INVITE, response=answers(None, 204))
def revoke_invite(request: HttpRequest, workspace_id: str, invite_id: str):
    """End an invite, at once."""
    invites.revoke(actor(request), workspace_id, invite_id)
    return Status(204, None)


@routes.post("/invites/accept", response=answers(WorkspaceView))
def accept_invite(request: HttpRequest, body: HeldLink):
    """Become a member by an invite's link; it works once."""
    return invites.accept(actor(request), body.link)


@routes.get(f"{_WORKSPACE}/tokens", response=answers(Page[TokenView]))
def list_robots(request: HttpRequest, workspace_id: str):
    """The robots of a workspace, without their secrets."""
    return Page(items=tokens.robots(actor(request), workspace_id))


@routes.post(f"{_WORKSPACE}/tokens", response=answers(TokenView, 201))
def create_robot(request: HttpRequest, workspace_id: str, body: NewRobot):
    """Make a token that speaks for the workspace; its secret is in this answer and never shown again."""
    said = body.model_dump() | {"scopes": tuple(body.scopes)}
    return Status(201, tokens.issue_for_robot(actor(request), workspace_id, **said))


@routes.delete(f"{_WORKSPACE}/tokens/{{token_id}}", response=answers(None, 204))
def revoke_robot(request: HttpRequest, workspace_id: str, token_id: str):
    """End a robot, at once."""
    tokens.revoke_robot(actor(request), workspace_id, token_id)
    return Status(204, None)
