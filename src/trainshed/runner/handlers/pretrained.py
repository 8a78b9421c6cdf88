"""Job kind `pretrained`: an ImageNet classifier from pretrained weights, as a model that answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trainshed.runner.child import Work
from trainshed.schemas import settings


def handle(work: Work) -> tuple[dict[str, Any], dict[str, Path]]:
    from trainshed.vision import pretrained

    made = pretrained.build(
        work.assignment.spec["backbone"], cache_folder=settings.home() / "cache" / "decoded", story=work
    )
    return made.summary.model_dump(), made.files
