"""Job kind `train`: from a dataset version and a recipe to a model's archive."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trainshed import pictures
from trainshed.runner.child import Work
from trainshed.schemas import ClassificationRecipe, ImageClass, settings


def handle(work: Work) -> tuple[dict[str, Any], dict[str, Path]]:
    from trainshed.vision import classification

    spec = work.assignment.spec
    trained = classification.train(
        pictures.manifest.read(work.input("manifest")),
        [ImageClass.model_validate(entry) for entry in spec["classes"]],
        ClassificationRecipe.model_validate(spec["recipe"]),
        blob=work.blob,
        cache_folder=settings.home() / "cache" / "decoded",
        story=work,
        name=spec["name"],
    )
    return trained.summary.model_dump(), trained.files
