"""Images that occur more than once: in two splits, or in two classes.  Only equal pixels count, not similar ones.

Images are compared as the network sees them, by 64 bits of a hash of their pixels: among a million different images,
two have the same with a probability of 3e-8.  Images of a single colour are left out: they are equal for another
reason.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
import torch

from randhead.ambient import indices
from randhead.datasets._decode import FLAT
from randhead.datasets._fingerprint import digests
from randhead.datasets._images import Images
from randhead.datasets._report import Copies, ReadReport

NO_KEY = 0  # of images that are not compared
OF = {"test": ("train", "val"), "val": ("train",)}  # what a split must not have copies of
BATCH = 1024


def with_copies(report: ReadReport, keys: np.ndarray, labels: np.ndarray, rows: Mapping[str, np.ndarray]) -> ReadReport:
    """A report with what occurs more than once.

    Args:
        report: the rest of the report.
        keys: (N,) uint64, one per image, equal for equal pixels.
        labels: (N,) int64.
        rows: the indices of the images per split.
    """
    mixed = in_two_classes(keys, labels)
    return replace(
        report,
        copies=tuple(_copies(keys, rows)),
        two_classes=len(np.unique(keys[mixed])),
        two_classes_files=len(mixed),
    )


def in_two_classes(keys: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The indices of the images whose pixels occur under two or more labels, those with equal pixels together."""
    order = np.lexsort((labels, keys))
    found, under = keys[order], labels[order]
    differ = (found[1:] == found[:-1]) & (under[1:] != under[:-1]) & (found[1:] != NO_KEY)
    return order[np.isin(found, found[1:][differ])]


def keys(digests: np.ndarray, flat: np.ndarray) -> np.ndarray:
    """What images are compared by: (N,) uint64, from (N, 16) uint8, and whether they have a single colour (N,) bool."""
    first = np.ascontiguousarray(digests[:, :8]).view(np.uint64).reshape(-1)
    return np.where(flat, np.uint64(NO_KEY), first)


def report_of(splits: Mapping[str, tuple[Images, torch.Tensor]]) -> ReadReport:
    """What there is to say about images in memory, as images and labels per split."""
    found, labels, rows = comparable(splits)
    blank = int((found == NO_KEY).sum())
    return with_copies(ReadReport(len(found), one_colour={"": blank} if blank else {}), found, labels, rows)


def comparable(
    splits: Mapping[str, tuple[Images, torch.Tensor]],
) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """The keys and labels (N,) of all images, split after split, and the indices per split."""
    flat = {name: _flat(images) for name, (images, _) in splits.items()}
    found = np.concatenate([keys(digests(images), flat[name]) for name, (images, _) in splits.items()])
    ends = np.cumsum([len(images) for images, _ in splits.values()])
    rows = dict(zip(splits, np.split(np.arange(ends[-1]), ends[:-1]), strict=True))
    labels = torch.cat([labels.cpu() for _, labels in splits.values()]).numpy()
    return found, labels, rows


def _copies(keys: np.ndarray, rows: Mapping[str, np.ndarray]) -> Iterator[Copies]:
    for split, of in OF.items():
        if split in rows:
            own, others = keys[rows[split]], np.concatenate([keys[rows[other]] for other in of])
            if found := int((np.isin(own, others) & (own != NO_KEY)).sum()):
                yield Copies(split, " or ".join(of), found, len(own))


def _flat(images: Images) -> np.ndarray:
    """Whether each image has a single colour, or almost: (N,) bool."""
    found = []
    for batch in images.batches(indices(len(images)), BATCH):
        channels = batch.flatten(2)
        found.append(((channels.amax(2) - channels.amin(2)) < FLAT).all(dim=1).cpu().numpy())
    return np.concatenate(found)
