"""The style of pictures in pages and files: colours, panels, heat maps and saving.

Matplotlib needs no display here, and every picture can be read on a light and on a dark background.
"""

import io
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from randhead.files import atomic_write

INK = "#333333"  # the page replaces it by the colour of its text
GREY = "#808080"
BLUE, ORANGE, GREEN, PURPLE, BROWN = "#4a86cf", "#d9822b", "#4f9d69", "#9a6fb0", "#7a6a53"
COLOURS = (BLUE, ORANGE, GREEN, PURPLE, BROWN)
WIDTH = 5.0  # inches: on a phone the text in a picture is as large as the text around it
LONGEST_NAME = 22
NAMED = 60  # most rows of a heat map with names; with more they cannot be read
LARGEST = 14.0  # inches
LOOK: dict[Any, Any] = {
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


@contextmanager
def look() -> Iterator[None]:
    """The context in which pictures are drawn, also a decorator: `@look()`."""
    with matplotlib.rc_context(LOOK):
        yield


def panels(width: float = WIDTH, height: float = 3.2, rows: int = 1, **options: Any) -> tuple[Figure, list[Axes]]:
    """A figure of one or more pairs of axes below each other; sizes in inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, list(np.atleast_1d(figure.subplots(rows, 1, **options)))


@contextmanager
def picture(path: Path, width: float, height: float) -> Iterator[Axes]:
    """One pair of axes (inches) in the look of all pictures, written to `path` as PNG when the block ends."""
    with look():
        figure, (axes,) = panels(width, height)
        yield axes
    png(figure, path)


def short(name: str) -> str:
    """A name as a picture shows it: shortened if it is long, and escaped so that it is not read as a formula."""
    cut = name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "\u2026"
    return cut.replace("$", r"\$")


def heat_map(
    matrix: np.ndarray,
    rows: Sequence[str],
    columns: Sequence[str] | None = None,
    *,
    label: str,
    colours: str,
    limits: tuple[float, float],
    texts: np.ndarray | None = None,
    cell: float = 0.14,
    unnamed: float = 4.8,
) -> Figure:
    """Draw a matrix as colours, with a colour bar, and with names if they can be read.

    Args:
        matrix: (R, C); cells that are NaN stay empty.
        rows: R names.
        columns: C names; by default those of the rows.
        label: what the colours mean.
        colours: the name of a Matplotlib colour map.
        limits: the values at the two ends of the colour map.
        texts: (R, C) strings that are written into the cells; "" writes nothing.
        cell: side of a cell in inches.
        unnamed: side of a matrix that is too large for names, in inches.
    """
    columns = rows if columns is None else columns
    height, width = (min(LARGEST, max(4.2, 1.4 + cell * n)) if n <= NAMED else unnamed for n in matrix.shape)
    figure, (axes,) = panels(width + 0.8, height)
    image = axes.imshow(matrix, cmap=colours, vmin=limits[0], vmax=limits[1])
    figure.colorbar(image, ax=axes, label=label, shrink=0.7)
    if max(matrix.shape) <= NAMED:
        size = 8 if max(matrix.shape) <= 20 else 6
        axes.set_xticks(range(len(columns)), [short(name) for name in columns], rotation=90, fontsize=size)
        axes.set_yticks(range(len(rows)), [short(name) for name in rows], fontsize=size)
    if texts is not None:
        backgrounds = np.asarray(image.cmap(image.norm(matrix)))
        for row, column in np.argwhere(texts != ""):
            colour = _on(backgrounds[row, column])
            axes.text(column, row, texts[row, column], ha="center", va="center", color=colour, fontsize=8)
    return figure


def name_run(figure: Figure, run: str) -> None:
    """Write the name of a run, in small letters, above a figure."""
    figure.suptitle(run, x=0.01, ha="left", fontsize=7, color=GREY)


def mark_zero(axes: Axes) -> None:
    """Draw a thin horizontal line at 0."""
    axes.axhline(0, color=GREY, linewidth=0.7, alpha=0.6)


def png(figure: Figure, path: Path) -> Path:
    """Write a figure as PNG on a white background."""
    atomic_write(path, lambda fragment: _save(figure, fragment, format="png", dpi=150, facecolor="white"))
    return path


def svg(figure: Figure, name: str) -> str:
    """A figure as an SVG element without a background, in the text colour of the page; `name` makes its ids unique."""
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


def _on(background: np.ndarray) -> str:
    """The colour of a text that can be read on a background (4,), by its relative luminance (ITU-R BT.709)."""
    red, green, blue, _ = background
    return "white" if 0.2126 * red + 0.7152 * green + 0.0722 * blue < 0.5 else "#222222"


def _save(figure: Figure, target: Any, **options: Any) -> None:
    with warnings.catch_warnings(), look():
        # Letters that Matplotlib's font lacks become boxes in a PNG; in a page the fonts of the reader are used.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(target, **options)
