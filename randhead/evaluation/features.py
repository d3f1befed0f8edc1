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

PIXELS_A_BATCH = 512 * 32 * 32  # keeps a batch near the cache on a CPU, and is plenty for a GPU
LARGEST_BATCH = 1024
SCORED_AT_ONCE = 2048  # class vectors that are not held are drawn once for so many samples


def extract(
    model: Classifier, split: Split, preprocess: Preprocess, *, stop: Callable[[], bool] = lambda: False
) -> tuple[Tensor, HeadOutput]:
    """Features as they meet the class vectors (N, D) float32, and the head's answers: on the CPU, in the split's order.

    Raises StopRequested where `stop` answers True.
    """
    found, parts = embeddings(model, split, preprocess, stop=stop), []
    for features, labels in zip(found.split(SCORED_AT_ONCE), split.labels.split(SCORED_AT_ONCE), strict=True):
        if parts:  # the features took a long time: they are not thrown away before the first scores
            _check(stop)
        answers = model.head.output(features.to(preprocess.device), labels.to(preprocess.device))
        parts.append([column.cpu() for column in answers])
    return found, HeadOutput(*map(torch.cat, zip(*parts, strict=True)))


def embeddings(
    model: Classifier, split: Split, preprocess: Preprocess, *, stop: Callable[[], bool] = lambda: False
) -> Tensor:
    """Features as they meet the class vectors: (N, D) float32 on the CPU.  The model is put into evaluation mode.

    Raises StopRequested where `stop` answers True.
    """
    model.eval()
    parts = []
    for images in split.images.batches(torch.arange(len(split)), batch_size(split.images.shape[-1])):
        _check(stop)
        parts.append(embed(model, images, preprocess).cpu())
    return torch.cat(parts)


@torch.no_grad()
def embed(model: Classifier, images: Tensor, preprocess: Preprocess) -> Tensor:
    """uint8 images (B, 3, H, W) -> features as they meet the class vectors (B, D) float32."""
    with preprocess.autocast():
        return model.embed(preprocess.prepare(images)).float()


def batch_size(image_size: int) -> int:
    """Images a batch in evaluation.  It depends on their size alone, so that results do not depend on the machine."""
    return max(1, min(LARGEST_BATCH, PIXELS_A_BATCH // image_size**2))


def _check(stop: Callable[[], bool]) -> None:
    if stop():
        raise StopRequested("stopped while evaluating")
