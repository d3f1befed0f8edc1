"""Separability: the class means that lie close to each other, as a heat map and by name."""

from collections.abc import Iterator

from randhead.analyses import Findings
from randhead.report.canvas import BLUE, heat_map, panels
from randhead.report.plotting import MaxNLocator
from randhead.report.sections import Picture
from randhead.tables import Table, rows


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
    axes.hist(arrays["nearest_angle_deg"].numpy(), bins=min(30, max(5, len(classes))), color=BLUE)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel="angle to the nearest other class mean, centred (degrees)", ylabel="classes")
    yield Picture("nearest-angles", "Angle of each class to its nearest neighbour.", figure)


def tables(findings: Findings, names: tuple[str, ...]) -> Iterator[Table]:
    """The most similar pairs, and every class with its neighbour."""
    arrays = findings.arrays
    pairs = zip(arrays["similar_pairs"].tolist(), arrays["similar_pair_cosines"].tolist(), strict=True)
    cells = [[names[i], names[j], cosine] for (i, j), cosine in pairs]
    yield Table("Most similar pairs of classes", ("class", "and", "cosine of centred means"), rows(cells))
    columns = (arrays["classes"], arrays["nearest"], arrays["nearest_angle_deg"], arrays["silhouettes"])
    values = zip(*[column.tolist() for column in columns], strict=True)
    cells = [[names[k], names[n], angle, silhouette] for k, n, angle, silhouette in values]
    yield Table("Every class", ("class", "nearest other class", "centred angle, degrees", "silhouette"), rows(cells))
