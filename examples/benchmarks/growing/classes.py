"""Analyses of many classes: similarity with 999 permutations, neural collapse, separability and compactness."""

import inspect
from pathlib import Path

from growth import Case

DIM = 512


def similarity(size: int, folder: Path, references: int = 1):
    """Class vectors and class means of `size` classes beside mean images of 32 px, or beside that many references."""
    import torch

    from randhead.analyses import similarity

    draw = torch.Generator().manual_seed(0)
    vectors, means = (torch.randn(size, DIM, generator=draw) for _ in range(2))
    images = [torch.rand(size, 3072, generator=draw) for _ in range(references)]
    as_functions = "sample" in inspect.signature(similarity.measure).parameters

    def given(image):
        return (lambda classes: similarity.cosines(image[classes])) if as_functions else similarity.cosines(image)

    return lambda: similarity.measure(
        vectors, references={f"images{i}": given(image) for i, image in enumerate(images)}, class_means=means
    )


def four_similarities(size: int, folder: Path):
    """Four references, as with another run and a taxonomy."""
    return similarity(size, folder, references=4)


def collapse(size: int, folder: Path):
    """Features of 512 dimensions around random class vectors, 20,000 or five of each class."""
    import scipy.optimize  # noqa: F401  imports are no part of an analysis
    import torch

    from randhead.analyses import collapse

    draw = torch.Generator().manual_seed(0)
    vectors = torch.randn(size, DIM, generator=draw)
    labels = torch.arange(max(20_000, 5 * size)) % size
    features = vectors[labels] + torch.randn(len(labels), DIM, generator=draw)
    return lambda: collapse.measure(features, labels, class_vectors=vectors)


def of_few_samples(name: str, size: int):
    """An analysis of features of 512 dimensions, three of each class, with class vectors."""
    import torch

    from randhead import registry

    draw = torch.Generator().manual_seed(0)
    vectors = torch.randn(size, DIM, generator=draw)
    labels = torch.arange(3 * size) % size
    features = vectors[labels] + torch.randn(len(labels), DIM, generator=draw)
    analysis = registry.load("analyses", name)
    return lambda: analysis.measure(features, labels, class_vectors=vectors)


def separability(size: int, folder: Path):
    """Angles of class means, centred class means and class vectors, and the silhouette of 10,000 samples."""
    return of_few_samples("separability", size)


def compactness(size: int, folder: Path):
    """Cosines, variances and CDNV of all pairs of classes."""
    return of_few_samples("compactness", size)


CASES = {
    "analyze similarity": Case((300, 1_000, 3_000, 10_000), "classes", similarity),
    "analyze similarity, four references": Case((300, 1_000, 3_000, 10_000), "classes", four_similarities),
    "analyze collapse": Case((300, 600, 1_000, 2_000, 10_000), "classes", collapse),
    "analyze separability": Case((1_000, 3_000, 10_000), "classes", separability),
    "analyze compactness": Case((1_000, 3_000, 10_000), "classes", compactness),
}
