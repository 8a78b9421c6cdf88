"""What a workspace uses and may use: one counter row per workspace and resource."""

from django.db import models
from django.db.models import F, Q

from trainshed.server.records.people import Workspace

RESOURCES = ("stored_bytes", "queued_jobs", "running_jobs", "gpu_seconds")


class Quota(models.Model):
    """How much of a resource is `used`, and how much it may be at `most`; `None` is without a limit.

    `grace` is what was used when a limit was set below it: that may stay, and may not grow. `period` is the month
    (`2026-11`) of what starts at zero with each.
    """

    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="quotas")
    resource = models.CharField(max_length=20)
    used = models.BigIntegerField(default=0)
    most = models.BigIntegerField(null=True)
    grace = models.BigIntegerField(default=0)
    period = models.CharField(max_length=7, default="", blank=True)

    class Meta:
        db_table = "quota"
        constraints = [
            models.UniqueConstraint(fields=["workspace", "resource"], name="quota_once"),
            models.CheckConstraint(condition=Q(resource__in=RESOURCES), name="quota_resource_known"),
            models.CheckConstraint(condition=Q(used__gte=0), name="quota_used_not_negative"),
            models.CheckConstraint(
                condition=Q(most=None) | Q(used__lte=F("most")) | Q(used__lte=F("grace")), name="quota_held"
            ),
        ]


class RateLimit(models.Model):
    """When the next request of its kind would be on time: the generic cell rate algorithm's one number."""

    key = models.CharField(primary_key=True, max_length=120)
    due_at = models.FloatField()

    class Meta:
        db_table = "rate_limit"
