"""Crossed seeds: how much of the variance of the accuracy of an arm comes from the draw of its class vectors."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from randhead.evaluation.estimates import seed_design
from randhead.study.records import RunRecord

METRIC = "accuracy"
FIGURES = ("std", "head_share", "seed_share", "rest_share", "head_p", "seed_p")


@dataclass(frozen=True)
class VarianceSplit:
    """The variance of the accuracy of an arm over a grid of head seeds and training seeds, as `analyze seeds` has it.

    Attributes:
        arm: its name.
        head_seeds: of the complete grid of runs that did not diverge.
        seeds: training seeds of the grid.
        figures: "std" over runs; "head_share", "seed_share" and "rest_share" of the variance; the p-values of F-tests
            "head_p" and "seed_p", None if nothing is left to test against.
    """

    arm: str
    head_seeds: tuple[int, ...]
    seeds: tuple[int, ...]
    figures: Mapping[str, float | None]

    def to_json(self) -> dict[str, Any]:
        """The document."""
        return {
            "arm": self.arm,
            "metric": METRIC,
            "head_seeds": list(self.head_seeds),
            "seeds": list(self.seeds),
            **self.figures,
        }


def variance_split(arm: str, records: Sequence[RunRecord]) -> VarianceSplit | None:
    """The variance components of an arm; None without a grid of 2 x 2 runs or more, or if all values are equal.

    Args:
        arm: its name.
        records: its runs.
    """
    values = {each.seeds: value for each in records if (value := each.value(METRIC)) is not None}
    grid = seed_design(list(values))
    if min(len(grid.heads), len(grid.trains)) < 2:
        return None
    import torch

    from randhead.analyses import seeds

    table = [[values[head, seed] for seed in grid.trains] for head in grid.heads]
    found, _ = seeds.components(torch.tensor(table, dtype=torch.float64))
    if not found["std"]:
        return None
    figures = {key: found[key] if math.isfinite(found[key]) else None for key in FIGURES}
    return VarianceSplit(arm, grid.heads, grid.trains, figures)
