"""Handwritten digits: 1,797 greyscale images of 8 x 8 pixels.  They come with scikit-learn: no download is needed.

They are the test set of Alpaydin and Kaynak, "Optical recognition of handwritten digits", UCI 1998.  There is no
published split: a fifth of each class becomes the test split, drawn by `split_seed`.
"""

from dataclasses import replace

import torch
from sklearn.datasets import load_digits

from randhead.ambient import indices
from randhead.datasets import Dataset, Options
from randhead.datasets._build import build_arrays

TEST_SHARE = 0.2
INKS = 16  # the largest of the grey levels 0..16


def load(options: Options) -> Dataset:
    """Load the digits, with grey levels scaled to 0..255."""
    bundled = load_digits()
    levels = torch.from_numpy(bundled.images).to(torch.int64)
    pixels = ((levels * 255 + INKS // 2) // INKS).to(torch.uint8)[:, None].expand(-1, 3, -1, -1)
    labels = torch.from_numpy(bundled.target).to(torch.int64)
    rows = {"train": indices(len(labels))}
    digits = build_arrays("digits", tuple("0123456789"), pixels, labels, rows, options, test_share=TEST_SHARE)
    return replace(digits, mirrors=False)
