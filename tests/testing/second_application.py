"""A second web application that signs people in with Trainshed, as a tool of the lab would.

It listens on a port of its own, believes only what `RelyingParty` has checked, keeps a session by a cookie of
its own, and asks anew with its refresh token as soon as its access token is too old. When that is refused, its session
ends.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from html import escape
from typing import Any, Self

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from testing.relying_party import Distrust, RelyingParty
from trainshed.testing.listening import Listening

ID, SECRET = "notebooks", "the secret of the notebooks"
_COOKIE = "notebooks"


@dataclass
class Guest:
    """Somebody's session in the application."""

    party: RelyingParty
    name: str
    refresh_token: str
    ends_at: float


class SecondApplication:
    """`issuer` is known only once Trainshed runs; `seconds_ahead` lets the application's own clock go faster."""

    def __init__(self) -> None:
        self.issuer = ""
        self.seconds_ahead = 0.0
        self.longest_seconds = 0.0
        self._asked: dict[str, RelyingParty] = {}
        self._guests: dict[str, Guest] = {}
        routes = [Route("/", self._home), Route("/sign-in", self._sign_in), Route("/callback", self._callback)]
        self._listening = Listening(Starlette(routes=routes))
        self.url = self._listening.url

    def __enter__(self) -> Self:
        self._listening.__enter__()
        return self

    def __exit__(self, *unused: object) -> None:
        self._listening.__exit__(*unused)

    @property
    def said(self) -> dict[str, Any]:
        """What stands of it in TRAINSHED_OIDC_CLIENTS."""
        return {"id": ID, "name": "Notebooks", "secret": SECRET, "redirect_uris": [f"{self.url}/callback"]}

    def grow_old(self) -> None:
        """Let every access token be just older than it may be."""
        self.seconds_ahead += self.longest_seconds

    def _home(self, request: Request) -> Response:
        guest = self._guests.get(request.cookies.get(_COOKIE, ""))
        if guest is not None and self._goes_on(guest):
            return HTMLResponse(_PAGE.format(f"<h1>Notebooks of {escape(guest.name)}</h1>"))
        self._guests.pop(request.cookies.get(_COOKIE, ""), None)
        return HTMLResponse(_PAGE.format('<h1>Nobody</h1><a href="/sign-in">Sign in with Trainshed</a>'))

    def _goes_on(self, guest: Guest) -> bool:
        """Whether Trainshed still says who this is; asked as seldom as is allowed."""
        if self._now() < guest.ends_at:
            return True
        answer = guest.party.refresh(guest.refresh_token)
        if answer.status_code == 200:
            self._keep(guest, answer.json())
        return answer.status_code == 200

    def _sign_in(self, request: Request) -> Response:
        party = RelyingParty(self.issuer, ID, SECRET, redirect_uri=f"{self.url}/callback")
        visit = secrets.token_urlsafe()
        self._asked[visit] = party
        answer = RedirectResponse(party.address(), 303)
        answer.set_cookie(_COOKIE, visit, httponly=True, samesite="lax")
        return answer

    def _callback(self, request: Request) -> Response:
        visit = request.cookies.get(_COOKIE, "")
        party = self._asked.pop(visit, None)
        if party is None:
            return HTMLResponse(_PAGE.format("<h1>This browser did not ask</h1>"), 400)
        try:
            tokens = party.exchange(party.code_in(str(request.url))).raise_for_status().json()
            claims = party.verified(tokens["id_token"])
        except Distrust as error:
            return HTMLResponse(_PAGE.format(f"<h1>{escape(str(error))}</h1>"), 400)
        self._guests[visit] = guest = Guest(party, f"{claims['name']}, {claims['email']}", "", 0)
        self._keep(guest, tokens)
        return RedirectResponse("/", 303)

    def _keep(self, guest: Guest, tokens: dict[str, Any]) -> None:
        guest.refresh_token, guest.ends_at = tokens["refresh_token"], self._now() + tokens["expires_in"]
        self.longest_seconds = max(self.longest_seconds, tokens["expires_in"])

    def _now(self) -> float:
        return time.time() + self.seconds_ahead


_PAGE = '<!doctype html><html lang="en"><link rel="icon" href="data:,"><title>Notebooks</title>{}</html>'
