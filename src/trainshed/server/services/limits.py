"""How often somebody may do something: the generic cell rate algorithm (ITU-T I.371) on one number per key.

The number is when the next request would be on time; it stands in the database, whose clock it goes by, so all
processes share it. A request may come `burst` pauses early. What is counted stays counted though the request fails:
`take` is called before a transaction begins, not in it.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import Any

from django.db import connection

from trainshed.errors import TooManyRequests
from trainshed.server.queue import dialect
from trainshed.server.services import addresses


@dataclass(frozen=True)
class Limit:
    """`burst` at once, and then one each `pause_seconds`."""

    name: str
    burst: int
    pause_seconds: float
    words: str

    @property
    def slack_seconds(self) -> float:
        """How early a request may come."""
        return (self.burst - 1) * self.pause_seconds


# Failed sign-ins: one who guesses one password, one who tries many people's, and many who guess one person's.
GUESSES_HERE = Limit("guess-here", 10, 60, "wrong sign-ins as this person from your address")
GUESSES_FROM = Limit("guess-from", 100, 6, "wrong sign-ins from your address")
GUESSES_AT = Limit("guess-at", 100, 60, "wrong sign-ins as this person")
SECOND_FACTORS = Limit("second-factor", 10, 60, "wrong codes")
WRONG_TOKENS = Limit("wrong-token", 60, 1, "wrong tokens from your address")
LOGIN_CODES = Limit("login-code", 20, 3, "tries to exchange a code from your address")
SUBMITS = Limit("submit", 300, 0.1, "jobs")
IMPORTS = Limit("import", 60, 1, "imports")
MAILS = Limit("mail", 20, 60, "mails and invites")

# What is later than a limit can bring about is from before the clock was set back, and counts for nothing.
_TAKE = """
INSERT INTO rate_limit (key, due_at) VALUES (%(key)s, {now} + %(pause)s)
ON CONFLICT (key) DO UPDATE
SET due_at = %(pause)s + CASE WHEN rate_limit.due_at > {now} AND rate_limit.due_at < {now} + %(latest)s
                              THEN rate_limit.due_at ELSE {now} END
WHERE rate_limit.due_at <= {now} + %(slack)s OR rate_limit.due_at >= {now} + %(latest)s
RETURNING due_at
"""
_WAIT = "SELECT due_at - {now} - %(slack)s FROM rate_limit WHERE key = %(key)s"
_GIVE_BACK = "UPDATE rate_limit SET due_at = due_at - %(pause)s WHERE key = %(key)s"
_FORGIVE = "DELETE FROM rate_limit WHERE key = %(key)s"
_SWEEP = "DELETE FROM rate_limit WHERE due_at <= {now}"


def take(limit: Limit, who: str) -> None:
    """Count one by `who`. Raises `TooManyRequests`, which says how long to wait; what is refused is not counted."""
    named = _named(limit, who)
    if _run(_TAKE, **named):
        return
    waits = _run(_WAIT, **named)
    seconds = max(1, math.ceil(waits[0][0] if waits else 0))
    raise TooManyRequests(
        f"There were too many {limit.words}; wait {seconds} s.",
        hint=f"At most {limit.burst} at once are taken, and then one every {limit.pause_seconds:g} s.",
        retry_after_seconds=seconds,
    )


def give_back(limit: Limit, who: str) -> None:
    """What was taken turned out to be none: it counts no more."""
    _run(_GIVE_BACK, **_named(limit, who))


def forgive(limit: Limit, who: str) -> None:
    """After a success nothing that came before it counts."""
    _run(_FORGIVE, **_named(limit, who))


def take_guess(address: str, email: str) -> None:
    """Count a sign-in by password before the password is looked at, so that many at once are counted too.

    The narrowest goes first: whom it stops does not use up what others at that address, or of that name, have left.
    """
    for limit, who in _of_guess(address, email):
        take(limit, who)


def forgive_guess(address: str, email: str) -> None:
    """The password was right: this person's mistakes here are forgiven, and nobody else's."""
    (limit, who), *others = _of_guess(address, email)
    forgive(limit, who)
    for limit, who in others:
        give_back(limit, who)


def _of_guess(address: str, email: str) -> list[tuple[Limit, str]]:
    home, email = addresses.home(address), email.strip().lower()
    return [(GUESSES_HERE, f"{home} {email}"), (GUESSES_FROM, home), (GUESSES_AT, email)]


def sweep() -> None:
    """Forget those whose time has come: without a row everything may be taken, as with such a one."""
    _run(_SWEEP)


def _named(limit: Limit, who: str) -> dict[str, Any]:
    # Hashed, because anybody writes an e-mail address of any length, and a table of limits need not tell whose.
    key = f"{limit.name}:{hashlib.sha256(who.encode(errors='replace')).hexdigest()}"
    slack = limit.slack_seconds
    return {"key": key, "pause": limit.pause_seconds, "slack": slack, "latest": slack + limit.pause_seconds + 1}


def _run(statement: str, **named: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement.format(now=dialect.current().now), named)
        return list(cursor.fetchall()) if cursor.description else []
