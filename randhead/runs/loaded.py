"""A trained run, ready to use: its classifier, the preprocessing of images, and the images themselves."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import NoneType
from typing import Any

import torch
from torch import Tensor

from randhead import ambient, datasets, model, registry, vectors
from randhead.arguments import check_paths, check_type
from randhead.config import Config, parse
from randhead.config.resolved import ResolvedSettings
from randhead.datasets import Dataset
from randhead.device import resolve_device
from randhead.errors import DataError, RunError, UsageError
from randhead.model import Classifier
from randhead.preprocess import Preprocess
from randhead.runs import checkpoint
from randhead.runs.finding import find
from randhead.runs.folder import ROOT, TRAIN_AGAIN, Run, received
from randhead.runs.own_files import sweep_fragments
from randhead.runs.steps import saved_steps
from randhead.runs.summary import SelectedEpoch

MOST_NAMED = 5  # classes per side, in the error for other classes


@dataclass(frozen=True)
class LoadedRun:
    """A trained classifier with everything that is needed to use it."""

    run: Run
    config: Config = field(repr=False)
    model: Classifier = field(repr=False)
    preprocess: Preprocess = field(repr=False)
    class_names: tuple[str, ...] = field(repr=False)
    image_size: int
    selected: SelectedEpoch
    weights_sha256: str
    fingerprints: Mapping[str, Mapping[str, str]] = field(repr=False, default_factory=dict)
    bit_depth: int | None = None  # in use by the training images of 16 bits
    data_root: str | None = field(repr=False, default=None)  # in which the training found its dataset; read only

    def dataset(
        self,
        data: str | Path | None = None,
        *,
        held_out: bool = False,
        labelled: bool = True,
        progress: Callable[[int, int], None] | None = None,
    ) -> Dataset:
        """Load the images of this run, or other images, at the image size of the classifier.

        Args:
            data: name of a dataset or folder of images; None for the run's own.
            held_out: whether to load the classes that training left out; only for the run's own images.
            labelled: whether the images need classes; if not, those of a folder without the layout of a dataset are in
                one split, "all".
            progress: called with (done, total) while images are read.

        Raises:
            DataError: if images are missing or cannot be used.
        """
        device = self.preprocess.device
        return datasets.from_config(
            self.config,
            data,
            device=device,
            image_size=self.image_size,
            bit_depth=self.bit_depth,
            held_out=held_out,
            labelled=labelled,
            found_in=self.data_root,
            progress=progress,
        )

    def owns(self, dataset: Dataset, split: str) -> bool:
        """Whether a split of a dataset is that of the training, by pixels and labels; for runs of 0.1.0, by name."""
        kept = {name: value for name, value in self.fingerprints.items() if name == split}
        if not kept:
            return dataset.name == registry.label(self.config.data.name)
        return kept == datasets.fingerprints(dataset, [split])

    def image_changes(self, dataset: Dataset, split: str) -> str | None:
        """A warning if a split of the run's own dataset is not what it was during the training, else None."""
        different = datasets.changes(self.fingerprints, datasets.fingerprints(dataset, [split]))
        if not different:
            return None
        return f"{dataset.name} has changed since {self.run.name} was trained: {different[0]}"

    def unfinished(self) -> str | None:
        """A warning if the training of this run is to be resumed, else None."""
        if self.run.summary_path.exists() or not saved_steps(self.run.checkpoints):
            return None
        best = f"{self.selected.epoch} of {self.config.train.epochs}"
        found = f"{self.run.name} is not finished: this is its best epoch so far, {best}"
        return f"{found}; the same `randhead train` resumes it"

    def allowing(self, max_megapixels: float | None) -> "LoadedRun":
        """This run, but reading image files of up to so many megapixels.

        Args:
            max_megapixels: the limit; None for that of the training.

        Raises:
            UsageError: if it is out of bounds.
        """
        if max_megapixels is None:
            return self
        machine = replace(self.config.machine, max_megapixels=max_megapixels)
        return replace(self, config=replace(self.config, machine=machine))

    def require_classes(self) -> "LoadedRun":
        """Check that this run has class vectors for classes, and return the run.

        Raises:
            UsageError: if it was trained with one class vector per training image.
        """
        if self.config.data.labels == "instance":
            raise UsageError(
                f"{self.run.name} has one class vector per training image, and none for classes",
                hint="use `randhead eval` without further options, or `randhead analyze transfer`",
            )
        return self

    def check_features(self, features: Tensor) -> None:
        """Check that features (N, D) of images are finite numbers.

        Raises:
            RunError: if some are not: the weights are so large that they overflow.
        """
        bad = int((~features.isfinite().all(dim=1)).sum())
        if bad:
            message = f"{self.run.path}: its features of {bad} of {len(features)} images are NaN or infinite"
            raise RunError(message, hint=TRAIN_AGAIN)

    def check_classes(self, dataset: Dataset) -> None:
        """Check that a dataset has the classes of this run, in the same order.

        Raises:
            DataError: if it has other classes.
        """
        if tuple(dataset.class_names) != self.class_names:
            sides = {"the images": dataset.class_names, "the run": self.class_names}
            given, trained = map(set, sides.values())
            odd = zip(sides, (sorted(given - trained), sorted(trained - given)), strict=True)
            only = "; ".join(f"only in {side}: {', '.join(names[:MOST_NAMED])}" for side, names in odd if names)
            raise DataError(
                f"{dataset.name} has other classes than run {self.run.name} ({only or 'in another order'})",
                hint="give images of the run's classes; use other classes as `ood`, or in the analysis `transfer`",
            )


RunLike = str | Path | Run | LoadedRun  # a run as an argument of the library's functions; None is the latest


@ambient.settled()
def load(run: RunLike | None = None, *, root: str | Path = ROOT, device: str = "auto") -> LoadedRun:
    """Load the selected classifier of a run.

    Args:
        run: name or folder of a run; None for the latest.  A `LoadedRun` is returned unchanged.
        root: folder of the runs.
        device: "auto", "cpu" or "cuda".

    Returns:
        The run with its classifier, in evaluation mode, on the device.

    Raises:
        RunError: if the run is missing, not finished or damaged, or if its class vectors cannot be drawn again
            exactly.
        UsageError: if `device` is not one of these, or is "cuda" and there is no CUDA device.
    """
    check_type("run", run, (str, os.PathLike, Run, LoadedRun, NoneType), "a run: a name, a folder or a loaded run")
    check_paths(root=root)
    target = resolve_device(device)
    if isinstance(run, LoadedRun):
        return run
    folder = find(run, root=root)
    sweep_fragments(folder)
    if not folder.model_path.exists():
        hint = "let it finish: the same `randhead train` resumes it"
        raise RunError(f"{folder.path} has no trained model yet", hint=hint)
    tensors, document = checkpoint.load(folder.model_path)
    config, settings, selected, data_root = _described(document, folder.model_path)
    try:
        classifier = _rebuild(config, settings, tensors)
    except RunError:
        if list(document["resolved"]["class_names"]) == list(settings.class_names):
            raise
        drawn = "its class vectors were drawn for class names that are not in one form of Unicode"
        raise RunError(f"{folder.path}: {drawn}", hint=TRAIN_AGAIN) from None
    preprocess = Preprocess.of(settings.mean, settings.std, precision=config.train.precision, device=target)
    return LoadedRun(
        run=folder,
        config=config,
        model=classifier.to(target).to(memory_format=torch.channels_last).eval(),
        preprocess=preprocess,
        class_names=settings.class_names,
        image_size=settings.image_size,
        selected=selected,
        weights_sha256=checkpoint.state_sha256(tensors),
        fingerprints=settings.fingerprints,
        bit_depth=settings.bit_depth,
        data_root=data_root,
    )


def _described(document: Mapping[str, Any], path: Path) -> tuple[Config, ResolvedSettings, SelectedEpoch, str | None]:
    """The configuration, the resolved settings, the selected epoch and the folder of datasets of a model file.

    Everything is checked as what a user types is: the file may come from anybody.  Its folder of datasets is no part of
    the configuration, so that nothing is written there.

    Raises:
        RunError: for a document that lacks a part, or has a value that no training could have.
    """
    with received(path):
        values = parse.unnest(document["config"])
        data_root = values.pop("machine.data_root", None)
        config = parse.build(values)
        is_other = isinstance(data_root, str) and data_root != config.machine.data_root and "\0" not in data_root
        settings = ResolvedSettings.from_json(document["resolved"])
        return config, settings, SelectedEpoch.from_json(document["selected"]), data_root if is_other else None


def _rebuild(config: Config, settings: ResolvedSettings, tensors: Mapping[str, Tensor]) -> Classifier:
    """Build the classifier with the state_dict `tensors`.

    Raises:
        RunError: if they do not fit its configuration, or are no finite numbers.
    """
    if odd := [name for name, tensor in tensors.items() if not tensor.isfinite().all()]:
        raise RunError(f"the weights {odd[0]} are NaN or infinite", hint=TRAIN_AGAIN)
    names, count = settings.class_names, settings.num_classes
    if config.data.labels == "class" and count != len(names):
        raise RunError(f"{count} class vectors for {len(names)} class names", hint=TRAIN_AGAIN)
    plain = parse.build({**parse.flatten(config), "backbone.pretrained": False})
    stored, given, geometry = tensors.get("head.vectors"), None, config.head.vectors
    if stored is not None and vectors.is_stored(geometry):
        try:
            given = vectors.from_matrix(stored, name=geometry)
        except UsageError as error:
            raise RunError(f"the class vectors are damaged: {error.message}", hint=TRAIN_AGAIN) from None
    classifier = model.from_config(plain, settings, vectors=given)
    try:
        classifier.load_state_dict(dict(tensors))
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise RunError(f"the weights do not fit the configuration ({reason})", hint=TRAIN_AGAIN) from None
    return classifier
