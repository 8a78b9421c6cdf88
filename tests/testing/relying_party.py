"""A client of an OpenID Connect provider that checks all it is told to: OpenID Connect Core, 3.1.3.7, and RFC 9207."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx
import jwt

from trainshed.testing.codes import s256

CALLBACK = "http://127.0.0.1:1/callback"


class Distrust(Exception):
    """The provider said something that a client must not believe."""


@dataclass
class RelyingParty:
    """One client at one provider; `sub` is who signs in there, where a double asks."""

    issuer: str
    client_id: str
    client_secret: str
    sub: str = ""
    redirect_uri: str = CALLBACK
    state: str = field(default_factory=secrets.token_urlsafe)
    nonce: str = field(default_factory=secrets.token_urlsafe)
    verifier: str = field(default_factory=lambda: secrets.token_urlsafe(40))

    def metadata(self) -> dict[str, Any]:
        found: dict[str, Any] = httpx.get(f"{self.issuer}/.well-known/openid-configuration").raise_for_status().json()
        _demand(found["issuer"] == self.issuer, "the metadata's issuer")
        return found

    def address(self, **changes: str) -> str:
        """Where to send the browser."""
        query = {
            "client_id": self.client_id,
            "redirect_uri": self.redirect_uri,
            "response_type": "code",
            "scope": "openid profile email",
            "state": self.state,
            "nonce": self.nonce,
            "code_challenge": s256(self.verifier),
            "code_challenge_method": "S256",
            **changes,
        }
        return f"{self.metadata()['authorization_endpoint']}?{urlencode(query)}"

    def ask(self, **changes: str) -> httpx.Response:
        """The provider's answer to the browser that was sent to it and pressed the button."""
        address = self.address(**changes)
        page = httpx.get(address)
        return httpx.post(address, data={"sub": self.sub}) if page.status_code == 200 else page

    def code(self) -> str:
        """The code from an answer that may be believed."""
        return self.code_in(self.ask().headers["location"])

    def code_in(self, location: str) -> str:
        """The code that the browser came back with."""
        address = urlsplit(location)
        _demand(f"{address.scheme}://{address.netloc}{address.path}" == self.redirect_uri, "where the answer goes")
        said = dict(parse_qsl(address.query))
        _demand("error" not in said, said.get("error", ""))
        _demand(said.get("state") == self.state, "the state")
        if self.metadata().get("authorization_response_iss_parameter_supported"):
            _demand(said.get("iss") == self.issuer, "whom the answer comes from")
        return said["code"]

    def exchange(self, code: str, **changes: str) -> httpx.Response:
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": self.redirect_uri}
        return self.token({**form, "code_verifier": self.verifier, **changes})

    def refresh(self, refresh_token: str) -> httpx.Response:
        return self.token({"grant_type": "refresh_token", "refresh_token": refresh_token})

    def token(self, form: dict[str, str]) -> httpx.Response:
        return httpx.post(self.metadata()["token_endpoint"], data=form, auth=(self.client_id, self.client_secret))

    def sign_in(self) -> dict[str, Any]:
        """The claims of whoever signed in. Raises `Distrust`."""
        tokens = self.exchange(self.code()).raise_for_status().json()
        _demand("id_token" in tokens, "an id token")
        claims = self.verified(tokens["id_token"])
        _demand(self.userinfo(tokens["access_token"])["sub"] == claims["sub"], "user info's subject")
        return claims

    def verified(self, id_token: str) -> dict[str, Any]:
        keys = httpx.get(self.metadata()["jwks_uri"]).json()["keys"]
        key_id = jwt.get_unverified_header(id_token).get("kid")
        # A provider with one key need not name it (Core, 10.1).
        fitting = [key for key in keys if key.get("kid") == key_id or (key_id is None and len(keys) == 1)]
        _demand(bool(fitting), "a published key")
        demanded = {"require": ["iss", "sub", "aud", "exp", "iat"]}
        try:
            claims: dict[str, Any] = jwt.decode(
                id_token,
                jwt.PyJWK(fitting[0], "RS256"),
                ["RS256"],
                demanded,
                audience=self.client_id,
                issuer=self.issuer,
            )
        except jwt.PyJWTError as error:
            raise Distrust(str(error)) from error
        _demand(claims["aud"] in (self.client_id, [self.client_id]), "the audience")
        _demand(claims.get("nonce") == self.nonce, "the nonce")
        return claims

    def userinfo(self, access_token: str) -> dict[str, Any]:
        address = self.metadata()["userinfo_endpoint"]
        answer = httpx.get(address, headers={"Authorization": f"Bearer {access_token}"})
        found: dict[str, Any] = answer.raise_for_status().json()
        return found


def _demand(condition: bool, what: str) -> None:
    if not condition:
        raise Distrust(what)
