"""The counters of what the workspaces use already; from here on the ledger counts."""

import time

from django.db import migrations
from django.db.models import Count, Sum

QUEUED, RUNNING = ("blocked", "queued", "paused"), ("assigned", "running")


def count(apps, schema_editor):
    Job, Holding, Attempt, Quota = (apps.get_model("records", name) for name in ("Job", "Holding", "Attempt", "Quota"))
    counts = {}
    for resource, states in (("queued_jobs", QUEUED), ("running_jobs", RUNNING)):
        rows = Job.objects.filter(state__in=states).values_list("workspace_id").annotate(Count("id"))
        counts |= {(workspace_id, resource): num for workspace_id, num in rows}
    rows = Holding.objects.values_list("workspace_id").annotate(Sum("blob__size_bytes"))
    counts |= {(workspace_id, "stored_bytes"): size for workspace_id, size in rows}
    month = time.strftime("%Y-%m", time.gmtime())
    began = Attempt.objects.filter(job__num_gpus__gt=0, started_at__isnull=False, ended_at__isnull=False)
    for attempt in began.select_related("job").iterator():
        if time.strftime("%Y-%m", time.gmtime(attempt.ended_at)) == month:
            seconds = attempt.job.num_gpus * max(0, round(attempt.ended_at - attempt.started_at))
            key = (attempt.job.workspace_id, "gpu_seconds")
            counts[key] = counts.get(key, 0) + seconds
    Quota.objects.bulk_create(
        Quota(
            workspace_id=workspace_id,
            resource=resource,
            used=used,
            period=month if resource == "gpu_seconds" else "",
        )
        for (workspace_id, resource), used in counts.items()
    )


class Migration(migrations.Migration):
    dependencies = [("records", "0002_people")]
    operations = [migrations.RunPython(count, migrations.RunPython.noop)]
