"""The result of the pre-flight check: its numbers, its document and its table."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from randhead.tables import Cell, Result, Table, rows


@dataclass(frozen=True)
class Preflight(Result):
    """The limits that a set of class vectors sets.  Angles are in degrees; None for a number that does not apply.

    Attributes:
        geometry: of the head, None for a plain matrix.
        seed: of the head's class vectors, None for a plain matrix.
        num_classes: number of class vectors that were checked, K.
        dim: D.
        scoring: "dot" or "cosine".
        scale: factor on the scores.
        nonnegative: whether features have no negative entries.
        sampled: number of classes whose pairs were compared: all, or 4,096 at random (fewer above 2,048 features).
        norm_min: the smallest norm of a class vector.
        norm_max: the largest.
        zero_rows: number of class vectors that are zero.
        duplicates: number of class vectors that repeat an earlier one; outside the sample only identical ones count.
        angle_min: the smallest angle between two class vectors.
        angle_mean: the mean angle.
        cosine_max: the largest cosine between two class vectors.
        abs_cosine_max: the largest absolute cosine.
        cosine_bound: lower bound for the largest cosine of any arrangement.
        simplex_cosine: -1/(K - 1), the bound for K <= D + 1.
        welch_bound: lower bound for the largest absolute cosine of any arrangement; for K > D.
        random_angle_min: the median smallest angle of `sampled` random vectors.
        reachable_cosine_mean: the best cosine of a non-negative feature with a class vector, mean over classes.
        reachable_cosine_min: the same for the worst class.
        max_probability_mean: probability of the target at this scale for the best features, mean over classes; for
            cosine scoring.
        max_probability_min: the same for the worst class.
        scale_for_90: the smallest scale for a target probability of 0.9; for cosine scoring.
        scale_for_99: the same for 0.99.
        feature_norm_for_90: the smallest norm of features for a target probability of 0.9; for dot scoring, which
            reaches any probability with large features.
        feature_norm_for_99: the same for 0.99.
        warnings: what limits the head and what to do, most serious first.
        unchecked: number of class vectors of the head beyond those that were checked.
    """

    geometry: str | None
    seed: int | None
    num_classes: int
    dim: int
    scoring: str
    scale: float
    nonnegative: bool
    sampled: int
    norm_min: float
    norm_max: float
    zero_rows: int
    duplicates: int
    angle_min: float
    angle_mean: float
    cosine_max: float
    abs_cosine_max: float
    cosine_bound: float
    simplex_cosine: float
    welch_bound: float | None
    random_angle_min: float
    reachable_cosine_mean: float
    reachable_cosine_min: float
    max_probability_mean: float | None
    max_probability_min: float | None
    scale_for_90: float | None
    scale_for_99: float | None
    feature_norm_for_90: float | None
    feature_norm_for_99: float | None
    warnings: tuple[str, ...]
    unchecked: int = 0

    def to_json(self) -> dict[str, Any]:
        """The numbers, under the names of the attributes."""
        document = asdict(self)
        del document["unchecked"]
        return document

    def tables(self) -> Iterator[Table]:
        """One table of all numbers."""
        title = f"{self.num_classes} class vectors in {self.dim} dimensions"
        if self.geometry is not None:
            title = f"{self.geometry}: {title}, seed {self.seed}"
        found: list[list[Cell]] = [
            ["norm", f"{self.norm_min:.4f} to {self.norm_max:.4f}", ""],
            ["duplicates", str(self.duplicates), ""],
            ["smallest angle", _degrees(self.angle_min), f"random vectors: {_degrees(self.random_angle_min)}"],
            ["mean angle", _degrees(self.angle_mean), ""],
            ["largest cosine", f"{self.cosine_max:.4f}", f"lower bound: {self.cosine_bound:.4f}"],
        ]
        welch = "" if self.welch_bound is None else f"Welch's lower bound, for K > D: {self.welch_bound:.4f}"
        found.append(["largest absolute cosine", f"{self.abs_cosine_max:.4f}", welch])
        reachable = f"{self.reachable_cosine_mean:.3f} at most"
        found.append(["cosine without a neck", reachable, f"worst class {self.reachable_cosine_min:.3f}"])
        notes: tuple[str, ...] = ()
        if self.unchecked:
            total = self.num_classes + self.unchecked
            notes = (f"the first {self.num_classes} of {total} class vectors were drawn and checked",)
        yield Table(title, ("quantity", "value", "for comparison"), rows(found + self._probabilities()), notes)

    def _probabilities(self) -> list[list[Cell]]:
        """The scale, or the norm of features, that a target probability needs."""
        features = "non-negative features" if self.nonnegative else "features of any sign"
        if self.scoring == "dot":
            norms = (0.9, self.feature_norm_for_90), (0.99, self.feature_norm_for_99)
            return [[f"norm for probability {p}", _number(norm), features] for p, norm in norms]
        reached = _number(self.max_probability_mean)
        return [
            [
                f"probability at scale {self.scale:g}",
                f"{reached} at most",
                f"worst class {_number(self.max_probability_min)}",
            ],
            ["scale for probability 0.9", _number(self.scale_for_90), features],
            ["scale for probability 0.99", _number(self.scale_for_99), features],
        ]


def _degrees(angle: float) -> str:
    return f"{angle:.1f} degrees"


def _number(value: float | None) -> str:
    return "out of reach" if value is None else f"{value:.4g}"
