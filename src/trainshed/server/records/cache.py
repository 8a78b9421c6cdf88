"""What several web processes keep together for a short while, such as a sign-in that is on its way.

Django's own database cache keeps pickles; here a value is sealed JSON, because codes that open something are in it, and
a key is only stored as its hash.
"""

from __future__ import annotations

import hashlib
import json
import time
from typing import Any

from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache
from django.db import IntegrityError, models, transaction

from trainshed.errors import TrainshedError
from trainshed.server import vault
from trainshed.server.records.ids import Key


class CacheRow(models.Model):
    """One kept value; past its time it is as good as gone."""

    key_sha256 = Key(max_length=64, primary_key=True)
    value = models.JSONField()
    expires_at = models.FloatField(db_index=True)

    class Meta:
        db_table = "cache"


class DatabaseCache(BaseCache):
    """Django's cache interface over `CacheRow`. `CACHES` names this class."""

    def __init__(self, location: str, parameters: dict[str, Any]) -> None:
        super().__init__(parameters)

    def get(self, key: str, default: Any = None, version: int | None = None) -> Any:
        row = CacheRow.objects.filter(key_sha256=self._hash(key, version), expires_at__gt=time.time()).first()
        return default if row is None else _opened(row, default)

    def set(self, key: str, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> None:
        hashed = self._hash(key, version)
        kept = {"value": _sealed(value, hashed), "expires_at": self._end(timeout)}
        CacheRow.objects.update_or_create(key_sha256=hashed, defaults=kept)
        CacheRow.objects.filter(expires_at__lt=time.time()).delete()

    def add(self, key: str, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        """Only if nothing is there: the database decides who is first."""
        hashed = self._hash(key, version)
        CacheRow.objects.filter(key_sha256=hashed, expires_at__lte=time.time()).delete()
        try:
            with transaction.atomic():
                CacheRow.objects.create(key_sha256=hashed, value=_sealed(value, hashed), expires_at=self._end(timeout))
        except IntegrityError:
            return False
        return True

    def touch(self, key: str, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        rows = CacheRow.objects.filter(key_sha256=self._hash(key, version), expires_at__gt=time.time())
        return bool(rows.update(expires_at=self._end(timeout)))

    def delete(self, key: str, version: int | None = None) -> bool:
        return bool(CacheRow.objects.filter(key_sha256=self._hash(key, version)).delete()[0])

    def clear(self) -> None:
        CacheRow.objects.all().delete()

    def _hash(self, key: str, version: int | None) -> str:
        return hashlib.sha256(self.make_key(key, version=version).encode()).hexdigest()

    def _end(self, timeout: Any) -> float:
        ends_at = self.get_backend_timeout(timeout)
        return 4e9 if ends_at is None else float(ends_at)


def _sealed(value: Any, key_sha256: str) -> str:
    return vault.seal(json.dumps(value, default=list), belongs_to=belongs_to(key_sha256))


def _opened(row: CacheRow, default: Any) -> Any:
    try:
        return json.loads(vault.unseal(row.value, belongs_to=belongs_to(row.key_sha256)))
    except TrainshedError:
        return default


def belongs_to(key_sha256: str) -> str:
    """What the value under this key is sealed to."""
    return f"cache {key_sha256}"
