"""P1: our training loop against a bare PyTorch loop, and against Keras 3, on the same network and pictures.

The bare loop is all that a person would write by hand; ours adds averages, metrics, progress, checkpoints when due,
and the question whether to stop. Same model, batch, augmentation, number format, layout, allocator and cache.
"""

from __future__ import annotations

import copy
import importlib.util
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from figures import Figure, alternate, arguments, median_interval, print_figures
from trainshed.vision.environment import training_environment

BATCH_SIZE = 32
TARGET = 0.97


def main() -> None:
    """Measure and print."""
    given = arguments(__doc__ or "")
    with tempfile.TemporaryDirectory() as folder:
        figures = [
            against_bare_loop("tf_efficientnet_lite0", 224, 3, given.pairs, Path(folder)),
            against_bare_loop("resnet18", 224, 3, given.pairs, Path(folder)),
            against_bare_loop("scratch-cnn", 32, 40, given.pairs, Path(folder)),
        ]
        if importlib.util.find_spec("keras"):
            figures.append(against_keras(32, 40, given.pairs, Path(folder)))
        else:
            print("Keras 3 is not installed (`pip install keras`); its comparison is left out.", file=sys.stderr)
    print_figures(figures, given.json)


def against_bare_loop(backbone: str, size: int, num_batches: int, num_pairs: int, folder: Path) -> Figure:
    """Images per second of an epoch of `num_batches`, ours over the bare loop's."""
    run = prepared_run(backbone, size, num_batches, folder)
    ours, bare = alternate(lambda: our_speed(run), bare_loop(run), num_pairs)
    return figure(f"training {backbone} @ {size}", ours, bare, "bare PyTorch loop", TARGET)


def figure(name: str, ours: list[float], anchor: list[float], anchor_name: str, target: float) -> Figure:
    """The figure of these speeds: medians, and the median of the pairs' ratios."""
    ratio, interval = median_interval([a / b for a, b in zip(ours, anchor, strict=True)])
    return Figure(
        "P1", name, statistics.median(ours), statistics.median(anchor), anchor_name, ratio, f">= {target} x",
        ratio >= target, "images/s", interval,
    )  # fmt: skip


def prepared_run(backbone: str, size: int, num_batches: int, folder: Path, **changes: Any) -> Any:
    """One of our runs on noise: what is in the pictures does not change the speed."""
    import numpy as np
    import torch

    from trainshed.schemas import ClassificationRecipe
    from trainshed.vision import backbones, loop
    from trainshed.vision.cache import MappedPictures
    from trainshed.vision.checkpoints import Saver
    from trainshed.vision.examples import Examples
    from trainshed.vision.story import SilentStory

    recipe = ClassificationRecipe(
        backbone=backbone, weights="auto" if backbone == "scratch-cnn" else "none", image_size=size,
        batch_size=BATCH_SIZE, epochs=1000, precision="float32", checkpoint_seconds=1e9, device="cpu", **changes,
    )  # fmt: skip
    torch.manual_seed(0)
    num_images, file = num_batches * BATCH_SIZE, folder / f"{size}-{num_batches}.rgb"
    noise = np.random.default_rng(0).integers(0, 256, num_images * size * size * 3, dtype=np.uint8)
    file.write_bytes(noise.tobytes())
    labels_N = np.arange(num_images) % 10
    pictures = MappedPictures(file, num_images, size)
    ready = backbones.build(recipe.model_copy(update={"dropout": 0.0}), 10, [])
    story = SilentStory(folder)
    train = Examples(pictures, [None] * num_images, np.arange(num_images), labels_N)  # type: ignore[list-item]
    empty = Examples(pictures, [], labels_N[:0], labels_N[:0])
    return loop.Run(
        ready.network, train, empty, recipe, class_weights_K=torch.ones(10), is_pretrained=False, precision="float32",
        device=torch.device("cpu"), story=story, saver=Saver(story, recipe.checkpoint_seconds, {}),
    )  # fmt: skip


def our_speed(run: Any) -> float:
    """Images per second of one epoch of ours."""
    from trainshed.vision import loop
    from trainshed.vision.story import Progress

    run.position = 0
    started = time.perf_counter()
    loop.train_epoch(run, Progress(run.story, "fine-tuning", run.num_steps))
    return len(run.train) / (time.perf_counter() - started)


def bare_loop(run: Any) -> Callable[[], float]:
    """A loop written by hand on a copy of the same network, the same pictures and the same optimizer."""
    import numpy as np
    import torch
    from torch.nn.functional import cross_entropy

    from trainshed.vision import augmentation

    network = copy.deepcopy(run.network).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=0.02, fused=True)
    settings, pictures, labels = run.recipe.augmentation, run.train.pictures, torch.from_numpy(run.train.labels_N)

    def speed() -> float:
        started = time.perf_counter()
        for places_B in np.random.permutation(len(labels)).reshape(-1, BATCH_SIZE):
            images_BHWC = torch.from_numpy(pictures.take(places_B))
            draws_BD = np.random.rand(BATCH_SIZE, augmentation.DRAWS_PER_IMAGE)
            images_BCHW = augmentation.apply(images_BHWC, draws_BD, settings, network.mean_C, network.std_C)
            loss = cross_entropy(network(images_BCHW), labels[places_B], label_smoothing=0.05)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        return len(labels) / (time.perf_counter() - started)

    return speed


def against_keras(size: int, num_batches: int, num_pairs: int, folder: Path) -> Figure:
    """Images per second of the small network without augmentation, ours over Keras 3 on torch."""
    from trainshed.schemas import Augmentation

    plain = Augmentation(flip=False, rotate_degrees=0, scale=0, shift=0, brightness=0, contrast=0)
    run = prepared_run("scratch-cnn", size, num_batches, folder, augmentation=plain)
    ours, keras = alternate(lambda: our_speed(run), keras_loop(run, size), num_pairs)
    return figure(f"training scratch-cnn @ {size}, not augmented", ours, keras, "Keras 3 (torch) fit", 1.0)


def keras_loop(run: Any, size: int) -> Callable[[], float]:
    """The same small network, batch and pictures in Keras."""
    os.environ["KERAS_BACKEND"] = "torch"
    import keras
    import numpy as np

    width = run.network.trunk.stem[0].out_channels
    layers: list[Any] = [keras.Input((size, size, 3)), keras.layers.Rescaling(1 / 127.5, -1)]
    for channels, shrinks in ((1, True), (2, False), (2, True), (4, False), (4, False)):
        layers += [
            keras.layers.Conv2D(channels * width, 3, padding="same", use_bias=False),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
            *([keras.layers.MaxPooling2D(2)] if shrinks else []),
        ]
    model = keras.Sequential([*layers, keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(10)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.AdamW(1e-3, weight_decay=0.02), loss, metrics=["accuracy"])
    images_NHWC, labels_N = run.train.pictures.take(np.arange(len(run.train))), run.train.labels_N

    def speed() -> float:
        started = time.perf_counter()
        model.fit(images_NHWC, labels_N, batch_size=BATCH_SIZE, epochs=1, verbose=0)
        return len(labels_N) / (time.perf_counter() - started)

    return speed


if __name__ == "__main__":
    wanted = training_environment()
    if any(os.environ.get(name) != value for name, value in wanted.items()):
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **wanted})
    main()
