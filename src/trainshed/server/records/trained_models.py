"""Trained networks. Their files are the artifacts of the job that made them."""

from django.db import models

from trainshed.server.records.datasets import DatasetVersion
from trainshed.server.records.ids import RandomId, wall_clock
from trainshed.server.records.jobs import Job
from trainshed.server.records.people import Project, Workspace


class TrainedModel(models.Model):
    """A trained network with its classes, transform, metrics and lineage."""

    id = RandomId()
    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE)
    project = models.ForeignKey(Project, on_delete=models.CASCADE)
    name = models.CharField(max_length=300)
    task = models.CharField(max_length=20)
    backbone = models.CharField(max_length=120)
    job = models.OneToOneField(Job, on_delete=models.PROTECT)
    version = models.ForeignKey(DatasetVersion, on_delete=models.PROTECT, null=True)
    classes = models.JSONField()
    transform = models.JSONField()
    metrics = models.JSONField()
    num_parameters = models.BigIntegerField()
    size_bytes = models.BigIntegerField()
    is_pretrained = models.BooleanField(default=False)
    created_at = models.FloatField(default=wall_clock)

    class Meta:
        db_table = "trained_model"
