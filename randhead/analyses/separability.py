"""Separability: how far apart the classes are.

The metrics are the angles between class means, with and without the mean over classes subtracted (non-negative features
have a large part in common); the class separation R^2 of Kornblith et al. 2021 ("Why do better loss functions lead to
less transferable features?", arXiv 2010.16402), 1 - d_within / d_total with mean cosine distances and equal weight per
class; the silhouette (Rousseeuw 1987) with cosine distances; and the angles between the class vectors, beside the best
that is possible for K vectors in D dimensions.
"""

import math

import torch
from torch import Tensor

from randhead import ambient, rng
from randhead.ambient import Array, mean
from randhead.analyses import ClassStatistics, Findings, Metric, Metrics, _pairs, class_statistics
from randhead.analyses._class_statistics import mean_per_class
from randhead.analyses._inputs import NOTHING, OF_FEATURES, centred, checked_classes, checked_vectors, number, unit
from randhead.analyses._neighbours import doubt, products
from randhead.arguments import check_type, whole
from randhead.vectors import simplex_cosine, welch_bound

INPUT = "run"
HEADLINES = (
    "class_separation_r2",
    "mean_angle_deg",
    "min_angle_deg",
    "nearest_angle_deg",
    "centred_mean_angle_deg",
    "centred_nearest_angle_deg",
    "silhouette",
    "class_vectors_mean_angle_deg",
    "class_vectors_min_angle_deg",
)
METRICS = {
    **_pairs.described("class means", "classes"),
    **_pairs.described("class means", "centred", "centred_", "; the overall mean is subtracted first"),
    **_pairs.described("class vectors", "vectors", "class_vectors_"),
    "class_separation_r2": Metric(
        "class separation R\u00b2", "1 - distance within classes / distance of any two samples", "higher"
    ),
    "within_distance": Metric(
        "distance within classes", "mean 1 - cosine of two samples of a class", "lower", bounds=(0, 2)
    ),
    "total_distance": Metric("distance of samples", "mean 1 - cosine of two samples of any classes", bounds=(0, 2)),
    "silhouette": Metric(
        "silhouette",
        "how much closer a sample is to its own class than to the next, -1 to 1 (cosine)",
        "higher",
        bounds=(-1, 1),
    ),
    "class_vectors_largest_cosine": Metric("largest cosine, vectors", "of two class vectors", "lower", bounds=(-1, 1)),
    "simplex_cosine": Metric("simplex cosine", "the smallest largest cosine that K vectors can have"),
    "class_vectors_largest_absolute_cosine": Metric("largest |cosine|, vectors", "of two class vectors", "lower"),
    "welch_cosine": Metric("Welch bound", "the smallest largest |cosine| that K vectors in D dimensions can have"),
}
HEAT_MAP = 2000  # most classes of a K x K picture: a larger one shows nothing and takes more than 32 MB
ROWS = 256  # of a tile


def measure(
    features: Array,
    labels: Array,
    *,
    num_classes: int | None = None,
    class_vectors: Array | None = None,
    sample: int = 10_000,
    seed: int = 0,
) -> Findings:
    """Distances and angles between the classes of features.

    Metrics, of class means and, with the prefix centred_, of class means less their mean: mean_distance and
    min_distance (1 - cosine, over pairs), mean_angle_deg, min_angle_deg, nearest_angle_deg (mean over classes of the
    angle to the nearest other one); class_separation_r2 with within_distance and total_distance; silhouette; and with
    class vectors those of `class_vector_metrics`.  Arrays: see `from_statistics`; also silhouettes (K',) per class.

    Args:
        features: (N, D).
        labels: (N,) integers.
        num_classes: K; by default the number of class vectors, or one more than the largest label.
        class_vectors: (K, D).
        sample: largest number of samples for the silhouette.
        seed: of the choice of these samples.

    Raises:
        DataError: for NaN features, labels out of range, and fewer than two classes with samples.
        UsageError: for shapes that do not fit.

    Example:
        >>> features, labels = torch.eye(2).repeat(3, 1), torch.tensor([0, 1]).repeat(3)
        >>> round(measure(features, labels, num_classes=2).metrics["mean_angle_deg"])
        90
    """
    features, labels, num_classes, class_vectors = checked_classes(features, labels, num_classes, class_vectors)
    sample, seed = whole("sample", sample, low=1), whole("seed", seed)
    statistics = class_statistics(features, labels, num_classes=num_classes)
    found = from_statistics(statistics, class_vectors=class_vectors)
    chosen = rng.permutation(seed, "analyses/silhouette", len(labels), device=str(labels.device))[:sample]
    values = silhouettes(features[chosen], labels[chosen], statistics)
    metrics = found.metrics | {"silhouette": None if statistics.without_spread else number(mean(values))}
    arrays = found.arrays | {"silhouettes": mean_per_class(values, labels[chosen], num_classes)[statistics.present]}
    return Findings(metrics, arrays, found.notes)


def from_statistics(statistics: ClassStatistics, *, class_vectors: Tensor | None = None) -> Findings:
    """The metrics of `measure` that need only one pass: all but the silhouette.

    Arrays over the K' classes with samples: classes (K',); nearest (K',), the nearest other class after centring, and
    its nearest_angle_deg; similar_pairs (P, 2) and their cosines after centring, most similar first; cosines and
    centred_cosines (K', K') in the order of classes, and order (K',), which puts similar classes side by side.

    Args:
        statistics: of the classes.
        class_vectors: (K, D).
    """
    check_type("statistics", statistics, ClassStatistics, "the result of `class_statistics`", hint=OF_FEATURES)
    present = statistics.present
    means = statistics.means[present]
    raw, moved = _pairs.compare(means), _pairs.compare(centred(means))
    metrics = raw.metrics() | moved.metrics("centred_") | _separation(statistics.unit_means[present])
    if statistics.without_spread:
        metrics |= dict.fromkeys(("class_separation_r2", "within_distance"))
    if statistics.is_constant:
        metrics = dict.fromkeys(metrics)
    if len(present) == 2:
        metrics |= dict.fromkeys(moved.metrics("centred_"))
    if class_vectors is not None:
        class_vectors = checked_vectors(class_vectors, *statistics.means.shape)
        metrics |= class_vector_metrics(class_vectors)
    arrays = {
        "classes": present,
        "nearest": present[moved.nearest],
        "nearest_angle_deg": moved.nearest_cosine.clamp(-1, 1).acos().rad2deg(),
        "similar_pairs": present[moved.closest],
        "similar_pair_cosines": moved.closest_cosines,
    }
    return Findings(metrics, arrays | _heat_maps(means), _notes(statistics, raw, moved))


def class_vector_metrics(class_vectors: Tensor) -> Metrics:
    """Angles between class vectors (K, D), and the largest cosine of any pair beside its lower bound.

    Up to D + 1 vectors reach the simplex, -1/(K-1).  For K > D the bound of Welch (1974) holds for the absolute cosine:
    sqrt((K - D) / (D (K - 1))).
    """
    num_classes, dim = class_vectors.shape
    pairs = _pairs.compare(class_vectors)
    metrics = pairs.metrics("class_vectors_")
    largest = pairs.nearest_cosine.max()
    metrics["class_vectors_largest_cosine"] = number(largest)
    if num_classes <= dim + 1:
        metrics["simplex_cosine"] = simplex_cosine(num_classes)
    if num_classes > dim:
        metrics["class_vectors_largest_absolute_cosine"] = number(max(float(largest), -pairs.lowest_cosine))
        metrics["welch_cosine"] = welch_bound(num_classes, dim)
    return metrics


def silhouettes(features: Tensor, labels: Tensor, statistics: ClassStatistics) -> Tensor:
    """Silhouettes with cosine distances of some samples (n, D), (n,) among all that `statistics` counted -> (n,).

    The mean cosine distance of h to a class is 1 - h^ . a_k, so no pair of samples is ever compared.  The silhouette of
    the only sample of a class is 0, by convention.
    """
    rounded = statistics.unit_means.float()
    tiles = zip(features.split(ROWS), labels.long().split(ROWS), strict=True)
    return torch.cat([_silhouettes(unit(h), y, statistics, rounded) for h, y in tiles])


def _silhouettes(units: Tensor, labels: Tensor, statistics: ClassStatistics, rounded: Tensor) -> Tensor:
    n = statistics.counts[labels].double()
    to_class = 1 - torch.linalg.vecdot(units, statistics.unit_means[labels])
    itself = 1 - units.square().sum(dim=1)  # 0, or 1 for a zero feature, which the mean over its class contains
    inside = _clean((n * to_class - itself) / (n - 1).clamp_min(1))
    outside = _clean(1 - _nearest_other(units, labels, statistics, rounded))
    larger = torch.maximum(inside, outside)
    return ((outside - inside) / larger.where(larger > 0, 1)).masked_fill(n < 2, 0)


def _nearest_other(units: Tensor, labels: Tensor, statistics: ClassStatistics, rounded: Tensor) -> Tensor:
    """The largest u . a_k per sample over the other classes with samples: (B, D) -> (B,) float64.

    Products in float32 find the classes that can have it, and those are computed in float64.
    """
    with ambient.whole_float32(units.device):
        near = units.float() @ rounded.T
    near.scatter_(1, labels[:, None], -torch.inf)
    near[:, statistics.counts == 0] = -torch.inf
    rows, classes = (near >= near.amax(dim=1, keepdim=True) - doubt(units.shape[1])).nonzero(as_tuple=True)
    exact = products(units, statistics.unit_means, rows, classes)
    return units.new_full((len(units),), -torch.inf).scatter_reduce_(0, rows, exact, "amax")


def _clean(distances: Tensor) -> Tensor:
    """Distances that are only rounding become 0, so that constant features have silhouette 0 and not a random one."""
    return distances.where(distances > NOTHING, 0)


def _separation(unit_means: Tensor) -> Metrics:
    within = 1 - unit_means.square().sum(dim=1).mean()
    total = 1 - unit_means.mean(dim=0).square().sum()
    defined = total > NOTHING
    return {
        "class_separation_r2": number(1 - within / total) if defined else None,
        "within_distance": number(within.clamp_min(0)),
        "total_distance": number(total.clamp_min(0)),
    }


def _heat_maps(means: Tensor) -> dict[str, Tensor]:
    if len(means) > HEAT_MAP:
        return {}
    cosines, moved = (torch.clamp(u @ u.T, -1, 1) for u in (unit(means), unit(centred(means))))
    return {"cosines": cosines, "centred_cosines": moved, "order": cluster_order(moved).to(means.device)}


def cluster_order(similarity: Tensor) -> Tensor:
    """An order (M,) that puts similar classes side by side: the leaves of average-linkage clustering of (M, M)."""
    from scipy.cluster import hierarchy  # takes 0.4 s, which evaluating a run does not need
    from scipy.spatial.distance import squareform

    distances = (1 - similarity).cpu().numpy()
    condensed = squareform((distances + distances.T) / 2, checks=False)
    return torch.from_numpy(hierarchy.leaves_list(hierarchy.linkage(condensed, method="average"))).long()


def _notes(statistics: ClassStatistics, raw: _pairs.Pairs, moved: _pairs.Pairs) -> tuple[str, ...]:
    notes = statistics.notes
    if math.isnan(raw.mean_cosine):
        notes += ("a class mean is zero: it has no angle",)
    if math.isnan(moved.mean_cosine):
        notes += ("a class mean lies at the mean of all classes: it has no centred angle",)
    elif len(moved.nearest) == 2:
        notes += ("two centred class means are always opposite: their angle says nothing",)
    elif len(moved.nearest) == 3:
        notes += ("the mean angle of three centred class means is always near 120 deg: it says little",)
    return notes
