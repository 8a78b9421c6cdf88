"""Pictures as they cross walls: the transform, one row of a dataset version, and its summary."""

from typing import Literal

from pydantic import Field

from trainshed.schemas.frozen import Frozen, Received
from trainshed.schemas.recipes import ResizeMode

Split = Literal["train", "validation", "test"]


class Transform(Received):
    """From an EXIF-oriented picture to the network's input; stored with each model, used by every reader.

    The resized picture is uint8 RGB, `(size, size, 3)`. `mean` and `std` apply to values in 0..1; in an
    exported network they are part of the graph, so a caller feeds uint8.
    """

    schema_version: Literal[1] = 1
    size: int = Field(ge=1, le=4096)
    resize: ResizeMode = "squash"
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)


class ImageClass(Received):
    """A class: the id is for ever, the name is a label that may change."""

    id: str
    name: str


class ManifestRow(Received):
    """One picture of a dataset version. Width and height are EXIF-oriented pixels."""

    image_id: str
    sha256: str
    name: str
    width: int
    height: int
    class_id: str
    group: str = ""
    split: Split = "train"


class SplitPlan(Frozen):
    """How a version divides its pictures: seeded, stratified by class, groups kept together."""

    validation: float = Field(0.15, ge=0, lt=1, description="Share of pictures that select the model.")
    test: float = Field(0.15, ge=0, lt=1, description="Share of pictures that only the final report sees.")
    seed: int = Field(0, ge=0, le=2**31 - 1, description="The same seed gives the same split.")


class VersionSummary(Received):
    """What a snapshot found: published as the job's result, kept on the version."""

    schema_version: Literal[1] = 1
    digest: str
    num_images: int
    classes: list[ImageClass]
    counts: dict[str, dict[str, int]] = Field(description="split -> class id -> number of pictures")
    warnings: list[str] = Field(default_factory=list)


class StagedImage(Received):
    """One picture that an import has proved, stored and named, before the import is published."""

    name: str = Field(max_length=4096)
    class_name: str = Field(max_length=1024)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    thumbnail_sha256: str = Field(pattern="^[0-9a-f]{64}$")
    size_bytes: int = Field(ge=1)
    width: int = Field(ge=1)
    height: int = Field(ge=1)
    format: str = Field(max_length=16)


class SkippedFile(Received):
    """A file that an import left out, with a reason a person can act on."""

    name: str
    code: str
    reason: str


class ImportReport(Received):
    """The result of an import."""

    schema_version: Literal[1] = 1
    num_taken: int
    num_duplicates: int = 0
    num_skipped: int
    skipped: list[SkippedFile] = Field(description="The first thousand; the artifact `skipped.csv` holds all.")
    classes: dict[str, int]
    warnings: list[str] = Field(default_factory=list)
