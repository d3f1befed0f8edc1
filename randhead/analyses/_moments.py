"""Statistics of every class in one pass: O(N D) time, O(K D) memory beyond the features, and two numbers a sample.

The mean of the unit features of a class, a_k, holds all that mean cosines need: the mean cosine of class k to any
direction v is a_k . v, and of two classes to each other a_j . a_k.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from randhead.analyses._inputs import check_finite, check_samples, check_vectors, left_out, unit
from randhead.errors import DataError

ROWS = 256  # temporaries that stay in the cache and are reused; at 8,192 rows page faults take 6 times the time


@dataclass(frozen=True)
class Moments:
    """Class statistics: counts (K,), means (K, D), unit_means (K, D), scatter (K,) = sum of |h - mu|^2.

    Also of every sample, in the order met: norms (N,) and, where class vectors were given, own_cosines (N,), the cosine
    to the vector of its class.  A class without samples has zeros.
    """

    counts: Tensor
    means: Tensor
    unit_means: Tensor
    scatter: Tensor
    norms: Tensor
    own_cosines: Tensor | None

    @property
    def present(self) -> Tensor:
        """Indices of the classes with samples, int64 (K',), at least two of them.  Raises DataError otherwise."""
        present = self.counts.nonzero().flatten()
        if len(present) < 2:
            raise DataError(f"classes can only be compared where two have samples, {len(present)} has")
        return present

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader should know of these statistics: empty classes, features without a direction."""
        zeros = int((self.norms == 0).sum())
        note = (f"{zeros} features are zero; their cosines count as 0",) if zeros else ()
        return left_out(self.counts) + note


class Accumulator:
    """Adds up class statistics batch by batch: `add(features, labels)` as often as needed, then `moments()`."""

    def __init__(self, num_classes: int, dim: int, *, class_vectors: Tensor | None = None, device: str = "cpu"):
        if class_vectors is not None:
            check_vectors(class_vectors, num_classes, dim)
        zeros = torch.zeros(num_classes, dim, dtype=torch.float64, device=device)
        self.directions = None if class_vectors is None else unit(class_vectors.to(device))
        self.counts = torch.zeros(num_classes, dtype=torch.int64, device=device)
        self.squares = torch.zeros(num_classes, dtype=torch.float64, device=device)
        self.origins, self.sums, self.unit_sums = zeros, zeros.clone(), zeros.clone()
        self.norms, self.own_cosines = [], []

    def add(self, features: Tensor, labels: Tensor) -> None:
        """Count features (B, D) of labels (B,) in.  Raises DataError for NaN features and labels out of range."""
        check_samples(features, labels, len(self.counts))
        for h, y in zip(features.split(ROWS), labels.long().split(ROWS), strict=True):
            self._add_tile(h.double(), y)

    def moments(self) -> Moments:
        """The statistics of everything added so far."""
        if not self.norms:
            raise DataError("there are no samples to analyze")
        n = self.counts.clamp_min(1)[:, None].double()
        offsets = self.sums / n
        scatter = (self.squares - self.sums.square().sum(dim=1) / n[:, 0]).clamp_min(0)
        own = torch.cat(self.own_cosines) if self.own_cosines else None
        means = self.origins + offsets
        return Moments(self.counts.clone(), means, self.unit_sums / n, scatter, torch.cat(self.norms), own)

    def _add_tile(self, h: Tensor, y: Tensor) -> None:
        norms = torch.linalg.vector_norm(h, dim=1)
        if not norms.isfinite().all():
            check_finite(h)
        self._set_origins(h, y)
        self.counts += torch.bincount(y, minlength=len(self.counts))
        units = h / norms.where(norms > 0, torch.ones_like(norms))[:, None]
        self.unit_sums.index_add_(0, y, units)
        if self.directions is not None:
            self.own_cosines.append(torch.einsum("nd,nd->n", units, self.directions[y]))
        # Sums start at the first sample of a class: a class that is tight but far from 0 keeps its digits.
        moved = h - self.origins[y]
        self.sums.index_add_(0, y, moved)
        self.squares.index_add_(0, y, torch.einsum("nd,nd->n", moved, moved))
        self.norms.append(norms)

    def _set_origins(self, h: Tensor, y: Tensor) -> None:
        places = torch.arange(len(y), device=y.device)
        first = torch.full_like(self.counts, len(y)).scatter_reduce_(0, y, places, "amin")
        new = (first < len(y)) & (self.counts == 0)
        self.origins[new] = h[first[new]]


def gather(features: Tensor, labels: Tensor, *, num_classes: int, class_vectors: Tensor | None = None) -> Moments:
    """Class statistics of features (N, D) and labels (N,).  class_vectors (K, D) add the cosines to them."""
    return gather_batches([(features, labels)], num_classes=num_classes, class_vectors=class_vectors)


def gather_batches(
    batches: Iterable[tuple[Tensor, Tensor]], *, num_classes: int, class_vectors: Tensor | None = None
) -> Moments:
    """Class statistics of a stream of (features (B, D), labels (B,)), each batch met once."""
    total = None
    for features, labels in batches:
        if total is None:
            dim, device = features.shape[-1], features.device
            total = Accumulator(num_classes, dim, class_vectors=class_vectors, device=device)
        total.add(features, labels)
    if total is None:
        raise DataError("there are no samples to analyze")
    return total.moments()
