"""Temperature scaling: the calibration that is left after one number is fitted on the validation split.

Guo et al. 2017, "On calibration of modern neural networks" (arXiv 1706.04599, section 4.2): logits are divided by the
temperature T > 0 that minimises the NLL of the validation split.  Predictions and accuracy stay.  The evaluated split
never takes part in the fit.
"""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from randhead import losses, metrics
from randhead.ambient import indices, mean
from randhead.datasets import Split
from randhead.evaluation.features import SCORED_AT_ONCE, embeddings
from randhead.evaluation.minimum import minimum
from randhead.head import ClassVectorHead
from randhead.losses import HeadOutput
from randhead.model import Classifier
from randhead.preprocess import Preprocess

IMAGES = 5000  # at most, evenly spaced in the validation split: for one number they are plenty
COSINES = 1 << 23  # images x classes at most, so that a fit takes seconds
FEWEST = 50  # images that fit a temperature
LIMITS = (0.01, 100.0)  # an optimum at one of them is none


@dataclass(frozen=True)
class Calibration:
    """The metrics of a split after temperature scaling.

    Attributes:
        temperature: what the logits are divided by: above 1 for a model that is too sure.
        fitted_on: the split of the fit.
        fitted_n: number of its images.
        nll: of the evaluated split, in nats, as the others.
        brier: Brier score.
        ece: expected calibration error, bins of equal width.
        ece_equal_mass: expected calibration error, bins of equal mass.
    """

    temperature: float
    fitted_on: str
    fitted_n: int
    nll: float
    brier: float
    ece: float
    ece_equal_mass: float

    def to_json(self) -> dict[str, Any]:
        """The document."""
        return asdict(self)


def calibrate(
    model: Classifier,
    validation: Split,
    features: Tensor,
    labels: Tensor,
    preprocess: Preprocess,
    *,
    should_stop: Callable[[], bool] = lambda: False,
) -> Calibration | str:
    """Fit a temperature on the validation split and apply it to another split.

    Args:
        model: the classifier.
        validation: the validation split.
        features: of the evaluated split, after the neck (N, D).
        labels: of the evaluated split (N,).
        preprocess: turns images into the input of the model.
        should_stop: called between batches.

    Returns:
        The calibration, or why there is none, in words.

    Raises:
        StopRequested: if `should_stop` returns True.
    """
    chosen = evenly(len(validation), min(IMAGES, COSINES // model.head.num_classes))
    if len(chosen) < FEWEST:
        return f"no temperature: {len(chosen)} validation images, it takes {FEWEST}"
    embedded = embeddings(model, validation, preprocess, ids=chosen, should_stop=should_stop)
    known = validation.labels.cpu()[chosen]
    found = fit(model.head, embedded.to(preprocess.device), known.to(preprocess.device))
    if found is None:
        why = "all right, or none better than by guessing?"
        return f"no temperature: the NLL of {len(chosen)} validation images has no minimum ({why})"
    scores = scaled_output(model.head, features.to(preprocess.device), labels.to(preprocess.device), found)
    right = scores.predictions == labels.to(preprocess.device)
    return Calibration(
        temperature=found,
        fitted_on="val",
        fitted_n=len(chosen),
        nll=mean(scores.losses).item(),
        brier=mean(scores.brier_scores).item(),
        ece=metrics.calibration_error(scores.confidences, right),
        ece_equal_mass=metrics.calibration_error(scores.confidences, right, scheme="equal mass"),
    )


def fit(head: ClassVectorHead, embedded: Tensor, labels: Tensor) -> float | None:
    """The temperature with the smallest NLL; None if there is no minimum between the LIMITS.

    The NLL is convex in 1/T, so it has one minimum.

    Args:
        head: the head.
        embedded: features after the neck (N, D).
        labels: (N,).
    """

    def nll(logarithm: float) -> float:
        return float(mean(scaled_output(head, embedded, labels, math.exp(logarithm)).losses))

    low, high = map(math.log, LIMITS)
    found = minimum(nll, low, high, tolerance=1e-5)
    return math.exp(found) if low + 1e-2 < found < high - 1e-2 else None


def scaled_output(head: ClassVectorHead, embedded: Tensor, labels: Tensor, temperature: float) -> HeadOutput:
    """The output of a head whose logits are divided by a temperature: embedded (N, D), labels (N,)."""
    bias = head.constant if head.bias is None else head.bias.detach()
    parts = [
        losses.head_output(head.queries(h) / temperature, head.rows(h.device), bias / temperature, y, k=1)
        for h, y in zip(embedded.split(SCORED_AT_ONCE), labels.split(SCORED_AT_ONCE), strict=True)
    ]
    return HeadOutput(*map(torch.cat, zip(*parts, strict=True)))


def evenly(n: int, most: int) -> Tensor:
    """Indices of at most `most` of n images, evenly spaced, (M,) int64."""
    count = min(n, most)
    return indices(count) * n // max(count, 1)
