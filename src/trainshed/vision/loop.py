"""The training loop: gradient steps, validation after each epoch, early stopping, and going on to the bit.

To be read in one sitting. All that a step depends on is in `Run`; all that `Run` needs to go on is in its `state`.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from timm.optim._param_groups import param_groups_layer_decay
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from trainshed.errors import TrainingDiverged
from trainshed.schemas import ClassificationRecipe
from trainshed.vision import augmentation
from trainshed.vision.checkpoints import Saver
from trainshed.vision.devices import arithmetic
from trainshed.vision.evaluation import Scores, answer, score
from trainshed.vision.examples import Batch, Examples, ahead
from trainshed.vision.networks import Network
from trainshed.vision.story import Progress, Story, log

RATE_FROM_SCRATCH, RATE_FINE_TUNING = 3e-3, 2e-4
# Each layer below the head learns at this fraction of the rate of the one above it.
_LAYER_DECAY = 0.8
# With fewer training pictures than this, layers that would learn at less than the given rate are left alone.
_SMALL_SET, _SMALL_SET_LOWEST_RATE = 2000, 0.25
# A training from scratch is not stopped before.
_SETTLING_STEPS = 100
_METRIC_POINTS = 200
_SAMPLE_PICTURES = 8

State = dict[str, Tensor]


@dataclass(frozen=True)
class Candidate:
    """Weights that may become the model, and how they do on validation (`None` if that split is empty)."""

    state: State
    scores: Scores | None
    epoch: int

    def packed(self) -> list[Any]:
        """For a checkpoint."""
        return [self.state, self.scores.packed() if self.scores else None, self.epoch]

    @classmethod
    def unpacked(cls, packed: list[Any]) -> Candidate:
        """What `packed` made."""
        state, scores, epoch = packed
        return cls(state, Scores(*scores) if scores else None, epoch)


@dataclass
class Meter:
    """Sums since the last metric point. They stay on the device: reading them makes a GPU wait."""

    loss_sum: Tensor
    num_right: Tensor
    count: int = 0
    started: float = field(default_factory=time.perf_counter)

    @classmethod
    def on(cls, device: torch.device, loss_sum: float = 0.0, num_right: float = 0.0, count: int = 0) -> Meter:
        sums = torch.tensor([loss_sum, num_right], dtype=torch.float64).to(device, torch.float32)
        return cls(sums[0], sums[1], count)

    def add(self, loss: Tensor, logits_BK: Tensor, labels_B: Tensor) -> None:
        """Count one batch; its loss weighs by its size."""
        self.loss_sum = self.loss_sum + loss.detach() * len(labels_B)
        self.num_right = self.num_right + (logits_BK.detach().argmax(dim=1) == labels_B).sum()
        self.count += len(labels_B)

    def sums(self) -> list[float]:
        return [self.loss_sum.item(), self.num_right.item(), self.count]


class Run:
    """One fine-tuning: the network, its moving average, the optimizer, and where it is."""

    def __init__(
        self, network: Network, train: Examples, validation: Examples, recipe: ClassificationRecipe, *,
        class_weights_K: Tensor, is_pretrained: bool, precision: str, device: torch.device, story: Story, saver: Saver,
    ) -> None:  # fmt: skip
        self.train, self.validation, self.recipe = train, validation, recipe
        self.device, self.precision, self.is_pretrained = device, precision, is_pretrained
        self.story, self.saver = story, saver
        self.network = copy.deepcopy(network).to(device).to(memory_format=torch.channels_last)
        self.class_weights_K = class_weights_K.to(device)
        self.groups = parameter_groups(self.network, recipe, is_pretrained, len(train))
        self.optimizer = torch.optim.AdamW(self.groups, lr=0.0, fused=True)
        self.averages = Averages(self.network, recipe.ema_decay)
        self.num_batches = num_batches(train, recipe)
        self.num_steps = recipe.epochs * self.num_batches
        self.step = self.epoch = self.position = self.epochs_without_gain = 0
        self.best: Candidate | None = None
        self.last: Candidate | None = None
        self.meter = Meter.on(device)
        self.history: list[dict[str, float]] = []
        self.metric_every = max(1, self.num_steps // _METRIC_POINTS)

    def batches(self) -> Iterator[Batch]:
        """The rest of this epoch's batches. A thread makes them ahead where waiting for them would cost."""
        items = self.train.shuffled(self.recipe.seed, self.epoch, self.num_batches, self.position)
        is_cheap = self.train.pictures.is_instant and self.device.type == "cpu"
        return items if is_cheap else ahead(items)

    def state(self) -> dict[str, Any]:
        """Everything that `restore` needs, between two steps. Raises `TrainingDiverged` rather than keep ruins."""
        check_finite(self)
        return {
            "network": self.network.state_dict(),
            "averages": self.averages.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "counters": [self.step, self.epoch, self.position, self.epochs_without_gain],
            "best": self.best.packed() if self.best else None,
            "last": self.last.packed() if self.last else None,
            "meter": self.meter.sums(),
            "history": self.history,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where `state` was taken."""
        self.network.load_state_dict(state["network"])
        self.averages.network.load_state_dict(state["averages"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.epoch, self.position, self.epochs_without_gain = state["counters"]
        self.best, self.last = (Candidate.unpacked(state[key]) if state[key] else None for key in ("best", "last"))
        self.meter = Meter.on(self.device, *state["meter"])
        self.history = state["history"]


def num_batches(train: Examples, recipe: ClassificationRecipe) -> int:
    """Gradient steps of one epoch."""
    return math.ceil(len(train) / recipe.batch_size)


def fine_tune(run: Run) -> tuple[Candidate, Candidate]:
    """Train until the epochs or the patience are used up; the best on validation, and the last.

    Raises `TrainingDiverged`, and `JobStopped` after saving a checkpoint.
    """
    progress = Progress(run.story, "fine-tuning", run.num_steps, done=run.step)
    while run.epoch < run.recipe.epochs and run.epochs_without_gain < run.recipe.patience:
        train_epoch(run, progress)
        validate(run)
    if run.epoch < run.recipe.epochs:
        log(run.story, f"Stopped early: no better validation accuracy in {run.recipe.patience} epochs.")
    assert run.last is not None
    return run.best or run.last, run.last


def train_epoch(run: Run, progress: Progress) -> None:
    """The gradient steps of the rest of an epoch."""
    recipe, network = run.recipe, run.network
    training_mode(network, run.is_pretrained)
    for batch in run.batches():
        rate = set_rate(run)
        # Dropout is a function of the step, so that a resumed run drops the same.
        torch.manual_seed((recipe.seed << 32) + run.step)
        labels_B = batch.labels_B.to(run.device, non_blocking=True)
        images_BHWC = batch.images_BHWC.to(run.device, non_blocking=True)
        images_BCHW = augmentation.apply(
            images_BHWC, batch.draws_BD, recipe.augmentation, network.mean_C, network.std_C
        )
        with arithmetic(run.device, run.precision):
            logits_BK = network(images_BCHW)
        loss = loss_of(logits_BK.float(), labels_B, recipe, run.class_weights_K)
        loss.backward()
        run.optimizer.step()
        run.optimizer.zero_grad(set_to_none=True)
        run.averages.follow(run.step)

        run.step += 1
        run.position += 1
        run.meter.add(loss, logits_BK, labels_B)
        if run.step % run.metric_every == 0:
            tell_metrics(run, rate)
        progress.reached(run.step)
        run.saver.save_if_due(run.state, run.step)


def loss_of(logits_BK: Tensor, labels_B: Tensor, recipe: ClassificationRecipe, class_weights_K: Tensor) -> Tensor:
    """Cross-entropy with smoothed targets, in which pictures of rare classes weigh more."""
    return cross_entropy(logits_BK, labels_B, class_weights_K, label_smoothing=recipe.label_smoothing)


def validate(run: Run) -> None:
    """End an epoch: score the averaged network, remember the best and the last, tell the metrics."""
    check_finite(run)
    started = time.perf_counter()
    network = run.averages.network
    logits_NK = answer(network, run.validation, run.device)
    scores = score(logits_NK, torch.from_numpy(run.validation.labels_N))
    run.epoch, run.position = run.epoch + 1, 0
    run.last = Candidate(_copied(network), scores, run.epoch)
    if scores:
        best = run.best.scores if run.best else None
        has_gained = not best or scores.accuracy > best.accuracy or _is_settling(run, scores)
        run.epochs_without_gain = 0 if has_gained else run.epochs_without_gain + 1
        if not best or scores.rank > best.rank:
            run.best = run.last
        values = {"validation_loss": scores.log_loss, "validation_accuracy": scores.accuracy}
        run.history.append({"epoch": run.epoch, **values})
        _tell(run, values)
        run.story.say("sample", {"epoch": run.epoch, "pictures": _samples(run.validation, logits_NK)})
    run.meter.started += time.perf_counter() - started  # images per second are those of training


def _is_settling(run: Run, scores: Scores) -> bool:
    """From scratch, batch normalisation's averages need some steps before the accuracy says anything."""
    return not run.is_pretrained and run.step < _SETTLING_STEPS and scores.accuracy < 1


def tell_metrics(run: Run, rate: float) -> None:
    """Say what was summed since the last metric point, and start the sums anew."""
    check_finite(run)
    loss_sum, num_right, count = run.meter.sums()
    elapsed_seconds = max(time.perf_counter() - run.meter.started, 1e-9)
    _tell(run, {
        "loss": loss_sum / count, "accuracy": num_right / count, "learning_rate": rate,
        "images_per_second": round(count / elapsed_seconds, 1),
    })  # fmt: skip
    run.meter = Meter.on(run.device)


def _tell(run: Run, values: dict[str, float]) -> None:
    body = {"step": run.step, "epoch": round(run.step / run.num_batches, 4), "values": values}
    run.story.say("metric", body)


def _samples(validation: Examples, logits_NK: Tensor) -> list[dict[str, Any]]:
    probabilities, named = logits_NK[:_SAMPLE_PICTURES].softmax(dim=1).max(dim=1)
    return [
        {"image_id": row.image_id, "name": row.name, "label": label, "predicted": guess, "score": round(sure, 4)}
        for row, label, guess, sure in zip(
            validation.rows, validation.labels_N.tolist(), named.tolist(), probabilities.tolist(), strict=False
        )
    ]


def check_finite(run: Run) -> None:
    """Raise `TrainingDiverged` if the summed loss is infinite or not a number."""
    loss_sum = run.meter.loss_sum.item()
    if not math.isfinite(loss_sum):
        rate = schedule(run.step - 1, run.num_steps, run.recipe, run.is_pretrained)
        raise TrainingDiverged(
            f"The loss became {loss_sum} by step {run.step} of {run.num_steps}, at a learning rate of {rate:.2g} "
            f"in {run.precision}.",
            hint=f"Set a learning rate well below {peak_rate(run.recipe, run.is_pretrained):.2g}"
            + (", or precision `float32`." if run.precision != "float32" else "."),
        )


def training_mode(network: Network, is_pretrained: bool) -> None:
    """Switch dropout on, and batch norms only for a network from scratch.

    Statistics from millions of pictures are better than those of a batch of thirty.
    """
    network.train()
    for module in network.modules():
        if is_pretrained and isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()


def peak_rate(recipe: ClassificationRecipe, is_pretrained: bool) -> float:
    """The highest learning rate of the run."""
    return recipe.learning_rate or (RATE_FINE_TUNING if is_pretrained else RATE_FROM_SCRATCH)


def schedule(step: int, num_steps: int, recipe: ClassificationRecipe, is_pretrained: bool) -> float:
    """The learning rate at a step: a linear climb, then half a cosine down to 0."""
    peak, num_warmup = peak_rate(recipe, is_pretrained), int(recipe.warmup_fraction * num_steps)
    if step < num_warmup:
        return peak * (step + 1) / (num_warmup + 1)
    return peak * 0.5 * (1 + math.cos(math.pi * (step - num_warmup) / max(1, num_steps - num_warmup)))


def set_rate(run: Run) -> float:
    """Give each layer its share of this step's learning rate; returns the head's."""
    rate = schedule(run.step, run.num_steps, run.recipe, run.is_pretrained)
    for group in run.optimizer.param_groups:
        group["lr"] = rate * group["lr_scale"]
    return rate


def parameter_groups(
    network: Network, recipe: ClassificationRecipe, is_pretrained: bool, num_train: int
) -> list[dict[str, Any]]:
    """Parameters with their weight decay and their share of the learning rate, `lr_scale`.

    Biases and norms do not decay. Of a pretrained trunk, lower layers learn more slowly (Clark et al., 2020), and
    with few pictures the lowest not at all, which also saves their backward pass.
    """
    if not is_pretrained:
        return _decayed_and_not(network, recipe.weight_decay)
    trunk: Any = network.trunk
    lowest = _SMALL_SET_LOWEST_RATE if num_train < _SMALL_SET else None
    never = trunk.no_weight_decay() if hasattr(trunk, "no_weight_decay") else ()
    groups = param_groups_layer_decay(trunk, recipe.weight_decay, never, layer_decay=_LAYER_DECAY, no_opt_scale=lowest)
    return [*groups, *_decayed_and_not(network.head, recipe.weight_decay)]


def _decayed_and_not(module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    parameters = list(module.parameters())
    return [
        {"params": [one for one in parameters if one.ndim > 1], "weight_decay": weight_decay, "lr_scale": 1.0},
        {"params": [one for one in parameters if one.ndim <= 1], "weight_decay": 0.0, "lr_scale": 1.0},
    ]


class Averages:
    """An exponential moving average of a network's weights (Polyak averaging); decay 0 copies them."""

    def __init__(self, network: Network, decay: float) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.decay = decay
        learning = [name for name, parameter in network.named_parameters() if parameter.requires_grad]
        state, own_state = network.state_dict(), self.network.state_dict()
        moving = [name for name, _ in network.named_buffers() if name in state and state[name].is_floating_point()]
        self._followed = [state[name] for name in learning + moving]
        self._averages = [own_state[name] for name in learning + moving]

    @torch.no_grad()
    def follow(self, step: int) -> None:
        """Move towards the network; in the first steps faster, for an average of noise is noise."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self._averages, self._followed, 1 - decay)


def _copied(network: Network) -> State:
    return {name: value.detach().to("cpu", copy=True) for name, value in network.state_dict().items()}


def class_weights(labels_N: np.ndarray[Any, np.dtype[np.int64]], num_classes: int) -> Tensor:
    """Weights `(K,)` by the inverse square root of a class's frequency; 1 for all in a balanced set.

    The root is a compromise: full weights would make a rare class's few pictures as loud as a thousand others.
    """
    counts_K = np.bincount(labels_N, minlength=num_classes)
    present = counts_K > 0
    weights_K = np.where(present, np.sqrt(counts_K.sum() / present.sum() / np.maximum(counts_K, 1)), 1.0)
    return torch.from_numpy(weights_K.astype(np.float32))
