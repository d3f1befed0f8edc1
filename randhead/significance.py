"""Tests of differences between paired runs: p-values, their correction for several arms, and the pairs that are needed.

Intervals are those of `randhead.intervals`, and the p-value of one follows from the same model.  How often they hold
under no difference, and the power that is reached, is simulated by examples/benchmarks/study_statistics.py.  NumPy and
SciPy are imported by the functions that need them only.
"""

import math
from collections.abc import Sequence
from typing import Any

from randhead.arguments import as_share, check_type, is_number, several, shown, whole
from randhead.errors import UsageError
from randhead.intervals import EQUAL, LARGEST, LEVEL, Interval, finite_array

POSITIVE = (1 / LARGEST, "a number above 0")
ROUNDING = 1e-12  # of a sum of differences, whose values are about 1
MOST_FLIPPED = 12  # values of an exact sign-flip test: 4,096 assignments
MOST_PAIRS = 2**30  # about a billion: more are not worth a number
NODES = 161  # of the integral over the estimated standard deviation


def p_value(value: float, interval: Interval | None) -> float | None:
    """The two-sided p-value of "the mean is 0", by the t distribution that the interval of the mean was made with.

    It is below 0.05 if and only if 0 is outside the 95 percent interval.  For Student's t of paired differences it is
    that of the paired t test.  An interval that `Interval.within` has cut gives the p-value of the uncut one.

    Args:
        value: the mean, in the middle of the interval before a limit was cut.
        interval: as `intervals.student`, `intervals.crossed` or `evaluation.estimates.estimate` gives it.

    Returns:
        p in [0, 1]; None if there is no interval, if it was not made by Student's t or was read from a document, which
        has no degrees of freedom, or if all values were equal: they say nothing about how far others would be.

    Raises:
        UsageError: if the interval is not one around this value.

    Example:
        >>> from randhead import intervals
        >>> p_value(2.0, intervals.student([1.0, 2.0, 3.0]))
        0.0741...
    """
    value = _number("value", value)
    check_type("interval", interval, (Interval, type(None)), "an Interval or None")
    if interval is None or interval.freedom is None or interval.standard_error is None:
        return None
    from scipy.special import stdtr, stdtrit

    half = float(stdtrit(interval.freedom, (1 + interval.level) / 2)) * interval.standard_error
    slack = EQUAL * (half + abs(value))
    if not interval.low - slack <= value <= interval.high + slack or interval.reach(value) > half + slack:
        message = f"value must be the middle of the interval {interval.low:g} to {interval.high:g}, got {value:g}"
        raise UsageError(message, hint="give the mean that the interval was made for")
    if interval.standard_error <= EQUAL * abs(value):
        return None
    return 2 * float(stdtr(interval.freedom, -abs(value) / interval.standard_error))


def sign_flip(values: Sequence[float]) -> float | None:
    """The two-sided p-value of the exact sign-flip permutation test of paired differences.

    If nothing distinguishes the two arms, each difference could as well have the other sign: p is the share of the 2^n
    assignments of signs whose mean is at least as far from 0.  Fisher 1935, The Design of Experiments, section 21;
    Pitman 1937, Suppl. J. R. Stat. Soc. 4:119.  It supposes no distribution, but the smallest p that it can have is
    2 / 2^n: with 5 pairs it cannot go below 0.0625, and 6 are the fewest for p < 0.05.  Means that differ by rounding
    only are ties.

    Args:
        values: one difference per pair of runs, (n,); the pairs are independent.

    Returns:
        p in [2 / 2^n, 1]; None for more than 12 values.

    Example:
        >>> sign_flip([0.5, 0.25, 1.0, 0.75, 0.5])
        0.0625
    """
    import numpy as np

    found = finite_array("values", values, 1)
    n = len(found)
    if n > MOST_FLIPPED:
        return None
    signs = 1 - 2 * (np.arange(2**n)[:, None] >> np.arange(n) & 1)  # the first row is the observed one
    sums = abs(signs @ found)
    rounding = max(EQUAL * abs(found).sum(), ROUNDING)
    return float((sums >= sums[0] - rounding).mean())


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Corrected p-values of several comparisons, so that all of them together err in 5 percent of studies.

    Holm 1979, Scand. J. Stat. 6:65: the smallest of m p-values times m, the next times m - 1, and so on; none smaller
    than the one before it, none above 1.

    Args:
        p_values: one per comparison; None where there is none, which does not count.

    Returns:
        The corrected values in the same order, None where there was None.

    Example:
        >>> holm([0.01, None, 0.04, 0.03])
        [0.03, None, 0.06, 0.06]
    """
    given = several("p_values", p_values, "p-values")
    found = [None if p is None else as_share("p_values", p) for p in given]
    ordered = sorted((p, i) for i, p in enumerate(found) if p is not None)
    corrected, largest = list(found), 0.0
    for rank, (p, i) in enumerate(ordered):
        largest = max(largest, min(p * (len(ordered) - rank), 1.0))
        corrected[i] = largest
    return corrected


def power_of(pairs: int, *, std: float, difference: float, level: float = LEVEL) -> float:
    """The probability that a two-sided paired t test of independent pairs finds a difference.

    That of the noncentral t distribution beyond the limits of the central one (Cohen 1988, Statistical Power Analysis,
    section 2.2), integrated over the distribution of the estimated standard deviation: SciPy's own function is NaN for
    some arguments.

    Args:
        pairs: number of pairs, at least 2.
        std: standard deviation of the differences, above 0.
        difference: the true mean difference, in the unit of `std`.
        level: 1 minus the probability of finding a difference where there is none.

    Example:
        >>> round(power_of(10, std=1.0, difference=1.0), 4)
        0.8031
    """
    pairs = whole("pairs", pairs, low=2, high=MOST_PAIRS)
    effect = _number("difference", difference) / _number("std", std, *POSITIVE)
    return _power(pairs, effect, _between("level", level))


def pairs_needed(std: float | None, difference: float, *, power: float = 0.8, level: float = LEVEL) -> int | None:
    """The number of pairs with which a two-sided paired t test finds a difference with a given probability.

    A standard deviation that was itself estimated from few pairs makes this a rough number, which grows with its
    square: in 95 percent of studies of 3 pairs, the true one is between 0.5 and 6.3 times the estimated one.

    Args:
        std: standard deviation of the differences of independent pairs, or None.
        difference: the true mean difference that is to be seen, above 0, in the unit of `std`: 0.005 for 0.5 points.
        power: the probability of finding it.
        level: 1 minus the probability of finding a difference where there is none.

    Returns:
        The smallest sufficient number, at least 2; None if `std` is None, or 0 but for rounding (equal differences
        say nothing about how far others would be), or if a billion are not enough.

    Example:
        >>> pairs_needed(0.013, 0.005)
        56
    """
    difference = _number("difference", difference, *POSITIVE)
    power, level = _between("power", power), _between("level", level)
    if std is None or (std := _number("std", std, 0.0, "a number of at least 0, or None")) <= EQUAL * difference:
        return None
    effect = difference / std
    low, high = 1, 2  # low is not enough
    while _power(high, effect, level) < power:
        low, high = high, 2 * high
        if high > MOST_PAIRS:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _power(middle, effect, level) >= power else (middle, high)
    return high


def _power(pairs: int, effect: float, level: float) -> float:
    """The power of a two-sided t test for a difference of `effect` standard deviations."""
    import numpy as np
    from scipy.special import chdtri, ndtr, stdtrit

    limit, shift = stdtrit(pairs - 1, (1 + level) / 2), effect * math.sqrt(pairs)
    # The trapezoidal rule over a normal variable, whose quantiles are those of the estimated standard deviation.
    normal = np.linspace(-8, 8, NODES)
    weights = np.exp(-(normal**2) / 2)
    std = np.sqrt(chdtri(pairs - 1, ndtr(-normal)) / (pairs - 1))
    return float(weights @ (ndtr(shift - limit * std) + ndtr(-shift - limit * std)) / weights.sum())


def _number(name: str, value: Any, low: float = -LARGEST, rule: str = "a number") -> float:
    """A number from `low` to `LARGEST`."""
    if not is_number(value) or not low <= value <= LARGEST:
        raise UsageError(f"{name} must be {rule}, got {shown(value)}", hint=f"at most {LARGEST:g}")
    return float(value)


def _between(name: str, value: Any) -> float:
    """A share between 0 and 1, and neither of them."""
    if (share := as_share(name, value)) in (0.0, 1.0):
        raise UsageError(f"{name} must be between 0 and 1, got {shown(value)}", hint="for example 0.8")
    return share
