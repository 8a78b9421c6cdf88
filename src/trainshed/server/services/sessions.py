"""What a request proves about who sent it: a bearer token, or the session of somebody who signed in in a browser.

Both doors, Django's and Starlette's, ask here, so that there is one authenticator.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module
from types import SimpleNamespace
from typing import Any, Protocol
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.auth import get_user
from django.db import transaction
from django.utils.crypto import constant_time_compare

from trainshed.errors import Forbidden, NotFound, NotSignedIn
from trainshed.schemas import SessionView
from trainshed.server.records.models import Person, Session
from trainshed.server.records.sessions import hashed
from trainshed.server.services import addresses, applications, audit, limits
from trainshed.server.services.actors import Actor, authenticate, person_actor, require_person

_SEEN_EVERY_SECONDS = 60.0
_READING = ("GET", "HEAD", "OPTIONS")


class Asked(Protocol):
    """The parts of a request that prove something, as Django's and Starlette's have them."""

    @property
    def method(self) -> str | None:
        """`GET`, `POST`, ..."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Looked up without regard to case."""


def sender(asked: Asked, cookies: Mapping[str, str], address: str) -> Actor:
    """The actor behind a request from that address.

    Raises `NotSignedIn`, `TooManyRequests` for one wrong token too many, and `Forbidden` where another site made a
    browser send it.
    """
    authorization = asked.headers.get("Authorization")
    key = cookies.get(settings.SESSION_COOKIE_NAME)
    if authorization is not None or key is None:
        return replace(_bearer(authorization, address), address=address)
    actor = visitor(cookies, address)
    if asked.method not in _READING:
        _require_own_page(asked.headers, cookies)
    return actor


def _bearer(authorization: str | None, address: str) -> Actor:
    """Only a wrong token is counted: nobody with a good one is kept out by whoever shares their address.

    So the guards and the agent of this machine go on, whatever an old script beside them sends.
    """
    try:
        return authenticate(authorization)
    except NotSignedIn:
        if authorization is not None:
            limits.take(limits.WRONG_TOKENS, addresses.home(address))
        raise


def visitor(cookies: Mapping[str, str], address: str) -> Actor:
    """The actor who looks at a page; that its forms are ours Django's middleware has proved. Raises `NotSignedIn`."""
    person = _signed_in(cookies.get(settings.SESSION_COOKIE_NAME, ""))
    if person is None:
        raise NotSignedIn("You are signed out.", hint="Sign in again.")
    return replace(person_actor(person), address=address)


def _signed_in(key: str) -> Person | None:
    """The person of a session; `None` once it has ended, or the password has changed since."""
    store = import_module(settings.SESSION_ENGINE).SessionStore(key)
    person: Any = get_user(SimpleNamespace(session=store))  # type: ignore[arg-type]
    if not person.is_authenticated:
        return None
    Session.objects.filter(session_key=hashed(key), last_seen_at__lt=time.time() - _SEEN_EVERY_SECONDS).update(
        last_seen_at=time.time()
    )
    return person


def _require_own_page(headers: Mapping[str, str], cookies: Mapping[str, str]) -> None:
    """A browser sends cookies to us whoever asks it to; only our own pages can repeat one in a header as well."""
    told, kept = headers.get("X-CSRFToken", ""), cookies.get(settings.CSRF_COOKIE_NAME, "")
    is_repeated = bool(kept) and constant_time_compare(told, kept)
    if not is_repeated or not _is_own_origin(headers) or headers.get("Sec-Fetch-Site", "same-origin") != "same-origin":
        raise Forbidden("This request did not come from a page of this server.", hint="Reload the page and try again.")


def _is_own_origin(headers: Mapping[str, str]) -> bool:
    origin = headers.get("Origin")
    return origin is None or origin in settings.CSRF_TRUSTED_ORIGINS or urlsplit(origin).netloc == headers.get("Host")


def visible(actor: Actor, cookies: Mapping[str, str]) -> list[SessionView]:
    """The browsers in which the acting person is signed in, the one that asks first."""
    current = hashed(cookies.get(settings.SESSION_COOKIE_NAME, ""))
    rows = Session.objects.alive().filter(person=require_person(actor)).order_by("-last_seen_at")
    return sorted((_view(row, current) for row in rows), key=lambda view: not view.is_current)


def end(actor: Actor, session_id: str) -> None:
    """Sign one of my browsers out, and out of every application that it signed in to. Raises `NotFound`."""
    if not _end(actor, Session.objects.filter(public_id=session_id)):
        raise NotFound()


def end_others(actor: Actor, cookies: Mapping[str, str]) -> int:
    """Sign all my other browsers out; returns how many there were."""
    return _end(actor, Session.objects.exclude(session_key=hashed(cookies.get(settings.SESSION_COOKIE_NAME, ""))))


@transaction.atomic
def _end(actor: Actor, rows: Any) -> int:
    ids = list(rows.filter(person=require_person(actor, "admin")).values_list("public_id", flat=True))
    Session.objects.filter(public_id__in=ids).delete()
    applications.end(ids)
    if ids:
        audit.note(actor, "session.end", actor.person, number=len(ids))
    return len(ids)


def _view(row: Session, current: str) -> SessionView:
    return SessionView(
        id=row.public_id,
        address=row.address,
        browser=row.browser,
        created_at=row.created_at,
        last_seen_at=row.last_seen_at,
        is_current=row.session_key == current,
    )
