"""A wrong argument of a metric is an error that names it, with a hint; tensors, arrays and lists are the same."""

import math

import pytest
import torch

from randhead import metrics
from randhead.errors import DataError, UsageError

LABELS = torch.tensor([0, 1, 2, 1])
RIGHT = torch.tensor([True, False, True, True])
SURE = torch.tensor([0.9, 0.8, 0.7, 0.4])
CALLS = {  # metric -> arguments that it takes
    "accuracy": {"predictions": LABELS.flip(0), "labels": LABELS},
    "calibration_error": {"confidences": SURE, "correct": RIGHT},
    "confusion": {"labels": LABELS, "predictions": LABELS.flip(0), "num_classes": 3},
    "confused_pairs": {"labels": LABELS, "predictions": LABELS.flip(0)},
    "per_class_accuracy": {"labels": LABELS, "predictions": LABELS.flip(0), "num_classes": 3},
    "binomial_error": {"accuracy": 0.5, "n": 4},
    "risk_coverage_area": {"confidences": SURE, "correct": RIGHT},
    "average_precision": {"positive": SURE, "negative": SURE[:2]},
    "auroc": {"in_scores": SURE, "out_scores": SURE[:2]},
    "fpr_at": {"in_scores": SURE, "out_scores": SURE[:2]},
    "diagnostics": {"features": torch.eye(4), "cosines": SURE, "correct": RIGHT},
}
NO_CLASSES = ("x", None, LABELS + 0.5, LABELS > 0, ["a", "b", "c", "d"], 3, LABELS.to("meta"), [[0], [1, 2]])
NO_NUMBERS = ("x", None, SURE[:, None, None], SURE > 0.5, ["a"], 0.5, SURE + 1j, SURE.to("meta"), [[0.1], [0.2, 0.3]])
NO_FLAGS = ("x", None, RIGHT[:3], RIGHT[:, None], SURE, [2, 3, 4, 5], True, RIGHT + 0j, RIGHT.to("meta"))
NO_COUNT = (0, -1, 2.5, True, "2", None, math.nan)
WRONG = [
    *(("accuracy", "predictions", value) for value in NO_CLASSES),
    *((name, "labels", value) for name in ("accuracy", "confusion", "confused_pairs") for value in NO_CLASSES),
    *((name, "predictions", LABELS[:3]) for name in ("accuracy", "confusion", "confused_pairs", "per_class_accuracy")),
    *(("accuracy", "k", value) for value in (*NO_COUNT, 2)),
    *((name, "num_classes", value) for name in ("confusion", "per_class_accuracy") for value in NO_COUNT),
    *((name, "confidences", value) for name in ("calibration_error", "risk_coverage_area") for value in NO_NUMBERS),
    *((name, "correct", v) for name in ("calibration_error", "risk_coverage_area", "diagnostics") for v in NO_FLAGS),
    *(("calibration_error", "bins", value) for value in (*NO_COUNT, 10**9)),
    *(("calibration_error", "scheme", value) for value in ("equal", None, 3)),
    *(("binomial_error", "n", value) for value in NO_COUNT),
    *(("binomial_error", "accuracy", value) for value in (-0.1, 97, "0.5", None, True, math.nan)),
    *((name, "in_scores", value) for name in ("auroc", "fpr_at") for value in NO_NUMBERS),
    *(("average_precision", "negative", value) for value in NO_NUMBERS),
    *(("fpr_at", "recall", value) for value in (0, -1, 95, "0.9", None, True, math.nan)),
    *(("diagnostics", "features", value) for value in (*NO_NUMBERS[:2], SURE, torch.eye(3))),
    *(("diagnostics", "cosines", value) for value in (*NO_NUMBERS, SURE[:3])),
]


def call(name, **changed):
    return getattr(metrics, name)(**{**CALLS[name], **changed})


@pytest.mark.parametrize(("name", "argument", "value"), WRONG)
def test_a_wrong_argument_is_a_usage_error_with_a_hint(name, argument, value):
    with pytest.raises(UsageError) as found:
        call(name, **{argument: value})
    assert found.value.hint
    related = {"predictions": "labels", "features": "correct", "k": "top-2", "scheme": "scheme"}
    assert argument in found.value.message or related[argument] in found.value.message


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("confusion", {"labels": [0, 1, 3, 1]}),
        ("confusion", {"predictions": [0, 1, -1, 1]}),
        ("per_class_accuracy", {"labels": [0, 1, 9, 1]}),
        ("calibration_error", {"confidences": [0.5, 0.5, 0.5, math.nan]}),
        ("risk_coverage_area", {"confidences": [0.5, 0.5, 0.5, math.nan]}),
        ("calibration_error", {"confidences": [], "correct": []}),
        ("risk_coverage_area", {"confidences": [], "correct": []}),
        ("auroc", {"in_scores": []}),
        ("average_precision", {"negative": [math.nan]}),
        ("diagnostics", {"cosines": [0.5, math.nan, 0.5, 0.5]}),
    ],
)
def test_data_that_cannot_be_measured_is_a_data_error_with_a_hint(name, changed):
    with pytest.raises(DataError) as found:
        call(name, **changed)
    assert found.value.hint


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("form", ["lists", "arrays", "float32 and int32"])
def test_lists_and_arrays_are_measured_like_tensors(name, form):
    def convert(value):
        if not isinstance(value, torch.Tensor):
            return value
        if form == "lists":
            return value.tolist()
        narrow = {torch.int64: torch.int32}.get(value.dtype, value.dtype)
        return value.double().numpy() if form == "arrays" and value.is_floating_point() else value.to(narrow)

    expected, found = call(name), call(name, **{key: convert(value) for key, value in CALLS[name].items()})
    if isinstance(expected, torch.Tensor):
        torch.testing.assert_close(found, expected)
    elif isinstance(expected, dict):
        assert {key: pytest.approx(value, rel=1e-6) for key, value in expected.items()} == found
    else:
        assert found == pytest.approx(expected, rel=1e-6)
