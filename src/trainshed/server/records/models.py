"""The index that Django reads; each table stands in the file of its noun."""

from trainshed.server.records.blobs import Blob, Holding, Upload
from trainshed.server.records.datasets import Dataset, DatasetVersion, Image, ImageClass
from trainshed.server.records.hosts import Host, Slot
from trainshed.server.records.jobs import (
    Artifact,
    Attempt,
    Checkpoint,
    Event,
    Job,
    JobParent,
    Leader,
    Pulse,
    Transition,
)
from trainshed.server.records.people import Membership, Person, Project, Token, Workspace
from trainshed.server.records.trained_models import TrainedModel

__all__ = [
    "Artifact", "Attempt", "Blob", "Checkpoint", "Dataset", "DatasetVersion", "Event", "Holding", "Host",
    "Image",
    "ImageClass", "Job", "JobParent", "Leader", "Membership", "Person", "Project", "Pulse", "Slot", "Token",
    "TrainedModel", "Transition", "Upload", "Workspace",
]  # fmt: skip
