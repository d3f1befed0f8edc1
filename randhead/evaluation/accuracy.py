"""The accuracy of runs on the images of an analysis: the first thing a reader wants to know about them."""

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from randhead.errors import DataError
from randhead.evaluation import comparison
from randhead.evaluation.comparison import Comparison
from randhead.evaluation.inputs import RunInputs, check_same_images
from randhead.intervals import Interval, paired, wilson
from randhead.tables import Metric

NAME = "accuracy"


@dataclass(frozen=True)
class Accuracy:
    """The accuracy of a run on a split.

    Attributes:
        value: the share of correct predictions.
        interval: over images.
        n: number of images.
        correct: whether each prediction is right, (N,) bool.
    """

    value: float
    interval: Interval
    n: int
    correct: Tensor = field(repr=False)

    def to_json(self) -> dict[str, Any]:
        """The entries of the document."""
        return {NAME: self.value, f"{NAME}_interval": self.interval.to_json()}


def metric(split: str) -> Metric:
    """How the accuracy on a split is shown."""
    return Metric(f"{split} accuracy", f"share of {split} images whose predicted class is right", "higher", "%")


def measure(run: RunInputs) -> Accuracy:
    """The accuracy of a run on the images that are analyzed."""
    correct = (run.predictions == run.labels).cpu()
    right, n = int(correct.sum()), len(correct)
    return Accuracy(right / n, wilson(right, n), n, correct)


def compare(members: list[RunInputs], found: list[Accuracy], *, baseline: int = 0) -> Comparison:
    """The accuracies of several runs by arm; a single run, or pair of runs, has its interval over images."""

    def of_pair(i: int, j: int) -> Interval | None:
        try:
            check_same_images([members[i], members[j]])
        except DataError:
            return None
        first, second = found[i].correct, found[j].correct
        return paired(int((second & ~first).sum()), int((first & ~second).sum()), len(first))

    configs = [member.loaded.config for member in members]
    compared = comparison.compare(configs, [{NAME: each.value} for each in found], baseline=baseline)
    return comparison.with_images(compared, NAME, lambda i: found[i].interval, of_pair)
