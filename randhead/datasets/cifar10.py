"""CIFAR-10: 60,000 colour photographs of 32 x 32 pixels in 10 classes; 50,000 for training, 10,000 for testing.

Krizhevsky, "Learning multiple layers of features from tiny images", 2009.  https://www.cs.toronto.edu/~kriz/cifar.html
"""

from torchvision.datasets import CIFAR10

from randhead.datasets import Dataset, Options
from randhead.datasets._download import Source
from randhead.datasets._torchvision import by_train_flag, load_torchvision

CLASS_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SOURCES = [Source(CIFAR10.filename, (CIFAR10.url,), CIFAR10.tgz_md5)]


def load(options: Options) -> Dataset:
    """Load CIFAR-10.  Raises DataError if it is missing and cannot be downloaded."""
    return load_torchvision("cifar10", by_train_flag(CIFAR10), SOURCES, options, class_names=CLASS_NAMES)
