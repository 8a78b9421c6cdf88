"""The settings of production, behind a TLS proxy: Django's deployment check, cookies, and whose word is believed."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from http.cookies import Morsel, SimpleCookie
from pathlib import Path
from typing import Any

import httpx
import pytest

from postgresql import free_port
from server.test_home import _bootstrap, _environment, folder  # noqa: F401
from web.visitors import PASSWORD, Page

HOST = "trainshed.example.org"
_BEHIND_TLS = {"TRAINSHED_PUBLIC_URL": f"https://{HOST}"}
BY_THE_PROXY = {"Host": HOST, "X-Forwarded-Proto": "https"}


def test_the_deployment_check_finds_nothing(folder):  # noqa: F811
    command = [sys.executable, "-W", "error", "-m", "django", "check", "--deploy", "--fail-level", "WARNING"]
    environment = _environment(folder, DJANGO_SETTINGS_MODULE="trainshed.server.settings", **_BEHIND_TLS)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "no issues (0 silenced)" in done.stdout


@pytest.fixture
def prepared(folder: Path) -> dict[str, Any]:  # noqa: F811
    """What the first step of a start has made."""
    return dict(_bootstrap(folder)["prepared"])


@pytest.fixture
def behind_tls(folder: Path, prepared: dict[str, Any]) -> Iterator[httpx.Client]:  # noqa: F811
    """A web process whose people come through a TLS proxy."""
    port = free_port()
    environment = _environment(folder, TRAINSHED_PORT=str(port), **_BEHIND_TLS)
    with subprocess.Popen(
        [sys.executable, "-m", "trainshed.server.asgi"], env=environment, stderr=subprocess.DEVNULL
    ) as web:
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as http:
                deadline = time.monotonic() + 60
                while web.poll() is None and time.monotonic() < deadline:
                    with contextlib.suppress(httpx.TransportError):
                        http.get("/static/ninja/favicon.svg")
                        break
                    time.sleep(0.05)
                yield http
        finally:
            web.terminate()


class SecureBrowser:
    """A browser behind the proxy: it speaks TLS to it, so it sends back cookies that are for TLS alone."""

    def __init__(self, http: httpx.Client) -> None:
        self.http = http
        self.cookies: dict[str, Morsel[str]] = {}

    def __call__(self, method: str, path: str, **named: Any) -> httpx.Response:
        said = "; ".join(f"{name}={cookie.value}" for name, cookie in self.cookies.items())
        headers = {**BY_THE_PROXY, "Cookie": said, "Origin": f"https://{HOST}", **named.pop("headers", {})}
        answer = self.http.request(method, path, headers=headers, **named)
        for line in answer.headers.get_list("set-cookie"):
            self.cookies.update(SimpleCookie(line))
        self.http.cookies.clear()
        return answer


def test_the_cookies_of_a_session_are_for_this_very_host_and_for_tls_alone(behind_tls, prepared):
    browser = SecureBrowser(behind_tls)
    person = {"name": "Ada", "email": "ada@example.org", "password": PASSWORD}
    assert browser("POST", "/api/v1/setup", json={"code": prepared["setup_code"], **person}).status_code == 201
    page = Page(browser("GET", "/sign-in").text)
    assert page.all("html")[0].attributes["data-proof"] == "__Host-csrftoken", "what scripts repeat"
    form = {"login": person["email"], "password": PASSWORD, "csrfmiddlewaretoken": page.proof}
    answer = browser("POST", "/sign-in", data=form)
    assert (answer.status_code, answer.headers["location"]) == (302, "/"), answer.text
    assert set(browser.cookies) == {"__Host-sessionid", "__Host-csrftoken"}
    for name, cookie in browser.cookies.items():
        # `__Host-` demands just this of a browser (RFC 6265bis, 4.1.3.2).
        assert cookie["secure"] and cookie["path"] == "/" and not cookie["domain"], name
        assert cookie["samesite"] == "Lax" and bool(cookie["httponly"]) == (name == "__Host-sessionid")
    _uses_its_session(browser)


def _uses_its_session(browser: SecureBrowser) -> None:
    """Every door finds the session by the cookie's name, and wants the other cookie repeated."""
    me = browser("GET", "/api/v1/me")
    assert me.json()["email"] == "ada@example.org"
    (mine,) = [one for one in me.json()["workspaces"] if not one["is_shelf"]]
    assert browser("GET", "/settings").status_code == 200
    proof, place = browser.cookies["__Host-csrftoken"].value, f"/api/v1/workspaces/{mine['id']}"
    for told, status in ((proof, 200), ("x", 403)):
        assert browser("PATCH", place, json={"name": "A"}, headers={"X-CSRFToken": told}).status_code == status
    assert [one["is_current"] for one in browser("GET", "/api/v1/sessions").json()["items"]] == [True]
    upload = f"{place}/projects/{mine['projects'][0]['id']}/uploads?name=a.zip"
    for told, status in ((proof, 201), ("x", 403)):
        assert browser("POST", upload, content=b"zip", headers={"X-CSRFToken": told}).status_code == status


def test_a_page_says_to_a_browser_what_it_may_do(behind_tls):
    page = behind_tls.get("/sign-in", headers=BY_THE_PROXY)
    assert page.headers["strict-transport-security"] == "max-age=31536000; includeSubDomains; preload"
    assert (page.headers["x-frame-options"], page.headers["x-content-type-options"]) == ("DENY", "nosniff")
    assert page.headers["referrer-policy"] == page.headers["cross-origin-opener-policy"] == "same-origin"
    assert "unsafe" not in page.headers["content-security-policy"]


@pytest.mark.parametrize(
    ("peer", "trusted", "is_believed"),
    [
        ("127.0.0.1", "", True),
        ("::1", "", True),
        ("10.0.0.7", "10.0.0.0/8", True),
        ("203.0.113.9", "", False),
        ("203.0.113.9", "10.0.0.0/8", False),
        ("10.0.0.7", "127.0.0.1", False),
    ],
)
def test_only_a_proxy_of_ours_is_believed_that_a_request_came_over_tls(django, monkeypatch, peer, trusted, is_believed):
    from trainshed.server.asgi import Sender

    monkeypatch.setenv("TRAINSHED_TRUSTED_PROXIES", trusted)
    heard: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        heard.extend(scope["headers"])

    headers = [(b"host", b"h"), (b"x-forwarded-proto", b"https")]
    scope = {"type": "http", "client": (peer, 1), "headers": headers}
    asyncio.run(Sender(app)(scope, None, None))  # type: ignore[arg-type]
    assert heard == (headers if is_believed else headers[:1])


def test_behind_a_proxy_our_own_processes_are_served_and_people_are_sent_to_https(behind_tls):
    api = "/api/v1"
    assert behind_tls.get(f"{api}/health").status_code == 200
    for path in ("attempt/renewals", "hosts/readings"):
        assert behind_tls.post(f"{api}/{path}").status_code == 401
    assert behind_tls.get(f"{api}/serving/models/x").status_code == 401
    public = {"Host": "trainshed.example.org"}
    secure = behind_tls.get(f"{api}/me", headers={**public, "X-Forwarded-Proto": "https"})
    assert secure.status_code == 401
    assert "max-age=31536000" in secure.headers["strict-transport-security"]
    plain = behind_tls.get(f"{api}/me", headers={**public, "X-Forwarded-Proto": "http"})
    assert (plain.status_code, plain.headers["location"]) == (301, f"https://trainshed.example.org{api}/me")
    assert behind_tls.get(f"{api}/health", headers={"Host": "evil.example"}).status_code == 422
