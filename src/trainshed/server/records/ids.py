"""Random ids: 100 bits in 20 lower-case letters and digits, so that nobody can guess or count rows."""

import base64
import secrets
import time
from typing import Any

from django.db import models


def new_id() -> str:
    return base64.b32encode(secrets.token_bytes(13)).decode().lower()[:20]


class Key(models.CharField):  # type: ignore[type-arg]
    """Text that is only ever compared whole.

    For `varchar` Django adds a second index on PostgreSQL, for beginnings of words; each write would pay for it.
    """

    def db_type(self, connection: Any) -> str:
        return f"character varying({self.max_length})"


class RandomId(Key):
    """The primary key of almost every table, and what points at it."""

    def __init__(self, **named: Any) -> None:
        super().__init__(**{"primary_key": True, "max_length": 20, "default": new_id, "editable": False, **named})


def wall_clock() -> float:
    """Seconds since 1970 for rows outside the ledger; the ledger takes its time from the database."""
    return time.time()
