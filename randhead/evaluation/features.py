"""One pass of a model over images: features, and what the head says of them.

Logits (N, K) are never made: see `losses.HeadOutput`.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from randhead.datasets import Split
from randhead.errors import StopRequested
from randhead.losses import HeadOutput
from randhead.model import Classifier
from randhead.preprocess import Preprocess

PIXELS_PER_BATCH = 512 * 32 * 32  # keeps a batch near the cache on a CPU, and is plenty for a GPU
LARGEST_BATCH = 1024
SCORED_AT_ONCE = 2048  # class vectors that are not materialised are drawn once per so many samples


def extract(
    model: Classifier, split: Split, preprocess: Preprocess, *, should_stop: Callable[[], bool] = lambda: False
) -> tuple[Tensor, HeadOutput]:
    """Features and what the head says of them, on the CPU, in the order of the split.

    Args:
        model: a classifier, which is put into evaluation mode.
        split: N images with their labels.
        preprocess: how the images become what the model takes.
        should_stop: asked between batches.

    Returns:
        Features as the class vectors see them, (N, D) float32, and the output of the head.

    Raises:
        StopRequested: if `should_stop` returns True.
    """
    found = embeddings(model, split, preprocess, should_stop=should_stop)
    parts: list[list[Tensor]] = []
    for features, labels in zip(found.split(SCORED_AT_ONCE), split.labels.split(SCORED_AT_ONCE), strict=True):
        if parts:  # the features took a long time: they are not thrown away before the first scores
            _check(should_stop)
        scores = model.head.output(features.to(preprocess.device), labels.to(preprocess.device))
        parts.append([column.cpu() for column in scores])
    return found, HeadOutput(*map(torch.cat, zip(*parts, strict=True)))


def embeddings(
    model: Classifier, split: Split, preprocess: Preprocess, *, should_stop: Callable[[], bool] = lambda: False
) -> Tensor:
    """Features as the class vectors see them: (N, D) float32 on the CPU.  The model is put into evaluation mode.

    Raises:
        StopRequested: if `should_stop` returns True.
    """
    model.eval()
    parts = []
    for images in split.images.batches(torch.arange(len(split)), batch_size(split.images.shape[-1])):
        _check(should_stop)
        parts.append(embed(model, images, preprocess).cpu())
    return torch.cat(parts)


@torch.no_grad()
def embed(model: Classifier, images: Tensor, preprocess: Preprocess) -> Tensor:
    """Features of a batch as the class vectors see them: uint8 (B, 3, H, W) -> (B, D) float32."""
    with preprocess.autocast():
        return model.embed(preprocess.prepare(images)).float()


def batch_size(image_size: int) -> int:
    """Images per batch in evaluation.  It depends on their size only: results do not depend on the machine."""
    return max(1, min(LARGEST_BATCH, PIXELS_PER_BATCH // image_size**2))


def _check(should_stop: Callable[[], bool]) -> None:
    if should_stop():
        raise StopRequested("stopped during the evaluation")
