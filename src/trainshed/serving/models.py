"""A model as the model server holds it: its files, and what they become in memory."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import ValidationError

from trainshed.errors import InvalidInput, NotFound
from trainshed.schemas import ClassScore, ImageClass, ServedModel, Transform
from trainshed.schemas.frozen import Received
from trainshed.serving.batching import Batcher, Workers
from trainshed.serving.choice import choose, probe
from trainshed.serving.onnx_file import require_single_file
from trainshed.serving.predictor import Probabilities

NEEDED_FILES = ("model.onnx", "classes.json", "transform.json")


class _Classes(Received):
    """`classes.json`: the classes in the order of the network's answers."""

    schema_version: Literal[1]
    classes: list[ImageClass]


@dataclass(frozen=True)
class ModelFiles:
    """The files of a model archive that answering needs, verified and read."""

    id: str
    network: bytes
    classes: list[ImageClass]
    transform: Transform

    @property
    def expected_bytes(self) -> int:
        """Memory that the loaded model will take, before anyone has measured it."""
        return 3 * len(self.network)


@dataclass(frozen=True)
class LoadedModel:
    """A model that answers. `memory_bytes` is what the process grew by, or at least the expectation."""

    id: str
    backend: str
    memory_bytes: int
    classes: list[ImageClass]
    batcher: Batcher

    async def answer(self, data: bytes, *, top: int, name: str = "") -> list[ClassScore]:
        """The `top` classes of one picture file, best first. Raises `PictureRefused`."""
        return self._best(await self.batcher.answer(data, name=name), top)

    def _best(self, probabilities: Probabilities, top: int) -> list[ClassScore]:
        order = (-probabilities).argsort(kind="stable")[:top]
        return [
            ClassScore(
                class_id=self.classes[index].id,
                label=self.classes[index].name,
                score=float(probabilities[index]),
            )
            for index in order
        ]


def require_files(model: ServedModel) -> None:
    """Raise `NotFound` if the archive lacks a file that answering needs."""
    missing = [name for name in NEEDED_FILES if name not in model.files]
    if missing:
        raise NotFound(
            f"Model {model.id!r} has no {', '.join(missing)}; it cannot answer.",
            hint="Train or upload the model again.",
        )


def parse(model_id: str, files: Mapping[str, bytes]) -> ModelFiles:
    """The files as data. Raises `InvalidInput` with the file's name."""
    network = files["model.onnx"]
    require_single_file(network)
    try:
        classes = _Classes.model_validate_json(files["classes.json"]).classes
        transform = Transform.model_validate_json(files["transform.json"])
    except ValidationError as fault:
        raise InvalidInput(
            f"Model {model_id!r} has a classes.json or transform.json that cannot be read: {fault}",
            hint="Train or upload the model again.",
        ) from fault
    return ModelFiles(model_id, network, classes, transform)


def load(files: ModelFiles, *, backend: str, workers: Workers) -> LoadedModel:
    """Open the network with an engine. Slow (about a second); one at a time, or the memory is told wrong."""
    before = _process_memory_bytes()
    predictor = choose(files.network, files.transform.size, backend)
    # The largest batch first: it takes the most memory, and the first request need not wait for it.
    answers = predictor.predict(probe(files.transform.size, predictor.max_batch))
    _require_sound(files, answers)
    grown = _process_memory_bytes() - before
    return LoadedModel(
        id=files.id,
        backend=predictor.backend,
        memory_bytes=max(grown, files.expected_bytes),
        classes=files.classes,
        batcher=Batcher(predictor, files.transform, workers),
    )


def _require_sound(files: ModelFiles, answers: Probabilities) -> None:
    """Raise `InvalidInput` unless the network gives a finite number for each class."""
    if answers.shape[1] != len(files.classes):
        raise InvalidInput(
            f"Model {files.id!r} names {len(files.classes)} classes, but its network answers "
            f"{answers.shape[1]}; they must be the same.",
            hint="Train or upload the model again.",
        )
    if not np.isfinite(answers).all():
        raise InvalidInput(
            f"The network of model {files.id!r} answers with values that are not numbers.",
            hint="Its training has diverged: train again with a lower learning rate.",
        )


def _process_memory_bytes() -> int:
    """Resident memory of this process; 0 where the system does not tell it as Linux does."""
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if statm.exists() else 0
