"""JPEG compression, 4:2:0, baseline, as libjpeg does it.  Hendrycks and Dietterich, ICLR 2019.

`_jpeg` computes the same bytes as libjpeg with tensor operations.  On a CPU this is faster only for small images.  For
larger ones Pillow encodes and simplejpeg decodes, with the same result (simplejpeg encodes with another transform).
"""

import io

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from randhead.corruptions import _jpeg
from randhead.jpeg_library import simplejpeg

GROUP, ORDER = "digital", 15
SEVERITY_PARAMETERS = {  # quality
    "32": (80, 65, 58, 50, 40),
    "64": (65, 58, 50, 40, 25),
    "224": (25, 18, 15, 10, 7),
}
SMALL = 36 * 36  # pixels up to which tensor operations are faster on a CPU


def sample(ids: Tensor, size: tuple[int, int], *, seed: int, parameter_set: str) -> dict[str, Tensor]:
    """Nothing: compression is not random."""
    return {}


def apply(images: Tensor, noise: dict[str, Tensor], quality: int) -> Tensor:
    """Images (B, 3, H, W) uint8 -> the same, compressed with JPEG `quality` and decoded."""
    if images.device.type != "cpu" or images.shape[2] * images.shape[3] <= SMALL:
        return _jpeg.there_and_back(images, quality)
    return by_libraries(images, quality)


def by_libraries(images: Tensor, quality: int) -> Tensor:
    """As `_jpeg.there_and_back`."""
    out = np.empty(images.shape, dtype=np.uint8)
    for channels, target in zip(images.numpy(), out, strict=True):
        file = io.BytesIO()
        Image.merge("RGB", [Image.fromarray(channel) for channel in channels]).save(file, "JPEG", quality=quality)
        decoded = _decoded(file)
        for i in range(3):  # in one step this takes twice as long
            target[i] = decoded[..., i]
    return torch.from_numpy(out)


def _decoded(file: io.BytesIO) -> np.ndarray:
    """A JPEG as (H, W, 3) uint8."""
    if simplejpeg is None:
        return np.asarray(Image.open(file))
    return simplejpeg.decode_jpeg(file.getvalue(), "RGB", fastdct=False, fastupsample=False)
