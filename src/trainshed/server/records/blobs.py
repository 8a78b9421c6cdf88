"""Blobs by content. A row that points at a blob belongs to a workspace; the blob itself belongs to nobody."""

from django.db import models

from trainshed.server.records.ids import Key, RandomId, wall_clock
from trainshed.server.records.people import Project, Workspace


class Blob(models.Model):
    """Bytes that are safely stored under their SHA-256; the row is written after the rename."""

    sha256 = Key(primary_key=True, max_length=64)
    size_bytes = models.BigIntegerField()
    created_at = models.FloatField(default=wall_clock)

    class Meta:
        db_table = "blob"


class Holding(models.Model):
    """A workspace has sent these bytes itself. To know a hash is no right to what it names."""

    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE)
    blob = models.ForeignKey(Blob, on_delete=models.CASCADE)
    created_at = models.FloatField(default=wall_clock)

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
