"""Seeds: how much of the variance of a result comes from the draw of the class vectors, and how much from the rest.

A two-way layout without replication: one run for every pair of a head seed and a training seed.  The variance
components are estimated from the mean squares of the analysis of variance (Searle, Casella and McCulloch 1992, chapter
4): the head's draw, the training seed (initial weights, data order, augmentation), and the rest, which includes their
interaction.
"""

import torch
from torch import Tensor

from randhead import ambient
from randhead.ambient import Array
from randhead.analyses import Findings, Metric, Metrics
from randhead.analyses._inputs import as_mapping, number
from randhead.arrays import ARRAYS, as_classes, as_numbers
from randhead.errors import DataError, UsageError

INPUT = "runs"
OF = {"accuracy": ("accuracy", "%"), "class_separation_r2": ("class separation R\u00b2", "")}
METRICS = {
    f"{value}_{end}": Metric(
        f"{name}, {words}", definition, unit=unit if end in ("mean", "std") else "%" if end.endswith("share") else ""
    )
    for value, (name, unit) in OF.items()
    for end, words, definition in (
        ("mean", "mean", "over runs"),
        ("std", "deviation", "standard deviation over runs"),
        ("head_share", "share of head seeds", "share of the variance from the draw of the class vectors"),
        ("seed_share", "share of seeds", "share of the variance from initial weights, order and augmentation"),
        ("rest_share", "share of the rest", "share of the variance from everything else"),
        ("head_p", "p of head seeds", "F-test: is there any variance from the draw of the class vectors"),
        ("seed_p", "p of seeds", "F-test: is there any variance from the training seed"),
    )
}
HEADLINES = tuple(
    f"{name}_{end}"
    for name in ("accuracy", "class_separation_r2")
    for end in ("mean", "std", "head_share", "head_p", "seed_share", "seed_p")
)
FEW = 3  # seeds of each kind: see `few`


def measure(head_seeds: Array, seeds: Array, *, values: dict[str, Array]) -> Findings:
    """Variance of results over a full grid of head seeds and training seeds.

    Metrics of each value: NAME_mean and NAME_std over runs; the components as standard deviations NAME_head_std,
    _seed_std and _rest_std, and as shares of their sum NAME_head_share, _seed_share and _rest_share; the p-values of
    F-tests NAME_head_p and NAME_seed_p.  A negative estimate counts as 0.  Arrays: each NAME as (A, B), head_seeds
    (A,), seeds (B,).

    Args:
        head_seeds: per run (R,).
        seeds: training seeds per run (R,).
        values: by name, one result per run (R,).

    Raises:
        DataError: if a run of the grid is missing or repeated, or the grid is smaller than 2 x 2.
        UsageError: for shapes that do not fit.

    Example:
        >>> heads, seeds = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 0, 1])
        >>> measure(heads, seeds, values={"accuracy": heads.double()}).metrics["accuracy_head_share"]
        1.0
    """
    heads, trains, indices = _grid(as_classes("head_seeds", head_seeds), as_classes("seeds", seeds))
    metrics: Metrics = {}
    arrays = {"head_seeds": heads, "seeds": trains}
    notes = few(len(heads), len(trains))
    for name, value in as_mapping("values", values).items():
        table = _table(name, as_numbers(name, value), indices)
        arrays[name] = table
        found, negative = components(table)
        metrics |= {f"{name}_{key}": number(v) for key, v in found.items()}
        if found["std"] == 0:
            notes += (f"{name} is equal in all runs: no shares and no p-values",)
        if negative:
            notes += (f"{name}: the estimate for {' and '.join(negative)} is below 0 and counts as 0",)
    return Findings(metrics, arrays, notes)


def few(heads: int, seeds: int) -> tuple[str, ...]:
    """The note about a grid on which shares are mostly chance, if it is one."""
    if min(heads, seeds) >= FEW:
        return ()
    return (
        f"{heads} head seeds x {seeds} seeds say little about shares: use {FEW} x {FEW} or more, and read the p-values "
        "(one in five 2 x 2 grids without an effect of the head gives it a share above 0.5)",
    )


def components(table: Tensor) -> tuple[dict[str, float], list[str]]:
    """Variance components of a table (A, B) with one row per head seed, and the names of the negative estimates."""
    a, b = table.shape
    rows, columns, mean = table.mean(dim=1), table.mean(dim=0), table.mean()
    rest = (table - rows[:, None] - columns + mean).square().sum() / ((a - 1) * (b - 1))
    squares = {"head": b * rows.var(), "seed": a * columns.var()}
    estimates = {"head": (squares["head"] - rest) / b, "seed": (squares["seed"] - rest) / a, "rest": rest}
    negative = [name for name, value in estimates.items() if value < 0]
    variances = {name: float(value.clamp_min(0)) for name, value in estimates.items()}
    total = sum(variances.values())
    found = {"mean": float(mean), "std": float(table.std())}
    found |= {f"{name}_std": value**0.5 for name, value in variances.items()}
    found |= {f"{name}_share": value / total if total > 0 else torch.nan for name, value in variances.items()}
    from scipy.special import fdtrc  # takes 0.2 s, which evaluating a run does not need

    freedom = {"head": a - 1, "seed": b - 1}
    for name, square in squares.items():
        ratio = float(square / rest) if rest > 0 else torch.nan
        found[f"{name}_p"] = float(fdtrc(freedom[name], (a - 1) * (b - 1), ratio))
    return found, negative


def _grid(head_seeds: Tensor, seeds: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The seeds of both sides, sorted, and the index of run (i, j) in the given order: (A,), (B,), (A, B)."""
    if head_seeds.ndim != 1 or head_seeds.shape != seeds.shape:
        shapes = f"{tuple(head_seeds.shape)} and {tuple(seeds.shape)}"
        raise UsageError(f"head_seeds and seeds must both have shape (R,), got {shapes}", hint="one of each per run")
    heads, i = head_seeds.unique(return_inverse=True)
    trains, j = seeds.unique(return_inverse=True)
    counts = torch.zeros(len(heads), len(trains), dtype=torch.int64, device=heads.device)
    counts.index_put_((i, j), torch.ones_like(i), accumulate=True)
    if min(counts.shape) < 2:
        raise DataError(
            f"the variance needs at least 2 head seeds and 2 seeds, got {len(heads)} and {len(trains)}",
            hint="train more runs with another `head_seed` and `seed`",
        )
    if (counts != 1).any():
        h, s = (counts != 1).nonzero()[0].tolist()
        many = "no run" if counts[h, s] == 0 else f"{int(counts[h, s])} runs"
        raise DataError(
            f"head seed {int(heads[h])} with seed {int(trains[s])} has {many}, expected one",
            hint="train every head seed with every seed, once",
        )
    indices = torch.empty_like(counts)
    indices[i, j] = ambient.indices(len(i), i.device)
    return heads, trains, indices


def _table(name: str, value: Tensor, indices: Tensor) -> Tensor:
    if value.shape != (indices.numel(),):
        shape = tuple(value.shape)
        raise UsageError(f"{name} must have one value per run, got {shape} for {indices.numel()} runs", hint=ARRAYS)
    if not value.isfinite().all():
        raise DataError(f"{name} of some runs is NaN or infinite", hint="leave out runs that diverged")
    return value.double()[indices]
