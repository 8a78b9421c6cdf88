"""Datasets: their classes, their images, and the immutable versions that trainings name."""

from django.db import models

from trainshed.server.records.blobs import Blob
from trainshed.server.records.ids import RandomId, wall_clock
from trainshed.server.records.jobs import Job
from trainshed.server.records.people import Project, Workspace


class Dataset(models.Model):
    """A named collection of images."""

    id = RandomId()
    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE)
    project = models.ForeignKey(Project, on_delete=models.CASCADE)
    name = models.CharField(max_length=300)
    task = models.CharField(max_length=20)
    created_at = models.FloatField(default=wall_clock)

    class Meta:
        db_table = "dataset"
        constraints = [models.UniqueConstraint(fields=["project", "name"], name="dataset_name_once")]


class ImageClass(models.Model):
    """A class of a dataset: the id is for ever, the name is a label."""

    id = RandomId()
    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE)
    dataset = models.ForeignKey(Dataset, on_delete=models.CASCADE, related_name="classes")
    name = models.CharField(max_length=1024)

    class Meta:
        db_table = "image_class"
        constraints = [models.UniqueConstraint(fields=["dataset", "name"], name="image_class_name_once")]


class Image(models.Model):
    """One picture. It is staged (invisible) until the import that brought it publishes."""

    id = RandomId()
    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE)
    dataset = models.ForeignKey(Dataset, on_delete=models.CASCADE, related_name="images")
    image_class = models.ForeignKey(ImageClass, on_delete=models.PROTECT, null=True, related_name="images")
    class_name = models.CharField(max_length=1024)
    name = models.CharField(max_length=4096)
    blob = models.ForeignKey(Blob, on_delete=models.PROTECT, related_name="images")
    thumbnail = models.ForeignKey(Blob, on_delete=models.PROTECT, related_name="thumbnails")
    size_bytes = models.BigIntegerField()
    width = models.IntegerField()
    height = models.IntegerField()
    format = models.CharField(max_length=16)
    group = models.CharField(max_length=255, default="", blank=True)
    import_job = models.ForeignKey(Job, on_delete=models.PROTECT, related_name="images")
    is_staged = models.BooleanField(default=True)
    created_at = models.FloatField(default=wall_clock)

    class Meta:
        db_table = "image"
        constraints = [models.UniqueConstraint(fields=["import_job", "name"], name="image_once_per_import")]
        indexes = [models.Index(fields=["dataset", "is_staged", "id"], name="image_list")]


class DatasetVersion(models.Model):
    """An immutable, hashed snapshot of a dataset: images, classes, split."""

    id = RandomId()
    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE)
    project = models.ForeignKey(Project, on_delete=models.CASCADE)
    dataset = models.ForeignKey(Dataset, on_delete=models.CASCADE, related_name="versions")
    number = models.IntegerField()
    job = models.OneToOneField(Job, on_delete=models.PROTECT)
    split = models.JSONField()
    summary = models.JSONField()
    digest = models.CharField(max_length=64)
    manifest = models.ForeignKey(Blob, on_delete=models.PROTECT)
    created_at = models.FloatField(default=wall_clock)

    class Meta:
        db_table = "dataset_version"
        constraints = [models.UniqueConstraint(fields=["dataset", "number"], name="dataset_version_once")]
