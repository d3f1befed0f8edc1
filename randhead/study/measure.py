"""Measuring: what a study keeps of a run, from its run folder; the images are read and scored once."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from randhead import ambient, runs
from randhead.analyses import ClassStatistics, class_statistics, compactness, separability, transfer
from randhead.config import Config
from randhead.datasets import Dataset
from randhead.errors import DataError, RunError
from randhead.evaluation.features import embeddings
from randhead.files import sha256
from randhead.intervals import wilson
from randhead.robustness import benchmark
from randhead.runs import LoadedRun, Run, TrainingSummary
from randhead.runs.folder import read_json, received
from randhead.study.design import Study
from randhead.study.images import ImageCache
from randhead.study.metrics import METRICS
from randhead.study.plan import PlannedRun
from randhead.study.records import RunRecord
from randhead.train import log

NEAR = 0.01  # of the last validation accuracy, at which a training counts as converged
ROUNDING = 1e-9
CURVES = ("val_accuracy", "train_loss")

ShouldStop = Callable[[], bool]
Values = dict[str, float | None]


@ambient.settled()
def measure(
    planned: PlannedRun,
    run: Run,
    study: Study,
    images: ImageCache,
    *,
    config: Config,
    is_new: bool,
    should_stop: ShouldStop,
    warn: Callable[[str], None],
) -> RunRecord:
    """Measure a run that is finished or has diverged.

    Runs of the sweep are not tested: no figure of the test split exists that a choice could depend on.

    Args:
        planned: the run, as it was planned.
        run: its folder.
        study: the design, which says what is measured.
        images: the images of the study.
        config: the settings of the run with the device on which to measure.
        is_new: whether the run was trained on these images just now; else it is checked that they are the same.
        should_stop: called between batches.
        warn: called with each warning.

    Raises:
        DataError: if the test images are other ones than when the run was trained.
        RunError: if the run cannot be read.
        StopRequested: if `should_stop` returns True.
    """
    summary, dataset = run.summary(), images.dataset(config, run)
    epochs = epochs_of(run) if run.metrics_path.exists() else []
    about = _about(planned, run, dataset, epochs)
    metrics: Values = dict.fromkeys(METRICS)
    if summary is None:
        return RunRecord(**about, diverged=_reason(run), metrics=metrics | {"converged": 0.0})
    about |= {"seconds": summary.seconds, "weights_sha256": summary.weights_sha256}
    about["val"] = {name: summary.val.get(name) for name in ("accuracy", "nll")}
    metrics |= of_training(summary, epochs, dataset)
    if planned.tuning:
        return RunRecord(**about, metrics=metrics)
    loaded = runs.load(run, device=config.machine.device)
    if not is_new and (changed := loaded.image_changes(dataset, "test")):
        raise DataError(changed, hint="restore its images, or give the study another `name`")
    metrics |= {name: summary.test.get(name) for name in ("accuracy", "nll", "ece")}
    metrics |= of_features(loaded, dataset, should_stop=should_stop, warn=warn)
    metrics |= of_new_classes(loaded, images.held_out(config, run), should_stop=should_stop, warn=warn)
    if study.corruptions:
        about |= _corrupted(loaded, dataset, study, should_stop=should_stop, warn=warn)
        metrics["corruption_accuracy"] = about.pop("mean")
        about["counts"] |= {"corrupted": about.pop("n")}
    return RunRecord(**about, metrics=metrics)


def epochs_of(run: Run) -> list[dict[str, Any]]:
    """The lines of the log, one per epoch.  Raises RunError if they cannot be read."""
    with received(run.metrics_path):
        lines = log.read(run.metrics_path)
        for line in lines:
            _ = int(line["epoch"]), float(line["seconds"]), [float(line[name]) for name in CURVES]
        return lines


def _about(planned: PlannedRun, run: Run, dataset: Dataset, epochs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What a record has of any run, also of one that diverged."""
    document = run.document()
    return {
        "run": planned.name,
        "arm": planned.arm,
        "head_seed": planned.head_seed,
        "seed": planned.seed,
        "tuned": planned.tuned,
        "tuning": planned.tuning,
        "curves": {name: tuple(line[name] for line in epochs) for name in CURVES},
        "counts": {name: len(split) for name, split in dataset.splits.items()} | {"classes": len(dataset.class_names)},
        "images": _identity(run.resolved().fingerprints),
        "environment": {**document["environment"], **document["versions"]},
        "seconds": epochs[-1]["seconds"] if epochs else 0.0,
    }


def of_training(summary: TrainingSummary, epochs: Sequence[Mapping[str, Any]], dataset: Dataset) -> Values:
    """The metrics of the training itself: epochs, train_loss and converged, from its log and the validation split.

    A training converges if the 95 percent interval of its validation accuracy is above the share of the most frequent
    class; the epochs of one that does not are None.
    """
    labels = dataset.splits["val"].labels.cpu()
    most_frequent = int(torch.bincount(labels).max()) / len(labels)
    right = round(summary.val["accuracy"] * len(labels))
    converged = wilson(right, len(labels)).low > most_frequent
    enough = [line["val_accuracy"] >= epochs[-1]["val_accuracy"] - NEAR - ROUNDING for line in epochs]
    return {
        "epochs": float(epochs[enough.index(True)]["epoch"]) if converged and epochs else None,
        "train_loss": epochs[-1]["train_loss"] if epochs else None,
        "converged": float(converged),
    }


def of_features(loaded: LoadedRun, dataset: Dataset, *, should_stop: ShouldStop, warn: Callable[[str], None]) -> Values:
    """Separability and compactness of the classes on the test split, as `analyze` measures them."""
    split = dataset.splits["test"]
    features = embeddings(loaded.model, split, loaded.preprocess, should_stop=should_stop)
    try:
        statistics: ClassStatistics = class_statistics(
            features, split.labels.cpu(), num_classes=len(dataset.class_names)
        )
        apart, tight = separability.from_statistics(statistics), compactness.from_statistics(statistics)
    except DataError as error:  # features that are not finite, or images of a single class
        warn(f"{loaded.run.name}: no separability and compactness: {error.message}")
        return {}
    return {
        "separability": apart.number("mean_angle_deg"),
        "class_separation": apart.number("class_separation_r2"),
        "compactness": tight.number("within_distance"),
    }


def of_new_classes(
    loaded: LoadedRun, held_out: Dataset | None, *, should_stop: ShouldStop, warn: Callable[[str], None]
) -> Values:
    """Transfer to the classes that training left out, as `analyze` measures it; nothing if it has left out none."""
    if held_out is None:
        return {}
    given: dict[str, Any] = {}
    for split, start in (("test", ""), ("train", "train_")):
        part = held_out.splits[split]
        given[f"{start}features"] = embeddings(loaded.model, part, loaded.preprocess, should_stop=should_stop)
        given[f"{start}labels"] = part.labels.cpu()
    try:
        found = transfer.measure(**given, episodes=1)
    except DataError as error:
        warn(f"{loaded.run.name}: no transfer: {error.message}")
        return {}
    return {"transfer": found.number("linear_probe"), "transfer_1nn": found.number("knn_1")}


def _corrupted(
    loaded: LoadedRun, dataset: Dataset, study: Study, *, should_stop: ShouldStop, warn: Callable[[str], None]
) -> dict[str, Any]:
    """The accuracy under corruptions; the cells are kept in the run folder, so that a killed worker loses little."""
    report = benchmark(
        loaded,
        severities=study.severities,
        limit=study.corruption_limit,
        data=dataset,
        should_stop=should_stop,
        warn=warn,
    )
    rows = {name: tuple(row.values()) for name, row in report.corruptions.items()}
    severities = tuple(report.grid.severities)
    return {"corruptions": rows, "severities": severities, "mean": report.grid.mean_accuracy, "n": report.n}


def _reason(run: Run) -> str:
    """Why a training diverged: the step, but not what was saved by then, which depends on when it was stopped."""
    try:
        message = read_json(run.diverged_path)["message"]
    except (RunError, KeyError):
        message = "diverged"
    return str(message).partition("; ")[0]


def _identity(fingerprints: Mapping[str, Mapping[str, str]]) -> str:
    """A hash of the fingerprints of all splits."""
    return sha256(json.dumps(fingerprints, sort_keys=True).encode())
