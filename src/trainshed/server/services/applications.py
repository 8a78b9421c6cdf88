"""Other applications of the lab that sign people in with this server: what it says of a person as OpenID provider.

A token belongs to the session in which it was granted and ends with it; an access token lives four minutes, so an
application that asks anew before it trusts one longer knows of a sign-out within five (OpenID Connect Core, RFC 6749).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from allauth.idp.oidc.adapter import DefaultOIDCAdapter
from allauth.idp.oidc.models import Client, Token
from django.core.cache import cache
from django.db import transaction

from trainshed.errors import InvalidInput, NotSignedIn, StartRefused
from trainshed.schemas import settings
from trainshed.server.records.models import Person, Session
from trainshed.server.services.providers import listed

_CODE_SECONDS = 120
_SCOPES = ["openid", "profile", "email"]
_GRANTS = ["authorization_code", "refresh_token"]
_KNOWN_HINT = "Whoever looks after this server can name it, with its addresses, in TRAINSHED_OIDC_CLIENTS."
_HINT = 'As in `"redirect_uris": ["https://notebooks.example.org/callback"]`.'


@transaction.atomic
def register() -> None:
    """Make the applications be those of the settings; one that is no longer named loses its tokens too."""
    said = listed("TRAINSHED_OIDC_CLIENTS", ("id", "name", "secret", "redirect_uris"))
    if not all(isinstance(row["redirect_uris"], list) for row in said):
        raise StartRefused("`redirect_uris` in TRAINSHED_OIDC_CLIENTS must be lists of addresses.", hint=_HINT)
    Client.objects.exclude(id__in=[row["id"] for row in said]).delete()
    for row in said:
        client = Client.objects.filter(id=row["id"]).first() or Client(id=row["id"])
        client.name, client.skip_consent = row["name"], True
        client.set_redirect_uris(row["redirect_uris"])
        client.set_scopes(_SCOPES)
        client.grant_types = "\n".join(_GRANTS)
        if not client.secret or not client.check_secret(row["secret"]):
            client.set_secret(row["secret"])
        client.save()


class ApplicationAdapter(DefaultOIDCAdapter):
    """What an application is told of a person."""

    def get_issuer(self) -> str:
        return settings.text("TRAINSHED_PUBLIC_URL").rstrip("/") or str(super().get_issuer())

    def get_claims(
        self, purpose: Literal["id_token", "userinfo"], user: Any, client: Client, scopes: Iterable[str], **named: Any
    ) -> dict[str, Any]:
        claims = dict(super().get_claims(purpose, user, client, scopes, **named))
        person: Person = user
        return claims | ({"name": person.name} if "profile" in scopes else {})

    def populate_server_metadata(self, data: dict[str, Any]) -> None:
        """What we offer of all that allauth could."""
        data.pop("device_authorization_endpoint", None)
        data |= {"grant_types_supported": _GRANTS, "response_types_supported": ["code"]}
        # allauth could take clients that have no secret too; ours have one.
        data["token_endpoint_auth_methods_supported"] = ["client_secret_basic", "client_secret_post"]


def require_known(client_id: str, redirect_uri: str) -> None:
    """That the settings name this application with this very address (RFC 9700, 2.1). Raises `InvalidInput`.

    allauth would lead to another port of the same machine as well, which is for applications without a server.
    """
    client = Client.objects.filter(id=client_id).first()
    if client is None:
        raise InvalidInput(f"No application is known here as {client_id[:100]!r}.", hint=_KNOWN_HINT)
    if redirect_uri not in client.get_redirect_uris():
        raise InvalidInput(f"{client.name} may not be led back to {redirect_uri[:300]!r}.", hint=_KNOWN_HINT)


def granted(code: str, session_id: str) -> None:
    """Remember in which session an application was given this code."""
    cache.set(f"granted {code}", session_id, _CODE_SECONDS)


def session_of(asked: Mapping[str, str]) -> str:
    """The session that a request for tokens goes back to. Raises `NotSignedIn` once it has ended."""
    if asked.get("grant_type") == "refresh_token":
        row = Token.objects.lookup(Token.Type.REFRESH_TOKEN, asked.get("refresh_token", ""))
        session_id = str((row.data or {}).get("session", "")) if row else ""
    else:
        session_id = _redeemed(f"granted {asked.get('code', '')}")
    if not Session.objects.alive().filter(public_id=session_id).exists():
        raise NotSignedIn("The session has ended, or this was never granted in it.")
    return session_id


def _redeemed(kept: str) -> str:
    """What a code stands for, the first time that it is asked: of two at once only one deletes it."""
    session_id = str(cache.get(kept) or "")
    return session_id if cache.delete(kept) else ""


def bind(answer: Mapping[str, Any], session_id: str) -> None:
    """Let the tokens of this answer belong to the session."""
    hashes = [
        ApplicationAdapter().hash_token(str(answer[name]))
        for name in ("access_token", "refresh_token")
        if name in answer
    ]
    for row in Token.objects.filter(hash__in=hashes):
        row.data = {**(row.data or {}), "session": session_id}
        row.save(update_fields=["data"])


def end(session_ids: Iterable[str]) -> None:
    """Take back what applications hold of these sessions."""
    for session_id in session_ids:
        Token.objects.filter(data__session=session_id).delete()
