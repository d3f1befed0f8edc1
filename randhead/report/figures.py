"""Pictures, drawn with matplotlib without a screen."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from randhead.files import atomic_write

INK, BLUE, ORANGE = "#333333", "#3b6fb6", "#d9822b"
NAMED_CLASSES = 60  # beyond this, labels cannot be read
COUNTED_CLASSES = 20


@contextmanager
def picture(path: Path, width: float, height: float) -> Iterator[Axes]:
    """One pair of axes (inches), written to `path` as PNG when the block ends."""
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    yield axes
    atomic_write(path, lambda fragment: figure.savefig(fragment, format="png", dpi=150))


def confusion(path: Path, counts: Sequence[Sequence[int]], class_names: Sequence[str]) -> Path:
    """A confusion matrix (K, K) of counts, each row shaded as shares of its class."""
    matrix = np.asarray(counts)
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    side = min(14.0, max(4.5, 2.2 + 0.32 * len(matrix)))
    with picture(path, side + 1, side) as axes:
        image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        axes.figure.colorbar(image, ax=axes, label="share of the class", shrink=0.8)
        axes.set(xlabel="answer", ylabel="class", title="Confusion")
        if len(matrix) <= NAMED_CLASSES:
            size = 9 if len(matrix) <= COUNTED_CLASSES else 6
            axes.set_xticks(range(len(matrix)), class_names, rotation=90, fontsize=size)
            axes.set_yticks(range(len(matrix)), class_names, fontsize=size)
        if len(matrix) <= COUNTED_CLASSES:
            for row, column in np.argwhere(matrix > 0):
                colour = "white" if shares[row, column] > 0.5 else INK
                axes.text(column, row, matrix[row, column], ha="center", va="center", color=colour, fontsize=8)
    return path


def angle_histogram(path: Path, edges_deg: Sequence[float], counts: Sequence[int], *, marks: dict[str, float]) -> Path:
    """Pairwise angles of class vectors in degrees, with named angles marked."""
    with picture(path, 6.4, 3.6) as axes:
        axes.stairs(counts, edges_deg, fill=True, color=BLUE, alpha=0.8)
        for (name, angle), colour in zip(marks.items(), (INK, ORANGE, "#5a9e6f"), strict=False):
            axes.axvline(angle, color=colour, linestyle="--", linewidth=1.2, label=f"{name} {angle:.1f}")
        axes.set(
            xlabel="angle between two class vectors (degrees)", ylabel="pairs", title="Angles of the class vectors"
        )
        axes.legend(frameon=False, fontsize=8)
    return path
