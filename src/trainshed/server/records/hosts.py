"""Machines, and the slots that jobs hold on them."""

from django.db import models

from trainshed.server.records.ids import Key, RandomId, wall_clock


class Host(models.Model):
    """A machine, as its agent last reported it."""

    id = RandomId()
    name = models.CharField(max_length=255, unique=True)
    key_sha256 = Key(max_length=64, unique=True)
    reading = models.JSONField(null=True)
    read_at = models.FloatField(null=True)
    created_at = models.FloatField(default=wall_clock)

    class Meta:
        db_table = "host"


class Slot(models.Model):
    """One card, or one place for a job without a card. Its holder is one attempt or nobody.

    There are few, and they change with every job: looking at all of them costs less than an index on the holder.
    """

    host = models.ForeignKey(Host, on_delete=models.CASCADE, related_name="slots")
    pool = models.CharField(max_length=3)
    position = models.IntegerField()
    attempt_id = models.CharField(max_length=20, null=True)

    class Meta:
        db_table = "slot"
        constraints = [
            models.UniqueConstraint(fields=["host", "pool", "position"], name="slot_once"),
            models.CheckConstraint(condition=models.Q(pool__in=["cpu", "gpu"]), name="slot_pool_known"),
        ]
