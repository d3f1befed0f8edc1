"""The document of a grid of corruptions: its figures by cell, their means, and how two runs differ."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from randhead.corruptions import SEVERITIES
from randhead.files import atomic_write
from randhead.robustness import metrics as errors_of
from randhead.robustness.accumulator import Tally
from randhead.robustness.grid import CLEAN, Grid

MARGIN = "cosine to the own class vector minus the largest cosine to another"
INTERVAL = "95 percent, paired bootstrap over images"


def document(tally: Tally, grid: Grid, class_names: Sequence[str]) -> dict[str, Any]:
    """The document of a grid that has the clean images."""
    clean = tally.figures(CLEAN, 0)
    return {"clean": clean, "margin": MARGIN, **cells_document(tally, grid, class_names, clean_error=clean["error"])}


def cells_document(tally: Tally, grid: Grid, class_names: Sequence[str], *, clean_error: float) -> dict[str, Any]:
    """Accuracy by corruption and severity, all figures by cell, group means and the mean over the benchmark.

    `mean_corruption_accuracy` exists for the 15 corruptions at five severities alone; what there is else is
    `partial_mean_corruption_accuracy`, and `mean_over` says over what.  mCE exists for ImageNet-1k alone.
    """
    cells = _by_cell(tally, grid)
    errors = error_table(tally, grid)
    result = {
        "corruptions": {name: {s: f["accuracy"] for s, f in row.items()} for name, row in cells.items()},
        **_means(tally, grid, errors),
        "groups": {
            group: {"accuracy": 1 - error, "corruptions": there}
            for group, (error, there) in errors_of.group_errors(errors).items()
        },
        "cells": cells,
    }
    if errors_of.is_imagenet(class_names) and is_complete(grid):
        result["imagenet"] = {"denominators": "AlexNet", **errors_of.imagenet_errors(errors, clean_error)}
    return result


def error_table(tally: Tally, grid: Grid) -> dict[str, list[float]]:
    """Errors of each corruption, by ascending severity, without the clean images."""
    return {
        name: [tally.figures(name, severity)["error"] for severity in severities]
        for name, severities in grid.items()
        if name != CLEAN
    }


def is_complete(grid: Grid) -> bool:
    """Whether a grid has the benchmark's 15 corruptions at five severities."""
    return all(len(grid.get(name, ())) == len(SEVERITIES) for name in errors_of.benchmark())


def coverage(grid: Grid) -> str:
    """What a mean over the benchmark is taken over: "14 of 15 corruptions, severities 1, 3, 5"."""
    rows = [severities for name, severities in grid.items() if name in errors_of.benchmark()]
    levels = "all severities" if is_full(rows) else "severities " + ", ".join(map(str, rows[0] if rows else ()))
    return f"{errors_of.coverage(list(grid))} corruptions, {levels}"


def is_full(rows: Sequence[Sequence[int]]) -> bool:
    """Whether rows have all five severities."""
    return bool(rows) and all(len(row) == len(SEVERITIES) for row in rows)


def per_class(tally: Tally, grid: Grid, labels: Tensor, class_names: Sequence[str]) -> dict[str, Any]:
    """Clean accuracy of each class, its mean over the benchmark's corruptions that are there, and each corruption's."""
    scores = image_scores(tally, grid)
    labels = labels.cpu()
    counts = labels.bincount(minlength=len(class_names))
    columns = {CLEAN: tally.correct(CLEAN, 0).double(), **scores}
    sums = {
        c: torch.zeros(len(counts), dtype=torch.float64).index_add_(0, labels, column) for c, column in columns.items()
    }
    means = {c: (total / counts).tolist() for c, total in sums.items()}
    result = {}
    for k, (name, n) in enumerate(zip(class_names, counts.tolist(), strict=True)):
        values = {c: column[k] for c, column in means.items()} if n else {}
        members = [values[c] for c in scores if c in errors_of.benchmark()] if values else []
        result[name] = {
            "n": n,
            "accuracy": values.pop(CLEAN, None),
            "mean_corruption_accuracy": sum(members) / len(members) if members else None,
            "corruptions": values,
        }
    return result


def image_scores(tally: Tally, grid: Grid) -> dict[str, Tensor]:
    """For each corruption, the share of severities at which an image is right: (N,) float64."""
    return {
        name: torch.stack([tally.correct(name, severity) for severity in severities]).double().mean(dim=0)
        for name, severities in grid.items()
        if name != CLEAN
    }


def comparison(tally: Tally, other: Tally, grid: Grid, name: str, *, seed: int = 0) -> dict[str, Any]:
    """How a run differs from `other`, the run called `name`, on the same images and fields.

    Differences of accuracy with paired intervals, clean, by corruption and in the mean, and CE: the ratio of the sums
    of errors over severities.
    """
    scores = [{CLEAN: t.correct(CLEAN, 0).double(), **image_scores(t, grid)} for t in (tally, other)]
    members = [column for column in scores[0] if column in errors_of.benchmark()]
    if members:
        for score in scores:
            score["mean"] = torch.stack([score[column] for column in members]).mean(dim=0)
    columns = list(scores[0])
    ours, theirs = (torch.stack([score[c] for c in columns], dim=1) for score in scores)
    found = zip(columns, *(v.tolist() for v in errors_of.paired_bootstrap(ours, theirs, seed=seed)), strict=True)
    gaps = {c: {"difference": gap, "low": low, "high": high} for c, gap, low, high in found}
    errors, baseline = error_table(tally, grid), error_table(other, grid)
    clean, baseline_clean = tally.figures(CLEAN, 0)["error"], other.figures(CLEAN, 0)["error"]
    ce = errors_of.corruption_errors(errors, baseline)
    relative = errors_of.relative_corruption_errors(errors, clean, baseline, baseline_clean)
    return {
        "run": name,
        "interval": INTERVAL,
        "draws": errors_of.DRAWS,
        "accuracy": gaps[CLEAN],
        "mean_corruption_accuracy": gaps.get("mean"),
        "mean_over": coverage(grid),
        "corruptions": {c: {**gaps[c], "ce": ce[c], "relative_ce": relative[c]} for c in errors},
        "mean_ce": errors_of.mean_corruption_error(ce, partial=True) if members else None,
        "mean_relative_ce": errors_of.mean_corruption_error(relative, partial=True) if members else None,
    }


def write_csv(path: Path, document: Mapping[str, Any]) -> Path:
    """One line a cell, the clean images first, with all figures of the cell."""
    text = io.StringIO()
    columns = list(document["clean"])
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["run", "parameters", "frost", "corruption", "severity", "n", *columns])
    head = [document["run"], document["parameters"], document["frost"]]
    rows = {CLEAN: {"0": document["clean"]}, **document["cells"]}
    for name, row in rows.items():
        for severity, figures in row.items():
            writer.writerow([*head, name, severity, document["n"], *(figures[c] for c in columns)])
    atomic_write(path, text.getvalue())
    return path


def _by_cell(tally: Tally, grid: Grid) -> dict[str, dict[str, dict[str, float]]]:
    return {
        name: {str(severity): tally.figures(name, severity) for severity in severities}
        for name, severities in grid.items()
        if name != CLEAN
    }


def _means(tally: Tally, grid: Grid, errors: errors_of.Errors) -> dict[str, Any]:
    complete = is_complete(grid)
    members = [score for name, score in image_scores(tally, grid).items() if name in errors_of.benchmark()]
    mean = 1 - errors_of.mean_error(errors, partial=not complete) if members else None
    return {
        "mean_corruption_accuracy": mean if complete else None,
        **({} if complete else {"partial_mean_corruption_accuracy": mean}),
        "mean_corruption_accuracy_standard_error": _standard_error(torch.stack(members)) if members else None,
        "mean_over": coverage(grid),
    }


def _standard_error(scores: Tensor) -> float:
    """Of a mean over corruptions: scores (C, N).  Cells share their images, so an image counts once."""
    by_image = scores.mean(dim=0)
    return (by_image.std(correction=0) / len(by_image) ** 0.5).item()
