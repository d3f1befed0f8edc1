"""SVHN: 99,289 digits from house numbers, 32 x 32 pixels, in colour; 73,257 for training, 26,032 for testing.

Netzer, Wang, Coates, Bissacco, Wu and Ng, "Reading digits in natural images with unsupervised feature learning",
NIPS workshop 2011.  http://ufldl.stanford.edu/housenumbers/
"""

from dataclasses import replace

from torchvision.datasets import SVHN

from randhead.datasets import Dataset, Options
from randhead.datasets._download import Source
from randhead.datasets._torchvision import load_torchvision

SOURCES = [Source(file, (url,), md5) for url, file, md5 in (SVHN.split_list["train"], SVHN.split_list["test"])]


def load(options: Options) -> Dataset:
    """Load SVHN.  Raises DataError if it is missing and cannot be downloaded."""
    svhn = load_torchvision("svhn", SVHN, SOURCES, options, class_names=tuple("0123456789"))
    return replace(svhn, mirrors=False)
