"""What a request proves about who sent it: a bearer token, or the session of somebody who signed in in a browser.

Both doors, Django's and Starlette's, ask here, so that there is one authenticator.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from types import SimpleNamespace
from typing import Any, Protocol
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.auth import get_user
from django.utils.crypto import constant_time_compare

from trainshed.errors import Forbidden, NotSignedIn
from trainshed.server.records.models import Person
from trainshed.server.services.actors import Actor, authenticate, person_actor

_READING = ("GET", "HEAD", "OPTIONS")


class Asked(Protocol):
    """The parts of a request that prove something, as Django's and Starlette's have them."""

    @property
    def method(self) -> str | None:
        """`GET`, `POST`, ..."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Looked up without regard to case."""


def sender(asked: Asked, cookies: Mapping[str, str]) -> Actor:
    """The actor behind a request. Raises `NotSignedIn`, and `Forbidden` where another site made a browser send it."""
    authorization = asked.headers.get("Authorization")
    key = cookies.get(settings.SESSION_COOKIE_NAME)
    if authorization is not None or key is None:
        return authenticate(authorization)
    actor = visitor(cookies)
    if asked.method not in _READING:
        _require_own_page(asked.headers, cookies)
    return actor


def visitor(cookies: Mapping[str, str]) -> Actor:
    """The actor who looks at a page; that its forms are ours Django's middleware has proved. Raises `NotSignedIn`."""
    person = _signed_in(cookies.get(settings.SESSION_COOKIE_NAME, ""))
    if person is None:
        raise NotSignedIn("You are signed out.", hint="Sign in again.")
    return person_actor(person)


def _signed_in(key: str) -> Person | None:
    """The person of a session; `None` once it has ended, or the password has changed since."""
    store = import_module(settings.SESSION_ENGINE).SessionStore(key)
    person: Any = get_user(SimpleNamespace(session=store))  # type: ignore[arg-type]
    return person if person.is_authenticated else None


def _require_own_page(headers: Mapping[str, str], cookies: Mapping[str, str]) -> None:
    """A browser sends cookies to us whoever asks it to; only our own pages can repeat one in a header as well."""
    told, kept = headers.get("X-CSRFToken", ""), cookies.get(settings.CSRF_COOKIE_NAME, "")
    is_repeated = bool(kept) and constant_time_compare(told, kept)
    if not is_repeated or not _is_own_origin(headers) or headers.get("Sec-Fetch-Site", "same-origin") != "same-origin":
        raise Forbidden("This request did not come from a page of this server.", hint="Reload the page and try again.")


def _is_own_origin(headers: Mapping[str, str]) -> bool:
    origin = headers.get("Origin")
    return origin is None or origin in settings.CSRF_TRUSTED_ORIGINS or urlsplit(origin).netloc == headers.get("Host")
