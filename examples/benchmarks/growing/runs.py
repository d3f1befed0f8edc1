"""Runs: imports, the start of a training, listing, what an evaluation writes, and the page of several runs."""

import contextlib
import importlib
import os
from pathlib import Path

from growth import Case


def imports(module: str):
    """A case that imports a module in a process that has imported nothing."""

    def prepare(size: int, folder: Path):
        return lambda: importlib.import_module(module)

    return Case((1,), "process", prepare)


def start(size: int, folder: Path):
    """All that a command does before the first step of `size` trainings of the digits; imports count."""

    def call():
        from randhead import train
        from randhead.errors import StopRequested

        for seed in range(size):
            settings = {"train.seed": seed, "machine.device": "cpu"}
            with contextlib.suppress(StopRequested):
                train.fit(settings, root=folder / "runs", should_stop=lambda: True)

    return call


def found(classes: int):
    """The metrics of 10,000 random predictions, 70 % of which are right."""
    import torch

    from randhead.evaluation.classification import metrics_of
    from randhead.head import ClassVectorHead

    draw = torch.Generator().manual_seed(0)
    labels = torch.arange(10_000) % classes
    right = torch.rand(len(labels), generator=draw) < 0.7
    predicted = torch.where(right, labels, torch.randint(0, classes, (len(labels),), generator=draw))
    head = ClassVectorHead(classes, 64)
    features = 20 * head.class_vectors()[predicted]
    return metrics_of(features, head.output(features, labels), labels, classes)


def written(size: int, folder: Path):
    """The report of an evaluation and the summary of its run, of `size` classes; the call returns their bytes."""
    from randhead.evaluation.evaluation import Evaluation
    from randhead.runs import Run

    metrics, run = found(size), Run(folder / "run")
    names = tuple(f"class {k:04}" for k in range(size))

    def call() -> int:
        report = Evaluation("run", "data", "test", names, metrics).save(run)
        return report.stat().st_size + summary(run, metrics).stat().st_size

    return call


def summary(run, metrics) -> Path:
    """Write the summary.json of a finished training with these test metrics."""
    from randhead.runs import SelectedEpoch, TrainingSummary

    test = metrics.summary() if hasattr(metrics, "summary") else metrics.to_json()
    val = {"accuracy": 0.7, "accuracy_interval": None, "nll": 1.0, "n": 1000}
    versions = {"randhead": "0", "torch": "0", "torchvision": "0", "python": "0"}
    made = TrainingSummary(
        run.path, "run", 3, SelectedEpoch(3, 0.7, 1.0), val, test, 1.0, 1.0, "CPU", (), "0" * 64, versions
    )
    return made.save(run)


def listing(classes: int, finished: bool = True):
    """A case that lists `size` runs."""

    def prepare(size: int, folder: Path):
        from randhead.runs import Run, list_runs

        runs = [Run(folder / "runs" / f"run-{i:04}") for i in range(size)]
        for run in runs:
            run.checkpoints.mkdir(parents=True)
            run.config_path.write_text("{}")
            (run.path / ".lock").touch()
            (run.checkpoints / "step-00000100.safetensors").touch()
        if finished:
            first = summary(runs[0], found(classes))
            for run in runs[1:]:
                os.link(first, run.summary_path)
        return lambda: list_runs(folder / "runs")

    return Case((100, 300, 1_000), "runs", prepare)


def page(size: int, folder: Path):
    """`analyze all` over `size` runs on the training split of the digits; the call returns the bytes of the page."""
    from randhead import evaluation, report, train

    names = [f"run{i}" for i in range(size)]
    for i, name in enumerate(names):
        settings = {"train.seed": i // 2, "train.epochs": 3, "head.scoring": ("dot", "cosine")[i % 2]}
        train.fit(settings | {"machine.device": "cpu"}, root=folder, name=name)

    def call() -> int:
        from randhead.runs import find

        analysis = evaluation.analyze("all", names, root=folder, device="cpu", split="train")
        files = report.draw(analysis, find(names[0], root=folder), warn=lambda text: None)
        return sum(file.stat().st_size for file in files)

    return call


CASES = {
    "import torch": imports("torch"),
    "import randhead.train": imports("randhead.train"),
    "import randhead.evaluation.evaluation": imports("randhead.evaluation.evaluation"),
    "import randhead.evaluation.prediction": imports("randhead.evaluation.prediction"),
    "start a training": Case((1,), "training", start),
    "list, 10 classes": listing(10),
    "list, 1,000 classes": listing(1_000),
    "list, unfinished": listing(10, finished=False),
    "write an evaluation": Case((10, 100, 1_000, 10_000), "classes", written),
    "analyze all": Case((1, 2, 4, 8), "runs", page),
}
