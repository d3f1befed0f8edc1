"""Brier score and temperature scaling against scikit-learn, numerical optimisation of torch, and arithmetic by hand."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import optimize
from sklearn.metrics import brier_score_loss
from torch.nn import functional as F

from randhead import metrics, rng
from randhead.datasets import Split, TensorImages
from randhead.evaluation import classification, temperature
from randhead.evaluation.evaluation import Evaluation
from randhead.evaluation.minimum import minimum
from randhead.head import ClassVectorHead
from randhead.model import Classifier
from randhead.preprocess import Preprocess

K, D, N = 7, 12, 300
LABELS = torch.arange(N) % K


def head(**options):
    return ClassVectorHead(K, D, "gaussian", scale=3.0, **options)


def features(of, noise=1.0):
    return of.class_vectors()[LABELS] + noise * rng.normals(0, "test/noise", torch.arange(N), D).float()


@pytest.mark.parametrize("options", [{}, {"scoring": "cosine"}, {"bias": 0.3, "trainable": True}])
def test_brier_scores_equal_scikit_learns(options):
    model = head(**options)
    if model.bias is not None:
        model.bias.data += torch.arange(K) / 3
    h = features(model)
    found = model.output(h, LABELS).brier_scores
    probabilities = F.softmax(model.score(h).double(), dim=1)
    by_hand = (probabilities - F.one_hot(LABELS, K)).square().sum(dim=1)
    torch.testing.assert_close(found, by_hand.detach(), rtol=0, atol=1e-6)
    expected = brier_score_loss(LABELS.numpy(), probabilities.detach().numpy(), scale_by_half=False)
    assert float(found.mean()) == pytest.approx(expected, abs=1e-6)


def test_brier_scores_do_not_depend_on_the_tiles_of_classes():
    many = ClassVectorHead(5000, D, "gaussian", scale=3.0, normaliser="streaming")
    h = many.class_vectors()[:50] * 4
    expected = (F.softmax(many.score(h).double(), dim=1) - F.one_hot(torch.arange(50), 5000)).square().sum(dim=1)
    torch.testing.assert_close(many.output(h, torch.arange(50)).brier_scores, expected.detach(), rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("options", [{}, {"scoring": "cosine"}, {"bias": 0.3, "trainable": True}])
def test_the_temperature_has_the_smallest_nll(options):
    model = head(**options)
    h = features(model, noise=0.4)
    logits = model.score(h).detach().double()
    found = temperature.fit(model, h, LABELS)
    expected = optimize.minimize(lambda t: float(F.cross_entropy(logits / t[0], LABELS)), [1.0], bounds=[(0.05, 50)]).x[
        0
    ]
    assert found == pytest.approx(expected, rel=1e-3)
    scores = temperature.scaled_output(model, h, LABELS, found)
    torch.testing.assert_close(
        scores.losses, F.cross_entropy(logits / found, LABELS, reduction="none"), rtol=1e-4, atol=1e-5
    )
    assert torch.equal(scores.predictions, model.output(h, LABELS).predictions)


@pytest.mark.parametrize("at", [-4.0, 0.3, 2.0, 5.99])
def test_a_minimum_is_found_where_scipy_finds_it_with_as_few_evaluations(at):
    def function(x):
        counted.append(x)
        return math.exp(x - at) - (x - at) + abs(x - at) ** 3 / 50

    counted = []
    found = minimum(function, -5.0, 6.0, tolerance=1e-5)
    evaluations = len(counted)
    expected = optimize.minimize_scalar(function, bounds=(-5.0, 6.0), method="bounded", options={"xatol": 1e-5})
    assert found == pytest.approx(at, abs=3e-5)
    assert found == pytest.approx(expected.x, abs=3e-5)
    assert evaluations <= expected.nfev + 3


@pytest.mark.slow
def test_a_known_temperature_is_found_again():
    """Labels drawn from the softmax of logits / 2.5."""
    model = ClassVectorHead(K, D, "gaussian", scale=9.0)
    h = rng.normals(0, "test/features", torch.arange(20_000), D).float() / 2
    shares = F.softmax(model.score(h).detach().double() / 2.5, dim=1).cumsum(dim=1)
    drawn = (rng.uniforms(0, "test/draw", torch.arange(20_000), 1) > shares).sum(dim=1).clamp_max(K - 1)
    assert temperature.fit(model, h, drawn) == pytest.approx(2.5, rel=0.03)


def test_predictions_without_an_error_have_no_temperature():
    model = head()
    assert temperature.fit(model, model.class_vectors()[LABELS], LABELS) is None


def calibrated(monkeypatch, *, images=200, noise=0.4, evaluated=N):
    """A calibration whose validation images have the features of `features`, in order."""
    model = head()
    h = features(model, noise)
    monkeypatch.setattr(temperature, "embeddings", lambda *_, ids, **__: h[ids])
    split = Split(TensorImages(torch.zeros(images, 3, 1, 1, dtype=torch.uint8), torch.arange(images)), LABELS[:images])
    device = Preprocess(torch.zeros(3), torch.ones(3), torch.device("cpu"), torch.float32)
    classifier = Classifier(torch.nn.Identity(), model)
    return h, model, temperature.calibrate(classifier, split, h[:evaluated], LABELS[:evaluated], device)


def test_a_calibrated_split_has_the_temperature_of_the_validation_split(monkeypatch):
    h, model, found = calibrated(monkeypatch)
    expected = temperature.fit(model, h[:200], LABELS[:200])
    logits = model.score(h).detach().double() / expected
    assert (found.temperature, found.fitted_on, found.fitted_n) == (expected, "val", 200)
    assert found.nll == pytest.approx(float(F.cross_entropy(logits, LABELS)), rel=1e-4)
    confidences, predictions = F.softmax(logits, dim=1).max(dim=1)
    right = predictions == LABELS
    assert found.ece == pytest.approx(metrics.calibration_error(confidences, right), abs=1e-5)
    # What is evaluated has no say in the temperature.
    assert calibrated(monkeypatch, evaluated=7)[2].temperature == expected


def test_too_few_images_or_none_that_is_wrong_give_a_reason(monkeypatch):
    assert "49 validation images, it takes 50" in calibrated(monkeypatch, images=49)[2]
    assert "no minimum (all right, or none better than by guessing?)" in calibrated(monkeypatch, noise=0.0)[2]


def test_an_evaluation_shows_the_calibrated_metrics_and_says_what_has_none(monkeypatch):
    h, model, found = calibrated(monkeypatch)
    measured = classification.metrics_of(h, model.output(h, LABELS), LABELS, K)
    shown = Evaluation("run", "data", "test", tuple("abcdefg"), measured, calibration=found)
    assert shown.to_json()["calibrated"]["temperature"] == found.temperature
    table = next(shown.tables())
    assert f"ECE at T = {found.temperature:.3g}" in [row[0] for row in table.rows]
    assert "fitted on 200 validation images" in " ".join(table.notes)
    without = replace(shown, calibration="no temperature: why")
    assert without.to_json()["calibrated"] is None and "no temperature: why" in next(without.tables()).notes
    few = replace(shown, metrics=replace(measured, n=100))
    assert "too high" in next(few.tables()).notes[0]


def test_the_metrics_of_a_split_have_brier_score_and_risk():
    model = head()
    h = features(model)
    scores = model.output(h, LABELS)
    found = classification.metrics_of(h, scores, LABELS, K)
    assert found.brier == pytest.approx(float(scores.brier_scores.mean()))
    assert 0 < found.aurc < 1 - found.accuracy
    assert {"brier", "aurc"} <= found.to_json().keys()


def test_images_of_a_fit_are_spread_evenly_over_the_split():
    assert temperature.evenly(10, 20).tolist() == list(range(10))
    chosen = temperature.evenly(1000, 7)
    assert len(chosen) == 7 and int(chosen.max()) < 1000
    assert np.ptp(chosen.diff().numpy()) <= 1 and not math.isnan(float(chosen.double().mean()))
