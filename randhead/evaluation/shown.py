"""Means and differences with their intervals as tables and pictures show them; text that needs no torch."""

import math

from randhead.evaluation.estimates import Estimate
from randhead.intervals import Interval
from randhead.tables import Metric, shown

INTERVAL = "[95 % interval]"  # in the head of a column
DIGITS = 2  # significant digits of a standard deviation, or of half an interval
LEAST_P = 0.0005  # that is shown with three digits after the point


def signed(value: float, width: float | None) -> str:
    """A difference with its sign, with as many digits as an interval of this half width leaves."""
    text = f"{value:+.{decimals(width)}f}" if width else f"{value:+.4g}"
    return text if float(text) else text[1:]  # a zero has no sign


def ends(about: Metric, found: Estimate, *, of_difference: bool = False) -> tuple[float, ...]:
    """The ends of an interval as tables show them, within what the metric, or a difference of two, can be."""
    if found.interval is None:
        return ()
    low, high = about.limits
    if of_difference:
        low, high = low - high, high - low
    possible = found.interval.within(low, high)
    return (about.scale * possible.low, about.scale * possible.high)


def interval_shown(about: Metric, found: Estimate | None) -> str | None:
    """The interval of a mean."""
    if found is None or found.interval is None:
        return None
    digits = decimals(_half(about, found.interval))
    low, high = ends(about, found)
    return f"{low:z.{digits}f} to {high:z.{digits}f}"


def mean_shown(about: Metric, found: Estimate | None) -> str | None:
    """A mean with its interval in brackets."""
    if found is None:
        return None
    value = found.value * about.scale
    if found.interval is None:
        return shown(float(value))
    digits = decimals(_half(about, found.interval))
    return f"{value:z.{digits}f} [{interval_shown(about, found)}]"


def difference_shown(about: Metric, found: Estimate | None) -> str | None:
    """A difference with its interval in brackets."""
    if found is None:
        return None
    value = found.value * about.scale
    if found.interval is None:
        return signed(value, None)
    half = _half(about, found.interval)
    low, high = ends(about, found, of_difference=True)
    return f"{signed(value, half)} [{signed(low, half)} to {signed(high, half)}]"


def decimals(width: float) -> int:
    """Digits after the point that leave DIGITS significant digits of a width."""
    return min(max(DIGITS - 1 - math.floor(math.log10(width)), 0), 9) if width > 0 else 4


def _half(about: Metric, interval: Interval) -> float:
    """Half the width of an interval as tables show it."""
    return about.scale * (interval.high - interval.low) / 2


def p_shown(p: float | None) -> str | None:
    """A p-value with three digits after the point, or one digit if it is smaller.

    Example:
        >>> p_shown(0.0625), p_shown(0.00001)
        ('0.062', '1e-05')
    """
    if p is None:
        return None
    return f"{p:.3f}" if p >= LEAST_P else f"{p:.0e}"


def percent_shown(share: float | None, digits: int = 2) -> str | None:
    """A share in percent, without the unit, for a column that names it."""
    return None if share is None else f"{100 * share:.{digits}f}"
