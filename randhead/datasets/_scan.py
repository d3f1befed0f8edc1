"""Everything that a person wants to know about a dataset before training on it: `randhead doctor --data`."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from randhead.config import data_source
from randhead.datasets._dataset import Dataset
from randhead.datasets._duplicates import NO_KEY, Compared, compare, report_of
from randhead.datasets._files import Listing, report_on, split_rows
from randhead.datasets._image_size import at_chosen_size
from randhead.datasets._opening import AS_FOUND
from randhead.datasets._options import Options, Progress
from randhead.datasets._reading import Bad, FilesRead, read_files
from randhead.datasets._report import SPLIT_WORDS, ReadReport
from randhead.tables import Cell, Result, Table, count, rows

MOST_CLASSES = 24  # rows of a table of classes; of more, only the largest and the smallest are shown
ENDS = 8  # of them at each end
LISTED = 10  # images that a table names
KINDS = {  # Pillow's names of modes
    "1": "black and white",
    "L": "greyscale",
    "P": "palette",
    "I;16": "16-bit greyscale",
    "I": "32-bit greyscale",
}


@dataclass(frozen=True)
class Scan(Result):
    """The images of a dataset: how many, of which kinds, and what is wrong with them.

    Attributes:
        folder: the folder, or the name of the dataset.
        bad_images: path and reason for each image that cannot be used.
        classes: class -> split -> number of images, the splits as they are trained on by default.
        report: what was left out, converted and found suspicious.
        sizes: width and height -> number of files.
        modes: kind of pixels -> number of files.
        one_colour: the images that have a single colour, or almost.
        copies: images with the image of another split that they are copies of.
        two_classes: groups of equal images under two or more classes.
        duplicates: number of images that are equal to an earlier one, in any split and class.
    """

    folder: str
    bad_images: tuple[Bad, ...] = ()
    classes: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    report: ReadReport = field(default_factory=ReadReport)
    sizes: Mapping[tuple[int, int], int] = field(default_factory=dict)
    modes: Mapping[str, int] = field(default_factory=dict)
    one_colour: tuple[str, ...] = ()
    copies: tuple[tuple[str, str], ...] = ()
    two_classes: tuple[tuple[str, ...], ...] = ()
    duplicates: int = 0

    @property
    def imbalance(self) -> float | None:
        """How many times as many images the largest class has as the smallest; None without images."""
        totals = _per_class(self.classes)
        return max(totals) / min(totals) if totals and min(totals) > 0 else None

    def to_json(self) -> dict[str, Any]:
        """The document of `randhead doctor --data --json`."""
        return {
            "folder": self.folder,
            "bad_images": [{"path": str(path), "reason": reason} for path, reason in self.bad_images],
            "classes": {name: dict(counts) for name, counts in self.classes.items()},
            "images": dict(_totals(self.classes)),
            "imbalance": self.imbalance,
            "sizes": {f"{width}x{height}": number for (width, height), number in self.sizes.items()},
            "modes": dict(self.modes),
            "one_colour": list(self.one_colour),
            "copies": [{"image": image, "of": of} for image, of in self.copies],
            "two_classes": [list(group) for group in self.two_classes],
            "duplicates": self.duplicates,
            "report": self.report.to_json(),
        }

    def tables(self) -> Iterator[Table]:
        """The dataset in a few lines, its classes, and the images that are not as they should be."""
        if self.classes:
            yield Table("", ("", "found"), rows(self._summary()), self.report.notes())
            yield self._class_table()
        yield from _list("images of a single colour, or almost", ("image",), [(image,) for image in self.one_colour])
        yield from _list("duplicates in two splits", ("image", "is equal to"), self.copies)
        groups = [(group[0], ", ".join(group[1:])) for group in self.two_classes]
        yield from _list("duplicates in two classes", ("image", "is equal to"), groups)
        if self.bad_images:
            lines = rows((str(path), reason) for path, reason in self.bad_images)
            yield Table("", ("unreadable image", "reason"), lines)

    def _summary(self) -> Iterator[tuple[str, str]]:
        totals, number = _totals(self.classes), sum(_totals(self.classes).values())
        splits = ", ".join(f"{number:,} {SPLIT_WORDS.get(split, split)}" for split, number in totals.items())
        yield "images", f"{number:,} ({splits})"
        per_class = sorted(_per_class(self.classes))
        low, high = per_class[0], per_class[-1]
        sizes = f"{count(low, 'image')} each" if low == high else f"{low:,} to {high:,} images"
        yield "classes", f"{len(per_class):,}, of {sizes}"
        if self.imbalance:
            yield "imbalance", f"{self.imbalance:.3g} (largest class : smallest class)"
        if self.sizes:
            yield "size", _size_words(self.sizes)
        if self.modes:
            ranked = Counter(self.modes).most_common()
            yield "pixels", ", ".join(f"{number:,} {KINDS.get(mode, mode)}" for mode, number in ranked)
        blank, found = sum(self.report.one_colour.values()), self.report
        yield "single colour", f"{blank:,}" if blank else "none"
        across = sum(part.images for part in found.copies)
        parts = ((self.duplicates, ""), (across, " in two splits"), (found.two_classes_files, " in two classes"))
        yield "duplicates", ", ".join(f"{number:,}{where}" for number, where in parts if number) or "none"
        yield "unreadable", f"{len(self.bad_images):,}" if self.bad_images else "none"

    def _class_table(self) -> Table:
        splits = list(_totals(self.classes))
        columns = ("class", *splits, "all")

        def line(name: str) -> tuple[Cell, ...]:
            counts = self.classes[name]
            return (name, *(counts.get(split, 0) for split in splits), sum(counts.values()))

        if len(self.classes) <= MOST_CLASSES:
            return Table("", columns, rows(map(line, self.classes)))
        ranked = sorted(self.classes, key=lambda name: -sum(self.classes[name].values()))
        shown = [*map(line, ranked[:ENDS]), ("...", *[None] * (len(splits) + 1)), *map(line, ranked[-ENDS:])]
        left = count(len(ranked) - 2 * ENDS, "class")
        return Table("", columns, rows(shown), (f"the largest and the smallest; {left} between them: see `json=True`",))


def scan(
    data: str | Path,
    *,
    workers: int | None = None,
    max_megapixels: float | None = None,
    progress: Progress | None = None,
) -> Scan:
    """Read every image of a dataset, and find out what is in it and what is wrong with it.

    Args:
        data: a folder of images, or the name of a dataset, which is downloaded if it is missing.  A `Path` is always a
            folder.
        workers: number of threads that decode; None for one per processor.
        max_megapixels: larger images cannot be used; None for 89.5.
        progress: called with (done, total).

    Returns:
        The `Scan`, which a notebook shows as tables.

    Raises:
        UsageError: for a name that is unknown.
        DataError: if the folder does not have a known layout.
    """
    limit = AS_FOUND.max_megapixels if max_megapixels is None else max_megapixels
    options = Options(workers=workers or min(256, os.cpu_count() or 1), max_megapixels=limit, progress=progress)
    found = data_source.folder(data) if isinstance(data, Path) else data_source.find(data)
    if isinstance(found, Path):
        from randhead.datasets import image_folder

        return _scan_files(str(data), image_folder.listing(found), options, image_folder.TEST_SHARE)
    from randhead.datasets import load

    return _scan_dataset(load(found, **vars(options)))


def _scan_files(folder: str, listing: Listing, options: Options, test_share: float) -> Scan:
    def read_at(size: int, alike: bool) -> FilesRead:
        workers, progress = options.workers, options.progress
        return read_files(listing.paths, size, None, options.rules, workers=workers, alike=alike, progress=progress)

    read = at_chosen_size(listing.paths, options, read_at)
    good = {row: facts for row, facts in enumerate(read.facts) if facts is not None}
    members = {split: found.numpy() for split, found in split_rows(listing, [*good], options, test_share).items()}
    names = [path.relative_to(listing.root).as_posix() for path in listing.paths]
    return replace(
        _compared(folder, listing.class_names, read.compared(listing.label_array(), members), names),
        bad_images=tuple(read.bad),
        report=report_on(listing, read, members),
        sizes=dict(Counter(facts.size for facts in good.values()).most_common()),
        modes=dict(Counter(facts.mode for facts in good.values()).most_common()),
        one_colour=tuple(names[row] for row, facts in good.items() if facts.flat),
    )


def _scan_dataset(dataset: Dataset) -> Scan:
    """The result for images in memory, which are named by their split and their index in it."""
    compared = compare(dataset.splits)
    names = [f"{split} {i}" for split, members in compared.rows.items() for i in range(len(members))]
    found = report_of(compared)
    return replace(
        _compared(dataset.name, dataset.class_names, compared, names),
        report=replace(found, left_out=dataset.report.left_out, folder=dataset.report.folder),
        sizes={(dataset.image_size, dataset.image_size): len(names)},
        one_colour=tuple(names[row] for row in (compared.keys == NO_KEY).nonzero()[0]),
    )


def _compared(folder: str, class_names: Sequence[str], compared: Compared, names: Sequence[str]) -> Scan:
    """The classes of images, and what occurs more than once."""
    splits, classes = compared.rows, range(len(class_names))
    counts = {
        split: np.bincount(compared.labels[rows], minlength=len(classes)).tolist() for split, rows in splits.items()
    }
    return Scan(
        folder=folder,
        classes={class_names[k]: {split: counts[split][k] for split in splits} for k in classes},
        copies=tuple(compared.pairs(names)),
        two_classes=tuple(compared.groups(names)),
        duplicates=compared.duplicates(),
    )


def _per_class(classes: Mapping[str, Mapping[str, int]]) -> list[int]:
    return [sum(counts.values()) for counts in classes.values()]


def _totals(classes: Mapping[str, Mapping[str, int]]) -> Counter[str]:
    totals: Counter[str] = Counter()
    for counts in classes.values():
        totals.update(counts)
    return totals


def _size_words(sizes: Mapping[tuple[int, int], int]) -> str:
    if len(sizes) == 1:
        ((width, height),) = sizes
        return f"{width} x {height}"
    small, large = min(sizes, key=lambda size: size[0] * size[1]), max(sizes, key=lambda size: size[0] * size[1])
    (width, height), number = next(iter(sizes.items()))
    return (
        f"{small[0]} x {small[1]} to {large[0]} x {large[1]}, {len(sizes):,} different; "
        f"most often {width} x {height} ({number:,})"
    )


def _list(title: str, columns: tuple[str, ...], lines: Iterable[tuple[str, ...]]) -> Iterator[Table]:
    """A table of the first images, if there are any."""
    found = list(lines)
    if found:
        notes = (f"and {len(found) - LISTED:,} more: see `json=True`",) if len(found) > LISTED else ()
        yield Table(title, columns, rows(found[:LISTED]), notes)
