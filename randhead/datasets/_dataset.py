"""A loaded data set: its images and labels in three splits."""

from dataclasses import dataclass

from torch import Tensor

from randhead.datasets._images import Images


@dataclass(frozen=True)
class Split:
    """Images with their labels, (N,) int64 on the device of the images."""

    images: Images
    labels: Tensor

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True)
class Dataset:
    """A loaded data set.  `splits` has the keys train, val and test; `bad_images` lists what was left out, and why."""

    name: str
    class_names: tuple[str, ...]
    splits: dict[str, Split]
    image_size: int
    bad_images: tuple[str, ...] = ()
    mirrors: bool = True  # whether a mirrored image keeps its class; digits do not
