"""A command line signs in through the browser: the person lets it in there, and it exchanges a code for a token.

RFC 8252 (the answer goes to a loopback address, where only this machine listens) and RFC 7636 (the code is worth
nothing without the verifier that only the command line knows).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import time
from dataclasses import dataclass
from urllib.parse import urlencode

from django.db import transaction

from trainshed.errors import InvalidInput, NotSignedIn
from trainshed.schemas import TokenView
from trainshed.server.records.models import LoginCode
from trainshed.server.services import addresses, audit, limits, names, tokens
from trainshed.server.services.actors import Actor, hash_secret, new_secret, person_actor, require_person

_SECONDS = 120.0
_LOOPBACK = re.compile(r"http://(127\.0\.0\.1|\[::1\]):[0-9]{2,5}/[a-z-]*")
_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")
_STATE = re.compile(r"[A-Za-z0-9_.~-]{8,200}")


@dataclass(frozen=True)
class Asking:
    """A command line that wants to be let in: what it calls itself, and where it listens."""

    redirect_uri: str
    state: str
    challenge: str
    name: str


def asking(redirect_uri: str, state: str, challenge: str, name: str) -> Asking:
    """What a command line asks, proved. Raises `InvalidInput` for an address that is not this machine's own."""
    if not _LOOPBACK.fullmatch(redirect_uri):
        raise InvalidInput(f"{redirect_uri[:200]!r} is no address of a command line on your own machine.")
    if not _CHALLENGE.fullmatch(challenge) or not _STATE.fullmatch(state):
        raise InvalidInput(
            "The command line asked in a way that this server does not know.", hint="Update `trainshed`."
        )
    return Asking(redirect_uri, state, challenge, names.proved(name or "command line", "A token's", most=200))


@transaction.atomic
def let_in(actor: Actor, asked: Asking) -> str:
    """Where the browser goes with the code, which holds two minutes."""
    person = require_person(actor, "admin")
    LoginCode.objects.filter(expires_at__lt=time.time()).delete()
    code = new_secret("code")
    LoginCode.objects.create(
        person=person,
        sha256=hash_secret(code),
        challenge=asked.challenge,
        token_name=asked.name,
        expires_at=time.time() + _SECONDS,
    )
    audit.note(actor, "login_code.make", name=asked.name)
    return f"{asked.redirect_uri}?{urlencode({'code': code, 'state': asked.state})}"


def exchange(code: str, verifier: str, *, address: str) -> TokenView:
    """A token for a code, once, and only for who asked for it. Raises `NotSignedIn`."""
    limits.take(limits.LOGIN_CODES, addresses.home(address))
    with transaction.atomic():
        row = LoginCode.objects.select_for_update().select_related("person").filter(sha256=hash_secret(code)).first()
        if row is None:
            raise NotSignedIn(
                "This code is unknown, old, or has been used already.", hint="Run `trainshed login` again."
            )
        row.delete()
    # Used up, whoever came with it: a code that somebody caught is worth nothing to its owner either.
    if row.expires_at < time.time() or not row.person.is_active or not _fits(verifier, row.challenge):
        raise NotSignedIn("This code is unknown, old, or has been used already.", hint="Run `trainshed login` again.")
    return tokens.issue(person_actor(row.person, address=address), name=row.token_name)


def _fits(verifier: str, challenge: str) -> bool:
    digest = hashlib.sha256(verifier.encode()).digest()
    return hmac.compare_digest(base64.urlsafe_b64encode(digest).decode().rstrip("="), challenge)
