"""A loaded dataset: its images and labels in three splits."""

from dataclasses import dataclass, field

from torch import Tensor

from randhead.arguments import composed
from randhead.datasets._images import Images
from randhead.datasets._report import ReadReport
from randhead.tables import count, few

NAMED = 3  # bad images in a note


@dataclass(frozen=True)
class Split:
    """Images with their labels.

    Attributes:
        images: N images.
        labels: (N,) int64, on the device of the images.
    """

    images: Images
    labels: Tensor

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True)
class Dataset:
    """A loaded dataset.

    Attributes:
        name: the name in reports.
        class_names: names of the classes, in Unicode's composed form; a label is an index into them.
        splits: the splits "train", "val" and "test".
        image_size: side of the images in pixels.
        bad_images: image files that could not be used and were left out, each with the reason.
        mirrors: whether a mirrored image still has the same class, which is not so for digits.
        report: what reading the images left out, converted and found suspicious.
        bit_depth: number of bits that were taken as the range of 16-bit images; None if there are none.
        drawn_test: whether the test split was drawn from images that nobody has divided.
        cache_remark: why the decoded images are not kept for the next start, or were decoded again; usually empty.
    """

    name: str
    class_names: tuple[str, ...]
    splits: dict[str, Split]
    image_size: int
    bad_images: tuple[str, ...] = ()
    mirrors: bool = True
    report: ReadReport = field(default_factory=ReadReport)
    bit_depth: int | None = None
    drawn_test: bool = False
    cache_remark: str = ""

    def __post_init__(self) -> None:
        if isinstance(self.class_names, tuple) and all(isinstance(name, str) for name in self.class_names):
            object.__setattr__(self, "class_names", tuple(map(composed, self.class_names)))

    def notes(self) -> tuple[str, ...]:
        """A sentence for each thing that a user has to know about how the images were read."""
        named = few(self.bad_images, NAMED, "; ")
        bad = f"{count(len(self.bad_images), 'unreadable image')} left out: {named}" if self.bad_images else ""
        return tuple(note for note in (bad, *self.report.notes(), self.cache_remark) if note)
