"""Authorization codes as RFC 6749 and RFC 7636 have them, for the doubles of providers: bound, short-lived, used once.

What a code stands for besides, and the tokens, are each provider's own.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote

from starlette.requests import Request

CODE_SECONDS = 60.0


class GrantRefused(Exception):
    """One of the errors of RFC 6749; `str()` is its description."""

    def __init__(self, error: str, description: str, status: int = 400) -> None:
        super().__init__(description)
        self.error = error
        self.status = status

    @property
    def body(self) -> dict[str, str]:
        return {"error": self.error, "error_description": str(self)}


@dataclass(frozen=True)
class Client:
    """An application that may ask. Its redirect addresses are compared letter by letter; without any, each will do."""

    id: str
    secret: str
    redirect_uris: tuple[str, ...] = ()

    def allows(self, redirect_uri: str) -> bool:
        return bool(redirect_uri) and (not self.redirect_uris or redirect_uri in self.redirect_uris)


@dataclass
class Asked:
    """What an authorization request said, and since when its code is good."""

    client_id: str
    redirect_uri: str
    challenge: str
    method: str
    scope: str
    nonce: str
    extra: Mapping[str, str]
    account: Any
    issued_at: float = field(default_factory=time.time)
    is_used: bool = False

    @classmethod
    def of(cls, query: Mapping[str, str], account: Any) -> Asked:
        named = ("redirect_uri", "code_challenge", "code_challenge_method", "scope", "nonce")
        redirect_uri, challenge, method, scope, nonce = (query.get(name, "") for name in named)
        return cls(query["client_id"], redirect_uri, challenge, method or "plain", scope, nonce, query, account)

    def fits(self, verifier: str) -> bool:
        """Whether the verifier is the challenge's (RFC 7636, 4.6); one without a challenge fits only no verifier."""
        made = s256(verifier) if self.method == "S256" else verifier
        return hmac.compare_digest(made if verifier else "", self.challenge)


class Codes:
    """The codes of one provider."""

    def __init__(self) -> None:
        self._asked: dict[str, Asked] = {}

    def issue(self, asked: Asked) -> str:
        code = secrets.token_urlsafe(24)
        self._asked[code] = asked
        return code

    def redeem(self, form: Mapping[str, str], client: Client, *, checks_pkce: bool = True, once: bool = True) -> Asked:
        """What the code stands for. Raises `GrantRefused` in the same words for all that can be wrong with a code."""
        asked = self._asked.get(form.get("code", ""))
        if (
            asked is None
            or (once and asked.is_used)
            or asked.client_id != client.id
            or asked.redirect_uri != form.get("redirect_uri", "")
            or time.time() - asked.issued_at > CODE_SECONDS
        ):
            raise GrantRefused("invalid_grant", "code doesn't exist or has expired")
        # A wrong verifier uses the code up: whoever guesses has one guess.
        asked.is_used = True
        if checks_pkce and not asked.fits(form.get("code_verifier", "")):
            raise GrantRefused("invalid_grant", "invalid code verifier")
        return asked


def s256(verifier: str) -> str:
    """The challenge of a verifier (RFC 7636, 4.2)."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")


async def form_of(request: Request) -> dict[str, str]:
    """The fields of a form, which OAuth sends as `application/x-www-form-urlencoded` alone."""
    return dict(parse_qsl((await request.body()).decode(), keep_blank_values=True))


def proven_client(request: Request, form: Mapping[str, str], client: Client) -> Client:
    """The client that a token request proves to be, by HTTP Basic or in its body (RFC 6749, 2.3.1)."""
    scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        name, _, secret = base64.b64decode(encoded).decode().partition(":")
        given = unquote(name), unquote(secret)
    else:
        given = form.get("client_id", ""), form.get("client_secret", "")
    if not hmac.compare_digest("\0".join(given).encode(), f"{client.id}\0{client.secret}".encode()):
        raise GrantRefused("invalid_client", "client id or secret is wrong", 401)
    return client
