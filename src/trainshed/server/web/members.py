"""Who is in a workspace, and the invites that are open; and the page behind an invite's link."""

from __future__ import annotations

import secrets
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache

from trainshed.errors import Conflict, Forbidden, InvalidInput, NotFound, NotSignedIn, TooManyRequests
from trainshed.schemas import InviteView
from trainshed.server.services import accounts, invites, members
from trainshed.server.services.actors import Actor
from trainshed.server.web.door import Frame, page, problem, public_page, to_sign_in, visitor, workspace_address
from trainshed.server.web.people import require_days, require_first_time
from trainshed.server.web.workspaces import show_part


@page("GET", "POST")
def overview(frame: Frame) -> HttpResponse:
    """The members; owners see the open invites too, and a new one's link is shown once."""
    values: dict[str, Any] = {}
    if frame.request.method == "POST":
        try:
            values["made"] = _made_invite(frame)
        except (InvalidInput, Conflict, TooManyRequests) as error:
            values["refusal"] = error
    values |= {"members": members.visible(frame.actor, frame.workspace.id), "roles": members.ROLES}
    if frame.may_own:
        values |= {"invites": invites.visible(frame.actor, frame.workspace.id), "key": secrets.token_urlsafe(12)}
    shown = show_part(frame, "workspaces/members.html", **values)
    shown["Cache-Control"] = "no-store"
    return shown


def _made_invite(frame: Frame) -> InviteView:
    """A new invite, or an open one with a new link."""
    said = frame.request.POST
    if said.get("remind"):
        return invites.remind(frame.actor, frame.workspace.id, said["remind"])
    days = require_days(said.get("days", "7"))
    require_first_time(frame.request)
    named = {"role": said.get("role", "viewer"), "email": said.get("email", ""), "expires_in_days": days}
    return invites.create(frame.actor, frame.workspace.id, **named)


@never_cache
@public_page("GET", "POST")
def invite(request: HttpRequest, secret: str) -> HttpResponse:
    """What an invite says, and the way in: to join, or first to sign in or make an account."""
    try:
        values: dict[str, Any] = {"look": invites.look(secret), "actor": _visitor(request)}
        if request.method == "POST":
            if values["actor"] is None:
                return to_sign_in(request)
            return redirect(workspace_address(invites.accept(values["actor"], secret)))
    except NotFound as error:
        return problem(request, error, title=_("This invite opens nothing"))
    except Forbidden as error:
        values["refusal"] = error
    if values["actor"] is None:
        accounts.remember_invite(request, secret)
    return render(request, "invites/invite.html", values, status=403 if "refusal" in values else 200)


def _visitor(request: HttpRequest) -> Actor | None:
    try:
        return visitor(request)
    except NotSignedIn:
        return None
