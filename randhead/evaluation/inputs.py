"""The inputs of analyses: the properties of these classes are the arguments that an analysis can have.

The `INPUT` of an analysis selects the class: "run" is `RunInputs`, "new classes" is `NewClassInputs`, "runs" is
`JointInputs`, and "training" is `randhead.evaluation.training_log.TrainingInputs`.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

import torch
from torch import Tensor

from randhead.ambient import as_tensor
from randhead.analyses import ClassStatistics, class_statistics, separability, similarity
from randhead.datasets import Dataset, fingerprint
from randhead.errors import DataError, UsageError
from randhead.evaluation import class_similarity, comparison
from randhead.evaluation.feature_cache import Extracted
from randhead.evaluation.session import AnalysisSession
from randhead.runs import LoadedRun, RunLike

VARIANCE_OF = ("class_separation_r2", "mean_angle_deg", "nearest_angle_deg")  # of separability, beside the accuracy
Seen = dict[str, str | int]  # what was analyzed: data, split, n and classes, or epochs; ready for JSON


@dataclass(frozen=True)
class AnalysisOptions:
    """Which images of a run are analyzed, and what they are compared with."""

    split: str = "test"
    data: str | None = None  # images of the same classes instead of the run's own
    new_classes: str | None = None  # images of other classes, for transfer
    reference: RunLike | None = None  # another run that defines which classes look alike
    taxonomy: Path | None = None  # a file that defines which classes look alike
    seed: int = 0  # of samples, permutations and episodes


class RunInputs:
    """Input "run": a run on a split of images of its own classes."""

    def __init__(self, session: AnalysisSession, loaded: LoadedRun, options: AnalysisOptions):
        self.session, self.loaded, self.options = session, loaded, options
        self.seed = options.seed
        self.num_classes = len(loaded.class_names)

    @property
    def name(self) -> str:
        """The name of the run."""
        return self.loaded.run.name

    @cached_property
    def dataset(self) -> Dataset:
        """The images.  Raises DataError if they have other classes than the run, UsageError if it has no classes."""
        self.loaded.require_classes()
        dataset = self.session.dataset(self.loaded, self.options.data)
        self.loaded.check_classes(dataset)
        changed = self.options.data is None and self.loaded.image_changes(dataset, self.options.split)
        if changed:
            self.session.warn(changed)
        return dataset

    @cached_property
    def extracted(self) -> Extracted:
        """Features, labels and predictions of the split."""
        return self.session.features(self.loaded, self.dataset, self.options.split)

    @property
    def seen(self) -> Seen:
        """What is analyzed, ready for JSON."""
        return _seen(self.dataset, self.options.split)

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
        found = self.extracted.predictions
        assert found is not None, "the images have the classes of the run"  # noqa: S101
        return found

    @property
    def accuracy(self) -> float:
        """Share of correct predictions."""
        return float((self.predictions == self.labels).double().mean())

    @cached_property
    def class_vectors(self) -> Tensor:
        """(K, D), as the logits use them."""
        return self.loaded.model.head.class_vectors().detach().cpu()

    @property
    def bias(self) -> Tensor | None:
        """(K,), or None."""
        head = self.loaded.model.head
        if head.bias is not None:
            return head.bias.detach().cpu()
        return (
            torch.full((self.num_classes,), head.constant, dtype=torch.float32, device="cpu") if head.constant else None
        )

    @property
    def scale(self) -> float:
        """The logit scale."""
        return float(self.loaded.model.head.scale)

    @property
    def scoring(self) -> str:
        """How features are scored: dot or cosine."""
        return self.loaded.model.head.scoring

    @cached_property
    def train(self) -> ClassStatistics:
        """Class statistics of the training split, its images without augmentation."""
        found = self.session.features(self.loaded, self.dataset, "train")
        return class_statistics(found.features, found.labels, num_classes=self.num_classes)

    @cached_property
    def class_means(self) -> Tensor:
        """(K, D) float64."""
        return class_similarity.class_means(self.features, self.labels, self.num_classes)

    @cached_property
    def references(self) -> dict[str, Callable[[Tensor], Tensor]]:
        """Similarities of classes, from mean training images, another run, a taxonomy: (M,) classes -> (M, M) each."""
        found: dict[str, Callable[[Tensor], Tensor]] = {"pixels": partial(self.session.pixel_similarity, self.dataset)}
        if self.options.reference:
            found |= self._of_reference(self.options.reference)
        if self.options.taxonomy:
            found["taxonomy"] = class_similarity.read(self.options.taxonomy, self.loaded.class_names)
        return found

    @property
    def should_stop(self) -> Callable[[], bool]:
        """Whether the caller asks to stop."""
        return self.session.should_stop

    @property
    def progress(self) -> Callable[[int, int], None]:
        """Takes the number of steps that are done and of all, of an analysis that takes long."""
        return self.session.measuring

    def on_train(self) -> "RunInputs":
        """The same run on the training split."""
        return RunInputs(self.session, self.loaded, replace(self.options, split="train"))

    def _of_reference(self, reference: RunLike) -> dict[str, Callable[[Tensor], Tensor]]:
        other = RunInputs(self.session, self.session.run(reference), self.options)
        if other.loaded.run.path.resolve() == self.loaded.run.path.resolve():
            raise UsageError(f"{other.name} cannot be its own reference", hint="give another run as `reference`")
        check_same_images([self, other])
        means = other.class_means
        return {
            "reference_means": lambda classes: similarity.cosines(means[classes]),
            "reference_confusion": partial(class_similarity.of_confusions, other.predictions, other.labels),
        }


class NewClassInputs:
    """Input "new classes": a run on images of classes that it was not trained on, held out or from another dataset.

    If a run was trained with one class per training image, the classes of its own images are new too.
    """

    def __init__(self, session: AnalysisSession, loaded: LoadedRun, options: AnalysisOptions):
        settings = loaded.config.data
        if options.new_classes is None and settings.labels == "class" and not settings.hold_out_classes:
            raise UsageError(
                f"{loaded.run.name} was trained on all classes of its data",
                hint="give other images as `data`, or train with `hold_out_classes`",
            )
        if options.split == "train":
            raise UsageError(
                "the queries cannot be the training split, which is the gallery",
                hint='use `split="test"` or `split="val"`',
            )
        self.session, self.loaded, self.options = session, loaded, options
        self.seed = options.seed
        self.should_stop, self.progress = session.should_stop, session.measuring

    @cached_property
    def dataset(self) -> Dataset:
        """The images of the new classes."""
        return self.session.dataset(self.loaded, self.options.new_classes, held_out=True)

    @property
    def seen(self) -> Seen:
        """What is analyzed, ready for JSON."""
        return _seen(self.dataset, self.options.split)

    @property
    def features(self) -> Tensor:
        """Queries (N, D) float32."""
        return self.session.features(self.loaded, self.dataset, self.options.split).features

    @property
    def labels(self) -> Tensor:
        """(N,) int64, classes of `dataset`."""
        return self.session.features(self.loaded, self.dataset, self.options.split).labels

    @property
    def train_features(self) -> Tensor:
        """(M, D) float32, of the training split of the new classes."""
        return self.session.features(self.loaded, self.dataset, "train").features

    @property
    def train_labels(self) -> Tensor:
        """(M,) int64."""
        return self.session.features(self.loaded, self.dataset, "train").labels


class JointInputs:
    """Input "runs": several runs on the same images."""

    def __init__(self, members: list[RunInputs]):
        self.members = members
        session = members[0].session
        self.should_stop, self.progress = session.should_stop, session.measuring

    @property
    def seen(self) -> Seen:
        """What is analyzed, ready for JSON."""
        return {**self.members[0].seen, "runs": len(self.members)}

    @property
    def pairs(self) -> dict[str, Tensor]:
        """Which pairs of runs share fixed class vectors, the start of learned ones, or neither: (R, R) bool each."""
        heads = [run.loaded.model.head for run in self.members]
        drawn = as_tensor([[a.spec.sha256 == b.spec.sha256 for b in heads] for a in heads])
        fixed = as_tensor([[not (a.trainable or b.trainable) for b in heads] for a in heads])
        return {"shared": drawn & fixed, "start": drawn & ~fixed, "other": ~drawn}

    @property
    def features(self) -> list[Tensor]:
        """(N, D) of each run, of the same images."""
        check_same_images(self.members)
        return [run.features for run in self.members]

    @property
    def labels(self) -> Tensor:
        """(N,) int64."""
        return self.members[0].labels

    @property
    def head_seeds(self) -> Tensor:
        """(R,) int64: the seed that each run's class vectors were drawn with."""
        return as_tensor([run.loaded.config.train.head_seed for run in self.members])

    @property
    def seeds(self) -> Tensor:
        """(R,) int64: the seed of everything else.  Raises UsageError if runs differ in more than seeds."""
        arms = comparison.arms([run.loaded.config for run in self.members])
        if len(arms) > 1:
            raise UsageError(f"give runs of one arm only (here: {'; '.join(arm.label for arm in arms)})")
        return as_tensor([run.loaded.config.train.seed for run in self.members])

    @property
    def values(self) -> dict[str, Tensor]:
        """Accuracy and separability of each run, (R,) float64."""
        found = [{"accuracy": run.accuracy, **_separability(run)} for run in self.members]
        return {
            name: torch.tensor([metrics[name] for metrics in found], dtype=torch.float64, device="cpu")
            for name in ("accuracy", *VARIANCE_OF)
            if all(metrics[name] is not None for metrics in found)
        }


def check_same_images(members: list[RunInputs]) -> None:
    """Raise DataError unless all runs are analyzed on the same images of the same classes."""
    first = members[0]
    for other in members[1:]:
        names = f"{first.name} and {other.name}"
        if first.loaded.class_names != other.loaded.class_names:
            raise DataError(f"{names} have different classes", hint="give runs that were trained on the same classes")
        splits = [run.dataset.splits[run.options.split] for run in (first, other)]
        if splits[0] is not splits[1] and fingerprint(splits[0]) != fingerprint(splits[1]):
            raise DataError(
                f"{names} have different images in their {first.options.split} split",
                hint="give runs of one dataset with one `data.split_seed`, or the images as `data`",
            )


def _seen(dataset: Dataset, split: str) -> Seen:
    n, classes = len(dataset.splits[split]), len(dataset.class_names)
    return {"data": dataset.name, "split": split, "n": n, "classes": classes}


def _separability(run: RunInputs) -> dict[str, float | int | str | None]:
    found = separability.measure(run.features, run.labels, num_classes=run.num_classes, sample=1)
    return {name: found.metrics[name] for name in VARIANCE_OF}
