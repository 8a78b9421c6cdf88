"""The shape that every classifier has here: a trunk that makes features, dropout, and one linear head.

One shape for all backbones means one way to train on frozen features, to fine-tune, to save and to export.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout as drop_out

from trainshed.schemas import Transform


class Network(nn.Module):
    """`trunk` maps `(B, 3, S, S)` to `(B, F)`; the head maps that to `(B, K)` logits."""

    def __init__(self, trunk: nn.Module, num_features: int, num_classes: int, *, transform: Transform, dropout: float):
        super().__init__()
        self.trunk = trunk
        self.head = nn.Linear(num_features, num_classes)
        self.dropout = dropout
        # Not part of the state: transform.json holds them.
        self.register_buffer("mean_C", torch.tensor(transform.mean), persistent=False)
        self.register_buffer("std_C", torch.tensor(transform.std), persistent=False)
        self.mean_C: Tensor
        self.std_C: Tensor

    def normalise(self, images_BHWC: Tensor) -> Tensor:
        """From uint8 `(B, S, S, 3)` to normalised float32 `(B, 3, S, S)`, channels last, without a copy of its own."""
        images_BCHW = images_BHWC.permute(0, 3, 1, 2).to(torch.float32)
        gain_C, offset_C = 1 / (255 * self.std_C), -self.mean_C / self.std_C
        return images_BCHW * gain_C[:, None, None] + offset_C[:, None, None]

    def features(self, images_BCHW: Tensor) -> Tensor:
        """Pooled features `(B, F)` of normalised pictures."""
        features_BF: Tensor = self.trunk(images_BCHW)
        return features_BF

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Logits `(B, K)` of normalised pictures."""
        features_BF = drop_out(self.features(images_BCHW), self.dropout, training=self.training)
        logits_BK: Tensor = self.head(features_BF)
        return logits_BK


class Answering(nn.Module):
    """What is exported: uint8 `(N, S, S, 3)` in, probabilities `(N, K)` out."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return self.network(self.network.normalise(images)).softmax(dim=1)


def scratch_trunk(width: int = 24) -> tuple[nn.Module, int]:
    """The trunk of `scratch-cnn`: five 3 x 3 convolutions, for pictures too few or too small for a big network.

    Returns the trunk and its number of features.
    """
    layers = OrderedDict(
        stem=_convolution(3, width),
        shrink1=nn.MaxPool2d(2),
        block1=nn.Sequential(_convolution(width, 2 * width), _convolution(2 * width, 2 * width)),
        shrink2=nn.MaxPool2d(2),
        block2=nn.Sequential(_convolution(2 * width, 4 * width), _convolution(4 * width, 4 * width)),
        pool=nn.AdaptiveAvgPool2d(1),
        flatten=nn.Flatten(),
    )
    return nn.Sequential(layers), 4 * width


def _convolution(num_in: int, num_out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(num_in, num_out, 3, padding=1, bias=False), nn.BatchNorm2d(num_out), nn.ReLU(inplace=True)
    )


def num_parameters(network: nn.Module) -> int:
    """How many numbers the network has learned."""
    return sum(parameter.numel() for parameter in network.parameters())
