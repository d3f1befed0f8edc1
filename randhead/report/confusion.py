"""The picture of a confusion matrix."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from randhead.report.canvas import LARGEST, heat_map, look, name_run, png

COUNTED_CLASSES = 20  # with more classes the counts cannot be read


def draw(path: Path, counts: Sequence[Sequence[int]], class_names: Sequence[str], *, run: str) -> Path:
    """Write the confusion matrix (K, K) of a run, in counts, as PNG; the colour is the share of the row."""
    matrix = np.asarray(counts)
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    texts = np.where(matrix > 0, matrix.astype(str), "") if len(matrix) <= COUNTED_CLASSES else None
    with look():
        figure = heat_map(
            shares,
            class_names,
            label="share of the class",
            colours="Blues",
            limits=(0, 1),
            texts=texts,
            cell=0.32,
            unnamed=LARGEST,
        )
        figure.axes[0].set(xlabel="predicted class", ylabel="class", title="Confusion matrix")
        name_run(figure, run)
    return png(figure, path)
