"""Figures of a trained model on a split, each a function of all its images: none counts twice or not at all."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from randhead import metrics
from randhead.analyses import transfer
from randhead.datasets import Split
from randhead.features import Inputs, embeddings, extract, gather
from randhead.model import Classifier

OOD_SCORES = ("maximum_probability", "maximum_logit", "energy", "maximum_cosine")


def evaluate(
    model: Classifier, split: Split, inputs: Inputs, *, stop: Callable[[], bool] = lambda: False
) -> dict[str, Any]:
    """Top-1, top-5, NLL, calibration, per-class accuracy, confusion and the official code's diagnostics.

    Values are Python numbers and lists; `None` where a figure does not exist (top-5 of five classes, a class without
    images).  Raises StopRequested where `stop` answers True.
    """
    features, logits, labels = gather(extract(model, split, inputs, stop=stop))
    return figures(features, logits, labels, model.head.class_vectors().detach().cpu())


def figures(features: Tensor, logits: Tensor, labels: Tensor, class_vectors: Tensor) -> dict[str, Any]:
    """The figures of `evaluate`, of features (N, D), logits (N, K), labels (N,) and class vectors (K, D)."""
    num_classes = logits.shape[1]
    answers = logits.argmax(dim=1)
    confidences = metrics.maximum_probability(logits)
    counts = metrics.confusion(labels, answers, num_classes)
    top1 = metrics.accuracy(logits, labels)
    return {
        "n": len(labels),
        "accuracy": top1,
        "accuracy_standard_error": metrics.binomial_error(top1, len(labels)),
        "top5_accuracy": metrics.accuracy(logits, labels, k=5) if num_classes > 5 else None,
        "nll": metrics.negative_log_likelihood(logits, labels),
        "ece": metrics.calibration_error(confidences, answers == labels),
        "ece_equal_mass": metrics.calibration_error(confidences, answers == labels, scheme="equal mass"),
        "per_class_accuracy": [none_if_nan(value) for value in metrics.per_class_accuracy(counts).tolist()],
        "confusion": counts.tolist(),
        "diagnostics": metrics.diagnostics(features, class_vectors, answers == labels),
    }


def quick_figures(
    model: Classifier, split: Split, inputs: Inputs, *, stop: Callable[[], bool] = lambda: False
) -> dict[str, float]:
    """What selects a model: accuracy and NLL, and the range of the logits.  Keeps no features."""
    right, loss, n, low, high = 0, 0.0, 0, torch.inf, -torch.inf
    for _, logits, labels in extract(model, split, inputs, stop=stop):
        right += int((logits.argmax(dim=1) == labels).sum())
        loss += metrics.sample_losses(logits, labels).sum().item()
        low, high = min(low, logits.min().item()), max(high, logits.max().item())
        n += len(labels)
    return {"accuracy": right / n, "nll": loss / n, "logit_min": low, "logit_max": high}


def neighbour_figures(
    model: Classifier,
    split: Split,
    train: Split,
    inputs: Inputs,
    *,
    num_classes: int,
    stop: Callable[[], bool] = lambda: False,
) -> dict[str, Any]:
    """How often the nearest training images have the label of an image: `accuracy` of 20 neighbours, and of one.

    For models whose class vectors do not stand for the labels: neither NLL nor ECE exist.  On the training split an
    image finds itself, so only 20 neighbours say something there.
    """
    features, gallery = (embeddings(model, part, inputs, stop=stop) for part in (split, train))
    found = transfer.neighbours(features, split.labels.cpu(), gallery, train.labels.cpu(), num_classes=num_classes)
    top = found["knn_20"]
    return {
        "n": len(split),
        "accuracy": top,
        "accuracy_standard_error": metrics.binomial_error(top, len(split)),
        **found,
        "nll": None,
        "ece": None,
    }


def out_of_distribution(
    model: Classifier, familiar: Split, strange: Split, inputs: Inputs, *, stop: Callable[[], bool] = lambda: False
) -> dict[str, dict[str, float]]:
    """AUROC and the false positive rate at 95 percent recall of four scores, of images the classes do not cover."""
    inside, outside = (ood_scores(model, split, inputs, stop=stop) for split in (familiar, strange))
    return {
        name: {
            "auroc": metrics.auroc(inside[name], outside[name]),
            "fpr_at_95_recall": metrics.fpr_at(inside[name], outside[name]),
        }
        for name in OOD_SCORES
    }


def ood_scores(
    model: Classifier, split: Split, inputs: Inputs, *, stop: Callable[[], bool] = lambda: False
) -> dict[str, Tensor]:
    """The four scores of every image of a split, (N,) each, high for what looks familiar."""
    features, logits, _ = gather(extract(model, split, inputs, stop=stop))
    of_logits = {name: getattr(metrics, name)(logits) for name in OOD_SCORES[:3]}
    return {**of_logits, "maximum_cosine": metrics.maximum_cosine(features, model.head.class_vectors().cpu())}


def none_if_nan(value: float) -> float | None:
    """NaN has no place in JSON."""
    return None if value != value else value
