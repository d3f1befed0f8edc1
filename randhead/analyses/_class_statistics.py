"""Statistics per class in one pass: O(N D) time, O(K D) memory beyond the features, and two numbers per sample.

The mean of the unit features of a class, a_k, is enough for all mean cosines: the mean cosine of class k to any
direction v is a_k . v, and the mean cosine between two classes is a_j . a_k.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from randhead import ambient
from randhead.analyses._inputs import EQUAL, NOTHING, check_finite, checked_samples, checked_vectors, left_out, unit
from randhead.arguments import whole
from randhead.errors import DataError

ROWS = 256  # per tile: temporaries stay in the cache and are reused; at 8,192 rows page faults make it 6 times slower


@dataclass(frozen=True)
class ClassStatistics:
    """Statistics of the features of each class; those of a class without samples are zeros.

    Attributes:
        counts: number of samples per class (K,).
        means: class means (K, D).
        unit_means: means of the features scaled to unit norm (K, D).
        scatter: sum of |h - mu|^2 per class (K,).
        norms: norm per sample, in the order in which samples were added (N,).
        target_cosines: cosine per sample to the vector of its class (N,); None without class vectors.
    """

    counts: Tensor
    means: Tensor
    unit_means: Tensor
    scatter: Tensor
    norms: Tensor
    target_cosines: Tensor | None

    @property
    def present(self) -> Tensor:
        """Indices of the classes with samples, int64 (K',), at least two of them.  Raises DataError otherwise."""
        present = self.counts.nonzero().flatten()
        if len(present) < 2:
            raise DataError(f"comparing classes needs samples of at least two, got {len(present)}")
        return present

    @property
    def without_spread(self) -> str | None:
        """Why nothing can be said about the spread within classes, in words; None if it can."""
        if int(self.counts.max()) < 2:
            return "classes of one sample have no spread: what is measured within classes has no value"
        if self.is_constant:
            return EQUAL
        return None

    @property
    def is_constant(self) -> bool:
        """Whether all features are equal, but for rounding."""
        means = self.means[self.counts > 0]
        away = (means - means[0]).square().sum(dim=1).max() + self.scatter.max()
        return bool(away.sqrt() <= NOTHING * self.norms.max())

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes for the reader: classes without a sample, or with a single one; features without a direction."""
        zeros, single = int((self.norms == 0).sum()), int((self.counts == 1).sum())
        notes = [f"{zeros} features are zero; their cosines count as 0"] if zeros else []
        if why := self.without_spread:
            notes.append(why)
        elif single:
            of = int((self.counts > 0).sum())
            notes.append(f"{single} of {of} classes have one sample, which is its own mean: they add no spread")
        return (*left_out(self.counts), *notes)


class Accumulator:
    """Accumulates class statistics batch by batch: `add(features, labels)` as often as needed, then `statistics()`.

    Args:
        num_classes: K.
        dim: D.
        class_vectors: (K, D), for the cosines to them.
        device: of the features.
    """

    def __init__(
        self,
        num_classes: int,
        dim: int,
        *,
        class_vectors: Tensor | None = None,
        device: str | torch.device = "cpu",
    ):
        if class_vectors is not None:
            class_vectors = checked_vectors(class_vectors, num_classes, dim)
        zeros = torch.zeros(num_classes, dim, dtype=torch.float64, device=device)
        self.directions = None if class_vectors is None else unit(class_vectors.to(device))
        self.counts = torch.zeros(num_classes, dtype=torch.int64, device=device)
        self.squares = torch.zeros(num_classes, dtype=torch.float64, device=device)
        self.origins, self.sums, self.unit_sums = zeros, zeros.clone(), zeros.clone()
        self.norms: list[Tensor] = []
        self.target_cosines: list[Tensor] = []

    def add(self, features: Tensor, labels: Tensor) -> None:
        """Add features (B, D) with labels (B,), of `checked_samples`.  Raises DataError for NaN features."""
        for h, y in zip(features.split(ROWS), labels.split(ROWS), strict=True):
            self._add_tile(h.double(), y)

    def statistics(self) -> ClassStatistics:
        """The statistics of all samples added so far."""
        if not self.norms:
            raise DataError("there are no samples to analyze")
        n = self.counts.clamp_min(1)[:, None].double()
        offsets = self.sums / n
        scatter = (self.squares - self.sums.square().sum(dim=1) / n[:, 0]).clamp_min(0)
        cosines = torch.cat(self.target_cosines) if self.target_cosines else None
        means = self.origins + offsets
        return ClassStatistics(self.counts.clone(), means, self.unit_sums / n, scatter, torch.cat(self.norms), cosines)

    def _add_tile(self, h: Tensor, y: Tensor) -> None:
        norms = torch.linalg.vector_norm(h, dim=1)
        if not norms.isfinite().all():
            check_finite(h)
        self._set_origins(h, y)
        self.counts += torch.bincount(y, minlength=len(self.counts))
        units = h / norms.where(norms > 0, torch.ones_like(norms))[:, None]
        self.unit_sums.index_add_(0, y, units)
        if self.directions is not None:
            self.target_cosines.append(torch.einsum("nd,nd->n", units, self.directions[y]))
        # Sums are relative to the first sample of the class: precise also for a tight class far from 0.
        moved = h - self.origins[y]
        self.sums.index_add_(0, y, moved)
        self.squares.index_add_(0, y, torch.einsum("nd,nd->n", moved, moved))
        self.norms.append(norms)

    def _set_origins(self, h: Tensor, y: Tensor) -> None:
        indices = ambient.indices(len(y), y.device)
        first = torch.full_like(self.counts, len(y)).scatter_reduce_(0, y, indices, "amin")
        new = (first < len(y)) & (self.counts == 0)
        self.origins[new] = h[first[new]]


def class_statistics(
    features: Tensor, labels: Tensor, *, num_classes: int, class_vectors: Tensor | None = None
) -> ClassStatistics:
    """Statistics of the features of each class.

    Args:
        features: (N, D).
        labels: (N,) integers.
        num_classes: K.
        class_vectors: (K, D), for the cosines to them.

    Returns:
        The statistics, in float64.

    Raises:
        DataError: without samples, for NaN features and labels out of range.

    Example:
        >>> found = class_statistics(torch.eye(2), torch.tensor([1, 1]), num_classes=2)
        >>> found.counts, found.means[1]
        (tensor([0, 2]), tensor([0.5000, 0.5000], dtype=torch.float64))
    """
    return class_statistics_of_batches([(features, labels)], num_classes=num_classes, class_vectors=class_vectors)


def class_statistics_of_batches(
    batches: Iterable[tuple[Tensor, Tensor]], *, num_classes: int, class_vectors: Tensor | None = None
) -> ClassStatistics:
    """Class statistics of a stream of (features (B, D), labels (B,)), each batch read once."""
    total, num_classes = None, whole("num_classes", num_classes, low=1)
    for features, labels in batches:
        features, labels = checked_samples(features, labels, num_classes)
        if total is None:
            dim, device = features.shape[1], features.device
            total = Accumulator(num_classes, dim, class_vectors=class_vectors, device=device)
        total.add(features, labels)
    if total is None:
        raise DataError("there are no samples to analyze")
    return total.statistics()


def mean_per_class(values: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """Mean of one value per sample over each class: (n,), (n,) -> (K,), NaN for classes without samples."""
    sums = torch.zeros(num_classes, dtype=values.dtype, device=values.device).index_add_(0, labels.long(), values)
    return sums / torch.bincount(labels.long(), minlength=num_classes)
