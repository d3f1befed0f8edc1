"""JPEG compression, 4:2:0, baseline, as Pillow and torchvision (libjpeg) do it.  Hendrycks and Dietterich, ICLR 2019.

On a CPU libjpeg itself does the work, by way of torchvision; elsewhere `_jpeg` gives the same bytes.
"""

import torch
from torch import Tensor
from torchvision.io import decode_jpeg, encode_jpeg

from randhead.corruptions import _jpeg

GROUP, ORDER = "digital", 15
LEVELS = {  # quality
    "32": (80, 65, 58, 50, 40),
    "64": (65, 58, 50, 40, 25),
    "224": (25, 18, 15, 10, 7),
}


def sample(ids: Tensor, size: tuple[int, int], *, seed: int, parameters: str) -> dict[str, Tensor]:
    """Nothing: compression is not random."""
    return {}


def apply(images: Tensor, field: dict[str, Tensor], level: int) -> Tensor:
    """images (B, 3, H, W) uint8 -> the same, compressed with quality `level` and decoded."""
    if images.device.type != "cpu":
        return _jpeg.there_and_back(images, level)
    return torch.stack(decode_jpeg(encode_jpeg(list(images.contiguous()), quality=level)))
