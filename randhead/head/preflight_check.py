"""The pre-flight check: the limits that a set of class vectors sets, computed before training.

It counts duplicates, compares the angles with the best possible ones, and computes the cosine that non-negative
features can reach and the target probability that a scale allows.

The scale that a target probability p needs, s >= ln((K - 1) p / (1 - p)) / gap, where gap is the target's cosine minus
the others', is the bound of NormFace and CosFace (Wang et al. 2017, 2018).
"""

import math
from dataclasses import replace
from types import NoneType
from typing import NamedTuple

import torch
from torch import Tensor, nn

from randhead import rng
from randhead.ambient import indices
from randhead.arguments import check_type
from randhead.config import check_value
from randhead.errors import UsageError
from randhead.head.advice import advice
from randhead.head.head import ClassVectorHead
from randhead.head.preflight_result import Preflight
from randhead.head.scale import default_scale, needed_scale
from randhead.vectors import cosine_bound, cosine_tiles, random_angle, simplex_cosine, welch_bound

CHECKED = 65_536  # class vectors of a head that are drawn and checked, ...
ENTRIES = CHECKED * 2048  # ... and their entries: fewer vectors if D is larger
SAMPLE = 4096  # classes whose pairs are compared: 17 million cosines, a second at D = 512; ...
PRODUCTS = SAMPLE**2 * 2048  # ... and the multiplications: fewer classes if D is larger
TILE = 1024  # rows of scores in memory at once
SAME = 1 - 1e-6  # class vectors with a larger cosine count as equal


def preflight(
    vectors: Tensor | ClassVectorHead,
    *,
    scoring: str | None = None,
    scale: float | None = None,
    nonnegative: bool | None = None,
) -> Preflight:
    """Check class vectors before training with them.

    All numbers are for ideal features: each class's own vector, or the non-negative direction nearest to it.  Pairs are
    compared among at most 4,096 random classes.

    Args:
        vectors: a head, of which at most 65,536 class vectors are checked (fewer above 2,048 features), or a matrix of
            class vectors (K, D), K >= 2.
        scoring: "dot" or "cosine"; by default that of the head, or "dot".
        scale: factor on the scores; by default that of the head, or `default_scale`.
        nonnegative: whether features have no negative entries, as after a ReLU and pooling; by default True unless the
            head has a neck.

    Returns:
        The numbers of the check, with warnings that say what limits the head and what to do.

    Raises:
        UsageError: for fewer than two class vectors, an unknown scoring, a scale that is not positive, and
            arguments of a wrong type.

    Example:
        >>> check = preflight(ClassVectorHead(100, 512, "simplex", scoring="cosine", scale=1.0, neck="linear"))
        >>> round(check.max_probability_mean, 3)
        0.027
        >>> check.warnings[0][:75]
        "at scale 1 with 100 cosine classes the target's probability is 0.027 at mos"
    """
    head = vectors if isinstance(vectors, ClassVectorHead) else None
    check_type("nonnegative", nonnegative, (bool, NoneType), "True, False or None")
    matrix = _matrix(vectors)
    scoring = scoring or (head.scoring if head else "dot")
    check_value("head.scoring", scoring, "scoring")
    check_value("head.scale", scale, "scale")
    if scale is None:
        scale = float(head.scale) if head else default_scale(len(matrix), scoring)
    if nonnegative is None:
        nonnegative = head is None or isinstance(head.neck, nn.Identity)
    check = _measured(matrix, scoring, scale, nonnegative)
    if head:
        unchecked = head.num_classes - len(matrix)
        check = replace(check, geometry=str(head.geometry), seed=head.seed, unchecked=unchecked)
    return replace(check, warnings=tuple(advice(check)))


def angle_histogram(vectors: Tensor | ClassVectorHead, bins: int = 90) -> tuple[Tensor, Tensor]:
    """The histogram of the angles between class vectors, each pair once.

    Pairs are compared among at most 4,096 random classes.

    Args:
        vectors: a head or class vectors (K, D).
        bins: number of bins.

    Returns:
        Edges (bins + 1,) from 0 to 180 degrees, and counts (bins,) int64.
    """
    matrix = _matrix(vectors)
    unit = torch.nn.functional.normalize(matrix[_sample(matrix)], dim=1)
    counts = torch.zeros(bins, dtype=torch.int64, device=unit.device)
    for start, cosines in cosine_tiles(unit):
        earlier = torch.ones_like(cosines, dtype=torch.bool).tril(start - 1)
        bin_of = (cosines[earlier].acos() * (bins / math.pi)).long().clamp_max(bins - 1)
        counts += torch.bincount(bin_of, minlength=bins)
    return torch.linspace(0, 180, bins + 1, dtype=torch.float32, device=unit.device), counts


class _Angles(NamedTuple):
    """Fields of `Preflight`."""

    duplicates: int
    angle_min: float
    angle_mean: float
    cosine_max: float
    abs_cosine_max: float


class _Fit(NamedTuple):
    """Fields of `Preflight`."""

    max_probability_mean: float | None
    max_probability_min: float | None
    scale_for_90: float | None
    scale_for_99: float | None
    feature_norm_for_90: float | None
    feature_norm_for_99: float | None


def _matrix(vectors: Tensor | ClassVectorHead) -> Tensor:
    """The class vectors to check: (K, D) float32, on the CPU."""
    check_type("vectors", vectors, (Tensor, ClassVectorHead), "a `ClassVectorHead` or a tensor (K, D)")
    if isinstance(vectors, ClassVectorHead):
        checked = min(CHECKED, max(ENTRIES // vectors.dim, 2))
        vectors = vectors.raw_rows().tile(0, min(vectors.num_classes, checked), torch.float32)
    matrix = vectors.detach().to("cpu", torch.float32)
    if matrix.ndim != 2 or len(matrix) < 2:
        raise UsageError(f"class vectors must be (K, D) with K >= 2, got a shape of {tuple(matrix.shape)}")
    return matrix


def _measured(matrix: Tensor, scoring: str, scale: float, nonnegative: bool) -> Preflight:
    """All numbers of the check of class vectors (K, D)."""
    norms = matrix.norm(dim=1)
    unit = matrix / norms.clamp_min(torch.finfo(torch.float32).tiny)[:, None]
    positive = unit.clamp_min(0)
    reachable = positive.norm(dim=1)
    picked = _sample(matrix)
    targets = positive[picked] / reachable[picked, None].clamp_min(1e-12) if nonnegative else unit[picked]
    angles = _pair_angles(unit[picked], matrix)
    fit = _fit(targets, (unit if scoring == "cosine" else matrix)[picked], len(matrix), scoring, scale)
    return Preflight(
        geometry=None,
        seed=None,
        num_classes=len(matrix),
        dim=matrix.shape[1],
        scoring=scoring,
        scale=scale,
        nonnegative=nonnegative,
        sampled=len(picked),
        norm_min=float(norms.min()),
        norm_max=float(norms.max()),
        zero_rows=int((norms == 0).sum()),
        **angles._asdict(),
        cosine_bound=cosine_bound(*matrix.shape),
        simplex_cosine=simplex_cosine(len(matrix)),
        welch_bound=welch_bound(*matrix.shape),
        random_angle_min=random_angle(len(picked), matrix.shape[1]),
        reachable_cosine_mean=float(reachable.mean()),
        reachable_cosine_min=float(reachable.min()),
        **fit._asdict(),
        warnings=(),
    )


def _sample(vectors: Tensor) -> Tensor:
    """The classes whose pairs are compared, in order: indices of `vectors` (K, D)."""
    num_classes, dim = vectors.shape
    most = min(SAMPLE, max(math.isqrt(PRODUCTS // dim), 2))
    if num_classes <= most:
        return indices(num_classes)
    return rng.permutation(0, "preflight/sample", num_classes)[:most].sort().values


def _pair_angles(unit: Tensor, vectors: Tensor) -> _Angles:
    """Angles between unit vectors (N, D), and how many of all `vectors` (K, D) repeat an earlier one."""
    largest, lowest, angle_sum, repeats = -1.0, 1.0, 0.0, 0
    for start, cosines in cosine_tiles(unit):
        earlier = torch.ones_like(cosines, dtype=torch.bool).tril(start - 1)
        repeats += int(((cosines > SAME) & earlier).any(dim=1).sum())
        angle_sum += float(cosines.acos().masked_fill_(~earlier, 0).sum(dtype=torch.float64))
        lowest = min(lowest, float(cosines.min()))
        largest = max(largest, float(cosines.masked_fill_(~earlier, -1).max()))
    if len(unit) < len(vectors):
        repeats = max(repeats, _exact_repeats(vectors))
    return _Angles(
        duplicates=repeats,
        angle_min=math.degrees(math.acos(largest)),
        angle_mean=math.degrees(angle_sum / (len(unit) * (len(unit) - 1) / 2)),
        cosine_max=largest,
        abs_cosine_max=max(largest, -lowest),
    )


def _exact_repeats(vectors: Tensor) -> int:
    """Number of rows (K, D) that are identical to another one: sorted by a fingerprint, compared with the next."""
    drawn = rng.words(0, "preflight/fingerprint", indices(vectors.shape[1], vectors.device), 2)
    weights = (drawn[:, 0] << 32) | drawn[:, 1]
    prints = torch.cat([(part.contiguous().view(torch.int32) * weights).sum(dim=1) for part in vectors.split(TILE)])
    prints, order = prints.sort()
    near = (prints.diff() == 0).nonzero()[:, 0]
    return int((vectors[order[near]] == vectors[order[near + 1]]).all(dim=1).sum())


def _fit(targets: Tensor, rows: Tensor, num_classes: int, scoring: str, scale: float) -> _Fit:
    """Target probabilities if every feature equals its target (N, D), among class vectors (N, D), a sample of K."""
    chances, gaps = [], []
    # Classes outside the sample count as often as those in it.
    weight = math.log((num_classes - 1) / (len(rows) - 1))
    for start in range(0, len(targets), TILE):
        scores = (targets[start : start + TILE] @ rows.T).to(torch.float64)
        target = scores.diagonal(start).clone()
        gaps.append(target - (scores.sum(dim=1) - target) / (len(rows) - 1))
        scores.diagonal(start).fill_(-torch.inf)
        chances.append(torch.sigmoid(scale * target - (scale * scores).logsumexp(dim=1) - weight))
    chance, gap = torch.cat(chances), float(torch.cat(gaps).mean())
    low, high = (needed_scale(num_classes, p, gap=gap) if gap > 1e-6 else None for p in (0.9, 0.99))
    if scoring == "cosine":
        return _Fit(float(chance.mean()), float(chance.min()), low, high, None, None)
    return _Fit(None, None, None, None, low and low / scale, high and high / scale)
