"""The model archive: the five files that are a model, and nothing else is.

`model.safetensors`, `model.onnx` (verified against the network), `classes.json`, `transform.json`, `card.md`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor

from trainshed.schemas import ImageClass, ModelSummary, Transform
from trainshed.vision.exporting import export
from trainshed.vision.networks import Network


@dataclass(frozen=True)
class TrainedModel:
    """A model's summary and its files by name: those of the archive, and `last.safetensors` after fine-tuning."""

    summary: ModelSummary
    files: dict[str, Path]


def write(
    network: Network, summary: ModelSummary, card: str, images_BHWC: NDArray[np.uint8], *,
    folder: Path, cache_folder: Path,
) -> dict[str, Path]:  # fmt: skip
    """Write the archive's files into `folder`; `images_BHWC` are real pictures that prove the ONNX file.

    Raises `TrainshedError` if the exported network does not answer as the trained one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = {
        "model.safetensors": folder / "model.safetensors",
        "model.onnx": folder / "model.onnx",
        "classes.json": folder / "classes.json",
        "transform.json": folder / "transform.json",
        "card.md": folder / "card.md",
    }
    export(network, summary.backbone, summary.transform, images_BHWC, files["model.onnx"], cache_folder=cache_folder)
    write_weights(files["model.safetensors"], network.state_dict(), summary.backbone)
    files["classes.json"].write_text(_json(_classes(summary.classes)), encoding="utf-8")
    files["transform.json"].write_text(_json(summary.transform.model_dump(mode="json")), encoding="utf-8")
    files["card.md"].write_text(card, encoding="utf-8")
    return files


def write_weights(file: Path, state: dict[str, Tensor], backbone: str) -> Path:
    """Write tensors under their names in the network; `trunk.*` are timm's own names."""
    tensors = {name: value.detach().cpu().contiguous() for name, value in state.items()}
    save_file(tensors, file, metadata={"format": "pt", "backbone": backbone})
    return file


def _classes(classes: Sequence[ImageClass]) -> dict[str, Any]:
    return {"schema_version": 1, "classes": [item.model_dump(mode="json") for item in classes]}


def _json(body: dict[str, Any]) -> str:
    return json.dumps(body, indent=2, ensure_ascii=False) + "\n"


def read_transform(folder: Path) -> Transform:
    """The transform of an archive that lies in `folder`."""
    return Transform.model_validate_json((folder / "transform.json").read_bytes())


def read_classes(folder: Path) -> list[ImageClass]:
    """The classes of an archive that lies in `folder`, in the order of the network's answers."""
    body = json.loads((folder / "classes.json").read_bytes())
    return [ImageClass.model_validate(item) for item in body["classes"]]
