"""Models and what they say."""

from typing import Any, Literal

from pydantic import Field

from trainshed.schemas.attempts import BlobRef
from trainshed.schemas.frozen import Received
from trainshed.schemas.pictures import ImageClass, Transform

ARCHIVE_FILES = ("model.safetensors", "model.onnx", "classes.json", "transform.json", "card.md")


class ModelSummary(Received):
    """What a training publishes as its result; the model's row keeps it."""

    schema_version: Literal[1] = 1
    task: Literal["classification"] = "classification"
    name: str
    backbone: str
    classes: list[ImageClass]
    transform: Transform
    metrics: dict[str, Any] = Field(description="`accuracy` and the like, on the test split unless named otherwise.")
    num_parameters: int
    seconds: float


class ModelView(Received):
    """A model as the API tells it."""

    id: str
    workspace_id: str
    project_id: str
    name: str
    task: str
    backbone: str
    job_id: str | None
    version_id: str | None
    classes: list[ImageClass]
    metrics: dict[str, Any]
    num_parameters: int
    size_bytes: int
    is_pretrained: bool
    created_at: float


class ServedModel(Received):
    """What the model server needs to load a model."""

    id: str
    files: dict[str, BlobRef]


class ClassScore(Received):
    """A class and its probability, 0..1."""

    class_id: str
    label: str
    score: float


class Prediction(Received):
    """What a model says about an image, best first."""

    model_id: str
    predictions: list[ClassScore]
    milliseconds: float = Field(description="Time inside the model server.")
