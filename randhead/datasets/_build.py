"""Building a Dataset from images and labels; missing splits are drawn from the training images, per class by seed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from randhead.ambient import Array, indices
from randhead.datasets._array_checks import check_build, checked_arrays
from randhead.datasets._dataset import Dataset, Split
from randhead.datasets._duplicates import compare, report_of
from randhead.datasets._fewer import fewer_rows
from randhead.datasets._images import Images, ResizedImages, TensorImages, resized
from randhead.datasets._options import Options
from randhead.datasets._ranks import ranks_in_class
from randhead.datasets._report import LISTED
from randhead.errors import DataError
from randhead.tables import few

RESIZE_CHUNK = 4096  # images


def held_out(labels: Tensor, ids: Tensor, share: float, *, seed: int, purpose: str) -> Tensor:
    """Choose the images to hold out: labels (N,), ids (N,) int64 -> (N,) bool.

    The share is the same for each class, rounded, but at least one image is held out and at least one remains.  The
    choice depends only on the seed and the ids.
    """
    counts = torch.bincount(labels)
    quota = (counts * share).round().clamp_min(1).minimum(counts - 1)
    return ranks_in_class(labels, ids, seed=seed, purpose=purpose) < quota[labels]


def complete(
    rows: dict[str, Tensor], labels: Tensor, ids: Tensor, options: Options, test_share: float
) -> dict[str, Tensor]:
    """The rows of all three splits; missing splits are drawn from train.  `labels` and `ids` are those of all rows.

    Images without a training split are not divided.
    """
    if "train" not in rows:
        return dict(rows)
    rows, drawn_val = dict(rows), "val" not in rows
    shares = {"test": test_share, "val": options.validation}
    if "test" not in rows:
        shares["val"] /= 1 - test_share  # both are shares of all images, and the test split is drawn first
    for name, share in shares.items():
        if name not in rows:
            train = rows["train"]
            held = held_out(labels[train], ids[train], share, seed=options.split_seed, purpose=f"split/{name}")
            rows["train"], rows[name] = train[~held], train[held]
    ordered = {name: rows[name] for name in ("train", "val", "test")}
    return fewer_rows(ordered, labels, ids, options, drawn_val=drawn_val)


def build(
    name: str,
    class_names: tuple[str, ...],
    images: Callable[[Tensor], Images],
    labels: Tensor,
    rows: dict[str, Tensor],
    options: Options,
) -> Dataset:
    """Build the Dataset of `images(rows)` and `labels[rows]`.  Raises DataError for a split without images."""
    for split, members in rows.items():
        if not len(members):
            raise DataError(
                f"{name}: no images are left for the {split} split", hint="add images: two or more per class"
            )
    splits = {split: Split(images(members), labels[members].to(options.device)) for split, members in rows.items()}
    size = next(iter(splits.values())).images.shape[1]
    return Dataset(name, class_names, splits, size)


def build_arrays(
    name: str,
    class_names: tuple[str, ...],
    pixels: Tensor,
    labels: Tensor,
    rows: dict[str, Tensor],
    options: Options,
    *,
    test_share: float = 0.0,
) -> Dataset:
    """As `from_arrays`, without a report: for published sets, which nobody can change."""
    rows = complete(rows, labels, indices(len(labels)), options, test_share)
    return build(name, class_names, _images(pixels, options), labels, rows, options)


def from_arrays(
    name: str,
    class_names: Sequence[str],
    pixels: Array,
    labels: Array,
    rows: Mapping[str, Array],
    options: Options,
    *,
    test_share: float = 0.0,
) -> Dataset:
    """Build a Dataset from arrays: resident in memory on `options.device`, unless resizing enlarges them too much.

    Args:
        name: the name in reports.
        class_names: names of the K classes.
        pixels: (N, 3, H, H) uint8.
        labels: (N,) whole numbers, each from 0 to K - 1.
        rows: the indices of the images per split, each in one split; missing splits are drawn from "train".
        options: image size, share of the validation split and seed.
        test_share: share of the images that becomes the test split if `rows` has none.

    Returns:
        The dataset.  Its report has images that occur twice, those of a single colour, and classes without a
        training image.

    Raises:
        UsageError: for arguments of other types.
        DataError: if a split has no images, for arrays that do not fit, and for labels and rows out of range.
    """
    check_build(name, options, test_share)
    arrays = checked_arrays(class_names, pixels, labels, rows)
    dataset = with_report(build_arrays(name, *arrays, options, test_share=test_share))
    return replace(dataset, report=replace(dataset.report, folder=_untrained(dataset)))


def with_report(dataset: Dataset) -> Dataset:
    """The dataset with a report on its images, if they are in memory."""
    if all(isinstance(split.images, TensorImages) for split in dataset.splits.values()):
        return replace(dataset, report=report_of(compare(dataset.splits)))
    return dataset


def _untrained(dataset: Dataset) -> tuple[str, ...]:
    """A sentence on the classes without a training image."""
    if "train" not in dataset.splits:
        return ()
    counts = dataset.splits["train"].labels.bincount(minlength=len(dataset.class_names)).tolist()
    empty = [name for name, n in zip(dataset.class_names, counts, strict=True) if not n]
    return (f"{len(empty)} of {len(counts)} classes have no training image: {few(empty, LISTED)}",) if empty else ()


def _images(pixels: Tensor, options: Options) -> Callable[[Tensor], Images]:
    """A function that makes the images of some rows, of the size in the options.

    Images that are enlarged beyond the memory budget (50,000 of CIFAR to 224 px: 7 GiB) are resized batch by batch.
    """
    size = options.image_size
    if size is not None and size != pixels.shape[-1]:
        if len(pixels) * 3 * size**2 > max(options.memory_budget, pixels.numel()):
            return lambda members: ResizedImages(pixels, members.cpu(), size, device=options.device)
        pixels = torch.cat([resized(part, size) for part in pixels.split(RESIZE_CHUNK)])
    resident = pixels.contiguous().to(options.device)
    return lambda members: TensorImages(resident, members.to(resident.device))
