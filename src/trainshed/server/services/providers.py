"""The providers that people may sign in with, as the settings name them, and what is proved of what they say.

OpenID Connect Core 1.0 (section 3.1.3.7: an id token is always checked whole), RFC 7636 (PKCE), RFC 9207 (the issuer in
the answer). allauth carries the flow; it sends no nonce and compares no subjects, so that is done here.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import secrets
import threading
import time
from typing import Any

import jwt
from allauth.account.models import EmailAddress
from allauth.socialaccount.adapter import get_adapter
from allauth.socialaccount.helpers import render_authentication_error
from allauth.socialaccount.models import SocialApp
from allauth.socialaccount.providers import registry
from allauth.socialaccount.providers.dropbox.provider import DropboxOAuth2Provider
from allauth.socialaccount.providers.dropbox.views import DropboxOAuth2Adapter
from allauth.socialaccount.providers.oauth2.client import OAuth2Error
from allauth.socialaccount.providers.oauth2.views import OAuth2CallbackView, OAuth2LoginView
from allauth.socialaccount.providers.openid_connect.provider import OpenIDConnectProvider
from allauth.socialaccount.providers.openid_connect.views import OpenIDConnectOAuth2Adapter
from django.http import HttpRequest
from requests import RequestException

from trainshed.errors import StartRefused
from trainshed.schemas import settings

log = logging.getLogger(__name__)
_ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
_LEEWAY_SECONDS = 60
_KEPT_SECONDS = 600.0
_GOOGLE = {"id": "google", "name": "Google", "issuer": "https://accounts.google.com"}
_TAKEN_IDS = ("google", "dropbox", "openid_connect")
_kept: dict[str, tuple[float, dict[str, Any]]] = {}
_keeping = threading.Lock()


def apps() -> list[SocialApp]:
    """Every provider of the settings, in the order of the sign-in page."""
    return [*map(_oidc_app, _said()), *_dropbox_app()]


def names() -> dict[str, str]:
    """The names of the providers by their ids."""
    return {app.provider_id or app.provider: app.name for app in apps()}


def _said() -> list[dict[str, str]]:
    google = {
        **_GOOGLE,
        "client_id": settings.text("TRAINSHED_GOOGLE_CLIENT_ID"),
        "client_secret": settings.text("TRAINSHED_GOOGLE_CLIENT_SECRET"),
    }
    wanted = ("id", "name", "issuer", "client_id", "client_secret")
    return [*([google] if google["client_id"] else []), *listed("TRAINSHED_OIDC_PROVIDERS", wanted)]


def listed(setting: str, wanted: tuple[str, ...]) -> list[dict[str, Any]]:
    """A setting that is a JSON list of objects. Raises `StartRefused` if it is not, or lacks a member."""
    said = settings.text(setting)
    try:
        rows = json.loads(said or "[]")
    except ValueError:
        rows = None
    if not isinstance(rows, list) or not all(isinstance(row, dict) and all(map(row.get, wanted)) for row in rows):
        names = ", ".join(f"`{name}`" for name in wanted)
        raise StartRefused(f"{setting} must be a JSON list of objects with {names}.", hint=settings.TABLE[setting].help)
    ids = [row["id"] for row in rows]
    if len(set(ids)) < len(ids) or not all(re.fullmatch(r"[A-Za-z0-9_-]{1,40}", str(id_)) for id_ in ids):
        raise StartRefused(f"The ids in {setting} must be different words of letters and digits; they are {ids}.")
    if set(ids) & set(_TAKEN_IDS):
        raise StartRefused(f"An id in {setting} is one of {', '.join(_TAKEN_IDS)}, which are taken; choose another.")
    return rows


def _oidc_app(said: dict[str, str]) -> SocialApp:
    return SocialApp(
        provider="openid_connect",
        provider_id=said["id"],
        name=said["name"],
        client_id=said["client_id"],
        secret=said["client_secret"],
        settings={"server_url": said["issuer"].rstrip("/"), "issuer": said["issuer"]},
    )


def _dropbox_app() -> list[SocialApp]:
    key, secret = settings.text("TRAINSHED_DROPBOX_CLIENT_ID"), settings.text("TRAINSHED_DROPBOX_CLIENT_SECRET")
    return [SocialApp(provider="dropbox", name="Dropbox", client_id=key, secret=secret)] if key else []


class _OnlyWhatWeAsk:
    """Scopes and parameters come from us; allauth would also take them from the address."""

    pkce_enabled_default = True

    def serialize(self) -> dict[str, Any]:
        """By its own id: two providers may know this installation by the same client id."""
        return {"id": self.sub_id, "app.client_id": self.app.client_id}  # type: ignore[attr-defined]

    def get_scope_from_request(self, request: HttpRequest) -> list[str]:
        return self.get_scope()  # type: ignore[attr-defined, no-any-return]

    def get_auth_params_from_request(self, request: HttpRequest, action: str) -> dict[str, str]:
        return self.get_auth_params()  # type: ignore[attr-defined, no-any-return]


class OidcAdapter(OpenIDConnectOAuth2Adapter):
    """One provider's endpoints, and the proof of what they say."""

    state: dict[str, Any]

    @property
    def openid_config(self) -> dict[str, Any]:
        """The provider's own description; it must name the issuer that the settings name."""
        issuer = self.issuer
        found = _fetched(self.get_provider().server_url)
        if found.get("issuer") != issuer:
            raise OAuth2Error(f"The provider calls itself {found.get('issuer')!r} and not {issuer!r}.")
        return found

    @property
    def issuer(self) -> str:
        return str(self.get_provider().app.settings["issuer"])

    def complete_login(self, request: HttpRequest, app: SocialApp, token: Any, **named: Any) -> Any:
        claims = self._proved(app, named["response"].get("id_token"))
        told = {**claims, **self._told_more(token.token, claims["sub"])}
        return self.get_provider().sociallogin_from_response(request, {"id_token": claims, "userinfo": told})

    def _proved(self, app: SocialApp, id_token: Any) -> dict[str, Any]:
        """The claims of an id token that is signed, for us, from there, of now and of this very sign-in."""
        if not isinstance(id_token, str):
            raise OAuth2Error("The provider sent no id token.")
        try:
            claims = jwt.decode(
                id_token,
                key=self._key_of(id_token),
                algorithms=_ALGORITHMS,
                issuer=self.issuer,
                audience=app.client_id,
                leeway=_LEEWAY_SECONDS,
                options={"require": ["iss", "sub", "aud", "exp", "iat"]},
            )
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            raise OAuth2Error("The provider's id token is not valid.") from error
        audiences = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
        azp = claims.get("azp")
        if (len(audiences) > 1 or azp is not None) and azp != app.client_id:
            raise OAuth2Error("The provider's id token was made for another application.")
        if not self.state.get("nonce") or claims.get("nonce") != self.state["nonce"]:
            raise OAuth2Error("The provider's id token belongs to another sign-in.")
        if not isinstance(claims["sub"], str) or not claims["sub"]:
            raise OAuth2Error("The provider's id token names nobody.")
        return dict(claims)

    def _key_of(self, id_token: str) -> Any:
        """The provider's public key that the token says it is signed with; fetched anew once if it is not known."""
        kid = jwt.get_unverified_header(id_token).get("kid")
        for is_fresh in (False, True):
            published = _fetched(self.openid_config["jwks_uri"], is_fresh=is_fresh).get("keys", [])
            signing = [key for key in published if key.get("use", "sig") == "sig"]
            keys = [key for key in signing if kid is None or key.get("kid") == kid]
            if len(keys) == 1 and keys[0].get("kty") in ("RSA", "EC", "OKP"):
                return jwt.PyJWK(keys[0]).key
        raise OAuth2Error("The provider's id token is signed with a key that it does not publish.")

    def _told_more(self, access_token: str, subject: str) -> dict[str, Any]:
        """What the provider tells beside the id token, if it is about the same person."""
        if "userinfo_endpoint" not in self.openid_config:
            return {}
        told = self._fetch_user_info(access_token)
        if not isinstance(told, dict) or told.get("sub") != subject:
            raise OAuth2Error("The provider told of another person than the one who signed in.")
        return told


def _fetched(address: str, *, is_fresh: bool = False) -> dict[str, Any]:
    """A JSON document of a provider, kept for some minutes."""
    with _keeping:
        at, found = _kept.get(address, (0.0, {}))
    if not is_fresh and time.monotonic() - at < _KEPT_SECONDS and found:
        return found
    with get_adapter().get_requests_session() as session:
        answer = session.get(address)
        answer.raise_for_status()
        try:
            fetched = answer.json()
        except ValueError:
            fetched = None
    if not isinstance(fetched, dict):
        raise OAuth2Error(f"{address} did not answer with a JSON object.")
    with _keeping:
        _kept[address] = (time.monotonic(), fetched)
    return fetched


class OidcProvider(_OnlyWhatWeAsk, OpenIDConnectProvider):
    """Any OpenID Connect provider; Google is one."""

    oauth2_adapter_class = OidcAdapter

    def redirect(self, request: HttpRequest, process: str, **named: Any) -> Any:
        nonce = secrets.token_urlsafe(24)
        parameters = {**named.pop("auth_params", {}), "nonce": nonce}
        return super().redirect(request, process, auth_params=parameters, nonce=nonce, **named)

    def extract_uid(self, data: dict[str, Any]) -> str:
        """An identity is what its issuer calls it: a provider that moves to another issuer names other people."""
        claims = data["id_token"]
        return hashlib.sha256(f"{claims['iss']}\0{claims['sub']}".encode()).hexdigest()

    def extract_email_addresses(self, data: dict[str, Any]) -> list[EmailAddress]:
        told = data["userinfo"]
        email, verified = told.get("email"), told.get("email_verified") is True
        return [EmailAddress(email=email.lower(), verified=verified, primary=True)] if isinstance(email, str) else []


class DropboxAdapter(DropboxOAuth2Adapter):
    """Dropbox's endpoints, at the host that the settings name."""

    @property
    def authorize_url(self) -> str:
        return f"{_dropbox('www')}/oauth2/authorize"

    @property
    def access_token_url(self) -> str:
        return f"{_dropbox('api')}/oauth2/token"

    @property
    def profile_url(self) -> str:
        return f"{_dropbox('api')}/2/users/get_current_account"

    def get_callback_url(self, request: HttpRequest, app: SocialApp) -> str:
        return request.build_absolute_uri("/sign-in/with/dropbox/callback")


def _dropbox(host: str) -> str:
    return settings.text("TRAINSHED_DROPBOX_URL").replace("{host}", host).rstrip("/")


class DropboxProvider(_OnlyWhatWeAsk, DropboxOAuth2Provider):
    """Dropbox, which speaks OAuth 2 and not OpenID Connect."""

    oauth2_adapter_class = DropboxAdapter

    def extract_email_addresses(self, data: dict[str, Any]) -> list[EmailAddress]:
        verified = data.get("email_verified") is True
        return [EmailAddress(email=data["email"].lower(), verified=verified, primary=True)] if data.get("email") else []


class _Careful:
    """What a provider does wrong is a page, and not a failure of ours."""

    adapter: Any

    def dispatch(self, request: HttpRequest, *arguments: Any, **named: Any) -> Any:
        try:
            return super().dispatch(request, *arguments, **named)  # type: ignore[misc]
        except (OAuth2Error, RequestException) as error:
            log.warning("a sign-in with %s failed: %s", self.adapter.provider_id, error)
            return render_authentication_error(request, self.adapter.get_provider(), exception=error)


class Callback(_Careful, OAuth2CallbackView):
    """The way back from a provider: by the state of this very browser, and from the issuer that it was sent to."""

    def _get_state(self, request: HttpRequest, provider: Any) -> Any:
        state, answer = super()._get_state(request, provider)
        self.adapter.state = state or {}  # type: ignore[attr-defined]
        if state is not None and isinstance(self.adapter, OidcAdapter):
            self._prove_issuer(request, self.adapter)
        return state, answer

    def _prove_issuer(self, request: HttpRequest, adapter: OidcAdapter) -> None:
        said = request.GET.get("iss")
        promised = adapter.openid_config.get("authorization_response_iss_parameter_supported") is True
        if (said is not None or promised) and said != adapter.issuer:
            raise OAuth2Error("The answer came from another provider than the one that was asked.")


class Login(_Careful, OAuth2LoginView):
    """The way to a provider; only by a form of ours, because going there begins something."""


def adapter_of(request: HttpRequest, provider_id: str) -> Any:
    """Raises `SocialApp.DoesNotExist` for a provider that the settings do not name."""
    adapter = DropboxAdapter(request) if provider_id == "dropbox" else OidcAdapter(request, provider_id)
    adapter.get_provider()
    return adapter


# allauth lets its own Dropbox register itself, past the setting that names ours.
registry.register(DropboxProvider)
