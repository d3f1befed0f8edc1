"""Transfer: are the features useful for classes, or a dataset, that the run was not trained on?

kNN, a linear probe (logistic regression), few-shot prototypes, and retrieval: Recall@K, R-precision and mAP@R.  A
higher separability can come with worse transfer (Kornblith et al. 2021, arXiv 2010.16402): read both together.
"""

import warnings
from collections.abc import Callable

import torch
from torch import Tensor

from randhead.ambient import Array
from randhead.analyses import Findings, Metric, Metrics, _few_shot, _retrieval
from randhead.analyses._inputs import EQUAL, OTHER_CLASSES, all_equal, check_finite, checked_samples, number, steps_of
from randhead.arguments import check_functions, whole
from randhead.arrays import as_classes
from randhead.errors import DataError, UsageError

INPUT = "new classes"
HEADLINES = ("knn_1", "knn_20", "linear_probe", "few_shot_1", "few_shot_5", "recall_at_1", "r_precision", "map_at_r")
METRICS = {
    "knn_1": Metric("1-NN accuracy", "class of the nearest training sample by cosine", "higher", "%"),
    "knn_20": Metric("20-NN accuracy", "vote of the 20 nearest training samples by cosine", "higher", "%"),
    "linear_probe": Metric("linear probe", "accuracy of a logistic regression on the features", "higher", "%"),
    **{
        f"few_shot_{shots}": Metric(
            f"{shots}-shot accuracy", f"nearest prototype, mean of {shots} samples, over episodes", "higher", "%"
        )
        for shots in (1, 5)
    },
    **_retrieval.METRICS,
}
NEIGHBOURS = (1, 20)
SHOTS = (1, 5)
STEPS = 1000


def measure(
    features: Array,
    labels: Array,
    *,
    train_features: Array,
    train_labels: Array,
    episodes: int = 600,
    seed: int = 0,
    should_stop: Callable[[], bool] = lambda: False,
    progress: Callable[[int, int], None] | None = None,
) -> Findings:
    """How well frozen features separate classes that the run was not trained on; labels are any class indices.

    Metrics: knn_1 and knn_20 (accuracy, cosine, one vote per neighbour); linear_probe; few_shot_1 and few_shot_5, mean
    over episodes, with _interval, the half width of its 95 percent interval; and among the samples of `features`
    recall_at_1, 2, 4, 8, r_precision and map_at_r, each also with the suffix _by_class.
    Arrays: few_shot (episodes, 2), average_precision_at_r (Q,).

    Args:
        features: (N, D) of test samples.
        labels: (N,) integers.
        train_features: (M, D) of other samples of the same classes.
        train_labels: (M,) integers.
        episodes: number of few-shot episodes.
        seed: of the episodes.
        should_stop: called between tiles of queries.
        progress: called with (done, total) queries of retrieval and k-NN.

    Raises:
        DataError: for NaN features, a single class, and if no sample has another one of its class.
        UsageError: for shapes that do not fit.
        StopRequested: if `should_stop` returns True.

    Example:
        >>> features, labels = torch.eye(2).repeat(3, 1), torch.tensor([0, 1]).repeat(3)
        >>> measure(features, labels, train_features=features, train_labels=labels).metrics["knn_1"]
        1.0
    """
    episodes, seed = whole("episodes", episodes, low=1), whole("seed", seed)
    check_functions(should_stop=should_stop, progress=progress)
    features, labels = _checked(features, labels)
    train_features, train_labels = _checked(train_features, train_labels)
    classes, y, train_y = _classes(features, labels, train_features, train_labels)
    if any(len(h) > 1 and all_equal(h) for h in (features, train_features)):
        few_shot = _few_shot_metrics(None)
        names = ("knn_1", "knn_20", "linear_probe", *few_shot, *_retrieval.NAMES)
        return Findings(dict.fromkeys(names), {"classes": classes}, (EQUAL,))
    several = len(y.unique()) < len(y)
    advanced = steps_of(len(y) * (1 + several), should_stop, progress)
    retrieval = _retrieval.retrieve(features, y, advanced=advanced) if several else None
    metrics = neighbours(features, y, train_features, train_y, num_classes=len(classes), advanced=advanced)
    probe, notes = linear_probe(features, y, train_features, train_y)
    episodes_found = _few_shot.accuracies(features, y, shots=SHOTS, episodes=episodes, seed=seed)
    metrics |= {"linear_probe": probe} | _few_shot_metrics(episodes_found)
    metrics |= retrieval.metrics() if retrieval else dict.fromkeys(_retrieval.NAMES)
    arrays = {"classes": classes}
    if episodes_found is None:
        needed = max(SHOTS) + _few_shot.QUERIES
        notes += (f"few-shot episodes need two classes with {needed} samples each: not measured",)
    else:
        arrays["few_shot"] = episodes_found
    if not retrieval:
        notes += ("no class has two samples: nothing can be retrieved",)
    elif retrieval.lone:
        notes += (f"retrieval leaves out {retrieval.lone} samples without another one of their class",)
    if retrieval:
        arrays["average_precision_at_r"] = retrieval.average_precision_at_r
    return Findings(metrics, arrays, notes + _coverage(y, train_y, len(train_y)))


def neighbours(
    features: Tensor,
    labels: Tensor,
    train_features: Tensor,
    train_labels: Tensor,
    *,
    num_classes: int,
    advanced: Callable[[int], None] = lambda queries: None,
) -> Metrics:
    """k-NN accuracy of features (N, D) among training features (M, D), by majority vote: knn_1, knn_20.

    If there are fewer than k training samples, all of them vote.  `advanced` is called with the number of queries of
    each tile, before it.
    """
    ks = tuple(min(k, len(train_features)) for k in NEIGHBOURS)
    tiles = _retrieval.votes(features, train_features, train_labels, ks=ks, num_classes=num_classes, advanced=advanced)
    right = (torch.cat(list(tiles)) == labels[:, None]).double().mean(dim=0)
    return {f"knn_{k}": number(value) for k, value in zip(NEIGHBOURS, right, strict=True)}


def linear_probe(
    features: Tensor, labels: Tensor, train_features: Tensor, train_labels: Tensor
) -> tuple[float, tuple[str, ...]]:
    """Accuracy of scikit-learn's logistic regression (C = 1, L-BFGS), and a note if it stopped early.

    Features are standardised with the training mean and deviation, so that their scale does not act as a regulariser.
    """
    from sklearn.exceptions import ConvergenceWarning  # takes a second and 80 MiB, which k-NN accuracy does not need
    from sklearn.linear_model import LogisticRegression

    train = train_features.double()
    mean, deviation = train.mean(dim=0), train.std(dim=0, correction=0)
    deviation = deviation.where(deviation > 0, 1)
    probe = LogisticRegression(max_iter=STEPS)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", ConvergenceWarning)
        probe.fit(((train - mean) / deviation).cpu().numpy(), train_labels.cpu().numpy())
    found = probe.predict(((features.double() - mean) / deviation).cpu().numpy())
    note = (f"the linear probe had not converged after {STEPS} steps",) if caught else ()
    return float((found == labels.cpu().numpy()).mean()), note


def _checked(features: Array, labels: Array) -> tuple[Tensor, Tensor]:
    """Finite features (N, D) and labels (N,) from 0 on, of any classes."""
    labels = as_classes("labels", labels)
    features, labels = checked_samples(features, labels, int(labels.max()) + 1 if labels.numel() else 0)
    check_finite(features)
    return features, labels


def _classes(
    features: Tensor, labels: Tensor, train_features: Tensor, train_labels: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The classes of both sides, and the labels of each as indices among them."""
    if features.shape[1] != train_features.shape[1]:
        widths = f"{features.shape[1]} and {train_features.shape[1]}"
        raise UsageError(f"features and train_features must have the same width, got {widths}", hint=OTHER_CLASSES)
    if len(train_labels.unique()) < 2:
        raise DataError("transfer needs training samples of at least two classes")
    classes, indices = torch.cat((labels, train_labels)).unique(return_inverse=True)
    return classes, indices[: len(labels)], indices[len(labels) :]


def _few_shot_metrics(found: Tensor | None) -> Metrics:
    if found is None:
        return {f"few_shot_{s}{end}": None for s in SHOTS for end in ("", "_interval")}
    half = 1.96 * found.std(dim=0, correction=min(len(found) - 1, 1)) / len(found) ** 0.5
    half = half.where(half > 0, torch.nan)  # equal accuracies of all episodes say nothing about their spread
    means: Metrics = {f"few_shot_{s}": number(value) for s, value in zip(SHOTS, found.mean(dim=0), strict=True)}
    return means | {f"few_shot_{s}_interval": number(value) for s, value in zip(SHOTS, half, strict=True)}


def _coverage(labels: Tensor, train_labels: Tensor, count: int) -> tuple[str, ...]:
    unseen = int((~torch.isin(labels, train_labels)).sum())
    notes = (f"{unseen} samples have classes without training samples, which cannot be predicted",) if unseen else ()
    few = (f"knn_{NEIGHBOURS[-1]} has only {count} neighbours",) if count < NEIGHBOURS[-1] else ()
    return notes + few
