"""Retrieval metrics and votes of the nearest neighbours by cosine, a tile of queries at a time.

Definitions of Musgrave, Belongie and Lim 2020 ("A metric learning reality check", arXiv 2003.08505, section 3.2), equal
to pytorch-metric-learning's AccuracyCalculator.  The order of neighbours is total (`_neighbours`).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from randhead import ambient
from randhead.ambient import mean
from randhead.analyses import Metric, Metrics
from randhead.analyses._class_statistics import mean_per_class
from randhead.analyses._inputs import check_finite, number
from randhead.analyses._neighbours import Gallery
from randhead.errors import DataError

RECALLS = (1, 2, 4, 8)
METRICS = {
    **{
        f"recall_at_{k}": Metric(
            f"Recall@{k}", f"share of samples with one of their class among the {k} nearest", "higher", "%"
        )
        for k in RECALLS
    },
    "r_precision": Metric("R-precision", "share of the class among the R nearest, R = number of others", "higher", "%"),
    "map_at_r": Metric("mAP@R", "mean average precision among the R nearest, R = number of others", "higher", "%"),
}


NAMES = (*METRICS, *(f"{name}_by_class" for name in METRICS))  # of `Retrieval.metrics`


@dataclass(frozen=True)
class Retrieval:
    """Scores of the Q queries for which the gallery has another sample of their class.

    Attributes:
        labels: (Q,).
        hits: whether one of the k nearest has the query's class (Q, len(RECALLS)) bool.
        r_precision: (Q,) float64.
        average_precision_at_r: (Q,) float64.
        lone: number of queries that were left out because the gallery has no other sample of their class.
    """

    labels: Tensor
    hits: Tensor
    r_precision: Tensor
    average_precision_at_r: Tensor
    lone: int

    def metrics(self) -> Metrics:
        """Means over queries; those with the suffix _by_class give every class the same weight."""
        values = {f"recall_at_{k}": self.hits[:, i].double() for i, k in enumerate(RECALLS)}
        values |= {"r_precision": self.r_precision, "map_at_r": self.average_precision_at_r}
        means: Metrics = {name: number(mean(value)) for name, value in values.items()}
        return means | {f"{name}_by_class": number(_class_mean(x, self.labels)) for name, x in values.items()}


def retrieve(
    queries: Tensor,
    query_labels: Tensor,
    gallery: Tensor | Gallery | None = None,
    gallery_labels: Tensor | None = None,
    *,
    same_images: bool = False,
    advanced: Callable[[int], None] = lambda queries: None,
) -> Retrieval:
    """Retrieval of queries (Q, D) in a gallery (G, D), by default the queries themselves.

    If the gallery is the queries, or holds the same images in the same order (`same_images`), no query finds itself.
    `advanced` is called with the number of queries of each tile, before it.
    Raises DataError if the gallery has no other sample of the class of any query.
    """
    if gallery is None or gallery_labels is None:
        gallery, gallery_labels, same_images = queries, query_labels, True
    check_finite(queries)
    index = gallery if isinstance(gallery, Gallery) else Gallery(gallery)
    kept, relevant = answerable(query_labels, gallery_labels, same_images=same_images)
    most = len(gallery_labels) - int(same_images)
    parts = []
    for rows in kept.split(index.rows):
        advanced(len(rows))
        depth = min(most, max(int(relevant[rows].max()), RECALLS[-1]))
        wanted = query_labels[rows, None]
        parting = partial(_parted, gallery_labels, wanted)
        found = index.nearest(queries[rows], depth, excluded=rows if same_images else None, matters=parting)
        parts.append(_scores(gallery_labels[found] == wanted, relevant[rows]))
    back = kept.argsort()
    hits, precision, average = (torch.cat(values)[back] for values in zip(*parts, strict=True))
    return Retrieval(query_labels[kept[back]], hits, precision, average, len(queries) - len(kept))


def answerable(query_labels: Tensor, gallery_labels: Tensor, *, same_images: bool) -> tuple[Tensor, Tensor]:
    """The queries with another sample of their class in the gallery, fewest first (Q',), and how many each has (Q,).

    Raises DataError if there are none.
    """
    relevant = _relevant(query_labels, gallery_labels) - int(same_images)
    kept = (relevant > 0).nonzero().flatten()
    if not len(kept):
        raise DataError("no query has another sample of its class in the gallery")
    return kept[relevant[kept].sort(stable=True).indices], relevant  # tiles of one depth


def _parted(gallery_labels: Tensor, wanted: Tensor, found: Tensor) -> Tensor:
    """Where candidates (B, C) change between the class that is wanted (B, 1) and others: (B, C - 1)."""
    same = gallery_labels[found] == wanted
    return same[:, :-1] != same[:, 1:]


def votes(
    queries: Tensor,
    gallery: Tensor,
    gallery_labels: Tensor,
    *,
    ks: tuple[int, ...],
    num_classes: int,
    advanced: Callable[[int], None] = lambda queries: None,
) -> Iterator[Tensor]:
    """The most frequent class among the k nearest, for each k in ks: tiles of (B, len(ks)); ties to the lower class."""
    check_finite(queries)
    index = Gallery(gallery)
    for h in queries.split(index.rows):
        advanced(len(h))
        labels = gallery_labels[index.nearest(h, max(ks), matters=partial(_ends, ks))]
        yield torch.stack([_vote(labels[:, :k], num_classes) for k in ks], dim=1)


def _ends(ks: tuple[int, ...], found: Tensor) -> Tensor:
    """Only which k are the nearest matters, for each k in ks: candidates (B, C) -> (B, C - 1)."""
    last = ambient.indices(found.shape[1] - 1, found.device) + 1
    return torch.isin(last, torch.tensor(ks, dtype=torch.int64, device=found.device))


def _vote(labels: Tensor, num_classes: int) -> Tensor:
    """The most frequent label per row (B, k), the lower one of equally frequent ones: (B,)."""
    counts = (labels[:, :, None] == labels[:, None, :]).sum(dim=2)
    return num_classes - 1 - (counts * num_classes + num_classes - 1 - labels).amax(dim=1) % num_classes


def _scores(same: Tensor, relevant: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Hits, R-precision and average precision at R of ranked results same (B, depth) with R = relevant (B,)."""
    ranks = torch.arange(1, same.shape[1] + 1, dtype=torch.int64, device=same.device)
    within = same & (ranks <= relevant[:, None])
    precisions = within.cumsum(dim=1) / ranks.double() * within
    hits = torch.stack([same[:, :k].any(dim=1) for k in RECALLS], dim=1)
    return hits, within.sum(dim=1) / relevant.double(), precisions.sum(dim=1) / relevant


def _relevant(query_labels: Tensor, gallery_labels: Tensor) -> Tensor:
    """Number of gallery items of the class of each query: (Q,) int64."""
    ordered = gallery_labels.sort().values
    query_labels = query_labels.contiguous()
    return torch.searchsorted(ordered, query_labels, right=True) - torch.searchsorted(ordered, query_labels)


def _class_mean(values: Tensor, labels: Tensor) -> Tensor:
    """The mean over classes of their mean value: (Q,), (Q,) -> a scalar."""
    classes, indices = labels.unique(return_inverse=True)
    return mean_per_class(values, indices, len(classes)).mean()
