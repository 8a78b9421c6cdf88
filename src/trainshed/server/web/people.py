"""The first owner, and a person's settings. Signing in is in `accounts.py`."""

from __future__ import annotations

import secrets
from typing import Any
from urllib.parse import urlencode

from allauth.account.decorators import reauthentication_required
from django.contrib.auth import logout
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from trainshed.errors import InvalidInput, TrainshedError
from trainshed.schemas import TokenView
from trainshed.server.services import accounts, login_codes, people, sessions, tokens
from trainshed.server.services.actors import SCOPES
from trainshed.server.web.door import Frame, page


@never_cache
@require_http_methods(["GET", "POST"])
def set_up(request: HttpRequest) -> HttpResponse:
    """The first owner's password, by the one-time link."""
    if people.exist():
        return redirect("account_login")
    if request.method == "GET":
        return render(request, "people/setup.html", {"code": request.GET.get("code", ""), "is_fresh": True})
    said = {name: request.POST.get(name, "") for name in ("code", "name", "email", "password")}
    try:
        person = people.make_first_owner(**said)
    except TrainshedError as error:
        values = {**_refused(error), "values": said, "code": said["code"]}
        return render(request, "people/setup.html", values, status=422)
    accounts.enter(request, person)
    return redirect("/")


def _refused(error: TrainshedError) -> dict[str, Any]:
    """What a form shows of an error: at its fields if they are named, else above them."""
    by_field: dict[str, str] = {}
    for detail in error.details:
        by_field[detail["field"]] = f"{by_field.get(detail['field'], '')} {detail['message']}".strip()
    return {"errors": by_field, "refusal": None if by_field else error}


@page("GET", "POST")
def profile(frame: Frame) -> HttpResponse:
    """Who I am."""
    values: dict[str, Any] = {}
    if frame.request.method == "POST":
        try:
            people.rename(frame.actor, frame.request.POST.get("name", ""))
            return redirect("settings")
        except InvalidInput as error:
            values["refusal"] = error
    return frame.show("people/profile.html", section="settings", tab="profile", **values)


@reauthentication_required
@page("GET", "POST")
def delete_account(frame: Frame) -> HttpResponse:
    """Nobody is deleted by one press: the person says once more who they are, and writes their address."""
    values: dict[str, Any] = {}
    if frame.request.method == "POST":
        try:
            if frame.request.POST.get("email", "").strip().lower() != frame.me.email:
                raise InvalidInput(_("Write your e-mail address as it is shown, to say that you mean it."))
            people.delete(frame.actor)
            logout(frame.request)
            return redirect("account_login")
        except TrainshedError as error:
            values["refusal"] = error
    return frame.show("people/delete_account.html", section="settings", tab="profile", **values)


@page("GET")
def sign_in_settings(frame: Frame) -> HttpResponse:
    """My ways in: password, second factor, accounts elsewhere."""
    return frame.show("people/ways_in.html", section="settings", tab="ways_in", ways=accounts.ways_in(frame.actor))


@page("GET", "POST")
def sessions_settings(frame: Frame) -> HttpResponse:
    """The browsers in which I am signed in."""
    if frame.request.method == "POST":
        wanted = frame.request.POST.get("session", "")
        if wanted:
            sessions.end(frame.actor, wanted)
        else:
            sessions.end_others(frame.actor, frame.request.COOKIES)
        return redirect("sessions")
    listed = sessions.visible(frame.actor, frame.request.COOKIES)
    return frame.show("people/sessions.html", section="settings", tab="sessions", sessions=listed)


@page("GET", "POST")
def tokens_settings(frame: Frame) -> HttpResponse:
    """My tokens; a new one is shown once."""
    values: dict[str, Any] = {}
    if frame.request.method == "POST":
        try:
            values["made"] = _made_token(frame)
        except InvalidInput as error:
            values["refusal"] = error
    values |= {"tokens": tokens.visible(frame.actor), "key": secrets.token_urlsafe(12), "scopes": SCOPES}
    shown = frame.show("people/tokens.html", section="settings", tab="tokens", **values)
    shown["Cache-Control"] = "no-store"
    return shown


def _made_token(frame: Frame) -> TokenView:
    said = frame.request.POST
    name, days = said.get("name", ""), said.get("days", "90")
    if not name.strip():
        raise InvalidInput(_("Say what the token is for."))
    num_days = require_days(days)
    require_first_time(frame.request)
    scopes = tuple(said.getlist("scopes")) or ("read", "write", "jobs")
    return tokens.issue(frame.actor, name=name, scopes=scopes, expires_in_days=num_days)


def require_days(written: str) -> int:
    """For how many days a new secret holds. Raises `InvalidInput`."""
    if not (written.isascii() and written.isdigit() and len(written) <= 4 and 1 <= int(written) <= 3650):
        raise InvalidInput(_("It holds for 1 to 3650 days, not %(days)r.") % {"days": written[:40]})
    return int(written)


def require_first_time(request: HttpRequest) -> None:
    """A reload sends the form once more: that is no wish for a second secret. Raises `InvalidInput`."""
    key, used = request.POST.get("key", "")[:40], request.session.get("used_keys", [])
    if key and key in used:
        raise InvalidInput(
            _("This form was sent already, and what it made is shown only once."),
            hint=_("If you have not kept it, revoke it below and make another one."),
        )
    request.session["used_keys"] = [*used[-9:], key]


@page("GET", "POST")
def let_in(frame: Frame) -> HttpResponse:
    """A command line on the person's own machine wants to sign in."""
    said = frame.request.GET
    asked = login_codes.asking(*(said.get(name, "") for name in ("redirect_uri", "state", "challenge", "name")))
    if frame.request.method == "GET":
        return frame.show("people/let_in.html", section="settings", asked=asked)
    if "no" in frame.request.POST:
        return redirect(f"{asked.redirect_uri}?{urlencode({'state': asked.state, 'error': 'access_denied'})}")
    return redirect(login_codes.let_in(frame.actor, asked))


@page("POST")
def revoke_token(frame: Frame, token_id: str) -> HttpResponse:
    tokens.revoke(frame.actor, token_id)
    return redirect("tokens")
