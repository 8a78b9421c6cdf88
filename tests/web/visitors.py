"""Somebody with a browser, as far as HTTP goes: cookies, forms with their proof, and pages taken apart."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

import httpx

PASSWORD = "correct horse battery"
_VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
# A form's proof is masked anew in each answer, and a page says when it was drawn.
_OF_THE_MOMENT = re.compile(r'(name="csrfmiddlewaretoken" value=|data-drawn-at=)"\w+"')


@dataclass
class Element:
    """One element of a page, with the text inside it."""

    tag: str
    attributes: dict[str, str]
    text: str = ""


@dataclass
class Page(HTMLParser):
    """An answer's document: its elements in order, and all of its text."""

    source: str = field(repr=False)
    elements: list[Element] = field(default_factory=list, repr=False)
    text: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._open: list[Element] = []
        self.feed(self.source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs})
        self.elements.append(element)
        if tag not in _VOID:
            self._open.append(element)

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop().tag != tag:
            pass

    def handle_data(self, data: str) -> None:
        self.text += data
        for element in self._open:
            element.text += data

    def all(self, tag: str, **attributes: str) -> list[Element]:
        """The elements of this kind; `data_job` stands for `data-job`."""
        wanted = {name.replace("_", "-"): value for name, value in attributes.items()}
        return [
            element for element in self.elements if element.tag == tag and wanted.items() <= element.attributes.items()
        ]

    @property
    def heading(self) -> str:
        (h1,) = self.all("h1")
        return " ".join(h1.text.split())

    @property
    def proof(self) -> str:
        """What a form of this page repeats."""
        return self.all("input", name="csrfmiddlewaretoken")[0].attributes["value"]

    def texts(self) -> dict[str, str]:
        """The words that scripts say."""
        (kept,) = self.all("script", id="texts")
        said: dict[str, str] = json.loads(kept.text)
        return said


class Visitor:
    """One browser: it keeps cookies and follows no redirect by itself."""

    def __init__(self, site: str) -> None:
        self.http = httpx.Client(base_url=site, timeout=30)

    def get(self, path: str, **named: Any) -> httpx.Response:
        return self.http.get(path, **named)

    def page(self, path: str, status: int = 200) -> Page:
        answer = self.get(path)
        assert answer.status_code == status, (path, answer.status_code, answer.headers.get("location"))
        assert answer.headers["content-type"].startswith("text/html")
        return Page(answer.text)

    def send(self, path: str, form: dict[str, str] | None = None) -> httpx.Response:
        """Send a form as a page of ours does, with the proof that stands in it."""
        return self.http.post(path, data={**(form or {}), "csrfmiddlewaretoken": self._proof()})

    def _proof(self) -> str:
        """From the cookie, or else from the page that has a form: before the first owner, and after."""
        if "csrftoken" in self.http.cookies:
            return self.http.cookies["csrftoken"]
        first_run = self.get("/setup")
        return Page((first_run if first_run.status_code == 200 else self.get("/sign-in")).text).proof

    def sign_in(self, email: str, password: str = PASSWORD, next_: str = "") -> httpx.Response:
        return self.send("/sign-in", {"login": email, "password": password, "next": next_})

    def ask(self, method: str, path: str, *, proof: str | None = None, **named: Any) -> httpx.Response:
        """A request to REST as a page's script makes it; `proof` replaces the right one, "" leaves it out."""
        said = self.http.cookies.get("csrftoken", "") if proof is None else proof
        headers = {**({"X-CSRFToken": said} if said else {}), **named.pop("headers", {})}
        return self.http.request(method, f"/api/v1{path}", headers=headers, **named)


def session_of(person: Any, visitor: Visitor) -> Visitor:
    """Sign this person in past the form, which takes a slow hash of a password."""
    from django.conf import settings
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY

    from trainshed.server.records.sessions import SessionStore

    store = SessionStore()
    store[SESSION_KEY] = person.pk
    store[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
    store[HASH_SESSION_KEY] = person.get_session_auth_hash()
    store.create()
    host = visitor.http.base_url.host
    visitor.http.cookies.set(settings.SESSION_COOKIE_NAME, str(store.session_key), domain=host)
    visitor.get("/settings")  # brings the cookie that requests repeat
    assert "csrftoken" in visitor.http.cookies
    return visitor


def lasting(answer: httpx.Response) -> str:
    """An answer without what is of its moment alone."""
    return _OF_THE_MOMENT.sub(r'\1""', answer.text)


def routes() -> Iterator[tuple[str, str]]:
    """(name, address with {fields}) of every page."""
    from trainshed.server.web.urls import urlpatterns

    return routes_of(urlpatterns)


def own_routes() -> Iterator[tuple[str, str]]:
    """The same without the pages that allauth gives us, which have a table of their own."""
    from trainshed.server.web import accounts

    given = {name for name, _ in routes_of(accounts.urlpatterns)}
    return ((name, path) for name, path in routes() if name not in given)


def routes_of(patterns: list[Any], before: str = "/") -> Iterator[tuple[str, str]]:
    for one in patterns:
        path = before + re.sub(r"<str:(\w+)>", r"{\1}", str(one.pattern))
        if hasattr(one, "url_patterns"):
            yield from routes_of(one.url_patterns, path)
        else:
            yield one.name, path
