"""Images of 16 bits, to 8 bits.

Many use only the low bits: scans of 12 bits, pictures of 8 bits in a file of 16, masks of 0 and 1.  So values are
scaled by the bits that are used: the largest number of N bits becomes white, where N are the bits of the largest value,
by default of this file.  With all 16 bits in use, this is the high byte.  Pillow reads colours of 16 bits as their high
bytes; the low bytes are read only if not all bits are used.
"""

import functools
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

ALL_BITS = 16
NATIVE_LOW = "B" if sys.byteorder == "little" else "L"  # libtiff gives the bytes in the order of the machine
# The byte order that Pillow is asked for, to get the low byte of a value instead of the high one.
LOW_BYTE = {"16B": "16L", "16L": "16B", "16N": f"16{NATIVE_LOW}"}
COLOURS = ("RGB", "RGBX", "RGBA")
PPM_COLOURS = "RGB;65535"  # a PPM that states all 16 bits as its range


def rawmode(image: Image.Image) -> str:
    """How the pixels of an image that is not loaded yet are stored, in Pillow's words."""
    tile: Any = (getattr(image, "tile", None) or [None])[0]
    arguments = getattr(tile, "args", "")
    if arguments == ("RGB", 0xFFFF) and tile.codec_name == "ppm":
        return PPM_COLOURS
    return str(arguments[0] if isinstance(arguments, tuple) and arguments else arguments)


def has_wide_colours(stored: str) -> bool:
    """Whether Pillow reads only the high bytes of colours that are stored in this way."""
    colours, _, kind = stored.partition(";")
    return stored in ("LA;16B", PPM_COLOURS) or (colours in COLOURS and kind in LOW_BYTE)


def has_declared_range(image: Image.Image) -> bool:
    """Whether an image that is not loaded yet states its largest value, by which Pillow scales it."""
    if image.format != "PPM":
        return False
    tile: Any = image.tile[0]  # type: ignore[attr-defined]
    return "ppm" in tile.codec_name and tile.args[-1] < 0xFFFF


def bits_of(values: np.ndarray) -> int:
    """The number of bits that the largest value needs."""
    return max(1, int(values.max()).bit_length())


def grey(image: Image.Image, bits: int | None) -> tuple[Image.Image, int]:
    """Greyscale of 16 bits as 8 bits, and the bits in use.  Pillow's own conversion gives a white image.

    Args:
        image: an image of mode I or I;16.
        bits: the number of bits whose largest number becomes white; None for those in use.

    Raises:
        ValueError: for values below 0 or above 65535.
    """
    values = np.asarray(image)
    if values.min() < 0 or values.max() > 0xFFFF:
        raise ValueError("integer pixels beyond 16 bits have no fixed range; convert it to 8 or 16 bits")
    used = bits_of(values)
    levels = _table(bits or used)[values]
    inverted = image.format == "TIFF" and getattr(image, "tag_v2", {}).get(262) == 0  # WhiteIsZero
    return Image.fromarray(255 - levels if inverted else levels), used


def colours(
    image: Image.Image, stored: str, again: Callable[[], Image.Image], bits: int | None
) -> tuple[Image.Image, int]:
    """Colours of 16 bits as 8 bits, and the bits in use.

    Args:
        image: the loaded image, which has the high bytes.
        stored: its `rawmode`.
        again: opens the file again.
        bits: as for `grey`.
    """
    high = np.asarray(image)
    top = int(high[..., :3].max())
    if bits == ALL_BITS or (bits is None and top >= 0x80):
        return image, ALL_BITS if top >= 0x80 else max(8, 8 + top.bit_length())
    if stored == PPM_COLOURS:
        values = _numbers(again())
    else:
        values = high[..., :3].astype(np.int64) << 8 | _low_bytes(again(), stored)
    used = bits_of(values)
    levels = _table(bits or used)[values]
    return Image.fromarray(np.concatenate([levels, high[..., 3:]], axis=-1)), used


def _numbers(image: Image.Image) -> np.ndarray:
    """The colours (H, W, 3) of a PPM that is not loaded yet."""
    tile: Any = image.tile[0]  # type: ignore[attr-defined]
    image.fp.seek(tile.offset)  # type: ignore[attr-defined]
    content = image.fp.read(image.width * image.height * 6)  # type: ignore[attr-defined]
    return np.frombuffer(content, dtype=">u2").reshape(image.height, image.width, 3).astype(np.int64)


def _low_bytes(image: Image.Image, stored: str) -> np.ndarray:
    """The low bytes of the colours (H, W, 3) of an image that is not loaded yet."""
    colours, _, kind = stored.partition(";")
    grey_alpha = colours == "LA"
    other = "RGBA" if grey_alpha else f"{colours};{LOW_BYTE[kind]}"  # as bytes: high and low grey, high and low alpha
    tiles: list[Any] = image.tile  # type: ignore[attr-defined]
    # Strips have their arguments in a tuple, which begins with the byte order; a PNG has only that.
    image.tile = [  # type: ignore[attr-defined]
        tile._replace(args=(other, *tile.args[1:]) if isinstance(tile.args, tuple) else other) for tile in tiles
    ]
    image.load()
    low = np.asarray(image)
    return low[..., [1, 1, 1]] if grey_alpha else low[..., :3]


@functools.cache
def _table(bits: int) -> np.ndarray:
    """The grey level of each value of 16 bits: (65536,) uint8."""
    values = np.arange(1 << ALL_BITS, dtype=np.int64)
    return ((values * 0xFFFF // ((1 << bits) - 1)) >> 8).clip(0, 255).astype(np.uint8)
