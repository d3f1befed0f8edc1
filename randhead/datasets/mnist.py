"""MNIST: 70,000 handwritten digits of 28 x 28 pixels, greyscale; 60,000 for training, 10,000 for testing.

LeCun, Bottou, Bengio and Haffner, "Gradient-based learning applied to document recognition", Proc. IEEE 86(11), 1998.
"""

from dataclasses import replace

from torchvision.datasets import MNIST

from randhead.datasets import Dataset, Options
from randhead.datasets._download import Source
from randhead.datasets._torchvision import by_train_flag, load_torchvision

SOURCES = [
    Source(f"MNIST/raw/{file}", tuple(mirror + file for mirror in MNIST.mirrors), md5) for file, md5 in MNIST.resources
]


def load(options: Options) -> Dataset:
    """Load MNIST.  Raises DataError if it is missing and cannot be downloaded."""
    mnist = load_torchvision("mnist", by_train_flag(MNIST), SOURCES, options, class_names=tuple("0123456789"))
    return replace(mnist, mirrors=False)
