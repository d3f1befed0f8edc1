"""A model on a grid of corruptions and severities, streamed: clean batch in, all its cells out.

No corrupted set is written or held.  Clean images are decoded once, a block of them at a time; a block of a resident
set of 32 px is 20,000 images.  Blocks come first, then corruptions, then batches, and every batch is corrupted at all
severities with one random field: so that all severities, and all models, meet the same fields.  Figures are kept as
sums and one bit an image and cell (`tally`), which does not grow with the features, and a grid that was stopped goes
on with the batch at which it was.
"""

import functools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from randhead import corruptions, datasets, rng
from randhead.corruptions import FrostImages
from randhead.datasets import Split
from randhead.errors import StopRequested, UsageError, unknown
from randhead.evaluation import features
from randhead.files import sha256
from randhead.model import Classifier
from randhead.preprocess import Preprocess
from randhead.robustness.accumulator import Tally, measure
from randhead.runs import checkpoint

CLEAN = "clean"
BLOCK_BYTES = 64 << 20  # of clean images held at a time
SAVE_EVERY_S = 5.0

Own = Callable[[Tensor, int, Tensor, int], Tensor]  # a user's corruption: images, severity, ids, seed -> images
Grid = Mapping[str, Sequence[int]]  # corruptions with their severities; "clean" has severity 0


@dataclass(frozen=True)
class Advanced:
    """One batch is through: how many images times cells of how many."""

    done: int
    total: int


@dataclass(frozen=True)
class RowDone:
    """A corruption has seen the block's images.  `figures` by severity, of `seen` images of `n`."""

    name: str
    figures: dict[int, dict[str, float]]
    seen: int
    n: int


Event = Advanced | RowDone


class Source(Protocol):
    """The images of a grid's cells.  `labels` (n,) on the model's device; `batch` and `block`: how many at a time.

    All cells of a block come before the next block, so that a source may hold what its cells have in common.
    """

    labels: Tensor
    batch: int
    block: int

    def cells(self, name: str, severities: Sequence[int], start: int, stop: int) -> Iterator[tuple[int, Tensor]]:
        """Images start..stop-1 at each severity: (severity, uint8 (b, 3, H, W))."""
        ...


@dataclass(frozen=True)
class Recipe:
    """How images are corrupted.  `own` has a user's corruptions by name; `own_sha256` tells one file from another."""

    seed: int = 0
    parameters: str | None = None  # a published set; None takes the one of the image size
    frost_images: FrostImages | None = None  # None takes the procedural ones
    own: Mapping[str, Own] = field(default_factory=dict)
    own_sha256: str | None = None

    def describe(self, size: tuple[int, int]) -> dict[str, Any]:
        """The recipe on images of a size, as reports name it."""
        return {
            "seed": self.seed,
            "parameters": self.parameters or corruptions.parameters_for(size),
            "frost": self.frost_images.name if self.frost_images else "procedural",
        }


class Corrupted:
    """The images of a split, corrupted when they are asked for.  `ids` (n,) int64, ascending, chooses some of them.

    An image's id is its index in the split, so that its fields do not depend on which others were chosen.
    """

    def __init__(self, split: Split, recipe: Recipe, *, ids: Tensor | None = None):
        self.split, self.recipe = split, recipe
        self.ids = torch.arange(len(split)) if ids is None else ids.cpu()
        self.labels = split.labels[self.ids.to(split.labels.device)]
        self.batch = features.batch_size(split.images.shape[-1])
        self.block = self.batch * max(1, BLOCK_BYTES // (self.batch * prod(split.images.shape)))
        self._held: tuple[int, Tensor] | None = None

    def cells(self, name: str, severities: Sequence[int], start: int, stop: int) -> Iterator[tuple[int, Tensor]]:
        """As in `Source`."""
        images, ids, recipe = self._clean(start, stop), self.ids[start:stop], self.recipe
        if name == CLEAN:
            yield 0, images
        elif name in recipe.own:
            for severity in severities:
                yield severity, _checked(recipe.own[name](images.clone(), severity, ids, recipe.seed), images, name)
        else:
            yield from corruptions.corrupt_each(
                images,
                name,
                severities,
                recipe.seed,
                ids,
                parameters=recipe.parameters,
                frost_images=recipe.frost_images,
            )

    def identity(self) -> dict[str, Any]:
        """What its cells depend on, besides the model."""
        recipe, frost_images = self.recipe, self.recipe.frost_images
        pictures = {str(i): picture for i, picture in enumerate(frost_images.images)} if frost_images else {}
        return {
            "images": fingerprint(self.split, self.ids),
            "ids": checkpoint.state_sha256({"ids": self.ids}),
            "textures": checkpoint.state_sha256(pictures),
            "own": recipe.own_sha256,
            "code": _code(),
            **recipe.describe(self.split.images.shape[1:]),
        }

    def _clean(self, start: int, stop: int) -> Tensor:
        first = start // self.block * self.block
        if self._held is None or self._held[0] != first:
            self._held = None  # the old block goes before the new one comes
            order = self.ids[first : first + self.block]
            self._held = first, torch.cat(list(self.split.images.batches(order, self.batch)))
        return self._held[1][start - first : stop - first]


def run(
    model: Classifier,
    source: Source,
    grid: Grid,
    preprocess: Preprocess,
    tally: Tally,
    *,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Event]:
    """Fill `tally` with the cells of `grid` that it lacks.

    The tally is saved now and then, at the end, and where `stop` answers True, which raises StopRequested.
    """
    model.eval()
    n, size = len(source.labels), source.batch
    total = n * sum(map(len, grid.values()))
    done = sum(tally.seen(name, severity) for name, severities in grid.items() for severity in severities)
    saved = time.monotonic()
    for block in range(0, n, source.block):
        end = min(n, block + source.block)
        for name, severities in grid.items():
            for start in range(block, end, size):
                wanted = [severity for severity in severities if tally.seen(name, severity) <= start]
                if not wanted:
                    continue
                if stop():
                    tally.save()
                    raise StopRequested("stopped between two batches of the grid")
                last = min(start + size, end)
                labels = source.labels[start:last]
                for severity, images in source.cells(name, wanted, start, last):
                    embedded = features.embed(model, images, preprocess)
                    answers = model.head.answers(embedded, labels, k=1)
                    tally.add(name, severity, start, *measure(embedded, answers, labels))
                done += len(wanted) * (last - start)
                yield Advanced(done, total)
                if time.monotonic() - saved > SAVE_EVERY_S:
                    tally.save()
                    saved = time.monotonic()
            figures = {severity: tally.figures(name, severity) for severity in severities}
            yield RowDone(name, figures, tally.seen(name, severities[0]), n)
    tally.save()


def chosen(
    names: Sequence[str], severities: Sequence[int], *, skip: Sequence[str] = (), own: Sequence[str] = ()
) -> dict[str, tuple[int, ...]]:
    """The grid of some corruptions, or groups of them ("benchmark", "extra", "all"), in order, clean images first.

    Raises UsageError for unknown names and for severities that are not 1 to 5.
    """
    known = [*corruptions.names(), *own]
    groups = {"all": corruptions.names(), **{g: corruptions.names(g) for g in ("benchmark", *corruptions.groups())}}
    for name in [*names, *skip]:
        if name not in known and (name not in groups or name in skip):
            raise unknown("corruption", name, known if name in skip else [*known, *groups])
    wanted = {member for name in names for member in groups.get(name, [name])} | set(own)
    if not severities or not set(severities) <= set(corruptions.SEVERITIES):
        given = ", ".join(map(str, severities)) or "none"
        raise UsageError(f"severities must be 1 to 5, got {given}", hint="5 is the strongest; clean images always run")
    rows = [name for name in known if name in wanted and name not in skip]
    if not rows:
        raise UsageError("no corruption is left", hint="skip fewer of them")
    return {CLEAN: (0,), **dict.fromkeys(rows, tuple(sorted(set(severities))))}


def subset(labels: Tensor, limit: int | None, *, seed: int = 0) -> Tensor:
    """Which images to take: labels (N,) -> ascending indices (min(limit, N),) int64, stratified by class.

    Each class gives its share, which of its images depends on the seed alone, and a smaller subset is a part of a
    larger one: images go in the order of (rank within their class + 1/2) / size of the class.
    """
    n = len(labels)
    if limit is None or limit >= n:
        return torch.arange(n)
    if limit < 1:
        raise UsageError(f"a limit must be at least 1 image, got {limit}")
    order = rng.permutation(seed, "robustness/subset", n)
    order = order[torch.argsort(labels.cpu()[order], stable=True)]  # by class, at random within it
    counts = torch.bincount(labels.cpu())
    sizes = counts.repeat_interleave(counts)
    rank = torch.arange(n) - (counts.cumsum(0) - counts).repeat_interleave(counts)
    place = (rank.double() + 0.5) / sizes
    return order[torch.argsort(place, stable=True)[:limit]].sort().values


def fingerprint(split: Split, ids: Tensor) -> str:
    """A hash of the chosen images and their labels."""
    labels = split.labels.cpu()[ids].numpy().tobytes()
    return sha256(labels + datasets.fingerprint(split.images, ids).encode())


@functools.cache
def _code() -> str:
    """A hash of the code that corrupts: another version of it may make other images."""
    files = [*sorted(Path(corruptions.__file__).parent.glob("*.py")), Path(rng.__file__)]
    return sha256("".join(sha256(file) for file in files).encode())


def _checked(out: Tensor, images: Tensor, name: str) -> Tensor:
    """A user's corruption has to keep what the model expects."""
    if not isinstance(out, Tensor) or out.dtype != torch.uint8 or out.shape != images.shape:
        got = f"{out.dtype} {tuple(out.shape)}" if isinstance(out, Tensor) else type(out).__name__
        raise UsageError(
            f"corruption {name} made {got} of torch.uint8 {tuple(images.shape)}",
            hint="return a uint8 tensor of the shape of the images",
        )
    return out.to(images.device)
