"""The images of a grid: the images of a split, corrupted when they are needed."""

import functools
from collections.abc import Iterator, Sequence
from math import prod
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from randhead import corruptions, datasets, rng
from randhead.ambient import indices
from randhead.datasets import Split
from randhead.errors import UsageError
from randhead.evaluation import features
from randhead.files import sha256
from randhead.robustness.settings import CLEAN, CorruptionSettings
from randhead.runs import checkpoint

BLOCK_BYTES = 64 << 20  # of clean images in memory at a time


class Source(Protocol):
    """The interface of the images of a grid.

    All cells of a block are read before the next block, so that a source can keep what they have in common.
    """

    @property
    def labels(self) -> Tensor:
        """(N,) int64, on the model's device."""
        ...

    @property
    def batch(self) -> int:
        """Images per batch."""
        ...

    @property
    def block(self) -> int:
        """Images per block, a multiple of `batch`."""
        ...

    def cells(self, name: str, severities: Sequence[int], start: int, stop: int) -> Iterator[tuple[int, Tensor]]:
        """Images start..stop-1 at each severity: yields (severity, uint8 (B, 3, H, W))."""
        ...

    def identity(self) -> dict[str, object]:
        """Everything that the cells depend on besides the model, ready for JSON."""
        ...


class CorruptedImages:
    """The images of a split, corrupted when they are needed.

    The id of an image is its index in the split, so that its noise does not depend on the other images that are used.

    Args:
        split: images and labels.
        settings: settings of the corruptions.
        ids: (N,) int64, ascending indices of the images to use; by default all.
    """

    def __init__(self, split: Split, settings: CorruptionSettings, *, ids: Tensor | None = None):
        self.split, self.settings = split, settings
        self.ids = indices(len(split)) if ids is None else ids.cpu()
        self.labels = split.labels[self.ids.to(split.labels.device)]
        self.batch = features.batch_size(split.images.shape[-1])
        self.block = self.batch * max(1, BLOCK_BYTES // (self.batch * prod(split.images.shape)))
        self._kept: tuple[int, Tensor] | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the images."""
        _, height, width = self.split.images.shape
        return height, width

    @property
    def description(self) -> str:
        """The choice of images, in words."""
        n, of = len(self.ids), len(self.split)
        return f"all {of} images" if n == of else f"{n} of {of} images, stratified by class, seed {self.settings.seed}"

    def cells(self, name: str, severities: Sequence[int], start: int, stop: int) -> Iterator[tuple[int, Tensor]]:
        """As in `Source`."""
        images = self._clean(start, stop)
        if name == CLEAN:
            yield 0, images
        else:
            yield from self.settings.apply(images, name, severities, self.ids[start:stop])

    def identity(self) -> dict[str, object]:
        """As in `Source`.  The keys are those of the files on disk."""
        settings, frost_images = self.settings, self.settings.frost_images
        pictures = {str(i): picture for i, picture in enumerate(frost_images.images)} if frost_images else {}
        return {
            "images": datasets.fingerprint(self.split, self.ids),  # with their labels
            "ids": checkpoint.state_sha256({"ids": self.ids}),
            "textures": checkpoint.state_sha256(pictures),
            "own": settings.custom_sha256,
            "code": _code(),
            "seed": settings.seed,
            "parameters": settings.parameter_set(self.size),
            "frost": settings.frost,
        }

    def _clean(self, start: int, stop: int) -> Tensor:
        first = start // self.block * self.block
        if self._kept is None or self._kept[0] != first:
            self._kept = None  # frees the old block before the new one is read
            order = self.ids[first : first + self.block]
            self._kept = first, torch.cat(list(self.split.images.batches(order, self.batch)))
        return self._kept[1][start - first : stop - first]


def subset(labels: Tensor, limit: int | None, *, seed: int = 0) -> Tensor:
    """Choose images, stratified by class.

    The choice depends only on the seed, and a smaller subset is a part of a larger one: images are taken in the order
    of (rank within their class + 1/2) / size of the class.

    Args:
        labels: (N,) int64.
        limit: number of images; None for all.
        seed: of the choice.

    Returns:
        Ascending indices, int64 (min(limit, N),).

    Raises:
        UsageError: if the limit is below 1.
    """
    n = len(labels)
    if limit is None or limit >= n:
        return indices(n)
    if limit < 1:
        raise UsageError(f"a limit must be at least 1 image, got {limit}")
    return mixed_order(labels, seed=seed)[:limit].sort().values


def mixed_order(labels: Tensor, *, seed: int = 0) -> Tensor:
    """An order in which the first images, however many, are stratified by class: indices (N,) int64.

    Images are in the order of (rank within their class + 1/2) / size of the class, so that the first ones are those of
    `subset` with the same seed.

    Example:
        >>> labels = torch.tensor([0, 0, 0, 1, 1, 1])
        >>> labels[mixed_order(labels)].tolist()
        [0, 1, 0, 1, 0, 1]
    """
    labels = labels.cpu()
    return datasets.stratified_order(labels, indices(len(labels)), seed=seed, purpose="robustness/subset")


@functools.cache
def _code() -> str:
    """A hash of the code of the corruptions, since another version may give other images."""
    files = [*sorted(Path(corruptions.__file__).parent.glob("*.py")), Path(rng.__file__)]
    return sha256("".join(sha256(file) for file in files).encode())
