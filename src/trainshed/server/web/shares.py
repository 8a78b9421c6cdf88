"""Links to one thing: the dialog that makes them, and the page that whoever has one sees."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache

from trainshed.errors import InvalidInput, NotFound
from trainshed.schemas import ShareView
from trainshed.server.services import jobs, models, shares, versions
from trainshed.server.services.actors import Actor, Place
from trainshed.server.web.door import Frame, page, problem, public_page
from trainshed.server.web.jobs import result_of
from trainshed.server.web.models import results_of
from trainshed.server.web.people import require_days, require_first_time

_NUM_PICTURES = 12
_TYPES = {b"\xff\xd8\xff": "image/jpeg", b"\x89PNG": "image/png", b"RIFF": "image/webp", b"GIF8": "image/gif"}


@page("GET", "POST")
def sharing(frame: Frame, noun: str, thing_id: str) -> HttpResponse:
    """The links to one thing; a new one is shown once. A dialog loads this page's middle."""
    values: dict[str, Any] = {"title": _title(frame, noun, thing_id)}
    if frame.request.method == "POST":
        try:
            values["made"] = _changed(frame, noun, thing_id)
        except InvalidInput as error:
            values["refusal"] = error
    values |= {"noun": noun, "thing_id": thing_id, "key": secrets.token_urlsafe(12)}
    shown = frame.show("shares/sharing.html", shares=shares.visible(frame.actor, frame.place, thing_id), **values)
    shown["Cache-Control"] = "no-store"
    return shown


def _title(frame: Frame, noun: str, thing_id: str) -> str:
    """What the thing is called. Raises `NotFound` for what cannot be shared."""
    if noun == "model":
        return models.get(frame.actor, thing_id, within=frame.place).name
    if noun == "version":
        number = versions.get(frame.actor, thing_id, within=frame.place).number
        return _("Version %(number)d") % {"number": number}
    if noun == "job":
        return jobs.get(frame.actor, thing_id, within=frame.place).title
    raise NotFound()


def _changed(frame: Frame, noun: str, thing_id: str) -> ShareView | None:
    said = frame.request.POST
    if said.get("revoke"):
        shares.revoke(frame.actor, said["revoke"], frame.place)
        return None
    days = require_days(said.get("days", "30"))
    require_first_time(frame.request)
    named = {"noun": noun, "thing_id": thing_id, "expires_in_days": days, "note": said.get("note", "")}
    return shares.create(frame.actor, frame.place, **named)


@never_cache
@public_page("GET")
def share(request: HttpRequest, secret: str) -> HttpResponse:
    """The one thing that a link opens, in a frame that leads nowhere."""
    try:
        actor, told = shares.open(secret)
        template, look = _SHOWN[told.noun]
        values = look(request, actor, told)
    except NotFound:
        gone = NotFound(_("This link is unknown, expired or revoked."), hint=_("Ask whoever sent it for a new one."))
        return _unlisted(problem(request, gone))
    return _unlisted(render(request, template, {"share": told, **values}))


def _unlisted(response: HttpResponse) -> HttpResponse:
    """No search engine keeps the page, and no address that it is left for learns its link."""
    response["X-Robots-Tag"], response["Referrer-Policy"] = "noindex, nofollow", "no-referrer"
    return response


def _place(told: ShareView) -> Place:
    return Place(told.workspace_id, told.project_id)


def _model(request: HttpRequest, actor: Actor, told: ShareView) -> dict[str, Any]:
    model = models.view(models.get(actor, told.thing_id, within=_place(told)))
    known = {"model": model, "num_parameters": f"{model.num_parameters:,}", "seconds": None}
    return {**known, **results_of(model, request.GET)}


def _version(request: HttpRequest, actor: Actor, told: ShareView) -> dict[str, Any]:
    version = versions.view(versions.get(actor, told.thing_id, within=_place(told)))
    counts, summary = version.summary.counts, version.summary
    splits = ("train", "validation", "test")
    rows = [
        {"name": each.name, "counts": [counts.get(split, {}).get(each.id, 0) for split in splits]}
        for each in summary.classes
    ]
    found = versions.samples(actor, version.id, _place(told), most=_NUM_PICTURES)
    return {
        "version": version,
        "rows": [{**row, "total": sum(row["counts"])} for row in rows],
        "totals": [sum(counts.get(split, {}).values()) for split in splits],
        "pictures": [{"class_name": name, "address": _inlined(content)} for name, content in found],
    }


def _inlined(content: bytes) -> str:
    """A picture as an address of its own: the page needs no other one to show it."""
    kind = next((kind for magic, kind in _TYPES.items() if content.startswith(magic)), "image/jpeg")
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _job(request: HttpRequest, actor: Actor, told: ShareView) -> dict[str, Any]:
    job = jobs.show(actor, told.thing_id, _place(told))
    return {"job": job, **result_of(job)}


_SHOWN: dict[str, tuple[str, Callable[[HttpRequest, Actor, ShareView], dict[str, Any]]]] = {
    "model": ("shares/model.html", _model),
    "version": ("shares/version.html", _version),
    "job": ("shares/job.html", _job),
}
