"""Real pictures for the tests of vision, and stories that remember or stop."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file
from skimage import data
from sklearn.datasets import load_digits
from torch import Tensor

from trainshed.schemas import Augmentation, ClassificationRecipe, ImageClass, ManifestRow
from trainshed.schemas.pictures import Split
from trainshed.vision.archive import TrainedModel
from trainshed.vision.story import SilentStory

NO_CHANGES = Augmentation(flip=False, rotate_degrees=0, scale=0, shift=0, brightness=0, contrast=0)
DIGITS_RECIPE = ClassificationRecipe(
    backbone="scratch-cnn", image_size=16, epochs=3, batch_size=16, precision="float32", device="cpu",
    augmentation=Augmentation(flip=False),
)  # fmt: skip


@dataclass
class Shelf:
    """A folder of originals by their sha256, as a runner has them."""

    folder: Path

    def put(self, content: bytes) -> str:
        sha256 = hashlib.sha256(content).hexdigest()
        (self.folder / sha256).write_bytes(content)
        return sha256

    def blob(self, sha256: str) -> Path:
        return self.folder / sha256

    def row(self, image: NDArray[np.uint8], name: str, class_id: str, split: Split, format: str = "png") -> ManifestRow:
        file = io.BytesIO()
        Image.fromarray(image).save(file, format)
        return ManifestRow(
            image_id=name, sha256=self.put(file.getvalue()), name=name, width=image.shape[1],
            height=image.shape[0], class_id=class_id, split=split,
        )  # fmt: skip


@dataclass
class StoppingStory(SilentStory):
    """A story that wants to stop at the n-th time it is asked."""

    stop_at: int = 0
    asked: int = 0
    reason: str = "pause"
    saved_steps: list[int] = field(default_factory=list)

    def stopping(self) -> str:
        self.asked += 1
        return self.reason if self.asked == self.stop_at else ""

    def save_checkpoint(self, path: Path, step: int) -> None:
        super().save_checkpoint(path, step)
        self.saved_steps.append(step)


def classes(*names: str) -> list[ImageClass]:
    """Classes whose ids are their names."""
    return [ImageClass(id=name, name=name) for name in names]


def splits(count: int, train: float = 0.7, validation: float = 0.15) -> list[Split]:
    """The split of each of `count` pictures, in order."""
    first, second = round(count * train), round(count * (train + validation))
    return ["train" if i < first else "validation" if i < second else "test" for i in range(count)]


def digits(shelf: Shelf, count: int, num_classes: int = 10) -> tuple[list[ManifestRow], list[ImageClass]]:
    """The first `count` handwritten digits of the first classes, 8 x 8 pixels, as PNG files."""
    source = load_digits(n_class=num_classes)
    images = (source.images[:count] * (255 / 16)).round().astype(np.uint8)
    rows = [
        shelf.row(image, f"{place}.png", str(label), split)
        for place, (image, label, split) in enumerate(zip(images, source.target, splits(count), strict=False))
    ]
    return rows, classes(*map(str, range(num_classes)))


def photo_crops(shelf: Shelf, per_class: int, names: tuple[str, ...] = ("chelsea", "coffee", "rocket")) -> tuple[
    list[ManifestRow], list[ImageClass]
]:  # fmt: skip
    """Square crops of photos; those for training come from the left of the photo, all others from the right."""
    generator = np.random.default_rng(0)
    rows = []
    for name in names:
        photo = getattr(data, name)()
        middle = int(photo.shape[1] * 0.6)
        for place, split in enumerate(splits(per_class)):
            half = photo[:, :middle] if split == "train" else photo[:, middle:]
            side = int(min(half.shape[:2]) * generator.uniform(0.5, 0.95))
            y, x = (generator.integers(0, length - side) for length in half.shape[:2])
            crop = np.ascontiguousarray(half[y : y + side, x : x + side])
            rows.append(shelf.row(crop, f"{name}/{place}.jpg", name, split, "jpeg"))
    return rows, classes(*names)


def weights(model: TrainedModel, name: str = "model.safetensors") -> dict[str, Tensor]:
    """The tensors of a trained model."""
    tensors: dict[str, Tensor] = load_file(model.files[name])
    return tensors


def said(story: SilentStory, kind: str) -> list[dict[str, Any]]:
    """The bodies of a story's events of one kind."""
    return [body for event, body in story.events if event == kind]
