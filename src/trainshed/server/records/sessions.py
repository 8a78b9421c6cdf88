"""Who is signed in, from which browser. A row holds only a hash of the cookie, so a copy of the table opens nothing.

What a session remembers is sealed: a second factor that is being set up, or what a provider has just said, is in it.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore as DatabaseStore
from django.contrib.sessions.base_session import AbstractBaseSession, BaseSessionManager
from django.db import models
from django.utils import timezone

from trainshed.errors import TrainshedError
from trainshed.server import vault
from trainshed.server.records.ids import Key, new_id, wall_clock
from trainshed.server.records.people import Person


class SessionManager(BaseSessionManager):  # type: ignore[type-arg]
    """Finds sessions."""

    def alive(self) -> Any:
        return self.filter(expire_date__gt=timezone.now())


class Session(AbstractBaseSession):
    """One browser. `session_key` is the SHA-256 of what its cookie says; `public_id` names it to its person."""

    session_key = models.CharField(max_length=64, primary_key=True)
    public_id = Key(max_length=20, default=new_id, unique=True)
    person = models.ForeignKey(Person, on_delete=models.CASCADE, null=True, related_name="sessions")
    address = models.CharField(max_length=45, default="", blank=True)
    browser = models.CharField(max_length=300, default="", blank=True)
    created_at = models.FloatField(default=wall_clock)
    last_seen_at = models.FloatField(default=wall_clock)

    objects: Any = SessionManager()

    class Meta(AbstractBaseSession.Meta):
        db_table = "session"

    @classmethod
    def get_session_store_class(cls) -> type[SessionStore]:
        return SessionStore


def hashed(cookie: str) -> str:
    """The key of the row for what a cookie says."""
    return hashlib.sha256(cookie.encode()).hexdigest()


def belongs_to(session_key: str) -> str:
    """What the words of the row with this key are sealed to."""
    return f"session {session_key}"


class SessionStore(DatabaseStore):
    """Django's database sessions, found by the hash of their key. `SESSION_ENGINE` names this module.

    `about` in the session's data (address, browser, created_at, public_id) is kept in columns of the row as well.
    """

    @classmethod
    def get_model_class(cls) -> type[Session]:
        return Session

    def exists(self, session_key: str) -> bool:
        return Session.objects.filter(session_key=hashed(session_key)).exists()

    def delete(self, session_key: str | None = None) -> None:
        key = session_key or self.session_key
        if key:
            Session.objects.filter(session_key=hashed(key)).delete()

    def cycle_key(self) -> None:
        """Go on under another key: the old row goes first, because both would be the same browser's."""
        kept, before = self._session, self.session_key  # type: ignore[attr-defined]
        if before:
            self.delete(before)
        self.create()
        self._session_cache = kept

    def encode(self, session_dict: dict[str, Any]) -> str:
        return vault.seal(json.dumps(session_dict), belongs_to=belongs_to(hashed(self.session_key or "")))

    def decode(self, session_data: str) -> dict[str, Any]:
        """What was remembered; nothing, and so nobody is signed in, where it does not open."""
        try:
            opened = vault.unseal(session_data, belongs_to=belongs_to(hashed(self.session_key or "")))
        except TrainshedError:
            return {}
        return dict(json.loads(opened))

    def create_model_instance(self, data: dict[str, Any]) -> Session:
        key = self._get_or_create_session_key()  # type: ignore[attr-defined]
        return Session(
            session_key=hashed(key),
            session_data=self.encode(data),
            expire_date=self.get_expiry_date(),
            person_id=data.get(SESSION_KEY),
            **data.get("about", {}),
        )

    def _get_session_from_db(self) -> Session | None:
        row = Session.objects.filter(session_key=hashed(self.session_key or ""), expire_date__gt=timezone.now()).first()
        if row is None:
            self._session_key = None
        return row
