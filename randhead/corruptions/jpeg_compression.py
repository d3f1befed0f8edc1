"""JPEG compression, 4:2:0, baseline, as libjpeg does it.  Hendrycks and Dietterich, ICLR 2019.

`_jpeg` computes the same bytes as libjpeg with tensor operations, which any device has.  On a CPU Pillow encodes and
simplejpeg decodes, since each is the faster of the two that gives these bytes (simplejpeg encodes with another
transform).
"""

import io

import numpy as np
import simplejpeg
import torch
from PIL import Image
from torch import Tensor

from randhead.corruptions import _jpeg

GROUP, ORDER = "digital", 15
SEVERITY_PARAMETERS = {  # quality
    "32": (80, 65, 58, 50, 40),
    "64": (65, 58, 50, 40, 25),
    "224": (25, 18, 15, 10, 7),
}


def sample(ids: Tensor, size: tuple[int, int], *, seed: int, parameter_set: str) -> dict[str, Tensor]:
    """Nothing: compression is not random."""
    return {}


def apply(images: Tensor, noise: dict[str, Tensor], quality: int) -> Tensor:
    """Images (B, 3, H, W) uint8 -> the same, compressed with JPEG `quality` and decoded."""
    if images.device.type != "cpu":
        return _jpeg.there_and_back(images, quality)
    out = np.empty(images.shape, dtype=np.uint8)
    for channels, target in zip(images.numpy(), out, strict=True):
        decoded = by_libjpeg(channels, quality)
        for i in range(3):  # in one step this takes twice as long
            target[i] = decoded[..., i]
    return torch.from_numpy(out)


def by_libjpeg(channels: np.ndarray, quality: int) -> np.ndarray:
    """An image (3, H, W) uint8, encoded and decoded: (H, W, 3)."""
    file = io.BytesIO()
    Image.merge("RGB", [Image.fromarray(channel) for channel in channels]).save(file, "JPEG", quality=quality)
    decoded: np.ndarray = simplejpeg.decode_jpeg(file.getvalue(), "RGB", fastdct=False, fastupsample=False)
    return decoded
