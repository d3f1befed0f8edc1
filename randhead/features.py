"""One pass of a model over images: features, logits and labels, batch by batch."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from randhead import augment
from randhead.datasets import Split
from randhead.errors import RandheadError
from randhead.model import Classifier

PIXELS_A_BATCH = 512 * 32 * 32  # keeps a batch near the cache on a CPU, and is plenty for a GPU
LARGEST_BATCH = 1024


class StopRequested(RandheadError):
    """The caller's `stop` answered yes, between two batches."""

    exit_code = 130


@dataclass(frozen=True)
class Inputs:
    """How uint8 images become what a backbone takes: moved, normalised, channels last."""

    mean: Tensor  # (3,), of pixels in [0, 1]
    std: Tensor
    device: torch.device
    precision: torch.dtype

    def prepare(self, images: Tensor) -> Tensor:
        """uint8 (B, 3, H, W) -> float (B, 3, H, W) on the device."""
        images = images.to(self.device, non_blocking=True)
        return augment.normalise(images, self.mean, self.std, channels_last=True)

    def autocast(self) -> torch.autocast:
        """The context in which a backbone runs."""
        enabled = self.precision != torch.float32
        return torch.autocast(self.device.type, dtype=self.precision if enabled else torch.bfloat16, enabled=enabled)


def extract(
    model: Classifier, split: Split, inputs: Inputs, *, stop: Callable[[], bool] = lambda: False
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Embedded features (B, D), logits (B, K), both float32, and labels (B,), in the order of the split.

    The model is put into evaluation mode.  Raises StopRequested where `stop` answers True.
    """
    model.eval()
    order = torch.arange(len(split))
    size = batch_size(split.images.shape[-1])
    for images, labels in zip(split.images.batches(order, size), split.labels.split(size), strict=True):
        if stop():
            raise StopRequested("stopped while evaluating")
        yield *embed(model, images, inputs), labels.to(inputs.device)


def embeddings(model: Classifier, split: Split, inputs: Inputs, *, stop: Callable[[], bool] = lambda: False) -> Tensor:
    """Features as they meet the class vectors, without logits: (N, D) float32 on the CPU.

    For heads with more classes than there is memory for logits.  Raises StopRequested where `stop` answers True.
    """
    model.eval()
    parts = []
    for images in split.images.batches(torch.arange(len(split)), batch_size(split.images.shape[-1])):
        if stop():
            raise StopRequested("stopped while evaluating")
        with torch.no_grad(), inputs.autocast():
            parts.append(model.embed(inputs.prepare(images)).float().cpu())
    return torch.cat(parts)


@torch.no_grad()
def embed(model: Classifier, images: Tensor, inputs: Inputs) -> tuple[Tensor, Tensor]:
    """uint8 images (B, 3, H, W) -> features as they meet the class vectors (B, D), logits (B, K), float32."""
    with inputs.autocast():
        features = model.embed(inputs.prepare(images)).float()
    return features, model.head.score(features)


def batch_size(image_size: int) -> int:
    """Images a batch in evaluation.  It depends on their size alone, so that results do not depend on the machine."""
    return max(1, min(LARGEST_BATCH, PIXELS_A_BATCH // image_size**2))


def gather(batches: Iterator[tuple[Tensor, Tensor, Tensor]]) -> tuple[Tensor, Tensor, Tensor]:
    """All features (N, D), logits (N, K) and labels (N,) of a pass, on the CPU."""
    parts = [[part.cpu() for part in batch] for batch in batches]
    features, logits, labels = (torch.cat(column) for column in zip(*parts, strict=True))
    return features, logits, labels
