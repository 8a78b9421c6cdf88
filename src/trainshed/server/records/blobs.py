"""Blobs by content. A row that points at a blob belongs to a workspace; the blob itself belongs to nobody."""

from __future__ import annotations

from typing import ClassVar

from django.db import connections, models

from trainshed.server.records.ids import Key, RandomId, wall_clock
from trainshed.server.records.people import Project, Workspace

_NAMES_PER_STATEMENT = 300
# Django's `bulk_create` does not tell which rows are new.
_HOLD = """
INSERT INTO holding (workspace_id, blob_id, created_at) VALUES {}
ON CONFLICT (workspace_id, blob_id) DO NOTHING RETURNING blob_id
"""


class Blob(models.Model):
    """Bytes that are safely stored under their SHA-256; the row is written after the rename."""

    sha256 = Key(primary_key=True, max_length=64)
    size_bytes = models.BigIntegerField()
    created_at = models.FloatField(default=wall_clock)

    class Meta:
        db_table = "blob"


class HoldingManager(models.Manager["Holding"]):
    """Notes what is held."""

    def add_new(self, workspace_id: str, names: list[str]) -> list[str]:
        """Note what a workspace holds from now on; returns what it did not hold before, whoever asks at once."""
        added: list[str] = []
        with connections[self.db].cursor() as cursor:
            for start in range(0, len(names), _NAMES_PER_STATEMENT):
                part = names[start : start + _NAMES_PER_STATEMENT]
                values = [value for name in part for value in (workspace_id, name, wall_clock())]
                cursor.execute(_HOLD.format(", ".join(["(%s, %s, %s)"] * len(part))), values)
                added += [row[0] for row in cursor.fetchall()]
        return added


class Holding(models.Model):
    """A workspace has sent these bytes itself. To know a hash is no right to what it names."""

    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE)
    blob = models.ForeignKey(Blob, on_delete=models.CASCADE)
    created_at = models.FloatField(default=wall_clock)

    objects: ClassVar[HoldingManager] = HoldingManager()

    class Meta:
        db_table = "holding"
        constraints = [models.UniqueConstraint(fields=["workspace", "blob"], name="holding_once")]


class Upload(models.Model):
    """A file that a person sent, waiting for the import that reads it."""

    id = RandomId()
    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE)
    project = models.ForeignKey(Project, on_delete=models.CASCADE)
    name = models.CharField(max_length=1024)
    blob = models.ForeignKey(Blob, on_delete=models.PROTECT)
    created_by = models.CharField(max_length=40)
    created_at = models.FloatField(default=wall_clock)

    class Meta:
        db_table = "upload"
