"""Warnings of the pre-flight check: what limits a head, and what to do about it."""

import math
from collections.abc import Iterator

from randhead.head.preflight_result import Preflight
from randhead.head.scale import default_scale

LOW_COSINE = 0.1  # a class vector is out of reach if features cannot have a larger cosine with it
NECK = 'a neck, a layer between backbone and class vectors (`neck="linear"` or `neck="batchnorm"`)'


def advice(check: Preflight) -> Iterator[str]:
    """Warnings, most serious first, each with what to do."""
    yield from _about_vectors(check)
    if check.nonnegative:
        yield from _about_signs(check)
    if check.scoring == "cosine":
        yield from _about_scale(check)
    elif check.norm_max > 1.01 * check.norm_min > 0:
        yield (
            f"class vectors have norms from {check.norm_min:.3g} to {check.norm_max:.3g}: dot products favour the "
            'classes of the longer ones; normalise the rows, or use `scoring="cosine"`'
        )


def _about_vectors(check: Preflight) -> Iterator[str]:
    if check.zero_rows:
        yield f"{check.zero_rows} class vectors are zero, no feature can point in their direction; draw others"
    if check.duplicates:
        yield (
            f"{check.duplicates} of {check.num_classes} class vectors repeat another one, so that their classes cannot "
            "be told apart; use more dimensions, or another geometry such as packed"
        )


def _about_signs(check: Preflight) -> Iterator[str]:
    """Warnings for features without negative entries, which reach a cosine of only 0.7 with signed class vectors.

    With dot products, larger features make up for this, as long as each class vector has enough positive entries.
    """
    if check.reachable_cosine_min < LOW_COSINE:
        yield (
            "a class vector has so few positive entries that features, which are not negative, reach a cosine of only "
            f"{check.reachable_cosine_min:.2f} with it; add {NECK}, or use another geometry"
        )
    elif check.scoring == "cosine" and check.reachable_cosine_mean < 0.9:
        yield (
            "features of a backbone that ends with a ReLU, without a neck, are not negative: their cosine with their "
            f"class vector is {check.reachable_cosine_mean:.2f} at most instead of 1; add {NECK}"
        )


def _about_scale(check: Preflight) -> Iterator[str]:
    mean, least, enough = check.max_probability_mean, check.max_probability_min, check.scale_for_99
    if mean is None or least is None:
        return
    head = f"at scale {check.scale:g} with {check.num_classes} cosine classes"
    if mean < 0.9 and enough is not None and enough > check.scale:
        scale = max(default_scale(check.num_classes, "cosine"), math.ceil(enough))
        yield (
            f"{head} the target's probability is {mean:.2g} at most, however well features fit; "
            f"use a scale of {scale:g} (0.9 needs {check.scale_for_90:.1f}, 0.99 needs {enough:.1f})"
        )
    elif least < 0.9:
        yield (
            f"{head} the target's probability is {least:.2g} at most for some classes: the nearest class vectors are "
            f"{check.angle_min:.1f} degrees apart; use more dimensions, another geometry, or a larger scale"
        )
