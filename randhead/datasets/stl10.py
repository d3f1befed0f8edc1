"""STL-10: 13,000 labelled colour photographs of 96 x 96 pixels in 10 classes; 5,000 for training, 8,000 for testing.

Coates, Lee and Ng, "An analysis of single-layer networks in unsupervised feature learning", AISTATS 2011.
https://cs.stanford.edu/~acoates/stl10/.  The archive (2.6 GB) also has 100,000 images without labels, unused here.
"""

from torchvision.datasets import STL10

from randhead.datasets import Dataset, Options
from randhead.datasets._download import Source
from randhead.datasets._torchvision import load_torchvision

CLASS_NAMES = ("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck")
SOURCES = [Source(STL10.filename, (STL10.url,), STL10.tgz_md5)]


def load(options: Options) -> Dataset:
    """Load STL-10.  Raises DataError if it is missing and cannot be downloaded."""
    return load_torchvision("stl10", STL10, SOURCES, options, class_names=CLASS_NAMES)
