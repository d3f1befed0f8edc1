"""How often 95 percent intervals hold the truth: of means over seeds, of accuracies, of differences on the same images.

    python examples/benchmarks/intervals.py [--draws 10000]

* seeds: runs of A head seeds x S training seeds whose results are made of an effect of the head seed, one of the
  training seed and the rest, in given shares of the variance; `crossed` of `randhead.intervals` beside Student's t that
  takes all runs as independent.  Simulated; also the median width, relative to the standard deviation of one run.
* accuracy: the Wilson interval beside +- 1.96 standard errors.  Exact, by summing binomial probabilities.
* paired: the interval of the difference of two accuracies on the same images beside a percentile bootstrap over images,
  where a few images are gained and a few are lost.  Exact up to the draws of the bootstrap.
* cells: the mean difference over 75 corruption cells of the same images, where few images differ: `per_image` beside
  a percentile bootstrap over images and Student's t with the degrees of freedom of all images.  Simulated.

Prints tables and writes results/intervals.json beside this file.  Takes about a minute on one core.
"""

import argparse
import datetime
import json
import platform
from functools import cache
from importlib.metadata import version
from pathlib import Path

import numpy as np
from scipy import stats

from randhead import intervals

RESULTS = Path(__file__).parent / "results" / "intervals.json"
GRIDS = ((2, 2), (3, 3), (5, 5), (10, 2), (3, 10), (5, 1))  # 5 x 1: one-to-one seeds
SHARES = ((60, 20, 20), (20, 60, 20), (45, 45, 10), (90, 5, 5), (20, 20, 60), (0, 0, 100))  # head, training, rest
ACCURACIES = ((100, 0.9), (100, 0.99), (359, 0.97), (359, 0.99), (1000, 0.999), (10_000, 0.9), (10_000, 0.9995))
CHANGES = ((1, 1), (3, 3), (10, 10), (6, 0.01), (8, 2), (12, 0.5), (25, 5))  # expected images gained and lost, of 1,000
DIFFERING = (3, 6, 10, 20, 60)  # expected images that differ in some cells, of 500
BOOTSTRAP = 2000  # resamples
GIVEN = ("accuracy", "gained", "lost")  # columns that are no coverage
Z = 1.959963984540054


def seeds(draws: int) -> list[dict]:
    """Coverage of the mean over a grid of seeds, for each grid and each split of the variance."""
    random, found = np.random.default_rng(0), []
    for rows, columns in GRIDS:
        for shares in SHARES if columns > 1 else SHARES[:1]:
            head, train, rest = np.sqrt(np.array(shares) / 100)
            values = rest * random.normal(size=(draws, rows, columns))
            values += head * random.normal(size=(draws, rows, 1))
            # One-to-one: every run has a training seed of its own, as it has a head seed of its own.
            values += train * random.normal(size=(draws, 1, columns) if columns > 1 else (draws, rows, 1))
            flat = values.reshape(draws, -1)
            n = flat.shape[1]
            half = stats.t.ppf(0.975, n - 1) * flat.std(axis=1, ddof=1) / np.sqrt(n)
            new = np.array([(i.low, i.high) for i in map(intervals.crossed, values)])
            found.append(
                {
                    "head seeds": rows,
                    "seeds": columns if columns > 1 else "one each",
                    "shares": list(shares),
                    "independent": float((abs(flat.mean(axis=1)) <= half).mean()),
                    "crossed": float(((new[:, 0] <= 0) & (new[:, 1] >= 0)).mean()),
                    "independent width": float(np.median(2 * half)),
                    "crossed width": float(np.median(new[:, 1] - new[:, 0])),
                }
            )
    return found


def accuracy() -> list[dict]:
    """Coverage of the interval of an accuracy."""
    found = []
    for n, p in ACCURACIES:
        correct = np.arange(n + 1)
        weight, share = stats.binom.pmf(correct, n, p), correct / n
        half = Z * np.sqrt(share * (1 - share) / n)
        new = [intervals.wilson(k, n) for k in correct.tolist()]
        inside = np.array([i.low <= p <= i.high for i in new])
        normal = float(weight @ (abs(share - p) <= half))
        found.append({"n": n, "accuracy": p, "normal": normal, "wilson": float(weight @ inside)})
    return found


@cache
def resampled(gained: int, lost: int, n: int) -> tuple[float, float]:
    """The percentile interval of the difference."""
    draw = np.random.default_rng((gained, lost))
    counts = draw.multinomial(n, [gained / n, lost / n, 1 - (gained + lost) / n], BOOTSTRAP)
    return tuple(np.quantile((counts[:, 0] - counts[:, 1]) / n, [0.025, 0.975]))


def paired(n: int = 1000) -> list[dict]:
    """Coverage of the interval of a difference of accuracies on the same images."""
    found = []
    for a, b in CHANGES:
        truth, held = (a - b) / n, np.zeros(3)
        for changed in range(int(a + b + 8 * np.sqrt(a + b)) + 4):
            for gained in range(changed + 1):
                p = stats.binom.pmf(changed, n, (a + b) / n) * stats.binom.pmf(gained, changed, a / (a + b))
                if p > 1e-7:
                    new, old = intervals.paired(gained, changed - gained, n), resampled(gained, changed - gained, n)
                    held += p * np.array([1, new.low <= truth <= new.high, old[0] <= truth <= old[1]])
        found.append({"n": n, "gained": a, "lost": b, "bootstrap": held[2] / held[0], "mcnemar": held[1] / held[0]})
    return found


def cells(draws: int, n: int = 500, count: int = 75) -> list[dict]:
    """Coverage of the mean difference over cells: an image differs in a share of the cells, always in one direction."""
    random, found = np.random.default_rng(0), []
    for differing in DIFFERING:
        held = np.zeros(3)
        truth = 0.4 * 0.5 * differing / n
        for _ in range(draws):
            sign = np.where(random.random(n) < 0.7, 1, -1) * (random.random(n) < differing / n)
            scores = sign * (random.random((count, n)) < random.random(n)).mean(axis=0)
            means = random.multinomial(n, np.full(n, 1 / n), BOOTSTRAP // 4) @ scores / n
            low, high = np.quantile(means, [0.025, 0.975])
            half = stats.t.ppf(0.975, n - 1) * scores.std(ddof=1) / np.sqrt(n)
            new = intervals.per_image(scores)
            held += [low <= truth <= high, abs(scores.mean() - truth) <= half, new.low <= truth <= new.high]
        kinds = dict(zip(("bootstrap", "t of all", "per_image"), (held / draws).tolist(), strict=True))
        found.append({"images": n, "cells": count, "differ": differing, **kinds})
    return found


def show(rows: list[dict]) -> None:
    """Print a table, coverage in percent."""
    print(*(f"{name:>18}" for name in rows[0]))
    for row in rows:
        print(*(f"{cell(name, value):>18}" for name, value in row.items()))
    print()


def cell(name: str, value: object) -> str:
    """A value as text."""
    if "width" in name:
        return f"{value:.2f}"
    return str(value) if name in GIVEN or not isinstance(value, float) else f"{100 * value:.1f}"


def main() -> None:
    """Simulate, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=10_000)
    draws = parser.parse_args().draws
    found = {"seeds": seeds(draws), "accuracy": accuracy(), "paired": paired(), "cells": cells(draws // 10)}
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
