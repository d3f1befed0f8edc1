"""One-vs-rest margin: how far a vector is from the convex hull of the others.  GNC2 of arXiv 2310.05351."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from torch import Tensor

from randhead import rng

MOST = 200  # at K = 10,000, D = 512 they take a second, and there are three sets of vectors
STEP = 64  # vectors that are added at once; at K = 10,000, D = 512 some 60 of a random set are in the mixture
GAP = 1e-10  # between a distance and its lower bound, relative to the largest number
ORDERS = 9  # of columns that SciPy is given: in one, it is wrong for 1 of 500 sets of vectors whose entries are 1 or -1


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
    matrix, classes = vectors.double().cpu().numpy(), rows.numpy()
    tolerance = GAP * max(1.0, float(np.abs(matrix).max()))
    chosen = _nearest_rows(matrix, classes)
    mixtures = np.stack(
        [_nearest_mixture(matrix[k], matrix[few], tolerance) for k, few in zip(classes, chosen, strict=True)]
    )
    along = mixtures @ matrix.T
    best = bound = float("inf")
    for i in np.square(mixtures).sum(axis=1).argsort(kind="stable"):  # a small distance ends the searches of others
        search = _Search(matrix, classes[i], chosen[i], mixtures[i], along[i])
        found = search.result(tolerance, enough=best)
        best, bound = min(best, found.distance), min(bound, found.bound)
    return Distance(best, min(best, bound))


@dataclass
class _Search:
    """For the distance of matrix[k] to the convex hull of the other rows.

    The nearest mixture of a few rows is found exactly.  Across the direction to it, the nearest of all rows defines a
    plane between matrix[k] and the hull, whose distance is a lower bound.  Rows that are nearer than the mixture in
    this direction join the few, until there are none: then bound and distance agree.

    Attributes:
        matrix: (M, D) float64.
        k: the row in question.
        chosen: the few rows, ascending.
        mixture: the nearest of their hull, minus matrix[k]; (D,).
        along: matrix @ mixture, (M,).
    """

    matrix: np.ndarray
    k: int
    chosen: np.ndarray
    mixture: np.ndarray
    along: np.ndarray

    def result(self, tolerance: float, *, enough: float) -> Distance:
        """The distance, exact up to `tolerance` unless it is found to be at least `enough`."""
        point = self.matrix[self.k]
        while (distance := float(np.linalg.norm(self.mixture))) > tolerance:
            ahead = (self.along - point @ self.mixture) / distance
            ahead[self.k] = np.inf
            bound = max(float(ahead.min()), 0.0)
            ahead[self.chosen] = np.inf
            more = np.flatnonzero(ahead < distance - tolerance)
            if bound >= enough or not len(more):
                return Distance(distance, bound)
            nearest = more[ahead[more].argsort(kind="stable")][:STEP]
            self.chosen = np.sort(np.concatenate((self.chosen, nearest)))
            self.mixture = _nearest_mixture(point, self.matrix[self.chosen], tolerance)
            self.along = self.matrix @ self.mixture
        return Distance(distance, 0.0)


def _nearest_mixture(point: np.ndarray, others: np.ndarray, tolerance: float) -> np.ndarray:
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


def _nearest_rows(matrix: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The STEP nearest other rows of each of some rows, ascending: (M, D), (R,) -> (R, min(STEP, M - 1))."""
    squares = np.square(matrix).sum(axis=1)
    near = squares - 2 * matrix[rows] @ matrix.T
    near[np.arange(len(rows)), rows] = np.inf
    count = min(STEP, len(matrix) - 1)
    return np.sort(np.argpartition(near, count - 1, axis=1)[:, :count], axis=1)
