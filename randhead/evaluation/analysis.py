"""`analyze`: what runs learned, and how they compare."""

import string
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from randhead import registry
from randhead.analyses import Findings
from randhead.config import SPLITS, one_of
from randhead.errors import DataError, RandheadError, StopRequested, UsageError, unknown
from randhead.evaluation.comparison import Comparison, Estimate, compare
from randhead.evaluation.inputs import AnalysisOptions, RunInputs
from randhead.evaluation.measuring import Measurement, measure_run, measure_together
from randhead.evaluation.session import AnalysisSession
from randhead.files import sha256, write_json
from randhead.runs import ROOT, Run, RunLike, slug
from randhead.tables import Result, Table, words

ALL = "all"
ORDER = ("separability", "compactness", "similarity", "collapse", "transfer", "dynamics", "compatibility", "seeds")


@dataclass(frozen=True)
class Analysis(Result):
    """What one analysis, or all of them, found in one or more runs.

    Attributes:
        name: of the analysis, or "all".
        options: the images, and what they are compared with.
        members: the inputs of each run.
        each: for each run, the measurements by analysis.
        together: the measurements of all runs at once, by analysis.
        comparisons: for several runs, how the metrics of each analysis differ.
        not_applicable: of "all", the analyses that could not be made, with the reason.
    """

    name: str
    options: AnalysisOptions
    members: tuple[RunInputs, ...] = field(repr=False)
    each: tuple[dict[str, Measurement], ...] = field(repr=False)
    together: dict[str, Measurement] = field(default_factory=dict, repr=False)
    comparisons: dict[str, Comparison] = field(default_factory=dict, repr=False)
    not_applicable: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The document: `run` and its metrics, or `runs`, `comparison` and the metrics of all runs together."""
        o = self.options
        reference = None if o.reference is None else self.members[0].session.run(o.reference).run.name
        reference = o.reference if isinstance(o.reference, str) else reference
        extras = {"data": o.data, "reference": reference, "taxonomy": o.taxonomy and str(o.taxonomy)}
        asked: dict[str, Any] = {"split": o.split}
        asked |= {key: value for key, value in extras.items() if value is not None} | {"seed": o.seed}
        each = [{"run": run.name, **_document(found)} for run, found in zip(self.members, self.each, strict=True)]
        refused = {"not_applicable": self.not_applicable} if self.not_applicable else {}
        if len(each) == 1:
            return {"run": each[0].pop("run"), **asked, **each[0], **refused}
        compared = {name: found.to_json() for name, found in self.comparisons.items()}
        return {"runs": each, **asked, "comparison": compared, **_document(self.together), **refused}

    def tables(self) -> Iterator[Table]:
        """For each analysis its most important metrics, and of several runs how they differ."""
        several = len(self.members) > 1
        if several:
            rows = tuple((letters(i), run.name) for i, run in enumerate(self.members))
            yield Table("", ("", "run"), rows)
        for name in in_order(self.each[0]):
            measured = [found[name] for found in self.each]
            notes = dict.fromkeys(note for found in measured for note in found.findings.notes)
            yield _metrics(name, name, measured, tuple(notes))
            if several:
                yield from _differences(self.comparisons[name], headlines(name, measured[0].findings))
        for name, joint in self.together.items():
            yield _metrics(f"{name} of all runs", name, [joint], joint.findings.notes)
        if self.not_applicable:
            yield Table("not measured", (), (), tuple(f"{name}: {why}" for name, why in self.not_applicable.items()))

    def path(self, run: Run) -> Path:
        """Where the document goes in the folder of a run; several runs get a name of their own."""
        o = self.options
        parts = ["analyze", self.name, *([slug(o.data)] if o.data else []), o.split]
        if len(self.members) > 1:
            together = "\n".join(str(member.loaded.run.path.resolve()) for member in self.members)
            parts += [f"{len(self.members)}runs", sha256(together.encode())[:6]]
        return run.reports / f"{'-'.join(parts)}.json"

    def save(self, run: Run) -> Path:
        """Write the document into the reports of a run.  Returns its path."""
        write_json(self.path(run), self.to_json())
        return self.path(run)


def analyze(
    name: str = ALL,
    runs: RunLike | Sequence[RunLike] | None = None,
    *,
    split: str = "test",
    data: str | Path | None = None,
    reference: RunLike | None = None,
    taxonomy: str | Path | None = None,
    seed: int = 0,
    root: str | Path = ROOT,
    device: str = "auto",
    should_stop: Callable[[], bool] = lambda: False,
    warn: Callable[[str], None] = warnings.warn,
    progress: Callable[[int, int], None] | None = None,
) -> Analysis:
    """Analyze what one or more runs learned: how far apart and how tight their classes are, what looks alike, and more.

    Args:
        name: an analysis (see `randhead.registry.names("analyses")`), the path of a Python file with one of yours, or
            "all" for those that apply.
        runs: one run or several, by name, folder or as `runs.load` returned them; None for the latest.  Several are
            compared, in pairs of equal seeds.
        split: "test", "val" or "train".
        data: other images, a dataset or a folder: with the classes of the run, or, for transfer, any classes.
        reference: for similarity, a run that says which classes look alike.
        taxonomy: for similarity, a file with a K x K matrix (.npy, .csv) or with lines "class: a/b/c".
        seed: of samples, permutations and few-shot episodes.
        root: folder of the runs.
        device: "auto", "cpu" or "cuda".
        should_stop: asked between batches and between analyses.
        warn: called with a sentence about what is worked around.
        progress: called with (done, total) while images are read.

    Returns:
        An `Analysis`, which a notebook shows as tables.

    Raises:
        UsageError: for an unknown analysis, or one that cannot be made of these runs.
        DataError: if the images do not have the classes of the runs.
        RunError: if a run is missing or damaged.
        StopRequested: if `should_stop` returns True.

    Example:
        >>> from randhead import evaluation
        >>> found = evaluation.analyze("separability", "digits-seed0")  # doctest: +SKIP
        >>> found.to_json()["separability"]["mean_angle_deg"]  # doctest: +SKIP
        84.3
    """
    name = registry.use("analyses", name)
    wanted = chosen(name)
    one_of("split", split, SPLITS)
    images = None if data is None else str(data)
    tree = None if taxonomy is None else Path(taxonomy)
    options = AnalysisOptions(split, images, images, reference, tree, seed)
    session = AnalysisSession(root=root, device=device, should_stop=should_stop, warn=warn, progress=progress)
    members = _open(session, runs, options)
    if name == ALL:
        members = [_on_its_own_images(member) for member in members]
    each, together, refused = measure_all(wanted, members, strict=name != ALL)
    return Analysis(name, options, tuple(members), each, together, _compared(members, each), refused)


def chosen(name: str) -> list[str]:
    """The analyses of a name: one, or all.  Raises UsageError for unknown names, with the nearest known one."""
    known = registry.names("analyses")
    if name not in (ALL, *known):
        raise unknown("analysis", name, [*known, ALL])
    return list(known) if name == ALL else [name]


def measure_all(
    names: list[str], members: list[RunInputs], *, strict: bool
) -> tuple[tuple[dict[str, Measurement], ...], dict[str, Measurement], dict[str, str]]:
    """Analyses of each run, of all runs together, and the reasons for those that cannot be made.

    Raises:
        RandheadError: with `strict`, for an analysis that cannot be made.
    """
    each: tuple[dict[str, Measurement], ...] = tuple({} for _ in members)
    together: dict[str, Measurement] = {}
    refused: dict[str, str] = {}
    for name in names:
        try:
            if registry.load("analyses", name).INPUT == "runs":
                together[name] = measure_together(name, members)
            else:
                found = [measure_run(name, member) for member in members]
                for measurements, measured in zip(each, found, strict=True):
                    measurements[name] = measured
        except StopRequested:
            raise
        except RandheadError as error:
            if strict:
                raise
            refused[name] = f"{error.message} ({error.hint})" if error.hint else error.message
    return each, together, refused


def headlines(name: str, findings: Findings) -> dict[str, float | int | str | None]:
    """The metrics of an analysis that matter first; all of them if it does not say which."""
    analysis = registry.load("analyses", name) if name in registry.names("analyses") else None
    keys = getattr(analysis, "HEADLINES", findings.metrics)
    return {key: findings.metrics[key] for key in keys if key in findings.metrics}


def in_order(names: Iterable[str]) -> list[str]:
    """Analyses in the order in which a reader wants them."""
    return sorted(names, key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name))


def letters(index: int) -> str:
    """The short name of a run in tables of several: A to Z, then AA, AB, ..."""
    more, letter = divmod(index, 26)
    return (letters(more - 1) if more else "") + string.ascii_uppercase[letter]


def _open(
    session: AnalysisSession, given: RunLike | Sequence[RunLike] | None, options: AnalysisOptions
) -> list[RunInputs]:
    """The runs, or the latest.  Raises UsageError for one that is given twice."""
    several = list(given) if isinstance(given, Sequence) and not isinstance(given, str) else [given]
    members = [RunInputs(session, session.run(run), options) for run in several or [None]]
    folders = [member.loaded.run.path.resolve() for member in members]
    for folder in folders:
        if folders.count(folder) > 1:
            raise UsageError(f"run {folder.name} is given twice", hint="give different runs")
    return members


def _on_its_own_images(run: RunInputs) -> RunInputs:
    """The run on its own images if `data` has other classes: then these are for transfer only."""
    try:
        _ = run.dataset
    except DataError as error:
        if run.options.data is None:
            raise
        run.session.warn(f"{error.message}: they are used for transfer, the run's own images for the rest")
        return RunInputs(run.session, run.loaded, replace(run.options, data=None))
    return run


def _compared(members: list[RunInputs], each: tuple[dict[str, Measurement], ...]) -> dict[str, Comparison]:
    """Analysis -> how its metrics differ, if there are several runs."""
    if len(members) == 1:
        return {}
    configs = [member.loaded.config for member in members]
    return {name: compare(configs, [found[name].findings.metrics for found in each]) for name in each[0]}


def _document(found: dict[str, Measurement]) -> dict[str, Any]:
    if not found:
        return {}
    notes = {name: list(measured.findings.notes) for name, measured in found.items() if measured.findings.notes}
    metrics = {name: measured.findings.metrics for name, measured in found.items()}
    return {**metrics, "seen": {name: measured.seen for name, measured in found.items()}, "notes": notes}


def _metrics(title: str, name: str, measured: list[Measurement], notes: tuple[str, ...]) -> Table:
    """The most important metrics of one analysis, one column per run."""
    seen = measured[0].seen
    where = f"{seen['split']} split of {seen['data']}, n = {seen['n']}" if "n" in seen else f"{seen['epochs']} epochs"
    keys = headlines(name, measured[0].findings)
    rows = [(words(key), *(one.findings.metrics.get(key) for one in measured)) for key in keys]
    columns = ["value"] if len(measured) == 1 else [letters(i) for i in range(len(measured))]
    rows = [row for row in rows if any(value is not None for value in row[1:])]
    return Table(f"{title}: {where}", ("metric", *columns), tuple(rows), notes)


def _differences(found: Comparison, keys: Iterable[str]) -> Iterator[Table]:
    """Differences from the first arm, or the means of a single arm; then the notes."""
    for arm in found.differences:
        count = "1 pair" if arm.pairs == 1 else f"{arm.pairs} pairs"
        title = f"{arm.arm.label} minus {arm.minus.label}, {count} of equal seeds"
        yield from _estimates(title, "difference", arm.metrics, keys)
    if not found.differences:
        [only] = found.arms
        yield from _estimates(f"mean of {len(only.arm.indices)} runs", "mean", only.metrics, keys)
    if found.notes:
        yield Table("", (), (), found.notes)


def _estimates(title: str, kind: str, metrics: dict[str, Estimate], keys: Iterable[str]) -> Iterator[Table]:
    """A table of the estimates of some metrics; none if there are none of them."""
    found = [(key, metrics[key]) for key in keys if key in metrics]
    rows = tuple((words(key), e.value, *(e.interval or (None, None))) for key, e in found)
    if rows:
        yield Table(title, ("metric", kind, "95 % low", "high"), rows)
