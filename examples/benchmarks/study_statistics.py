"""What the statistics of `randhead study` are worth: coverage, false findings and power in simulated studies.

    python examples/benchmarks/study_statistics.py [--draws 10000]

* pairs: n independent paired differences with mean 0: how often the interval of their mean holds 0 (p < 0.05 in all
  others), and how often the p-value of the exact sign-flip test is at most 0.0625, 0.125, 0.25 and 0.5, beside the
  shares that an exact test has: p has steps of 2 / 2^n.  Differences are normal, heavy-tailed (t with 3 degrees of
  freedom), skewed (exponential, minus 1) or normal with a standard deviation of two images of 10,000, and rounded to
  images, in which equal ones have no interval.  Skewed ones break what both tests suppose: if two arms are the same,
  a difference is as often above 0 as below, by as much.
* crossed: differences of two arms on A head seeds x S training seeds, made of an effect of the head seed, one of the
  training seed and the rest, in given shares of the variance: coverage of `crossed`, beside Student's t that takes all
  pairs as independent.
* arms: three arms and one control of n runs each: how often at least one arm that equals the control is found to
  differ, without correction and with Holm's, of the p-values of t and of sign flips.  "one differs": the third arm is
  2 standard deviations better, and only the other two count.
* power: pairs that `pairs_needed` asks for, and how often that many find the difference; the same planned from the
  standard deviation of 5 pairs, which is what a small study knows.

Prints tables and writes results/study_statistics.json beside this file.  Takes about a minute on one core.
"""

import argparse
import datetime
import json
import math
import platform
from importlib.metadata import version
from pathlib import Path

import numpy as np
from scipy import stats

from randhead import intervals, significance
from randhead.evaluation import estimates

RESULTS = Path(__file__).parent / "results" / "study_statistics.json"
PAIRS = (3, 5, 10, 20)
DISTRIBUTIONS = ("normal", "heavy-tailed", "skewed", "rounded")
STEPS = (0.0625, 0.125, 0.25, 0.5)
GRIDS = ((3, 3), (5, 5), (3, 5))
SHARES = ((60, 20, 20), (20, 60, 20), (45, 45, 10), (20, 20, 60), (0, 0, 100))  # head seed, training seed, rest
DEVIATIONS = (0.5, 1.0, 2.0, 2.6, 5.0)  # of the differences, in units of the difference that is to be seen
PILOT = 5  # pairs


def differences(distribution: str, random: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Differences of accuracies with mean 0."""
    if distribution == "heavy-tailed":
        return 0.01 * random.standard_t(3, shape)
    if distribution == "skewed":
        return 0.01 * (random.exponential(size=shape) - 1)
    values = random.normal(size=shape)
    return np.round(2 * values) / 10_000 if distribution == "rounded" else 0.01 * values


def exact(step: float, n: int) -> float:
    """The share of studies in which an exact sign-flip test without ties has a p-value of at most `step`."""
    return math.floor(step * 2 ** (n - 1)) / 2 ** (n - 1)


def pairs(draws: int) -> list[dict]:
    """Coverage and false findings of n independent pairs."""
    random, found = np.random.default_rng(0), []
    for distribution in DISTRIBUTIONS:
        for n in PAIRS:
            values = differences(distribution, random, (draws, n))
            means = [estimates.estimate(row) for row in values.tolist()]
            known = [one for one in means if one.interval]
            inside = np.array([one.interval.low <= 0 <= one.interval.high for one in known])
            p = np.array([significance.p_value(one.value, one.interval) for one in known])
            assert ((p >= 0.05) == inside).all()
            row = {
                "differences": distribution,
                "pairs": n,
                "student": inside.mean(),
                "no interval": 1 - len(known) / draws,
            }
            flips = [significance.sign_flip(one) for one in values] if n <= significance.MOST_FLIPPED else None
            for step in STEPS:
                row[f"flip <= {step}"] = flips and float(np.mean(np.array(flips) <= step))
                row[f"exact {step}"] = flips and exact(step, n)
            found.append(row)
    return found


def crossed(draws: int) -> list[dict]:
    """Coverage of the mean over a grid of seeds."""
    random, found = np.random.default_rng(1), []
    for rows, columns in GRIDS:
        for shares in SHARES:
            head, train, rest = 0.01 * np.sqrt(np.array(shares) / 100)
            values = rest * random.normal(size=(draws, rows, columns))
            values += head * random.normal(size=(draws, rows, 1)) + train * random.normal(size=(draws, 1, columns))
            inside = []
            for grid in values:
                interval = intervals.crossed(grid)
                inside.append(interval.low <= 0 <= interval.high)
                assert (significance.p_value(grid.mean(), interval) >= 0.05) == inside[-1]
            alone = t_tests(values.reshape(draws, -1)) >= 0.05
            seeds = {"head seeds": rows, "seeds": columns, "shares": "/".join(map(str, shares))}
            found.append({**seeds, "independent": alone.mean(), "crossed": np.mean(inside)})
    return found


def arms(draws: int) -> list[dict]:
    """How often at least one of three arms is found to differ from the control that it equals."""
    random, found = np.random.default_rng(2), []
    for better in (0, 2):
        for n in PAIRS:
            runs = random.normal(size=(4, draws, n))
            runs[3] += better
            values = runs[1:] - runs[0]
            equal = slice(None) if not better else slice(2)
            row = {"arms": "one differs" if better else "all equal", "pairs": n}
            for name, test in (("t", t_tests), ("flip", sign_flips)):
                row |= {name: None, f"{name}, Holm": None}
                if test is sign_flips and n > significance.MOST_FLIPPED:
                    continue
                p = np.array([*map(test, values)]).T
                corrected = np.array([significance.holm(one) for one in p])
                row[name] = (p[:, equal].min(axis=1) < 0.05).mean()
                row[f"{name}, Holm"] = (corrected[:, equal].min(axis=1) < 0.05).mean()
            found.append(row)
    return found


def power(draws: int) -> list[dict]:
    """How often the pairs that are needed find the difference."""
    random, found = np.random.default_rng(3), []
    for std in DEVIATIONS:
        n = significance.pairs_needed(std, 1.0)
        reached = (t_tests(random.normal(1, std, (draws, n))) < 0.05).mean()
        pilots = random.normal(1, std, (draws // 10, PILOT)).std(axis=1, ddof=1)
        planned = [significance.pairs_needed(float(one), 1.0) for one in pilots]
        after = [significance.power_of(count, std=std, difference=1.0) for count in planned]
        found.append(
            {
                "std / difference": std,
                "pairs needed": n,
                "computed": significance.power_of(n, std=std, difference=1.0),
                "reached": reached,
                "pairs, 5 % to 95 % of pilots": "{:.0f} to {:.0f}".format(*np.quantile(planned, [0.05, 0.95])),
                "mean power after a pilot": np.mean(after),
            }
        )
    return found


def t_tests(values: np.ndarray) -> np.ndarray:
    """The p-value of the t test of each row."""
    return stats.ttest_1samp(values, 0, axis=1).pvalue


def sign_flips(values: np.ndarray) -> np.ndarray:
    """The p-value of the sign-flip test of each row."""
    return np.array([significance.sign_flip(row) for row in values])


def show(rows: list[dict]) -> None:
    """Print a table, shares in percent."""
    widths = {name: max(len(name), *(len(cell(name, row[name])) for row in rows)) for name in rows[0]}
    print("  ".join(f"{name:>{width}}" for name, width in widths.items()))
    for row in rows:
        print("  ".join(f"{cell(name, row[name]):>{width}}" for name, width in widths.items()))
    print()


def cell(name: str, value: object) -> str:
    """A value as text."""
    if value is None:
        return "-"
    return f"{100 * value:.1f}" if isinstance(value, float) and name != "std / difference" else str(value)


def main() -> None:
    """Simulate, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=10_000)
    draws = parser.parse_args().draws
    found = {"pairs": pairs(draws), "crossed": crossed(draws), "arms": arms(draws), "power": power(draws)}
    for rows in found.values():
        show(rows)
    packages = ("randhead", "numpy", "scipy")
    head = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "versions": {"python": platform.python_version()} | {name: version(name) for name in packages},
        "draws": draws,
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(head | found, indent=1) + "\n")


if __name__ == "__main__":
    main()
