"""p-values, Holm's correction and numbers of pairs, against SciPy's tests, definitions and simulated studies."""

import itertools
import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from randhead import intervals, significance
from randhead.errors import UsageError
from randhead.evaluation import estimates
from randhead.evaluation.classification import NeighbourMetrics

SIMULATED = Path(__file__).parent.parent / "examples" / "benchmarks" / "results" / "study_statistics.json"


def test_the_p_value_of_a_student_interval_is_that_of_scipys_paired_t_test():
    random = np.random.default_rng(0)
    for n in (2, 3, 5, 20):
        control, arm = random.normal(0.9, 0.01, n), random.normal(0.905, 0.01, n)
        found = estimates.estimate(arm - control)
        expected = stats.ttest_rel(arm, control).pvalue
        assert significance.p_value(found.value, found.interval) == pytest.approx(expected, rel=1e-9)
        assert stats.ttest_1samp(arm - control, 0).pvalue == pytest.approx(expected)


@pytest.mark.parametrize("shape", [(4,), (3, 3), (5, 2)])
def test_p_is_below_5_percent_if_and_only_if_0_is_outside_the_interval(shape):
    noise = np.random.default_rng(1).normal(size=shape)
    make = intervals.student if len(shape) == 1 else intervals.crossed
    half = make(noise).reach(noise.mean())
    for away in (0.0, 0.5, 1 - 1e-6, 1 + 1e-6, 3.0):
        for sign in (-1, 1):
            values = noise - noise.mean() + sign * away * half
            found = make(values)
            p = significance.p_value(values.mean(), found)
            assert (p < 0.05) == (found.low > 0 or found.high < 0)
            assert p == pytest.approx(0.05, abs=1e-5) or abs(away - 1) > 1e-5
    assert found.method == ("student" if len(shape) == 1 else "crossed")


def test_the_p_value_of_crossed_seeds_has_the_degrees_of_freedom_of_satterthwaite():
    """Rows that differ, and nothing else: then the means of the rows are all that is known, with A - 1 degrees."""
    rows = np.array([0.1, 0.3, 0.2, 0.5])
    grid = np.repeat(rows[:, None], 3, axis=1)
    found = intervals.crossed(grid)
    assert found.freedom == pytest.approx(3)
    assert significance.p_value(grid.mean(), found) == pytest.approx(stats.ttest_1samp(rows, 0).pvalue)


def test_an_interval_that_was_moved_or_cut_keeps_its_p_value():
    """A grid with a missing run has the width of its complete part, around the mean of all runs."""
    full = {(h, s): 0.01 * h + 0.02 * s * s for h in range(3) for s in range(4)}
    values, seeds = [*full.values(), 0.5], [*full, (0, 9)]
    part, found = (
        intervals.crossed([[full[h, s] for s in range(4)] for h in range(3)]),
        estimates.estimate(values, seeds),
    )
    assert found.interval.freedom == part.freedom > 0
    expected = 2 * stats.t.sf(found.value / part.standard_error, part.freedom)
    assert significance.p_value(found.value, found.interval) == pytest.approx(expected)

    wide = intervals.student([0.1, 0.6])
    p = stats.ttest_1samp([0.1, 0.6], 0).pvalue
    for low, high in ((-1, 1), (-9, 0.5), (0, 9), (0, 1)):
        assert significance.p_value(0.35, wide.within(low, high)) == pytest.approx(p)


def test_what_has_no_t_distribution_or_no_variance_has_no_p_value():
    none = (None, intervals.wilson(3, 4), intervals.paired(3, 1, 9), intervals.student([0.5, 0.5]))
    assert [significance.p_value(0.5, found) for found in none] == [None] * 4
    rounded = intervals.student([0.3 - 0.2, 0.4 - 0.3, 0.2 - 0.1])  # equal but for rounding
    assert significance.p_value(0.1, rounded) is None
    assert significance.p_value(0.0, intervals.student([0.0, 0.0])) is None
    read = intervals.Interval(**intervals.student([1.0, 2.0, 3.0]).to_json())
    assert significance.p_value(2.0, read) is None
    assert significance.p_value(0.0, intervals.student([-1.0, 1.0])) == 1.0


def test_documents_and_equality_of_intervals_do_not_know_of_degrees_of_freedom():
    found = intervals.student([1.0, 2.0, 3.0])
    assert found.to_json().keys() == {"low", "high", "level", "method"}
    assert found == intervals.Interval(**found.to_json())
    assert "freedom" not in repr(found)
    assert NeighbourMetrics(9, 0.5, 0.1, found, 0.5, 0.5).to_json()["accuracy_interval"] == found.to_json()


def test_a_value_that_is_not_in_the_middle_of_the_interval_has_no_p_value():
    found = intervals.student([1.0, 2.0, 3.0])
    cut, narrow = found.within(1, 9), found.within(1, 3)
    for value, interval in ((1.9, found), (2.1, found), (200.0, found), (1.9, cut), (0.9, narrow), (3.1, narrow)):
        with pytest.raises(UsageError, match="must be the middle of the interval"):
            significance.p_value(value, interval)
    with pytest.raises(UsageError, match="must be the middle"):
        significance.p_value(200.0, replace(found, low=100 * found.low, high=100 * found.high))


@pytest.mark.parametrize("n", [1, 2, 5, 8])
def test_sign_flips_are_scipys_exact_permutation_test(n):
    values = np.random.default_rng(n).normal(0.5, 1, n)
    found = significance.sign_flip(values)
    if n > 1:
        flips = {"permutation_type": "samples", "n_resamples": math.inf, "alternative": "two-sided"}
        expected = stats.permutation_test((values,), np.mean, **flips).pvalue
        assert found == pytest.approx(expected)
    by_hand = [abs(np.dot(signs, values)) for signs in itertools.product((1, -1), repeat=n)]
    assert found == np.mean([total > abs(values.sum()) - 1e-9 for total in by_hand])


def test_sign_flips_of_two_arms_are_those_of_their_differences():
    random = np.random.default_rng(3)
    arms = random.normal(0.9, 0.01, (2, 6))
    found = stats.permutation_test(
        arms, lambda a, b, axis: np.mean(a - b, axis=axis), permutation_type="samples", n_resamples=math.inf
    )
    assert significance.sign_flip(arms[0] - arms[1]) == pytest.approx(found.pvalue)


@pytest.mark.parametrize("n", range(1, 13))
def test_the_smallest_p_value_of_sign_flips_is_2_of_2_to_the_n(n):
    assert significance.sign_flip(np.arange(1, n + 1) / 7) == 2 / 2**n
    assert significance.sign_flip(-np.arange(1, n + 1) / 7) == 2 / 2**n
    assert significance.sign_flip([0.0] * n) == 1.0


def test_means_that_differ_by_rounding_are_ties_of_sign_flips():
    """0.1 + 0.2 is not 0.3: differences of accuracies of whole images have the p-value of their counts."""
    counts = [1, 2, -3, 4, -1, 2]
    for base in (0.1, 0.7, 0.9314):
        shares = [(base + count / 10_000) - base for count in counts]
        assert significance.sign_flip(shares) == significance.sign_flip(counts)
        assert significance.sign_flip([2**30 * share for share in shares]) == significance.sign_flip(counts)
    assert significance.sign_flip([0.1, 0.2, -0.3]) == 1.0
    assert significance.sign_flip([2e-17] * 6) == 1.0


def test_more_than_12_values_are_not_flipped():
    assert significance.sign_flip([1.0] * 12) == 2 / 4096
    assert significance.sign_flip([1.0] * 13) is None


def test_holm_is_the_closed_test_of_bonferroni():
    """A hypothesis is rejected if every set of hypotheses that holds it has a p-value below level / its size."""
    random = np.random.default_rng(0)
    for m in (1, 2, 4, 5):
        p = random.uniform(size=m) ** 2
        sets = [s for size in range(1, m + 1) for s in itertools.combinations(range(m), size)]
        closed = [min(1.0, max(len(s) * min(p[list(s)]) for s in sets if i in s)) for i in range(m)]
        assert significance.holm(p) == pytest.approx(closed)


def test_holm_has_the_values_of_a_calculation_by_hand():
    """Of 0.01, 0.02, 0.03, 0.04: 4 x 0.01, 3 x 0.02, 2 x 0.03, and the last not below the one before it."""
    assert significance.holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert significance.holm([0.01, 0.013, 0.014, 0.19, 0.35, 0.5, 0.63, 0.67, 0.75, 0.81]) == pytest.approx(
        [0.1, 0.117, 0.117, *[1.0] * 7]
    )
    assert significance.holm([0.5, 0.9]) == [1.0, 1.0]
    assert significance.holm([]) == []


def test_holm_does_not_count_what_has_no_p_value():
    assert significance.holm([None, 0.02, None, 0.03]) == [None, 0.04, None, 0.04]
    assert significance.holm([None]) == [None]


@pytest.mark.parametrize(
    ("p", "expected"),  # of statsmodels 0.15.0, multipletests(p, method="holm")
    [
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),
        ([0.2, 0.2, 0.01], [0.4, 0.4, 0.03]),
        ([0.9, 0.001, 0.3, 0.02, 0.02, 0.5], [1.0, 0.006, 0.9, 0.1, 0.1, 1.0]),
    ],
)
def test_holm_has_the_values_of_statsmodels(p, expected):
    assert significance.holm(p) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("n", [2, 3, 5, 40, 1000])
@pytest.mark.parametrize("effect", [0.0, 0.05, 0.5, 2.0])
def test_power_is_that_of_scipys_noncentral_t(n, effect):
    limit, shift = stats.t.ppf(0.975, n - 1), effect * math.sqrt(n)
    lower = stats.nct.cdf(-limit, n - 1, shift) if shift < 5 else 0.0  # NaN beyond; below 1e-6
    expected = stats.nct.sf(limit, n - 1, shift) + lower
    assert significance.power_of(n, std=0.02, difference=-0.02 * effect) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("std", "difference", "power", "level"), [(0.013, 0.005, 0.8, 0.95), (3.0, 2.0, 0.9, 0.99)])
def test_pairs_needed_are_the_first_number_with_the_power(std, difference, power, level):
    def reached(n):
        limit = stats.t.ppf((1 + level) / 2, n - 1)
        return stats.nct.sf(limit, n - 1, difference / std * math.sqrt(n))

    expected = next(n for n in range(2, 1000) if reached(n) >= power)
    assert significance.pairs_needed(std, difference, power=power, level=level) == expected


def test_pairs_needed_are_those_of_published_tables():
    """Cohen 1988, table 2.4.1, two-sided 5 percent, power 0.8, for d = 0.5, 0.8 and 1 of one sample: 34, 15 and 10."""
    assert [significance.pairs_needed(1.0, d) for d in (0.5, 0.8, 1.0)] == [34, 15, 10]


def test_pairs_needed_have_no_number_without_a_standard_deviation_or_beyond_a_billion():
    assert significance.pairs_needed(None, 0.005) is None
    assert significance.pairs_needed(0.0, 0.005) is None
    assert significance.pairs_needed(1e-17, 0.005) is None
    assert significance.pairs_needed(1e-6, 0.005) == 2
    assert significance.pairs_needed(50.0, 0.005) == pytest.approx((1e4 * (1.959964 + 0.841621)) ** 2, rel=1e-4)
    assert significance.pairs_needed(1e9, 0.005) is None


def t_tests(values):
    """The p-value of the t test of every row: as many studies as rows at once."""
    n = values.shape[1]
    return 2 * stats.t.sf(abs(values.mean(axis=1)) / (values.std(axis=1, ddof=1) / math.sqrt(n)), n - 1)


def test_simulated_studies_reach_the_power_at_the_pairs_that_are_needed(studies=4000):
    random = np.random.default_rng(0)
    for std, difference in ((0.01, 0.01), (0.013, 0.005)):
        pairs = significance.pairs_needed(std, difference)
        found = (t_tests(random.normal(difference, std, (studies, pairs))) < 0.05).mean()
        assert found == pytest.approx(significance.power_of(pairs, std=std, difference=difference), abs=0.02)
        assert 0.78 < found < 0.84


def test_sign_flips_are_uniform_and_intervals_cover_in_studies_without_a_difference(studies=4000, n=5):
    """p has steps of 2 / 2^n: at each of them, the share of studies with a p as small is the step itself."""
    values = np.random.default_rng(4).normal(0, 0.01, (studies, n))
    p = np.array([significance.sign_flip(row) for row in values])
    for step in (2 / 2**n, 0.25, 0.5, 0.75):
        assert (p <= step).mean() == pytest.approx(step, abs=3 * math.sqrt(step * (1 - step) / studies))
    t = t_tests(values)
    assert 0.94 < (t >= 0.05).mean() < 0.96
    for row, expected in zip(values[:200], t, strict=False):
        found = estimates.estimate(row)
        assert significance.p_value(found.value, found.interval) == pytest.approx(expected)
        assert (found.interval.low <= 0 <= found.interval.high) == (expected >= 0.05)


def test_holm_errs_in_at_most_5_percent_of_studies_of_three_arms_that_share_a_control(studies=4000, n=5):
    random = np.random.default_rng(5)
    arms, control = random.normal(size=(3, studies, n)), random.normal(size=(studies, n))
    p = np.array([t_tests(arm - control) for arm in arms]).T
    corrected = np.array([significance.holm(row) for row in p])
    assert (p.min(axis=1) < 0.05).mean() > 0.09
    assert 0.02 < (corrected.min(axis=1) < 0.05).mean() < 0.055


def test_the_stored_simulation_says_that_intervals_cover_and_false_findings_are_as_rare_as_stated():
    """10,000 studies per row, by examples/benchmarks/study_statistics.py."""
    found = json.loads(SIMULATED.read_text())
    normal = [row for row in found["pairs"] if row["differences"] == "normal"]
    assert [row["pairs"] for row in normal] == [3, 5, 10, 20]
    for row in normal:
        assert 0.94 < row["student"] < 0.96
        for step in (0.0625, 0.125, 0.25, 0.5):
            if row["pairs"] <= 12:
                assert row[f"flip <= {step}"] == pytest.approx(row[f"exact {step}"], abs=0.012)
    assert all(row["crossed"] > 0.945 for row in found["crossed"])  # on the safe side if a seed has no effect
    assert all(row["t, Holm"] < 0.055 and (row["flip, Holm"] or 0) < 0.055 for row in found["arms"])
    for row in found["power"]:
        assert row["reached"] == pytest.approx(row["computed"], abs=0.015) and row["reached"] > 0.78


BAD = {
    "a value that is text": (lambda: significance.p_value("1", None), "value must be a number"),
    "NaN": (lambda: significance.p_value(math.nan, None), "value must be a number"),
    "no interval": (lambda: significance.p_value(1.0, (0, 2)), "interval must be an Interval or None"),
    "no differences": (lambda: significance.sign_flip([]), "values must be finite numbers"),
    "infinite": (lambda: significance.sign_flip([math.inf]), "values must be finite numbers"),
    "percent": (lambda: significance.holm([5.0]), "p_values must be in"),
    "p that is NaN": (lambda: significance.holm([math.nan]), "p_values must be in"),
    "one p": (lambda: significance.holm(0.5), "p_values must be p-values"),
    "no difference": (lambda: significance.pairs_needed(1.0, 0.0), "difference must be a number above 0"),
    "negative": (lambda: significance.pairs_needed(-1.0, 1.0), "std must be a number of at least 0"),
    "certain": (lambda: significance.pairs_needed(1.0, 1.0, power=1.0), "power must be between 0 and 1"),
    "level": (lambda: significance.pairs_needed(1.0, 1.0, level=0.0), "level must be between 0 and 1"),
    "one pair": (lambda: significance.power_of(1, std=1.0, difference=1.0), "pairs must be at least 2"),
    "std of 0": (lambda: significance.power_of(5, std=0.0, difference=1.0), "std must be a number above 0"),
}


@pytest.mark.parametrize("case", BAD)
def test_arguments_that_cannot_be_used_are_named(case):
    call, message = BAD[case]
    with pytest.raises(UsageError, match=message):
        call()


@pytest.mark.slow
def test_importing_it_needs_neither_numpy_nor_scipy():
    check = "import sys; from randhead import significance; assert not {'numpy', 'scipy'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", check], check=True)
