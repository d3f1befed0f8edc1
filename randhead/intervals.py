"""95 percent intervals: of an accuracy, of a difference of accuracies on the same images, and of means over seeds.

How often they hold the truth is simulated by examples/benchmarks/intervals.py.  NumPy and SciPy are imported by the
functions that need them only, because the command line shows intervals of accuracies without them.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from randhead.arguments import as_share, is_number, shown, whole
from randhead.errors import UsageError

LEVEL = 0.95
Z = 1.959963984540054  # of the standard normal distribution, at (1 + LEVEL) / 2
EQUAL = 1e-9  # values that are closer than this share of the largest are equal
LARGEST = 1e150  # of a value, whose square is then a number
HALVINGS = 60  # of an interval of length 2 at most: beyond the last bit of float64


@dataclass(frozen=True)
class Interval:
    """A confidence interval.

    Attributes:
        low: lower limit.
        high: upper limit.
        level: the share of intervals that hold the truth.
        method: "wilson", "mcnemar", "student" or "crossed".
        freedom: degrees of freedom of the t distribution that a "student" or "crossed" interval is made with; None for
            others and for one that was read from a document.
        standard_error: of the mean in the middle; with `freedom` it gives p, also after `within` has cut a limit.
    """

    low: float
    high: float
    level: float = LEVEL
    method: str = "wilson"
    freedom: float | None = field(default=None, repr=False, compare=False)
    standard_error: float | None = field(default=None, repr=False, compare=False)

    def to_json(self) -> dict[str, Any]:
        """The document."""
        return {"low": self.low, "high": self.high, "level": self.level, "method": self.method}

    def percent(self) -> str:
        """The limits of an accuracy in percent.

        Example:
            >>> wilson(97, 100).percent()
            '91.55 to 98.97 %'
        """
        return f"{100 * self.low:.2f} to {100 * self.high:.2f} %"

    def words(self) -> str:
        """The interval of an accuracy in words: "95 % interval 91.55 to 98.97 %"."""
        return f"{100 * self.level:g} % interval {self.percent()}"

    def within(self, low: float, high: float) -> "Interval":
        """The interval without values that are impossible, which Student's t does not know.

        Example:
            >>> Interval(-0.2, 0.4).within(0, 1)
            Interval(low=0, high=0.4, level=0.95, method='wilson')
        """
        return replace(self, low=max(self.low, low), high=min(self.high, high))

    def reach(self, value: float) -> float:
        """The distance from a value to the farther limit."""
        return max(self.high - value, value - self.low)


def as_document(result: Any) -> dict[str, Any]:
    """The fields of a dataclass by name, as `dataclasses.asdict`, but its intervals as documents have them."""
    found = {field.name: getattr(result, field.name) for field in fields(result)}
    return {name: value.to_json() if isinstance(value, Interval) else value for name, value in found.items()}


def wilson(correct: int, n: int) -> Interval:
    """The interval of an accuracy: `correct` of n samples.  Wilson 1927, doi:10.1080/01621459.1927.10502953.

    The accuracies that a score test does not reject: unlike +- 2 standard errors it has a width at 0 and 100 percent.

    Example:
        >>> wilson(100, 100)
        Interval(low=0.963..., high=1.0, level=0.95, method='wilson')
    """
    n = whole("n", n, low=1)
    correct = whole("correct", correct, high=n)
    share, z2 = correct / n, Z * Z
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    return Interval(0.0 if correct == 0 else centre - half, 1.0 if correct == n else centre + half)


def of_accuracy(accuracy: float | None, n: int | None) -> Interval | None:
    """The Wilson interval of an accuracy in [0, 1] of n samples, as a document has them; None if one is missing."""
    if accuracy is None or n is None or whole("n", n) == 0:
        return None
    return wilson(round(as_share("accuracy", accuracy) * n), n)


def mcnemar(gained: int, lost: int) -> float:
    """The two-sided mid-p value of McNemar's test of two classifiers on the same samples.

    Among the samples that exactly one of them gets right, both are equally often right under the hypothesis.  Mid-p
    counts half of the probability of the observed number (Fagerland et al. 2013, doi:10.1186/1471-2288-13-91).

    Args:
        gained: number of samples that only the second gets right.
        lost: number of samples that only the first gets right.

    Example:
        >>> mcnemar(6, 0)
        0.015625
    """
    from scipy.special import bdtr

    gained, lost = whole("gained", gained), whole("lost", lost)
    fewer, n = min(gained, lost), gained + lost
    if gained == lost:
        return 1.0
    below = float(bdtr(fewer - 1, n, 0.5)) if fewer else 0.0
    return below + float(bdtr(fewer, n, 0.5))  # 2 P(X < fewer) + P(X = fewer)


def paired(gained: int, lost: int, n: int) -> Interval:
    """The interval of the difference of two accuracies on the same n samples: (gained - lost) / n.

    The differences that the score test of Tango 1998 (Stat. Med. 17:891) does not reject, extended to 0 if
    McNemar's mid-p test does not reject 0.  It covers also where few samples differ, where a bootstrap does not.

    Args:
        gained: number of samples that only the second classifier gets right.
        lost: number of samples that only the first gets right.
        n: number of samples.

    Example:
        >>> paired(6, 0, 1000)
        Interval(low=0.002..., high=0.013..., level=0.95, method='mcnemar')
    """
    n = whole("n", n, low=1)
    gained, lost = whole("gained", gained, high=n), whole("lost", lost, high=n)
    if gained + lost > n:
        raise UsageError(f"gained + lost must be at most n, got {gained} + {lost} and n = {n}")
    difference = (gained - lost) / n
    low = _crossing(lambda d: _score(gained, lost, n, d) < Z, -1.0, difference)
    high = _crossing(lambda d: _score(gained, lost, n, d) < -Z, difference, 1.0)
    if mcnemar(gained, lost) >= 1 - LEVEL:
        low, high = min(low, 0.0), max(high, 0.0)
    return Interval(low, high, method="mcnemar")


def student(values: Sequence[float]) -> Interval | None:
    """The interval of the mean of independent values by Student's t; None for fewer than two values.

    Example:
        >>> student([1.0, 2.0, 3.0])
        Interval(low=-0.48..., high=4.48..., level=0.95, method='student')
    """
    found = finite_array("values", values, 1)
    if len(found) < 2:
        return None
    return _around(float(found.mean()), float(found.var(ddof=1)) / len(found), len(found) - 1, "student")


def per_image(values: Sequence[float], *, at_most: float = 1.0) -> Interval:
    """The interval of the mean of one value per image, of which most can be 0: errors, or differences of two models.

    For values that are means over several cells, such as the share of severities at which an image is classified
    wrongly; for a single cell `wilson` and `paired` are better.  Student's t over images, with the degrees of freedom
    of those that are not 0, or not the largest value, if these are fewer: with those of all, or a bootstrap, it would
    be too narrow if nearly all images have the same one.  If all values are equal, the limits are as far away as those
    of `paired` are from 0 on images of which none changes, times the largest value.

    Args:
        values: of each image, (N,).
        at_most: the largest value that an image can have; the limits are cut off there, and at its negative.

    Example:
        >>> per_image([0.2, 0.4, 0.0, 0.0])
        Interval(low=-1.0, high=1.0, level=0.95, method='student')
    """
    found = finite_array("values", values, 1)
    if not is_number(at_most) or not 0 < at_most <= LARGEST:
        raise UsageError(f"at_most must be a number above 0, got {shown(at_most)}", hint="1 for shares of cells")
    if (largest := float(abs(found).max())) > at_most * (1 + EQUAL):
        raise UsageError(f"values must be {at_most} at most, got {largest}", hint="`at_most` is the largest possible")
    n, mean = len(found), float(found.mean())
    limit = max(at_most, abs(mean))
    if float(found.max() - found.min()) <= EQUAL * at_most:
        away = at_most * paired(0, 0, n).high
        return Interval(mean - away, mean + away, method="mcnemar").within(-limit, limit)
    changed = min(int((found != edge).sum()) for edge in (0, at_most, -at_most))
    variance = float(found.var()) / (n - 1)
    return _around(mean, variance, max(changed - 1, 1), "student").within(-limit, limit)


def crossed(values: Sequence[Sequence[float]]) -> Interval | None:
    """The interval of the mean of a grid of A x S values whose rows and columns have an effect of their own each.

    With a_i + s_j + e_ij in every cell, the variance of the mean is var(a)/A + var(s)/S + var(e)/(A S): more runs of
    the same seeds do not replace more seeds.  The components are estimated by analysis of variance, negative ones count
    as 0.  The degrees of freedom are those of Satterthwaite 1946 (doi:10.2307/3002019), which lie between the fewest of
    a component, min(A, S) - 1, and those of all values, A S - 1.  A grid with one row or one column is `student`:
    nothing can be said about a factor with one value.

    Args:
        values: (A, S), one row per value of the first factor.

    Returns:
        The interval; None for a single value.

    Example:
        >>> crossed([[1.0, 2.0], [3.0, 5.0]])
        Interval(low=-5.58..., high=11.0..., level=0.95, method='crossed')
    """
    grid = finite_array("values", values, 2)
    rows, columns = grid.shape
    if min(rows, columns) < 2:
        return student(grid.flatten().tolist())
    mean = grid.mean()
    row, column = grid.mean(axis=1) - mean, grid.mean(axis=0) - mean
    rest = grid - mean - row[:, None] - column[None, :]
    degrees = (rows - 1, columns - 1, (rows - 1) * (columns - 1))
    squares = (columns * (row @ row), rows * (column @ column), (rest * rest).sum())
    by_row, by_column, error = (float(s) / d for s, d in zip(squares, degrees, strict=True))
    variance = max(by_row - error, 0.0) + max(by_column - error, 0.0) + error  # times A S
    spread = sum(square**2 / d for square, d in zip((by_row, by_column, error), degrees, strict=True))
    freedom = variance**2 / spread if spread else 1.0
    freedom = min(max(freedom, min(degrees[:2])), rows * columns - 1)
    return _around(float(mean), variance / (rows * columns), freedom, "crossed")


def _score(gained: int, lost: int, n: int, difference: float) -> float:
    """Tango's statistic: the observed difference minus another one, in standard errors under the other one."""
    b = (2 * n - gained + lost) * difference - gained - lost
    c = -lost * difference * (1 - difference)
    share = (math.sqrt(max(b * b - 8 * n * c, 0.0)) - b) / (4 * n)  # of samples lost, the most likely one
    variance = n * (2 * share + difference * (1 - difference))
    away = gained - lost - n * difference
    return away / math.sqrt(variance) if variance > 0 else math.copysign(math.inf, away) if away else 0.0


def _crossing(beyond: Callable[[float], bool], low: float, high: float) -> float:
    """Where a condition that is false below and true above becomes true."""
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if beyond(middle) else (middle, high)
    return (low + high) / 2


def _around(mean: float, variance: float, freedom: float, method: str) -> Interval:
    from scipy.special import stdtrit

    error = math.sqrt(variance)
    half = float(stdtrit(freedom, (1 + LEVEL) / 2)) * error
    return Interval(mean - half, mean + half, method=method, freedom=float(freedom), standard_error=error)


def finite_array(name: str, values: Any, ndim: int) -> Any:
    """Finite values as an array of float64.  Raises UsageError for others, and for none."""
    import numpy as np

    hint = "numbers without NaN, in rows of equal length" if ndim > 1 else "give a list of numbers"
    try:
        found = np.asarray(values)
        usable = found.dtype.kind in "fiu" and found.ndim == ndim and found.size and np.all(abs(found) <= LARGEST)
    except (TypeError, ValueError, RuntimeError):  # of tensors: on another device, with gradients
        usable = False
    if not usable:
        rule = f"finite numbers of {ndim} dimensions, {LARGEST:g} at most"
        raise UsageError(f"{name} must be {rule}, got {shown(values)}", hint=hint)
    return found.astype(np.float64)
