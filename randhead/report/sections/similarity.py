"""Similarity: correlation of class vectors and class means with the similarity of how classes look."""

from collections.abc import Iterator

import numpy as np

from randhead.analyses import Findings, similarity
from randhead.report._matplotlib import Figure
from randhead.report.canvas import BLUE, GREY, ORANGE, mark_zero, panels
from randhead.report.sections import Picture
from randhead.tables import Table, rows, words

SIDES = {side: (name, colour) for (side, name), colour in zip(similarity.SIDES.items(), (BLUE, ORANGE), strict=True)}
RASTER = 2000  # points; more of them are drawn as a bitmap, so that the page stays small


def pictures(findings: Findings, names: tuple[str, ...]) -> Iterator[Picture]:
    """Correlations as bars, and a scatter plot of pairs per reference."""
    yield Picture(
        "correlations",
        "Rank correlation with what looks alike: about 0 is expected for fixed vectors, more for learned ones.",
        _bars(findings),
    )
    for reference in _references(findings):
        caption = f"Every pair of {_compared(findings, names)}: {_in_words(reference)} (x), cosine in the run (y)."
        yield Picture(f"pairs-{reference}", caption, _scatter(findings, reference))


def tables(findings: Findings, names: tuple[str, ...]) -> Iterator[Table]:
    """The correlations with their p-values."""
    cells = [
        [
            label,
            _in_words(reference),
            findings.metrics[f"{side}_{reference}"],
            findings.metrics[f"{side}_{reference}_p"],
        ]
        for side, (label, _) in SIDES.items()
        for reference in _references(findings)
        if f"{side}_{reference}" in findings.metrics
    ]
    title = f"Correlations over pairs of {_compared(findings, names)}"
    yield Table(title, ("of", "with", "Spearman's rho", "Mantel's p, one-sided"), rows(cells))


def _compared(findings: Findings, names: tuple[str, ...]) -> str:
    compared = findings.metrics["classes_compared"]
    return "classes" if compared == len(names) else f"{compared} of {len(names)} classes"


def _references(findings: Findings) -> list[str]:
    return [name for name in findings.arrays if name not in SIDES]


def _in_words(reference: str) -> str:
    return similarity.REFERENCES.get(reference, words(reference))


def _bars(findings: Findings) -> Figure:
    references = _references(findings)
    figure, (axes,) = panels(height=2.6)
    for i, (side, (label, colour)) in enumerate(SIDES.items()):
        values = [findings.number(f"{side}_{name}") for name in references]
        xs = np.arange(len(references)) + 0.38 * (i - 0.5)
        axes.bar(xs, [value or 0.0 for value in values], width=0.36, color=colour, label=label)
        for x, name, value in zip(xs, references, values, strict=True):
            p = findings.number(f"{side}_{name}_p")
            text = "none" if p is None else f"p = {p:.3g}"
            axes.annotate(text, (x, max(value or 0.0, 0)), (0, 2), textcoords="offset points", ha="center", fontsize=7)
    mark_zero(axes)
    axes.set_xticks(range(len(references)), [_in_words(name) for name in references])
    axes.set_xlim(-0.8, len(references) - 0.2)
    axes.set_ylabel("Spearman's rho")
    axes.margins(y=0.15)
    axes.legend(loc="upper left", bbox_to_anchor=(0, 1.16), ncols=2)
    return figure


def _size(points: int) -> int:
    """Size of the dots: visible if there are few, distinct if there are many."""
    return 22 if points < RASTER // 10 else 9 if points < RASTER else 4


def _scatter(findings: Findings, reference: str) -> Figure:
    figure, (axes,) = panels(height=3.4)
    upper = np.triu_indices(len(findings.arrays[reference]), 1)
    x = findings.arrays[reference].numpy()[upper]
    for side, (label, colour) in SIDES.items():
        if side in findings.arrays:
            y = findings.arrays[side].numpy()[upper]
            axes.scatter(
                x, y, s=_size(len(x)), color=colour, alpha=0.6, label=label, linewidths=0, rasterized=len(x) > RASTER
            )
    axes.axhline(0, color=GREY, linewidth=0.7, alpha=0.6)
    axes.set(xlabel=f"similarity by {_in_words(reference)}", ylabel="cosine of centred vectors")
    axes.legend(loc="upper left", bbox_to_anchor=(0, 1.12), ncols=2, markerscale=1.5)
    return figure
