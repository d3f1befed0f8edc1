"""What a study measures of a training: how many epochs it took, and whether it is better than chance."""

from types import SimpleNamespace

import pytest
import torch
from tiny import digits

from randhead.errors import RunError
from randhead.runs import Run
from randhead.study import measure

DATASET = digits(val=20)
MOST = int(torch.bincount(DATASET.splits["val"].labels).max()) / 20  # the share of the most frequent class


def of_training(*curve, accuracy=None):
    epochs = [{"epoch": i, "val_accuracy": value, "train_loss": 1 / i} for i, value in enumerate(curve, 1)]
    summary = SimpleNamespace(val={"accuracy": max(curve) if accuracy is None else accuracy})
    return measure.of_training(summary, epochs, DATASET)


@pytest.mark.parametrize(
    ("curve", "epochs"),
    [
        ((0.5, 0.88, 0.89, 0.9), 3),  # 0.89 is within one point of the last, 0.88 is not
        ((0.5, 0.95, 0.6, 0.9), 2),  # more than the last one counts too
        ((0.9,), 1),
        ((0.5, 0.7, 0.9), 3),
    ],
)
def test_the_epochs_are_those_until_the_accuracy_is_within_a_point_of_the_last_one(curve, epochs):
    found = of_training(*curve)
    assert (found["epochs"], found["converged"]) == (epochs, 1.0)
    assert found["train_loss"] == 1 / len(curve)


def test_a_training_at_chance_level_has_not_converged_and_has_no_epochs():
    assert 0.1 <= MOST < 0.3
    for right in range(21):
        found = of_training(0.05, right / 20, accuracy=right / 20)
        low = wilson_low(right, 20)
        assert found["converged"] == float(low > MOST)
        assert (found["epochs"] is None) == (found["converged"] == 0)


@pytest.mark.parametrize("line", ['{"epoch": 1', "3", '{"epoch": 1, "seconds": 2.0, "train_loss": 1.0}'])
def test_a_damaged_log_of_a_training_is_named(tmp_path, line):
    (tmp_path / "metrics.jsonl").write_text(line + "\n")
    with pytest.raises(RunError, match=r"metrics.jsonl: not a file of randhead, or damaged"):
        measure.epochs_of(Run(tmp_path))


def wilson_low(right, n):
    """The lower limit, as a root of (p - x)^2 = z^2 x (1 - x) / n, found by bisection."""
    p, z = right / n, 1.959963984540054
    low, high = 0.0, p
    for _ in range(60):
        x = (low + high) / 2
        low, high = (x, high) if (p - x) ** 2 > z * z * x * (1 - x) / n else (low, x)
    return low
