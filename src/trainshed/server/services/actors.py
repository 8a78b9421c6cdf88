"""Who is asking: a person, a robot, a share link, an attempt, a host, the model server; and what they may do."""

from __future__ import annotations

import base64
import hashlib
import hmac
import math
import secrets
import time
import zlib
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from trainshed.errors import Forbidden, NotFound, NotSignedIn
from trainshed.server.queue.ledger import Held
from trainshed.server.records.models import Attempt, Host, Person, Token, Workspace

Need = Literal["read", "ask", "work", "run", "own"]

SCOPES = ("read", "write", "jobs", "admin")
_ROLE_RANK = {"viewer": 0, "editor": 1, "owner": 2}
# Need -> (the least role, the token scope): look; ask a model; change what stands there; queue and steer jobs; manage.
_NEEDS: dict[str, tuple[str, str]] = {
    "read": ("viewer", "read"),
    "ask": ("viewer", "jobs"),
    "work": ("editor", "write"),
    "run": ("editor", "jobs"),
    "own": ("owner", "admin"),
}
_PREFIXES = {
    "personal": "tsp_",
    "robot": "tsr_",
    "service": "tss_",
    "setup": "tsu_",
    "host": "tsh_",
    "invite": "tsi_",
    "share": "tsl_",
    "code": "tsc_",
}
_SEEN_EVERY_SECONDS = 60.0


@dataclass(frozen=True)
class Actor:
    """Somebody with a proven identity. `label` is what audit rows and jobs remember."""

    kind: Literal["person", "robot", "share", "attempt", "host", "service"]
    id: str
    roles: dict[str, str] = field(default_factory=dict)
    scopes: frozenset[str] = frozenset()
    is_administrator: bool = False
    person: Person | None = None
    held: Held | None = None
    token_id: str = ""
    """The token that proved it; empty for a session."""
    address: str = ""
    """Where the request came from, past the proxies that are trusted."""
    until: float = math.inf
    """When what proved it ends by itself, in seconds since 1970."""
    shared: str = ""
    """The id of the one thing that a share link opens."""
    only: str = ""
    """The one workspace that a person's token works in; empty for all of theirs."""

    @property
    def label(self) -> str:
        return f"{self.kind}:{self.id}"

    def may(self, workspace_id: str, need: Need, thing_id: str = "") -> bool:
        """Whether this actor's role and scopes allow the need in that workspace, or to that thing of it."""
        least, scope = _NEEDS[need]
        return (
            self.sees(workspace_id, thing_id) and is_at_least(self.roles[workspace_id], least) and scope in self.scopes
        )

    def sees(self, workspace_id: str, thing_id: str = "") -> bool:
        """Whether the workspace is there for this actor at all; for a share link only its one thing is."""
        return workspace_id in self.roles and self.shared in ("", thing_id)


def is_at_least(role: str, least: str) -> bool:
    return _ROLE_RANK[role] >= _ROLE_RANK[least]


@dataclass(frozen=True)
class Place:
    """The workspace and project that a URL names."""

    workspace_id: str
    project_id: str | None = None


def new_secret(kind: str) -> str:
    """A token: prefix, 160 random bits, and a checksum that tells a typing error from a wrong token."""
    body = base64.b32encode(secrets.token_bytes(20)).decode().lower()
    return f"{_PREFIXES[kind]}{body}{_checksum(body)}"


def _checksum(body: str) -> str:
    return f"{zlib.crc32(body.encode()):08x}"[:6]


def is_well_formed(secret: str) -> bool:
    """Whether the checksum fits: a typing error is told from a wrong token before any look into the database."""
    prefix, body = secret[:4], secret[4:]
    return prefix not in _PREFIXES.values() or _checksum(body[:-6]) == body[-6:]


def hash_secret(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def authenticate(authorization: str | None) -> Actor:
    """The actor that an `Authorization: Bearer` header proves. Raises `NotSignedIn`."""
    scheme, _, secret = (authorization or "").partition(" ")
    secret = secret.strip()
    if scheme.lower() != "bearer" or not secret:
        raise NotSignedIn()
    if not is_well_formed(secret):
        raise NotSignedIn("This is not a whole token: a character is missing or wrong.")
    digest = hash_secret(secret)
    if secret.startswith("tsa_"):
        return _attempt(digest)
    if secret.startswith(_PREFIXES["host"]):
        return _host(digest)
    return _token(digest)


def _attempt(digest: str) -> Actor:
    attempt = Attempt.objects.select_related("job").filter(token_sha256=digest).first()
    if attempt is None:
        raise NotSignedIn("This attempt's token is unknown.")
    held = Held(attempt.id, attempt.number, attempt.job_id, attempt.job.workspace_id)
    return Actor(kind="attempt", id=attempt.id, held=held)


def _host(digest: str) -> Actor:
    host = Host.objects.filter(key_sha256=digest).first()
    if host is None:
        raise NotSignedIn("This host's key is unknown.")
    return Actor(kind="host", id=host.id)


def _token(digest: str) -> Actor:
    token = Token.objects.select_related("person", "workspace").filter(sha256=digest, revoked_at=None).first()
    now = time.time()
    if token is None or not hmac.compare_digest(token.sha256, digest) or (token.expires_at or math.inf) < now:
        raise NotSignedIn("This token is unknown, expired or revoked.")
    if token.last_used_at is None or now - token.last_used_at > _SEEN_EVERY_SECONDS:
        Token.objects.filter(id=token.id).update(last_used_at=now)
    if token.kind == "service":
        return Actor(kind="service", id=token.id)
    if token.kind == "personal" and token.person is not None and token.person.is_active:
        actor = person_actor(token.person, frozenset(token.scopes), only=token.workspace_id)
    elif token.kind == "robot" and token.workspace is not None and token.workspace.deleted_at is None:
        roles = {**_shelf_roles(), token.workspace.id: token.role}
        actor = Actor(kind="robot", id=token.id, roles=roles, scopes=frozenset(token.scopes))
    else:
        raise NotSignedIn("This token does not sign anybody in.")
    return replace(actor, token_id=token.id, until=token.expires_at or math.inf)


def person_actor(
    person: Person, scopes: frozenset[str] = frozenset(SCOPES), only: str | None = None, address: str = ""
) -> Actor:
    """A person with the roles of their workspaces; the shelf is readable by everybody."""
    memberships = person.memberships.filter(workspace__deleted_at=None)
    roles = _shelf_roles() | dict(memberships.values_list("workspace_id", "role"))
    if only is not None:
        roles = {workspace_id: role for workspace_id, role in roles.items() if workspace_id == only}
    is_administrator = person.is_administrator and only is None
    return Actor(
        kind="person",
        id=person.id,
        roles=roles,
        scopes=scopes,
        is_administrator=is_administrator,
        only=only or "",
        person=person,
        address=address,
    )


def _shelf_roles() -> dict[str, str]:
    return dict.fromkeys(Workspace.objects.filter(is_shelf=True).values_list("id", flat=True), "viewer")


def gate(rows: Any, actor: Actor, id_: str, need: Need, within: Place | None) -> Any:
    """The one rule behind every noun's `get`: the row if the actor may, else `NotFound` or `Forbidden`."""
    found: Any = rows.filter(pk=id_).first()
    if found is None or (within and not _is_within(found, within)):
        raise NotFound()
    require(actor, found.workspace_id, need, found.pk)
    return found


def _is_within(row: Any, place: Place) -> bool:
    project_id = getattr(row, "project_id", None)
    return row.workspace_id == place.workspace_id and (
        project_id is None or place.project_id is None or project_id == place.project_id
    )


def require(actor: Actor, workspace_id: str, need: Need, thing_id: str = "") -> None:
    """Raises `NotFound` for a workspace that the actor cannot see, `Forbidden` where the role is not enough."""
    if not actor.sees(workspace_id, thing_id):
        raise NotFound()
    if not actor.may(workspace_id, need, thing_id):
        role, scope = _NEEDS[need]
        raise Forbidden(
            f"This needs the role {role} and the token scope `{scope}`.",
            hint="Ask an owner of the workspace, or use another token.",
        )


def require_person(actor: Actor, scope: str | None = None) -> Person:
    """The person who acts, if their token has the scope."""
    if actor.person is None:
        raise Forbidden("Only a person can do this.")
    if scope is not None and scope not in actor.scopes:
        raise Forbidden(f"This token does not have the scope `{scope}`.", hint="Use another token.")
    return actor.person


def require_whole_person(actor: Actor) -> Person:
    """The person who acts for themselves: where they belong is changed by no token of one workspace alone."""
    person = require_person(actor, "admin")
    if actor.only:
        raise Forbidden("This token works in one workspace alone.", hint="Use a token without that limit.")
    return person


def require_administrator(actor: Actor, scope: str = "admin") -> Person:
    """The administrator of the installation who acts."""
    person = require_person(actor, scope)
    if not actor.is_administrator:
        raise Forbidden(
            "Only an administrator of the installation can do this.", hint="The person who set it up is one."
        )
    return person
