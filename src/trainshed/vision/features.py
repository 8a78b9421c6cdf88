"""Training on frozen features: the trunk runs once over the pictures, then only the last layer is solved for.

Seconds instead of minutes, and with few pictures often the best there is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from trainshed.vision.evaluation import BATCH_SIZE, Scores, score
from trainshed.vision.examples import Examples
from trainshed.vision.folding import folded
from trainshed.vision.networks import Network

# Strengths of the pull towards zero, tried from strong to weak; validation chooses. Features have norm 1 there.
_PENALTIES = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
_PENALTY_UNSELECTED = 1e-4


@dataclass(frozen=True)
class Head:
    """The last layer, `(K, F)` and `(K,)`, and its scores on the validation split, if there is one."""

    weight_KF: Tensor
    bias_K: Tensor
    scores: Scores | None

    def packed(self) -> list[Any]:
        """For a checkpoint."""
        return [self.weight_KF, self.bias_K, self.scores.packed() if self.scores else None]

    @classmethod
    def unpacked(cls, packed: list[Any]) -> Head:
        """What `packed` made."""
        weight_KF, bias_K, scores = packed
        return cls(weight_KF, bias_K, Scores(*scores) if scores else None)


@torch.no_grad()
def extract(
    network: Network, examples: Examples, device: torch.device, *, known_MF: Tensor | None = None,
    reached: Callable[[list[Tensor]], None],
) -> Tensor:  # fmt: skip
    """Features `(N, F)` of all examples on the CPU, without augmentation.

    `known_MF` are the first M of them from an earlier attempt; `reached` is called with all parts after each
    batch and may raise to stop.
    """
    parts = [known_MF] if known_MF is not None else []
    quick: Network | None = None
    for images_BHWC in examples.in_order(BATCH_SIZE, first=sum(map(len, parts))):
        images_BCHW = network.normalise(images_BHWC.to(device))
        quick = quick or folded(network, images_BCHW)
        parts.append(quick.features(images_BCHW).cpu())
        reached(parts)
    return torch.cat(parts)


def solve(
    train_NF: Tensor, labels_N: Tensor, validation_MF: Tensor, validation_labels_M: Tensor, class_weights_K: Tensor
) -> Head:
    """The best linear head for these features: weighted logistic regression by L-BFGS.

    One head per penalty, each starting from the last; the best on validation is returned.
    """
    centre_F = train_NF.mean(dim=0)
    scale = (train_NF - centre_F).square().sum(dim=1).mean().sqrt().clamp_min(1e-12)
    scaled_NF = (train_NF - centre_F) / scale
    weight_KF = torch.zeros(len(class_weights_K), train_NF.shape[1], requires_grad=True)
    bias_K = torch.zeros(len(class_weights_K), requires_grad=True)
    heads = []
    for penalty in _PENALTIES if len(validation_labels_M) else (_PENALTY_UNSELECTED,):
        _descend(weight_KF, bias_K, scaled_NF, labels_N, class_weights_K, penalty)
        # The head for features as they come from the trunk.
        raw_KF = (weight_KF / scale).detach()
        raw_K = (bias_K - raw_KF @ centre_F).detach()
        heads.append(Head(raw_KF, raw_K, score(validation_MF @ raw_KF.T + raw_K, validation_labels_M)))
    return max(heads, key=lambda head: head.scores.rank if head.scores else (0.0, 0.0))


def _descend(
    weight_KF: Tensor, bias_K: Tensor, features_NF: Tensor, labels_N: Tensor, class_weights_K: Tensor, penalty: float
) -> None:
    """Minimise mean cross-entropy + penalty / 2 x the squared norm of the weights, in place."""
    optimizer = torch.optim.LBFGS(
        [weight_KF, bias_K], max_iter=100, tolerance_grad=1e-5, tolerance_change=1e-7, line_search_fn="strong_wolfe"
    )

    def loss_with_gradient() -> Tensor:
        optimizer.zero_grad()
        logits_NK = features_NF @ weight_KF.T + bias_K
        loss = cross_entropy(logits_NK, labels_N, class_weights_K) + penalty / 2 * weight_KF.square().sum()
        loss.backward()
        return loss

    optimizer.step(loss_with_gradient)
