"""Bounds for the largest cosine of K unit vectors in D dimensions, and the angles of random vectors.

Rankin 1955 and Levenshtein 1979 for the largest cosine, Welch 1974 for the largest absolute cosine.
"""

import functools
import math

import torch

from randhead.arguments import whole


def simplex_cosine(num_classes: int) -> float:
    """The cosine between any two of K vertices of a regular simplex, -1/(K - 1).

    Args:
        num_classes: K, at least 2.

    Returns:
        The cosine.

    Example:
        >>> simplex_cosine(5)
        -0.25
    """
    return -1 / (whole("num_classes", num_classes, 2) - 1)


def welch_bound(num_classes: int, dim: int) -> float | None:
    """A lower bound for the largest absolute cosine of K > D unit vectors: sqrt((K - D) / (D (K - 1))).

    Args:
        num_classes: K.
        dim: D.

    Returns:
        The bound; None for K <= D, where orthogonal vectors exist.

    Example:
        >>> welch_bound(9, 3)
        0.5
    """
    num_classes, dim = whole("num_classes", num_classes, 1), whole("dim", dim, 1)
    if num_classes <= dim:
        return None
    return math.sqrt((num_classes - dim) / (dim * (num_classes - 1)))


def cosine_bound(num_classes: int, dim: int) -> float:
    """A lower bound for the largest cosine of K unit vectors in D dimensions.

    Rankin's bounds for K <= D + 1, which the simplex reaches, and for K <= 2 D, which the orthoplex reaches.  Beyond,
    the solution s of Levenshtein's third bound K = D (1 - s) (2 + (D + 1) s) / (1 - D s^2), which holds up to
    K = D (D + 3) / 2; more classes keep its last value.

    Args:
        num_classes: K, at least 2.
        dim: D.

    Returns:
        The bound, in [-1, 1].

    Example:
        >>> cosine_bound(8, 4)
        0.0
    """
    k: float = whole("num_classes", num_classes, 2)
    d = whole("dim", dim, 1)
    if k <= d + 1:
        return simplex_cosine(num_classes)
    if k <= 2 * d:
        return 0.0
    if d == 1:
        return 1.0
    k = min(k, d * (d + 3) / 2)
    a, b, c = d * (k - d - 1), d * (d - 1), 2 * d - k
    return (math.sqrt(b * b - 4 * a * c) - b) / (2 * a)


def random_angle(num_classes: int, dim: int) -> float:
    """The median of the smallest angle between K random directions in D dimensions, in degrees.

    Pairs count as independent.  An angle t has the density sin(t)^(D - 2); with probability 1/2 the smallest of
    P = K (K - 1) / 2 angles is above its median.

    Args:
        num_classes: K, at least 2.
        dim: D.

    Returns:
        The angle in degrees.

    Example:
        >>> round(random_angle(100, 64))
        64
    """
    num_classes, dim = whole("num_classes", num_classes, 2), whole("dim", dim, 1)
    return 0.0 if dim == 1 else _median_angle(num_classes, dim)


@functools.lru_cache(maxsize=64)
def _median_angle(num_classes: int, dim: int) -> float:
    """`random_angle` by numerical integration, which takes a fifth of the time of a check of class vectors."""
    angles = torch.linspace(0, math.pi, (1 << 18) + 1, dtype=torch.float64, device="cpu")
    below = torch.cumulative_trapezoid(angles.sin().pow(dim - 2))
    chance = -math.expm1(-2 * math.log(2) / (num_classes * (num_classes - 1)))
    index = int(torch.searchsorted(below / below[-1], chance))
    return math.degrees(angles[index + 1])
