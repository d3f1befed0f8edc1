"""The tables of a corruption report."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace

from randhead import corruptions
from randhead.robustness.comparison import Comparison, Difference
from randhead.robustness.grid_metrics import MEAN, GridMetrics, mean_label
from randhead.robustness.metrics import benchmark
from randhead.robustness.per_class import ClassAccuracy
from randhead.robustness.results import CorruptionReport, ReleasedMetrics, display_groups, display_name
from randhead.tables import Cell, Table, count, percent, rows

WORST = 5  # classes in the table; the document has all


def of_report(report: CorruptionReport) -> Iterator[Table]:
    """The tables of one run."""
    yield errors(report)
    yield means(report)
    if report.compared_with:
        yield comparison(report.compared_with, report.frost)
    yield from _requested(report)


def of_reports(report: CorruptionReport) -> Iterator[Table]:
    """The tables of several runs: by arm, and what was requested in addition of each run."""
    if report.by_arm:
        first, *more = report.by_arm.tables(f"{report.split} split of {report.data}", report.labels)
        over = report.grid.mean_accuracy is not None and f"the mean is over {_covered(report.grid.mean_over)}"
        yield replace(first, notes=(*first.notes, *([over] if over else []), *_settings(report)))
        yield from more
        if len(report.by_arm.found.arms) == 1 and len(report.others) == 1:
            yield from (comparison(each.compared_with, report.frost) for each in report.others if each.compared_with)
    for each in (report, *report.others):
        yield from (replace(table, title=f"{each.run}: {table.title}") for table in _requested(each))


def _requested(report: CorruptionReport) -> Iterator[Table]:
    if report.released:
        yield released(report.released, report)
    if report.per_class:
        yield from hardest_classes(report.per_class)


def errors(report: CorruptionReport) -> Table:
    """Errors by corruption and severity."""
    severities = report.grid.severities
    body: list[list[Cell]] = [["clean", *[None] * len(severities), _points(report.clean.error)]]
    for name, row in report.grid.cells.items():
        cells = [_points(row[s].error) if s in row else None for s in severities]
        body.append([display_name(name, report.frost), *cells, _points(_mean(report.grid.errors[name]))])
    every = [cell for row in report.grid.cells.values() for cell in row.values()]
    reach = max(cell.interval.reach(cell.accuracy) for cell in every)
    return Table(
        f"{report.run}: {report.split} split of {report.data}",
        ("error in percent, by severity", *map(str, severities), "mean"),
        rows(body),
        (
            f"95 % intervals of single cells (Wilson): at most ±{100 * reach:.2f} points",
            *_settings(report),
        ),
    )


def _settings(report: CorruptionReport) -> Iterator[str]:
    """What was tested, and how, in sentences."""
    images = report.images.replace(", seed ", ", chosen with seed ")  # the document keeps its words
    frost = f"; frost: {report.frost} pictures" if report.frost else ""
    yield f"{images}; severity parameters for {report.parameters} px; corruption seed {report.seed}{frost}"
    yield from (note for note in (report.parameters_note, report.saved) if note)


def means(report: CorruptionReport) -> Table:
    """Accuracy on clean images, by group, and as the mean over the benchmark."""
    grid, clean = report.grid, report.clean
    body: list[list[Cell]] = [["clean images", percent(clean.accuracy), clean.interval.percent(), ""]]
    for group, members in display_groups(grid.cells).items():
        means = [_mean(grid.errors[name]) for name in members if name in grid.cells]
        if means:
            own = any(name in grid.cells for name in corruptions.groups().get(group, ()) if name not in members)
            known = None if own else grid.intervals.get(group)  # with the user's own, it is of another mean
            accuracy = percent(1 - _mean(means))
            body.append([group, accuracy, known.percent() if known else "", f"{len(means)} of {len(members)}"])
    if grid.mean_accuracy is not None:
        covered = _covered(grid.mean_over).replace(" corruptions", "")
        label = mean_label(grid.mean_over)
        body.append([label, percent(grid.mean_accuracy), grid.intervals[MEAN].percent(), covered])
    for key, title in (("mce", "mCE"), ("relative_mce", "relative mCE")):
        if grid.imagenet:
            body.append([title, f"{grid.imagenet[key]:.2f}", "", "percent of AlexNet's errors"])
    return Table("accuracy", ("", "accuracy", "95 % interval", "corruptions"), rows(body), tuple(_notes(grid)))


def _notes(grid: GridMetrics) -> Iterator[str]:
    if grid.mean_accuracy is not None and any(name not in benchmark() for name in grid.cells):
        yield "only the benchmark's 15 corruptions enter the mean: none that is marked (extra) or (own)"


def comparison(found: Comparison, frost: str | None) -> Table:
    """Differences from the baseline."""
    body = [_difference("clean images", found.accuracy)]
    if found.mean_corruption_accuracy:
        mean = _difference(mean_label(found.mean_over), found.mean_corruption_accuracy)
        body.append([*mean[:3], _percents(_share(found.mean_ce)), _percents(_share(found.mean_relative_ce))])
    for name, row in found.corruptions.items():
        label = display_name(name, frost)
        body.append([*_difference(label, row)[:3], _percents(row.ce), _percents(row.relative_ce)])
    table = Table(
        f"difference to {found.run}",
        ("accuracy in percentage points", "difference", "95 % interval", "CE", "relative CE"),
        rows(body),
        (f"interval: {found.interval}",),
    ).without_empty_columns()
    meanings = {
        "CE": f"ratio of the errors to those of {found.run}, in percent",
        "relative CE": "ratio of the increases in error over clean images, in percent",
    }
    return replace(table, notes=(*table.notes, *(f"{c}: {meanings[c]}" for c in table.columns if c in meanings)))


def _difference(label: str, row: Difference) -> list[Cell]:
    difference, low, high = (100 * value for value in (row.difference, row.low, row.high))
    return [label, f"{difference:+.2f}", f"{low:+6.2f} to {high:+6.2f}", None, None]


def released(found: ReleasedMetrics, report: CorruptionReport) -> Table:
    """Errors on a released set beside those on the images that randhead corrupts."""
    body: list[list[Cell]] = []
    for name, row in found.grid.cells.items():
        generated = report.grid.cells.get(name, {})
        same = [generated[severity].error for severity in row if severity in generated]
        label = display_name(name, report.frost)
        body.append([label, _points(_mean(found.grid.errors[name])), _points(_mean(same)) if same else None])
    totals = [None if grid.mean_accuracy is None else 1 - grid.mean_accuracy for grid in (found.grid, report.grid)]
    same_mean = found.grid.mean_over == report.grid.mean_over
    over = "mean" if same_mean else f"mean over {_covered(found.grid.mean_over)}"
    body.append([over, *(None if total is None else _points(total) for total in totals)])
    return Table(
        f"{found.name}: {count(found.n, 'image')}",
        ("error in percent, mean over severities", "released", "generated"),
        rows(body),
        (found.relation, *found.notes),
    )


def hardest_classes(per_class: Mapping[str, ClassAccuracy]) -> Iterator[Table]:
    """The classes with the lowest accuracy under corruptions; no table if there is no wrong prediction."""
    known = [(row.mean_corruption_accuracy, name) for name, row in per_class.items()]
    imperfect = [(mean, name) for mean, name in known if mean is not None and mean < 1]
    hardest = sorted(imperfect, key=lambda pair: pair[0])[:WORST]
    body: list[list[Cell]] = []
    for mean, name in hardest:
        row = per_class[name]
        worst = min(row.corruptions, key=row.corruptions.__getitem__)
        lowest = f"{worst.replace('_', ' ')} ({percent(row.corruptions[worst])})"
        interval = row.mean_corruption_accuracy_interval
        body.append([name, percent(row.accuracy), percent(mean), interval.percent() if interval else "", lowest])
    columns = ("class", "accuracy, clean", "accuracy, corrupted", "95 % interval", "hardest corruption")
    if body:
        yield Table("hardest classes", columns, rows(body))


def _covered(mean_over: str) -> str:
    """What a mean covers, with the singular that the words of the document lack: "2 of 15 corruptions, severity 3"."""
    return re.sub(r"severities (\d)$", r"severity \1", mean_over)


def _points(share: float) -> str:
    """A share in percent, with one digit after the point."""
    return f"{100 * share:.1f}"


def _percents(share: float | None) -> str | None:
    return None if share is None else f"{100 * share:.1f}"


def _share(value: float | None) -> float | None:
    return None if value is None else value / 100


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
