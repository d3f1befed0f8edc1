"""One pass of a model over images: features, and the output of the head for them.

The logits (N, K) are never in memory at once: see `losses.HeadOutput`.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from randhead.ambient import indices
from randhead.datasets import Split
from randhead.errors import StopRequested
from randhead.losses import HeadOutput
from randhead.model import Classifier
from randhead.preprocess import Preprocess

PIXELS_PER_BATCH = 512 * 32 * 32  # small enough for the cache of a CPU, and large enough for a GPU
LARGEST_BATCH = 1024
SCORED_AT_ONCE = 2048  # samples for which class vectors that are not materialised are drawn once


def extract(
    model: Classifier, split: Split, preprocess: Preprocess, *, should_stop: Callable[[], bool] = lambda: False
) -> tuple[Tensor, HeadOutput]:
    """Compute the features and the output of the head, on the CPU, in the order of the split.

    Args:
        model: a classifier, which is put into evaluation mode.
        split: N images with their labels.
        preprocess: turns the images into the input of the model.
        should_stop: called between batches.

    Returns:
        Features after the neck, as the head scores them, (N, D) float32, and the output of the head.

    Raises:
        StopRequested: if `should_stop` returns True.
    """
    found = embeddings(model, split, preprocess, should_stop=should_stop)
    parts: list[list[Tensor]] = []
    for features, labels in zip(found.split(SCORED_AT_ONCE), split.labels.split(SCORED_AT_ONCE), strict=True):
        if parts:  # the features took a long time: score at least one part before stopping
            _check(should_stop)
        scores = model.head.output(features.to(preprocess.device), labels.to(preprocess.device))
        parts.append([column.cpu() for column in scores])
    return found, HeadOutput(*map(torch.cat, zip(*parts, strict=True)))


def embeddings(
    model: Classifier,
    split: Split,
    preprocess: Preprocess,
    *,
    ids: Tensor | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Tensor:
    """Features after the neck: (N, D) float32 on the CPU.  The model is put into evaluation mode.

    Args:
        model: a classifier.
        split: images.
        preprocess: turns the images into the input of the model.
        ids: the images to embed, by index in the split, (N,) int64; by default all.
        should_stop: called between batches.

    Raises:
        StopRequested: if `should_stop` returns True.
    """
    model.eval()
    parts = []
    ids = indices(len(split)) if ids is None else ids
    for images in split.images.batches(ids, batch_size(split.images.shape[-1])):
        _check(should_stop)
        parts.append(embed(model, images, preprocess).cpu())
    return torch.cat(parts)


@torch.no_grad()
def embed(model: Classifier, images: Tensor, preprocess: Preprocess) -> Tensor:
    """Features of a batch after the neck: uint8 (B, 3, H, W) -> (B, D) float32."""
    with preprocess.autocast():
        return model.embed(preprocess.prepare(images)).float()


def batch_size(image_size: int) -> int:
    """Images per batch in evaluation.  It depends only on their size, so that results do not depend on the machine."""
    return max(1, min(LARGEST_BATCH, PIXELS_PER_BATCH // image_size**2))


def _check(should_stop: Callable[[], bool]) -> None:
    if should_stop():
        raise StopRequested("stopped during the evaluation")
