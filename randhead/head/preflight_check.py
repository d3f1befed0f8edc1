"""The pre-flight check: what a set of class vectors allows, known before training.

Duplicates and angles beside what is possible, the cosine that non-negative features can reach, and the target
probability that a scale allows.

Bounds: Rankin 1955 and Levenshtein 1979 for the largest cosine of K unit vectors; Welch 1974 for the largest absolute
cosine.  The scale that a target probability p needs, s >= ln((K - 1) p / (1 - p)) / gap, where gap is the target's
cosine minus the others', is the bound of NormFace and CosFace (Wang et al. 2017, 2018).
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from randhead import rng
from randhead.errors import UsageError
from randhead.head.scale import default_scale, needed_scale

SAMPLE = 4096  # classes whose pairs are looked at: 17 million cosines, a second
TILE = 1024  # rows of cosines in memory at once
SAME = 1 - 1e-6  # a cosine above this, and two class vectors count as one
LOW_COSINE = 0.1  # a class vector that features cannot meet better than this is out of reach


@dataclass(frozen=True)
class Preflight:
    """What a set of class vectors allows.  Angles are in degrees; None where a figure does not apply."""

    num_classes: int
    dim: int
    scoring: str
    scale: float
    nonnegative: bool  # whether features can only have non-negative entries
    sampled: int  # classes among which pairs were looked at: all, or a random 4,096 of more
    norm_min: float
    norm_max: float
    zero_rows: int
    duplicates: int  # class vectors that repeat an earlier one; beyond the sample, bit for bit
    angle_min: float
    angle_mean: float
    cosine_max: float
    cosine_bound: float  # no arrangement has a smaller largest cosine
    simplex_cosine: float  # -1/(K - 1), the bound where K <= D + 1
    welch_bound: float | None  # no arrangement has a smaller largest absolute cosine; K > D
    random_angle_min: float  # of as many random vectors as were looked at, the median
    reachable_cosine_mean: float  # best cosine of a non-negative feature with a class vector
    reachable_cosine_min: float
    max_probability_mean: float | None  # of the target at this scale, every feature at its target; cosine scoring
    max_probability_min: float | None
    scale_for_90: float | None  # at least this for a target probability of 0.9; cosine scoring
    scale_for_99: float | None
    feature_norm_for_90: float | None  # dot scoring reaches any probability: with features of at least this norm
    feature_norm_for_99: float | None
    warnings: tuple[str, ...]


def inspect(vectors: Tensor, *, scoring: str, scale: float, nonnegative: bool) -> Preflight:
    """Check class vectors (K, D), K >= 2, for a head with this scoring ("dot" or "cosine") and scale.

    `nonnegative` says that features have no negative entries: a ReLU, pooling, and no neck.  Every figure is of the
    features that fit best: each class's own vector, or the non-negative direction nearest to it.
    """
    vectors = vectors.detach().to("cpu", torch.float32)
    if vectors.ndim != 2 or len(vectors) < 2:
        raise UsageError(f"class vectors must be (K, D) with K >= 2, got a shape of {tuple(vectors.shape)}")
    norms = vectors.norm(dim=1)
    unit = vectors / norms.clamp_min(torch.finfo(torch.float32).tiny)[:, None]
    positive = unit.clamp_min(0)
    reachable = positive.norm(dim=1)
    picked = _sample(len(vectors))
    targets = positive[picked] / reachable[picked, None].clamp_min(1e-12) if nonnegative else unit[picked]
    figures = {
        "num_classes": len(vectors),
        "dim": vectors.shape[1],
        "scoring": scoring,
        "scale": scale,
        "nonnegative": nonnegative,
        "sampled": len(picked),
        "norm_min": float(norms.min()),
        "norm_max": float(norms.max()),
        "zero_rows": int((norms == 0).sum()),
        "reachable_cosine_mean": float(reachable.mean()),
        "reachable_cosine_min": float(reachable.min()),
        **_pairs(unit[picked], vectors),
        **_expectations(len(vectors), vectors.shape[1], len(picked)),
        **_fit(targets, (unit if scoring == "cosine" else vectors)[picked], len(vectors), scoring, scale),
    }
    return Preflight(**figures, warnings=tuple(_warnings(figures)))


def angle_histogram(vectors: Tensor, bins: int = 90) -> tuple[Tensor, Tensor]:
    """Angles between class vectors (K, D), a pair once: edges (bins + 1,) from 0 to 180 degrees, counts (bins,) int64.

    Of more than 4,096 class vectors, a random 4,096 are looked at.
    """
    vectors = vectors.detach().to("cpu", torch.float32)
    unit = torch.nn.functional.normalize(vectors[_sample(len(vectors))], dim=1)
    counts = torch.zeros(bins, dtype=torch.int64)
    for start, cosines in _tiles(unit, unit):
        earlier = torch.ones_like(cosines, dtype=torch.bool).tril(start - 1)
        place = (cosines[earlier].acos() * (bins / math.pi)).long().clamp_max(bins - 1)
        counts += torch.bincount(place, minlength=bins)
    return torch.linspace(0, 180, bins + 1), counts


def welch_bound(num_classes: int, dim: int) -> float | None:
    """The least possible largest absolute cosine of K > D unit vectors: sqrt((K - D) / (D (K - 1)))."""
    if num_classes <= dim:
        return None
    return math.sqrt((num_classes - dim) / (dim * (num_classes - 1)))


def cosine_bound(num_classes: int, dim: int) -> float:
    """A lower bound for the largest cosine of K unit vectors in D dimensions.

    Reached for K <= D + 1 (simplex) and K <= 2 D (orthoplex), both Rankin's.  Beyond, the solution s of Levenshtein's
    third bound K = D (1 - s) (2 + (D + 1) s) / (1 - D s^2), which holds up to K = D (D + 3) / 2; more classes keep its
    last value.
    """
    k, d = num_classes, dim
    if k <= d + 1:
        return -1 / (k - 1)
    if k <= 2 * d:
        return 0.0
    if d == 1:
        return 1.0
    k = min(k, d * (d + 3) / 2)
    a, b, c = d * (k - d - 1), d * (d - 1), 2 * d - k
    return (math.sqrt(b * b - 4 * a * c) - b) / (2 * a)


def random_angle(num_classes: int, dim: int) -> float:
    """The median smallest angle between K random directions in D dimensions, in degrees, pairs taken as independent.

    An angle t has the density sin(t)^(D - 2); the least of P = K (K - 1) / 2 is beyond its median with chance 1/2.
    """
    if dim == 1:
        return 0.0
    angles = torch.linspace(0, math.pi, (1 << 18) + 1, dtype=torch.float64)
    below = torch.cumulative_trapezoid(angles.sin().pow(dim - 2))
    chance = -math.expm1(-2 * math.log(2) / (num_classes * (num_classes - 1)))
    place = int(torch.searchsorted(below / below[-1], chance))
    return math.degrees(angles[place + 1])


def _sample(num_classes: int) -> Tensor:
    """The classes whose pairs are looked at, in order."""
    if num_classes <= SAMPLE:
        return torch.arange(num_classes)
    return rng.permutation(0, "preflight/sample", num_classes)[:SAMPLE].sort().values


def _tiles(left: Tensor, right: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Cosines left @ right.T by tiles of rows: (first row, (TILE, N))."""
    for start in range(0, len(left), TILE):
        yield start, (left[start : start + TILE] @ right.T).clamp_(-1, 1)


def _pairs(unit: Tensor, vectors: Tensor) -> dict[str, float]:
    """Angles between unit vectors (N, D), and how many of all `vectors` (K, D) repeat an earlier one."""
    largest, angle_sum, repeats = -1.0, 0.0, 0
    for start, cosines in _tiles(unit, unit):
        earlier = torch.ones_like(cosines, dtype=torch.bool).tril(start - 1)
        repeats += int(((cosines > SAME) & earlier).any(dim=1).sum())
        angle_sum += float(cosines.acos().masked_fill_(~earlier, 0).sum(dtype=torch.float64))
        largest = max(largest, float(cosines.masked_fill_(~earlier, -1).max()))
    if len(unit) < len(vectors):
        repeats = max(repeats, _exact_repeats(vectors))
    return {
        "duplicates": repeats,
        "angle_min": math.degrees(math.acos(largest)),
        "angle_mean": math.degrees(angle_sum / (len(unit) * (len(unit) - 1) / 2)),
        "cosine_max": largest,
    }


def _exact_repeats(vectors: Tensor) -> int:
    """How many rows (K, D) are bit for bit another one: sorted by a fingerprint, then compared with their neighbour."""
    drawn = rng.words(0, "preflight/fingerprint", torch.arange(vectors.shape[1]), 2)
    weights = (drawn[:, 0] << 32) | drawn[:, 1]
    prints = torch.cat([(part.contiguous().view(torch.int32) * weights).sum(dim=1) for part in vectors.split(TILE)])
    prints, order = prints.sort()
    near = (prints.diff() == 0).nonzero()[:, 0]
    return int((vectors[order[near]] == vectors[order[near + 1]]).all(dim=1).sum())


def _expectations(num_classes: int, dim: int, sampled: int) -> dict[str, float | None]:
    return {
        "cosine_bound": cosine_bound(num_classes, dim),
        "simplex_cosine": -1 / (num_classes - 1),
        "welch_bound": welch_bound(num_classes, dim),
        "random_angle_min": random_angle(sampled, dim),
    }


def _fit(targets: Tensor, rows: Tensor, num_classes: int, scoring: str, scale: float) -> dict[str, float | None]:
    """What is reached when every feature is its target (N, D), against class vectors (N, D) that stand for K."""
    chances, gaps = [], []
    # Classes outside the sample count as often as those in it.
    weight = math.log((num_classes - 1) / (len(rows) - 1))
    for start in range(0, len(targets), TILE):
        scores = (targets[start : start + TILE] @ rows.T).to(torch.float64)
        own = scores.diagonal(start).clone()
        gaps.append(own - (scores.sum(dim=1) - own) / (len(rows) - 1))
        scores.diagonal(start).fill_(-torch.inf)
        chances.append(torch.sigmoid(scale * own - (scale * scores).logsumexp(dim=1) - weight))
    chance, gap = torch.cat(chances), float(torch.cat(gaps).mean())
    needed = {p: needed_scale(num_classes, p / 100, gap=gap) if gap > 1e-6 else None for p in (90, 99)}
    cosine = scoring == "cosine"
    return {
        "max_probability_mean": float(chance.mean()) if cosine else None,
        "max_probability_min": float(chance.min()) if cosine else None,
        **{f"scale_for_{p}": value if cosine else None for p, value in needed.items()},
        **{f"feature_norm_for_{p}": None if cosine or value is None else value / scale for p, value in needed.items()},
    }


def _warnings(figures: dict) -> Iterator[str]:
    """What is wrong and what to do, most serious first."""
    yield from _vector_warnings(figures)
    if figures["nonnegative"]:
        yield from _reach_warnings(figures)
    if figures["scoring"] == "cosine":
        yield from _scale_warnings(figures)
    elif figures["norm_max"] > 1.01 * figures["norm_min"] > 0:
        yield (
            f"class vectors have norms from {figures['norm_min']:.3g} to {figures['norm_max']:.3g}: dot scores favour "
            "the classes of the longer ones; normalise the rows, or use cosine scoring"
        )


def _vector_warnings(figures: dict) -> Iterator[str]:
    if figures["zero_rows"]:
        yield f"{figures['zero_rows']} class vectors are zero, no feature can point at them; draw others"
    if figures["duplicates"]:
        yield (
            f"{figures['duplicates']} of {figures['num_classes']} class vectors repeat another one, so that their "
            "classes cannot be told apart; use more dimensions, or another geometry such as packed"
        )


def _reach_warnings(figures: dict) -> Iterator[str]:
    mean, least = figures["reachable_cosine_mean"], figures["reachable_cosine_min"]
    if least < LOW_COSINE:
        yield (
            f"a class vector has so few positive entries that non-negative features reach a cosine of only {least:.2f} "
            "with it; put a neck between backbone and head (neck linear or batchnorm), or use another geometry"
        )
    elif mean < 0.9:
        yield (
            f"features are non-negative without a neck: their cosine with their class vector is {mean:.2f} at most; "
            "a neck (linear or batchnorm) lifts that to 1"
        )


def _scale_warnings(figures: dict) -> Iterator[str]:
    mean, least, enough = (figures[k] for k in ("max_probability_mean", "max_probability_min", "scale_for_99"))
    head = f"at scale {figures['scale']:g} with {figures['num_classes']} cosine classes"
    if mean < 0.9 and enough is not None and enough > figures["scale"]:
        advice = max(default_scale(figures["num_classes"], "cosine"), math.ceil(enough))
        yield (
            f"{head} the target's probability is {mean:.2g} at most, however well features fit; "
            f"use a scale of {advice:g} (0.9 needs {figures['scale_for_90']:.1f}, 0.99 needs {enough:.1f})"
        )
    elif least < 0.9:
        yield (
            f"{head} some target's probability is {least:.2g} at most: the nearest class vectors are "
            f"{figures['angle_min']:.1f} degrees apart; use more dimensions, another geometry, or a larger scale"
        )
