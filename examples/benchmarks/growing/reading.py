"""Reading images: a folder of JPEG files, for the first time and again, and channel statistics of images in memory."""

import os
import time
from pathlib import Path

from growth import Case


def folder_of_images(size: int, folder: Path) -> Path:
    """A folder of `size` JPEG files of 32 px in ten classes, smooth so that they compress like photographs."""
    import numpy as np
    from PIL import Image

    draw = np.random.default_rng(0)
    for k in range(10):
        (folder / "images" / f"class{k}").mkdir(parents=True)
    for i in range(size):
        small = Image.fromarray(draw.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        path = folder / "images" / f"class{i % 10}" / f"{i:06}.jpg"
        small.resize((32, 32), Image.Resampling.BICUBIC).save(path, quality=90)
    return folder / "images"


def read(size: int, folder: Path):
    """`datasets.load` of a folder that nobody has read."""
    os.environ["RANDHEAD_CACHE"] = str(folder / "cache")
    from randhead import datasets

    images = folder_of_images(size, folder)
    return lambda: datasets.load(images, workers=1)


def read_again(size: int, folder: Path):
    """`datasets.load` of a folder that was read before."""
    read_once = read(size, folder)
    time.sleep(3)  # files that have just been written are not kept
    read_once()
    return read_once


def channel_statistics(size: int, folder: Path):
    """Mean and deviation of `size` resident images of 64 px."""
    import torch

    from randhead import datasets

    pixels = torch.randint(0, 256, (size, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    images = datasets.TensorImages(pixels, torch.arange(size))
    return lambda: datasets.channel_statistics(images)


CASES = {
    "read a folder": Case((1_000, 10_000, 50_000), "files", read),
    "read a folder again": Case((1_000, 10_000, 50_000), "files", read_again),
    "channel statistics": Case((2_000, 8_000, 32_000), "images", channel_statistics),
}
