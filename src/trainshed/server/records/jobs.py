"""The ledger's tables. Times are seconds since 1970 by the database's clock; `queue/sql.py` does the writing."""

from django.db import models

from trainshed.server.records.blobs import Blob
from trainshed.server.records.ids import Key, RandomId
from trainshed.server.records.people import Project, Workspace

STATES = ("blocked", "queued", "assigned", "running", "paused", "succeeded", "failed", "cancelled")


class Job(models.Model):
    """One durable request to the queue. The row is the truth."""

    id = RandomId()
    # Both stand first in an index below.
    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, db_index=False)
    project = models.ForeignKey(Project, on_delete=models.CASCADE, db_index=False)
    kind = models.CharField(max_length=20)
    title = models.CharField(max_length=300)
    spec = models.JSONField()
    state = models.CharField(max_length=10)
    priority = models.IntegerField(default=0)
    pool = models.CharField(max_length=3)
    num_gpus = models.IntegerField(default=0)
    attempt = models.IntegerField(default=0)
    deaths = models.IntegerField(default=0)
    cancel_requested = models.BooleanField(default=False)
    pause_requested = models.BooleanField(default=False)
    revision = models.IntegerField(default=0)
    progress = models.JSONField(default=dict)
    result = models.JSONField(null=True)
    reason = models.JSONField(null=True)
    idempotency_key = models.CharField(max_length=200, null=True)
    request_sha256 = models.CharField(max_length=64, default="")
    created_by = models.CharField(max_length=40)
    created_at = models.FloatField()
    available_at = models.FloatField()
    started_at = models.FloatField(null=True)
    ended_at = models.FloatField(null=True)

    class Meta:
        db_table = "job"
        constraints = [
            models.UniqueConstraint(fields=["workspace", "idempotency_key"], name="job_idempotency_key_once"),
            models.CheckConstraint(condition=models.Q(state__in=STATES), name="job_state_known"),
        ]
        indexes = [
            models.Index(
                fields=["pool", "workspace", "-priority", "created_at", "id"],
                name="job_queued",
                condition=models.Q(state="queued"),
            ),
            models.Index(
                fields=["state"],
                name="job_unfinished",
                condition=models.Q(state__in=["blocked", "assigned", "running", "paused"]),
            ),
            models.Index(fields=["project", "-created_at", "-id"], name="job_newest"),
        ]


class JobParent(models.Model):
    """`job` waits until `parent` has succeeded."""

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="parents", db_index=False)
    parent = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="children")

    class Meta:
        db_table = "job_parent"
        constraints = [models.UniqueConstraint(fields=["job", "parent"], name="job_parent_once")]


class Attempt(models.Model):
    """One try of a job on one host. Its token's hash is the fence's key."""

    id = RandomId()
    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="attempts", db_index=False)
    number = models.IntegerField()
    token_sha256 = Key(max_length=64, unique=True)
    host_id = models.CharField(max_length=20)
    num_events = models.IntegerField(default=0)
    assigned_at = models.FloatField()
    lease_expires_at = models.FloatField()
    started_at = models.FloatField(null=True)
    ended_at = models.FloatField(null=True)
    end = models.CharField(max_length=20, default="")
    exit = models.JSONField(default=dict)

    class Meta:
        db_table = "attempt"
        constraints = [models.UniqueConstraint(fields=["job", "number"], name="attempt_once")]


class Event(models.Model):
    """One line of a job's story, numbered by the job row's revision inside the fenced update."""

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="events", db_index=False)
    revision = models.IntegerField()
    attempt = models.IntegerField()
    kind = models.CharField(max_length=10)
    body = models.JSONField()
    at = models.FloatField()

    class Meta:
        db_table = "event"
        constraints = [models.UniqueConstraint(fields=["job", "revision"], name="event_once")]


class Transition(models.Model):
    """The audit row of each change of state."""

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="transitions")
    from_state = models.CharField(max_length=10)
    to_state = models.CharField(max_length=10)
    actor = models.CharField(max_length=40)
    attempt = models.IntegerField()
    at = models.FloatField()

    class Meta:
        db_table = "transition"


class Artifact(models.Model):
    """One file that a job published, under its winning attempt."""

    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE)
    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="artifacts", db_index=False)
    attempt = models.IntegerField()
    name = models.CharField(max_length=200)
    blob = models.ForeignKey(Blob, on_delete=models.PROTECT)

    class Meta:
        db_table = "artifact"
        constraints = [models.UniqueConstraint(fields=["job", "attempt", "name"], name="artifact_once")]


class Checkpoint(models.Model):
    """The newest file that a job can resume from; one per job."""

    job = models.OneToOneField(Job, on_delete=models.CASCADE, primary_key=True, related_name="checkpoint")
    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE)
    attempt = models.IntegerField()
    step = models.BigIntegerField()
    blob = models.ForeignKey(Blob, on_delete=models.PROTECT)
    at = models.FloatField()

    class Meta:
        db_table = "checkpoint"


class Pulse(models.Model):
    """Since when a kind of process has been up without a gap; no job is swept before a full lease of that.

    It makes an outage of the web, the database or the whole machine no attempt's death.
    """

    name = models.CharField(primary_key=True, max_length=20)
    beat_at = models.FloatField()
    since = models.FloatField()

    class Meta:
        db_table = "pulse"


class Leader(models.Model):
    """The scheduler that decides; the others wait for the lease to end."""

    name = models.CharField(primary_key=True, max_length=20)
    holder = models.CharField(max_length=40)
    expires_at = models.FloatField()

    class Meta:
        db_table = "leader"
