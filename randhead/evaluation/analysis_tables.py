"""The tables of an analysis: its metrics, and for several runs their means by arm and their differences."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from randhead.analyses import Findings
from randhead.evaluation import accuracy
from randhead.evaluation.comparison import Arm, Comparison, Estimate, arm_labels
from randhead.evaluation.measuring import Measurement, metric, module
from randhead.evaluation.shown import INTERVAL, decimals, difference_shown, ends, interval_shown
from randhead.tables import ARROWS, Cell, Metric, Table, count, rows, shown

if TYPE_CHECKING:
    from randhead.evaluation.analysis import Analysis

NOT_APPLICABLE = "what does not apply"  # title, in tables and on the page
ORDER = ("separability", "compactness", "similarity", "collapse", "dynamics", "transfer", "compatibility", "seeds")
SPREAD = "in brackets: standard deviation over runs"


def tables(analysis: "Analysis") -> Iterator[Table]:
    """The most important metrics of each analysis, the accuracy first; for several runs by arm."""
    several = len(analysis.members) > 1
    if analysis.name == "all" and analysis.members:
        yield analysis.summary.table()
    if several:
        yield runs(analysis)
    for i, name in enumerate(in_order(analysis.each[0])):
        yield from (by_arm if several else of_run)(analysis, name, first=i == 0)
    if notes := analysis.comparison_notes:
        yield Table("", (), (), notes)
    for name, joint in analysis.together.items():
        yield values(f"{name} of all runs: {where(joint)}", metrics_of(name, joint.findings), joint.findings.notes)
    if analysis.not_applicable:
        reasons = tuple(f"{name}: {why}" for name, why in analysis.not_applicable.items())
        yield Table(NOT_APPLICABLE, (), (), reasons)


def runs(analysis: "Analysis") -> Table:
    """The runs with their arms, seeds and accuracies."""
    configs = [run.loaded.config for run in analysis.members]
    accuracies: list[Cell] = [100 * found.value for found in analysis.accuracies] or [None] * len(configs)
    cells = [
        (run.name, label, config.train.head_seed, config.train.seed, value)
        for run, label, config, value in zip(analysis.members, arm_labels(configs), configs, accuracies, strict=True)
    ]
    columns = ("run", "arm", "head seed", "seed", "accuracy (%)")
    return Table("runs", columns, rows(cells)).without_empty_columns()


def of_run(analysis: "Analysis", name: str, *, first: bool = True) -> Iterator[Table]:
    """The table of one analysis of one run; the first table starts with the accuracy."""
    measured = analysis.each[0][name]
    known = metrics_of(name, measured.findings)
    notes = measured.findings.notes
    if first and analysis.accuracies:
        [found] = analysis.accuracies
        known = {accuracy.metric(analysis.options.split): found.value, **known}
        notes = (f"accuracy: {found.interval.words()}, n = {found.n}", *notes)
    yield values(f"{name}: {where(measured)}", known, notes)


def by_arm(analysis: "Analysis", name: str, *, first: bool = True) -> Iterator[Table]:
    """The means of each arm, and the differences from the baseline; the first tables start with the accuracy."""
    measured = [found[name] for found in analysis.each]
    found = analysis.comparisons[name]
    about = {key: metric(name, key) for key in headlines(name, measured[0].findings)}
    parts = [(found, about)]
    if first and analysis.accuracy:
        parts.insert(0, (analysis.accuracy, {accuracy.NAME: accuracy.metric(analysis.options.split)}))
    notes = tuple(dict.fromkeys(note for each in measured for note in each.findings.notes))
    words = {
        about[key]: [each.findings.metrics.get(key) for each in measured]
        for key in about
        if isinstance(measured[0].findings.metrics[key], str)
    }
    yield means(f"{name}: {where(measured[0])}", parts, words, notes)
    yield from differences(parts)


def means(
    title: str,
    parts: list[tuple[Comparison, dict[str, Metric]]],
    words: dict[Metric, list[Cell]] | None = None,
    notes: tuple[str, ...] = (),
) -> Table:
    """One row per metric and one column per arm: means with standard deviations, and counted words."""
    each = parts[0][0].arms
    cells: list[list[Cell]] = [
        [about.title, *(_mean(about, arm.metrics.get(key)) for arm in found.arms)]
        for found, metrics in parts
        for key, about in metrics.items()
        if any(key in arm.metrics for arm in found.arms)
    ]
    cells += [[about.title, *(_counted(values, arm.arm) for arm in each)] for about, values in (words or {}).items()]
    if len(each) == 1:
        only = {about: found.arms[0].metrics.get(key) for found, metrics in parts for key, about in metrics.items()}
        ends = {about.title: interval_shown(about, mean) for about, mean in only.items()}
        cells = [[*row, ends.get(str(row[0]))] for row in cells]
    spread = (SPREAD,) if any(len(arm.arm.indices) > 1 for arm in each) else ()
    columns = ("metric", *(f"{arm.arm.label}, {count(len(arm.arm.indices), 'run')}" for arm in each))
    columns += ("95 % interval of the mean",) if len(each) == 1 else ()
    return Table(title, columns, rows(cells), (*_arrows(cells), *spread, *notes)).without_empty_columns()


def differences(parts: list[tuple[Comparison, dict[str, Metric]]]) -> Iterator[Table]:
    """One row per metric and one column per arm except the baseline; no table without differences."""
    each = parts[0][0].differences
    cells = [
        [about.title, *(difference_shown(about, arm.metrics.get(key)) for arm in found.differences)]
        for found, metrics in parts
        for key, about in metrics.items()
        if any(key in arm.metrics for arm in found.differences) and not _is_constant(about, key, found)
    ]
    if cells:
        paired = "paired by seed" if any(len(arm.pairs) > 1 for arm in each) else "of one pair of runs"
        inside = f" {INTERVAL}" if any(found.has_intervals for found, _ in parts) else ""
        columns = ("metric", *(f"{arm.arm.label}, {count(len(arm.pairs), 'pair')}" for arm in each))
        title = f"difference to {each[0].minus.label}, {paired}{inside}"
        over_images = any(
            each.over_images for found, _ in parts for arm in found.differences for each in arm.metrics.values()
        )
        notes = ("intervals of accuracies are over images, not over seeds",) if over_images else ()
        yield Table(title, columns, rows(cells), notes).without_empty_columns()


def headlines(name: str, findings: Findings) -> dict[str, float | int | str | None]:
    """The most important metrics of an analysis: its HEADLINES, or all of them without it."""
    keys = getattr(module(name), "HEADLINES", findings.metrics)
    return {key: findings.metrics[key] for key in keys if key in findings.metrics}


def metrics_of(name: str, findings: Findings) -> dict[Metric, Cell]:
    """The most important metrics of an analysis, each with how it is shown; nothing if none of them has a value."""
    found = headlines(name, findings)
    return {metric(name, key): found[key] for key in found} if set(found.values()) != {None} else {}


def in_order(names: Iterable[str]) -> list[str]:
    """Analyses in the order in which they are shown."""
    return sorted(names, key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name))


def where(measured: Measurement) -> str:
    """What was analyzed, in words."""
    seen = measured.seen
    if "n" in seen:
        return f"{seen['split']} split of {seen['data']}, n = {seen['n']}"
    return count(int(seen["epochs"]), "epoch")


def glossary(about: Iterable[Metric], *, title: str = "Definitions") -> Table:
    """What metrics mean, and which direction is better; what several metrics mean is said once, below."""
    names: dict[tuple[str, str], list[str]] = {}
    for each in about:
        if each.definition:
            names.setdefault((each.better, each.definition), []).append(each.name)
    cells = [[*same, better, definition] for (better, definition), same in names.items() if len(same) == 1]
    notes = tuple(
        f"{'; '.join(same)}: {definition}{f' ({better} is better)' if better else ''}"
        for (better, definition), same in names.items()
        if len(same) > 1
    )
    columns = ("metric", "better", "definition") if cells else ()
    return Table(title, columns, rows(cells), notes).without_empty_columns()


def values(title: str, known: dict[Metric, Cell], notes: tuple[str, ...] = ()) -> Table:
    """One row per metric.  One without a value is a dash if there are notes, which say why; else it does not apply."""
    shown = {about: about.shown(value) for about, value in known.items()}
    cells = [[about.title, "-" if v is None else v] for about, v in shown.items() if v is not None or notes]
    return Table(title, ("metric", "value") if cells else (), rows(cells), (*_arrows(cells), *notes))


def _arrows(cells: Iterable[Sequence[Cell]]) -> tuple[str, ...]:
    """The note that explains arrows, if there are any."""
    return (ARROWS,) if any(str(row[0]).endswith(("\u2191", "\u2193")) for row in cells) else ()


def _mean(about: Metric, found: Estimate | None) -> str | None:
    if found is None:
        return None
    scale = about.scale
    if not found.std:
        return shown(float(found.value * scale)) + (" (0)" if found.n > 1 else "")
    digits = decimals(found.std * scale)
    return f"{found.value * scale:z.{digits}f} ({found.std * scale:.{digits}f})"


def _counted(values: list[Cell], arm: Arm) -> str:
    """Words of the runs of an arm: "converged", or "converged (2), still improving (1)"."""
    found = Counter(str(values[i]) for i in arm.indices if values[i] is not None)
    return ", ".join(word if len(found) == 1 else f"{word} ({times})" for word, times in found.most_common())


def _is_constant(about: Metric, key: str, found: Comparison) -> bool:
    """Whether a metric without a better direction, such as a bound, is the same in all arms: nothing to compare."""
    known = [arm.metrics[key] for arm in found.differences if key in arm.metrics]
    return not about.better and not any(one.value or (one.interval and any(ends(about, one))) for one in known)
