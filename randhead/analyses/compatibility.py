"""Compatibility: can features of one run be retrieved among those of another?

Runs that share fixed class vectors learn the same space, so their features can be compared without alignment; runs
with learned vectors do not.  The matrix C and its summaries are those of Biondi et al. 2021 (CoReS, arXiv
2111.07632) with the criterion of Shen et al. 2020 (arXiv 2003.11942): C_ij is the score of queries of run i in the
gallery of run j, j <= i, and a pair is compatible if C_ij >= C_jj.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from randhead.ambient import Array, mean
from randhead.analyses import Findings, Metric, Metrics, _retrieval
from randhead.analyses._inputs import OTHER_CLASSES, all_equal, check_finite, checked_samples, steps_of
from randhead.analyses._neighbours import Gallery
from randhead.arguments import check_functions, several
from randhead.arrays import as_classes
from randhead.errors import UsageError

INPUT = "runs"
SCORES = ("recall_at_1", "map_at_r")
HEADLINES = tuple(
    f"{name}_{end}"
    for name in SCORES
    for end in ("own", "across", "across_shared", "across_start", "across_other", "ac")
)
ENDS = {
    "own": ("one run", "queries and gallery of one run"),
    "across": ("across runs", "queries of one run in the gallery of an earlier one"),
    "across_shared": ("shared vectors", "across runs that share fixed class vectors"),
    "across_start": ("same start", "across runs whose learned class vectors have the same start"),
    "across_other": ("other vectors", "across the other runs"),
    "am": ("all pairs", "queries of one run in its own gallery and in those of earlier ones"),
    "ac": (
        "compatible",
        "share of pairs in which the gallery of an earlier run is as good for the newer run's queries",
    ),
}
METRICS = {
    f"{score}_{end}": Metric(f"{_retrieval.METRICS[score].name}, {name}", definition, "higher", "%")
    for score in SCORES
    for end, (name, definition) in ENDS.items()
}


def measure(
    features: Sequence[Array],
    labels: Array,
    *,
    should_stop: Callable[[], bool] = lambda: False,
    progress: Callable[[int, int], None] | None = None,
) -> Findings:
    """Cross-retrieval between runs.  No query finds its own image.

    Metrics for recall_at_1 and map_at_r: _ac, the share of pairs i > j with C_ij >= C_jj; _am, the mean of C_ij over
    j <= i; _own and _across, the means of C_jj and of C_ij over j < i.  Arrays: recall_at_1 and map_at_r (T, T), NaN
    above the diagonal.

    Args:
        features: of T >= 2 runs, each (N, D) of the same images in the same order.
        labels: (N,) integers.
        should_stop: called between tiles of queries.
        progress: called with (done, total) queries of all pairs.

    Raises:
        DataError: for NaN features, and if no sample has another one of its class.
        UsageError: for fewer than two runs and for shapes that do not fit.
        StopRequested: if `should_stop` returns True.

    Example:
        >>> features, labels = torch.eye(2).repeat(3, 1), torch.tensor([0, 1]).repeat(3)
        >>> measure([features, features], labels).metrics["recall_at_1_across"]
        1.0
    """
    check_functions(should_stop=should_stop, progress=progress)
    each, labels = _checked(features, labels)
    kept, _ = _retrieval.answerable(labels, labels, same_images=True)
    lone = len(labels) - len(kept)
    notes = [f"{lone} samples without another one of their class are left out"] if lone else []
    equal = [str(i) for i, h in enumerate(each) if all_equal(h)]
    if equal:
        runs = ", ".join(equal)
        notes.append(
            f"all features of run {runs} are equal (a dead encoder, or equal images): nothing can be retrieved"
        )
    pairs = 0 if equal else len(each) * (len(each) + 1) // 2
    matrices = _matrices([] if equal else each, labels, len(each), steps_of(pairs * len(kept), should_stop, progress))
    metrics: Metrics = {key: value for name, matrix in matrices.items() for key, value in summary(name, matrix).items()}
    return Findings(dict.fromkeys(metrics) if equal else metrics, matrices, tuple(notes))


def _matrices(each: list[Tensor], labels: Tensor, count: int, advanced: Callable[[int], None]) -> dict[str, Tensor]:
    """C of each score (count, count), NaN where there is none: every gallery is made once."""
    matrices = {name: torch.full((count, count), torch.nan, dtype=torch.float64, device="cpu") for name in SCORES}
    for j, features in enumerate(each):
        gallery = Gallery(features)
        for i in range(j, count):
            found = _retrieval.retrieve(each[i], labels, gallery, labels, same_images=True, advanced=advanced)
            matrices["recall_at_1"][i, j] = found.hits[:, 0].double().mean()
            matrices["map_at_r"][i, j] = mean(found.average_precision_at_r)
    return matrices


def summary(name: str, matrix: Tensor) -> dict[str, float]:
    """AC, AM, and the means of the diagonal and of the entries below it: matrix (T, T), C_ij for j <= i."""
    i, j = torch.tril_indices(len(matrix), len(matrix), offset=-1, dtype=torch.int64, device=matrix.device)
    same_run, across = matrix.diagonal(), matrix[i, j]
    return {
        f"{name}_ac": float((across >= same_run[j]).double().mean()),
        f"{name}_am": float(torch.cat((same_run, across)).mean()),
        f"{name}_own": float(same_run.mean()),
        f"{name}_across": float(across.mean()),
    }


def _checked(features: Sequence[Array], labels: Array) -> tuple[list[Tensor], Tensor]:
    """The features of each run, and the labels, which they share."""
    given = several("features", features, "a list with the features (N, D) of each run")
    if len(given) < 2:
        raise UsageError("compatibility needs two runs or more", hint="name another run")
    labels = as_classes("labels", labels)
    largest = int(labels.max()) if labels.numel() else -1
    each = [checked_samples(h, labels, largest + 1)[0] for h in given]
    widths = sorted({h.shape[1] for h in each})
    if len(widths) > 1:
        raise UsageError(f"features of {len(widths)} widths cannot be compared: {widths}", hint=OTHER_CLASSES)
    for h in each:
        check_finite(h)
    return each, labels.to(each[0].device)
