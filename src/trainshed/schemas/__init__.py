"""Frozen data that crosses walls between rooms, processes and machines; one file per noun."""

from trainshed.schemas.attempts import (
    PROTOCOL_VERSION,
    Assignment,
    BlobRef,
    Checkpoint,
    EndReport,
    EventBatch,
    NewCheckpoint,
    Publication,
    Renewal,
)
from trainshed.schemas.hosts import GpuReading, HostReading, HostView
from trainshed.schemas.jobs import (
    FINAL_STATES,
    AttemptView,
    Event,
    JobKind,
    JobState,
    JobView,
    Needs,
    NewEvent,
    Reason,
    Waiting,
)
from trainshed.schemas.models import (
    ARCHIVE_FILES,
    ClassScore,
    ModelSummary,
    ModelView,
    Prediction,
    ServedModel,
)
from trainshed.schemas.pictures import (
    ImageClass,
    ImportReport,
    ManifestRow,
    SkippedFile,
    SplitPlan,
    StagedImage,
    Transform,
    VersionSummary,
)
from trainshed.schemas.recipes import Augmentation, ClassificationRecipe, Recipe
from trainshed.schemas.workspaces import (
    DatasetView,
    ImageView,
    Me,
    Page,
    ProjectView,
    Role,
    TokenView,
    UploadView,
    VersionView,
    WorkspaceView,
)

__all__ = [
    "ARCHIVE_FILES", "FINAL_STATES", "PROTOCOL_VERSION", "Assignment", "AttemptView", "Augmentation",
    "BlobRef", "Checkpoint", "ClassScore", "ClassificationRecipe", "DatasetView", "EndReport", "Event",
    "EventBatch", "GpuReading", "HostReading", "HostView", "ImageClass", "ImageView", "ImportReport",
    "JobKind", "JobState", "JobView", "ManifestRow", "Me", "ModelSummary", "ModelView", "Needs",
    "NewCheckpoint", "NewEvent", "Page", "Prediction", "ProjectView", "Publication", "Reason", "Recipe",
    "Renewal", "Role", "ServedModel", "SkippedFile", "SplitPlan", "StagedImage", "TokenView", "Transform",
    "UploadView", "VersionSummary", "VersionView", "Waiting", "WorkspaceView",
]  # fmt: skip
