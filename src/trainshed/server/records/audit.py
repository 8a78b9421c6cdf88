"""The audit log: who did what, on what, from where, by which token. Rows are added and never changed."""

from django.db import models

from trainshed.server.records.ids import wall_clock


class AuditRow(models.Model):
    """One act. It points at nothing, so that it outlives everything that it tells of.

    The database itself refuses to change or delete a row (triggers in the migration).
    """

    at = models.FloatField(default=wall_clock)
    workspace_id = models.CharField(max_length=20, null=True)
    actor = models.CharField(max_length=40)
    token_id = models.CharField(max_length=20, default="", blank=True)
    address = models.CharField(max_length=45, default="", blank=True)
    action = models.CharField(max_length=60)
    noun = models.CharField(max_length=20)
    thing_id = models.CharField(max_length=64, default="", blank=True)
    thing_name = models.CharField(max_length=300, default="", blank=True)
    details = models.JSONField(default=dict)

    class Meta:
        db_table = "audit"
        indexes = [models.Index(fields=["workspace_id", "-id"], name="audit_newest")]
