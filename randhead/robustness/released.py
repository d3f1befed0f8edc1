"""Released corrupted sets (CIFAR-10-C, CIFAR-100-C, Tiny-ImageNet-C, ImageNet-C), and other sets in their layouts.

There are two layouts.  CIFAR: NAME.npy, uint8 (5 N, 32, 32, 3), severity 1 first, and labels.npy.  The others: folders
NAME/SEVERITY/CLASS/ of image files, also inside the folders of their archives (noise/, blur/, ...).  Images are never
resized: larger ones are cropped to their centre, as is usual for ImageNet-C.

Known defects are detected: the frost folder of one copy of Tiny-ImageNet-C has all 1,000 classes of ImageNet
(hendrycks/robustness, issue 60), which shifts every label if labels are assigned by counting folders.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from randhead.ambient import indices
from randhead.errors import DataFileError
from randhead.evaluation import features
from randhead.files import sha256
from randhead.robustness import layouts


@dataclass(frozen=True)
class ReleasedSet:
    """A corrupted set on disk, as a source of a grid (`images.Source`).

    Attributes:
        name: name of the folder.
        labels: (N,) int64, indices of the classes of the run.
        grid: the corruptions and severities that it has.
        notes: its defects.
        key: identifies the content, ready for JSON.
        read: corruption, severity and indices (B,) -> uint8 images (B, 3, H, W).
        compressed: whether it holds JPEG files.
        device: the device of the images.
        batch: images per batch.
        ids: (N,) int64, the images that are used.
    """

    name: str
    labels: Tensor
    grid: dict[str, tuple[int, ...]]
    notes: tuple[str, ...]
    key: dict[str, object]
    read: layouts.Read
    compressed: bool
    device: torch.device
    batch: int
    ids: Tensor

    @property
    def block(self) -> int:
        """All images: the cells have nothing in common, so they are read one after the other."""
        return -(-len(self.labels) // self.batch) * self.batch

    def cells(self, name: str, severities: Sequence[int], start: int, stop: int) -> Iterator[tuple[int, Tensor]]:
        """As in `images.Source`."""
        for severity in severities:
            yield severity, self.read(name, severity, self.ids[start:stop]).to(self.device)

    def take(self, ids: Tensor) -> "ReleasedSet":
        """The same set with only the images with these indices."""
        return replace(self, ids=self.ids[ids], labels=self.labels[ids.to(self.labels.device)])

    def identity(self) -> dict[str, object]:
        """As in `images.Source`."""
        return {**self.key, "ids": sha256(self.ids.numpy().tobytes())}


def open_set(
    folder: Path,
    class_names: Sequence[str],
    image_size: int,
    names: Sequence[str] | None = None,
    *,
    device: str | torch.device = "cpu",
) -> ReleasedSet:
    """Open the set in a folder.

    Args:
        folder: a folder in one of the two layouts.
        class_names: names of the classes of the run.
        image_size: image size of the run, in pixels.
        names: the corruptions to open, if the set has them: files of others are not looked at; None for all.
        device: the device of the images.

    Raises:
        DataError: for a folder without such a set or without these corruptions, and for sizes, shapes or labels that do
            not fit.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataFileError(f"{folder}: no such folder", hint=f"give {layouts.LAYOUT}")
    if (folder / "labels.npy").exists():
        found = layouts.open_arrays(folder, class_names, image_size, names)
    elif any(folder.glob("*.npy")):
        raise DataFileError(f"{folder}: labels.npy is missing", hint="unpack the whole archive of the set")
    else:
        found = layouts.open_folders(folder, class_names, image_size, names)
    return ReleasedSet(
        name=folder.name,
        labels=found.labels.to(torch.device(device)),
        grid=found.grid,
        notes=found.notes,
        key=found.key,
        read=found.read,
        compressed=found.compressed,
        device=torch.device(device),
        batch=features.batch_size(image_size),
        ids=indices(len(found.labels)),
    )
