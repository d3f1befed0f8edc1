"""Opening image files: what they are and how large, without decoding their pixels."""

import functools
import io
import os
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from PIL import Image

from randhead.arguments import whole
from randhead.config import MachineConfig, check_value
from randhead.datasets._jpeg import jpeg_size
from randhead.datasets._metadata import has_pages, without_metadata

# Pillow reads more formats, some by starting another program (EPS): a file with another format is refused.
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "MPO", "PPM", "TIFF", "WEBP", "AVIF")
# How the content of images of other formats begins.
NOT_READ = {"HEIC": rb"....ftyp(?:hei|hev|mif|msf)", "JPEG XL": rb"\xff\x0a|....JXL ", "JPEG 2000": rb"....jP  "}
HEADER = 4096  # bytes, in which most JPEGs have their size


@dataclass(frozen=True)
class Rules:
    """How files are read.

    Attributes:
        bit_depth: bits that the values of 16-bit images use; None for those that each image uses.
        max_megapixels: larger images are refused, because small files can decode to very many pixels.

    Raises:
        UsageError: if a value is out of bounds.
    """

    bit_depth: int | None = None
    max_megapixels: float = MachineConfig.max_megapixels

    def __post_init__(self) -> None:
        if self.bit_depth is not None:
            whole("bit_depth", self.bit_depth, 1, 16)
        check_value("machine.max_megapixels", self.max_megapixels, "max_megapixels")


AS_FOUND = Rules()


class TooLarge(ValueError):
    """An image of more pixels than are allowed."""


def dimensions(path: Path) -> tuple[int, int] | None:
    """Width and height from the header only, before EXIF rotation; None if the file is not an image."""
    try:
        handle = open_file(path)
        try:
            return jpeg_size(os.read(handle, HEADER)) or _any_size(handle, path)
        finally:
            os.close(handle)
    except Exception:  # as in decode, which will name the reason
        return None


def _any_size(handle: int, path: Path) -> tuple[int, int] | None:
    with os.fdopen(handle, "rb", closefd=False) as file:
        try:
            return open_image(file, path).size
        except Exception:
            file.seek(0)
            bare = without_metadata(file.read())
            return open_image(io.BytesIO(bare), path).size if bare else None


def open_file(path: Path) -> int:
    """A handle of a file, which the caller closes: a small file is read in half of the time that `Path.open` takes."""
    if not path.is_file():  # reading a pipe would wait for ever
        raise ValueError("not a file" if path.exists() else "no such file")
    return os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))


def open_image(file: IO[bytes], path: Path) -> Any:
    """The image in a file, not loaded yet; as `PIL.Image.open` does it, but with the reason if it cannot be opened.

    Its limit on the number of pixels is for the whole process; `check_size` has its own.
    """
    file.seek(0)
    start, reason = file.read(16), "its content is not an image of a known format"
    for name, (factory, accept) in formats().items():
        if accept and accept(start) is not True:
            continue
        file.seek(0)
        try:
            return factory(file, "" if isinstance(file, io.BytesIO) else str(path))
        except (SyntaxError, IndexError, TypeError, struct.error) as error:
            reason = f"a {name} of a kind that cannot be read ({error}); convert it to RGB of 8 bits"
    for name, pattern in NOT_READ.items():
        if re.match(pattern, start, re.DOTALL):
            raise ValueError(f"its content is {name}, which is not read; convert it to JPEG or PNG")
    raise ValueError(reason)


def check_size(size: tuple[int, int], rules: Rules) -> None:
    """Raise TooLarge for a width and height of more pixels than are allowed."""
    width, height = size
    if width * height > rules.max_megapixels * 1e6:
        limit = f"{rules.max_megapixels:g} megapixels"
        raise TooLarge(f"{width} x {height} pixels, more than {limit}: the setting machine.max_megapixels allows more")


def has_frames(image: Image.Image, file: IO[bytes]) -> bool:
    """Whether there are more images in the file, of the same kind.  Of MPO, the others are previews and depth maps."""
    if image.format == "MPO":
        return False
    try:
        animated = bool(getattr(image, "is_animated", False))
    except Exception:  # a damaged second frame, of which no pixel is used
        return False
    if animated and image.format == "TIFF":
        at = file.tell()
        file.seek(0)
        animated = has_pages(file.read())
        file.seek(at)
    return animated


@functools.cache
def formats() -> dict[str, tuple[Callable[..., Any], Callable[[bytes], Any] | None]]:
    """The formats that this build of Pillow has: how to open a file, and how to know one by its first bytes."""
    Image.init()
    return {name: Image.OPEN[name] for name in FORMATS if name in Image.OPEN}
