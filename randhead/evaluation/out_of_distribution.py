"""Out-of-distribution detection: four scores that are to separate images of a run's classes from other images."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from randhead import metrics
from randhead.datasets import Dataset, Split
from randhead.evaluation.features import extract
from randhead.model import Classifier
from randhead.preprocess import Preprocess
from randhead.runs import LoadedRun
from randhead.tables import Table, count, few, percent, rows, words

SCORES = ("maximum_probability", "maximum_logit", "energy", "maximum_cosine")
NAMED = 5  # classes in a remark


@dataclass(frozen=True)
class OutOfDistribution:
    """Out-of-distribution detection: how well a run separates its own images from those of other classes, per score."""

    data: str
    split: str
    n: int
    scores: dict[str, dict[str, float]]

    def to_json(self) -> dict[str, Any]:
        """The document."""
        return {"data": self.data, "split": self.split, "n": self.n, **self.scores}

    def table(self, run: str) -> Table:
        """One row per score, for the run of that name."""
        body = [
            (words(name), found["auroc"], percent(found["fpr_at_95_recall"]), found["aupr_in"], found["aupr_out"])
            for name, found in self.scores.items()
        ]
        notes = ("AUPR in, out: precision and recall of the run's own images, of the others",)
        title = f"{run}: out-of-distribution detection: {self.data}, n = {self.n}"
        return Table(title, ("score", "AUROC", "FPR at 95 % recall", "AUPR in", "AUPR out"), rows(body), notes)


def remarks(loaded: LoadedRun, others: Dataset) -> Iterator[str]:
    """What the reader must know about images that should be of other classes than those of a run."""
    same = [name for name in others.class_names if name in loaded.class_names]
    if same:
        yield f"has {count(len(same), 'class')} of the run too ({few(same, NAMED)}), and should have others only"


def measure(
    loaded: LoadedRun, inside: Split, others: Dataset, *, should_stop: Callable[[], bool] = lambda: False
) -> OutOfDistribution:
    """Detection of the test images of another dataset, or of all its images if it has no such split.

    Args:
        loaded: the run.
        inside: images of the run's classes.
        others: images of other classes.
        should_stop: called between batches.

    Raises:
        StopRequested: if `should_stop` returns True.
    """
    side = "test" if "test" in others.splits else "all"
    outside = others.splits[side]
    found = detection(loaded.model, inside, outside, loaded.preprocess, should_stop=should_stop)
    return OutOfDistribution(others.name, side, len(outside), found)


def detection(
    model: Classifier,
    inside: Split,
    outside: Split,
    preprocess: Preprocess,
    *,
    should_stop: Callable[[], bool] = lambda: False,
) -> dict[str, dict[str, float]]:
    """Out-of-distribution detection: how well four scores separate images of the model's classes from other images.

    Returns:
        For each of SCORES, "auroc", "fpr_at_95_recall", and the area under the precision-recall curve in both
        conventions: "aupr_in", images of the model's classes are to be found, and "aupr_out", the others are.

    Raises:
        StopRequested: if `should_stop` returns True.
    """
    own, others = (scores(model, split, preprocess, should_stop=should_stop) for split in (inside, outside))
    return {
        name: {
            "auroc": metrics.auroc(own[name], others[name]),
            "fpr_at_95_recall": metrics.fpr_at(own[name], others[name]),
            "aupr_in": metrics.average_precision(own[name], others[name]),
            "aupr_out": metrics.average_precision(-others[name], -own[name]),
        }
        for name in SCORES
    }


def scores(
    model: Classifier, split: Split, preprocess: Preprocess, *, should_stop: Callable[[], bool] = lambda: False
) -> dict[str, Tensor]:
    """The four out-of-distribution scores of every image of a split, (N,) each, high for in-distribution images.

    The largest softmax probability: Hendrycks and Gimpel 2017 (arXiv 1610.02136).  The largest logit: Hendrycks et al.
    2022 (arXiv 1911.11132).  The log-sum-exp of the logits, the negative free energy: Liu et al. 2020.  And the largest
    cosine to a class vector, 0 for a zero feature.

    Raises:
        StopRequested: if `should_stop` returns True.
    """
    _, found = extract(model, split, preprocess, should_stop=should_stop)
    columns = found.confidences, found.logits[:, 0], found.log_sum, found.largest_cosine
    return dict(zip(SCORES, columns, strict=True))
