"""A workspace's settings: its name and end, robots, use, and what was done in it. Who is in it: `members.py`."""

from __future__ import annotations

import secrets
from pathlib import PurePath
from typing import Any
from urllib.parse import urlencode

from django.http import HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from trainshed.errors import InvalidInput, TrainshedError
from trainshed.schemas import TokenView, settings
from trainshed.server.services import audit, members, quotas, tokens, workspaces
from trainshed.server.web import usage
from trainshed.server.web.door import Frame, page, workspace_address
from trainshed.server.web.people import require_days, require_first_time

ROBOT_SCOPES = ("read", "write", "jobs")
_ACTS_PER_PAGE = 100
# What an act can be about, as the log's filter names it.
_NOUNS = {
    "member": gettext_lazy("Members"),
    "invite": gettext_lazy("Invites"),
    "token": gettext_lazy("Tokens"),
    "share": gettext_lazy("Shares"),
    "workspace": gettext_lazy("Workspace"),
    "project": gettext_lazy("Projects"),
    "dataset": gettext_lazy("Datasets"),
    "job": gettext_lazy("Jobs"),
    "model": gettext_lazy("Models"),
    "quota": gettext_lazy("Limits"),
}


@page("GET", "POST")
def new(frame: Frame) -> HttpResponse:
    """Make a workspace, or take one back that was deleted."""
    values: dict[str, Any] = {}
    if frame.request.method == "POST":
        try:
            made = workspaces.create(frame.actor, frame.request.POST.get("name", ""))
            return redirect(workspace_address(made))
        except TrainshedError as error:
            values["refusal"] = error
    return frame.show("workspaces/new.html", deleted=workspaces.deleted(frame.actor), **values)


def show_part(frame: Frame, template: str, **values: Any) -> HttpResponse:
    """One of the tabs of a workspace's settings; its name is the template's."""
    return frame.show(template, section="workspace", tab=PurePath(template).stem, **values)


@page("GET")
def general(frame: Frame) -> HttpResponse:
    """What the workspace is called, and the ways out of it."""
    others = [each for each in members.visible(frame.actor, frame.workspace.id) if each.id != frame.me.id]
    return show_part(frame, "workspaces/general.html", others=others)


@page("POST")
def hand_over(frame: Frame) -> HttpResponse:
    members.hand_over(frame.actor, frame.workspace.id, frame.request.POST.get("person", ""))
    return redirect("workspace", workspace_id=frame.workspace.id)


@page("GET", "POST")
def delete(frame: Frame) -> HttpResponse:
    """Nothing that others use goes by one press: its name is written once more."""
    workspaces.get(frame.actor, frame.workspace.id, "own")
    values: dict[str, Any] = {"days": f"{settings.number('TRAINSHED_GRACE_DAYS'):g}"}
    if frame.request.method == "POST":
        try:
            require_name(frame.request.POST.get("name", ""), frame.workspace.name)
            workspaces.delete(frame.actor, frame.workspace.id)
            return redirect("new-workspace")
        except TrainshedError as error:
            values["refusal"] = error
    return show_part(frame, "workspaces/delete.html", **values)


def require_name(written: str, name: str) -> None:
    """Raises `InvalidInput` unless a person has written the name of what is to go, however it is spaced."""
    if written.split() != name.split():
        raise InvalidInput(_("Write the name as it is shown, to say that you mean it."))


@page("GET", "POST")
def robots(frame: Frame) -> HttpResponse:
    """Tokens that speak for the workspace; a new one is shown once."""
    values: dict[str, Any] = {}
    if frame.request.method == "POST":
        try:
            values["made"] = _made_robot(frame)
        except InvalidInput as error:
            values["refusal"] = error
    values |= {"robots": tokens.robots(frame.actor, frame.workspace.id), "scopes": ROBOT_SCOPES}
    shown = show_part(frame, "workspaces/robots.html", key=secrets.token_urlsafe(12), **values)
    shown["Cache-Control"] = "no-store"
    return shown


def _made_robot(frame: Frame) -> TokenView:
    said = frame.request.POST
    if not said.get("name", "").strip():
        raise InvalidInput(_("Say what the robot does."))
    days = require_days(said.get("days", "90"))
    require_first_time(frame.request)
    scopes, role = tuple(said.getlist("scopes")) or ROBOT_SCOPES, said.get("role", "viewer")
    named = {"name": said["name"], "role": role, "scopes": scopes, "expires_in_days": days}
    return tokens.issue_for_robot(frame.actor, frame.workspace.id, **named)


@page("POST")
def revoke_robot(frame: Frame, token_id: str) -> HttpResponse:
    tokens.revoke_robot(frame.actor, frame.workspace.id, token_id)
    return redirect("robots", workspace_id=frame.workspace.id)


@page("GET", "POST")
def use(frame: Frame) -> HttpResponse:
    """How much of each resource is used; who runs the installation sets limits right here."""
    values: dict[str, Any] = {}
    if frame.request.method == "POST":
        try:
            usage.set_limits(frame, frame.workspace.id)
            return redirect("usage", workspace_id=frame.workspace.id)
        except InvalidInput as error:
            values["refusal"] = error
    found = quotas.visible(frame.actor, frame.workspace.id)
    return show_part(frame, "workspaces/usage.html", bars=[usage.bar(quota) for quota in found], **values)


@page("GET")
def acts(frame: Frame) -> HttpResponse:
    """Who did what, the newest first."""
    asked = frame.request.GET
    chosen = {name: asked[name] for name in ("who", "noun") if asked.get(name)}
    found = audit.visible(frame.actor, frame.workspace.id, **chosen, cursor=asked.get("cursor"), limit=_ACTS_PER_PAGE)
    people = {f"person:{each.id}": each.name for each in members.visible(frame.actor, frame.workspace.id)}
    people |= {f"robot:{each.id}": each.name for each in tokens.robots(frame.actor, frame.workspace.id)}
    return show_part(
        frame,
        "workspaces/audit.html",
        page=found,
        chosen=chosen,
        people=people,
        nouns=_NOUNS,
        asked=urlencode(chosen),
        more=urlencode(chosen) + "&" if chosen else "",
    )
