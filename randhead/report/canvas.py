"""Figures that go into a page and into files: one look, drawn without a screen, readable on light and dark ground."""

import io
import re
import warnings
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from randhead.files import atomic_write

INK = "#333333"  # the page puts its own colour of text in its place
GREY = "#808080"
BLUE, ORANGE, GREEN, PURPLE = "#4a86cf", "#d9822b", "#4f9d69", "#9a6fb0"
COLOURS = (BLUE, ORANGE, GREEN, PURPLE)
WIDTH = 5.0  # inches: on a phone the text is as large as around it
LONGEST_NAME = 22
NAMED = 60  # rows of a heat map; beyond this, names cannot be read
LOOK = {
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "svg.fonttype": "none",
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK),
}


def look() -> AbstractContextManager[None]:
    """The context in which figures are drawn: each text and line takes its colour from it."""
    return matplotlib.rc_context(LOOK)


def panels(width: float = WIDTH, height: float = 3.2, rows: int = 1, **options: object) -> tuple[Figure, list[Axes]]:
    """A figure of one or more pairs of axes below each other; sizes in inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, list(np.atleast_1d(figure.subplots(rows, 1, **options)))


def short(name: str) -> str:
    """A name as a picture shows it: cut where it is long, and never taken for a formula."""
    cut = name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "\u2026"
    return cut.replace("$", r"\$")


def heat_map(
    matrix: np.ndarray,
    names: Sequence[str],
    *,
    label: str,
    colours: str,
    limits: tuple[float, float],
    written: bool = False,
) -> Figure:
    """A matrix (M, M) with a colour bar; names where they can be read, numbers where `written`."""
    m = len(matrix)
    side = max(4.2, 1.4 + 0.14 * m) if m <= NAMED else 4.8
    figure, (axes,) = panels(side + 0.8, side)
    image = axes.imshow(matrix, cmap=colours, vmin=limits[0], vmax=limits[1])
    figure.colorbar(image, ax=axes, label=label, shrink=0.7)
    if m <= NAMED:
        size = 8 if m <= 20 else 6
        labels = [short(name) for name in names]
        axes.set_xticks(range(m), labels, rotation=90, fontsize=size)
        axes.set_yticks(range(m), labels, fontsize=size)
    middle = sum(limits) / 2
    for row, column in np.argwhere(np.isfinite(matrix)) if written else ():
        dark = abs(matrix[row, column] - middle) > 0.3 * (limits[1] - limits[0])
        colour = "white" if dark and matrix[row, column] > middle else "#222222"
        axes.text(column, row, f"{matrix[row, column]:.2f}", ha="center", va="center", color=colour, fontsize=8)
    return figure


def mark_zero(axes: Axes) -> None:
    """A fine line at 0 across."""
    axes.axhline(0, color=GREY, linewidth=0.7, alpha=0.6)


def png(figure: Figure, path: Path) -> Path:
    """Write a figure as PNG on white ground."""
    atomic_write(path, lambda fragment: _save(figure, fragment, format="png", dpi=150, facecolor="white"))
    return path


def svg(figure: Figure, name: str) -> str:
    """A figure as an SVG element without ground, in the text colour of the page; `name` keeps its ids its own."""
    out = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": name}):
        _save(figure, out, format="svg", transparent=True, dpi=130, metadata=dict.fromkeys(("Date", "Creator"), None))
    text = out.getvalue()
    element = text[text.index("<svg") :]
    element = re.sub(r"<metadata>.*?</metadata>", "", element, flags=re.DOTALL)
    element = re.sub(r' (?:xmlns(?::\w+)?|version)="[^"]*"', "", element)
    element = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", element, count=1)
    element = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", element, count=1)
    prefix = re.sub(r"\W+", "-", name)
    element = re.sub(r'(\bid="|xlink:href="#|url\(#)', rf"\g<1>{prefix}-", element)
    return element.replace(INK, "currentColor").replace("xlink:href", "href")


def _save(figure: Figure, target: object, **options: object) -> None:
    with warnings.catch_warnings(), look():
        # A script that matplotlib's font lacks shows as boxes in a PNG; in a page the reader's own fonts are used.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(target, **options)
