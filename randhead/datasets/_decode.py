"""Decoding of image files to 8-bit RGB, also from greyscale, palette, alpha, CMYK, 16-bit and EXIF-rotated images.

Transparent images are put on white, 16-bit greyscale keeps its high byte, EXIF orientation is applied, and only the
first frame of an animation is used.  Then the central square is resized (bilinear with antialiasing), which is the same
as resizing the shorter side and cropping the centre.
"""

import functools
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from randhead.errors import DataError

ENDINGS = ("avif", "bmp", "gif", "jfif", "jpeg", "jpg", "pbm", "pgm", "png", "pnm", "ppm", "tif", "tiff", "webp")
EXTENSIONS = frozenset(f".{ending}" for ending in ENDINGS)
# Pillow reads more formats, some by starting another program (EPS): a file with another format is refused.
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "MPO", "PPM", "TIFF", "WEBP", "AVIF")
MAX_PIXELS = 89_478_485  # Pillow's own limit against decompression bombs: 256 MiB of RGB
ALPHA_MODES = frozenset({"LA", "La", "PA", "RGBA", "RGBa"})
# JPEG is decoded at 1/2, 1/4 or 1/8 of its size if the result is at least this many times the target size: 1.8 times as
# fast from 3 megapixels to 64 pixels, and no pixel changes by more than 2 grey levels (with a factor of 1 or 2, by 7).
DRAFT_MARGIN = 4
JPEG_START = b"\xff\xd8"
JPEG_FRAMES = (0xC0, 0xC1, 0xC2)  # baseline, extended and progressive: size and components follow the marker
JPEG_HEADER = 4096  # bytes, in which most files have their size; asking Pillow takes three times as long
APP1 = b"\xff\xe1"  # EXIF or XMP, which may contain a rotation


class BadImage(DataError):
    """An image file that cannot be used; `reason` is the message without the path."""

    def __init__(self, path: Path, reason: str):
        super().__init__(f"{path}: not a usable image ({reason})", hint=hint("FOLDER"))
        self.path = path
        self.reason = reason


def ignore_pillow_warnings() -> None:
    """Silence Pillow's warnings (odd EXIF, large images); real problems become a BadImage.

    The filter is for the whole process, and may be set more than once.  `warnings.catch_warnings` is not thread-safe.
    """
    warnings.filterwarnings("ignore", module=r"PIL\.")


def hint(folder: Path | str) -> str:
    """What to do about bad images in a folder."""
    return f'list all of them with `randhead doctor` `data="{folder}"`; leave them out with `skip_bad_images=True`'


def decode(path: Path, size: int) -> np.ndarray:
    """Decode an image to (3, size, size) uint8, RGB.  Raises BadImage if the file cannot be used."""
    try:
        plain = _plain_jpeg(path, size)
        if plain is not None:
            return np.asarray(plain).transpose(2, 0, 1)
        with _open(path) as image:
            _check_size(image)
            image.draft(None, (DRAFT_MARGIN * size, DRAFT_MARGIN * size))
            ImageOps.exif_transpose(image, in_place=True)
            rgb = _rgb(image)
        return np.asarray(_central_square(rgb, size)).transpose(2, 0, 1)
    except Exception as error:
        # Decoders raise many kinds of errors for damaged bytes (OSError, SyntaxError, struct.error, KeyError, ...).
        raise BadImage(path, _reason(error)) from error


def dimensions(path: Path) -> tuple[int, int] | None:
    """Width and height from the header only, before EXIF rotation; None if the file is not an image."""
    try:
        _check_file(path)
        with path.open("rb") as file:
            shape = _jpeg_shape(file.read(JPEG_HEADER))
        if shape:
            return shape[1], shape[0]
        with _open(path) as image:
            return image.size
    except Exception:  # as in decode, which will name the reason
        return None


@functools.cache
def _formats() -> tuple[str, ...]:
    """The formats that this build of Pillow has."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _check_file(path: Path) -> None:
    if not path.is_file():  # reading a pipe would wait for ever
        raise ValueError("not a file" if path.exists() else "no such file")


def _open(path: Path) -> Image.Image:
    _check_file(path)
    return Image.open(path, formats=_formats())


def _plain_jpeg(path: Path, size: int) -> Image.Image | None:
    """Decode a colour JPEG that already has the target size; None for every other file, damaged or not.

    This uses Pillow's decoder without its parsing of headers and EXIF, which takes half of the time of small files: 92
    instead of 176 microseconds for 32 pixels.
    """
    _check_file(path)
    with path.open("rb") as file:
        content = file.read(JPEG_HEADER)
        if _jpeg_shape(content) != (size, size, 3):
            return None
        content += file.read()
    if APP1 in content:
        return None
    try:
        return Image.frombytes("RGB", (size, size), content, "jpeg", "RGB", "")
    except Exception:  # damaged: the general decoder gives the reason
        return None


def _jpeg_shape(content: bytes) -> tuple[int, int, int] | None:
    """Height, width and components of a JPEG of 8 bits, from the frame header; None if there is none."""
    at = len(JPEG_START)
    while content.startswith(JPEG_START) and content[at : at + 1] == b"\xff" and at + 10 <= len(content):
        marker, segment = content[at + 1], content[at + 2 : at + 10]
        if marker in JPEG_FRAMES:
            height, width = (int.from_bytes(segment[i : i + 2]) for i in (3, 5))
            return (height, width, segment[7]) if segment[2] == 8 else None
        at += 2 + int.from_bytes(segment[:2])
    return None


def _check_size(image: Image.Image) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise ValueError(f"{width} x {height} pixels, more than {MAX_PIXELS:,}")


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise ValueError("floating-point pixels have no fixed range")
    if image.mode.startswith("I"):
        return _high_byte(image).convert("RGB")
    if image.mode in ALPHA_MODES or "transparency" in image.info:
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _high_byte(image: Image.Image) -> Image.Image:
    """16-bit greyscale to 8 bits.  Pillow's own conversion clips at 255, which leaves a white image."""
    values = np.asarray(image)
    if values.min() < 0 or values.max() > 0xFFFF:
        raise ValueError("integer pixels beyond 16 bits have no fixed range")
    return Image.fromarray((values >> 8).astype(np.uint8))


def _central_square(image: Image.Image, size: int) -> Image.Image:
    width, height = image.size
    if width == height == size:
        return image
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    return image.resize((size, size), Image.Resampling.BILINEAR, box=(left, top, left + side, top + side))


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "its content is not an image of a known format"
    if isinstance(error, Image.DecompressionBombError):
        return f"more than {2 * MAX_PIXELS:,} pixels"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
