"""What `randhead vectors` does: draw, check, show, and draw a picture of the angles."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from randhead import vectors
from randhead.cli.output import Output
from randhead.config import HeadConfig
from randhead.head import preflight_check
from randhead.head.preflight_check import Preflight
from randhead.report import angles

SHOWN_CLASSES = 65_536  # of more, a part is drawn and checked


def run_check(
    geometry: str,
    *,
    num_classes: int,
    dim: int,
    scoring: str,
    scale: float | None,
    neck: str,
    seed: int,
    picture: Path,
    as_json: bool,
) -> None:
    """Check class vectors and show what they allow."""
    HeadConfig(vectors=geometry, scoring=scoring, scale=scale, neck=neck)
    output = Output(as_json=as_json)
    vectors.check(geometry, dim=dim, num_classes=num_classes)
    drawn = num_classes
    if vectors.is_by_row(geometry) and num_classes > SHOWN_CLASSES:
        drawn = SHOWN_CLASSES
        output.note(f"the first {drawn} of {num_classes} class vectors are drawn and checked")
    rows = vectors.draw(geometry, torch.arange(drawn), dim=dim, seed=seed, num_classes=num_classes)
    scale = preflight_check.default_scale(num_classes, scoring) if scale is None else scale
    check = preflight_check.inspect(rows, scoring=scoring, scale=scale, nonnegative=neck == "none")
    show(output, geometry, seed, check)
    edges, counts = preflight_check.angle_histogram(rows)
    marks = {"smallest": check.angle_min, "mean": check.angle_mean}
    angles.draw(picture, edges.tolist(), counts.tolist(), marks=marks)
    output.say()
    output.file(picture)
    for warning in check.warnings:
        output.warn(warning)
    output.result({"geometry": geometry, "seed": seed, **asdict(check), "picture": str(picture)})


def show(output: Output, geometry: str, seed: int, check: Preflight) -> None:
    """The check as a table."""
    title = f"{geometry}: {check.num_classes} class vectors in {check.dim} dimensions, seed {seed}"
    rows: list[list[Any]] = [
        ["norm", f"{check.norm_min:.4f} to {check.norm_max:.4f}", ""],
        ["duplicates", str(check.duplicates), ""],
        ["smallest angle", degrees(check.angle_min), f"random vectors: {degrees(check.random_angle_min)}"],
        ["mean angle", degrees(check.angle_mean), ""],
        ["largest cosine", f"{check.cosine_max:.4f}", f"no arrangement is below {check.cosine_bound:.4f}"],
        ["simplex cosine", f"{check.simplex_cosine:.4f}", "-1/(K - 1), where K <= D + 1"],
    ]
    if check.welch_bound is not None:
        rows.append(["Welch bound", f"{check.welch_bound:.4f}", "largest absolute cosine, K > D"])
    rows.append(
        [
            "cosine without a neck",
            f"{check.reachable_cosine_mean:.3f}",
            f"at most; worst class {check.reachable_cosine_min:.3f}",
        ]
    )
    rows += _probabilities(check)
    output.table(title, ["figure", "value", "beside"], rows)


def degrees(angle: float) -> str:
    """An angle for a person."""
    return f"{angle:.1f} degrees"


def _probabilities(check: Preflight) -> list[list[Any]]:
    """What the scale, or the norm of the features, has to be."""
    features = "non-negative features" if check.nonnegative else "features of any sign"
    if check.scoring == "dot":
        needs = [(0.9, check.feature_norm_for_90), (0.99, check.feature_norm_for_99)]
        return [[f"norm for probability {p}", _number(norm), features] for p, norm in needs]
    return [
        [
            f"probability at scale {check.scale:g}",
            _number(check.max_probability_mean),
            f"at most; worst class {_number(check.max_probability_min)}",
        ],
        ["scale for probability 0.9", _number(check.scale_for_90), features],
        ["scale for probability 0.99", _number(check.scale_for_99), features],
    ]


def _number(value: float | None) -> str:
    return "out of reach" if value is None else f"{value:.4g}"
