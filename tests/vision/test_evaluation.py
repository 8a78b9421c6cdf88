from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn import metrics as scikit
from sklearn.linear_model import LogisticRegression

from trainshed.vision import features
from trainshed.vision.evaluation import calibration_error, report, score

from .material import classes

NAMES = classes("a", "b", "c")


@pytest.fixture
def answers():
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 3, 500)
    logits = generator.normal(size=(500, 3)) + 1.5 * np.eye(3)[labels]
    return torch.from_numpy(logits), labels


def test_figures_are_those_of_scikit_learn(answers):
    logits, labels = answers
    named, probabilities = logits.argmax(1).numpy(), logits.softmax(1).numpy()
    found = report(logits, labels, NAMES, np.array([0, 1, 1, 2]))
    precision, recall, f1, support = scikit.precision_recall_fscore_support(labels, named)
    for label, row in enumerate(found["per_class"]):
        expected = [precision[label], recall[label], f1[label], support[label]]
        assert [row["precision"], row["recall"], row["f1"], row["support"]] == pytest.approx(expected)
    assert found["accuracy"] == pytest.approx(scikit.accuracy_score(labels, named))
    assert found["balanced_accuracy"] == pytest.approx(scikit.balanced_accuracy_score(labels, named))
    assert found["log_loss"] == pytest.approx(scikit.log_loss(labels, probabilities))
    assert found["confusion"] == scikit.confusion_matrix(labels, named).tolist()
    assert found["majority_baseline"] == pytest.approx((labels == 1).mean())


def test_calibration_error_is_the_mean_gap_of_confidence_and_accuracy():
    # Two answers given with 75 % and one of them right; two given with 95 % and both right.
    sure = [0.75, 0.75, 0.95, 0.95]
    logits = torch.log(torch.tensor([[p, 1 - p] for p in sure], dtype=torch.float64))
    assert calibration_error(logits, np.array([0, 1, 0, 0])) == pytest.approx((2 * 0.25 + 2 * 0.05) / 4)


def test_an_empty_test_split_gives_no_figures():
    found = report(torch.zeros(0, 3), np.zeros(0, dtype=np.int64), NAMES, np.array([0, 1, 2]))
    assert found["accuracy"] is found["log_loss"] is found["expected_calibration_error"] is None
    assert all(row["precision"] is row["recall"] is row["f1"] is None for row in found["per_class"])
    assert score(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64)) is None


def test_the_head_is_as_good_as_scikit_learns_best_on_the_same_features():
    generator = np.random.default_rng(1)
    centres = generator.normal(size=(4, 40))
    labels = generator.integers(0, 4, 900)
    inputs = (centres[labels] + generator.normal(size=(900, 40)) * 2.2 + 5).astype(np.float32)
    x, y = torch.from_numpy(inputs), torch.from_numpy(labels)
    head = features.solve(x[:300], y[:300], x[300:600], y[300:600], torch.ones(4))
    ours = (x[600:] @ head.weight_KF.T + head.bias_K).argmax(1)
    theirs = LogisticRegression(max_iter=5000).fit(inputs[:300], labels[:300]).score(inputs[600:], labels[600:])
    assert (ours == y[600:]).double().mean().item() >= theirs - 0.005
    assert head.scores == score(x[300:600] @ head.weight_KF.T + head.bias_K, y[300:600])


def test_the_solver_reaches_the_minimum():
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(60, 5, generator=generator)
    labels = torch.randint(0, 3, (60,), generator=generator)
    weight, bias = torch.zeros(3, 5, requires_grad=True), torch.zeros(3, requires_grad=True)
    features._descend(weight, bias, inputs, labels, torch.ones(3), 1e-2)
    loss = torch.nn.functional.cross_entropy(inputs @ weight.T + bias, labels) + 0.005 * weight.square().sum()
    gradients = torch.autograd.grad(loss, [weight, bias])
    assert max(gradient.abs().max() for gradient in gradients) < 1e-3
