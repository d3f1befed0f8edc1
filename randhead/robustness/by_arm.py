"""Accuracies of several runs under corruptions, by arm: means, and differences from a baseline, paired by seed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from randhead.evaluation import analysis_tables, comparison
from randhead.evaluation.comparison import Comparison
from randhead.intervals import Interval
from randhead.robustness.accumulator import Accumulator
from randhead.robustness.comparison import interval, scores
from randhead.robustness.grid_metrics import MEAN, accuracy_interval, mean_label, mean_over
from randhead.robustness.settings import CLEAN, Grid
from randhead.runs import LoadedRun
from randhead.tables import ARROWS, Metric, Table, rows


@dataclass(frozen=True)
class ArmComparison:
    """The comparison of accuracies ("clean", "mean" over the benchmark, and each corruption).

    Attributes:
        found: the comparison.
        mean_over: the corruptions and severities of the mean, in words.
        runs: the names of the runs, to which the arms refer by index.
    """

    found: Comparison
    mean_over: str
    runs: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The document."""
        return {"runs": list(self.runs), **self.found.to_json(), "mean_over": self.mean_over}

    def metrics(self, labels: dict[str, str]) -> dict[str, Metric]:
        """How the accuracies are shown, with the labels of corruptions."""
        known = {CLEAN: "clean images", MEAN: mean_label(self.mean_over), **labels}
        return {name: Metric(label, better="higher", unit="%") for name, label in known.items()}

    def tables(self, title: str, labels: dict[str, str]) -> Iterator[Table]:
        """The accuracies of each arm, and their differences.

        Args:
            title: what was tested.
            labels: how the corruptions are shown.
        """
        parts = [(self.found, self.metrics(labels))]
        yield _without_units(analysis_tables.means(f"{title}: accuracy in percent", parts))
        for table in analysis_tables.differences(parts):
            yield _without_units(replace(table, title=f"{table.title}, in percentage points"))
        if self.found.notes:
            yield Table("", (), (), self.found.notes)


def compare_arms(
    runs: Sequence[LoadedRun], cells: Sequence[Accumulator], grid: Grid, *, baseline: int
) -> ArmComparison:
    """Compare runs by arm; a single run, or pair of runs, has its intervals over images.

    Args:
        runs: the runs.
        cells: the results of each, on the same images.
        grid: the cells to compare.
        baseline: index of a run of the arm that is subtracted from the others.
    """
    each = [scores(accumulator, grid) for accumulator in cells]
    values = [{name: float(score.mean()) for name, score in found.items()} for found in each]
    found = comparison.compare([run.config for run in runs], values, baseline=baseline)
    for name in each[0]:

        def of_run(i: int, name: str = name) -> Interval:
            return accuracy_interval(each[i][name])

        def of_pair(i: int, j: int, name: str = name) -> Interval:
            return interval(each[j][name] - each[i][name])

        found = comparison.with_images(found, name, of_run, of_pair)
    return ArmComparison(found, mean_over(grid), tuple(run.run.name for run in runs))


def _without_units(table: Table) -> Table:
    """A table whose title says the unit, without it and the arrow in every row."""
    unit = Metric("", better="higher", unit="%").title
    cells = ([str(name).removesuffix(f" {unit}"), *rest] for name, *rest in table.rows)
    return replace(table, rows=rows(cells), notes=tuple(note for note in table.notes if note != ARROWS))
