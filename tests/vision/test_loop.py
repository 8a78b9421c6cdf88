from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from trainshed.schemas import ClassificationRecipe
from trainshed.vision import backbones, devices, loop
from trainshed.vision.examples import ahead, examples_of
from trainshed.vision.story import Progress, SilentStory

from .material import DIGITS_RECIPE, classes, said


def test_the_rate_climbs_then_falls_to_nothing():
    recipe = ClassificationRecipe(learning_rate=1.0, warmup_fraction=0.1)
    rates = [loop.schedule(step, 100, recipe, True) for step in range(100)]
    assert rates[:11] == sorted(rates[:11]) and rates[10] == 1.0
    assert rates[10:] == sorted(rates[10:], reverse=True) and 0 < rates[99] < 0.001


def test_lower_layers_learn_more_slowly_and_with_few_pictures_the_lowest_not_at_all():
    network = backbones.build(ClassificationRecipe(backbone="tf_efficientnet_lite0", weights="none"), 3, []).network
    many = loop.parameter_groups(network, ClassificationRecipe(), True, 100_000)
    assert all(parameter.requires_grad for parameter in network.parameters())
    assert sum(len(group["params"]) for group in many) == len(list(network.parameters()))
    assert max(group["lr_scale"] for group in many) == 1.0 > min(group["lr_scale"] for group in many)
    few = loop.parameter_groups(network, ClassificationRecipe(), True, 100)
    assert not network.trunk.conv_stem.weight.requires_grad
    assert network.head.weight.requires_grad and network.trunk.conv_head.weight.requires_grad
    assert min(group["lr_scale"] for group in few) >= 0.25


def test_biases_and_norms_do_not_decay():
    network = backbones.build(DIGITS_RECIPE, 3, []).network
    groups = loop.parameter_groups(network, DIGITS_RECIPE, False, 100)
    assert {parameter.ndim > 1: group["weight_decay"] for group in groups for parameter in group["params"]} == {
        True: DIGITS_RECIPE.weight_decay,
        False: 0.0,
    }


def test_the_average_follows_the_network_and_without_decay_equals_it():
    network = backbones.build(DIGITS_RECIPE, 3, []).network
    slow, fast = loop.Averages(network, 0.9), loop.Averages(network, 0.0)
    before = network.head.weight.detach().clone()
    with torch.no_grad():
        network.head.weight.add_(1)
        network.trunk.stem[1].running_mean.add_(1)
    slow.follow(step=1000)
    fast.follow(step=1000)
    torch.testing.assert_close(slow.network.head.weight, before + 0.1)
    torch.testing.assert_close(slow.network.trunk.stem[1].running_mean, torch.full((24,), 0.1))
    assert torch.equal(fast.network.head.weight, network.head.weight)


def test_batch_norms_keep_their_statistics_in_fine_tuning_only():
    network = backbones.build(DIGITS_RECIPE, 3, []).network
    loop.training_mode(network, is_pretrained=True)
    assert network.training and not network.trunk.stem[1].training
    loop.training_mode(network, is_pretrained=False)
    assert network.trunk.stem[1].training


def test_rare_classes_weigh_more_and_a_balanced_set_weighs_one():
    assert loop.class_weights(np.array([0, 1, 2]), 3).tolist() == [1, 1, 1]
    weights = loop.class_weights(np.array([0] * 90 + [1] * 10), 3)
    assert weights[1] / weights[0] == pytest.approx(3)
    assert weights[2] == 1


def test_measuring_the_precision_leaves_the_network_as_it_was():
    network = backbones.build(DIGITS_RECIPE, 3, []).network
    before = {name: value.clone() for name, value in network.state_dict().items()}
    recipe = DIGITS_RECIPE.model_copy(update={"precision": "auto"})
    images, labels = torch.zeros(4, 3, 16, 16), torch.tensor([0, 1, 2, 0])
    chosen = devices.choose_precision(
        recipe, network, images, lambda logits: torch.nn.functional.cross_entropy(logits, labels), 1000
    )
    assert chosen in devices.FORMATS
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())


def test_a_precision_that_is_asked_for_is_not_measured():
    recipe = DIGITS_RECIPE.model_copy(update={"precision": "bfloat16"})
    network = backbones.build(DIGITS_RECIPE, 3, []).network
    assert devices.choose_precision(recipe, network, torch.zeros(1), torch.sum, 1000) == "bfloat16"


class _Places:
    is_instant = True

    def take(self, places_B):
        return places_B.astype(np.uint8).reshape(-1, 1, 1, 1).repeat(3, axis=3)


def test_batches_of_an_epoch_hold_every_picture_once_in_nearly_equal_parts(shelf):
    rows = [shelf.row(np.zeros((1, 1, 3), np.uint8), str(n), str(n % 2), "train") for n in range(33)]
    examples = examples_of("train", rows, classes("0", "1"), _Places())
    batches = list(examples.shuffled(0, 0, 5))
    assert sorted(len(batch.labels_B) for batch in batches) == [6, 6, 7, 7, 7]
    places = torch.cat([batch.images_BHWC[:, 0, 0, 0] for batch in batches])
    assert sorted(places.tolist()) == list(range(33))
    assert torch.cat([batch.labels_B for batch in batches]).tolist() == [place % 2 for place in places.tolist()]
    rest = list(examples.shuffled(0, 0, 5, first=3))
    assert [batch.images_BHWC.tolist() for batch in rest] == [batch.images_BHWC.tolist() for batch in batches[3:]]


def test_items_made_ahead_come_in_order_and_so_does_their_error():
    assert list(ahead(iter(range(20)))) == list(range(20))

    def failing():
        yield 1
        raise OSError("broken")

    items = ahead(failing())
    assert next(items) == 1
    with pytest.raises(OSError, match="broken"):
        next(items)


def test_items_that_nobody_takes_are_no_longer_made():
    made = []

    def counted():
        for number in itertools.count():
            made.append(number)
            yield number

    items = ahead(counted(), depth=2)
    assert next(items) == 0
    items.close()
    assert len(made) < 10


def test_progress_is_told_at_most_four_times_a_second_and_always_at_the_end(tmp_path):
    clock = iter([0.0, 0.0, 0.1, 0.3, 1.0, 1.01])
    story = SilentStory(tmp_path)
    progress = Progress(story, "features", 100, done=20, clock=lambda: next(clock))
    for done in (21, 22, 40, 60, 100):
        progress.reached(done)
    bodies = said(story, "progress")
    assert [body["done"] for body in bodies] == [21, 40, 60, 100]
    assert bodies[2]["eta_seconds"] == 1.0  # 40 of the 80 that were left took one second
    assert bodies[-1] == {"done": 100, "total": 100, "unit": "steps", "phase": "features", "eta_seconds": 0.0}
