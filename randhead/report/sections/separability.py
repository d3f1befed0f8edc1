"""Separability: the class means that lie close to each other, as a heat map and by name."""

from collections.abc import Iterator

from randhead.analyses import Findings
from randhead.report.canvas import BLUE, heat_map, panels
from randhead.report.sections import Listing, Picture


def pictures(findings: Findings, names: tuple[str, ...]) -> Iterator[Picture]:
    """The heat map of class means, ordered by clustering, and how far the nearest other class is."""
    arrays = findings.arrays
    classes = arrays["classes"].tolist()
    if "order" in arrays:
        order = arrays["order"]
        matrix = arrays["centred_cosines"][order][:, order].numpy()
        ordered = [names[classes[i]] for i in order.tolist()]
        yield Picture(
            "similar-classes",
            "Cosine between class means less their mean; similar classes stand side by side.",
            heat_map(matrix, ordered, label="cosine", colours="RdBu_r", limits=(-1, 1)),
        )
    figure, (axes,) = panels(height=2.8)
    axes.hist(arrays["nearest_angle_deg"].numpy(), bins=min(30, max(5, len(classes))), color=BLUE)
    axes.yaxis.get_major_locator().set_params(integer=True)
    axes.set(xlabel="angle to the nearest other class mean, centred (degrees)", ylabel="classes")
    yield Picture("nearest-angles", "How far each class is from its nearest neighbour.", figure)


def tables(findings: Findings, names: tuple[str, ...]) -> Iterator[Listing]:
    """The most similar pairs, and every class with its neighbour."""
    arrays = findings.arrays
    pairs = zip(arrays["similar_pairs"].tolist(), arrays["similar_pair_cosines"].tolist(), strict=True)
    rows = [[names[i], names[j], cosine] for (i, j), cosine in pairs]
    yield Listing("Most similar pairs of classes", ("class", "and", "cosine of centred means"), rows)
    columns = (arrays["classes"], arrays["nearest"], arrays["nearest_angle_deg"], arrays["silhouettes"])
    values = zip(*[column.tolist() for column in columns], strict=True)
    rows = [[names[k], names[n], angle, silhouette] for k, n, angle, silhouette in values]
    yield Listing("Every class", ("class", "nearest other class", "centred angle, degrees", "silhouette"), rows)
