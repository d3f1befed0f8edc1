"""The size of the images of a folder, if none is given."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from randhead.datasets._opening import dimensions
from randhead.datasets._options import Options

LARGEST_NATIVE = 128  # pixels: if all images have the same square size up to this, they keep it
FALLBACK_SIZE = 64  # pixels

Made = TypeVar("Made")


class OtherSize(Exception):
    """An image of another size than those before it."""


def at_chosen_size(paths: list[Path], options: Options, make: Callable[[int, bool], Made]) -> Made:
    """The result of `make(size, alike)` for the side of the images in pixels: of the options, else `size_in_common`.

    No file is opened a second time for its size: `make` begins with that of the first one, and if `alike`, it raises
    OtherSize for an image of another size.  Then it is called again.
    """
    if options.image_size is not None:
        return make(options.image_size, False)
    first = next(filter(None, map(dimensions, paths)), None)  # files that are not images are named by `make`
    size = size_in_common([first] if first else [])
    if size != FALLBACK_SIZE:
        try:
            return make(size, True)
        except OtherSize:
            pass
    return make(FALLBACK_SIZE, False)


def size_in_common(sizes: Iterable[tuple[int, int]]) -> int:
    """The size of all images if they are square and at most LARGEST_NATIVE, else FALLBACK_SIZE.

    Example:
        >>> size_in_common([(32, 32), (32, 32)]), size_in_common([(32, 32), (28, 28)])
        (32, 64)
    """
    common = None
    for width, height in sizes:
        if width != height or width > LARGEST_NATIVE or common not in (None, width):
            return FALLBACK_SIZE
        common = width
    return common or FALLBACK_SIZE
