"""Recipes: the named, validated settings of a training.

Field descriptions are the help text that the command line, the documentation and the form show.
"""

from typing import Literal

from pydantic import Field, model_validator

from trainshed.schemas.frozen import Frozen

ResizeMode = Literal["squash", "crop", "fill"]


class Augmentation(Frozen):
    """Random changes of a training picture; 0 switches one off."""

    flip: bool = Field(
        True, title="Mirror", description="Mirror left-right at random. Off for digits, text, or traffic signs."
    )
    rotate_degrees: float = Field(
        10.0, ge=0, le=180, title="Rotate", description="Largest random rotation, in degrees."
    )
    scale: float = Field(0.1, ge=0, lt=1, description="Largest random zoom, as a fraction (0.1 is ±10 %).")
    shift: float = Field(0.08, ge=0, lt=1, description="Largest random shift, as a fraction of the side.")
    brightness: float = Field(0.2, ge=0, lt=1, description="Largest random change of brightness.")
    contrast: float = Field(0.2, ge=0, lt=1, description="Largest random change of contrast.")


class ClassificationRecipe(Frozen):
    """How to train a classifier. Every default works; change one thing at a time."""

    schema_version: Literal[1] = 1
    task: Literal["classification"] = "classification"
    backbone: str = Field(
        "tf_efficientnet_lite0",
        max_length=120,
        pattern=r"^[!-~]+$",
        description="`scratch-cnn` (small, trained from nothing), or the name of any timm backbone.",
    )
    weights: Literal["auto", "package", "hub", "none"] = Field(
        "auto",
        title="Pretrained weights",
        description="Where pretrained weights come from: `package` (shipped, works offline), `hub` "
        "(Hugging Face), `none` (random), or `auto`: shipped if there are any, else the hub.",
    )
    image_size: int | None = Field(
        None, ge=16, le=1024, description="Side of the square the network sees, in pixels; empty: the backbone's own."
    )
    resize: ResizeMode = Field(
        "squash",
        title="Resize mode",
        description="`squash` stretches to a square, `crop` cuts the middle, `fill` pads with grey.",
    )
    augmentation: Augmentation = Field(default_factory=Augmentation, description="Random changes in training.")
    epochs: int = Field(12, ge=0, le=10_000, description="Fine-tuning passes over the training pictures, at most.")
    batch_size: int = Field(32, ge=1, le=4096, description="Pictures per optimizer step.")
    learning_rate: float | None = Field(
        None, gt=0, le=10, description="Peak learning rate; empty: 3e-3 from scratch, 2e-4 for fine-tuning."
    )
    weight_decay: float = Field(0.02, ge=0, le=1, description="AdamW's weight decay.")
    warmup_fraction: float = Field(
        0.1, ge=0, lt=1, title="Warm-up", description="Share of all steps in which the rate climbs."
    )
    label_smoothing: float = Field(0.05, ge=0, lt=1, description="Softens the targets by this much.")
    dropout: float = Field(0.1, ge=0, lt=1, description="Dropout before the last layer.")
    ema_decay: float = Field(
        0.998,
        ge=0,
        lt=1,
        title="Moving average of the weights",
        description="Averages the weights over time; 0 switches it off.",
    )
    patience: int = Field(6, ge=1, description="Stop after this many epochs without a better validation accuracy.")
    frozen_first: bool = Field(
        True,
        title="Frozen features first",
        description="First train only the last layer on frozen features (seconds); keep the better result.",
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="Number format of the arithmetic; `auto` measures two steps of each and takes the faster."
    )
    seed: int = Field(0, ge=0, le=2**31 - 1, description="The same seed gives the same model on the same machine.")
    checkpoint_seconds: float = Field(
        30.0, gt=0, title="Seconds between checkpoints", description="Save a resumable checkpoint this often."
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="Where to train; `auto` takes a GPU if free.")

    @model_validator(mode="after")
    def _scratch_has_no_weights(self) -> "ClassificationRecipe":
        if self.backbone == "scratch-cnn" and self.weights in ("package", "hub"):
            raise ValueError("`scratch-cnn` has no pretrained weights; set weights to `auto` or `none`")
        return self


Recipe = ClassificationRecipe
