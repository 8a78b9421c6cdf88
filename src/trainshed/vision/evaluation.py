"""What a classifier is worth: scores that select it, and the report on the test split that only the end sees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainshed.schemas import ImageClass
from trainshed.vision.examples import Examples
from trainshed.vision.folding import folded
from trainshed.vision.networks import Network

BATCH_SIZE = 64
_CALIBRATION_BINS = 10


@dataclass(frozen=True)
class Scores:
    """Share of right answers, and the mean negative log of the right class's probability (nats)."""

    accuracy: float
    log_loss: float

    @property
    def rank(self) -> tuple[float, float]:
        """Higher is better: accuracy first, then the smaller loss."""
        return self.accuracy, -self.log_loss

    def packed(self) -> list[float]:
        """For a checkpoint; `Scores(*packed)` is the same again."""
        return [self.accuracy, self.log_loss]


def score(logits_NK: Tensor, labels_N: Tensor) -> Scores | None:
    """The scores of these answers; `None` where there is nothing to answer."""
    if not len(labels_N):
        return None
    log_probabilities_NK = logits_NK.double().log_softmax(dim=1)
    right_N = log_probabilities_NK.argmax(dim=1) == labels_N
    loss = torch.nn.functional.nll_loss(log_probabilities_NK, labels_N)
    return Scores(right_N.double().mean().item(), loss.item())


@torch.no_grad()
def answer(network: Network, examples: Examples, device: torch.device) -> Tensor:
    """Logits `(N, K)` on the CPU, in float32 whatever the training's precision: the exported network's own."""
    parts: list[Tensor] = []
    for images_BHWC in examples.in_order(BATCH_SIZE):
        images_BCHW = network.normalise(images_BHWC.to(device))
        network = network if parts else folded(network, images_BCHW)
        parts.append(network(images_BCHW).cpu())
    return torch.cat(parts) if parts else torch.zeros(0, network.head.out_features)


def report(
    logits_NK: Tensor, labels_N: NDArray[np.int64], classes: Sequence[ImageClass], train_labels_M: NDArray[np.int64]
) -> dict[str, Any]:
    """All that the test split says. Every figure is `None` if it is empty.

    `majority_baseline` is the accuracy of always naming the class that is most frequent in training.
    """
    num_classes = len(classes)
    found = score(logits_NK, torch.from_numpy(labels_N))
    confusion_KK = np.zeros((num_classes, num_classes), dtype=np.int64)
    np.add.at(confusion_KK, (labels_N, logits_NK.argmax(dim=1).numpy()), 1)
    per_class = [_of_class(confusion_KK, label) for label in range(num_classes)]
    recalls = [row["recall"] for row in per_class if row["recall"] is not None]
    majority = int(np.bincount(train_labels_M, minlength=num_classes).argmax())
    return {
        "num_test": len(labels_N),
        "accuracy": found.accuracy if found else None,
        "balanced_accuracy": float(np.mean(recalls)) if recalls else None,
        "log_loss": found.log_loss if found else None,
        "expected_calibration_error": calibration_error(logits_NK, labels_N) if found else None,
        "majority_baseline": float(np.mean(labels_N == majority)) if found else None,
        "per_class": [
            {"class_id": item.id, "name": item.name, **row} for item, row in zip(classes, per_class, strict=True)
        ],
        "confusion": confusion_KK.tolist(),
    }


def _of_class(confusion_KK: NDArray[np.int64], label: int) -> dict[str, Any]:
    """Precision, recall and F1 of one class; `None` where nothing was there to count."""
    hits = int(confusion_KK[label, label])
    named, support = int(confusion_KK[:, label].sum()), int(confusion_KK[label].sum())
    return {
        "support": support,
        "precision": hits / named if named else None,
        "recall": hits / support if support else None,
        "f1": 2 * hits / (named + support) if named + support else None,
    }


def calibration_error(logits_NK: Tensor, labels_N: NDArray[np.int64]) -> float:
    """Expected calibration error (Guo et al., 2017): mean gap of confidence and accuracy over ten equal bins."""
    confidence_N, named_N = (part.numpy() for part in logits_NK.double().softmax(dim=1).max(dim=1))
    right_N = named_N == labels_N
    bins_N = np.minimum((confidence_N * _CALIBRATION_BINS).astype(int), _CALIBRATION_BINS - 1)
    gaps = [
        abs(float(confidence_N[bins_N == bin].sum()) - int(right_N[bins_N == bin].sum()))
        for bin in range(_CALIBRATION_BINS)
    ]
    return sum(gaps) / len(labels_N)
