"""A second Dropbox, as far as signing in goes: OAuth 2 with PKCE, and who the account is.

    with FakeDropbox(Client("app-key", "app-secret", (callback,))) as dropbox:
        os.environ["TRAINSHED_DROPBOX_URL"] = dropbox.url + "/{host}"

Written from Dropbox's OAuth guide and the reference of its HTTP API. Both of its hosts are one here: `/www` and `/api`.
Dropbox is not OpenID Connect: there is no discovery, no id token and no nonce. An endpoint of the API is a method that
takes what was asked and answers JSON: one line in `_endpoints`.
"""

from __future__ import annotations

import hmac
import json
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from html import escape
from typing import Any, Self
from urllib.parse import urlencode

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from trainshed.testing.codes import Asked, Client, Codes, GrantRefused, form_of, proven_client
from trainshed.testing.listening import Listening

TOKEN_SECONDS = 14_400
SCOPES = "account_info.read files.content.read files.metadata.read"


@dataclass(frozen=True)
class DropboxAccount:
    """Somebody who has a Dropbox."""

    account_id: str = "dbid:AAH4f99T0taONIb-OurWxbNQ6ywGRopQngc"
    email: str = "somebody@example.org"
    name: str = "Somebody Else"
    email_verified: bool = True

    def view(self) -> dict[str, Any]:
        """`FullAccount` of the API."""
        given, _, surname = self.name.partition(" ")
        return {
            "account_id": self.account_id,
            "name": {
                "given_name": given,
                "surname": surname,
                "familiar_name": given,
                "display_name": self.name,
                "abbreviated_name": (given[:1] + surname[:1]).upper(),
            },
            "email": self.email,
            "email_verified": self.email_verified,
            "disabled": False,
            "locale": "en",
            "referral_link": "https://db.tt/ZITNuhtI",
            "is_paired": False,
            "account_type": {".tag": "basic"},
            "root_info": {".tag": "user", "root_namespace_id": "3235641", "home_namespace_id": "3235641"},
            "country": "US",
        }


@dataclass
class Access:
    """What an access token stands for."""

    account: DropboxAccount
    scope: str
    expires_at: float = field(default_factory=lambda: time.time() + TOKEN_SECONDS)


class ApiError(Exception):
    """An answer of the API that is not what was asked for: a status and Dropbox's own document."""

    def __init__(self, status: int, *tags: str) -> None:
        super().__init__("/".join(tags))
        self.status = status
        self.body = {"error_summary": f"{'/'.join(tags)}/..", "error": {".tag": tags[0]}}


Endpoint = Callable[[Access, Any], dict[str, Any] | None]


class FakeDropbox:
    """`signed_in` is whose browser it is; with `asks`, as at Dropbox, a page asks whether the application may."""

    def __init__(self, client: Client, account: DropboxAccount | None = None, *, asks: bool = True) -> None:
        self.client = client
        self.signed_in = account or DropboxAccount()
        self.asks = asks
        self.asked: list[Asked] = []
        self._codes = Codes()
        self._access: dict[str, Access] = {}
        self._refresh: dict[str, Access] = {}
        self._listening = Listening(Starlette(routes=self._routes()))
        self.url = self._listening.url

    def __enter__(self) -> Self:
        self._listening.__enter__()
        return self

    def __exit__(self, *unused: object) -> None:
        self._listening.__exit__(*unused)

    def _routes(self) -> list[Route]:
        calls = [
            Route(f"/api/2/{path}", self._call(endpoint), methods=["POST"]) for path, endpoint in self._endpoints()
        ]
        return [
            Route("/www/oauth2/authorize", self._authorize, methods=["GET", "POST"]),
            Route("/api/oauth2/token", self._token, methods=["POST"]),
            *calls,
        ]

    def _endpoints(self) -> list[tuple[str, Endpoint]]:
        return [
            ("users/get_current_account", lambda access, _: access.account.view()),
            ("auth/token/revoke", self._revoke),
        ]

    def expire_tokens(self) -> None:
        """Let all access tokens be four hours old; refresh tokens stay good."""
        for access in self._access.values():
            access.expires_at = 0.0

    # The browser

    async def _authorize(self, request: Request) -> Response:
        query = request.query_params
        why_not = _why_not(query, self.client)
        if why_not:
            return HTMLResponse(f"<h1>The app submitted a bad request</h1><p>{why_not}</p>", 400)
        if self.asks and request.method == "GET":
            return HTMLResponse(_PAGE.format(email=escape(self.signed_in.email), app=escape(self.client.id)))
        if (await form_of(request)).get("answer") == "cancel":
            words = "The user chose not to give your app access to their Dropbox account."
            return _back(request, {"error": "access_denied", "error_description": words})
        asked = Asked.of(dict(query), self.signed_in)
        self.asked.append(asked)
        return _back(request, {"code": self._codes.issue(asked)})

    # The application's server

    async def _token(self, request: Request) -> Response:
        form = await form_of(request)
        try:
            return JSONResponse(self._granted(form, proven_client(request, form, self.client)))
        except GrantRefused as refused:
            return JSONResponse(refused.body, refused.status)

    def _granted(self, form: dict[str, str], client: Client) -> dict[str, Any]:
        if form.get("grant_type") == "authorization_code":
            return self._from_code(self._codes.redeem(form, client))
        if form.get("grant_type") == "refresh_token":
            held = self._refresh.get(form.get("refresh_token", ""))
            if held is None:
                raise GrantRefused("invalid_grant", "refresh token is invalid or revoked")
            return self._bearer(held.account, held.scope)[1]
        raise GrantRefused("unsupported_grant_type", f"grant type {form.get('grant_type')!r} is not supported")

    def _from_code(self, asked: Asked) -> dict[str, Any]:
        token, said = self._bearer(asked.account, asked.scope or SCOPES)
        said |= {"scope": asked.scope or SCOPES, "uid": "12345", "account_id": asked.account.account_id}
        if asked.extra.get("token_access_type") == "offline":
            said["refresh_token"] = secrets.token_urlsafe(32)
            self._refresh[said["refresh_token"]] = self._access[token]
        return said

    def _bearer(self, account: DropboxAccount, scope: str) -> tuple[str, dict[str, Any]]:
        token = f"sl.{secrets.token_urlsafe(32)}"
        self._access[token] = Access(account, scope)
        return token, {"access_token": token, "token_type": "bearer", "expires_in": TOKEN_SECONDS}

    def _call(self, endpoint: Endpoint) -> Callable[[Request], Any]:
        """The route of an endpoint: the token is proved, the body is JSON, and so is the answer."""

        async def answer(request: Request) -> Response:
            body = await request.body()
            if body and request.headers.get("content-type", "").partition(";")[0] != "application/json":
                return PlainTextResponse('Error in call to API function: bad HTTP "Content-Type" header', 400)
            try:
                return JSONResponse(endpoint(self._proven(request), json.loads(body or b"null")))
            except ApiError as error:
                return JSONResponse(error.body, error.status)

        return answer

    def _proven(self, request: Request) -> Access:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        found = self._access.get(token) if scheme.lower() == "bearer" else None
        if found is None:
            raise ApiError(401, "invalid_access_token")
        if found.expires_at < time.time():
            raise ApiError(401, "expired_access_token")
        return found

    def _revoke(self, access: Access, _: Any) -> None:
        """All tokens of the same consent end: an access token's refresh token too."""
        for held in (self._access, self._refresh):
            for token in [token for token, other in held.items() if other.account == access.account]:
                del held[token]


def _why_not(query: Any, client: Client) -> str:
    """What is wrong with an authorization request; empty when nothing is."""
    if not hmac.compare_digest(query.get("client_id", ""), client.id):
        return "Invalid client_id"
    if query.get("response_type") != "code":
        return "Invalid response_type"
    if not client.allows(query.get("redirect_uri", "")):
        return "Invalid redirect_uri. It must exactly match one that you've pre-configured for your app."
    if (query.get("code_challenge_method") or "S256") not in ("S256", "plain"):
        return "Invalid code_challenge_method"
    return ""


def _back(request: Request, said: dict[str, str]) -> Response:
    query = request.query_params
    state = {"state": query["state"]} if "state" in query else {}
    joint = "&" if "?" in query["redirect_uri"] else "?"
    return RedirectResponse(f"{query['redirect_uri']}{joint}{urlencode({**said, **state})}", 303)


_PAGE = """<!doctype html><link rel="icon" href="data:,"><title>Dropbox</title>
<h1>{app} would like to see who you are</h1><p>{email}</p>
<form method="post"><button name="answer" value="cancel">Cancel</button>
<button name="answer" value="allow">Allow</button></form>"""
