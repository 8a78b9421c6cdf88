from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from trainshed.errors import DatasetUnfit, InvalidInput, TrainingDiverged
from trainshed.schemas import ClassificationRecipe
from trainshed.vision.classification import choose, train
from trainshed.vision.evaluation import Scores
from trainshed.vision.features import Head
from trainshed.vision.loop import Candidate

from .material import DIGITS_RECIPE, classes, digits, photo_crops, said

FEW_SHOT = ClassificationRecipe(epochs=0, image_size=96, device="cpu")


def test_digits_are_learned_from_scratch(shelf, cache_folder, story):
    rows, names = digits(shelf, 600)
    recipe = DIGITS_RECIPE.model_copy(update={"epochs": 5})
    model = train(rows, names, recipe, blob=shelf.blob, cache_folder=cache_folder, story=story, name="digits")
    metrics = model.summary.metrics
    assert metrics["accuracy"] > 0.85 > 5 * metrics["majority_baseline"]
    assert metrics["kept"] == "fine-tuned" and metrics["num_test"] == 90
    assert model.summary.name == "digits" and len(model.summary.classes) == 10
    losses = [body["values"]["loss"] for body in said(story, "metric") if "loss" in body["values"]]
    assert losses[-1] < losses[0] / 2
    phases = [body["phase"] for body in said(story, "progress")]
    assert list(dict.fromkeys(phases)) == ["decoding", "fine-tuning", "finishing"]
    assert len(said(story, "sample")) == 5


def test_a_few_photos_are_learned_on_frozen_features_no_worse_than_by_scikit_learn(shelf, cache_folder, story):
    rows, names = photo_crops(shelf, 20)
    model = train(rows, names, FEW_SHOT, blob=shelf.blob, cache_folder=cache_folder, story=story)
    metrics = model.summary.metrics
    assert metrics["kept"] == "frozen" and "last.safetensors" not in model.files
    assert metrics["accuracy"] >= _accuracy_of_scikit_learn(rows, names, shelf, cache_folder, story)


def _accuracy_of_scikit_learn(rows, names, shelf, cache_folder, story):
    import torch

    from trainshed.vision import backbones, features
    from trainshed.vision.cache import open_pictures
    from trainshed.vision.examples import examples_of

    ready = backbones.build(FEW_SHOT, len(names), rows)
    opened = open_pictures(rows, ready.transform, blob=shelf.blob, cache_folder=cache_folder, story=story)
    cpu, sets = torch.device("cpu"), {}
    for split in ("train", "test"):
        examples = examples_of(split, rows, names, opened)
        sets[split] = features.extract(ready.network, examples, cpu, reached=len).numpy(), examples.labels_N
    return LogisticRegression(max_iter=1000).fit(*sets["train"]).score(*sets["test"])


def test_fine_tuning_is_left_out_when_frozen_features_make_no_mistake(shelf, cache_folder, story):
    rows, names = photo_crops(shelf, 20)
    recipe = FEW_SHOT.model_copy(update={"epochs": 3})
    model = train(rows, names, recipe, blob=shelf.blob, cache_folder=cache_folder, story=story)
    assert model.summary.metrics["stages"]["frozen"]["validation_accuracy"] == 1.0
    assert model.summary.metrics["stages"]["fine-tuned"] is None
    assert any("left out" in body["text"] for body in said(story, "log"))


def head(accuracy):
    return Head(None, None, Scores(accuracy, 0.1) if accuracy is not None else None)


def tuned(accuracy):
    return Candidate({}, Scores(accuracy, 0.01) if accuracy is not None else None, 1)


def test_the_better_on_validation_is_kept_and_frozen_features_when_they_are_even():
    assert choose(head(0.8), tuned(0.9)) == "fine-tuned"
    assert choose(head(0.9), tuned(0.8)) == "frozen"
    assert choose(head(0.9), tuned(0.9)) == "frozen"
    assert choose(head(0.9), None) == "frozen"
    assert choose(None, tuned(0.1)) == "fine-tuned"


def test_fine_tuning_starts_from_the_frozen_solution_and_may_win(shelf, cache_folder, story):
    rows, names = digits(shelf, 60, num_classes=5)
    recipe = FEW_SHOT.model_copy(
        update={"image_size": 32, "epochs": 2, "batch_size": 16, "augmentation": DIGITS_RECIPE.augmentation}
    )
    model = train(rows, names, recipe, blob=shelf.blob, cache_folder=cache_folder, story=story)
    stages = model.summary.metrics["stages"]
    assert stages["frozen"]["validation_accuracy"] < 1
    first = next(body["values"] for body in said(story, "metric") if "loss" in body["values"])
    assert first["loss"] < np.log(5) / 1.5  # far better than guessing, from the first steps on
    assert model.summary.metrics["validation_accuracy"] == max(
        stage["validation_accuracy"] for stage in stages.values()
    )


def test_a_loss_that_explodes_ends_the_training_with_a_reason(shelf, cache_folder, story):
    rows, names = digits(shelf, 60)
    # With these, every step multiplies the weights by 1 - 10 x 1, until they overflow.
    recipe = DIGITS_RECIPE.model_copy(update={"learning_rate": 10.0, "weight_decay": 1.0, "epochs": 30, "patience": 99})
    with pytest.raises(TrainingDiverged, match=r"loss became (nan|inf) by step \d+ of 90") as caught:
        train(rows, names, recipe, blob=shelf.blob, cache_folder=cache_folder, story=story)
    assert "learning rate well below 10" in caught.value.hint


def test_training_stops_early_when_validation_gets_no_better(shelf, cache_folder, story):
    rows, names = digits(shelf, 80, num_classes=2)
    recipe = DIGITS_RECIPE.model_copy(update={"epochs": 50, "patience": 2})
    model = train(rows, names, recipe, blob=shelf.blob, cache_folder=cache_folder, story=story)
    values = [body["values"] for body in said(story, "metric")]
    accuracies = [each["validation_accuracy"] for each in values if "validation_accuracy" in each]
    assert len(accuracies) < 50
    assert len(accuracies) == accuracies.index(max(accuracies)) + 1 + 2
    assert any("Stopped early" in body["text"] for body in said(story, "log"))
    assert model.summary.metrics["validation_accuracy"] == max(accuracies)


def test_a_rare_class_is_still_found(shelf, cache_folder, story):
    rows, names = digits(shelf, 400, num_classes=3)
    seen, kept = 0, []
    for row in rows:
        seen += row.class_id == "2" and row.split == "train"
        if row.class_id != "2" or row.split != "train" or seen <= 12:
            kept.append(row)
    recipe = DIGITS_RECIPE.model_copy(update={"epochs": 5})
    model = train(kept, names, recipe, blob=shelf.blob, cache_folder=cache_folder, story=story)
    rare = model.summary.metrics["per_class"][2]
    assert rare["support"] > 15 and rare["recall"] > 0.8


def test_without_validation_frozen_features_are_kept_and_said_so(shelf, cache_folder, story):
    rows, names = photo_crops(shelf, 10)
    rows = [row for row in rows if row.split != "validation"]
    recipe = FEW_SHOT.model_copy(update={"epochs": 2})
    model = train(rows, names, recipe, blob=shelf.blob, cache_folder=cache_folder, story=story)
    assert model.summary.metrics["kept"] == "frozen"
    assert model.summary.metrics["validation_accuracy"] is None
    assert "no validation split" in said(story, "log")[-1]["text"]


def test_without_validation_or_test_a_network_from_scratch_keeps_its_last_epoch(shelf, cache_folder, story):
    rows, names = digits(shelf, 60, num_classes=3)
    rows = [row for row in rows if row.split == "train"]
    model = train(rows, names, DIGITS_RECIPE, blob=shelf.blob, cache_folder=cache_folder, story=story)
    metrics = model.summary.metrics
    assert metrics["stages"]["fine-tuned"]["epoch"] == 3
    assert metrics["accuracy"] is metrics["log_loss"] is metrics["validation_accuracy"] is None
    assert "nothing was measured" in model.files["card.md"].read_text()


def test_a_class_with_one_picture_is_no_reason_to_fail(shelf, cache_folder, story):
    rows, names = digits(shelf, 40, num_classes=3)
    first = next(row for row in rows if row.class_id == "2" and row.split == "train")
    rows = [row for row in rows if row.class_id != "2" or row is first]
    model = train(rows, names, DIGITS_RECIPE, blob=shelf.blob, cache_folder=cache_folder, story=story)
    assert model.summary.metrics["per_class"][2]["recall"] is None


def test_a_batch_larger_than_the_split_is_one_step_an_epoch(shelf, cache_folder, story):
    rows, names = digits(shelf, 30, num_classes=3)
    recipe = DIGITS_RECIPE.model_copy(update={"batch_size": 4096})
    train(rows, names, recipe, blob=shelf.blob, cache_folder=cache_folder, story=story)
    assert max(body["step"] for body in said(story, "metric")) == recipe.epochs


def test_one_class_only_is_refused_with_what_to_do(shelf, cache_folder, story):
    rows, names = digits(shelf, 20, num_classes=3)
    rows = [row for row in rows if row.class_id == "1"]
    with pytest.raises(DatasetUnfit, match="of: '1'") as caught:
        train(rows, names, DIGITS_RECIPE, blob=shelf.blob, cache_folder=cache_folder, story=story)
    assert "Add a folder" in caught.value.hint


def test_a_manifest_that_names_an_unlisted_class_is_refused(shelf, cache_folder, story):
    rows, _ = digits(shelf, 20, num_classes=3)
    with pytest.raises(DatasetUnfit, match="not listed: 2"):
        train(rows, classes("0", "1"), DIGITS_RECIPE, blob=shelf.blob, cache_folder=cache_folder, story=story)


def test_a_gpu_that_is_not_there_is_named(shelf, cache_folder, story):
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    rows, names = digits(shelf, 20, num_classes=3)
    recipe = DIGITS_RECIPE.model_copy(update={"device": "cuda"})
    with pytest.raises(InvalidInput, match="sees no GPU"):
        train(rows, names, recipe, blob=shelf.blob, cache_folder=cache_folder, story=story)


def test_pictures_that_are_decoded_when_needed_give_the_same_network(shelf, tmp_path, story, monkeypatch):
    import torch

    from .material import weights

    rows, names = digits(shelf, 60)
    recipe = DIGITS_RECIPE.model_copy(update={"epochs": 1})
    cached = train(rows, names, recipe, blob=shelf.blob, cache_folder=tmp_path, story=story)
    expected = weights(cached)
    monkeypatch.setenv("TRAINSHED_CACHE_BYTES", "1")
    again = train(rows, names, recipe, blob=shelf.blob, cache_folder=tmp_path, story=story)
    assert all(torch.equal(value, expected[name]) for name, value in weights(again).items())


def test_a_training_from_scratch_on_few_pictures_is_not_stopped_before_it_can_show_anything(shelf, cache_folder, story):
    """Two steps an epoch: for a dozen epochs the averages of batch normalisation make all answers the same."""
    rows, names = digits(shelf, 90, num_classes=3)
    recipe = DIGITS_RECIPE.model_copy(update={"image_size": 32, "batch_size": 32, "epochs": 40, "patience": 6})
    model = train(rows, names, recipe, blob=shelf.blob, cache_folder=cache_folder, story=story)
    assert model.summary.metrics["validation_accuracy"] > 0.9
