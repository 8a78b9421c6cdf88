"""A published ImageNet network as a model of the shelf, in the same archive as a trained one."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from timm.data.imagenet_info import ImageNetInfo

from trainshed.schemas import ImageClass, ModelSummary
from trainshed.vision import archive, backbones, card
from trainshed.vision.archive import TrainedModel
from trainshed.vision.networks import num_parameters
from trainshed.vision.story import Progress, Story, go_on


def build(backbone: str, *, cache_folder: Path, story: Story) -> TrainedModel:
    """The backbone with its own 1,000 ImageNet classes, untrained and unmeasured here, and said so.

    Raises `InvalidInput`, `WeightsUnavailable`, and `JobStopped`.
    """
    progress = Progress(story, "exporting", 1, unit="models")
    ready = backbones.build_imagenet(backbone)
    go_on(story)
    metrics = {"accuracy": None, "note": "Published ImageNet weights; nothing was measured here."}
    summary = ModelSummary(
        name=f"ImageNet ({backbone})", backbone=backbone, classes=imagenet_classes(), transform=ready.transform,
        metrics=metrics, num_parameters=num_parameters(ready.network), seconds=0.0,
    )  # fmt: skip
    files = archive.write(
        ready.network, summary, card.of_pretrained(summary, ready.origin), _patterns(ready.transform.size),
        folder=story.work_folder / "model", cache_folder=cache_folder,
    )  # fmt: skip
    progress.reached(1)
    return TrainedModel(summary, files)


def imagenet_classes() -> list[ImageClass]:
    """The 1,000 classes in the networks' order: WordNet synset as id, its first lemma as name."""
    info = ImageNetInfo()
    lemmas = [info.index_to_description(label).split(", ") for label in range(info.num_classes())]
    count = Counter(words[0] for words in lemmas)
    seen: Counter[str] = Counter()
    names = []
    for words in lemmas:
        # Two classes are called `crane`, two `maillot`: more words, or a number, tell them apart.
        name = words[0] if count[words[0]] == 1 else ", ".join(words)
        seen[name] += 1
        names.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return [ImageClass(id=info.index_to_label_name(label), name=name) for label, name in enumerate(names)]


def _patterns(size: int) -> NDArray[np.uint8]:
    """Smooth waves and noise, `(4, S, S, 3)`: there are no pictures at hand to prove the export on."""
    generator = np.random.Generator(np.random.Philox(0))
    ramp = np.linspace(0, 2 * np.pi, size)
    waves = [127 * np.sin(k * ramp[:, None, None] + ramp[None, :, None] * [1, 2, 3]) + 128 for k in range(1, 4)]
    noise = generator.integers(0, 256, (size, size, 3))
    return np.stack([*waves, noise]).astype(np.uint8)
