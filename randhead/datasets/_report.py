"""What reading a dataset left out, converted and found suspicious, as counts and as sentences."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from randhead.tables import count

LISTED = 6  # file endings that a sentence names
SPLIT_WORDS = {"train": "training", "val": "validation", "test": "test"}  # splits in messages
NAMES = {**SPLIT_WORDS, "train or val": "training or validation"}


@dataclass(frozen=True)
class Copies:
    """The images of a split of which the same pixels are also in another split.

    Attributes:
        split: "val" or "test".
        of: the split that has them too: "train" for val, "train or val" for test.
        images: how many.
        total: the number of images of `split`.
    """

    split: str
    of: str
    images: int
    total: int

    def note(self) -> str:
        """A sentence about them."""
        which = f"{self.images:,} of {count(self.total, f'{NAMES.get(self.split, self.split)} image')}"
        verb = "is a duplicate" if self.images == 1 else "are duplicates"
        return f"{which} {verb} of {NAMES.get(self.of, self.of)} images"


@dataclass(frozen=True)
class ReadReport:
    """What reading a dataset left out, converted and found suspicious; by default nothing.

    Attributes:
        images: number of images that were looked at.
        folder: what else is to be said of the folder or the arrays, in sentences.
        left_out: file ending -> number of files that were left out because of it; "" for files without one.
        converted: kind of conversion -> number of images.
        one_colour: number of images that have a single colour, or almost, after conversion, by the kind of conversion;
            "" for images that were not converted.
        copies: images that are in two splits.
        two_classes: number of different images that occur under two or more classes.
        two_classes_files: number of files that they are in.
    """

    images: int = 0
    folder: tuple[str, ...] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)
    converted: Mapping[str, int] = field(default_factory=dict)
    one_colour: Mapping[str, int] = field(default_factory=dict)
    copies: tuple[Copies, ...] = ()
    two_classes: int = 0
    two_classes_files: int = 0

    def notes(self) -> tuple[str, ...]:
        """A sentence for each thing that a user has to know before training on these images."""
        found = (self._left_out(), *self.folder, self._converted(), self._one_colour())
        parts = (*found, *self._copies(), self._two_classes())
        return tuple(part for part in parts if part)

    def to_json(self) -> dict[str, Any]:
        """The document."""
        lists = {"folder": list(self.folder), "copies": [vars(found) for found in self.copies]}
        return {**vars(self), **{name: dict(getattr(self, name)) for name in MAPPINGS}, **lists}

    def _left_out(self) -> str:
        if not (total := sum(self.left_out.values())):
            return ""
        ranked = sorted(self.left_out.items(), key=lambda item: (-item[1], item[0]))
        if len(ranked) == 1:
            return f"left out {count(total, 'file')} without an image ending ({ranked[0][0] or 'none'})"
        kinds = [f"{number:,} {ending or 'with none'}" for ending, number in ranked[:LISTED]]
        if len(ranked) > LISTED:
            kinds.append(f"{sum(number for _, number in ranked[LISTED:]):,} others")
        return f"left out {count(total, 'file')} without an image ending ({', '.join(kinds)})"

    def _converted(self) -> str:
        return f"converted: {_kinds(self.converted)}" if self.converted else ""

    def _one_colour(self) -> str:
        if not (total := sum(self.one_colour.values())):
            return ""
        kinds = {kind: number for kind, number in self.one_colour.items() if kind}
        cause = f", after conversion ({_kinds(kinds)})" if kinds else ""
        which = f"{total:,} of {count(self.images, 'image')}"
        return f"{which} {'has' if total == 1 else 'have'} a single colour, or almost{cause}"

    def _copies(self) -> list[str]:
        return [found.note() for found in self.copies]

    def _two_classes(self) -> str:
        if not self.two_classes:
            return ""
        verb = "has" if self.two_classes == 1 else "have"
        which = count(self.two_classes, "image")
        return f"{which} {verb} duplicates under other classes, {count(self.two_classes_files, 'image')} in all"


MAPPINGS = ("left_out", "converted", "one_colour")


def _kinds(counts: Mapping[str, int]) -> str:
    """Kinds with their counts, the most frequent first."""
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{number:,} {kind}" for kind, number in ranked)
