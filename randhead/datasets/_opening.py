"""Opening image files: what they are and how large, without decoding their pixels."""

import functools
import io
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from PIL import Image

from randhead.arguments import whole
from randhead.config import MachineConfig, check_value
from randhead.datasets._metadata import JPEG_START, has_pages, without_metadata

# Pillow reads more formats, some by starting another program (EPS): a file with another format is refused.
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "MPO", "PPM", "TIFF", "WEBP", "AVIF")
# How the content of images of other formats begins.
NOT_READ = {"HEIC": rb"....ftyp(?:hei|hev|mif|msf)", "JPEG XL": rb"\xff\x0a|....JXL ", "JPEG 2000": rb"....jP  "}
JPEG_FRAMES = (0xC0, 0xC1, 0xC2)  # baseline, extended and progressive: size and components follow the marker
JPEG_HEADER = 4096  # bytes, in which most files have their size; asking Pillow takes three times as long


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
        check_file(path)
        with path.open("rb") as file:
            shape = jpeg_shape(file.read(JPEG_HEADER))
            if shape:
                return shape[1], shape[0]
            try:
                return open_image(file, path).size
            except Exception:
                file.seek(0)
                bare = without_metadata(file.read())
                return open_image(io.BytesIO(bare), path).size if bare else None
    except Exception:  # as in decode, which will name the reason
        return None


def check_file(path: Path) -> None:
    if not path.is_file():  # reading a pipe would wait for ever
        raise ValueError("not a file" if path.exists() else "no such file")


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


def check_size(image: Image.Image, rules: Rules) -> None:
    width, height = image.size
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


def jpeg_shape(content: bytes) -> tuple[int, int, int] | None:
    """Height, width and components of a JPEG of 8 bits, from the frame header; None if there is none."""
    at = len(JPEG_START)
    while content.startswith(JPEG_START) and content[at : at + 1] == b"\xff" and at + 10 <= len(content):
        marker, segment = content[at + 1], content[at + 2 : at + 10]
        if marker in JPEG_FRAMES:
            height, width = (int.from_bytes(segment[i : i + 2]) for i in (3, 5))
            return (height, width, segment[7]) if segment[2] == 8 else None
        at += 2 + int.from_bytes(segment[:2])
    return None


@functools.cache
def formats() -> dict[str, tuple[Callable[..., Any], Callable[[bytes], Any] | None]]:
    """The formats that this build of Pillow has: how to open a file, and how to know one by its first bytes."""
    Image.init()
    return {name: Image.OPEN[name] for name in FORMATS if name in Image.OPEN}
