"""Separability: the class means that lie close to each other, as a heat map and by name."""

from collections.abc import Iterator
from math import isfinite

from randhead.analyses import Findings
from randhead.report._matplotlib import MaxNLocator
from randhead.report.canvas import BLUE, finite, heat_map, mark_without_values, panels
from randhead.report.sections import Picture
from randhead.tables import Cell, Table, count, rows


def pictures(findings: Findings, names: tuple[str, ...]) -> Iterator[Picture]:
    """The heat map of class means, ordered by clustering, and the angles to the nearest other class."""
    arrays = findings.arrays
    classes = arrays["classes"].tolist()
    if "order" in arrays:
        order = arrays["order"]
        matrix = arrays["centred_cosines"][order][:, order].numpy()
        ordered = [names[classes[i]] for i in order.tolist()]
        yield Picture(
            "similar-classes",
            "Cosine between centred class means; similar classes are next to each other.",
            heat_map(matrix, ordered, label="cosine", colours="RdBu_r", limits=(-1, 1)),
        )
    figure, (axes,) = panels(height=2.8)
    angles = finite(arrays["nearest_angle_deg"].numpy())
    if len(angles):
        axes.hist(angles, bins=min(30, max(5, len(classes))), color=BLUE)
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    else:
        mark_without_values(axes)
    axes.set(xlabel="angle to the nearest other class mean, centred (degrees)", ylabel="classes")
    without = len(classes) - len(angles)
    left_out = f" {count(without, 'class')} without an angle left out." if without else ""
    yield Picture("nearest-angles", f"Angle of each class to its nearest neighbour.{left_out}", figure)


def tables(findings: Findings, names: tuple[str, ...]) -> Iterator[Table]:
    """The most similar pairs, and every class with its neighbour."""
    arrays = findings.arrays
    pairs = zip(arrays["similar_pairs"].tolist(), arrays["similar_pair_cosines"].tolist(), strict=True)
    cells: list[list[Cell]] = [[names[i], names[j], cosine] for (i, j), cosine in pairs if isfinite(cosine)]
    yield Table("Most similar pairs of classes", ("class", "and", "cosine of centred means"), rows(cells))
    columns = (arrays["classes"], arrays["nearest"], arrays["nearest_angle_deg"], arrays["silhouettes"])
    values = zip(*[column.tolist() for column in columns], strict=True)
    cells = [[names[k], names[n] if isfinite(angle) else None, angle, value] for k, n, angle, value in values]
    yield Table("Every class", ("class", "nearest other class", "centred angle, degrees", "silhouette"), rows(cells))
