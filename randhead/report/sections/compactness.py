"""Compactness: norms and angles of right and of wrong predictions, and how tight each class is."""

from collections.abc import Iterator

import numpy as np

from randhead.analyses import Findings
from randhead.report._matplotlib import Figure
from randhead.report.canvas import BLUE, ORANGE, finite, mark_without_values, panels
from randhead.report.sections import Picture
from randhead.tables import Table, rows

BINS = 40
FEW = 20  # predictions; if there are fewer, each gets its own mark instead of a histogram


def pictures(findings: Findings, names: tuple[str, ...]) -> Iterator[Picture]:
    """Histograms of norms and of angles, of right and of wrong predictions."""
    arrays = findings.arrays
    right = arrays["correct"].numpy().astype(bool) if "correct" in arrays else None
    if "angles_deg" in arrays:
        figure = _histogram(arrays["angles_deg"].numpy(), right, "angle to the vector of the true class (degrees)")
        yield Picture("angles", "Angle between a feature and the vector of its true class.", figure)
    figure = _histogram(arrays["norms"].numpy(), right, "norm of the feature")
    yield Picture("norms", "Norm of the features.", figure)


def tables(findings: Findings, names: tuple[str, ...]) -> Iterator[Table]:
    """Every class with its two cosines."""
    arrays = findings.arrays
    columns = {"class": [names[k] for k in arrays["classes"].tolist()]}
    columns["cosine to class mean"] = arrays["class_mean_cosines"].tolist()
    if "class_vector_cosines" in arrays:
        columns["cosine to class vector"] = arrays["class_vector_cosines"].tolist()
    yield Table("Every class", tuple(columns), rows(zip(*columns.values(), strict=True)))


def _histogram(values: np.ndarray, right: np.ndarray | None, label: str) -> Figure:
    figure, (axes,) = panels(height=2.8)
    known = finite(values)
    if not len(known):
        mark_without_values(axes)
        axes.set(xlabel=label, ylabel="share")
        return figure
    edges = np.histogram_bin_edges(known, bins=min(BINS, 4 + len(known) // 10))
    sides = (
        {"all": (values, BLUE)}
        if right is None
        else {"right": (values[right], BLUE), "wrong": (values[~right], ORANGE)}
    )
    for name, (side, colour) in sides.items():
        part = finite(side)
        text = f"{name} (n = {len(part)})"
        if len(part) >= FEW:
            shares = np.histogram(part, edges)[0] / len(part)
            axes.stairs(shares, edges, fill=True, color=colour, alpha=0.55, label=text)
        elif len(part):
            axes.plot(part, np.zeros(len(part)), "|", color=colour, markersize=16, markeredgewidth=2, label=text)
    axes.set(xlabel=label, ylabel="share")
    axes.legend()
    return figure
