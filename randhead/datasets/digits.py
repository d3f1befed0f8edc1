"""Handwritten digits: 1,797 greyscale images of 8 x 8 pixels.  They come with scikit-learn: no download is needed.

They are the test set of Alpaydin and Kaynak, "Optical recognition of handwritten digits", UCI 1998.  There is no
published split: a fifth of each class becomes the test split, drawn by `split_seed`.
"""

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from randhead.ambient import indices
from randhead.datasets import Dataset, Options
from randhead.datasets._build import build_arrays
from randhead.errors import DataFileError

TEST_SHARE = 0.2
SIDE = 8  # pixels
INKS = 16  # the largest of the grey levels 0..16


def load(options: Options) -> Dataset:
    """Load the digits, with grey levels scaled to 0..255."""
    table = torch.from_numpy(_table())
    levels, labels = table[:, :-1].reshape(-1, SIDE, SIDE), table[:, -1]
    pixels = ((levels * 255 + INKS // 2) // INKS).to(torch.uint8)[:, None].expand(-1, 3, -1, -1)
    rows = {"train": indices(len(labels))}
    digits = build_arrays("digits", tuple("0123456789"), pixels, labels, rows, options, test_share=TEST_SHARE)
    return replace(digits, mirrors=False)


def _table() -> np.ndarray:
    """The file of scikit-learn: per image 64 grey levels and the label, (1797, 65) int64.

    Its folder is found without importing it, which takes a second and 80 MiB.
    """
    package = find_spec("sklearn")
    if package is None or package.origin is None:
        raise DataFileError("the digits come with scikit-learn: it is missing", hint="pip install scikit-learn")
    path = Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"
    try:
        return np.loadtxt(path, dtype=np.int64, delimiter=",").reshape(-1, SIDE * SIDE + 1)
    except (OSError, EOFError, ValueError) as error:
        hint = "install scikit-learn again: pip uninstall scikit-learn, then pip install scikit-learn"
        raise DataFileError(f"{path}: the digits cannot be read ({error})", hint=hint) from None
