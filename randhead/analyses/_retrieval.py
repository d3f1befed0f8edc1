"""Nearest neighbours by cosine and what retrieval makes of them, a tile of queries at a time.

Definitions of Musgrave, Belongie and Lim 2020 ("A metric learning reality check", arXiv 2003.08505, section 3.2), equal
to pytorch-metric-learning's AccuracyCalculator.  The order of neighbours is total: by cosine on a grid of 2^-36, which
is above the rounding of float64 products, so that equal features tie, and ties by index.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from randhead.analyses._inputs import check_finite, number, unit
from randhead.errors import DataError, UsageError

TILE = 1 << 21  # cosines held at a time: 16 MiB
GRID = 1 << 36
PLACES = 1 << 26  # a cosine on its grid and an index share 63 bits
RECALLS = (1, 2, 4, 8)


class Gallery:
    """Features (G, D) to look for neighbours in."""

    def __init__(self, features: Tensor):
        check_finite(features)
        if len(features) >= PLACES:
            raise UsageError(f"a gallery holds fewer than {PLACES} features, got {len(features)}")
        self.directions = unit(features)
        self.places = torch.arange(len(features), device=features.device)
        self.rows = max(1, TILE // max(1, len(features)))

    def nearest(self, queries: Tensor, k: int, *, own: Tensor | None = None) -> Tensor:
        """The k nearest of every query, nearest first: (B, D) -> (B, k) int64 indices.  own (B,) are never found."""
        if queries.shape[1] != self.directions.shape[1]:
            dims = f"{queries.shape[1]} and {self.directions.shape[1]}"
            raise UsageError(f"queries and gallery must have one width, got {dims}", hint="compare runs of one dim")
        keys = (unit(queries) @ self.directions.T).mul_(GRID).round_().long()
        keys.mul_(PLACES).sub_(self.places)
        if own is not None:
            keys.scatter_(1, own[:, None], torch.iinfo(torch.int64).min)
        return -keys.topk(k, dim=1).values & (PLACES - 1)


@dataclass(frozen=True)
class Retrieval:
    """Scores of the Q queries that have something to find.

    labels (Q,), hits (Q, len(RECALLS)) bool, r_precision and average_precision_at_r (Q,) float64.  `lone` counts the
    queries left out because nothing of their class is there.
    """

    labels: Tensor
    hits: Tensor
    r_precision: Tensor
    average_precision_at_r: Tensor
    lone: int

    def figures(self) -> dict[str, float | None]:
        """Means over queries; those with the suffix _by_class give every class the same weight."""
        values = {f"recall_at_{k}": self.hits[:, i].double() for i, k in enumerate(RECALLS)}
        values |= {"r_precision": self.r_precision, "map_at_r": self.average_precision_at_r}
        by_class = {f"{name}_by_class": number(_class_mean(value, self.labels)) for name, value in values.items()}
        return {name: number(value.mean()) for name, value in values.items()} | by_class


def retrieve(
    queries: Tensor,
    query_labels: Tensor,
    gallery: Tensor | None = None,
    gallery_labels: Tensor | None = None,
    *,
    same_images: bool = False,
) -> Retrieval:
    """Retrieval of queries (Q, D) in a gallery (G, D), by default the queries themselves.

    Where the gallery is the queries, or holds the same images in the same order (`same_images`), no query finds itself.
    Raises DataError where no query has anything to find.
    """
    if gallery is None:
        gallery, gallery_labels, same_images = queries, query_labels, True
    check_finite(queries)
    index = Gallery(gallery)
    relevant = _relevant(query_labels, gallery_labels) - int(same_images)
    kept = (relevant > 0).nonzero().flatten()
    if not len(kept):
        raise DataError("no query has another sample of its class in the gallery")
    kept = kept[relevant[kept].sort(stable=True).indices]  # tiles of one depth
    most = len(gallery) - int(same_images)
    parts = []
    for rows in kept.split(index.rows):
        depth = min(most, max(int(relevant[rows].max()), RECALLS[-1]))
        found = index.nearest(queries[rows], depth, own=rows if same_images else None)
        parts.append(_scores(gallery_labels[found] == query_labels[rows, None], relevant[rows]))
    back = kept.argsort()
    hits, precision, average = (torch.cat(values)[back] for values in zip(*parts, strict=True))
    return Retrieval(query_labels[kept[back]], hits, precision, average, len(queries) - len(kept))


def votes(
    queries: Tensor, gallery: Tensor, gallery_labels: Tensor, *, ks: tuple[int, ...], num_classes: int
) -> Iterator[Tensor]:
    """The class most frequent among the k nearest, for each k in ks: tiles of (B, len(ks)); ties to the lower class."""
    check_finite(queries)
    index = Gallery(gallery)
    for h in queries.split(index.rows):
        labels = gallery_labels[index.nearest(h, max(ks))]
        counts = [torch.zeros(len(h), num_classes, device=h.device) for _ in ks]
        for count, k in zip(counts, ks, strict=True):
            count.scatter_add_(1, labels[:, :k], torch.ones_like(labels[:, :k], dtype=count.dtype))
        yield torch.stack([count.argmax(dim=1) for count in counts], dim=1)


def _scores(same: Tensor, relevant: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Hits, R-precision and average precision at R of ranked answers same (B, depth) with R = relevant (B,)."""
    ranks = torch.arange(1, same.shape[1] + 1, device=same.device)
    within = same & (ranks <= relevant[:, None])
    precisions = within.cumsum(dim=1) / ranks.double() * within
    hits = torch.stack([same[:, :k].any(dim=1) for k in RECALLS], dim=1)
    return hits, within.sum(dim=1) / relevant.double(), precisions.sum(dim=1) / relevant


def _relevant(query_labels: Tensor, gallery_labels: Tensor) -> Tensor:
    """How many gallery items have the class of each query: (Q,) int64."""
    ordered = gallery_labels.sort().values
    query_labels = query_labels.contiguous()
    return torch.searchsorted(ordered, query_labels, right=True) - torch.searchsorted(ordered, query_labels)


def _class_mean(values: Tensor, labels: Tensor) -> Tensor:
    _, places, counts = labels.unique(return_inverse=True, return_counts=True)
    sums = torch.zeros(len(counts), dtype=values.dtype, device=values.device).index_add_(0, places, values)
    return (sums / counts).mean()
