"""Angles between all pairs of a set of vectors, in tiles: O(M^2 D) time, O(M D) memory."""

from dataclasses import dataclass

import torch
from torch import Tensor

from randhead import ambient
from randhead.ambient import mean, total
from randhead.analyses import Metric, Metrics
from randhead.analyses._inputs import degrees, number, unit

ROWS = 256  # of a tile: 20 MB for 10,000 vectors, which are reused from tile to tile


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
        lowest_cosine: of any pair.
    """

    mean_cosine: float
    mean_angle_deg: float
    nearest: Tensor
    nearest_cosine: Tensor
    closest: Tensor
    closest_cosines: Tensor
    lowest_cosine: float

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
        return _undefined(len(directions), directions.device)
    count = len(directions)
    nearest_cosine = directions.new_full((count,), -torch.inf)
    nearest = torch.zeros(count, dtype=torch.int64, device=directions.device)
    sums, pairs, values, lowest = [], nearest.new_empty(0, 2), nearest_cosine[:0], 1.0
    for start in range(0, count, ROWS):
        rows = directions[start : start + ROWS]
        cosines = (rows @ directions[start:].T).clamp_(-1, 1)  # each pair once, but for those within `rows`
        sums.append(_sums(cosines))
        lowest = min(lowest, float(cosines.amin()))
        _update_nearest(nearest, nearest_cosine, cosines, start)
        found, of_found = _closest(cosines, start, keep, float(values[-1]) if len(values) == keep else -1.0)
        pairs, values = torch.cat((pairs, found)), torch.cat((values, of_found))
        order = values.sort(descending=True, stable=True).indices[:keep]
        pairs, values = pairs[order], values[order]
    angle, cosine = (torch.stack(sums).sum(dim=0) / (count * (count - 1))).tolist()
    return Pairs(cosine, angle, nearest, nearest_cosine, pairs, values, lowest)


def _undefined(count: int, device: torch.device) -> Pairs:
    unknown = torch.full((count,), torch.nan, dtype=torch.float64, device=device)
    nearest = torch.zeros(count, dtype=torch.int64, device=device)
    nearest[0] = 1
    return Pairs(torch.nan, torch.nan, nearest, unknown, nearest.new_empty(0, 2), unknown[:0], torch.nan)


def _sums(cosines: Tensor) -> Tensor:
    """The sums of angles in degrees and of cosines over ordered pairs (2,); their first square has each pair twice."""
    count = len(cosines)
    cosines.diagonal().fill_(1)  # an angle of exactly 0
    angles = cosines.acos()
    angle = 2 * total(angles) - total(angles[:, :count])
    return torch.stack((angle.rad2deg(), 2 * total(cosines) - total(cosines[:, :count]) - count))


def _update_nearest(nearest: Tensor, nearest_cosine: Tensor, cosines: Tensor, start: int) -> None:
    """Take the largest cosines of rows start.. to all later ones into account, in rows and columns; ties by index."""
    stop = start + len(cosines)
    cosines.diagonal().fill_(-torch.inf)
    largest = [(slice(start, stop), *cosines.max(dim=1))]
    if stop < len(nearest):
        largest.append((slice(stop, None), *cosines[:, len(cosines) :].max(dim=0)))
    for part, values, indices in largest:
        nearer = values > nearest_cosine[part]  # earlier tiles have lower indices
        nearest[part] = (start + indices).where(nearer, nearest[part])
        nearest_cosine[part] = values.where(nearer, nearest_cosine[part])


def _closest(cosines: Tensor, start: int, keep: int, least: float) -> tuple[Tensor, Tensor]:
    """The `keep` largest entries above the diagonal of a tile (R, W) whose first row is `start`: (P, 2), (P,).

    None is below `least`.  The tile is changed: what is not above the diagonal becomes -inf.
    """
    columns = ambient.indices(len(cosines), cosines.device)
    cosines[:, : len(cosines)].masked_fill_(columns <= columns[:, None], -torch.inf)
    largest = cosines.amax(dim=1)
    if len(largest) >= keep:
        least = max(least, float(largest.topk(keep).values[-1]))
    rows = (largest >= least).nonzero().flatten()
    found = cosines[rows]
    first, second = (found >= least).nonzero(as_tuple=True)
    values = found[first, second]
    order = values.sort(descending=True, stable=True).indices[:keep]  # in order of index among equals
    return start + torch.stack((rows[first], second), dim=1)[order], values[order]
