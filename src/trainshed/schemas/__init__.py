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
from trainshed.schemas.audit import AuditView
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
    InviteLook,
    InviteView,
    Me,
    MemberView,
    Page,
    PersonView,
    ProjectView,
    Role,
    SessionView,
    ShareNoun,
    ShareView,
    TokenView,
    UploadView,
    VersionView,
    WorkspaceView,
)

__all__ = [
    "ARCHIVE_FILES", "Assignment", "AttemptView", "AuditView", "Augmentation", "BlobRef", "Checkpoint", "ClassScore",
    "ClassificationRecipe", "DatasetView", "EndReport", "Event", "EventBatch", "FINAL_STATES", "GpuReading",
    "HostReading", "HostView", "ImageClass", "ImageView", "ImportReport", "InviteLook", "InviteView", "JobKind",
    "JobState", "JobView", "ManifestRow", "Me", "MemberView", "ModelSummary", "ModelView", "Needs", "NewCheckpoint",
    "NewEvent", "PROTOCOL_VERSION", "Page", "PersonView", "Prediction", "ProjectView", "Publication", "Reason",
    "Recipe", "Renewal", "Role", "ServedModel", "SessionView", "ShareNoun", "ShareView", "SkippedFile", "SplitPlan",
    "StagedImage", "TokenView", "Transform", "UploadView", "VersionSummary", "VersionView", "Waiting",
    "WorkspaceView",
]  # fmt: skip
