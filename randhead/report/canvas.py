"""The style of pictures in pages and files: colours, panels, heat maps and saving.

Matplotlib needs no display here, and every picture can be read on a light and on a dark background.  Names are drawn as
they are: pictures have no formulas, whatever the number of dollar signs in a name.
"""

import functools
import io
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from randhead.escapes import printable
from randhead.files import atomic_write
from randhead.report import fonts, rasters
from randhead.report._matplotlib import Axes, Figure, FigureCanvasSVG, LogFormatter, Text, matplotlib, quiet

INK = "#333333"  # the page replaces it by the colour of its text
GREY = "#808080"
BLUE, ORANGE, GREEN, PURPLE, BROWN = "#4a86cf", "#d9822b", "#4f9d69", "#9a6fb0", "#7a6a53"
COLOURS = (BLUE, ORANGE, GREEN, PURPLE, BROWN)
CRIMSON, OLIVE, VIOLET, TAN = "#bf1369", "#736028", "#7650e6", "#bf9469"
ON_DARK = {CRIMSON: "#e0407f", OLIVE: "#8a7433", VIOLET: "#8a6af2", TAN: "#d9b48c"}  # in the dark theme of a page
WIDTH = 5.0  # inches: on a phone the text in a picture is as large as the text around it
LONGEST_NAME = 22
NAMED = 60  # most rows of a heat map with names; with more they cannot be read
MOST_LISTED = 10  # names, in a warning
LARGEST = 14.0  # inches
RASTER_DPI = 130  # of the parts of a picture in a page that are no shapes: many dots, and heat maps
DECIMALS = re.compile(r"(\.\d\d)\d+")
MARKS = re.compile(r"<g(?P<attributes>[^>]*)>(?P<marks>(?:<use [^>]*/>){2,})</g>")
LOOK: dict[Any, Any] = {
    "text.parse_math": False,
    "font.family": fonts.OWN,
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
    with quiet(), matplotlib.rc_context(_defaults() | LOOK):
        yield


@functools.cache
def _defaults() -> dict[Any, Any]:
    """The settings that Matplotlib comes with, and not those of the user, except for the kind of window."""
    return {key: value for key, value in matplotlib.rcParamsDefault.items() if not key.startswith("backend")}


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


def label(name: str) -> str:
    """A text of users as a picture shows it: on one line, and with a space before an underscore.

    Matplotlib leaves what starts with an underscore out of its legends.
    """
    text = printable(name)
    return f" {text}" if text.startswith("_") else text


def short(name: str) -> str:
    """A name as a picture shows it, shortened if it is long."""
    text = label(name)
    return text if len(text) <= LONGEST_NAME else text[: LONGEST_NAME - 1] + "\u2026"


def numbered(names: Sequence[str], warn: Callable[[str], None]) -> tuple[str, ...]:
    """Names as a picture can show them: the number of a class if no font of this system has its letters."""
    shown = [name if all(map(fonts.can_draw, printable(name))) else f"class {k}" for k, name in enumerate(names)]
    pairs = [f"{k} {name}" for k, name in enumerate(names) if shown[k] != name]
    if pairs:
        more = f" and {len(pairs) - MOST_LISTED} more" if len(pairs) > MOST_LISTED else ""
        listed = ", ".join(pairs[:MOST_LISTED]) + more
        warn(f"no font of this system has the letters of all names: pictures show the numbers of classes ({listed})")
    return tuple(shown)


def log_scale(axes: Axes) -> None:
    """A logarithmic y axis whose numbers are no formulas: 1e-02."""
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(LogFormatter())
    axes.yaxis.set_minor_formatter(LogFormatter())


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
    with look():
        figure.suptitle(label(run), x=0.01, ha="left", fontsize=7, color=GREY)


def finite(values: np.ndarray) -> np.ndarray:
    """The values (n,) that a histogram can count: finite ones, as float64, so that bins of nearly equal ones differ."""
    return values[np.isfinite(values)].astype(np.float64)


def mark_without_values(axes: Axes) -> None:
    """Say in axes that there is nothing to draw."""
    axes.text(0.5, 0.5, "no values", ha="center", va="center", transform=axes.transAxes, color=GREY)
    axes.set(xticks=[], yticks=[])


def mark_zero(axes: Axes) -> None:
    """Draw a thin horizontal line at 0."""
    axes.axhline(0, color=GREY, linewidth=0.7, alpha=0.6)


def png(figure: Figure, path: Path) -> Path:
    """Write a figure as PNG on a white background."""
    atomic_write(path, lambda fragment: _save_png(figure, fragment))
    return path


def svg(figure: Figure, name: str) -> str:
    """A figure as an SVG element without a background, in the text colour of the page; `name` makes its ids unique."""
    for patch in (figure.patch, *(axes.patch for axes in figure.axes)):
        patch.set(facecolor="none", edgecolor="none")
    figure.dpi = RASTER_DPI
    out = io.StringIO()
    with look(), matplotlib.rc_context({"svg.hashsalt": name}):
        # `savefig` draws each figure once more, for its layout only, which takes a quarter longer.
        FigureCanvasSVG(figure).print_svg(out, metadata=dict.fromkeys(("Date", "Creator"), None))
    text = out.getvalue()
    element = rasters.smaller(text[text.index("<svg") :])
    element = re.sub(r"<metadata>.*?</metadata>", "", element, flags=re.DOTALL)
    element = re.sub(r' (?:xmlns(?::\w+)?|version)="[^"]*"', "", element)
    element = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", element, count=1)
    element = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", element, count=1)
    element = _smaller(element)
    prefix = re.sub(r"\W+", "-", name)
    element = re.sub(r'(\bid="|xlink:href="#|url\(#)', rf"\g<1>{prefix}-", element)
    for colour in ON_DARK:
        element = element.replace(colour, f"var(--{variable(colour)}, {colour})")
    return element.replace(INK, "currentColor").replace("xlink:href", "href")


def variable(colour: str) -> str:
    """The variable by which a page has another colour in its dark theme."""
    return f"on-{colour.removeprefix('#')}"


def _smaller(element: str) -> str:
    """An SVG element without indents and ids that nothing refers to, with coordinates to 1/100 point."""
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', element))
    element = re.sub(r' id="([^"]+)"', lambda found: found[0] if found[1] in used else "", element)
    element = re.sub(r' (?:d|x|y)="[^"]*"', lambda found: DECIMALS.sub(r"\1", found[0].replace("\n", "")), element)
    return MARKS.sub(_one_style, re.sub(r">\s+<", "><", element))


def _one_style(group: re.Match[str]) -> str:
    """A group of marks, which has their style, if it is the same for all."""
    styles = set(re.findall(r' style="[^"]*"', group["marks"]))
    if len(styles) != 1 or "style" in group["attributes"]:
        return group[0]
    style = styles.pop()
    return f"<g{group['attributes']}{style}>{group['marks'].replace(style, '')}</g>"


def _on(background: np.ndarray) -> str:
    """The colour of a text that can be read on a background (4,), by its relative luminance (ITU-R BT.709)."""
    red, green, blue, _ = background
    return "white" if 0.2126 * red + 0.7152 * green + 0.0722 * blue < 0.5 else "#222222"


def _save_png(figure: Figure, path: Path) -> None:
    """Write a figure in the look of all pictures, with the fonts of this system; a page has those of its reader."""
    with look():
        for text in figure.findobj(Text):
            text.set_fontfamily(fonts.families())
        figure.savefig(path, format="png", dpi=150, facecolor="white")
