"""One-vs-rest margin: how far a vector is from the convex hull of the others.  GNC2 of arXiv 2310.05351."""

from typing import NamedTuple

import numpy as np
from torch import Tensor

from randhead import rng

MOST = 200  # at K = 2,000, D = 512 one class takes 5 ms, and there are three sets of vectors
STEP = 64  # vectors that are added at once; at K = 10,000, D = 512 some 60 of a random set are in the mixture
GAP = 1e-10  # between a distance and its lower bound, relative to the largest number
ORDERS = 9  # in which columns are given to SciPy, whose solution is wrong for one in 500 sets of vectors with few signs


class Distance(NamedTuple):
    """The distance to a point of a hull, which is at least that of the hull, and a lower bound of the hull's."""

    distance: float
    bound: float

    @property
    def exact(self) -> bool:
        """Whether both agree to six digits."""
        return self.distance - self.bound <= 1e-6


def examined(count: int, seed: int) -> Tensor:
    """The classes to measure: all of them, or MOST drawn at random.  int64, sorted."""
    return rng.permutation(seed, "analyses/margin", count)[:MOST].sort().values


def smallest(vectors: Tensor, rows: Tensor) -> Distance:
    """The smallest distance of vectors[k] to conv{vectors[j], j != k} over k in rows.  vectors (M, D), M >= 2."""
    matrix = vectors.double().cpu().numpy()
    tolerance = GAP * max(1.0, float(np.abs(matrix).max()))
    near = _squared_distances(matrix, rows.numpy())
    best = bound = float("inf")
    for i in near.min(axis=1).argsort(kind="stable"):  # the first is likely to be the smallest, which ends the others
        found = distance_to_others(matrix, int(rows[i]), near[i], tolerance=tolerance, enough=best)
        best, bound = min(best, found.distance), min(bound, found.bound)
    return Distance(best, min(best, bound))


def distance_to_others(
    matrix: np.ndarray, k: int, near: np.ndarray, *, tolerance: float = GAP, enough: float = float("inf")
) -> Distance:
    """Distance of matrix[k] to the convex hull of the other rows (M, D), exactly unless it is more than `enough`.

    The nearest mixture of a few rows is found exactly.  Across the direction to it, the nearest of all rows defines a
    plane between matrix[k] and the hull, whose distance is a lower bound.  Rows that are nearer than the mixture in
    this direction join the few, until there are none: then bound and distance agree.

    Args:
        matrix: (M, D) float64, M >= 2.
        k: the row in question.
        near: (M,), smallest first: which rows are tried first.
        tolerance: what the distance and its lower bound may differ by.
        enough: a lower bound of this much ends the search.
    """
    point, count = matrix[k], min(STEP, len(matrix) - 1)
    order = np.argpartition(near, count) if count < len(near) - 1 else np.arange(len(near))
    chosen = np.sort(order[order != k][:count])
    while True:
        mixture = _nearest_mixture(point, matrix[chosen], tolerance)
        distance = float(np.linalg.norm(mixture))
        if distance <= tolerance:
            return Distance(distance, 0.0)
        beyond = (matrix @ mixture - point @ mixture) / distance
        beyond[k] = np.inf
        bound = max(float(beyond.min()), 0.0)
        beyond[chosen] = np.inf
        more = np.flatnonzero(beyond < distance - tolerance)
        if bound >= enough or not len(more):
            return Distance(distance, bound)
        chosen = np.sort(np.concatenate((chosen, more[beyond[more].argsort(kind="stable")][:STEP])))


def distance_to_hull(point: np.ndarray, others: np.ndarray) -> float:
    """Distance of a point (D,) to the convex hull of others (M, D), exactly."""
    return float(np.linalg.norm(_nearest_mixture(point, others)))


def _nearest_mixture(point: np.ndarray, others: np.ndarray, tolerance: float = GAP) -> np.ndarray:
    """The point of the convex hull of others (M, D) that is nearest to a point (D,), minus that point.

    min |X c|^2 + (1 - sum c)^2 over c >= 0, with X = others - point in columns, is non-negative least squares, and its
    solution over its sum is the nearest point of the hull: scaling a solution never changes which mixture is best.
    """
    from scipy.optimize import nnls  # takes 0.4 s, which evaluating a run does not need

    moved = (others - point).T
    best = moved[:, 0]
    for attempt in range(ORDERS):
        order = rng.permutation(0, "analyses/hull", len(others), stream=attempt).numpy() if attempt else slice(None)
        system = np.vstack((moved[:, order], np.ones(len(others))))
        try:
            weights, _ = nnls(system, np.eye(len(system))[-1], maxiter=30 * len(others))
        except RuntimeError:  # too many iterations
            continue
        mixture = moved[:, order] @ (weights / weights.sum())
        best = min(best, mixture, key=np.linalg.norm)
        length = np.linalg.norm(mixture)
        if length == 0 or (mixture @ moved).min() >= length * (length - tolerance):
            break
    return best


def _squared_distances(matrix: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Of each of some rows to all: (M, D), (R,) -> (R, M); infinite to itself."""
    squares = np.square(matrix).sum(axis=1)
    found = squares - 2 * matrix[rows] @ matrix.T + squares[rows, None]
    found[np.arange(len(rows)), rows] = np.inf
    return found
