"""The contract of the geometries of class vectors."""

from collections.abc import Callable

import torch
from torch import Tensor

from randhead import vectors
from randhead.errors import UsageError
from randhead.head import ClassVectorHead
from randhead.testing._members import Member, claim, known, refused, without_global_randomness
from randhead.testing._stated import check_stated
from randhead.vectors import Geometry

SIZES = ((2, 2), (5, 8), (8, 8), (10, 64), (64, 64), (33, 512))  # K, D
PAIRS = tuple((k, d) for d in (64, 128, 512) for k in (2, 10, 65, 100, 128))
FAR = (0, 1, 63, 64, 2**31, 2**32, 2**32 + 1, 2**33 + 7, 2**62 + 12345, 2**63 - 1)  # ids, as of hashed class names
UNIT = 3e-7  # largest difference of a norm from 1 by rounding to float32


def check_geometry(
    member: Member | Geometry,
    *,
    spelling: Callable[[str, int, int], str] = lambda name, k, d: name,
    seeded: bool = True,
    largest_cosine: float = 0.7,
) -> None:
    """Check that a geometry of class vectors fulfils the contract of its family, and what else it states.

    Of the rows: dtype, shape, unit norm, subsets, duplicates, seeds, limits, and that a head has the same vectors after
    saving and loading.  If it is stated: `INDEPENDENT` (neighbours are as far apart as rows of two seeds),
    `log_mean_exp` (against the mean over draws; finite and differentiable), `mean_row` (against the mean of draws),
    `SIGNS` and `fast_tiles` (against the plain product).

    Args:
        member: a module, the path of a Python file, the name of a member of `randhead.vectors`, or a `Geometry`.
        spelling: (name, K, D) -> the geometry as a user writes it, if this is not only its name, as "file:w.npy".
        seeded: whether other seeds give other vectors.
        largest_cosine: above this, two class vectors in 64 or more dimensions count as the same.

    Raises:
        AssertionError: if the contract is broken.

    Example:
        >>> check_geometry("rademacher")
    """
    if isinstance(member, Geometry):
        _check(lambda k, d: member, seeded, largest_cosine)
        return
    with known("vectors", member) as (name, module):
        claim(bool(module.__doc__), "the module has no docstring: say what the geometry is, with its source")
        claim(isinstance(module.BY_ROW, bool), f"BY_ROW must be True or False, got {module.BY_ROW!r}")
        _check(lambda k, d: vectors.geometry(spelling(name, k, d)), seeded, largest_cosine)


def _check(of: Callable[[int, int], Geometry], seeded: bool, largest_cosine: float) -> None:
    """All checks of the geometry that `of` gives for K classes in D dimensions."""
    geometry = of(4, 8)
    _check_limit(geometry)
    for k, d in SIZES:
        if _holds(of(k, d), k, d):
            _check_rows(of(k, d), k, d)
    _check_subsets(of(30, 32))
    _check_no_duplicates(of, largest_cosine)
    if seeded:
        _check_seed(of(16, 32))
    if geometry.by_row:
        _check_by_row(geometry)
        check_stated(geometry)
    else:
        _check_together(geometry)
        if seeded:
            _check_most(geometry)
    _check_checkpoint(of(5, 8))


def _draw(geometry: Geometry, k: int, d: int, seed: int = 0) -> Tensor:
    return vectors.draw(geometry, torch.arange(k), dim=d, seed=seed, num_classes=k)


def _holds(geometry: Geometry, k: int, d: int) -> bool:
    try:
        vectors.check(geometry, dim=d, num_classes=k)
    except UsageError:
        return False
    return True


def _cosines(w: Tensor) -> Tensor:
    """Cosines of all pairs, in float64."""
    w = torch.nn.functional.normalize(w.double(), dim=1)
    return (w @ w.T)[tuple(torch.triu_indices(len(w), len(w), offset=1))]


def _check_limit(geometry: Geometry) -> None:
    limit = geometry.limit(64)
    fits = limit is None or (isinstance(limit, int) and limit >= 2)
    claim(fits, f"limit(64) must be None or a number of classes, at least 2, got {limit!r}")


def _check_rows(geometry: Geometry, k: int, d: int) -> None:
    with without_global_randomness("rows"):
        w = _draw(geometry, k, d)
    claim(w.dtype == torch.float32, f"rows must be float32, got {w.dtype}")
    claim(w.shape == (k, d), f"rows of {k} ids in {d} dimensions must be ({k}, {d}), got {tuple(w.shape)}")
    off = float((w.double().norm(dim=1) - 1).abs().max())
    claim(off < UNIT, f"rows must be of unit norm; of {k} in {d} dimensions, a norm differs from 1 by {off:.1e}")


def _check_subsets(geometry: Geometry) -> None:
    if not _holds(geometry, 30, 32):
        return
    w = _draw(geometry, 30, 32, seed=5)
    for ids in ([7], [29, 0, 13], [3, 3, 3], list(range(29, -1, -1)), []):
        part = vectors.draw(geometry, ids, dim=32, seed=5, num_classes=30)
        same = torch.equal(part, w[ids] if ids else torch.empty(0, 32))
        claim(same, f"ids {ids} must give the same bits as among all ids: a row must not depend on the other ids")


def _check_no_duplicates(of: Callable[[int, int], Geometry], largest: float) -> None:
    for k, d in PAIRS:
        geometry = of(k, d)
        if _holds(geometry, k, d):
            found = float(_cosines(_draw(geometry, k, d)).max())
            claim(found < largest, f"two of {k} classes in {d} dimensions share a vector: their cosine is {found:.3f}")


def _check_seed(geometry: Geometry) -> None:
    if _holds(geometry, 16, 32):
        same = (_draw(geometry, 16, 32, seed=0) == _draw(geometry, 16, 32, seed=1)).all(dim=1)
        claim(not same.any(), "another seed must change every row (or pass `seeded=False`)")


def _check_together(geometry: Geometry) -> None:
    with refused(UsageError, "`num_classes` is needed", "rows that belong together, without num_classes"):
        vectors.draw(geometry, [0], dim=8)
    for ids in ([4], [-1]):
        with refused(UsageError, "in 0..3", f"ids {ids} of 4 classes"):
            vectors.draw(geometry, ids, dim=8, num_classes=4)


def _check_most(geometry: Geometry) -> None:
    most = geometry.limit(8)
    if most is not None:
        _draw(geometry, min(most, 16), 8)
        with refused(UsageError, f"at most {most} classes in 8 dimensions", f"{most + 1} classes"):
            _draw(geometry, most + 1, 8)


def _check_by_row(geometry: Geometry) -> None:
    w = vectors.draw(geometry, list(FAR), dim=128, seed=1)
    for row, far in zip(w, FAR, strict=True):
        single = vectors.draw(geometry, [far], dim=128, seed=1)[0]
        claim(torch.equal(single, row), f"the row of id {far} depends on the other ids")
    closest = float(_cosines(w).abs().max())
    claim(closest < 0.6, f"ids above 2^32 share a row with others: the largest cosine is {closest:.3f}")
    same = torch.equal(_draw(geometry, 100, 64)[:10], _draw(geometry, 10, 64))
    claim(same, "by row, the number of classes may not matter")
    count = vectors.TILE // 64 + 3  # drawn in two tiles
    whole = torch.empty(count, 64)
    geometry.rows(torch.arange(count), 64, seed=0, out=whole)
    claim(torch.equal(_draw(geometry, count, 64), whole), "rows drawn in tiles must be the same bits")


def _check_checkpoint(geometry: Geometry) -> None:
    """A head must have the same class vectors after saving and loading."""
    if not _holds(geometry, 5, 8):
        return
    head = ClassVectorHead(5, 8, geometry, seed=3)
    state = {key: value.clone() for key, value in head.state_dict().items()}
    stored = state.get("vectors")
    claim((stored is not None) == vectors.is_stored(geometry), "a checkpoint holds the vectors if it has to")
    given = geometry if stored is None else vectors.from_matrix(stored, name=str(geometry))
    again = ClassVectorHead(5, 8, given, seed=3)
    again.load_state_dict(state)
    claim(torch.equal(again.class_vectors(), head.class_vectors()), "a loaded head has other class vectors")
