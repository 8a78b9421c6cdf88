"""The installation, for those who run it: its people, and what its workspaces use. The owner's first steps."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from django.shortcuts import redirect

from trainshed.errors import Conflict, InvalidInput
from trainshed.server.services import accounts, invites, members, people, quotas
from trainshed.server.web import usage
from trainshed.server.web.door import Frame, page

_STEPS_COOKIE = "first-steps"
_YEAR_SECONDS = 365 * 86400


@page("GET", "POST")
def overview(frame: Frame) -> HttpResponse:
    values: dict[str, Any] = {"people": people.everybody(frame.actor)}
    if frame.request.method == "POST":
        try:
            _change(frame)
            return redirect("installation")
        except (Conflict, InvalidInput) as error:
            values["refusal"] = error
    used = [
        {"workspace": each, "bars": [usage.bar(quota) for quota in each.quotas]}
        for each in quotas.everywhere(frame.actor)
        if not each.is_shelf
    ]
    return frame.show("installation/installation.html", section="installation", workspaces=used, **values)


def _change(frame: Frame) -> None:
    """What one of the page's forms asks for: limits of a workspace, or a switch of a person."""
    said = frame.request.POST
    if said.get("workspace"):
        usage.set_limits(frame, said["workspace"])
    elif said.get("person"):
        switched = {name: said[name] == "on" for name in ("is_active", "is_administrator") if name in said}
        people.switch(frame.actor, said["person"], **switched)


def first_steps(frame: Frame, *, has_pictures: bool) -> list[dict[str, Any]]:
    """What an owner does first, each with whether it is done; nothing once all of it is, or was put away."""
    is_theirs = frame.me.is_administrator and frame.may_own and not frame.workspace.is_shelf
    if not is_theirs or _STEPS_COOKIE in frame.request.COOKIES:
        return []
    steps = {
        "pictures": has_pictures,
        "team": len(members.visible(frame.actor, frame.workspace.id)) > 1 or _has_invited(frame),
        "second_factor": accounts.ways_in(frame.actor).has_app,
    }
    return [] if all(steps.values()) else [{"name": name, "is_done": done} for name, done in steps.items()]


def _has_invited(frame: Frame) -> bool:
    return bool(invites.visible(frame.actor, frame.workspace.id))


@page("POST")
def put_steps_away(frame: Frame) -> HttpResponse:
    response = redirect("front")
    response.set_cookie(
        _STEPS_COOKIE,
        "away",
        max_age=_YEAR_SECONDS,
        secure=frame.request.is_secure(),
        httponly=True,
        samesite="Lax",
    )
    return response
