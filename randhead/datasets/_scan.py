"""Everything that a person wants to know about a dataset before training on it: `randhead doctor --data`."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from randhead.datasets._copies import NO_KEY, OF, in_two_classes
from randhead.datasets._fingerprint import SPLIT_WORDS
from randhead.datasets._reading import Bad
from randhead.datasets._report import ReadReport
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


def count_classes(class_names: tuple[str, ...], labels: Mapping[str, np.ndarray]) -> dict[str, dict[str, int]]:
    """Class -> split -> number of images, from the labels of each split."""
    counts = {split: np.bincount(found, minlength=len(class_names)).tolist() for split, found in labels.items()}
    return {name: {split: counts[split][k] for split in counts} for k, name in enumerate(class_names)}


def pairs(keys: np.ndarray, names: list[str], split_rows: Mapping[str, np.ndarray]) -> Iterator[tuple[str, str]]:
    """Images of val and test, each with an equal one of a split that must not have it."""
    for split, others in OF.items():
        if split in split_rows:
            there = {keys[row]: names[row] for other in others for row in split_rows[other][::-1] if keys[row]}
            for row in split_rows[split]:
                if keys[row] in there:
                    yield names[row], there[keys[row]]


def count_duplicates(keys: np.ndarray) -> int:
    """The number of images that are equal to an earlier one."""
    compared = keys[keys != NO_KEY]
    return len(compared) - len(np.unique(compared))


def groups(keys: np.ndarray, names: list[str], labels: np.ndarray) -> Iterator[tuple[str, ...]]:
    """Equal images of different classes."""
    found: dict[int, list[str]] = {}
    for row in in_two_classes(keys, labels):
        found.setdefault(int(keys[row]), []).append(names[row])
    yield from sorted(tuple(group) for group in found.values())


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
