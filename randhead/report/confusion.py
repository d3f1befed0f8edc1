"""The picture of a confusion matrix."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from randhead.report.canvas import LARGEST, heat_map, look, png

COUNTED_CLASSES = 20  # with more classes the counts cannot be read


def draw(path: Path, counts: Sequence[Sequence[int]], class_names: Sequence[str]) -> Path:
    """Write a confusion matrix (K, K) of counts as PNG; the colour is the share of the row."""
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
    return png(figure, path)
