"""Loading a list of image files as a Dataset: resident if it fits into the memory budget, otherwise streamed."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch

from randhead import rng
from randhead.ambient import as_tensor
from randhead.arguments import composed
from randhead.datasets import _parallel
from randhead.datasets._build import build, complete
from randhead.datasets._dataset import Dataset
from randhead.datasets._decode import hint
from randhead.datasets._images import FileImages, Images, TensorImages
from randhead.datasets._opening import dimensions
from randhead.datasets._options import Options
from randhead.datasets._reading import Bad, FilesRead, read_files
from randhead.datasets._report import ReadReport
from randhead.errors import DataError

LARGEST_NATIVE = 128  # pixels: if all images have the same square size up to this, they keep it
FALLBACK_SIZE = 64  # pixels
NAMED = 5  # number of bad images that an error names


@dataclass(frozen=True)
class Listing:
    """N image files, the class and the split of each, the folder that contains them, and what was left out of it."""

    name: str
    root: Path
    class_names: tuple[str, ...]
    paths: list[Path]
    labels: list[int]
    splits: list[str]
    left_out: Mapping[str, int] = field(default_factory=dict)  # file ending -> number of files
    notes: tuple[str, ...] = ()  # what else was left out, in sentences

    def label_array(self) -> np.ndarray:
        """The labels (N,) int64."""
        return np.array(self.labels, dtype=np.int64)


def load_files(listing: Listing, options: Options, *, test_share: float = 0.0, left_out: Sequence[Bad] = ()) -> Dataset:
    """Decode or check every file that is used, and build the Dataset.  Bad files are left out or raise DataError."""
    if options.train_images is not None:
        return _load_fewer(listing, options, test_share)
    size = chosen_size(listing, options)
    resident = len(listing.paths) * 3 * size * size <= options.memory_budget
    pixels = np.empty((len(listing.paths), 3, size, size), dtype=np.uint8) if resident else None
    read = read_files(listing.paths, size, pixels, options.rules, workers=options.workers, progress=options.progress)
    bad = read.bad
    if bad and not options.skip_bad_images:
        raise _refusal(listing, bad)
    good = _good_rows(listing, bad)
    if bad and chosen_size(rest := _only(listing, good), options) != size:
        return load_files(rest, options, test_share=test_share, left_out=bad)  # a bad file had another size
    rows = split_rows(listing, good, options, test_share)
    make = _streamed(listing.paths, size, read, options) if pixels is None else _resident(pixels, read, options)
    return replace(
        build(listing.name, listing.class_names, make, as_tensor(listing.labels), rows, options),
        bad_images=tuple(f"{path}: {reason}" for path, reason in (*left_out, *bad)),
        report=report_on(listing, read, {name: found.numpy() for name, found in rows.items()}),
        bit_depth=read.rules.bit_depth,
        drawn_test="test" in rows and "test" not in listing.splits,
    )


def _load_fewer(listing: Listing, options: Options, test_share: float) -> Dataset:
    """As `load_files`, with `train_images`: the images are chosen by their paths, and the others are not opened."""
    rows = split_rows(listing, list(range(len(listing.paths))), options, test_share)
    split_of = {row: split for split, members in rows.items() for row in members.tolist()}
    part = _only(listing, kept := sorted(split_of))
    part = replace(part, splits=[split_of[row] for row in kept])
    dataset = load_files(part, replace(options, train_images=None))
    return replace(dataset, drawn_test="test" in rows and "test" not in listing.splits)


def split_rows(listing: Listing, good: list[int], options: Options, test_share: float) -> dict[str, torch.Tensor]:
    """The rows of each split, of those in `good`; missing splits are drawn from train."""
    labels, ids = as_tensor(listing.labels), as_tensor(_ids(listing))
    return complete(_rows(listing, good), labels, ids, options, test_share)


def report_on(listing: Listing, read: FilesRead, rows: Mapping[str, np.ndarray]) -> ReadReport:
    """The report on the files of a listing, with their rows per split."""
    report = read.report(listing.label_array(), rows)
    return replace(report, left_out=listing.left_out, folder=listing.notes)


def common_size(paths: list[Path], *, workers: int) -> int | None:
    """The size of all images if they are square and at most LARGEST_NATIVE, else None.  Reads headers only."""
    size = None
    for start in range(0, len(paths), 1024):  # a folder of photographs ends the search at the first piece
        found = _parallel.run(dimensions, paths[start : start + 1024], workers=workers)
        for width, height in filter(None, found):  # files that are not images are named when they are decoded
            if width != height or width > LARGEST_NATIVE or size not in (None, width):
                return None
            size = width
    return size


def _refusal(listing: Listing, bad: list[Bad]) -> DataError:
    named = "; ".join(f"{path.relative_to(listing.root)} ({reason})" for path, reason in bad[:NAMED])
    more = f"; and {len(bad) - NAMED} more" if len(bad) > NAMED else ""
    counted = f"{len(bad)} of {len(listing.paths)} images cannot be used"
    return DataError(f"{listing.root}: {counted}: {named}{more}", hint=hint(listing.root))


def chosen_size(listing: Listing, options: Options) -> int:
    return options.image_size or common_size(listing.paths, workers=options.workers) or FALLBACK_SIZE


def _good_rows(listing: Listing, bad: list[Bad]) -> list[int]:
    """The rows without bad images.  Raises DataError for a class that has no images left in a split."""
    lost = {path for path, _ in bad}
    good = [row for row, path in enumerate(listing.paths) if path not in lost]
    counts = Counter((listing.splits[row], listing.labels[row]) for row in good)
    for split in sorted(set(listing.splits)):
        for label, name in enumerate(listing.class_names):
            if not counts[split, label]:
                message = f"{listing.root}: every image of class {name!r} in {split} is bad"
                raise DataError(message, hint=hint(listing.root))
    return good


def _only(listing: Listing, rows: list[int]) -> Listing:
    return replace(
        listing,
        paths=[listing.paths[row] for row in rows],
        labels=[listing.labels[row] for row in rows],
        splits=[listing.splits[row] for row in rows],
    )


def _rows(listing: Listing, good: list[int]) -> dict[str, torch.Tensor]:
    members: dict[str, list[int]] = {split: [] for split in listing.splits}
    for row in good:
        members[listing.splits[row]].append(row)
    return {split: torch.tensor(rows, dtype=torch.int64, device="cpu") for split, rows in members.items()}


def _ids(listing: Listing) -> list[int]:
    """Ids of images, from their paths in the folder, so that adding files moves few images to another split."""
    names = [path.relative_to(listing.root).as_posix() for path in listing.paths]
    return [rng.name_id(composed(name).encode("utf-8", "backslashreplace").decode()) for name in names]


def _resident(pixels: np.ndarray, read: FilesRead, options: Options) -> Callable[[torch.Tensor], Images]:
    tensor = torch.from_numpy(pixels).to(options.device)
    return lambda rows: TensorImages(tensor, rows.to(tensor.device), read.digests, read.sums)


def _streamed(paths: list[Path], size: int, read: FilesRead, options: Options) -> Callable[[torch.Tensor], Images]:
    return lambda rows: FileImages(
        [paths[row] for row in rows.tolist()],
        size,
        workers=options.workers,
        device=options.device,
        digests=read.digests[rows.numpy()],
        sums=read.sums[rows.numpy()],
        rules=read.rules,
    )
