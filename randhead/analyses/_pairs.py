"""Angles between all pairs of a set of vectors, in tiles: O(M^2 D) time, O(M D) memory."""

from dataclasses import dataclass

import torch
from torch import Tensor

from randhead import ambient
from randhead.ambient import mean, total
from randhead.analyses import Metric, Metrics
from randhead.analyses._inputs import degrees, number, unit
from randhead.vectors import cosine_tiles


@dataclass(frozen=True)
class Pairs:
    """Angles between M directions.

    Attributes:
        mean_cosine: over all pairs.
        mean_angle_deg: over all pairs, in degrees.
        nearest: index of the nearest other direction (M,) int64.
        nearest_cosine: cosine to it (M,).
        closest: the P pairs of the largest cosines, first index below second, ties by index (P, 2) int64.
        closest_cosines: their cosines (P,).
    """

    mean_cosine: float
    mean_angle_deg: float
    nearest: Tensor
    nearest_cosine: Tensor
    closest: Tensor
    closest_cosines: Tensor

    def metrics(self, prefix: str = "") -> Metrics:
        """Mean and smallest 1 - cosine, mean and smallest angle, mean over vectors of the angle to the nearest."""
        nearest = degrees(self.nearest_cosine)
        return {
            f"{prefix}mean_distance": number(1 - self.mean_cosine),
            f"{prefix}min_distance": number(1 - self.nearest_cosine.max()),
            f"{prefix}mean_angle_deg": number(self.mean_angle_deg),
            f"{prefix}min_angle_deg": number(nearest.min()),
            f"{prefix}nearest_angle_deg": number(mean(nearest)),
        }


def described(what: str, short: str, prefix: str = "", after: str = "") -> dict[str, Metric]:
    """How the metrics of pairs are shown: `what` the vectors are, in full and `short`, `after` what."""
    return {
        f"{prefix}mean_distance": Metric(
            f"mean distance, {short}", f"mean over pairs of {what} of 1 - cosine{after}", "higher", bounds=(0, 2)
        ),
        f"{prefix}min_distance": Metric(
            f"least distance, {short}", f"smallest 1 - cosine of two {what}{after}", "higher", bounds=(0, 2)
        ),
        f"{prefix}mean_angle_deg": Metric(
            f"mean angle, {short}", f"mean angle over pairs of {what}{after}", "higher", "deg"
        ),
        f"{prefix}min_angle_deg": Metric(
            f"least angle, {short}", f"smallest angle of two {what}{after}", "higher", "deg"
        ),
        f"{prefix}nearest_angle_deg": Metric(
            f"nearest angle, {short}",
            f"angle of a {what.removesuffix('s')} to its nearest neighbour, averaged over classes{after}",
            "higher",
            "deg",
        ),
    }


def compare(vectors: Tensor, *, keep: int = 20) -> Pairs:
    """Compare all pairs of vectors (M, D), M >= 2.  All numbers are NaN if a vector is zero, as it has no angle."""
    directions = unit(vectors)
    if (directions == 0).all(dim=1).any():
        directions = directions * torch.nan
    tiles = [_tile(cosines, start, keep) for start, cosines in cosine_tiles(directions)]
    angles, cosines = (torch.stack([tile[i] for tile in tiles]).sum().item() for i in (0, 1))
    pairs, values = torch.cat([tile[4] for tile in tiles]), torch.cat([tile[5] for tile in tiles])
    order = values.sort(descending=True, stable=True).indices[:keep]
    count = len(directions) * (len(directions) - 1)
    return Pairs(
        mean_cosine=cosines / count,
        mean_angle_deg=angles / count,
        nearest=torch.cat([tile[2] for tile in tiles]),
        nearest_cosine=torch.cat([tile[3] for tile in tiles]),
        closest=pairs[order],
        closest_cosines=values[order],
    )


def _tile(cosines: Tensor, start: int, keep: int) -> tuple[Tensor, ...]:
    """Rows start.. against all: sums of angles and of cosines, nearest other row and its cosine, closest pairs."""
    columns = ambient.indices(cosines.shape[1], cosines.device)
    rows = columns[start : start + len(cosines), None]
    others = columns != rows
    nearest_cosine, nearest = cosines.masked_fill(~others, -torch.inf).max(dim=1)
    angles, sums = total(degrees(cosines)[others]), total(cosines[others])
    return angles, sums, nearest, nearest_cosine, *_closest(cosines, columns > rows, start, keep)


def _closest(cosines: Tensor, allowed: Tensor, start: int, keep: int) -> tuple[Tensor, Tensor]:
    """The `keep` largest allowed entries of a tile (R, M) whose first row is `start`: pairs (P, 2), cosines (P,)."""
    candidates = cosines.masked_fill(~allowed, -torch.inf).flatten()
    count = min(keep, int(allowed.sum()))
    least = candidates.topk(count).values[-1] if count else torch.inf
    found = (candidates >= least).nonzero().flatten()  # in order of index, which the stable sort keeps among equals
    found = found[candidates[found].sort(descending=True, stable=True).indices[:keep]]
    first, second = start + found // cosines.shape[1], found % cosines.shape[1]
    return torch.stack((first, second), dim=1), candidates[found]
