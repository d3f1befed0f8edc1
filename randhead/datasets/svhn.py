"""SVHN: 99,289 house numbers cut to one digit, 32 x 32 pixels, in colour; 73,257 to train with, 26,032 to test.

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
    """SVHN.  Raises DataError if it is missing and cannot be downloaded."""
    svhn = load_torchvision("svhn", SVHN, SOURCES, options, class_names=tuple("0123456789"))
    return replace(svhn, mirrors=False)
