"""CIFAR-100: 60,000 colour photographs of 32 x 32 pixels in 100 classes; 50,000 for training, 10,000 for testing.

Krizhevsky, "Learning multiple layers of features from tiny images", 2009.  https://www.cs.toronto.edu/~kriz/cifar.html
"""

from torchvision.datasets import CIFAR100

from randhead.datasets import Dataset, Options
from randhead.datasets._download import Source
from randhead.datasets._torchvision import by_train_flag, load_torchvision

SOURCES = [Source(CIFAR100.filename, (CIFAR100.url,), CIFAR100.tgz_md5)]


def load(options: Options) -> Dataset:
    """Load CIFAR-100 with its 100 fine classes.  Raises DataError if it is missing and cannot be downloaded."""
    return load_torchvision("cifar100", by_train_flag(CIFAR100), SOURCES, options)
