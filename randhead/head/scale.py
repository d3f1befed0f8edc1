"""The logit scale: the scale that a cosine head needs, and the default."""

import math


def default_scale(num_classes: int, scoring: str) -> float:
    """The default factor on the scores: 1 for dot products, at least 16 for cosines.

    Dot products need no scale: features grow until the loss is small.  Cosines are at most 1, so the scale limits how
    confident the head can be.  A probability of 0.99 needs a scale of ln(99 (K - 1)) if the target's cosine is 1 and
    the other cosines are 0.  This is divided by 0.7, the largest cosine of non-negative features with random class
    vectors, and multiplied by 1.5, so that features further from their class vector (a cosine of 0.47) can still have
    that probability.  The minimum is 16: with few classes the scale would be so small that errors hardly change the
    loss.  The result is 16 for 10 classes, 20 for 100, 25 for 1,000: in the middle of what normalised losses use, from
    14 (EBV) to 64 (ArcFace).

    Args:
        num_classes: K.
        scoring: "dot" or "cosine".

    Returns:
        The scale.

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
        gap: the target's cosine minus each other cosine: 1 for orthogonal class vectors and perfectly aligned
            features, K/(K - 1) for a simplex.

    Returns:
        The scale.

    Example:
        >>> round(needed_scale(100, 0.9), 1)
        6.8
    """
    return math.log(max(num_classes - 1, 1) * probability / (1 - probability)) / gap
