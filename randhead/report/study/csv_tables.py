"""The result of studies as CSV: one line per arm and metric, and one per run and metric.

Every number is exact, and in the unit that its line names: an accuracy is a share, not in percent as in tables.
"""

from collections.abc import Iterable, Iterator, Sequence

from randhead.escapes import csv_text
from randhead.report.exports import numbers
from randhead.study import metrics
from randhead.study.differences import Difference
from randhead.study.records import RunRecord
from randhead.study.result import StudyResult
from randhead.tables import Metric

OF_DIFFERENCE = (
    *("minus", "pairs", "difference", "difference_std", "difference_low", "difference_high", "difference_method"),
    *("p", "holm_p", "sign_flip_p", "pairs_needed"),
)
ARM_COLUMNS = (
    *("study", "arm", "metric", "name", "better", "unit", "runs", "diverged", "n"),
    *("mean", "std", "low", "high", "method", *OF_DIFFERENCE),
)
RUN_COLUMNS = (
    *("study", "run", "arm", "head_seed", "seed", "reported", "tuned", "device", "seconds", "diverged", "split"),
    *("metric", "name", "better", "unit", "value"),
)

SPLITS = {"train_loss": "train", "epochs": "val", "converged": "val"}  # where a metric is measured; else on test

Line = tuple[object, ...]


def arms_csv(results: Sequence[StudyResult]) -> str:
    """Means of every arm with their intervals, and differences from the control with theirs and their tests."""
    return csv_text([ARM_COLUMNS, *(line for result in results for line in _arm_lines(result))])


def runs_csv(results: Sequence[StudyResult]) -> str:
    """Every metric of every run with the name of the run folder, and the runs of the sweep, which are not reported."""
    return csv_text([RUN_COLUMNS, *(line for result in results for line in _run_lines(result))])


def _arm_lines(result: StudyResult) -> Iterator[Line]:
    differences = {(each.first, each.metric): each for each in result.differences}
    for arm in result.arms:
        for key, mean in arm.means.items():
            about = metrics.about(key)
            head = (result.study.name, arm.name, key, about.name, about.better, _unit(about))
            counts = (len(arm.records), arm.diverged, mean.n)
            yield (*head, *counts, *numbers(mean), *_of_difference(differences.get((arm.name, key))))


def _of_difference(found: Difference | None) -> Iterable[object]:
    """The columns of a difference, empty for the control."""
    if found is None or found.estimate is None:
        return ("",) * len(OF_DIFFERENCE)
    tests = (found.p, found.holm_p, found.sign_flip_p, found.pairs_needed)
    return (found.second, found.n, *numbers(found.estimate), *("" if each is None else each for each in tests))


def _run_lines(result: StudyResult) -> Iterator[Line]:
    for record in (*result.records, *result.sweep):
        head = _head(result.study.name, record)
        values = [(SPLITS.get(key, "test"), key, value) for key, value in record.metrics.items()]
        values += [("val", key, value) for key, value in record.val.items()]
        for split, key, value in values:
            about = metrics.METRICS.get(key)
            shown = (about.name, about.better, _unit(about)) if about else (key, "", "")
            yield (*head, split, key, *shown, "" if value is None else value)
        if not values:  # of a run that diverged, which has a line nevertheless
            yield (*head, *("",) * 6)


def _unit(about: Metric) -> str:
    return "share" if about.unit == "%" else about.unit


def _head(study: str, record: RunRecord) -> Line:
    tuned = " ".join(f"{key}={value}" for key, value in record.tuned.items())
    device = record.environment.get("device", "")
    reported = "no" if record.tuning else "yes"
    seeds = (record.head_seed, record.seed)
    return (study, record.run, record.arm, *seeds, reported, tuned, device, record.seconds, record.diverged)
