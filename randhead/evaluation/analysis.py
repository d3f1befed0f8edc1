"""`analyze`: analyses of what one or more runs learned, and their differences."""

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from randhead import ambient, registry
from randhead.arguments import check_functions, check_paths, check_type, whole
from randhead.config import SPLITS, one_of
from randhead.errors import DataError, UsageError, unknown
from randhead.evaluation import accuracy, analysis_tables
from randhead.evaluation.accuracy import Accuracy
from randhead.evaluation.comparison import Comparison, arms, compare, first_of
from randhead.evaluation.inputs import AnalysisOptions, RunInputs, Seen
from randhead.evaluation.measuring import Measurement, measure_all
from randhead.evaluation.session import AnalysisSession
from randhead.evaluation.summary import Summary, summary
from randhead.files import sha256, write_json
from randhead.runs import ROOT, LoadedRun, Run, RunLike, check_different, find, slug
from randhead.tables import Result, Table

ALL = "all"


@dataclass(frozen=True)
class Analysis(Result):
    """The result of one analysis, or of all of them, for one or more runs.

    Attributes:
        name: of the analysis, or "all".
        options: which images were analyzed, and what they were compared with.
        members: the inputs of each run.
        each: the measurements of each run, by analysis.
        together: the measurements of all runs at once, by analysis.
        comparisons: the means of metrics by arm, and for several arms their differences, by analysis.
        not_applicable: for "all", the analyses that do not apply, with the reason.
        accuracies: of each run on the images that were analyzed; nothing if no analysis has used them.
        accuracy: the comparison of their accuracies.
        baseline: the index of a run of the arm that the others are compared with.
    """

    name: str
    options: AnalysisOptions
    members: tuple[RunInputs, ...] = field(repr=False)
    each: tuple[dict[str, Measurement], ...] = field(repr=False)
    together: dict[str, Measurement] = field(default_factory=dict, repr=False)
    comparisons: dict[str, Comparison] = field(default_factory=dict, repr=False)
    not_applicable: dict[str, str] = field(default_factory=dict, repr=False)
    accuracies: tuple[Accuracy, ...] = field(default=(), repr=False)
    accuracy: Comparison | None = field(default=None, repr=False)
    baseline: int = 0

    @cached_property
    def summary(self) -> Summary:
        """The answers to a reader's questions: accuracy kept, classes further apart, tighter, as robust?"""
        return summary(self)

    @property
    def seen(self) -> Seen:
        """What was analyzed by the first analysis of images of the run's classes, ready for JSON; empty without one."""
        return next((m.seen for m in (*self.each[0].values(), *self.together.values()) if "n" in m.seen), {})

    def to_json(self) -> dict[str, Any]:
        """The document: `run` and its metrics, or `runs`, `comparison` and the metrics of all runs together."""
        o = self.options
        reference = None if o.reference is None else self.members[0].session.run(o.reference).run.name
        reference = o.reference if isinstance(o.reference, str) else reference
        extras = {"data": o.data, "reference": reference, "taxonomy": o.taxonomy and str(o.taxonomy)}
        asked: dict[str, Any] = {"split": o.split}
        asked |= {key: value for key, value in extras.items() if value is not None} | {"seed": o.seed}
        accuracies = [found.to_json() for found in self.accuracies] or [{}] * len(self.members)
        each = [
            {"run": run.name, **known, **_document(found)}
            for run, known, found in zip(self.members, accuracies, self.each, strict=True)
        ]
        refused: dict[str, Any] = {"not_applicable": self.not_applicable} if self.not_applicable else {}
        if self.name == ALL:
            refused["summary"] = self.summary.to_json()
        if len(each) == 1:
            return {"run": each[0].pop("run"), **asked, **each[0], **refused}
        compared = {name: found.to_json() for name, found in self.all_comparisons.items()}
        return {"runs": each, **asked, "comparison": compared, **_document(self.together), **refused}

    def tables(self) -> Iterator[Table]:
        """The most important metrics of each analysis, the accuracy first; for several runs by arm."""
        return analysis_tables.tables(self)

    @property
    def comparison_notes(self) -> tuple[str, ...]:
        """The notes of all comparisons, each once: every analysis compares the same runs."""
        return tuple(dict.fromkeys(note for found in self.all_comparisons.values() for note in found.notes))

    @property
    def all_comparisons(self) -> dict[str, Comparison]:
        """The comparison of accuracies, if there is one, and those of each analysis."""
        return ({accuracy.NAME: self.accuracy} if self.accuracy else {}) | self.comparisons

    def path(self, run: Run) -> Path:
        """The file of the document in the folder of a run; its name depends on the set of runs if there are several."""
        data, split = self.options.data, self.options.split
        parts = ["analyze", self.name, *([slug(registry.label(data))] if data else []), split]
        if len(self.members) > 1:
            together = "\n".join(str(member.loaded.run.path.resolve()) for member in self.members)
            parts += [f"{len(self.members)}runs", sha256(together.encode())[:6]]
        return run.reports / f"{'-'.join(parts)}.json"

    def save(self, run: Run) -> Path:
        """Write the document into the reports of a run.  Returns its path."""
        write_json(self.path(run), self.to_json())
        return self.path(run)


@ambient.settled()
def analyze(
    name: str = ALL,
    runs: RunLike | Sequence[RunLike] | None = None,
    *,
    split: str = "test",
    data: str | Path | None = None,
    reference: RunLike | None = None,
    taxonomy: str | Path | None = None,
    baseline: RunLike | None = None,
    seed: int = 0,
    root: str | Path = ROOT,
    device: str = "auto",
    should_stop: Callable[[], bool] = lambda: False,
    warn: Callable[[str], None] = warnings.warn,
    progress: Callable[[int, int], None] | None = None,
    measuring: Callable[[int, int], None] = lambda done, total: None,
) -> Analysis:
    """Analyze what one or more runs learned: separability and compactness of classes, similarity, transfer, and more.

    Args:
        name: an analysis (see `randhead.registry.names("analyses")`), the path of a Python file with your own, or
            "all" for those that apply.
        runs: one run or several, by name, by folder or from `runs.load`; None for the latest.  Several runs are
            compared by arm (settings other than seeds), in pairs with equal seeds.
        split: "test", "val" or "train".
        data: other images, a dataset or a folder, with the classes of the run; for transfer, with any classes.
        reference: for similarity, another run whose features and confusions define which classes look alike.
        taxonomy: for similarity, a file with a K x K matrix (.npy, .csv) or with lines "class: a/b/c".
        baseline: for several runs, the one whose arm the others are compared with, or the label of an arm ("fixed",
            "learned"); by default the first.
        seed: of random samples, permutations and few-shot episodes.
        root: folder of the runs.
        device: "auto", "cpu" or "cuda".
        should_stop: called between batches, between analyses and within those that take long.
        warn: called with each warning.
        progress: called with (done, total) while images are read.
        measuring: called with (done, total) while an analysis takes long.

    Returns:
        An `Analysis`, which a notebook shows as tables.

    Raises:
        UsageError: for an unknown analysis, or one that does not apply to these runs.
        DataError: if the images do not have the classes of the runs.
        RunError: if a run is missing or damaged.
        StopRequested: if `should_stop` returns True.

    Example:
        >>> from randhead import evaluation
        >>> found = evaluation.analyze("separability", "digits-seed0")  # doctest: +SKIP
        >>> found.to_json()["separability"]["mean_angle_deg"]  # doctest: +SKIP
        84.3
    """
    check_type("name", name, str, "the name of one analysis", hint='several: one call each, or `name="all"`')
    seed = whole("seed", seed)
    check_paths(root=root, taxonomy=taxonomy)
    check_functions(should_stop=should_stop, warn=warn, progress=progress, measuring=measuring)
    name = registry.use("analyses", name)
    wanted = chosen(name)
    one_of("split", split, SPLITS)
    images = None if data is None else str(data)
    tree = None if taxonomy is None else Path(taxonomy)
    options = AnalysisOptions(split, images, images, reference, tree, seed)
    session = AnalysisSession(
        root=root, device=device, should_stop=should_stop, warn=warn, progress=progress, measuring=measuring
    )
    members = _open(session, runs, options)
    compared_with = _baseline(baseline, members)
    if name == ALL:
        members = [_on_its_own_images(member) for member in members]
    each, together, refused = measure_all(wanted, members, strict=name != ALL)
    accuracies = _accuracies(members, [*each[0], *together])
    return Analysis(
        name,
        options,
        tuple(members),
        each,
        together,
        _compared(members, each, baseline=compared_with),
        refused,
        accuracies,
        accuracy.compare(members, list(accuracies), baseline=compared_with) if accuracies else None,
        compared_with,
    )


def chosen(name: str) -> list[str]:
    """The analyses that a name means: one, or all.  Raises UsageError for unknown names, with the nearest known one."""
    known = registry.names("analyses")
    if name not in (ALL, *known):
        raise unknown("analysis", name, [*known, ALL])
    return list(known) if name == ALL else [name]


def _open(
    session: AnalysisSession, given: RunLike | Sequence[RunLike] | None, options: AnalysisOptions
) -> list[RunInputs]:
    """The runs that were given, or the latest.  Raises UsageError for none, and for one that is given twice."""
    several = list(given) if isinstance(given, Sequence) and not isinstance(given, str) else [given]
    if not several:
        raise UsageError("runs is empty", hint="give one or more; `None` is the latest")
    members = [RunInputs(session, session.run(run), options) for run in several]
    check_different(member.loaded.run for member in members)
    return members


def _on_its_own_images(run: RunInputs) -> RunInputs:
    """The run with its own images if `data` has other classes, which are then used for transfer only."""
    try:
        _ = run.dataset
    except DataError as error:
        if run.options.data is None:
            raise
        run.session.warn(f"{error.message}: they are used for transfer, the run's own images for the rest")
        return RunInputs(run.session, run.loaded, replace(run.options, data=None))
    return run


def _compared(
    members: list[RunInputs], each: tuple[dict[str, Measurement], ...], *, baseline: int
) -> dict[str, Comparison]:
    """Analysis -> means by arm and differences of its metrics."""
    configs = [member.loaded.config for member in members]
    return {n: compare(configs, [f[n].findings.metrics for f in each], baseline=baseline) for n in each[0]}


def _accuracies(members: list[RunInputs], measured: Iterable[str]) -> tuple[Accuracy, ...]:
    """The accuracy of each run, if an analysis has used its predictions' images; else nothing."""
    inputs = {registry.load("analyses", name).INPUT for name in measured}
    return tuple(map(accuracy.measure, members)) if inputs & {"run", "runs"} else ()


def _baseline(wanted: RunLike | None, members: list[RunInputs]) -> int:
    """The index of a run of the arm that others are compared with.  Raises UsageError if there is none."""
    if wanted is None:
        return 0
    configs = [member.loaded.config for member in members]
    if isinstance(wanted, str) and (arm := first_of(wanted, configs)) is not None:
        return arm
    session = members[0].session
    path = (wanted.run if isinstance(wanted, LoadedRun) else find(wanted, root=session.root)).path.resolve()
    for i, member in enumerate(members):
        if member.loaded.run.path.resolve() == path:
            return i
    known = ", ".join(arm.label for arm in arms(configs))
    raise UsageError(f"the baseline {path.name} is none of the runs", hint=f"name one of them, or an arm: {known}")


def _document(found: dict[str, Measurement]) -> dict[str, Any]:
    if not found:
        return {}
    notes = {name: list(measured.findings.notes) for name, measured in found.items() if measured.findings.notes}
    metrics = {name: measured.findings.metrics for name, measured in found.items()}
    return {**metrics, "seen": {name: measured.seen for name, measured in found.items()}, "notes": notes}
