"""Images that occur more than once: in two splits, or in two classes.  Only equal pixels count, not similar ones.

Images are compared as the network sees them, by 64 bits of a hash of their pixels: among a million different images,
two have the same with a probability of 3e-8.  Images of a single colour are left out: they are equal for another
reason.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from randhead.ambient import indices
from randhead.datasets._dataset import Split
from randhead.datasets._decode import FLAT
from randhead.datasets._fingerprint import digests
from randhead.datasets._images import Images
from randhead.datasets._report import Copies, ReadReport

NO_KEY = 0  # of images that are not compared
OF = {"test": ("train", "val"), "val": ("train",)}  # what a split must not have copies of
BATCH = 1024


@dataclass(frozen=True)
class Compared:
    """N images that are compared with each other.

    Attributes:
        keys: (N,) uint64, equal for equal pixels; NO_KEY for images that are not compared.
        labels: (N,) int64.
        rows: the indices of the images per split.
    """

    keys: np.ndarray
    labels: np.ndarray
    rows: Mapping[str, np.ndarray]

    def add_to(self, report: ReadReport) -> ReadReport:
        """A report with what occurs more than once."""
        mixed = self._in_two_classes()
        return replace(
            report,
            copies=tuple(self._copies()),
            two_classes=len(np.unique(self.keys[mixed])),
            two_classes_files=len(mixed),
        )

    def duplicates(self) -> int:
        """The number of images that are equal to an earlier one."""
        compared = self.keys[self.keys != NO_KEY]
        return len(compared) - len(np.unique(compared))

    def pairs(self, names: Sequence[str]) -> Iterator[tuple[str, str]]:
        """The names of images of val and test, each with that of an equal image of a split that must not have it."""
        for split, others in OF.items():
            if (present := self._present(others)) and split in self.rows:
                before = np.concatenate([self.rows[other] for other in present])[::-1]
                there = {self.keys[row]: names[row] for row in before if self.keys[row]}
                yield from ((names[row], there[self.keys[row]]) for row in self.rows[split] if self.keys[row] in there)

    def groups(self, names: Sequence[str]) -> list[tuple[str, ...]]:
        """The names of equal images of different classes, sorted."""
        found: dict[int, list[str]] = {}
        for row in self._in_two_classes():
            found.setdefault(int(self.keys[row]), []).append(names[row])
        return sorted(map(tuple, found.values()))

    def _in_two_classes(self) -> np.ndarray:
        """The indices of images whose pixels occur under two or more labels, those with equal pixels together."""
        order = np.lexsort((self.labels, self.keys))
        found, under = self.keys[order], self.labels[order]
        differ = (found[1:] == found[:-1]) & (under[1:] != under[:-1]) & (found[1:] != NO_KEY)
        return order[np.isin(found, found[1:][differ])]

    def _copies(self) -> Iterator[Copies]:
        for split, of in OF.items():
            if (present := self._present(of)) and split in self.rows:
                own = self.keys[self.rows[split]]
                others = self.keys[np.concatenate([self.rows[name] for name in present])]
                if found := int((np.isin(own, others) & (own != NO_KEY)).sum()):
                    yield Copies(split, " or ".join(present), found, len(own))

    def _present(self, splits: Sequence[str]) -> list[str]:
        return [name for name in splits if name in self.rows]


def keys(digests: np.ndarray, flat: np.ndarray) -> np.ndarray:
    """What images are compared by: (N,) uint64, from (N, 16) uint8, and whether they have a single colour (N,) bool."""
    first = np.ascontiguousarray(digests[:, :8]).view(np.uint64).reshape(-1)
    return np.where(flat, np.uint64(NO_KEY), first)


def compare(splits: Mapping[str, Split]) -> Compared:
    """Compare images in memory, split after split."""
    found = np.concatenate([keys(digests(split.images), _flat(split.images)) for split in splits.values()])
    ends = np.cumsum([len(split) for split in splits.values()])
    rows = dict(zip(splits, np.split(np.arange(ends[-1]), ends[:-1]), strict=True))
    labels = torch.cat([split.labels.cpu() for split in splits.values()]).numpy()
    return Compared(found, labels, rows)


def report_of(compared: Compared) -> ReadReport:
    """What there is to say about images in memory."""
    blank = int((compared.keys == NO_KEY).sum())
    return compared.add_to(ReadReport(len(compared.keys), one_colour={"": blank} if blank else {}))


def _flat(images: Images) -> np.ndarray:
    """Whether each image has a single colour, or almost: (N,) bool."""
    found = []
    for batch in images.batches(indices(len(images)), BATCH):
        channels = batch.flatten(2)
        found.append(((channels.amax(2) - channels.amin(2)) < FLAT).all(dim=1).cpu().numpy())
    return np.concatenate(found)
