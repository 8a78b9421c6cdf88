"""The pictures of one split with their labels, and the batches that training and evaluation take from them."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainshed.schemas import ImageClass, ManifestRow
from trainshed.schemas.pictures import Split
from trainshed.vision import augmentation
from trainshed.vision.cache import Pictures

Item = TypeVar("Item")


@dataclass(frozen=True)
class Batch:
    """Pictures uint8 `(B, S, S, 3)`, labels `(B,)` and the random numbers of each picture `(B, D)`."""

    images_BHWC: Tensor
    labels_B: Tensor
    draws_BD: NDArray[np.float64]


@dataclass(frozen=True)
class Examples:
    """One split. `places` are its rows in the manifest, which are also its places in `pictures`."""

    pictures: Pictures
    rows: list[ManifestRow]
    places_N: NDArray[np.int64]
    labels_N: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)

    def in_order(self, batch_size: int, first: int = 0) -> Iterator[Tensor]:
        """Batches of pictures in manifest order, uint8 `(B, S, S, 3)`, from example `first` on."""
        for start in range(first, len(self), batch_size):
            yield torch.from_numpy(self.pictures.take(self.places_N[start : start + batch_size]))

    def shuffled(self, seed: int, epoch: int, num_batches: int, first: int = 0) -> Iterator[Batch]:
        """The batches of one epoch from number `first` on, of sizes that differ by at most one.

        Equal sizes, so that no batch norm ever sees a last batch of one picture.
        """
        order = augmentation.order(seed, epoch, len(self))
        draws = augmentation.draws(seed, epoch, len(self))
        for chosen_B in np.array_split(order, num_batches)[first:]:
            images_BHWC = torch.from_numpy(self.pictures.take(self.places_N[chosen_B]))
            yield Batch(images_BHWC, torch.from_numpy(self.labels_N[chosen_B]), draws[chosen_B])


def examples_of(
    split: Split, rows: Sequence[ManifestRow], classes: Sequence[ImageClass], pictures: Pictures
) -> Examples:
    """The examples of one split; a label is the place of its class in `classes`."""
    label_of = {item.id: label for label, item in enumerate(classes)}
    chosen = [(place, row) for place, row in enumerate(rows) if row.split == split]
    return Examples(
        pictures,
        [row for _, row in chosen],
        np.array([place for place, _ in chosen], dtype=np.int64),
        np.array([label_of[row.class_id] for _, row in chosen], dtype=np.int64),
    )


def joined(first: Examples, second: Examples) -> Examples:
    """Two splits of the same pictures, one after the other."""
    return Examples(
        first.pictures,
        first.rows + second.rows,
        np.concatenate([first.places_N, second.places_N]),
        np.concatenate([first.labels_N, second.labels_N]),
    )


def ahead(items: Iterator[Item], depth: int = 2) -> Iterator[Item]:
    """The same items, made up to `depth` ahead by a thread; an error of the maker is raised here."""
    ready: queue.Queue[tuple[Item | None, BaseException | None]] = queue.Queue(depth)
    given_up = threading.Event()

    def make() -> None:
        try:
            for item in items:
                if not _put(ready, (item, None), given_up):
                    return
            _put(ready, (None, None), given_up)
        except BaseException as exc:  # carried to the consumer, where it is raised
            _put(ready, (None, exc), given_up)

    threading.Thread(target=make, name="ahead", daemon=True).start()
    try:
        while True:
            item, problem = ready.get()
            if problem is not None:
                raise problem
            if item is None:
                return
            yield item
    finally:
        given_up.set()


def _put(ready: queue.Queue[Item], item: Item, given_up: threading.Event) -> bool:
    """Wait for room; False if the consumer has left."""
    while not given_up.is_set():
        try:
            ready.put(item, timeout=0.1)
            return True
        except queue.Full:
            continue
    return False
