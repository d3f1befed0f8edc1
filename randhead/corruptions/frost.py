"""Frost: a x + b times a crop of a picture of frost.  Hendrycks and Dietterich, ICLR 2019.

The origin of the reference's pictures is unknown, so they are not part of this package.  `load_frost_images` reads
them, or any others, from a folder; by default they are procedural pictures.
"""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from randhead import ambient, rng
from randhead.arguments import check_type
from randhead.corruptions._bytes import clipped
from randhead.corruptions._frost_images import procedural
from randhead.errors import DataError

GROUP, ORDER = "weather", 9
SEVERITY_PARAMETERS = {  # a, b
    "32": ((1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45)),
    "64": ((1, 0.3), (0.9, 0.4), (0.8, 0.45), (0.75, 0.5), (0.7, 0.55)),
    "224": ((1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75)),
}
SCALES = {"32": 0.2, "64": 0.3, "224": 1.0}  # of the pictures
# MD5 of frost1.png, frost2.png, frost3.png, frost4.jpg, frost5.jpg.  The sixth picture is never drawn.
ORIGINALS = (
    "6ead634ace1f366d77e87078b465863c",
    "98f0d2b1d74a048d3bc9c7ecfd886939",
    "b3ed8eb147824261888e730f916c0d8b",
    "d70b9d6aa0b1fe7bd8133b113787e078",
    "50984ae2c871b7df2c28f1d71ca460a0",
)
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")


@dataclass(frozen=True, eq=False)
class FrostImages:
    """Pictures of frost, uint8 (3, h, w) each, and where they are from: "originals", "folder" or "procedural"."""

    name: str
    images: tuple[Tensor, ...]


def sample(
    ids: Tensor, size: tuple[int, int], *, seed: int, parameter_set: str, frost_images: FrostImages | None = None
) -> dict[str, Tensor]:
    """The overlay (B, 3, H, W) uint8: a crop of one of the frost images, by default of the procedural ones."""
    pictures = _fitted(frost_images or procedural_frost_images(), SCALES[parameter_set], size)
    words = rng.words(seed, "corruptions/frost", ids, 3)
    heights, widths, offsets = (
        torch.tensor(values, dtype=torch.int64, device=ids.device)
        for values in zip(*_layout([(p.shape[1], p.shape[2]) for p in pictures]), strict=True)
    )
    which = words[:, 0] * len(pictures) >> 32
    height, width, offset = heights[which], widths[which], offsets[which]
    # The last position is left out, as in the reference; a picture of the size of the image has one position.
    top = words[:, 1] * (height - size[0]).clamp_min(1) >> 32
    left = words[:, 2] * (width - size[1]).clamp_min(1) >> 32
    flat = torch.cat([p.flatten() for p in pictures]).to(ids.device)
    runs = flat.as_strided((len(flat) - size[1] + 1, size[1]), (1, 1))
    plane = offset[:, None] + torch.arange(3, dtype=torch.int64, device=ids.device) * (height * width)[:, None]
    row = (top[:, None] + torch.arange(size[0], dtype=torch.int64, device=ids.device)) * width[:, None] + left[:, None]
    start = plane[:, :, None] + row[:, None]
    return {"overlay": runs.index_select(0, start.flatten()).view(-1, 3, *size)}


def apply(images: Tensor, noise: dict[str, Tensor], parameters: tuple[float, float]) -> Tensor:
    """Images (B, 3, H, W) uint8 -> the same, times parameters[0], plus parameters[1] times the overlay."""
    kept, added = parameters
    # float64, since many exact results are integers, so that the rounding of the reference decides.
    return clipped(images.to(torch.float64).mul_(kept).add_(noise["overlay"].to(torch.float64).mul_(added)))


def load_frost_images(folder: str | Path | None) -> FrostImages:
    """Read the pictures of frost in a folder.

    Args:
        folder: a folder with the five pictures of the reference, which are then used, or with any others; None for
            the procedural ones.

    Returns:
        The pictures and their source.

    Raises:
        DataError: for a folder without pictures, and for a picture that cannot be read or has more than 8 bits.
    """
    if folder is None:
        return procedural_frost_images()
    check_type("folder", folder, (str, os.PathLike), "a path")
    folder = Path(folder)
    files = sorted(f for f in folder.iterdir() if f.suffix.lower() in SUFFIXES) if folder.is_dir() else []
    if not files:
        raise DataError(f"{folder}: no pictures of frost", hint=f"a folder of {', '.join(SUFFIXES)} files is needed")
    known = {hashlib.md5(f.read_bytes(), usedforsecurity=False).hexdigest(): f for f in files}
    if all(digest in known for digest in ORIGINALS):
        return FrostImages("originals", tuple(_read(known[digest]) for digest in ORIGINALS))
    return FrostImages("folder", tuple(_read(f) for f in files))


@ambient.kept(maxsize=None)
def procedural_frost_images() -> FrostImages:
    """Five procedural pictures of 512 x 512 pixels, always the same."""
    return FrostImages("procedural", procedural())


def _read(file: Path) -> Tensor:
    try:
        with Image.open(file) as image:
            if image.mode.startswith(("I", "F")):  # Pillow makes almost all of their values white
                hint = "convert it to 8 bits, or remove it from the folder"
                raise DataError(f"{file}: grey pictures of more than 8 bits cannot be used", hint=hint)
            return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1).contiguous()
    except DataError:
        raise
    except Exception as error:  # decoders raise many kinds of errors for damaged bytes
        raise DataError(f"{file}: not a readable picture ({error})", hint="remove it from the folder") from error


@ambient.kept(maxsize=8)
def _fitted(frost_images: FrostImages, scale: float, size: tuple[int, int]) -> tuple[Tensor, ...]:
    """Pictures at the scale of a parameter set, but at least as large as an image."""
    fitted = []
    for picture in frost_images.images:
        height, width = (round(scale * side) for side in picture.shape[1:])
        more = max(1.0, size[0] / height, size[1] / width)
        if more > 1 or scale != 1:
            picture = _resized(picture, scale * more, size)
        fitted.append(picture)
    return tuple(fitted)


def _resized(picture: Tensor, factor: float, least: tuple[int, int]) -> Tensor:
    """Resize bilinearly in OpenCV's fixed point: weights of 11 bits, 4 bits dropped between the passes."""
    (top, bottom, down), (left, right, across) = (
        _weights(old, factor, smallest) for old, smallest in zip(picture.shape[1:], least, strict=True)
    )
    values = picture.to(torch.int32)
    rows = (values[:, :, left] * (2048 - across) + values[:, :, right] * across) >> 4
    upper, lower = rows[:, top] * (2048 - down)[:, None] >> 16, rows[:, bottom] * down[:, None] >> 16
    return ((upper + lower + 2) >> 2).to(torch.uint8)


def _weights(old: int, factor: float, least: int) -> tuple[Tensor, Tensor, Tensor]:
    """For each new pixel the two old pixels around it, and the weight of the second in units of 2^-11."""
    index = torch.arange(max(round(old * factor), least), dtype=torch.float64, device="cpu")
    position = (index + 0.5) / factor - 0.5
    position = position.clamp(0, old - 1)
    low = position.floor()
    weight = ((position - low) * 2048).round().to(torch.int32)
    return low.long(), (low.long() + 1).clamp_max(old - 1), weight


def _layout(shapes: list[tuple[int, int]]) -> list[tuple[int, int, int]]:
    """Height, width and first byte of each picture in one buffer with all of them."""
    layout, used = [], 0
    for height, width in shapes:
        layout.append((height, width, used))
        used += 3 * height * width
    return layout
