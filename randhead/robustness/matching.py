"""Whether a released set was made from the images of a split, each with the corruption and severity of its name.

A sample of the images is compared, in every corruption and severity that is tested.  Whether two images have the same
content is told by the correlation of their pixels, which survives corruption.  Corruptions that are not random are
compared with what randhead makes, image by image; the others by how far they take the images from the clean ones.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import NamedTuple

import torch
from torch import Tensor

from randhead.ambient import as_tensor
from randhead.corruptions import SEVERITIES, jpeg_compression
from randhead.robustness.images import CorruptedImages
from randhead.robustness.released import ReleasedSet
from randhead.robustness.settings import CLEAN, Grid

# Corruptions that are not random: for the same image, the released result and that of randhead differ only by rounding
# and storage.
NOT_RANDOM = (
    *("jpeg_compression", "pixelate", "brightness", "contrast", "zoom_blur", "defocus_blur"),
    *("gaussian_blur", "saturate"),
)
SAMPLE_VALUES, FEWEST, MOST = 200_000, 16, 64  # of the sample: 64 images of 32 px, 16 of 64 px or more
STORED_QUALITY = 85  # of the JPEG files of ImageNet-C and Tiny-ImageNet-C

CLOSE = 12.0  # mean difference in grey levels; unrelated photographs differ by 60
VISIBLE = 1.0  # grey levels
NEARER = 0.7  # images of a severity are those of another one if they are nearer to these by this factor, and visibly
OFF = 0.5  # images are of another corruption if they are further from ours than this share of the corruption, ...
FACTOR = 1.75  # ... or for random ones, if they are as many times further from the clean images, or less far

SAME = "the same images"
LABELS = "the images of the test split, but {} of {} labels of the set are not theirs"
CELLS = "the images of the test split, but not with the same corruptions and severities: see below"
NUMBER = "another number of images than the test split here, {} and {}: the columns have different images"
OTHER = "other images than those of the test split, or in another order: the columns have different images"
UNKNOWN = "unknown whether the images are those of the test split: corruption leaves too little to compare them by"


@dataclass(frozen=True)
class Match:
    """The relation of a released set to a split.

    Attributes:
        same_images: whether its images are those of the split, with the same labels, corruptions and severities; None
            if this is unknown.
        relation: the same in words.
        notes: what is different, by corruption.
    """

    same_images: bool | None
    relation: str
    notes: tuple[str, ...] = ()


class _Cells(NamedTuple):
    """The sample under one corruption: images (S, n, 3, H, W) of the set and of randhead, and clean ones (n, 3, H, W).

    `theirs` has the severities of the set, `ours` has all.
    """

    name: str
    severities: tuple[int, ...]
    theirs: Tensor
    ours: Tensor
    clean: Tensor


def match(found: ReleasedSet, source: CorruptedImages, cells: Grid) -> Match:
    """Compare the cells of a released set with those that randhead makes of the images of a split.

    Args:
        found: the released set, with as many images as are tested.
        source: the images of the split.
        cells: the corruptions and severities to compare.
    """
    n, expected = len(found.labels), len(source.labels)
    if n != expected:
        return Match(False, NUMBER.format(n, expected))
    known: list[bool] = []
    notes: list[str] = []
    for each in _samples(found, source, cells):
        same = _same_content(each)
        if same is not None:
            known.append(same)
        if same:
            notes += _other_cells(each)
        elif same is False:
            notes.append(f"{each.name}: other images, or in another order")
    if not all(known):
        return Match(False, OTHER, () if not any(known) else tuple(notes))
    wrong = int((found.labels.cpu() != source.labels.cpu()).sum())
    if wrong:
        return Match(False, LABELS.format(wrong, n) if known else OTHER)
    if not known:
        return Match(None, UNKNOWN)
    return Match(False, CELLS, tuple(notes)) if notes else Match(True, SAME)


def _samples(found: ReleasedSet, source: CorruptedImages, cells: Grid) -> Iterator[_Cells]:
    """The same images in both, spread over the whole set."""
    n, values = len(found.labels), prod(source.split.images.shape)
    count = min(n, MOST, max(FEWEST, SAMPLE_VALUES // values))
    chosen = as_tensor([i * n // count for i in range(count)])
    theirs, ours = found.take(chosen), CorruptedImages(source.split, source.settings, ids=source.ids[chosen])
    clean = dict(ours.cells(CLEAN, (0,), 0, count))[0]
    for name, severities in cells.items():
        read = torch.stack([images for _, images in theirs.cells(name, severities, 0, count)])
        made = torch.stack([_stored(images, found) for _, images in ours.cells(name, SEVERITIES, 0, count)])
        yield _Cells(name, tuple(severities), read.float().cpu(), made.float().cpu(), clean.float().cpu())


def _stored(images: Tensor, found: ReleasedSet) -> Tensor:
    return jpeg_compression.apply(images, {}, STORED_QUALITY) if found.compressed else images


def _same_content(cells: _Cells) -> bool | None:
    """Whether the images of a corruption are the clean ones, in the same order; None if this cannot be told."""
    clean = _standardised(cells.clean)
    textured = clean.any(dim=1)
    matched = torch.stack([_matches(_standardised(images), clean) for images in cells.theirs])  # (S, n)
    if cells.name in NOT_RANDOM:
        far = _differences(cells.theirs, cells.ours).amin(dim=1) > CLOSE
        return not bool((far & ~(matched & textured)).any())
    if not textured.any():
        return None
    share = matched[0][textured].double().mean().item()  # at the weakest severity
    return True if share >= 0.5 else False if share <= 0.25 else None


def _standardised(images: Tensor) -> Tensor:
    """Images (n, 3, H, W) as unit vectors (n, 3 H W), without their mean colour; zeros for images of one colour."""
    centred = (images - images.mean(dim=(2, 3), keepdim=True)).flatten(1)
    norms = torch.linalg.vector_norm(centred, dim=1, keepdim=True)
    return torch.where(norms > VISIBLE, centred / norms.clamp_min(VISIBLE), 0)


def _matches(images: Tensor, clean: Tensor) -> Tensor:
    """Whether the clean image with which an image correlates most is that of the same index: (n,) bool."""
    correlations = images @ clean.T
    return (correlations.diagonal() >= correlations.amax(dim=1) - 1e-4) & images.any(dim=1)


def _differences(first: Tensor, second: Tensor) -> Tensor:
    """Mean absolute differences of images: (S, n, 3, H, W) and (T, n, 3, H, W) -> (S, T, n)."""
    return torch.stack([torch.stack([(a - b).abs().mean(dim=(1, 2, 3)) for b in second]) for a in first])


def _other_cells(cells: _Cells) -> Iterator[str]:
    """Sentences on the severities of a corruption whose images are not those that randhead makes."""
    changes = _differences(cells.ours, cells.clean[None]).mean(dim=(1, 2)).clamp_min(0.1).tolist()
    if cells.name in NOT_RANDOM:
        costs = _differences(cells.theirs, cells.ours).mean(dim=2).tolist()
        pairs = list(zip(cells.severities, costs, strict=True))
        nearest: Sequence[int] = [_nearest(row, severity) for severity, row in pairs]
        off = [s for (s, row), near in zip(pairs, nearest, strict=True) if row[near - 1] > _bound(changes[near - 1])]
        what = "differ from those that randhead makes"
    else:
        theirs = _differences(cells.theirs, cells.clean[None]).mean(dim=(1, 2)).clamp_min(0.1).tolist()
        nearest = _order(theirs, changes, cells.severities, _margin(cells.name, len(cells.clean)))
        triples = zip(cells.severities, theirs, nearest, strict=True)
        off = [s for s, their, near in triples if abs(math.log(their / changes[near - 1])) > math.log(FACTOR)]
        what = "are changed much more or much less than randhead does"
    moved = [(s, near) for s, near in zip(cells.severities, nearest, strict=True) if s != near]
    if moved:
        there, here = (", ".join(map(str, numbers)) for numbers in zip(*moved, strict=True))
        yield f"{cells.name}: severity {there} of the set is severity {here} here"
    if off:
        yield f"{cells.name}: the images at severity {', '.join(map(str, off))} {what}"


def _bound(change: float) -> float:
    """The largest difference to the images of randhead, in grey levels, if a corruption changes by `change`."""
    return max(3 * VISIBLE, OFF * change)


def _nearest(costs: Sequence[float], severity: int) -> int:
    """The severity with the lowest cost, if it is clearly below that of `severity`; else `severity`."""
    low, given = min(costs), costs[severity - 1]
    return costs.index(low) + 1 if low < NEARER * given and low < given - VISIBLE else severity


def _margin(name: str, n: int) -> float:
    """By how much another order of severities must be better with n images, as a sum of logarithms of distances.

    Two neighbours in the wrong order cost 0.2 to 0.8.  Noise is averaged over pixels, weather only over images.
    """
    return 0.05 + 0.1 / math.sqrt(n) if name.endswith("_noise") else 0.25 + 0.5 / math.sqrt(n)


def _order(theirs: Sequence[float], ours: Sequence[float], severities: Sequence[int], margin: float) -> Sequence[int]:
    """The severities here that explain the distances best, if they do so clearly better than `severities`."""

    def cost(order: Sequence[int]) -> float:
        return sum(abs(math.log(their / ours[s - 1])) for their, s in zip(theirs, order, strict=True))

    best = min(itertools.permutations(SEVERITIES, len(severities)), key=cost)
    return best if cost(best) < cost(severities) - margin else severities
