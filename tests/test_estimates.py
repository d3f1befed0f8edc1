"""Means over runs whose seeds are crossed, one-to-one or incomplete, against the intervals of each design."""

import numpy as np
import pytest
from tiny import config

from randhead import intervals
from randhead.evaluation import comparison
from randhead.evaluation.estimates import estimate, seed_design

RANDOM = np.random.default_rng(0)


def same(found, expected):
    ends = pytest.approx((expected.low, expected.high))
    return (found.low, found.high) == ends and found.method == expected.method


def grid(heads, trains):
    """Every head seed with every seed, in an order that is no grid's."""
    pairs = [(h, s) for h in range(heads) for s in range(trains)]
    return [pairs[i] for i in RANDOM.permutation(len(pairs))]


def test_runs_that_share_no_seed_are_independent():
    values = RANDOM.normal(size=5).tolist()
    found = estimate(values, [(i, 7 + i) for i in range(5)])
    assert (found.value, found.n, found.interval.method) == (pytest.approx(np.mean(values)), 5, "student")
    expected = intervals.student(values)
    assert same(found.interval, expected) and same(estimate(values).interval, expected)
    assert seed_design([(i, i) for i in range(5)]).note() is None


@pytest.mark.parametrize(("heads", "trains"), [(2, 2), (3, 3), (4, 2), (3, 5)])
def test_a_grid_of_seeds_has_the_interval_of_two_way_random_effects(heads, trains):
    keys, table = grid(heads, trains), RANDOM.normal(size=(heads, trains))
    found = estimate([table[key] for key in keys], keys)
    assert (found.value, found.n, found.interval.method) == (pytest.approx(table.mean()), heads * trains, "crossed")
    assert same(found.interval, intervals.crossed(table))
    note = seed_design(keys).note()
    assert f"{heads} head seeds x {trains} seeds" in note
    assert ("unreliable" in note) == (min(heads, trains) < 3)


@pytest.mark.parametrize(
    ("missing", "left"),
    [([(2, 1)], (4, 5)), ([(2, 1), (2, 3)], (4, 5)), ([(0, 0), (1, 1)], (4, 4)), ([(h, 4) for h in range(4)], (5, 4))],
)
def test_a_grid_with_missing_runs_has_the_mean_of_all_and_the_width_of_a_complete_one_within(missing, left):
    keys = [key for key in grid(5, 5) if key not in missing]
    table = RANDOM.normal(size=(5, 5))
    found, of = estimate([table[key] for key in keys], keys), seed_design(keys)
    assert (len(of.heads), len(of.trains)) == left
    assert not {(h, s) for h in of.heads for s in of.trains} & set(missing)
    within = table[np.ix_(of.heads, of.trains)]
    values = [table[key] for key in keys]
    assert (found.value, found.n, found.std) == pytest.approx((np.mean(values), len(keys), np.std(values, ddof=1)))
    width = intervals.crossed(within)
    assert found.interval.high - found.value == pytest.approx(width.high - within.mean())
    assert found.interval.high + found.interval.low == pytest.approx(2 * found.value)
    assert f"width of {within.size} of {len(keys)} runs" in of.note()


def test_a_run_too_many_for_a_grid_counts_in_the_mean():
    keys = [*grid(3, 3), (9, 0)]
    assert seed_design(keys).heads == (0, 1, 2)
    assert estimate([*np.zeros(9), 5.0], keys).value == 0.5
    l_shaped = [(0, 0), (0, 1), (1, 0)]
    found = estimate([0.25, 0.5, 0.5], l_shaped)
    assert (found.value, found.n, found.interval.method) == (pytest.approx(1.25 / 3), 3, "student")
    assert "width is that of 2 of 3 runs" in seed_design(l_shaped).note()


@pytest.mark.parametrize(
    "keys", [[(0, 0), (0, 1), (1, 1), (1, 2), (2, 2)], [(i, (i + k) % 4) for i in range(4) for k in (0, 1)]]
)
def test_where_less_than_half_of_the_runs_are_a_complete_grid_there_is_no_interval(keys):
    values = RANDOM.normal(size=len(keys)).tolist()
    found = estimate(values, keys)
    assert (found.value, found.n, found.interval) == (pytest.approx(np.mean(values)), len(keys), None)
    assert f"no intervals: of {len(keys)} runs, only 2" in seed_design(keys).note()


@pytest.mark.parametrize("keys", [[(0, 0), (1, 1), (2, 2)], [(0, 0), (0, 1), (1, 0), (1, 1)], [(0, 0), (0, 1)]])
def test_equal_values_have_no_interval(keys):
    found = estimate([0.1 + 0.2, *[0.3] * (len(keys) - 1)], keys)
    assert (found.value, found.interval, found.n) == (pytest.approx(0.3), None, len(keys))
    assert found.to_json("mean")["interval"] is found.to_json("mean")["method"] is None


def test_one_seed_for_all_runs_is_said_not_to_be_in_the_interval():
    values = [0.1, 0.2, 0.4]
    for keys, word in (([(0, s) for s in range(3)], "head seed 0"), ([(h, 4) for h in range(3)], "seed 4")):
        assert same(estimate(values, keys).interval, intervals.student(values))
        assert f"all runs have {word}: intervals leave out the effect" in seed_design(keys).note()


def test_runs_nested_in_their_head_seeds_are_groups():
    keys = [(h, 10 * h + s) for h in range(3) for s in range(4)]
    values = RANDOM.normal(size=12) + np.repeat([0, 5, 9], 4)
    found = estimate(values, keys)
    assert same(found.interval, intervals.student(values.reshape(3, 4).mean(axis=1)))
    assert "3 groups of runs" in seed_design(keys).note()


def test_runs_with_equal_seeds_count_as_one():
    found = estimate([1.0, 3.0, 4.0], [(0, 0), (0, 0), (1, 1)])
    assert (found.value, found.n) == (3.0, 2)
    assert estimate([1.0, 3.0], [(0, 0), (0, 0)]).interval is None
    assert seed_design([(0, 0), (0, 0)]).note() is None


def test_means_and_paired_differences_of_a_grid_are_crossed():
    """The effects of the seeds differ between the arms, so differences have effects of rows and columns too."""
    keys = grid(3, 3)
    configs = [config(head__trainable=arm, train__head_seed=h, train__seed=s) for arm in (True, False) for h, s in keys]
    ours, theirs = RANDOM.normal(size=(2, 3, 3))
    figures = [{"x": float(table[key])} for table in (ours, theirs) for key in keys]
    found = comparison.compare(configs, figures)
    [difference] = found.differences
    assert same(difference.metrics["x"].interval, intervals.crossed(theirs - ours))
    assert same(found.arms[1].metrics["x"].interval, intervals.crossed(theirs))
    assert found.to_json()["differences"][0]["figures"]["x"]["method"] == "crossed"
    assert [note for note in found.notes if "3 head seeds x 3 seeds" in note] == list(found.notes) != []
    assert len(found.notes) == 1


def test_the_interval_of_an_accuracy_over_two_seeds_has_no_impossible_value():
    runs = [config(head__trainable=learned, train__seed=seed) for learned in (False, True) for seed in (0, 1)]
    values = [{"accuracy": value, "angle": value} for value in (0.2, 0.9, 0.8, 0.1)]
    found = comparison.with_images(comparison.compare(runs, values), "accuracy", lambda i: None, lambda i, j: None)
    [difference] = found.differences
    ends = [each.metrics["accuracy"].interval for each in (*found.arms, difference)]
    assert [(one.low, one.high) for one in ends] == [(0.0, 1.0), (0.0, 1.0), (-1.0, 1.0)]
    assert difference.metrics["angle"].interval.high > 1
