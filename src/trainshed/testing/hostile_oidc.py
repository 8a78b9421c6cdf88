"""An OpenID Connect provider: honest, until it is told by name how to misbehave.

    with HostileOidc(Client("trainshed", "secret", (callback,))) as provider:
        provider.misbehaviours = {"wrong_nonce"}

Written from OpenID Connect Core 1.0 and Discovery 1.0, RFC 6749, RFC 7636 (PKCE, which it demands), RFC 9700 and
RFC 9207. `done` tells which misbehaviours were carried out, so that a test knows that its attack took place.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlencode

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from trainshed.testing.codes import Asked, Client, Codes, GrantRefused, form_of, proven_client
from trainshed.testing.listening import Listening

FOREIGN = "https://elsewhere.example"
MARKUP = "<script>alert(document.domain)</script><img src=x onerror=alert(1)>"
TOKEN_SECONDS = 3600

MISBEHAVIOURS = {
    # Discovery
    "foreign_metadata": "the metadata name another issuer than the one that was asked",
    # The way back from the authorization endpoint
    "drops_state": "the answer has no state",
    "foreign_state": "the answer has a state that nobody asked with",
    "foreign_iss": "the answer says that it comes from another issuer (RFC 9207)",
    "drops_iss": "the answer does not say whom it comes from, though the metadata promise it (RFC 9207)",
    "error_with_markup": "the answer is an error whose description is a script",
    # The token endpoint
    "ignores_pkce": "any verifier will do",
    "accepts_used_codes": "a code is good for any number of times",
    "no_id_token": "the token answer is plain OAuth 2",
    # The id token's claims
    "wrong_nonce": "the nonce is not the one that was asked with",
    "no_nonce": "there is no nonce",
    "wrong_audience": "it is for another client",
    "extra_audience": "it is for another client as well, and does not say who asked",
    "wrong_authorized_party": "it is for both, and another client asked (azp)",
    "wrong_issuer": "it comes from another issuer",
    "expired": "it has expired",
    "no_expiry": "it never expires",
    "no_subject": "it does not say who signed in",
    # The id token's signature
    "bad_signature": "one bit of the signature is wrong",
    "alg_none": "it is not signed",
    "hs256_with_public_key": "it is signed with the public key as a shared secret",
    "key_in_header": "it is signed with a key of its own, which its header brings",
    "unknown_key": "it is signed with a key that is not published",
    # User info
    "userinfo_of_another": "user info tells of another account",
}


@dataclass(frozen=True)
class Account:
    """Somebody who has an account at the provider. `email_verified` is what the provider says, whatever it is."""

    subject: str
    email: str
    name: str = "Somebody"
    email_verified: Any = True

    def claims(self, scope: str) -> dict[str, Any]:
        """What the scopes let an application know (Core, 5.4)."""
        granted = scope.split()
        email = {"email": self.email, "email_verified": self.email_verified} if "email" in granted else {}
        profile = {"name": self.name} if "profile" in granted else {}
        return {"sub": self.subject, **email, **profile}


@dataclass
class Grant:
    """What an access or a refresh token stands for."""

    account: Account
    scope: str
    nonce: str = ""


class HostileOidc:
    """`signed_in` is who sits at the browser; with `asks` a page asks which of `accounts` it shall be."""

    def __init__(self, client: Client, *accounts: Account, asks: bool = False) -> None:
        self.client = client
        self.accounts = list(accounts)
        self.signed_in = accounts[0] if accounts else Account("sub-1", "somebody@example.org")
        self.another = Account("sub-of-another", "another@example.org")
        self.asks = asks
        self.misbehaviours: set[str] = set()
        self.done: list[str] = []
        self.asked: list[Asked] = []
        self._codes = Codes()
        self._access: dict[str, Grant] = {}
        self._refresh: dict[str, Grant] = {}
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._key_id = secrets.token_hex(4)
        self._listening = Listening(Starlette(routes=self._routes()))
        self.url = self.issuer = self._listening.url

    def __enter__(self) -> Self:
        self._listening.__enter__()
        return self

    def __exit__(self, *unused: object) -> None:
        self._listening.__exit__(*unused)

    def behave(self) -> None:
        """Be honest again, and forget what was done."""
        self.misbehaviours, self.done = set(), []

    def _does(self, name: str) -> bool:
        unknown = self.misbehaviours - MISBEHAVIOURS.keys()
        if unknown:
            raise KeyError(f"There is no misbehaviour {sorted(unknown)}; see MISBEHAVIOURS.")
        if name in self.misbehaviours:
            self.done.append(name)
        return name in self.misbehaviours

    def _routes(self) -> list[Route]:
        return [
            Route("/.well-known/openid-configuration", self._metadata),
            Route("/keys", self._keys),
            Route("/authorize", self._authorize, methods=["GET", "POST"]),
            Route("/token", self._token, methods=["POST"]),
            Route("/userinfo", self._userinfo, methods=["GET", "POST"]),
        ]

    # What is public

    def _metadata(self, _: Request) -> Response:
        return JSONResponse(
            {
                "issuer": FOREIGN if self._does("foreign_metadata") else self.issuer,
                "authorization_endpoint": f"{self.url}/authorize",
                "token_endpoint": f"{self.url}/token",
                "userinfo_endpoint": f"{self.url}/userinfo",
                "jwks_uri": f"{self.url}/keys",
                "scopes_supported": ["openid", "profile", "email", "offline_access"],
                "response_types_supported": ["code"],
                "response_modes_supported": ["query"],
                "grant_types_supported": ["authorization_code", "refresh_token"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["RS256"],
                "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
                "code_challenge_methods_supported": ["S256"],
                "authorization_response_iss_parameter_supported": True,
            }
        )

    def _keys(self, _: Request) -> Response:
        return JSONResponse({"keys": [_public_jwk(self._key, self._key_id)]})

    # The browser

    async def _authorize(self, request: Request) -> Response:
        """Sign in (Core, 3.1.2). Whoever is not known to be the client's page gets no redirect (RFC 6749, 4.1.2.1)."""
        query = request.query_params
        if query.get("client_id") != self.client.id or not self.client.allows(query.get("redirect_uri", "")):
            return HTMLResponse("<h1>This application or its redirect address is not known here.</h1>", 400)
        if refused := _why_not(query):
            return self._back(request, refused.body)
        if self._does("error_with_markup"):
            return self._back(request, {"error": "access_denied", "error_description": MARKUP, "error_uri": MARKUP})
        if self.asks and request.method == "GET":
            return HTMLResponse(_PAGE.format(accounts="".join(map(_button, self.accounts))))
        chosen = (await form_of(request)).get("sub") if request.method == "POST" else None
        account = next((account for account in self.accounts if account.subject == chosen), self.signed_in)
        asked = Asked.of(dict(query), account)
        self.asked.append(asked)
        return self._back(request, {"code": self._codes.issue(asked)})

    def _back(self, request: Request, said: dict[str, str]) -> Response:
        """Send the browser back with the answer, the state and who we are."""
        query = request.query_params
        if "state" in query and not self._does("drops_state"):
            said = {**said, "state": secrets.token_urlsafe(12) if self._does("foreign_state") else query["state"]}
        if not self._does("drops_iss"):
            said = {**said, "iss": FOREIGN if self._does("foreign_iss") else self.issuer}
        joint = "&" if "?" in query["redirect_uri"] else "?"
        return RedirectResponse(f"{query['redirect_uri']}{joint}{urlencode(said)}", 303)

    # The client's server

    async def _token(self, request: Request) -> Response:
        form = await form_of(request)
        try:
            client = proven_client(request, form, self.client)
            return JSONResponse(self._granted(form, client), headers={"Cache-Control": "no-store"})
        except GrantRefused as refused:
            return JSONResponse(refused.body, refused.status, headers={"Cache-Control": "no-store"})

    def _granted(self, form: dict[str, str], client: Client) -> dict[str, Any]:
        if form.get("grant_type") == "authorization_code":
            ignores, again = self._does("ignores_pkce"), self._does("accepts_used_codes")
            asked = self._codes.redeem(form, client, checks_pkce=not ignores, once=not again)
            return self._tokens(Grant(asked.account, asked.scope, asked.nonce))
        if form.get("grant_type") == "refresh_token":
            grant = self._refresh.pop(form.get("refresh_token", ""), None)
            if grant is None:
                raise GrantRefused("invalid_grant", "this refresh token is unknown or was used")
            return self._tokens(Grant(grant.account, grant.scope))
        raise GrantRefused("unsupported_grant_type", "only authorization_code and refresh_token")

    def _tokens(self, grant: Grant) -> dict[str, Any]:
        access, refresh = secrets.token_urlsafe(24), secrets.token_urlsafe(24)
        self._access[access], self._refresh[refresh] = grant, grant
        said = {"access_token": access, "token_type": "Bearer", "expires_in": TOKEN_SECONDS, "scope": grant.scope}
        said |= {"refresh_token": refresh}
        return said if self._does("no_id_token") else said | {"id_token": self._id_token(grant, access)}

    def _userinfo(self, request: Request) -> Response:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        grant = self._access.get(token) if scheme.lower() == "bearer" else None
        if grant is None:
            return Response(status_code=401, headers={"WWW-Authenticate": 'Bearer error="invalid_token"'})
        account = self.another if self._does("userinfo_of_another") else grant.account
        return JSONResponse(account.claims(grant.scope))

    # The id token

    def _id_token(self, grant: Grant, access_token: str) -> str:
        now = int(time.time())
        claims = {
            **grant.account.claims(grant.scope),
            "iss": self.issuer,
            "aud": self.client.id,
            "iat": now,
            "exp": now + TOKEN_SECONDS,
            "at_hash": _half_hash(access_token),
            **({"nonce": grant.nonce} if grant.nonce else {}),
        }
        for name, spoil in _SPOILT_CLAIMS.items():
            if self._does(name):
                spoil(claims)
        return self._signed(claims)

    def _signed(self, claims: dict[str, Any]) -> str:
        for name, spoil in _SPOILT_SIGNATURES.items():
            if self._does(name):
                return spoil(claims, self._key, self._key_id)
        return _sign(claims, self._key, self._key_id)


_SPOILT_CLAIMS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "wrong_nonce": lambda claims: claims.update(nonce=secrets.token_urlsafe(12)),
    "no_nonce": lambda claims: claims.pop("nonce", None),
    "wrong_audience": lambda claims: claims.update(aud="another-client"),
    "extra_audience": lambda claims: claims.update(aud=[claims["aud"], "another-client"]),
    "wrong_authorized_party": lambda claims: claims.update(aud=[claims["aud"], "another-client"], azp="another-client"),
    "wrong_issuer": lambda claims: claims.update(iss=FOREIGN),
    "expired": lambda claims: claims.update(iat=claims["iat"] - 7200, exp=claims["iat"] - 3600),
    "no_expiry": lambda claims: claims.pop("exp"),
    "no_subject": lambda claims: claims.pop("sub"),
}


def _sign(claims: dict[str, Any], key: rsa.RSAPrivateKey, key_id: str, **header: Any) -> str:
    return jwt.encode(claims, key, "RS256", headers={"kid": key_id, **header})


def _with_bad_signature(claims: dict[str, Any], key: rsa.RSAPrivateKey, key_id: str) -> str:
    head, body, signature = _sign(claims, key, key_id).split(".")
    spoilt = bytearray(base64.urlsafe_b64decode(signature + "=" * (-len(signature) % 4)))
    spoilt[7] ^= 1
    return f"{head}.{body}.{_base64(bytes(spoilt))}"


def _unsigned(claims: dict[str, Any], key: rsa.RSAPrivateKey, key_id: str) -> str:
    return f"{_segment({'alg': 'none', 'typ': 'JWT', 'kid': key_id})}.{_segment(claims)}."


def _with_public_key_as_secret(claims: dict[str, Any], key: rsa.RSAPrivateKey, key_id: str) -> str:
    """What a verifier takes for good that lets the token choose the algorithm. PyJWT would not make one."""
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    secret = key.public_key().public_bytes(serialization.Encoding.PEM, form)
    signed = f"{_segment({'alg': 'HS256', 'typ': 'JWT', 'kid': key_id})}.{_segment(claims)}"
    return f"{signed}.{_base64(hmac.digest(secret, signed.encode(), 'sha256'))}"


def _with_key_in_header(claims: dict[str, Any], key: rsa.RSAPrivateKey, key_id: str) -> str:
    own = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return _sign(claims, own, key_id, jwk=_public_jwk(own, key_id))


def _with_unknown_key(claims: dict[str, Any], key: rsa.RSAPrivateKey, key_id: str) -> str:
    return _sign(claims, rsa.generate_private_key(public_exponent=65537, key_size=2048), "unpublished")


_SPOILT_SIGNATURES: dict[str, Callable[[dict[str, Any], rsa.RSAPrivateKey, str], str]] = {
    "bad_signature": _with_bad_signature,
    "alg_none": _unsigned,
    "hs256_with_public_key": _with_public_key_as_secret,
    "key_in_header": _with_key_in_header,
    "unknown_key": _with_unknown_key,
}


def _why_not(query: Any) -> GrantRefused | None:
    """What is wrong with an authorization request."""
    if query.get("response_type") != "code":
        return GrantRefused("unsupported_response_type", "only code")
    if "openid" not in query.get("scope", "").split():
        return GrantRefused("invalid_scope", "the scope openid is missing")
    if not query.get("code_challenge") or query.get("code_challenge_method") != "S256":
        return GrantRefused("invalid_request", "a code_challenge with the method S256 is required")
    return None


def _public_jwk(key: rsa.RSAPrivateKey, key_id: str) -> dict[str, Any]:
    said: dict[str, Any] = jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    return {"kty": "RSA", "n": said["n"], "e": said["e"], "kid": key_id, "use": "sig", "alg": "RS256"}


def _half_hash(token: str) -> str:
    """`at_hash` (Core, 3.1.3.6)."""
    return _base64(hashlib.sha256(token.encode()).digest()[:16])


def _segment(value: dict[str, Any]) -> str:
    return _base64(json.dumps(value).encode())


def _base64(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).decode().rstrip("=")


_PAGE = """<!doctype html><link rel="icon" href="data:,"><title>Sign in</title>
<h1>Who are you?</h1><form method=post>{accounts}</form>"""


def _button(account: Account) -> str:
    return f'<button name="sub" value="{account.subject}">{account.email}</button>'
