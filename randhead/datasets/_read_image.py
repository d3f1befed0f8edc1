"""Single image files, read in the same way as for training."""

import warnings
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from randhead.arguments import whole
from randhead.datasets import _parallel
from randhead.datasets._decode import BadImage, ignore_pillow_warnings, inspect
from randhead.datasets._opening import AS_FOUND, Rules


class ImageRead(NamedTuple):
    """What reading an image file has found: its pixels (3, size, size) or the error, and a warning or ""."""

    path: Path
    found: Tensor | BadImage
    warning: str = ""

    def pixels(self, warn: Callable[[str], None]) -> Tensor:
        """The pixels, after the warning.  Raises DataError if the file cannot be read."""
        if isinstance(self.found, BadImage):
            raise self.found
        if self.warning:
            warn(self.warning)
        return self.found


def read_image(
    path: Path,
    size: int,
    *,
    bit_depth: int | None = None,
    max_megapixels: float | None = None,
    warn: Callable[[str], None] = warnings.warn,
) -> Tensor:
    """Read an image file in the same way as for training.

    Args:
        path: the file.
        size: side of the result in pixels.
        bit_depth: if it is an image of 16 bits, how many of them are used: the largest number of so many bits becomes
            white.  None for those that its largest value needs.
        max_megapixels: refuse an image of more megapixels; None for 89.5.
        warn: called with a warning if conversion to RGB of 8 bits leaves a single colour of a picture.

    Returns:
        (3, size, size) uint8.

    Raises:
        UsageError: for a size, bit depth or limit that cannot be used.
        DataError: if it cannot be read.
    """
    return _reader(size, bit_depth, max_megapixels)(path).pixels(warn)


def read_images(
    paths: Sequence[Path],
    size: int,
    *,
    bit_depth: int | None = None,
    max_megapixels: float | None = None,
    workers: int,
    ahead: int,
) -> Generator[ImageRead, None, None]:
    """Read image files in threads, ahead of the one that is used.

    Args:
        paths: the files.
        size: side of the results in pixels.
        bit_depth: as in `read_image`.
        max_megapixels: as in `read_image`.
        workers: number of threads that decode.
        ahead: number of further images that are decoded while one is used.

    Yields:
        What was found, in the order of the files.

    Raises:
        UsageError: for a size, bit depth or limit that cannot be used.
    """
    return _parallel.ahead(_reader(size, bit_depth, max_megapixels), paths, workers=workers, most=ahead)


def _reader(size: int, bit_depth: int | None, max_megapixels: float | None) -> Callable[[Path], ImageRead]:
    """What reads one file."""
    ignore_pillow_warnings()
    rules = Rules(bit_depth, AS_FOUND.max_megapixels if max_megapixels is None else max_megapixels)
    side = whole("size", size, 1)

    def read(path: Path) -> ImageRead:
        try:
            pixels, facts = inspect(Path(path), side, rules)
        except BadImage as error:
            return ImageRead(path, error)
        warning = ""
        if facts.lost:
            warning = f"{path} has a single colour, or almost, after conversion ({', '.join(facts.kinds)})"
        return ImageRead(path, torch.from_numpy(np.array(pixels, order="C")), warning)

    return read
