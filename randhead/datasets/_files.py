"""Loading a list of image files as a Dataset: resident if it fits into the memory budget, otherwise streamed."""

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from randhead import rng
from randhead.ambient import as_tensor
from randhead.arguments import composed
from randhead.datasets._build import build, complete
from randhead.datasets._dataset import Dataset
from randhead.datasets._decode import hint
from randhead.datasets._decoded import Decoded, decode_files
from randhead.datasets._image_size import size_in_common
from randhead.datasets._images import FileImages, Images, TensorImages
from randhead.datasets._mapped import MappedImages
from randhead.datasets._options import Options
from randhead.datasets._reading import Bad, FilesRead
from randhead.datasets._report import ReadReport
from randhead.errors import DataError

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
    decoded = decode_files(listing.root, listing.paths, options)
    read, bad = decoded.read, decoded.read.bad
    if bad and not options.skip_bad_images:
        raise _refusal(listing, bad)
    good = _good_rows(listing, bad)
    if bad and options.image_size is None and decoded.size != size_in_common(f.size for f in read.facts if f):
        rest = _only(listing, good)  # a bad file had another size
        return load_files(rest, options, test_share=test_share, left_out=bad)
    rows = split_rows(listing, good, options, test_share)
    make = _resident(decoded, options) if decoded.is_resident else _streamed(listing.paths, decoded, options)
    return replace(
        build(listing.name, listing.class_names, make, as_tensor(listing.labels), rows, options),
        bad_images=tuple(f"{path}: {reason}" for path, reason in (*left_out, *bad)),
        report=report_on(listing, read, {name: found.numpy() for name, found in rows.items()}),
        bit_depth=read.rules.bit_depth,
        drawn_test="test" in rows and "test" not in listing.splits,
        cache_remark=decoded.remark,
    )


def _load_fewer(listing: Listing, options: Options, test_share: float) -> Dataset:
    """As `load_files`, with `train_images`: the images are chosen by their paths, and the others are not opened.

    They are a set of their own in the cache of decoded images.
    """
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


def _refusal(listing: Listing, bad: list[Bad]) -> DataError:
    named = "; ".join(f"{path.relative_to(listing.root)} ({reason})" for path, reason in bad[:NAMED])
    more = f"; and {len(bad) - NAMED} more" if len(bad) > NAMED else ""
    counted = f"{len(bad)} of {len(listing.paths)} images cannot be used"
    return DataError(f"{listing.root}: {counted}: {named}{more}", hint=hint(listing.root))


def _good_rows(listing: Listing, bad: list[Bad]) -> list[int]:
    """The rows without bad images.  Raises DataError for a class that has no images left in a split."""
    lost = {path for path, _ in bad}
    good = [row for row, path in enumerate(listing.paths) if not lost or path not in lost]
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
    root = os.path.join(listing.root, "")  # noqa: PTH118 - five times as fast as relative_to
    names = [str(path).removeprefix(root).replace(os.sep, "/") for path in listing.paths]
    return [rng.name_id(composed(name).encode("utf-8", "backslashreplace").decode()) for name in names]


def _resident(decoded: Decoded, options: Options) -> Callable[[torch.Tensor], Images]:
    assert decoded.pixels is not None  # noqa: S101
    tensor, read = torch.from_numpy(decoded.pixels).to(options.device), decoded.read
    return lambda rows: TensorImages(tensor, rows.to(tensor.device), read.digests, read.sums)


def _streamed(paths: list[Path], decoded: Decoded, options: Options) -> Callable[[torch.Tensor], Images]:
    read = decoded.read

    def make(rows: torch.Tensor) -> Images:
        common: dict[str, Any] = {
            "workers": options.workers,
            "device": options.device,
            "digests": read.digests[rows.numpy()],
            "sums": read.sums[rows.numpy()],
            "rules": read.rules,
        }
        chosen = [paths[row] for row in rows.tolist()]
        if decoded.pixels is None:
            return FileImages(chosen, decoded.size, **common)
        return MappedImages(decoded.pixels, rows.numpy(), chosen, **common)

    return make
