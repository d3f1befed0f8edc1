"""Similarity: do class vectors reflect which classes look alike?  The central claim of the paper.

Representational similarity analysis (Kriegeskorte et al. 2008): Spearman's correlation over the pairs i < j of two
K x K matrices, the cosines of the centred class vectors and a similarity of classes that does not depend on this head.
The p-value is that of Mantel's test (1967): the share of random permutations of the classes of one matrix that
correlate at least as well.  Expect a correlation near zero for fixed random vectors, and more for learned ones.
"""

from collections.abc import Callable

import torch
from scipy.stats import rankdata
from torch import Tensor

from randhead import rng
from randhead.ambient import Array, as_tensor, total
from randhead.analyses import Findings, Metric, Metrics
from randhead.analyses._inputs import OTHER_CLASSES, as_mapping, as_similarity, centred, unit
from randhead.arguments import check_functions, several, whole
from randhead.arrays import as_numbers
from randhead.errors import DataError, StopRequested, UsageError

INPUT = "run"
SIDES = {"vectors": "class vectors", "means": "class means"}
REFERENCES = {
    "pixels": "mean images",
    "reference_means": "reference's means",
    "reference_confusion": "reference's errors",
    "taxonomy": "taxonomy",
}
RHO = "Spearman's rho over pairs of classes: 0 if the two similarities have nothing in common"
MANTEL = "Mantel's test, one-sided: share of permutations of the classes that correlate as well"
METRICS = {
    f"{side}_{reference}{end}": Metric(name.format(SIDES[side], REFERENCES[reference]), definition, bounds=bounds)
    for reference in REFERENCES
    for side in SIDES
    for end, name, definition, bounds in (
        ("", "{} ~ {}", RHO, (-1, 1)),
        ("_p", "p of {} ~ {}", MANTEL, (0, 1)),
    )
}
HEADLINES = tuple(METRICS)
ROWS = 64  # of a tile
PATHS = "a list with the path from the root to each class, a list of names"
POWER = 8  # classes; with fewer, a random permutation correlates well too often


def measure(
    class_vectors: Array,
    *,
    references: dict[str, Array],
    class_means: Array | None = None,
    permutations: int = 999,
    seed: int = 0,
    should_stop: Callable[[], bool] = lambda: False,
    progress: Callable[[int, int], None] | None = None,
) -> Findings:
    """Correlation of class vectors with measures of how similar the classes look.

    Metrics for each reference: vectors_NAME and vectors_NAME_p, and, with `class_means`, means_NAME and means_NAME_p.
    p is one-sided, towards similarity: (1 + better) / (1 + permutations).  Arrays: vectors, means and each reference as
    (K, K).

    Args:
        class_vectors: (K, D).
        references: by name, symmetric similarities (K, K), made with `cosines` (class means of another run, mean
            images), `symmetrised` (a confusion matrix) or `common_ancestry` (a taxonomy).
        class_means: of the run's features (K, D').
        permutations: number of random permutations in Mantel's test.
        seed: of the permutations.
        should_stop: called between permutations.
        progress: called with (done, total) permutations of all tests.

    Raises:
        DataError: for similarities that are not finite or not symmetric.
        UsageError: for shapes that do not fit.
        StopRequested: if `should_stop` returns True.

    Example:
        >>> vectors = torch.randn(8, 4, generator=torch.Generator().manual_seed(0))
        >>> round(measure(vectors, references={"itself": cosines(vectors)}).metrics["vectors_itself"], 3)
        1.0
    """
    permutations, seed = whole("permutations", permutations, low=1), whole("seed", seed)
    check_functions(should_stop=should_stop, progress=progress)
    sides = {"vectors": cosines(_rows("class_vectors", class_vectors))}
    if class_means is not None:
        sides["means"] = cosines(_rows("class_means", class_means))
    num_classes = len(sides["vectors"])
    known = {name: as_numbers(name, matrix) for name, matrix in as_mapping("references", references).items()}
    for name, matrix in {**sides, **known}.items():
        _check(name, matrix, num_classes)
    metrics: Metrics = {}
    notes = []
    tests = [(side, name) for side in sides for name in known]

    def advanced(done: int) -> None:
        if should_stop():
            raise StopRequested("stopped between two permutations")
        if progress is not None:
            progress(len(metrics) // 2 * permutations + done, len(tests) * permutations)

    for side, name in tests:
        rho, p = mantel(sides[side], known[name], permutations=permutations, seed=seed, advanced=advanced)
        metrics[f"{side}_{name}"], metrics[f"{side}_{name}_p"] = rho, p
        if rho is None:
            notes.append(f"{side} and {name}: all pairs are equally similar in one of them, no correlation")
    if num_classes < POWER:
        notes.append(f"{num_classes} classes give this test no power: use {POWER} or more")
    return Findings(metrics, sides | {name: matrix.double() for name, matrix in known.items()}, tuple(notes))


def mantel(
    a: Tensor,
    b: Tensor,
    *,
    permutations: int = 999,
    seed: int = 0,
    purpose: str = "analyses/mantel",
    advanced: Callable[[int], None] = lambda done: None,
) -> tuple[float | None, float | None]:
    """Spearman's correlation over the pairs i < j of two (K, K) matrices, and its one-sided p-value.

    Permutation s reorders the classes of `a` by rng.permutation(seed, purpose, K, stream=s).  None, None if a
    matrix is constant.  `advanced` is called with the number of permutations that are done.
    """
    permutations, seed = whole("permutations", permutations, low=1), whole("seed", seed)
    a, b = as_similarity("a", a), as_similarity("b", b)
    if len(a) != len(b):
        raise UsageError(f"a and b must have the same classes, got {len(a)} and {len(b)}", hint=OTHER_CLASSES)
    ranks, other = _centred_ranks(a), _centred_ranks(b)
    length = (total(ranks.square()) * total(other.square())).sqrt()
    if length == 0:
        return None, None
    observed = float(total(ranks * other) / length)
    better = 0
    for stream in range(permutations):
        advanced(stream)
        order = rng.permutation(seed, purpose, len(a), stream=stream)
        moved = float(_moved_product(ranks, order, other) / length)
        better += moved >= observed - 1e-12  # the identity itself may round to just below
    advanced(permutations)
    return observed, (1 + better) / (1 + permutations)


def _moved_product(ranks: Tensor, order: Tensor, other: Tensor) -> Tensor:
    """The sum of the products of two (K, K) matrices, one with its classes reordered.

    In tiles of rows that fit into the cache: for 3,000 classes a fifth of the time of whole matrices.
    """
    tiles = zip(order.split(ROWS), other.split(ROWS), strict=True)
    return torch.stack([total(ranks[rows][:, order] * part) for rows, part in tiles]).sum()


def cosines(vectors: Tensor) -> Tensor:
    """Cosines of centred vectors: (K, D) -> (K, K) float64, diagonal 1.  Class means, class vectors, mean images."""
    found = as_numbers("vectors", vectors)
    if found.ndim < 2 or len(found) < 2 or not found.numel():
        message = f"vectors must be (K, D) with K of at least 2, got {tuple(found.shape)}"
        raise UsageError(message, hint="one row per class")
    directions = unit(centred(found.flatten(1)))
    return (directions @ directions.T).clamp(-1, 1)


def symmetrised(confusion: Tensor) -> Tensor:
    """Similarity from the confusion counts of another run (K, K): the mean of the two error rates of each pair.

    NaN for a class without samples, which `measure` refuses.
    """
    counts = as_similarity("confusion", confusion).double()
    if (counts < 0).any():
        raise DataError("confusion contains negative counts", hint="numbers of images, one row per true class")
    rates = counts / counts.sum(dim=1, keepdim=True)
    return (rates + rates.T) / 2


def common_ancestry(paths: list[list[str]]) -> Tensor:
    """Similarity from a taxonomy: paths from the root to each class -> (K, K), the share of the path in common.

    Twice the length of the common beginning over the sum of the two lengths (Wu and Palmer 1994).
    """
    known = [several("paths", path, PATHS, kinds=str) for path in several("paths", paths, PATHS)]
    if not known:
        raise UsageError(f"paths must be {PATHS}, got none", hint='`[["animal", "cat"], ["animal", "dog"]]`')
    lengths = torch.tensor([len(path) for path in known], dtype=torch.float64, device="cpu")
    common = torch.zeros(len(known), len(known), dtype=torch.float64, device="cpu")
    for depth in range(1, max(map(len, known)) + 1):
        first: dict[tuple[str, ...], int] = {}  # class with each beginning of this length
        ids = as_tensor(
            [first.setdefault(path[:depth], i) if len(path) >= depth else -1 for i, path in enumerate(known)]
        )
        common += (ids[:, None] == ids) & (ids >= 0)
    return 2 * common / (lengths[:, None] + lengths).clamp_min(1)


def _centred_ranks(matrix: Tensor) -> Tensor:
    """Ranks of the pairs i < j, ties averaged, minus their mean: a symmetric matrix (K, K) with zero diagonal."""
    k = len(matrix)
    upper = torch.triu_indices(k, k, 1, dtype=torch.int64, device="cpu")
    values = matrix.double().cpu()[upper[0], upper[1]]
    ranks = torch.from_numpy(rankdata(values.numpy()))
    out = torch.zeros(k, k, dtype=torch.float64, device="cpu")
    out[upper[0], upper[1]] = ranks - ranks.mean()
    return out + out.T


def _rows(name: str, values: Array) -> Tensor:
    """One row per class, (K, D)."""
    found = as_numbers(name, values)
    if found.ndim != 2 or len(found) < 2:
        message = f"{name} must be (K, D) with K of at least 2, got {tuple(found.shape)}"
        raise UsageError(message, hint="one row per class")
    return found


def _check(name: str, matrix: Tensor, num_classes: int) -> None:
    if tuple(matrix.shape) != (num_classes, num_classes):
        shape = tuple(matrix.shape)
        raise UsageError(f"{name} must be ({num_classes}, {num_classes}), got {shape}", hint=OTHER_CLASSES)
    if not matrix.isfinite().all():
        raise DataError(f"{name} contains NaN or infinity", hint="leave out classes without samples")
    if not torch.allclose(matrix.double(), matrix.double().T, rtol=0, atol=1e-9):
        raise DataError(f"{name} is not symmetric", hint="use symmetrised(...) for a confusion matrix")
