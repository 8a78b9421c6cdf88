"""Job kind `snapshot`: divide a dataset's images and write them down as an immutable, hashed version."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trainshed import pictures
from trainshed.runner.child import Work
from trainshed.schemas import ImageClass, ManifestRow, SplitPlan, VersionSummary


def handle(work: Work) -> tuple[dict[str, Any], dict[str, Path]]:
    said = list(work.client.rows())
    work.say("progress", {"done": 0, "total": len(said), "unit": "images", "phase": "dividing"})
    names = {row["class_id"]: row.pop("class_name") for row in said}
    classes = [ImageClass(id=id_, name=name) for id_, name in sorted(names.items(), key=lambda item: item[1])]
    plan = SplitPlan.model_validate(work.assignment.spec["split"])
    rows, warnings = pictures.split([ManifestRow.model_validate(row) for row in said], plan, classes)
    work.stop_if_asked()
    path = work.work_folder / "manifest.parquet"
    pictures.manifest.write(path, rows)
    summary = VersionSummary(
        digest=pictures.manifest.digest(rows),
        num_images=len(rows),
        classes=classes,
        counts=_counts(rows),
        warnings=warnings,
    )
    work.say("progress", {"done": len(rows), "total": len(rows), "unit": "images", "phase": "done"})
    return summary.model_dump(), {"manifest.parquet": path}


def _counts(rows: list[ManifestRow]) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = {"train": {}, "validation": {}, "test": {}}
    for row in rows:
        part = counts[row.split]
        part[row.class_id] = part.get(row.class_id, 0) + 1
    return counts
