"""How the metrics of collapse are shown to people."""

from dataclasses import replace

from randhead.analyses import Metric

_MEASURED = {
    "nc1": Metric("NC1, variability", "covariance within classes relative to that between them, over K", "lower"),
    "nc2_equinorm": Metric("NC2, equal norms", "relative deviation of the norms of centred class means", "lower"),
    "nc2_equiangularity": Metric("NC2, equal angles", "mean |cosine + 1/(K-1)| of centred class means", "lower"),
    "nc2_simplex": Metric("NC2, simplex", "distance of the Gram matrix of centred class means to a simplex's", "lower"),
    "nc2_head": Metric("NC2, of the head", "distance of the Gram matrices of class means and class vectors", "lower"),
    "nc3": Metric("NC3, self-duality", "squared distance of class means and class vectors, both centred", "lower"),
    "nc3_raw": Metric("NC3, uncentred", "the same, with class vectors that are not centred", "lower"),
    "nc3_cosine": Metric(
        "NC3, cosine", "mean cosine of centred class means and class vectors", "higher", bounds=(-1, 1)
    ),
    "nc4": Metric("NC4, disagreement", "samples whose prediction is not that of the nearest class mean", "lower", "%"),
    "gnc1": Metric("GNC1, variability", "NC1 of normalised features", "lower"),
    "gnc2": Metric("GNC2, smallest margin", "distance of a class mean to the convex hull of the others", "higher"),
    "gnc3": Metric("GNC3, self-duality", "1 - mean cosine of class means and class vectors", "lower"),
}
_OF = {"floor": "the value of a run that has collapsed perfectly onto this head", "vectors": "of the class vectors"}

METRICS = _MEASURED | {
    f"{key}_{end}": replace(metric, name=f"{metric.name}: {end}", definition=definition, better="")
    for key, metric in _MEASURED.items()
    for end, definition in _OF.items()
}
