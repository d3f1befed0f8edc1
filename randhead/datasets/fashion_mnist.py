"""Fashion-MNIST: 70,000 greyscale images of clothing, 28 x 28 pixels, in 10 classes; 10,000 of them for testing.

Xiao, Rasul and Vollgraf, "Fashion-MNIST: a novel image dataset for benchmarking machine learning algorithms"
(arXiv 1708.07747).
"""

from torchvision.datasets import FashionMNIST

from randhead.datasets import Dataset, Options
from randhead.datasets._download import Source
from randhead.datasets._torchvision import by_train_flag, load_torchvision

SOURCES = [
    Source(f"FashionMNIST/raw/{file}", tuple(mirror + file for mirror in FashionMNIST.mirrors), md5)
    for file, md5 in FashionMNIST.resources
]


def load(options: Options) -> Dataset:
    """Load Fashion-MNIST.  Raises DataError if it is missing and cannot be downloaded."""
    return load_torchvision(
        "fashion_mnist", by_train_flag(FashionMNIST), SOURCES, options, class_names=FashionMNIST.classes
    )
