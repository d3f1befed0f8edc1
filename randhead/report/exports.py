"""Results as files for other programs: values of runs and of arms as CSV, tables as LaTeX (booktabs)."""

import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

from randhead.analyses import Metrics
from randhead.escapes import csv_text, latex, markdown
from randhead.evaluation import accuracy
from randhead.evaluation.analysis import Analysis
from randhead.evaluation.comparison import ArmMeans, Comparison, arm_labels
from randhead.evaluation.estimates import Estimate
from randhead.evaluation.measuring import metric
from randhead.files import atomic_write, write_json
from randhead.robustness import CorruptionReport
from randhead.runs import Run
from randhead.tables import Cell, Metric, Table, shown

RUN_COLUMNS = ("run", "arm", "head_seed", "seed", "split", "analysis", "metric", "name", "better", "value")
ARM_COLUMNS = (
    *("split", "analysis", "metric", "name", "better", "arm", "runs", "mean", "std", "low", "high", "method"),
    *("minus", "pairs", "difference", "difference_std", "difference_low", "difference_high", "difference_method"),
)
TESTED = ("data", "split", "n", "images", "seed", "parameters", "frost")  # of the document of a corruption report
NUMBER = r"[+-]?\d[\d.]*(?:e[+-]?\d+)?"
UNIT = "(?:points|deg|nats)"
NUMBERS = re.compile(
    rf"{NUMBER}(?: \({NUMBER}\))?(?: %| {UNIT})?(?: \[{NUMBER} to {NUMBER}\])?(?: to {NUMBER})?(?: %| {UNIT})?"
    r"(?: \(n = \d+\))?"
)
CODE = re.compile(r"`([^`]+)`")
SYMBOLS = {"\u2191": r"$\uparrow$", "\u2193": r"$\downarrow$", "\u00b2": "$^2$"}


def write(analysis: Analysis, run: Run) -> list[Path]:
    """Write the values of runs and arms and the tables beside the document of an analysis.  Returns the paths."""
    path = analysis.path(run)
    files = {path.with_suffix(".csv"): runs_csv(analysis), path.with_suffix(".tex"): latex_tables(analysis.tables())}
    if len(analysis.members) > 1:
        files[path.with_name(f"{path.stem}-arms.csv")] = arms_csv(analysis)
    for place, text in files.items():
        atomic_write(place, text)
    return list(files)


def write_comparison(report: CorruptionReport) -> list[Path]:
    """Write the comparison of several runs under corruptions, as a document, by arm and as tables.  Returns the paths.

    The files lie in the reports of the first run.  A report of one run has none.
    """
    if report.by_arm is None:
        return []
    stem, document = report.folder.reports / "corrupt-test-arms", report.document()
    about, found = report.by_arm.metrics(report.labels), report.by_arm.found
    lines = [ARM_COLUMNS, *_arm_lines(report.split, "corruptions", found, about.__getitem__)]
    paths = [stem.with_suffix(ending) for ending in (".json", ".csv", ".tex")]
    write_json(paths[0], {key: document[key] for key in TESTED} | report.by_arm.to_json())
    atomic_write(paths[1], csv_text(lines))
    atomic_write(paths[2], latex_tables(report.tables()))
    return paths


def runs_csv(analysis: Analysis) -> str:
    """One line per run and metric, with exact values; shares are not in percent."""
    configs = [member.loaded.config for member in analysis.members]
    labels = arm_labels(configs)
    split = analysis.options.split
    lines: list[tuple[object, ...]] = [RUN_COLUMNS]
    for i, (member, found) in enumerate(zip(analysis.members, analysis.each, strict=True)):
        seeds = configs[i].train
        head = (member.name, labels[i], seeds.head_seed, seeds.seed, split)
        each: dict[str, Metrics] = {name: measured.findings.metrics for name, measured in found.items()}
        if analysis.accuracies:
            own: Metrics = {accuracy.NAME: analysis.accuracies[i].value}
            each = {accuracy.NAME: own} | each
        for name, metrics in each.items():
            for key, value in metrics.items():
                about = _about(name, key, split)
                lines.append((*head, name, key, about.name, about.better, "" if value is None else value))
    return csv_text(lines)


def arms_csv(analysis: Analysis) -> str:
    """One line per arm and metric: the mean with its interval, and the difference from the baseline with its own."""
    split = analysis.options.split
    lines: list[tuple[object, ...]] = [ARM_COLUMNS]
    for name, found in analysis.all_comparisons.items():
        lines += _arm_lines(split, name, found, partial(_about, name, split=split))
    return csv_text(lines)


def latex_tables(tables: Iterable[Table]) -> str:
    """Tables as LaTeX, which needs the package booktabs."""
    found = [table for table in tables if table.rows]
    return "% \\usepackage{booktabs}\n\n" + "\n".join(_latex(table, i) for i, table in enumerate(found, 1))


def markdown_table(table: Table, *, level: int) -> list[str]:
    """Lines of a table as Markdown: its title as a heading of a level, the table, and its notes as a list."""
    lines = [f"{'#' * level} {markdown(table.title)}", ""] if table.title else []
    if table.rows:
        marks = ["---:" if table.is_numeric(i) else "---" for i in range(len(table.columns))]
        for cells in (map(markdown, table.columns), marks, *(map(_markdown_cell, row) for row in table.rows)):
            lines.append(f"| {' | '.join(cells)} |")
        lines.append("")
    notes = [f"- {markdown(note)}" for note in table.notes]
    return [*lines, *notes, ""] if notes else lines


def _markdown_cell(value: Cell) -> str:
    text = shown(value)
    return text if NUMBERS.fullmatch(text) else markdown(text)


def _arm_lines(
    split: str, name: str, found: Comparison, about: Callable[[str], Metric]
) -> Iterator[tuple[object, ...]]:
    """The lines of one comparison, whose metrics are shown as `about` says."""
    for arm in found.arms:
        for key, mean in arm.metrics.items():
            head = (split, name, key, about(key).name, about(key).better, arm.arm.label, mean.n)
            yield (*head, *numbers(mean), *_difference(found, arm, key))


def _about(name: str, key: str, split: str) -> Metric:
    return accuracy.metric(split) if name == accuracy.NAME else metric(name, key)


def numbers(found: Estimate) -> Iterator[object]:
    """The columns mean, std, low, high and method of an estimate; empty for what is missing."""
    ends = found.interval
    limits = (ends.low, ends.high, ends.method) if ends else (None, None, None)
    return ("" if value is None else value for value in (found.value, found.std, *limits))


def _difference(found: Comparison, arm: ArmMeans, key: str) -> tuple[object, ...]:
    """The columns of a difference, empty for the baseline."""
    for difference in found.differences:
        if difference.arm == arm.arm and key in difference.metrics:
            one = difference.metrics[key]
            return (difference.minus.label, one.n, *numbers(one))
    return ("",) * 7


def _latex(table: Table, number: int) -> str:
    """One table, with its title as caption, a label, and its notes below."""
    aligned = "".join("r" if table.is_numeric(i) else "l" for i in range(len(table.columns)))
    notes = [rf"\par\footnotesize {_cell(note)}" for note in table.notes]
    lines = [
        r"\begin{table}",
        rf"\caption{{{_cell(table.title)}}}" if table.title else "",
        rf"\label{{tab:randhead-{number}}}" if table.title else "",
        rf"\begin{{tabular}}{{{aligned}}}",
        r"\toprule",
        _line(table.columns),
        r"\midrule",
        *map(_line, table.rows),
        r"\bottomrule",
        r"\end{tabular}",
        *notes,
        r"\end{table}",
    ]
    return "\n".join(line for line in lines if line) + "\n"


def _line(cells: Iterable[Cell]) -> str:
    """One row."""
    return " & ".join(_cell(shown(cell)) for cell in cells) + r" \\"


def _cell(text: str) -> str:
    """A text as LaTeX; numbers in mathematics, so that they have a minus and no hyphen."""
    if NUMBERS.fullmatch(text):
        return re.sub(NUMBER, lambda number: f"${number[0]}$", text).replace("%", r"\%")
    guard = "{}" if text.startswith(("[", "*")) else ""  # after the end of a row these are options of its end
    text = CODE.sub(r"\1", text)  # a lone backtick opens quotes
    return guard + "".join(SYMBOLS.get(character, latex(character)) for character in text)
