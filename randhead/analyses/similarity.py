"""Similarity: do class vectors reflect which classes look alike?  The central claim of the paper.

Representational similarity analysis (Kriegeskorte et al. 2008): Spearman's correlation over the pairs i < j of two
K x K matrices, the cosines of the centred class vectors and a similarity of classes that does not depend on this head.
The p-value is that of Mantel's test (1967): the share of random permutations of the classes of one matrix that
correlate at least as well.  Expect a correlation near zero for fixed random vectors, and more for learned ones.

Of more than SAMPLE classes, that many are drawn, and compared as if there were no others: they have a million pairs,
while time and memory grow with the square of their number.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from randhead import rng
from randhead.ambient import Array, as_tensor
from randhead.analyses import Findings, Metric, Metrics, _mantel
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
METRICS["classes_compared"] = Metric("classes compared", "all classes of the run, or a random sample of them")
SAMPLE = 1500  # classes: a test of class vectors and means takes 5 s of one core
PATHS = "a list with the path from the root to each class, a list of names"
POWER = 8  # classes; with fewer, a random permutation correlates well too often


def measure(
    class_vectors: Array,
    *,
    references: Mapping[str, Array | Callable[[Tensor], Array]],
    class_means: Array | None = None,
    permutations: int = 999,
    sample: int = SAMPLE,
    seed: int = 0,
    should_stop: Callable[[], bool] = lambda: False,
    progress: Callable[[int, int], None] | None = None,
) -> Findings:
    """Correlation of class vectors with measures of how similar the classes look.

    Metrics for each reference: vectors_NAME and vectors_NAME_p, and, with `class_means`, means_NAME and means_NAME_p.
    p is one-sided, towards similarity: (1 + better) / (1 + permutations).  classes_compared: M, K or `sample`.  Arrays:
    vectors, means and each reference as (M, M).

    Args:
        class_vectors: (K, D).
        references: by name, symmetric similarities (K, K), made with `cosines` (class means of another run, mean
            images), `symmetrised` (a confusion matrix) or `common_ancestry` (a taxonomy); or functions of class indices
            (M,) that return the similarities of these classes (M, M), so that many classes never need K x K numbers.
        class_means: of the run's features (K, D').
        permutations: number of random permutations in Mantel's test.
        sample: largest number of classes that are compared, at most 2,400.
        seed: of the choice of these classes, and of the permutations.
        should_stop: called between permutations.
        progress: called with (done, total) permutations, each of all tests.

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
    sample = whole("sample", sample, low=2, high=_mantel.CLASSES)
    check_functions(should_stop=should_stop, progress=progress)
    vectors = _rows("class_vectors", class_vectors)
    classes = rng.permutation(seed, "analyses/similarity", len(vectors))[:sample].sort().values
    sides = {"vectors": cosines(vectors[classes])}
    if class_means is not None:
        means = _rows("class_means", class_means)
        _check_count("class_means", means.shape, len(vectors), means.shape[1])
        sides["means"] = cosines(means[classes])
    known = {
        name: _of_classes(name, given, classes, len(vectors))
        for name, given in as_mapping("references", references).items()
    }
    for name, matrix in {**sides, **known}.items():
        _check(name, matrix)

    def advanced(done: int) -> None:
        if should_stop():
            raise StopRequested("stopped between two permutations")
        if progress is not None:
            progress(done, permutations)

    metrics, constant = _correlations(sides, known, permutations=permutations, seed=seed, advanced=advanced)
    metrics["classes_compared"] = len(classes)
    notes = (*constant, *_notes(len(classes), len(vectors)))
    return Findings(metrics, {name: matrix.double() for name, matrix in {**sides, **known}.items()}, notes)


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
    matrix is constant.  `advanced` is called with the number of permutations that are done.  K is at most 2,400.
    """
    permutations, seed = whole("permutations", permutations, low=1), whole("seed", seed)
    a, b = as_similarity("a", a), as_similarity("b", b)
    if len(a) != len(b):
        raise UsageError(f"a and b must have the same classes, got {len(a)} and {len(b)}", hint=OTHER_CLASSES)
    whole("number of classes", len(a), high=_mantel.CLASSES)
    found = _mantel.tests([a], [b], permutations=permutations, seed=seed, purpose=purpose, advanced=advanced)
    return found.of(0, 0)


def _correlations(
    sides: dict[str, Tensor],
    known: dict[str, Tensor],
    *,
    permutations: int,
    seed: int,
    advanced: Callable[[int], None],
) -> tuple[Metrics, list[str]]:
    """The metrics of each side with each reference, and notes on those that have no correlation."""
    metrics: Metrics = {}
    notes: list[str] = []
    if not known:
        return metrics, notes
    found = _mantel.tests(
        [*sides.values()],
        [*known.values()],
        permutations=permutations,
        seed=seed,
        purpose="analyses/mantel",
        advanced=advanced,
    )
    for i, side in enumerate(sides):
        for j, name in enumerate(known):
            rho, p = found.of(i, j)
            metrics[f"{side}_{name}"], metrics[f"{side}_{name}_p"] = rho, p
            if rho is None:
                notes.append(f"{side} and {name}: all pairs are equally similar in one of them, no correlation")
    return metrics, notes


def _notes(compared: int, num_classes: int) -> list[str]:
    """What to know about the number of classes."""
    if compared < num_classes:
        return [f"a random sample of {compared} of {num_classes} classes is compared"]
    return [f"{num_classes} classes give this test no power: use {POWER} or more"] if num_classes < POWER else []


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


def _rows(name: str, values: Array) -> Tensor:
    """One row per class, (K, D)."""
    found = as_numbers(name, values)
    if found.ndim != 2 or len(found) < 2:
        message = f"{name} must be (K, D) with K of at least 2, got {tuple(found.shape)}"
        raise UsageError(message, hint="one row per class")
    return found


def _of_classes(name: str, given: Array | Callable[[Tensor], Array], classes: Tensor, num_classes: int) -> Tensor:
    """A reference of the compared classes, (M, M)."""
    if callable(given):
        found = as_numbers(name, given(classes))
        _check_count(name, found.shape, len(classes), len(classes))
        return found
    found = as_numbers(name, given)
    _check_count(name, found.shape, num_classes, num_classes)
    return found if len(classes) == num_classes else found[classes][:, classes]


def _check_count(name: str, shape: tuple[int, ...], *expected: int) -> None:
    if tuple(shape) != expected:
        raise UsageError(f"{name} must be {expected}, got {tuple(shape)}", hint=OTHER_CLASSES)


def _check(name: str, matrix: Tensor) -> None:
    if not matrix.isfinite().all():
        raise DataError(f"{name} contains NaN or infinity", hint="leave out classes without samples")
    if not torch.allclose(matrix.double(), matrix.double().T, rtol=0, atol=1e-9):
        raise DataError(f"{name} is not symmetric", hint="use symmetrised(...) for a confusion matrix")
