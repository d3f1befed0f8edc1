"""Separability: how far apart the classes are.

Angles between class means, as they are and less the class-balanced mean of all (non-negative features share a large
common part); the class separation R^2 of Kornblith et al. 2021 ("Why do better loss functions lead to less
transferable features?", arXiv 2010.16402), 1 - d_within / d_total over mean cosine distances, each class counting the
same; the silhouette (Rousseeuw 1987) with cosine distances; the angles between the class vectors, beside the best
that K vectors in D dimensions can have.
"""

import math

import torch
from scipy.cluster import hierarchy
from scipy.spatial.distance import squareform
from torch import Tensor

from randhead import rng
from randhead.analyses import Findings, _pairs
from randhead.analyses._inputs import NOTHING, centred, check_vectors, number, unit
from randhead.analyses._moments import Moments, gather

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
HEAT_MAP = 2000  # classes; a larger K x K picture shows nothing and takes 32 MB and more
ROWS = 1024


def measure(
    features: Tensor,
    labels: Tensor,
    *,
    num_classes: int,
    class_vectors: Tensor | None = None,
    sample: int = 10_000,
    seed: int = 0,
) -> Findings:
    """Separability of features (N, D) by labels (N,); the silhouette is the mean over at most `sample` of them.

    Figures, of class means and, with the prefix centred_, of class means less their mean: mean_distance and
    min_distance (1 - cosine, over pairs), mean_angle_deg, min_angle_deg, nearest_angle_deg (mean over classes of the
    angle to the nearest other one); class_separation_r2 with within_distance and total_distance; silhouette; and with
    class_vectors (K, D) those of `class_vector_figures`.  Arrays: see `from_moments`; also silhouettes (K',) by class.
    """
    moments = gather(features, labels, num_classes=num_classes)
    found = from_moments(moments, class_vectors=class_vectors)
    chosen = rng.permutation(seed, "analyses/silhouette", len(labels), device=str(labels.device))[:sample]
    values = silhouettes(features[chosen], labels[chosen], moments)
    figures = found.figures | {"silhouette": number(values.mean())}
    arrays = found.arrays | {"silhouettes": _class_means(values, labels[chosen], num_classes)[moments.present]}
    return Findings(figures, arrays, found.notes)


def from_moments(moments: Moments, *, class_vectors: Tensor | None = None) -> Findings:
    """The figures of `measure` that one pass gives: all but the silhouette.

    Arrays over the K' classes with samples: classes (K',); nearest (K',) the nearest other class after centring and its
    nearest_angle_deg; similar_pairs (P, 2) and their cosines after centring, most similar first; cosines and
    centred_cosines (K', K') in the order of classes, and order (K',), which puts similar classes side by side.
    """
    present = moments.present
    means = moments.means[present]
    raw, moved = _pairs.compare(means), _pairs.compare(centred(means))
    figures = raw.figures() | moved.figures("centred_") | _separation(moments.unit_means[present])
    if class_vectors is not None:
        check_vectors(class_vectors, *moments.means.shape)
        figures |= class_vector_figures(class_vectors)
    arrays = {
        "classes": present,
        "nearest": present[moved.nearest],
        "nearest_angle_deg": moved.nearest_cosine.clamp(-1, 1).acos().rad2deg(),
        "similar_pairs": present[moved.closest],
        "similar_pair_cosines": moved.closest_cosines,
    }
    return Findings(figures, arrays | _heat_maps(means), _notes(moments, moved))


def class_vector_figures(class_vectors: Tensor) -> dict[str, float | None]:
    """Angles between class vectors (K, D), and the largest cosine of any pair beside the least it could be.

    Up to D + 1 vectors reach the simplex, -1/(K-1).  For K > D the bound of Welch (1974) holds for the absolute cosine:
    sqrt((K - D) / (D (K - 1))).
    """
    num_classes, dim = class_vectors.shape
    pairs = _pairs.compare(class_vectors)
    figures = pairs.figures("class_vectors_")
    largest = pairs.closest_cosines[:1]
    figures["class_vectors_largest_cosine"] = number(largest[0]) if len(largest) else None
    if num_classes <= dim + 1:
        figures["simplex_cosine"] = -1 / (num_classes - 1)
    if num_classes > dim:
        figures["class_vectors_largest_absolute_cosine"] = _largest_absolute(unit(class_vectors))
        figures["welch_cosine"] = math.sqrt((num_classes - dim) / (dim * (num_classes - 1)))
    return figures


def silhouettes(features: Tensor, labels: Tensor, moments: Moments) -> Tensor:
    """Silhouettes with cosine distances of some samples (n, D), (n,) among all that `moments` counted -> (n,).

    The mean cosine distance of h to a class is 1 - h^ . a_k, so no pair of samples is ever compared.  A sample alone in
    its class has 0, by convention.
    """
    tiles = zip(features.split(ROWS), labels.long().split(ROWS), strict=True)
    return torch.cat([_silhouettes(unit(h), y, moments) for h, y in tiles])


def _silhouettes(units: Tensor, labels: Tensor, moments: Moments) -> Tensor:
    distances = 1 - units @ moments.unit_means.T
    n = moments.counts[labels].double()
    own = distances.gather(1, labels[:, None]).squeeze(1)
    itself = 1 - units.square().sum(dim=1)  # 0, or 1 for a zero feature, which the mean over its class contains
    inside = _clean((n * own - itself) / (n - 1).clamp_min(1))
    distances.scatter_(1, labels[:, None], torch.inf)
    distances[:, moments.counts == 0] = torch.inf
    outside = _clean(distances.amin(dim=1))
    larger = torch.maximum(inside, outside)
    return ((outside - inside) / larger.where(larger > 0, 1)).masked_fill(n < 2, 0)


def _clean(distances: Tensor) -> Tensor:
    """Distances of rounding only become 0, so that constant features have silhouette 0 and not a random one."""
    return distances.where(distances > NOTHING, 0)


def _separation(unit_means: Tensor) -> dict[str, float | None]:
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
    """An order (M,) that puts similar things side by side: the leaves of average-linkage clustering of (M, M)."""
    distances = (1 - similarity).cpu().numpy()
    condensed = squareform((distances + distances.T) / 2, checks=False)
    return torch.from_numpy(hierarchy.leaves_list(hierarchy.linkage(condensed, method="average"))).long()


def _largest_absolute(directions: Tensor) -> float:
    largest = 0.0
    for start in range(0, len(directions), ROWS):
        cosines = (directions[start : start + ROWS] @ directions.T).abs()
        cosines.diagonal(start).zero_()
        largest = max(largest, float(cosines.max()))
    return min(largest, 1.0)


def _class_means(values: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """Mean value of each class: (n,), (n,) -> (K,), NaN without samples."""
    sums = torch.zeros(num_classes, dtype=values.dtype, device=values.device).index_add_(0, labels.long(), values)
    return sums / torch.bincount(labels.long(), minlength=num_classes)


def _notes(moments: Moments, moved: _pairs.Pairs) -> tuple[str, ...]:
    if not math.isnan(moved.mean_cosine):
        return moments.notes
    return (*moments.notes, "a class mean lies at the mean of all classes: it has no centred angle")
