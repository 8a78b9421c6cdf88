"""The index that Django reads; each table stands in the file of its noun."""

from trainshed.server.records.audit import AuditRow
from trainshed.server.records.blobs import Blob, Holding, Upload
from trainshed.server.records.cache import CacheRow
from trainshed.server.records.datasets import Dataset, DatasetVersion, Image, ImageClass
from trainshed.server.records.hosts import Host, Slot
from trainshed.server.records.identities import LoginCode, ProviderGrant
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
from trainshed.server.records.people import Invite, Membership, Person, Project, Share, Token, Workspace
from trainshed.server.records.quotas import Quota, RateLimit
from trainshed.server.records.sessions import Session
from trainshed.server.records.trained_models import TrainedModel

__all__ = [
    "Artifact", "Attempt", "AuditRow", "Blob", "CacheRow", "Checkpoint", "Dataset", "DatasetVersion", "Event",
    "Holding", "Host", "Image", "ImageClass", "Invite", "Job", "JobParent", "Leader", "LoginCode", "Membership",
    "Person", "Project", "ProviderGrant", "Pulse", "Quota", "RateLimit", "Session", "Share", "Slot", "Token",
    "TrainedModel", "Transition", "Upload", "Workspace",
]  # fmt: skip
