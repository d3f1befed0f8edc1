"""Reading every file of a set once: the pixels, what cannot be read, and what there is to say about the rest."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from randhead.datasets import _parallel
from randhead.datasets._decode import TRANSPARENT, WIDE, BadImage, Facts, ignore_pillow_warnings, inspect
from randhead.datasets._duplicates import Compared, keys
from randhead.datasets._image_size import OtherSize
from randhead.datasets._images import DIGEST, digest
from randhead.datasets._opening import Rules
from randhead.datasets._options import Progress
from randhead.datasets._pixel_file import PixelFile
from randhead.datasets._report import ReadReport
from randhead.datasets._statistics import channel_sums

BLOCK = 1 << 16  # pixel values whose sums are computed at once: as floating-point numbers they fit into a cache
Bad = tuple[Path, str]  # a file and the reason why it cannot be used


@dataclass(frozen=True)
class FilesRead:
    """What reading N files has found.

    Attributes:
        bad: the files that cannot be used.
        facts: what is known about each file; None for those that cannot be used.
        digests: (N, 16) uint8, of the pixels of each image.
        sums: (N, 2, 3) int64, per image the sums of the values of each channel, and of their squares.
        rules: how they were read: `bit_depth` is known now, if there are images of 16 bits.
    """

    bad: list[Bad]
    facts: list[Facts | None]
    digests: np.ndarray
    sums: np.ndarray
    rules: Rules

    def report(self, labels: np.ndarray, rows: Mapping[str, np.ndarray]) -> ReadReport:
        """The report on the files that can be used.

        Args:
            labels: (N,) int64.
            rows: their indices per split.
        """
        read = [facts for facts in self.facts if facts is not None]
        converted = Counter(self._in_words(kind) for facts in read for kind in facts.kinds)
        flat = Counter(_cause(facts) for facts in read if facts.flat)
        report = ReadReport(len(read), converted=dict(converted), one_colour=dict(flat))
        return self.compared(labels, rows).add_to(report)

    def compared(self, labels: np.ndarray, rows: Mapping[str, np.ndarray]) -> Compared:
        """The images, compared with each other; the arguments are those of `report`."""
        flat = np.array([facts is None or facts.flat for facts in self.facts], dtype=bool)
        return Compared(keys(self.digests, flat), labels, rows)

    def _in_words(self, kind: str) -> str:
        bits = self.rules.bit_depth
        return f"{kind}, of which {(1 << bits) - 1:,} becomes white" if kind == WIDE and bits else kind


def read_files(
    paths: list[Path],
    size: int,
    pixels: np.ndarray | PixelFile | None,
    rules: Rules,
    *,
    workers: int,
    alike: bool = False,
    progress: Progress | None = None,
) -> FilesRead:
    """Decode every file.

    All images of 16 bits are scaled alike, so that some stay brighter than others: by the bits that the brightest of
    them uses, unless `rules` say how many.

    Args:
        paths: N files.
        size: side of the images in pixels.
        pixels: (N, 3, size, size) uint8, zeros, to be filled; None if only the rest of the result is needed.
        rules: how files are read.
        workers: number of threads that decode.
        alike: whether all files must have this size already.
        progress: called with (done, total).

    Raises:
        OtherSize: if `alike`, for an image of another size.
    """
    ignore_pillow_warnings()
    facts: list[Facts | None] = [None] * len(paths)
    digests = np.zeros((len(paths), DIGEST), dtype=np.uint8)
    found = digests.reshape(-1).data
    sums = np.zeros((len(paths), 2, 3), dtype=np.int64)

    def read(row: int) -> Bad | None:
        try:
            image, known = inspect(paths[row], size, rules)
        except BadImage as error:
            facts[row] = None
            return error.path, error.reason
        if alike and known.size != (size, size):
            raise OtherSize
        facts[row] = known
        if isinstance(pixels, np.ndarray):
            pixels[row] = image
            image = pixels[row]
        else:
            image = np.ascontiguousarray(image)
            sums[row] = channel_sums(image[None])[0]
            if pixels is not None:
                pixels[row] = image
        found[DIGEST * row : DIGEST * (row + 1)] = digest(image)
        return None

    bad = _parallel.run(read, range(len(paths)), workers=workers, progress=progress)
    used = [known.bits for known in facts if known and known.bits]
    if used and rules.bit_depth is None:
        rules = Rules(max(used), rules.max_megapixels)
        again = [row for row, known in enumerate(facts) if known and known.bits not in (None, rules.bit_depth)]
        bad += _parallel.run(read, again, workers=workers)
    if isinstance(pixels, np.ndarray):
        sums = _sums(pixels, workers)
    return FilesRead([one for one in bad if one], facts, digests, sums, rules)


def _sums(pixels: np.ndarray, workers: int) -> np.ndarray:
    """The `channel_sums` of images in memory, many small ones at once: a quarter of the time of one by one."""
    step = max(1, BLOCK // pixels[0].size)
    starts = range(0, len(pixels), step)
    return np.concatenate(
        _parallel.run(lambda start: channel_sums(pixels[start : start + step]), starts, workers=workers)
    )


def _cause(facts: Facts) -> str:
    """The conversion that may have made an image one of a single colour; "" for none."""
    return next((kind for kind in facts.kinds if kind in (TRANSPARENT, WIDE)), "")
