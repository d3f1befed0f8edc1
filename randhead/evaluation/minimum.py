"""The minimum of a function of one number by parabolas and golden sections: Brent 1973, chapter 5.

As SciPy's `minimize_scalar(method="bounded")`, whose import takes 0.4 s and 36 MiB.
"""

import math
from collections.abc import Callable

GOLDEN = (3 - math.sqrt(5)) / 2  # of the larger side of the bracket


def minimum(function: Callable[[float], float], low: float, high: float, *, tolerance: float) -> float:
    """Where a function with one minimum between low and high has it, to within the tolerance.

    Example:
        >>> round(minimum(lambda x: (x - 1) ** 4, -3.0, 7.0, tolerance=1e-6), 2)
        1.0
    """
    start = low + GOLDEN * (high - low)
    best = second = third = (start, function(start))  # the smallest values so far
    step = before = 0.0
    while True:
        x = best[0]
        side = (high if x < (low + high) / 2 else low) - x  # the larger one
        if abs(side) <= 2 * tolerance:
            return x
        jump = _to_vertex(best, second, third)
        if abs(jump) < abs(before) / 2 and low < x + jump < high:
            before = step
            if not low + 2 * tolerance <= x + jump <= high - 2 * tolerance:
                jump = math.copysign(tolerance, side)
        else:  # no parabola, or steps that do not get shorter
            before, jump = side, GOLDEN * side
        step = math.copysign(max(abs(jump), tolerance), jump)
        found = (x + step, function(x + step))
        if found[1] <= best[1]:
            low, high = (low, x) if step < 0 else (x, high)
            best, second, third = found, best, second
            continue
        low, high = (found[0], high) if step < 0 else (low, found[0])
        if found[1] <= second[1] or second is best:
            second, third = found, second
        elif found[1] <= third[1] or third in (best, second):
            third = found


def _to_vertex(best: tuple[float, float], second: tuple[float, float], third: tuple[float, float]) -> float:
    """The step from the best point to the vertex of the parabola through three points; infinite for a line."""
    (x, y), (x2, y2), (x3, y3) = best, second, third
    left, right = (x - x2) * (y - y3), (x - x3) * (y - y2)
    curvature = 2 * (right - left)
    return ((x - x2) * left - (x - x3) * right) / curvature if curvature else math.inf
