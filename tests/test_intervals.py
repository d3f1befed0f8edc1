"""Intervals against second derivations: equations solved numerically, sums of probabilities, simulations."""

import math
import subprocess
import sys

import numpy as np
import pytest
from scipy import optimize, stats

from randhead import intervals
from randhead.errors import UsageError


@pytest.mark.parametrize(("correct", "n"), [(0, 1), (1, 1), (3, 7), (97, 100), (0, 50), (50, 50), (9_712, 10_000)])
def test_wilson_limits_are_the_accuracies_at_which_the_score_test_just_rejects(correct, n):
    z = stats.norm.ppf(0.975)

    def excess(p):
        return (correct / n - p) ** 2 - z**2 * p * (1 - p) / n

    found = intervals.wilson(correct, n)
    share = correct / n
    low = optimize.brentq(excess, 1e-9, share - 1e-9, xtol=1e-14) if correct else 0.0
    high = optimize.brentq(excess, share + 1e-9, 1 - 1e-9, xtol=1e-14) if correct < n else 1.0
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-9)
    assert (found.level, found.method) == (0.95, "wilson")
    assert intervals.of_accuracy(share, n) == found


def test_wilson_has_a_width_at_0_and_100_percent_and_stays_within_them():
    for n in (1, 10, 1000):
        none, everything = intervals.wilson(0, n), intervals.wilson(n, n)
        assert none.low == 0 < none.high < 1
        assert 0 < everything.low < 1 == everything.high
        assert none.high == pytest.approx(1 - everything.low)


def test_an_accuracy_that_is_missing_has_no_interval():
    assert intervals.of_accuracy(None, 10) is None
    assert intervals.of_accuracy(0.5, None) is None
    assert intervals.of_accuracy(0.5, 0) is None


@pytest.mark.parametrize(("gained", "lost"), [(0, 0), (1, 0), (5, 0), (6, 1), (3, 9), (4, 4), (40, 61)])
def test_mid_p_is_the_sum_of_binomial_probabilities_with_half_of_the_observed_one(gained, lost):
    n = gained + lost
    share = [math.comb(n, k) / 2**n for k in range(n + 1)]
    tail = sum(share[: min(gained, lost)]) + share[min(gained, lost)] / 2
    assert intervals.mcnemar(gained, lost) == pytest.approx(2 * tail)


def tango_limit(gained, lost, n, sign):
    """The difference at which the score statistic is z: the nuisance parameter by maximising the likelihood."""
    z = stats.norm.ppf(0.975)

    def statistic(d):
        def minus_log_likelihood(b):  # b samples lost, b + d gained: multinomial
            return -(stats.multinomial.logpmf([gained, lost, n - gained - lost], n, [b + d, b, 1 - 2 * b - d]))

        low, high = max(0, -d), (1 - d) / 2
        b = optimize.minimize_scalar(
            minus_log_likelihood, bounds=(low, high), method="bounded", options={"xatol": 1e-12}
        ).x
        return (gained - lost - n * d) / math.sqrt(n * (2 * b + d - d * d))

    observed = (gained - lost) / n
    edges = (observed + 1e-7, 0.999) if sign > 0 else (-0.999, observed - 1e-7)
    return optimize.brentq(lambda d: statistic(d) + sign * z, *edges, xtol=1e-10)


@pytest.mark.parametrize(("gained", "lost", "n"), [(12, 3, 100), (3, 12, 100), (30, 28, 1000), (9, 1, 20)])
def test_paired_limits_are_the_differences_at_which_the_score_test_just_rejects(gained, lost, n):
    found = intervals.paired(gained, lost, n)
    expected = [tango_limit(gained, lost, n, sign) for sign in (-1, 1)]
    assert [found.low, found.high] == pytest.approx(expected, abs=1e-5)
    assert found.method == "mcnemar"


def test_the_paired_interval_holds_zero_whenever_the_test_does_not_reject_it():
    for gained in range(12):
        for lost in range(12):
            found = intervals.paired(gained, lost, 200)
            assert -1 <= found.low <= (gained - lost) / 200 <= found.high <= 1
            if intervals.mcnemar(gained, lost) >= 0.05:
                assert found.low <= 0 <= found.high
            if found.low > 0 or found.high < 0:
                assert intervals.mcnemar(gained, lost) < 0.05
            mirrored = intervals.paired(lost, gained, 200)
            assert (mirrored.low, mirrored.high) == pytest.approx((-found.high, -found.low), abs=1e-12)
    same = intervals.paired(0, 0, 200)
    assert same.low < 0 < same.high


@pytest.mark.slow
@pytest.mark.parametrize(("a", "b"), [(3, 3), (6, 0.01), (12, 0.5), (8, 2), (15, 5)])
def test_paired_covers_where_few_samples_differ(a, b, n=500):
    """Exactly: the probability of every (gained, lost) times whether its interval holds the difference."""
    covered = total = 0.0
    for changed in range(45):
        for gained in range(changed + 1):
            p = stats.binom.pmf(changed, n, (a + b) / n) * stats.binom.pmf(gained, changed, a / (a + b))
            if p > 1e-6:
                found = intervals.paired(gained, changed - gained, n)
                total += p
                covered += p * (found.low <= (a - b) / n <= found.high)
    assert total > 0.999
    assert covered > 0.935


def test_student_is_scipys_t_interval():
    values = [0.91, 0.93, 0.90, 0.95]
    found = intervals.student(values)
    expected = stats.t.interval(0.95, 3, loc=np.mean(values), scale=stats.sem(values))
    assert (found.low, found.high) == pytest.approx(expected)
    assert intervals.student([0.5]) is None
    assert intervals.student([0.5, 0.5]) == intervals.Interval(0.5, 0.5, method="student")


def test_crossed_equals_an_analysis_of_variance_by_projections():
    grid = np.random.default_rng(0).normal(size=(4, 3)) + np.arange(4)[:, None]
    y, n = grid.ravel(), grid.size
    one = np.ones((n, 1))
    designs = [np.kron(np.eye(4), np.ones((3, 1))), np.kron(np.ones((4, 1)), np.eye(3))]
    hat = [x @ np.linalg.pinv(x) for x in (one, *designs, np.hstack(designs))]
    square = [y @ (hat[i] - hat[0]) @ y / d for i, d in ((1, 3), (2, 2))]
    square.append(y @ (np.eye(n) - hat[3]) @ y / 6)
    rows, columns = max(0, (square[0] - square[2]) / 3), max(0, (square[1] - square[2]) / 4)
    variance = rows / 4 + columns / 3 + square[2] / 12
    freedom = (variance * 12) ** 2 / (square[0] ** 2 / 3 + square[1] ** 2 / 2 + square[2] ** 2 / 6)
    half = stats.t.ppf(0.975, min(max(freedom, 2), 11)) * math.sqrt(variance)
    found = intervals.crossed(grid)
    assert (found.low, found.high) == pytest.approx((y.mean() - half, y.mean() + half))
    assert found.method == "crossed"


def test_crossed_with_one_row_or_column_is_student_and_of_equal_values_a_point():
    values = [0.1, 0.2, 0.4]
    assert intervals.crossed([values]) == intervals.crossed([[v] for v in values]) == intervals.student(values)
    assert intervals.crossed([[0.5]]) is None
    assert intervals.crossed([[0.5, 0.5], [0.5, 0.5]]) == intervals.Interval(0.5, 0.5, method="crossed")


@pytest.mark.parametrize("shares", [(0.6, 0.2, 0.2), (0.9, 0.05, 0.05), (0.2, 0.2, 0.6)])
def test_crossed_covers_where_independent_values_do_not(shares, repeats=400):
    draw = np.random.default_rng(1)
    h, s, e = (math.sqrt(share) for share in shares)
    covered = [0, 0]
    for _ in range(repeats):
        grid = h * draw.normal(size=(3, 1)) + s * draw.normal(size=(1, 3)) + e * draw.normal(size=(3, 3))
        for i, found in enumerate((intervals.student(grid.ravel()), intervals.crossed(grid))):
            covered[i] += found.low <= 0 <= found.high
    assert covered[0] / repeats < 0.9
    assert covered[1] / repeats > 0.93


BAD = {
    "negative": (lambda: intervals.wilson(-1, 5), "correct must be at least 0"),
    "more than n": (lambda: intervals.wilson(6, 5), "correct must be at most 5"),
    "no sample": (lambda: intervals.wilson(0, 0), "n must be at least 1"),
    "a share": (lambda: intervals.wilson(0.9, 5), "correct must be a whole number"),
    "more changed than n": (lambda: intervals.paired(3, 3, 5), "gained \\+ lost must be at most n"),
    "text": (lambda: intervals.student("abc"), "values must be finite numbers"),
    "NaN": (lambda: intervals.student([1.0, math.nan]), "values must be finite numbers"),
    "empty": (lambda: intervals.crossed([]), "values must be finite numbers"),
    "ragged": (lambda: intervals.crossed([[1.0, 2.0], [3.0]]), "values must be finite numbers"),
    "booleans": (lambda: intervals.student([True, False]), "values must be finite numbers"),
    "an accuracy above 1": (lambda: intervals.of_accuracy(97.5, 10), "accuracy must be in"),
    "no number": (lambda: intervals.of_accuracy(math.nan, 10), "accuracy must be in"),
}


@pytest.mark.parametrize("case", BAD)
def test_arguments_that_cannot_be_used_are_named(case):
    call, message = BAD[case]
    with pytest.raises(UsageError, match=message):
        call()


@pytest.mark.slow
def test_intervals_of_accuracies_need_neither_numpy_nor_scipy():
    code = "import sys; from randhead import intervals; intervals.wilson(9, 10)"
    check = "assert not {'numpy', 'scipy'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", f"{code}\n{check}"], check=True)


@pytest.mark.parametrize(("images", "least"), [(3, 0.93), (10, 0.93), (60, 0.92)])
def test_means_per_image_cover_where_few_images_differ(images, least, n=300, repeats=300):
    draw = np.random.default_rng(2)
    held = 0
    for _ in range(repeats):
        gaps = draw.uniform(size=n) * np.where(draw.uniform(size=n) < 0.7, 1, -1) * (draw.uniform(size=n) < images / n)
        found = intervals.per_image(gaps)
        held += found.low <= 0.4 * 0.5 * images / n <= found.high
    assert held / repeats > least


def test_means_per_image_are_students_t_if_all_images_differ_and_have_a_width_if_none_does():
    gaps = np.random.default_rng(0).normal(size=40) + 0.1
    found, expected = intervals.per_image(gaps, at_most=9), intervals.student(gaps)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    two = intervals.per_image([1.0, -0.5, *[0.0] * 8])  # t has 1 degree of freedom
    assert (two.low, two.high) == (-1.0, 1.0)
    same, one = intervals.per_image([0.0] * 100, at_most=0.5), intervals.paired(0, 0, 100)
    assert (same.low, same.high) == pytest.approx((one.low / 2, one.high / 2))


@pytest.mark.parametrize("value", [-1.0, -0.5, 0.0, 0.3, 1.0])
@pytest.mark.parametrize("n", [1, 20])
def test_equal_means_per_image_have_a_width_as_wide_as_wilsons_at_0(value, n):
    found, away = intervals.per_image([value] * n), intervals.wilson(0, n).high
    assert (found.low, found.high) == pytest.approx((max(-1, value - away), min(1, value + away)))
    assert found.low <= value <= found.high


def test_means_per_image_near_the_largest_value_are_those_near_0_mirrored():
    values = np.array([1.0] * 97 + [0.5, 0.75, 0.9])
    found, mirrored = intervals.per_image(values), intervals.per_image(1 - values)
    assert (found.low, found.high) == pytest.approx((1 - mirrored.high, min(1 - mirrored.low, 1.0)))
