"""Who is asking: a person, a robot, an attempt, a host, the model server, or nobody yet; and what they may do."""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
import zlib
from dataclasses import dataclass, field
from typing import Any, Literal

from django.db import models

from trainshed.errors import Forbidden, NotFound, NotSignedIn
from trainshed.server.queue.ledger import Held
from trainshed.server.records.models import Attempt, Host, Person, Token, Workspace

Need = Literal["read", "work", "own"]

SCOPES = ("read", "write", "jobs", "admin")
_ROLE_RANK = {"viewer": 0, "editor": 1, "owner": 2}
_NEED_RANK: dict[str, int] = {"read": 0, "work": 1, "own": 2}
_NEED_SCOPE: dict[str, str] = {"read": "read", "work": "write", "own": "admin"}
_PREFIXES = {"personal": "tsp_", "robot": "tsr_", "service": "tss_", "setup": "tsu_", "host": "tsh_"}
_SEEN_EVERY_SECONDS = 60.0


@dataclass(frozen=True)
class Actor:
    """Somebody with a proven identity. `label` is what audit rows and jobs remember."""

    kind: Literal["person", "robot", "attempt", "host", "service"]
    id: str
    roles: dict[str, str] = field(default_factory=dict)
    scopes: frozenset[str] = frozenset()
    is_administrator: bool = False
    person: Person | None = None
    held: Held | None = None

    @property
    def label(self) -> str:
        return f"{self.kind}:{self.id}"

    def may(self, workspace_id: str, need: Need) -> bool:
        """Whether this actor's role and scopes allow the need in that workspace."""
        role = self.roles.get(workspace_id)
        return role is not None and _ROLE_RANK[role] >= _NEED_RANK[need] and _NEED_SCOPE[need] in self.scopes


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


def hash_secret(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def authenticate(authorization: str | None) -> Actor:
    """The actor that an `Authorization: Bearer` header proves. Raises `NotSignedIn`."""
    scheme, _, secret = (authorization or "").partition(" ")
    secret = secret.strip()
    if scheme.lower() != "bearer" or not secret:
        raise NotSignedIn()
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
    token = Token.objects.select_related("person").filter(sha256=digest, revoked_at=None).first()
    now = time.time()
    if token is None or (token.expires_at is not None and token.expires_at < now):
        raise NotSignedIn("This token is unknown, expired or revoked.")
    if token.last_used_at is None or now - token.last_used_at > _SEEN_EVERY_SECONDS:
        Token.objects.filter(id=token.id).update(last_used_at=now)
    if token.kind == "service":
        return Actor(kind="service", id=token.id)
    if token.kind == "personal" and token.person is not None and token.person.is_active:
        return person_actor(token.person, frozenset(token.scopes), only=token.workspace_id)
    raise NotSignedIn("This token does not sign anybody in.")


def person_actor(person: Person, scopes: frozenset[str] = frozenset(SCOPES), only: str | None = None) -> Actor:
    """A person with the roles of their workspaces; the shelf is readable by everybody."""
    roles = dict(Workspace.objects.filter(is_shelf=True).values_list("id").annotate(role=models.Value("viewer")))
    roles |= dict(person.memberships.values_list("workspace_id", "role"))
    if only is not None:
        roles = {workspace_id: role for workspace_id, role in roles.items() if workspace_id == only}
    return Actor(
        kind="person", id=person.id, roles=roles, scopes=scopes, is_administrator=person.is_administrator, person=person
    )


def gate(rows: Any, actor: Actor, id_: str, need: Need, within: Place | None) -> Any:
    """The one rule behind every noun's `get`: the row if the actor may, else `NotFound` or `Forbidden`."""
    found: Any = rows.filter(pk=id_).first()
    if found is None or (within and not _is_within(found, within)):
        raise NotFound()
    require(actor, found.workspace_id, need)
    return found


def _is_within(row: Any, place: Place) -> bool:
    project_id = getattr(row, "project_id", None)
    return row.workspace_id == place.workspace_id and (
        project_id is None or place.project_id is None or project_id == place.project_id
    )


def require(actor: Actor, workspace_id: str, need: Need) -> None:
    """Raises `NotFound` for a workspace that the actor cannot see, `Forbidden` where the role is not enough."""
    if not actor.may(workspace_id, "read"):
        if workspace_id in actor.roles:
            raise Forbidden("This token does not have the scope `read`.")
        raise NotFound()
    if not actor.may(workspace_id, need):
        raise Forbidden(
            f"This needs the role {'owner' if need == 'own' else 'editor'} and the token scope `{_NEED_SCOPE[need]}`.",
            hint="Ask an owner of the workspace, or use another token.",
        )


def require_person(actor: Actor, scope: str | None = None) -> Person:
    """The person who acts, if their token has the scope."""
    if actor.person is None:
        raise Forbidden("Only a person can do this.")
    if scope is not None and scope not in actor.scopes:
        raise Forbidden(f"This token does not have the scope `{scope}`.", hint="Use another token.")
    return actor.person
