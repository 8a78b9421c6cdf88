"""The first owner, signing in and out, and a person's settings."""

from __future__ import annotations

import secrets
from typing import Any

from django.contrib.auth import login, logout
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from trainshed.errors import InvalidInput, TrainshedError
from trainshed.server.services import people, tokens
from trainshed.server.web.door import Frame, page


@never_cache
@require_http_methods(["GET", "POST"])
def set_up(request: HttpRequest) -> HttpResponse:
    """The first owner's password, by the one-time link."""
    if people.exist():
        return redirect("sign-in")
    if request.method == "GET":
        return render(request, "people/setup.html", {"code": request.GET.get("code", ""), "is_fresh": True})
    said = {name: request.POST.get(name, "") for name in ("code", "name", "email", "password")}
    try:
        person = people.make_first_owner(**said)
    except TrainshedError as error:
        values = {**_refused(error), "values": said, "code": said["code"]}
        return render(request, "people/setup.html", values, status=422)
    login(request, person)
    return redirect("/")


@never_cache
@require_http_methods(["GET", "POST"])
def sign_in(request: HttpRequest) -> HttpResponse:
    """A session for an e-mail address and a password, and then to where the person wanted to be."""
    wanted = request.POST.get("next") or request.GET.get("next", "")
    values: dict[str, Any] = {"next": wanted, "nobody_yet": not people.exist()}
    if request.method == "POST":
        try:
            login(request, people.recognise(request.POST.get("email", ""), request.POST.get("password", "")))
            return HttpResponseRedirect(_own_address(request, wanted))
        except TrainshedError as error:
            values |= {**_refused(error), "values": request.POST}
    return render(request, "people/sign_in.html", values, status=422 if "refusal" in values else 200)


def _own_address(request: HttpRequest, wanted: str) -> str:
    """Never to another site, whatever the link said."""
    is_own = url_has_allowed_host_and_scheme(wanted, {request.get_host()}, require_https=request.is_secure())
    return wanted if is_own else "/"


def _refused(error: TrainshedError) -> dict[str, Any]:
    """What a form shows of an error: at its fields if they are named, else above them."""
    by_field: dict[str, str] = {}
    for detail in error.details:
        by_field[detail["field"]] = f"{by_field.get(detail['field'], '')} {detail['message']}".strip()
    return {"errors": by_field, "refusal": None if by_field else error}


@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    logout(request)
    return redirect("sign-in")


@page("GET", "POST")
def settings(frame: Frame) -> HttpResponse:
    """Who I am, and my tokens; a new one is shown once."""
    values: dict[str, Any] = {}
    if frame.request.method == "POST":
        try:
            name, days = frame.request.POST.get("name", ""), frame.request.POST.get("days", "90")
            if not name.strip():
                raise InvalidInput(_("Say what the token is for."))
            if not (days.isascii() and days.isdigit() and len(days) <= 4 and 1 <= int(days) <= 3650):
                raise InvalidInput(_("A token is valid for 1 to 3650 days, not %(days)r.") % {"days": days[:40]})
            _require_first_time(frame.request)
            values["made"] = tokens.issue(
                frame.actor, name=name, scopes=("read", "write", "jobs"), expires_in_days=int(days)
            )
        except InvalidInput as error:
            values["refusal"] = error
    values |= {"tokens": tokens.visible(frame.actor), "key": secrets.token_urlsafe(12)}
    shown = frame.show("people/settings.html", section="settings", **values)
    shown["Cache-Control"] = "no-store"
    return shown


def _require_first_time(request: HttpRequest) -> None:
    """A reload sends the form once more: that is no wish for a second token. Raises `InvalidInput`."""
    key, used = request.POST.get("key", "")[:40], request.session.get("used_keys", [])
    if key and key in used:
        raise InvalidInput(
            _("This form has made its token already, and shows it only once."),
            hint=_("If you have not kept it, revoke it below and make another one."),
        )
    request.session["used_keys"] = [*used[-9:], key]


@page("POST")
def revoke_token(frame: Frame, token_id: str) -> HttpResponse:
    tokens.revoke(frame.actor, token_id)
    return redirect("settings")
