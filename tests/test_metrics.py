"""The metrics of metrics.py against torchmetrics, scikit-learn, or arithmetic by hand."""

import math
from fractions import Fraction
from itertools import permutations

import numpy as np
import pytest
import torch
from sklearn import metrics as sklearn_metrics
from torch.nn import functional as F
from torchmetrics.functional.classification import (
    binary_calibration_error,
    multiclass_accuracy,
    multiclass_confusion_matrix,
)

from randhead import metrics, rng
from randhead.errors import DataError, UsageError


def random_logits(n=400, k=12, seed=0):
    ids = torch.arange(n)
    labels = rng.integers(seed, "test/labels", ids, 1, high=k).squeeze(1)
    logits = rng.normals(seed, "test/logits", ids, k).double() * 3
    return logits + 2 * F.one_hot(labels, k), labels


@pytest.mark.parametrize("k", [1, 3, 5])
def test_accuracy_equals_torchmetrics(k):
    logits, labels = random_logits()
    expected = multiclass_accuracy(logits, labels, num_classes=12, top_k=k, average="micro").item()
    best = logits.topk(5).indices
    assert metrics.accuracy(best, labels, k=k) == pytest.approx(expected, abs=1e-6)
    assert metrics.accuracy(best[:, 0], labels) == metrics.accuracy(best, labels)


@pytest.mark.parametrize("bins", [1, 10, 15])
def test_equal_width_calibration_error_equals_torchmetrics(bins):
    confidences = rng.uniforms(0, "test/confidence", torch.arange(2000), 1).squeeze(1).double()
    correct = rng.uniforms(0, "test/correct", torch.arange(2000), 1).squeeze(1) < confidences.sqrt()
    expected = binary_calibration_error(confidences, correct.long(), n_bins=bins, norm="l1").item()
    assert metrics.calibration_error(confidences, correct, bins=bins) == pytest.approx(expected, abs=1e-6)


def test_equal_mass_calibration_error_equals_a_loop_over_equal_slices():
    confidences = rng.uniforms(3, "test/confidence", torch.arange(1500), 1).squeeze(1).double() ** 0.3
    correct = rng.uniforms(3, "test/correct", torch.arange(1500), 1).squeeze(1) < confidences
    order = np.argsort(confidences.numpy())
    slices = np.array_split(order, 15)
    expected = sum(len(s) / 1500 * abs(correct.numpy()[s].mean() - confidences.numpy()[s].mean()) for s in slices)
    found = metrics.calibration_error(confidences, correct, scheme="equal mass")
    assert found == pytest.approx(expected, abs=1e-12)


def test_a_confidence_on_an_edge_belongs_to_the_lower_bin_and_one_to_the_last():
    confidences = torch.tensor([0.5, 1.0, 0.9], dtype=torch.float64)
    correct = torch.tensor([True, False, True])
    # (0, 0.5] holds the first, (0.5, 1] the other two: 0.5 and |1 - 1.9| of three.
    assert metrics.calibration_error(confidences, correct, bins=2) == pytest.approx((0.5 + 0.9) / 3, abs=1e-12)


@pytest.mark.parametrize("scheme", ["equal width", "equal mass"])
def test_a_confidence_is_above_one_from_a_millionth_on(scheme):
    right = torch.tensor([True, False])
    for rounded in (torch.tensor([1.0000001, 0.5]), torch.tensor([1 + 9e-7, 0.5 - 0.0], dtype=torch.float64)):
        assert metrics.calibration_error(rounded, right, scheme=scheme) == 0.25
    assert metrics.calibration_error(torch.tensor([1.0, -1e-8]), right, scheme=scheme) == 0
    for wrong in (1 + 1e-6, -1e-6, 1.5, math.nan, math.inf):
        with pytest.raises(DataError, match=r"confidences (must be probabilities|contain NaN)"):
            metrics.calibration_error(torch.tensor([wrong, 0.5], dtype=torch.float64), right, scheme=scheme)


def test_equal_mass_calibration_error_does_not_depend_on_the_order_of_tied_samples():
    confidences = torch.ones(60, dtype=torch.float64)
    correct = torch.arange(60) < 30
    found = [
        metrics.calibration_error(confidences, c, scheme="equal mass")
        for c in (correct, correct.flip(0), correct.roll(7))
    ]
    assert found == pytest.approx([0.5] * 3, abs=1e-12)


def test_confusion_and_per_class_accuracy_equal_torchmetrics_and_an_empty_class_is_nan():
    logits, labels = random_logits()
    labels[labels == 4] = 5
    predictions = logits.argmax(dim=1)
    found = metrics.confusion(labels, predictions, 12)
    assert torch.equal(found, multiclass_confusion_matrix(predictions, labels, num_classes=12))
    assert found.dtype == torch.int64
    by_class = metrics.per_class_accuracy(labels, predictions, 12)
    expected = multiclass_accuracy(predictions, labels, num_classes=12, average="none").double()
    seen = torch.arange(12) != 4
    torch.testing.assert_close(by_class[seen], expected[seen], rtol=0, atol=1e-6)
    assert by_class[4].isnan()


def test_confused_pairs_are_the_entries_of_the_confusion_matrix_off_its_diagonal():
    logits, labels = random_logits()
    predictions = logits.argmax(dim=1)
    found = metrics.confused_pairs(labels, predictions)
    matrix = torch.zeros(12, 12, dtype=torch.int64)
    matrix[found[:, 0], found[:, 1]] = found[:, 2]
    whole = metrics.confusion(labels, predictions, 12)
    assert torch.equal(matrix, whole - whole.diag().diag())
    assert (found[:, 2] > 0).all()
    keys = [(-count, label, prediction) for label, prediction, count in found.tolist()]
    assert keys == sorted(keys)
    assert metrics.confused_pairs(labels, labels).shape == (0, 3)


def test_binomial_error_is_the_spread_of_repeated_measurements():
    n, p = 500, 0.8
    draws = rng.uniforms(0, "test/binomial", torch.arange(4000), n) < p
    assert metrics.binomial_error(p, n) == pytest.approx(draws.double().mean(dim=1).std().item(), rel=0.05)
    assert metrics.binomial_error(0.5, 100) == 0.05


def detection_scores(*, tied: bool):
    """Scores of 333 samples inside and 200 outside, and both together with the truth, as scikit-learn takes them."""
    inside = rng.normals(0, "test/in", torch.arange(333), 1).squeeze(1).double() + 1
    outside = rng.normals(0, "test/out", torch.arange(200), 1).squeeze(1).double()
    if tied:
        inside, outside = inside.round(), outside.round()
    return inside, outside, np.r_[np.ones(333), np.zeros(200)], torch.cat((inside, outside)).numpy()


@pytest.mark.parametrize("tied", [False, True])
def test_auroc_and_fpr_equal_scikit_learn(tied):
    inside, outside, truth, scores = detection_scores(tied=tied)
    expected = sklearn_metrics.roc_auc_score(truth, scores)
    assert metrics.auroc(inside, outside) == pytest.approx(expected, abs=1e-12)
    fpr, tpr, _ = sklearn_metrics.roc_curve(truth, scores, drop_intermediate=False)
    for recall in (0.5, 0.9, 0.95, 1.0):
        expected = fpr[np.argmax(tpr >= recall - 1e-12)]
        assert metrics.fpr_at(inside, outside, recall=recall) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("tied", [False, True])
def test_average_precision_equals_scikit_learn_in_both_conventions(tied):
    inside, outside, truth, scores = detection_scores(tied=tied)
    for found, expected in (
        (metrics.average_precision(inside, outside), sklearn_metrics.average_precision_score(truth, scores)),
        (metrics.average_precision(-outside, -inside), sklearn_metrics.average_precision_score(1 - truth, -scores)),
    ):
        assert found == pytest.approx(expected, abs=1e-12)


def test_the_area_under_the_risk_coverage_curve_is_the_mean_risk_of_all_coverages():
    confidences = rng.uniforms(0, "test/confidence", torch.arange(300), 1).squeeze(1).double()
    correct = rng.uniforms(0, "test/correct", torch.arange(300), 1).squeeze(1) < confidences
    wrong = 1 - correct.double().numpy()[np.argsort(-confidences.numpy())]
    expected = np.mean([wrong[:n].mean() for n in range(1, 301)])
    assert metrics.risk_coverage_area(confidences, correct) == pytest.approx(expected, abs=1e-12)
    assert metrics.risk_coverage_area(confidences, torch.ones(300, dtype=torch.bool)) == 0


def test_tied_confidences_have_the_mean_area_of_all_their_orders():
    confidences, correct = torch.tensor([0.9, 0.5, 0.5, 0.5]), torch.tensor([True, False, True, False])
    areas = []
    for order in permutations((1, 2, 3)):
        wrong = 1 - correct[[0, *order]].double()
        areas.append(np.mean([wrong[:n].mean() for n in range(1, 5)]))
    assert metrics.risk_coverage_area(confidences, correct) == pytest.approx(np.mean(areas), abs=1e-12)


@pytest.mark.parametrize("n", [20, 40, 60, 100, 140, 200])
def test_recall_of_95_percent_is_the_exact_number_of_samples(n):
    inside = torch.arange(n, 0, -1).double()
    accepted = math.ceil(Fraction(95, 100) * n)
    outside = torch.tensor([float(n - accepted + 1), n - accepted + 0.5])
    assert metrics.fpr_at(inside, outside.double()) == 0.5


def test_diagnostics_split_norm_and_cosine_by_right_and_wrong():
    features = torch.tensor([[3.0, 4.0], [0.0, 2.0], [1.0, 0.0]])
    cosines = torch.tensor([0.8, 1.0, 1.0])
    found = metrics.diagnostics(features, cosines, torch.tensor([True, True, False]))
    assert found["feature_norm"] == {"right": 3.5, "wrong": 1.0}
    assert found["largest_cosine"] == {"right": pytest.approx(0.9, abs=1e-7), "wrong": 1.0}
    assert metrics.diagnostics(features, cosines, torch.ones(3, dtype=torch.bool))["feature_norm"]["wrong"] is None


def test_mistakes_have_their_own_errors():
    logits, labels = random_logits(10)
    with pytest.raises(DataError, match=r"labels must be in 0\.\.11, got .*\.\.12"):
        metrics.per_class_accuracy(labels.clone().fill_(12), labels, 12)
    with pytest.raises(DataError, match="no samples"):
        metrics.accuracy(labels[:0], labels[:0])
    with pytest.raises(UsageError, match="one value per sample"):
        metrics.accuracy(labels, labels[:9])
    with pytest.raises(UsageError, match="must be class indices"):
        metrics.accuracy(logits, labels)
    with pytest.raises(UsageError, match="needs 3 predictions"):
        metrics.accuracy(logits.topk(2).indices, labels, k=3)
    with pytest.raises(DataError, match="confidences contain NaN"):
        metrics.calibration_error(torch.tensor([math.nan]), torch.tensor([True]))
    with pytest.raises(UsageError, match="unknown scheme"):
        metrics.calibration_error(torch.tensor([0.5]), torch.tensor([True]), scheme="equal")
    with pytest.raises(DataError, match="out_scores contain NaN"):
        metrics.auroc(torch.tensor([0.5]), torch.tensor([math.nan]))
