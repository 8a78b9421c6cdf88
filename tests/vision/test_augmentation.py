from __future__ import annotations

import numpy as np
import pytest
import torch

from trainshed.schemas import Augmentation
from trainshed.vision import augmentation

from .material import NO_CHANGES

MEAN = STD = torch.full((3,), 0.5)


def pictures(count: int = 6, size: int = 12) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (count, size, size, 3), dtype=np.uint8))


def test_an_epoch_visits_every_picture_once_in_an_order_of_its_own():
    first, second = augmentation.order(7, 0, 100), augmentation.order(7, 1, 100)
    assert sorted(first) == sorted(second) == list(range(100))
    assert (first != second).any()
    assert (first == augmentation.order(7, 0, 100)).all()
    assert (first != augmentation.order(8, 0, 100)).any()


def test_the_numbers_of_a_picture_do_not_depend_on_how_many_pictures_there_are():
    assert (augmentation.draws(3, 5, 10) == augmentation.draws(3, 5, 1000)[:10]).all()


def test_every_epoch_and_every_seed_changes_the_pictures_otherwise():
    assert not (augmentation.draws(3, 5, 10) == augmentation.draws(3, 6, 10)).any()
    assert not (augmentation.draws(3, 5, 10) == augmentation.draws(4, 5, 10)).any()


def test_numbers_are_uniform():
    draws = augmentation.draws(0, 0, 20_000)
    assert draws.min() >= 0 and draws.max() < 1
    assert np.abs(draws.mean(axis=0) - 0.5).max() < 0.01
    assert np.abs(np.corrcoef(draws.T) - np.eye(augmentation.DRAWS_PER_IMAGE)).max() < 0.03


@pytest.mark.parametrize("sizes", [[6], [1, 5], [2, 2, 2], [1] * 6])
def test_a_picture_is_changed_the_same_in_whatever_batch_it_comes(sizes):
    images, draws = pictures(), augmentation.draws(1, 2, 6)
    whole = augmentation.apply(images, draws, Augmentation(), MEAN, STD)
    parts, start = [], 0
    for size in sizes:
        part = slice(start, start + size)
        parts.append(augmentation.apply(images[part], draws[part], Augmentation(), MEAN, STD))
        start += size
    assert torch.equal(torch.cat(parts), whole)


def test_without_augmentation_a_picture_is_only_normalised():
    images = pictures()
    changed = augmentation.apply(images, augmentation.draws(0, 0, 6), NO_CHANGES, MEAN, STD)
    expected = (images.permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5
    torch.testing.assert_close(changed, expected)
    assert changed.is_contiguous(memory_format=torch.channels_last)


def test_a_flip_is_a_mirror_image_of_half_of_the_pictures():
    images, draws = pictures(), augmentation.draws(0, 0, 6)
    changed = augmentation.apply(images, draws, NO_CHANGES.model_copy(update={"flip": True}), MEAN, STD)
    plain = augmentation.apply(images, draws, NO_CHANGES, MEAN, STD)
    is_flipped = torch.from_numpy(draws[:, 0] < 0.5)
    assert 0 < is_flipped.sum() < 6
    torch.testing.assert_close(changed[is_flipped], plain[is_flipped].flip(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(changed[~is_flipped], plain[~is_flipped], atol=1e-4, rtol=0)


def test_a_shift_moves_the_picture_by_the_drawn_part_of_its_side():
    images = torch.zeros(1, 16, 16, 3, dtype=torch.uint8)
    images[0, 8, 8] = 255
    draws = np.full((1, augmentation.DRAWS_PER_IMAGE), 0.5)
    draws[0, 3] = 1.0  # the largest shift across, none down
    changed = augmentation.apply(images, draws, NO_CHANGES.model_copy(update={"shift": 0.25}), MEAN, STD)
    assert (changed[0, 0] > 0.99).nonzero().tolist() == [[8, 4]]


def test_a_moved_picture_is_continued_by_its_mirror_image():
    white = torch.full((4, 12, 12, 3), 255, dtype=torch.uint8)
    moves = NO_CHANGES.model_copy(update={"shift": 0.5, "rotate_degrees": 90, "scale": 0.5})
    changed = augmentation.apply(white, augmentation.draws(0, 0, 4), moves, MEAN, STD)
    torch.testing.assert_close(changed, torch.ones_like(changed))


def test_contrast_turns_about_mid_grey_and_brightness_adds():
    draws = np.full((1, augmentation.DRAWS_PER_IMAGE), 0.5)
    draws[0, 5], draws[0, 6] = 0.0, 1.0
    settings = NO_CHANGES.model_copy(update={"contrast": 0.5, "brightness": 0.1})
    gain, offset = augmentation.colour(draws, settings)[0]
    assert gain * 0.5 + offset == pytest.approx(0.6)
    assert gain == pytest.approx(0.5)
