"""The check of a finished training for a validation accuracy that never left chance level, and its likely cause."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from randhead import intervals
from randhead.datasets import Split
from randhead.evaluation import classification
from randhead.intervals import Interval
from randhead.model import Classifier
from randhead.preprocess import Preprocess
from randhead.tables import percent
from randhead.train.batch_norm import statistics_of_batches

FEWEST, SHORTEST = 30, 3  # validation images, and epochs; fewer prove nothing
NO_BETTER = 0.98  # of the NLL of guessing by the class frequencies
HARDLY_BETTER = 0.9  # of it; enough to ask whether batch normalisation is the cause
FALLEN = 0.9  # of the first training loss


def warning(epochs: Sequence[Mapping[str, Any]], model: Classifier, split: Split, preprocess: Preprocess) -> str | None:
    """The warning for a training that never left chance level on the validation split, or None.

    Chance level means, in every epoch, an accuracy whose 95 % interval contains the share of the most frequent class,
    or less, and an NLL that guessing by the frequencies of the classes reaches too (log K for balanced classes).

    Args:
        epochs: the lines of metrics.jsonl.
        model: the classifier after the last epoch.
        split: the validation split.
        preprocess: turns the images into the input of the model.
    """
    labels = split.labels.cpu()
    nlls: list[Any] = [line.get("val_nll") for line in epochs]
    if len(epochs) < SHORTEST or len(labels) < FEWEST or None in nlls:
        return None
    shares = torch.bincount(labels).double() / len(labels)  # of each class
    guessing = torch.special.entr(shares).sum().item()  # the NLL of a guess that knows only these
    if min(nlls) < HARDLY_BETTER * guessing:
        return None
    first, last = epochs[0]["train_loss"], epochs[-1]["train_loss"]
    best = max(line["val_accuracy"] for line in epochs)
    found = f"the validation accuracy stayed near chance level, {percent(best)} at best, "
    falling = f"while the training loss fell from {first:.3g} to {last:.3g}: "
    with statistics_of_batches(model) as any_layers:
        other = classification.quick_metrics(model, split, preprocess)["accuracy"] if any_layers else 0.0
    if _interval(other, labels).low > _interval(best, labels).high:
        return (
            f"{found}{falling}the running statistics of batch normalisation are not those of the trained network (with "
            f"the statistics of each batch it has {percent(other)}); train for more `epochs`, or with a smaller "
            "`batch_size`"
        )
    if min(nlls) < NO_BETTER * guessing or _interval(best, labels).low > shares.max().item():
        return None
    if last > FALLEN * first:
        return f"{found}and the training loss hardly fell: try another `optim.lr` or `scale`, or more `epochs`"
    return (
        f"{found}{falling}the labels or the kind of the validation images are probably others than those of the "
        "training images (`randhead doctor --data` shows both), or the network learns single images by heart"
    )


def _interval(accuracy: float, labels: Tensor) -> Interval:
    return intervals.wilson(round(accuracy * len(labels)), len(labels))
