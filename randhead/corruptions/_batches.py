"""How a batch of images is divided, and what type its result has."""

import sys
from collections.abc import Iterator

from torch import Tensor

CHUNK_VALUES = 1 << 18  # values per chunk on a CPU: 1 MB of float32, so that a chain of operations stays in the cache


def chunks(images: Tensor) -> Iterator[slice]:
    """Slices of a batch: of limited size on a CPU, the whole batch on other devices."""
    step = (
        len(images) if images.device.type != "cpu" else max(1, CHUNK_VALUES // images[0].numel() if len(images) else 1)
    )
    return (slice(start, start + step) for start in range(0, len(images), max(step, 1)))


def like(images: Tensor, out: Tensor) -> Tensor:
    """The result as a `tv_tensors.Image` or the like, if the images are; torchvision is then imported already."""
    tv_tensors = sys.modules.get("torchvision.tv_tensors")
    if tv_tensors is None or not isinstance(images, tv_tensors.TVTensor):
        return out
    return tv_tensors.wrap(out, like=images)
