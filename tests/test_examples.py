"""The examples that no command of the README runs."""

import importlib.util
from pathlib import Path

import pytest
import torch
from scipy import stats

from randhead import datasets, rng

FOLDER = Path(__file__).parent.parent / "examples"
IMAGES = 1920  # enough for the error bound of the expected normaliser


def load(name):
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def example():
    return load("instance_discrimination")


@pytest.fixture(scope="module")
def rows(example):
    """One epoch of every arm, on noise around two colours."""
    labels = rng.integers(0, "labels", torch.arange(IMAGES), 1, high=2)[:, 0]
    noise = rng.integers(0, "pixels", torch.arange(IMAGES), 3 * 8 * 8, high=128).view(-1, 3, 8, 8)
    images = (noise + 100 * labels[:, None, None, None]).to(torch.uint8)
    split, judged = (images, labels), (images[:200], 1 - labels[:200])
    moments = datasets.channel_statistics(datasets.TensorImages(images, torch.arange(IMAGES)))
    return {arm: example.run(arm, 0, split, judged, moments, 1) for arm in example.ARMS}


@pytest.mark.slow
def test_every_arm_of_instance_discrimination_trains(example, rows):
    for arm in example.UNTRAINED:
        assert rows[arm]["loss"] is None
    assert rows["dot_regression"]["loss"] == pytest.approx(0.5, abs=0.05)  # vectors are nearly at a right angle still
    for arm in set(example.ARMS) - {*example.UNTRAINED, "dot_regression"}:
        assert 0.5 < rows[arm]["loss"] / torch.tensor(float(IMAGES)).log() < 1.5


@pytest.mark.slow
def test_neighbours_are_those_of_the_real_labels(rows):
    # Every judged image is among the training images, under the other label.
    assert {row["knn_1"] for row in rows.values()} == {0.0}


@pytest.mark.slow
def test_the_exact_normalisers_agree_and_the_expected_one_keeps_its_bound(rows):
    assert rows["streaming"]["loss"] == pytest.approx(rows["dense"]["loss"], abs=1e-3)
    assert 0 < rows["hard"]["error_bound"] < rows["expected"]["error_bound"] < 0.05
    assert rows["expected"]["loss"] == pytest.approx(rows["dense"]["loss"], abs=0.05)


def test_differences_of_arms_are_scipys_paired_intervals(example):
    ours, theirs = {0: 41.0, 1: 39.5, 2: 40.1, 7: 99.0}, {2: 40.6, 1: 39.2, 0: 40.9}
    want = stats.ttest_rel([41.0, 39.5, 40.1], [40.9, 39.2, 40.6]).confidence_interval()
    assert example.paired(ours, theirs)["interval"] == pytest.approx(list(want))
    assert example.paired(ours, theirs)["seeds"] == 3
    assert example.paired(ours, {}) is None
