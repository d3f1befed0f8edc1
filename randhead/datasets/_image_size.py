"""The size of the images of a folder, if none is given."""

from collections.abc import Iterable
from pathlib import Path

from randhead.datasets import _parallel
from randhead.datasets._opening import dimensions
from randhead.datasets._options import Options

LARGEST_NATIVE = 128  # pixels: if all images have the same square size up to this, they keep it
FALLBACK_SIZE = 64  # pixels
PIECE = 1024  # files: a folder of photographs ends the search at the first piece


def chosen_size(paths: list[Path], options: Options) -> int:
    """The side of the images in pixels: that of the options, else the one that the files have in common."""
    return options.image_size or size_of_files(paths, workers=options.workers)


def size_of_files(paths: list[Path], *, workers: int) -> int:
    """As `size_in_common`, from the headers of the files; those that are not images are named when they are decoded."""
    pieces = (paths[start : start + PIECE] for start in range(0, len(paths), PIECE))
    found = (size for piece in pieces for size in _parallel.run(dimensions, piece, workers=workers))
    return size_in_common(filter(None, found))


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
