"""Nearest neighbours among many features: retrieval, k-NN accuracy, and compatibility of several runs."""

from pathlib import Path

from growth import Case

DIM = 512
IMAGES = 3_000  # of each run


def features_of(size: int, stream: int = 0, dim: int = DIM, classes: int = 100):
    """Features (size, dim) float32 around random class vectors, each in one class of 100, and their labels."""
    import torch

    from randhead import rng

    labels = torch.arange(size) % classes
    noise = rng.normals(0, "growth/noise", torch.arange(size), dim, stream=stream)
    return rng.normals(0, "growth/vectors", torch.arange(classes), dim)[labels] + 2 * noise, labels


def retrieval(size: int, folder: Path, dim: int = DIM, classes: int = 100):
    """Recall@K, R-precision and mAP@R of all features among each other."""
    from randhead.analyses import _retrieval

    features, labels = features_of(size, dim=dim, classes=classes)
    return lambda: _retrieval.retrieve(features, labels)


def retrieval_of_few_dimensions(size: int, folder: Path):
    """The same of features with 128 dimensions."""
    return retrieval(size, folder, dim=128)


def retrieval_of_few_classes(size: int, folder: Path):
    """The same with 10 classes, so that a tenth of all features is ranked for each."""
    return retrieval(size, folder, classes=10)


def nearest_20(size: int, folder: Path):
    """1-NN and 20-NN accuracy of other features among these, as many."""
    from randhead.analyses import transfer

    features, labels = features_of(size)
    queries, _ = features_of(size, stream=1)
    return lambda: transfer.neighbours(queries, labels, features, labels, num_classes=100)


def compatibility(size: int, folder: Path):
    """All pairs of `size` runs, each with the features of 3,000 images."""
    from randhead.analyses import compatibility

    runs = [features_of(IMAGES, stream=stream)[0] for stream in range(size)]
    _, labels = features_of(IMAGES)
    return lambda: compatibility.measure(runs, labels)


SIZES = (3_000, 10_000, 30_000)
CASES = {
    "retrieval": Case(SIZES, "features", retrieval),
    "retrieval, 128 dimensions": Case(SIZES, "features", retrieval_of_few_dimensions),
    "retrieval, 10 classes": Case(SIZES, "features", retrieval_of_few_classes),
    "k-NN accuracy": Case(SIZES, "features", nearest_20),
    "analyze compatibility": Case((2, 4, 8), "runs", compatibility),
}
