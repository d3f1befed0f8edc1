"""The fingerprint of images and labels, which shows whether earlier work on them is still valid.

It depends on pixels as they are trained on, not on the names, times or places of files: a copy of the images on another
machine has the same one.  Resuming, the feature cache and the stored cells of a grid all use it.
"""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from torch import Tensor

from randhead import registry
from randhead.ambient import indices
from randhead.config import data_source
from randhead.datasets._dataset import Dataset, Split
from randhead.datasets._hold_out import known_of
from randhead.datasets._images import DIGEST, Images, digest
from randhead.datasets._report import SPLIT_WORDS

BATCH = 1024
HEX = 32  # digits of a stored hash
CLOCK_S = 1  # by which the times of a file system may lag behind the clock

Fingerprints = Mapping[str, Mapping[str, str]]  # of each split: the hash of its images, and that of their labels


def digests(images: Images, ids: Tensor | None = None) -> np.ndarray:
    """A hash of the pixels of each image.

    Images from files have theirs from the time when they were read.  Those of arrays are computed each time (3
    microseconds per image of 32 x 32 pixels), because the caller may change an array.

    Args:
        images: the images of a split.
        ids: (M,) int64, the images to include, in order; by default all.

    Returns:
        (M, 16) uint8.
    """
    order = indices(len(images)) if ids is None else ids.cpu()
    known = known_of(images, order, lambda read: read.digests)
    if known is not None:
        return known
    found = (digest(image) for batch in images.batches(order, BATCH) for image in batch.cpu().contiguous().numpy())
    return np.frombuffer(b"".join(found), dtype=np.uint8).reshape(-1, DIGEST)


def fingerprint(split: Split, ids: Tensor | None = None) -> str:
    """A hash of the images and labels of a split, in order.

    Args:
        split: the split.
        ids: (M,) int64, the images to include, in order; by default all.

    Returns:
        64 hexadecimal digits; the same without `ids` as with `ids` that name all images in order.
    """
    labels = split.labels.cpu() if ids is None else split.labels.cpu()[ids.cpu()]
    return _hash(tuple(split.images.shape), digests(split.images, ids), labels.numpy())


def fingerprints(dataset: Dataset, splits: Iterable[str] | None = None) -> dict[str, dict[str, str]]:
    """What a run keeps of its images, by split: a hash of the images as a set, and one of their order and labels.

    Args:
        dataset: the images.
        splits: the splits to include; by default all.
    """
    found = {}
    for name in dataset.splits if splits is None else splits:
        split = dataset.splits[name]
        each, labels = digests(split.images), split.labels.cpu().numpy()
        unordered = each[np.lexsort(each.T)]
        found[name] = {"images": _hash((), unordered)[:HEX], "labels": _hash((), each, labels)[:HEX]}
    return found


def changes(saved: Fingerprints, found: Fingerprints) -> list[str]:
    """What differs between two results of `fingerprints`, in words; splits that one of them lacks are not compared."""
    different = []
    for split, name in SPLIT_WORDS.items():
        old, new = saved.get(split), found.get(split)
        if old is None or new is None or old == new:
            continue
        if old.get("images") != new.get("images"):
            different.append(f"other {name} images")
        else:
            different.append(f"the same {name} images with other labels or in another order")
    return different


def changed_since(name: str, time_s: float) -> bool:
    """Whether anything in a folder of images was written, renamed or copied since a time; False for other datasets.

    Args:
        name: name of a dataset, or a folder of images.
        time_s: seconds since 1970.

    Raises:
        DataError: if it is not a folder of images any more.
    """
    found = None if registry.is_file(name) else data_source.find(name)
    if not isinstance(found, Path):
        return False
    from randhead.datasets import image_folder  # which imports this package

    paths = image_folder.listing(found).paths
    return any(path.stat().st_ctime > time_s - CLOCK_S for path in (found, *{path.parent for path in paths}, *paths))


def _hash(shape: tuple[int, ...], *parts: np.ndarray) -> str:
    hashed = hashlib.sha256(repr((shape, [part.shape for part in parts])).encode())
    for part in parts:
        hashed.update(np.ascontiguousarray(part).data)
    return hashed.hexdigest()
