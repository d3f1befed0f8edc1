"""The logit scale: what a cosine head needs, and the default."""

import math


def default_scale(num_classes: int, scoring: str) -> float:
    """The factor on the scores if the user gives none: 1 for dot products, 16 and more for cosines.

    Dot products need none: features grow until the loss is small.  Cosines are at most 1, so only the scale decides how
    certain the head can be.  A probability of 0.99 needs a scale of ln(99 (K - 1)) if the target's cosine is 1 and
    those of the others are 0.  Here the target has 0.7, all that non-negative features reach with random class vectors,
    and half as much again is added, so that images that are not aligned with their vector (a cosine of 0.47) still can
    be certain.  Not below 16: with a few classes the scale would be so small that errors hardly cost.  16 for 10
    classes, 20 for 100, 25 for 1,000: in the middle of what normalised losses use, from 14 (EBV) to 64 (ArcFace).

    Args:
        num_classes: K.
        scoring: "dot" or "cosine".

    Example:
        >>> default_scale(100, "cosine")
        20.0
    """
    if scoring != "cosine":
        return 1.0
    return float(max(16, math.ceil(1.5 * needed_scale(num_classes, 0.99, gap=0.7))))


def needed_scale(num_classes: int, probability: float, *, gap: float = 1.0) -> float:
    """The scale at which the target class has a given probability.

    If the other cosines differ among themselves, their mean gives a lower bound (Jensen).

    Args:
        num_classes: K.
        probability: of the target.
        gap: the target's cosine less each other cosine: 1 for orthogonal class vectors and perfectly aligned features,
            K/(K - 1) for a simplex.

    Example:
        >>> round(needed_scale(100, 0.9), 1)
        6.8
    """
    return math.log(max(num_classes - 1, 1) * probability / (1 - probability)) / gap
