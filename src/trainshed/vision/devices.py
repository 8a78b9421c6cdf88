"""Where and in which number format to train: asked for, or found out by measuring two steps of each."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from contextlib import AbstractContextManager

import torch
from torch import Tensor

from trainshed.errors import InvalidInput
from trainshed.schemas import ClassificationRecipe
from trainshed.vision.networks import Network

FORMATS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
# Measuring costs about six steps; a run must be long enough to earn them back.
_STEPS_WORTH_MEASURING = 100


def choose_device(recipe: ClassificationRecipe) -> torch.device:
    """The device to train on. Raises `InvalidInput` if a GPU is asked for and there is none."""
    has_gpu = torch.cuda.is_available()
    if recipe.device == "cuda" and not has_gpu:
        raise InvalidInput(
            "The recipe asks for device `cuda`, and PyTorch sees no GPU on this machine.",
            hint="Set the device to `auto` or `cpu`, or give the job a host with a GPU.",
        )
    return torch.device("cuda" if has_gpu and recipe.device != "cpu" else "cpu")


def arithmetic(device: torch.device, precision: str) -> AbstractContextManager[None]:
    """The context in which a forward pass runs: autocast for bfloat16, nothing for float32."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bfloat16", cache_enabled=True)


def choose_precision(
    recipe: ClassificationRecipe, network: Network, images_BCHW: Tensor, loss_of: Callable[[Tensor], Tensor],
    num_steps: int,
) -> str:  # fmt: skip
    """`float32` or `bfloat16`, whichever trains this network faster on this device.

    bfloat16 is slower on a CPU without the instructions, so no rule of thumb will do. The network is not changed.
    """
    if recipe.precision != "auto":
        return recipe.precision
    if num_steps < _STEPS_WORTH_MEASURING:
        return "float32"
    seconds = {name: _seconds(network, images_BCHW, loss_of, name) for name in FORMATS}
    return min(seconds, key=lambda name: seconds[name])


def _seconds(network: Network, images_BCHW: Tensor, loss_of: Callable[[Tensor], Tensor], precision: str) -> float:
    """Seconds of two training steps, after one to warm up."""
    trial = copy.deepcopy(network)
    started = 0.0
    for step in range(3):
        if step == 1:
            started = _now(images_BCHW.device)
        with arithmetic(images_BCHW.device, precision):
            logits_BK = trial(images_BCHW)
        loss_of(logits_BK.float()).backward()
        trial.zero_grad()
    return _now(images_BCHW.device) - started


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
