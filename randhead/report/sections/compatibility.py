"""Compatibility: queries of one run in the gallery of another, as a matrix."""

from collections.abc import Iterator

from randhead.analyses import Findings
from randhead.report.canvas import heat_map
from randhead.report.sections import Listing, Picture, words

SCORES = ("recall_at_1", "map_at_r")
HEADLINES = tuple(
    f"{name}_{end}"
    for name in SCORES
    for end in ("own", "across", "across_shared", "across_start", "across_other", "ac")
)


def pictures(findings: Findings, names: tuple[str, ...]) -> Iterator[Picture]:
    """A matrix for each score."""
    for score in SCORES:
        matrix = findings.arrays[score].numpy()
        figure = heat_map(matrix, names, label=words(score), colours="Blues", limits=(0, 1), written=len(matrix) <= 12)
        figure.axes[0].set(xlabel="gallery", ylabel="queries")
        yield Picture(score.replace("_", "-"), f"{words(score)}: rows ask, columns are searched.", figure)


def tables(findings: Findings, names: tuple[str, ...]) -> Iterator[Listing]:
    """Every pair of runs."""
    scores = [findings.arrays[score] for score in SCORES]
    rows = [
        [names[i], names[j], *(float(score[i, j]) for score in scores)] for i in range(len(names)) for j in range(i + 1)
    ]
    yield Listing("Every pair", ("queries", "gallery", *map(words, SCORES)), rows)
