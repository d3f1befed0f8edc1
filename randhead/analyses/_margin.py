"""One-vs-rest margin: how far a vector is from the convex hull of the others.  GNC2 of arXiv 2310.05351."""

import numpy as np
from torch import Tensor

from randhead import rng

MOST = 200  # at K = 1,000, D = 512 one class takes 0.03 s, and there are three sets of vectors


def examined(count: int, seed: int) -> Tensor:
    """The classes to measure: all of them, or MOST drawn at random.  int64, sorted."""
    return rng.permutation(seed, "analyses/margin", count)[:MOST].sort().values


def smallest(vectors: Tensor, rows: Tensor) -> float:
    """The smallest distance of vectors[k] to conv{vectors[j], j != k} over k in rows.  vectors (M, D), M >= 2."""
    matrix = vectors.double().cpu().numpy()
    return min(distance_to_hull(matrix[k], np.delete(matrix, k, axis=0)) for k in rows.tolist())


def distance_to_hull(point: np.ndarray, others: np.ndarray) -> float:
    """Distance of a point (D,) to the convex hull of others (M, D), exactly.

    min |X c|^2 + (1 - sum c)^2 over c >= 0, with X = others - point in columns, is non-negative least squares, and its
    solution over its sum is the nearest point of the hull: scaling a solution never changes which mixture is best.
    """
    from scipy.optimize import nnls  # takes 0.4 s, which evaluating a run does not need

    moved = (others - point).T
    system = np.vstack((moved, np.ones(moved.shape[1])))
    weights, _ = nnls(system, np.eye(len(system))[-1], maxiter=30 * moved.shape[1])
    return float(np.linalg.norm(moved @ (weights / weights.sum())))
