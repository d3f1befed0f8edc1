"""Subjects of analyses: classes whose properties are the arguments that an analysis may name.

What `SUBJECT` of an analysis says: "run" is `OneRun`, "new classes" `NewClasses`, "runs" `SeveralRuns`; "training" is
`randhead.evaluation.training_log.Training`.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from randhead.analyses import _moments, separability, similarity
from randhead.datasets import Dataset
from randhead.errors import DataError, UsageError
from randhead.evaluation import class_similarity, comparison
from randhead.evaluation.feature_cache import Extracted
from randhead.evaluation.session import Library
from randhead.runs import LoadedRun

VALUES = ("class_separation_r2", "mean_angle_deg", "nearest_angle_deg")  # of separability, whose variance is shared out


@dataclass(frozen=True)
class View:
    """What of a run is looked at, and beside what."""

    split: str = "test"
    data: str | None = None  # other images than the run's own, of the same classes
    new_classes: str | None = None  # images of other classes, for transfer
    reference: str | None = None  # a run whose class means and confusions say what looks alike
    taxonomy: Path | None = None
    seed: int = 0  # of samples, permutations and episodes


class OneRun:
    """Subject "run": a run on a split of images of its own classes."""

    def __init__(self, library: Library, loaded: LoadedRun, view: View):
        self.library, self.loaded, self.view = library, loaded, view
        self.seed = view.seed
        self.num_classes = len(loaded.class_names)

    @cached_property
    def dataset(self) -> Dataset:
        """The images.  Raises DataError where they have other classes than the run, UsageError where it has none."""
        self.loaded.require_classes()
        dataset = self.library.dataset(self.loaded, self.view.data)
        self.loaded.check_classes(dataset)
        return dataset

    @cached_property
    def extracted(self) -> Extracted:
        """Features, labels and predictions of the split."""
        return self.library.features(self.loaded, self.dataset, self.view.split)

    @property
    def seen(self) -> dict[str, Any]:
        """What was looked at, ready for JSON."""
        return _seen(self.dataset, self.view.split)

    @property
    def features(self) -> Tensor:
        """(N, D) float32."""
        return self.extracted.features

    @property
    def labels(self) -> Tensor:
        """(N,) int64."""
        return self.extracted.labels

    @property
    def predictions(self) -> Tensor:
        """(N,) int64."""
        return self.extracted.predictions

    @property
    def accuracy(self) -> float:
        """Share of right answers."""
        return float((self.predictions == self.labels).double().mean())

    @cached_property
    def class_vectors(self) -> Tensor:
        """(K, D), as the scores use them."""
        return self.loaded.model.head.class_vectors().detach().cpu()

    @property
    def bias(self) -> Tensor | None:
        """(K,), or None."""
        head = self.loaded.model.head
        if head.bias is not None:
            return head.bias.detach().cpu()
        return torch.full((self.num_classes,), head.constant) if head.constant else None

    @property
    def scale(self) -> float:
        """What multiplies the scores."""
        return float(self.loaded.model.head.scale)

    @property
    def scoring(self) -> str:
        """How features are scored: dot or cosine."""
        return self.loaded.model.head.scoring

    @cached_property
    def train(self) -> _moments.Moments:
        """Class statistics of the training split, its images as they are."""
        found = self.library.features(self.loaded, self.dataset, "train")
        return _moments.gather(found.features, found.labels, num_classes=self.num_classes)

    @cached_property
    def class_means(self) -> Tensor:
        """(K, D) float64."""
        return class_similarity.class_means(self.features, self.labels, self.num_classes)

    @cached_property
    def references(self) -> dict[str, Tensor]:
        """Which classes look alike, (K, K) each: by mean training images; by another run; by a taxonomy."""
        mean_images = class_similarity.mean_images(self.dataset.splits["train"], self.num_classes)
        found = {"pixels": similarity.cosines(mean_images)}
        if self.view.reference:
            found |= self._of_reference(self.view.reference)
        if self.view.taxonomy:
            found["taxonomy"] = class_similarity.read(self.view.taxonomy, self.loaded.class_names)
        return found

    def on_train(self) -> "OneRun":
        """The same run on the training split."""
        return OneRun(self.library, self.loaded, replace(self.view, split="train"))

    def _of_reference(self, name: str) -> dict[str, Tensor]:
        other = OneRun(self.library, self.library.run(name), self.view)
        if other.loaded.run.path.resolve() == self.loaded.run.path.resolve():
            raise UsageError(f"{name} cannot be its own reference", hint="give another run: --reference RUN")
        check_alike([self, other])
        return class_similarity.of_run(other.features, other.predictions, other.labels, self.num_classes)


class NewClasses:
    """Subject "new classes": a run on images of classes it was not trained on, held out or of another data set.

    To a run that was trained to tell images apart, the classes of its own images are new too.
    """

    def __init__(self, library: Library, loaded: LoadedRun, view: View):
        options = loaded.config.data
        if view.new_classes is None and options.labels == "class" and not options.hold_out_classes:
            raise UsageError(
                f"{loaded.run.name} was trained on all classes of its data",
                hint="give other images with --data, or train with --hold-out-classes",
            )
        if view.split == "train":
            raise UsageError("the training split is searched, it cannot be asked too", hint="use --split test or val")
        self.library, self.loaded, self.view = library, loaded, view
        self.seed = view.seed

    @cached_property
    def dataset(self) -> Dataset:
        """The images of the new classes."""
        return self.library.dataset(self.loaded, self.view.new_classes, held_out=True)

    @property
    def seen(self) -> dict[str, Any]:
        """What was looked at, ready for JSON."""
        return _seen(self.dataset, self.view.split)

    @property
    def features(self) -> Tensor:
        """Queries (N, D) float32."""
        return self.library.features(self.loaded, self.dataset, self.view.split).features

    @property
    def labels(self) -> Tensor:
        """(N,) int64, classes of `dataset`."""
        return self.library.features(self.loaded, self.dataset, self.view.split).labels

    @property
    def train_features(self) -> Tensor:
        """(M, D) float32, of the training split of the new classes."""
        return self.library.features(self.loaded, self.dataset, "train").features

    @property
    def train_labels(self) -> Tensor:
        """(M,) int64."""
        return self.library.features(self.loaded, self.dataset, "train").labels


class SeveralRuns:
    """Subject "runs": several runs on the same images."""

    def __init__(self, members: list[OneRun]):
        self.members = members

    @property
    def seen(self) -> dict[str, Any]:
        """What was looked at, ready for JSON."""
        return {**self.members[0].seen, "runs": len(self.members)}

    @property
    def pairs(self) -> dict[str, Tensor]:
        """Which pairs of runs share their class vectors, the start of learned ones, or neither: (R, R) bool each."""
        heads = [run.loaded.model.head for run in self.members]
        drawn = torch.tensor([[a.spec.sha256 == b.spec.sha256 for b in heads] for a in heads])
        fixed = torch.tensor([[not (a.trainable or b.trainable) for b in heads] for a in heads])
        return {"shared": drawn & fixed, "start": drawn & ~fixed, "other": ~drawn}

    @property
    def features(self) -> list[Tensor]:
        """(N, D) of each run, of the same images."""
        check_alike(self.members)
        return [run.features for run in self.members]

    @property
    def labels(self) -> Tensor:
        """(N,) int64."""
        return self.members[0].labels

    @property
    def head_seeds(self) -> Tensor:
        """(R,) int64: the seed that each run's class vectors were drawn with."""
        return torch.tensor([run.loaded.config.train.head_seed for run in self.members])

    @property
    def seeds(self) -> Tensor:
        """(R,) int64: the seed of everything else.  Raises UsageError where runs differ in more than seeds."""
        arms = comparison.arms([run.loaded.config for run in self.members])
        if len(arms) > 1:
            raise UsageError(
                f"the runs differ in more than their seeds ({'; '.join(arm.label for arm in arms)})",
                hint="give runs that differ in --seed and --head-seed only",
            )
        return torch.tensor([run.loaded.config.train.seed for run in self.members])

    @property
    def values(self) -> dict[str, Tensor]:
        """Accuracy and separability of each run, (R,) float64."""
        found = [{"accuracy": run.accuracy, **_separability(run)} for run in self.members]
        return {
            name: torch.tensor([figures[name] for figures in found], dtype=torch.float64)
            for name in ("accuracy", *VALUES)
            if all(figures[name] is not None for figures in found)
        }


def check_alike(members: list[OneRun]) -> None:
    """Raise DataError where runs do not look at the same images of the same classes."""
    first = members[0]
    for other in members[1:]:
        names = f"{first.loaded.run.name} and {other.loaded.run.name}"
        if first.loaded.class_names != other.loaded.class_names:
            raise DataError(f"{names} have other classes", hint="give runs that were trained on the same classes")
        if first.dataset.name != other.dataset.name or not torch.equal(first.labels, other.labels):
            raise DataError(
                f"{names} have other images in their {first.view.split} split",
                hint="give runs of one data set and one data.split_seed, or the images with --data",
            )


def _seen(dataset: Dataset, split: str) -> dict[str, Any]:
    n, classes = len(dataset.splits[split]), len(dataset.class_names)
    return {"data": dataset.name, "split": split, "n": n, "classes": classes}


def _separability(run: OneRun) -> dict[str, float | None]:
    found = separability.measure(run.features, run.labels, num_classes=run.num_classes, sample=1)
    return {name: found.figures[name] for name in VALUES}
