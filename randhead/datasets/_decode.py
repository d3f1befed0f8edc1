"""Decoding of image files to 8-bit RGB, also from greyscale, palette, alpha, CMYK, 16-bit and EXIF-rotated images.

Transparent images are put on white (the fourth band of a TIFF is its transparency, unless the file says that it is
not), images of 16 bits are scaled by the bits that they use, EXIF orientation is applied, and only the first frame of
an animation or of several pages is used.  Then the central square is resized (bilinear with antialiasing), which is
the same as resizing the shorter side and cropping the centre.
"""

import functools
import io
import os
import warnings
from contextlib import suppress
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from PIL import Image

from randhead.datasets import _sixteen_bit
from randhead.datasets._jpeg import APP1, decode_jpeg
from randhead.datasets._metadata import JPEG_START, without_metadata
from randhead.datasets._opening import AS_FOUND, Rules, TooLarge, check_size, has_frames, open_file, open_image
from randhead.errors import DataError

ENDINGS = ("avif", "bmp", "gif", "jfif", "jpeg", "jpg", "pbm", "pgm", "png", "pnm", "ppm", "tif", "tiff", "webp")
EXTENSIONS = frozenset(f".{ending}" for ending in ENDINGS)
ALPHA_MODES = frozenset({"LA", "La", "PA", "RGBA", "RGBa"})
# JPEG is decoded at 1/2, 1/4 or 1/8 of its size if the result is at least this many times the target size: 1.8 times as
# fast from 3 megapixels to 64 pixels, and no pixel changes by more than 2 grey levels (with a factor of 1 or 2, by 7).
DRAFT_MARGIN = 4
FIRST = 1 << 16  # bytes that are read of each file at first: all of a small one
LARGEST_JPEG = 1 << 28  # bytes: of larger files Pillow reads what it needs
ORIENTATION = 0x0112  # in EXIF
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
FLAT = 16  # of 256 grey levels: an image of which no channel spans as many has a single colour, or almost
# Kinds of conversion, as `ReadReport.converted` has them.
TRANSPARENT, WIDE = "with transparency, put on white", "of 16 bits"
INKS, FRAMES = "of CMYK inks", "of several frames, of which the first is used"


class BadImage(DataError):
    """An image file that cannot be used; `reason` is the message without the path."""

    def __init__(self, path: Path, reason: str):
        super().__init__(f"{path}: not a usable image ({reason})", hint=hint("FOLDER"))
        self.path = path
        self.reason = reason


class Facts(NamedTuple):
    """What is known about a file that was decoded.

    Attributes:
        mode: Pillow's name of its kind of pixels.
        size: width and height in the file.
        kinds: the conversions that were made.
        bits: bits in use if it has 16; None for other images.
        flat: whether the result has a single colour, or almost.
        lost: whether the file has more colours, which conversion has lost.
    """

    mode: str = "RGB"
    size: tuple[int, int] = (0, 0)
    kinds: tuple[str, ...] = ()
    bits: int | None = None
    flat: bool = False
    lost: bool = False


def ignore_pillow_warnings() -> None:
    """Silence Pillow's warnings (odd EXIF, large images); real problems become a BadImage.

    The filter is for the whole process, and may be set more than once.  `warnings.catch_warnings` is not thread-safe.
    """
    warnings.filterwarnings("ignore", module=r"PIL\.")


def hint(folder: Path | str) -> str:
    """What to do about bad images in a folder."""
    return f'list all of them with `randhead doctor` `data="{folder}"`; leave them out with `skip_bad_images=True`'


def decode(path: Path, size: int, rules: Rules = AS_FOUND) -> np.ndarray:
    """Decode an image to (3, size, size) uint8, RGB.  Raises BadImage if the file cannot be used."""
    return _decode(path, size, rules)[0].transpose(2, 0, 1)


def inspect(path: Path, size: int, rules: Rules = AS_FOUND) -> tuple[np.ndarray, Facts]:
    """Decode an image as `decode` does, and find out what kind of file it is."""
    pixels, facts = _decode(path, size, rules)
    if _is_flat(pixels):
        facts = facts._replace(flat=True)
    elif facts.lost:
        facts = facts._replace(lost=False)
    return pixels.transpose(2, 0, 1), _shared(facts)


def _is_flat(pixels: np.ndarray) -> bool:
    """Whether no channel spans `FLAT` grey levels.  Two pixels tell it of most pictures, in a tenth of the time."""
    corner, centre = pixels[0, 0].tolist(), pixels[len(pixels) // 2, len(pixels) // 2].tolist()
    if any(abs(a - b) >= FLAT for a, b in zip(corner, centre, strict=True)):
        return False
    return bool((np.ptp(pixels, axis=(0, 1)) < FLAT).all())


@functools.lru_cache(maxsize=4096)
def _shared(facts: Facts) -> Facts:
    """One object for equal facts: most images of a set have the same."""
    return facts


def _decode(path: Path, size: int, rules: Rules) -> tuple[np.ndarray, Facts]:
    """The image in RGB and of the target size: (size, size, 3).  Raises BadImage if the file cannot be used."""
    try:
        handle = open_file(path)
        try:
            pixels, facts = _jpeg(handle, size, rules) or _any(handle, path, size, rules)
        finally:
            os.close(handle)
        if pixels.shape[:2] != (size, size):
            pixels = np.asarray(_central_square(Image.fromarray(pixels), size))
        return pixels, facts
    except Exception as error:
        # Decoders raise many kinds of errors for damaged bytes (OSError, SyntaxError, struct.error, KeyError, ...).
        raise BadImage(path, _reason(error)) from error


def _jpeg(handle: int, size: int, rules: Rules) -> tuple[np.ndarray, Facts] | None:
    """The pixels (H, W, 3) of a JPEG; None for a file that Pillow has to read."""
    content = os.read(handle, FIRST)
    if not content.startswith(JPEG_START) or APP1 in content:
        return None
    if len(content) == FIRST:
        with os.fdopen(handle, "rb", closefd=False) as file:
            content += file.read(LARGEST_JPEG)
    found = decode_jpeg(content, DRAFT_MARGIN * size, lambda given: check_size(given, rules))
    return found and (found.pixels, Facts(found.mode, found.size))


def _any(handle: int, path: Path, size: int, rules: Rules) -> tuple[np.ndarray, Facts]:
    """The pixels of the central square of any image, by Pillow: (size, size, 3)."""
    with os.fdopen(handle, "rb", closefd=False) as file:
        image, facts = _rgb_with_facts(file, path, size, rules)
        return np.asarray(_central_square(image, size)), facts


def _rgb_with_facts(file: IO[bytes], path: Path, size: int, rules: Rules) -> tuple[Image.Image, Facts]:
    """The image in RGB.  If it cannot be read, it is tried again without metadata."""
    try:
        return _rgb(file, path, size, rules)
    except TooLarge:
        raise
    except Exception:
        file.seek(0)
        bare = without_metadata(file.read())
        if bare is not None:
            with suppress(Exception):  # the reason is what is wrong with the file as it is
                return _rgb(io.BytesIO(bare), path, size, rules)
        raise


def _rgb(file: IO[bytes], path: Path, size: int, rules: Rules) -> tuple[Image.Image, Facts]:
    """The whole image as RGB, upright."""
    image = open_image(file, path)
    check_size(image.size, rules)
    mode, stored, frames = image.mode, _sixteen_bit.rawmode(image), has_frames(image, file)
    facts = Facts(mode, image.size, (FRAMES,) if frames else ())
    image.draft(None, (DRAFT_MARGIN * size, DRAFT_MARGIN * size))
    declared = _sixteen_bit.has_declared_range(image)
    image.load()
    turn = _turn(image)
    if _sixteen_bit.has_wide_colours(stored):
        image, bits = _sixteen_bit.colours(image, stored, lambda: open_image(file, path), rules.bit_depth)
        facts = facts._replace(bits=bits, kinds=(WIDE, *facts.kinds))
    if image.mode == "F":
        raise ValueError("floating-point pixels have no fixed range; convert it to 8 or 16 bits")
    if mode.startswith("I"):
        image, bits = _sixteen_bit.grey(image, _sixteen_bit.ALL_BITS if declared else rules.bit_depth)
        facts = facts._replace(bits=None if declared else bits, kinds=(WIDE, *facts.kinds))
    elif image.mode in ALPHA_MODES or "transparency" in image.info:
        rgba = image.convert("RGBA")
        image = rgba.convert("RGB")
        if rgba.getchannel("A").getextrema()[0] < 255:
            many = max(high - low for low, high in image.getextrema()) >= FLAT
            facts = facts._replace(kinds=(TRANSPARENT, *facts.kinds), lost=many)
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), rgba)
    elif mode == "CMYK":
        facts = facts._replace(kinds=(INKS, *facts.kinds))
    image = image if image.mode == "RGB" else image.convert("RGB")
    return (image.transpose(turn) if turn is not None else image), facts


def _turn(image: Image.Image) -> Image.Transpose | None:
    """The rotation or reflection that EXIF demands; None for none, and for EXIF that cannot be read."""
    try:
        # A number, by the standard; also seen as text, bytes and several numbers.
        found = image.getexif().get(ORIENTATION)
        first = found[0] if isinstance(found, bytes | tuple) else found
        return TURNS.get(int(first)) if first else None
    except Exception:
        return None


def _central_square(image: Image.Image, size: int) -> Image.Image:
    width, height = image.size
    if width == height == size:
        return image
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    return image.resize((size, size), Image.Resampling.BILINEAR, box=(left, top, left + side, top + side))


def _reason(error: Exception) -> str:
    if isinstance(error, Image.DecompressionBombError):
        return "more pixels than Pillow reads of this format"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
