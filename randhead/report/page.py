"""The HTML page of an analysis; its frame is `report.frame`."""

import inspect
from dataclasses import replace

from randhead import registry
from randhead.evaluation import accuracy, analysis_tables
from randhead.evaluation.analysis import Analysis
from randhead.evaluation.analysis_tables import NOT_APPLICABLE, headlines, in_order
from randhead.evaluation.comparison import Comparison
from randhead.evaluation.inputs import RunInputs, Seen
from randhead.evaluation.measuring import Measurement, metric
from randhead.evaluation.summary import Summary
from randhead.report import differences, frame, projections, sections
from randhead.report.frame import Block, Chapter, FoldedRun, drawings
from randhead.tables import ARROWS, Metric, Table, capitalised, percent, rows, shown


def render(analysis: Analysis) -> str:
    """The page of analyses of one or more runs."""
    members = analysis.members
    single = len(members) == 1
    blocks = _run_blocks(members[0], analysis.each[0]) if single else _comparison_blocks(analysis)
    blocks.insert(0, Block("summary", lead=_compares(analysis.summary), summary=analysis.summary))
    if analysis.not_applicable:
        reasons = tuple(analysis.not_applicable.items())
        blocks.append(Block(NOT_APPLICABLE, tables=[Table("", ("analysis", "why not"), reasons)]))
    title = members[0].name if single else f"{len(members)} runs compared"
    return frame.render(title, _summary(analysis), [Chapter(blocks)])


def _summary(analysis: Analysis) -> list[str]:
    """Lines about what was analyzed, and for a single run also about its settings."""
    run = analysis.members[0]
    seen = run.seen
    lines = [f"{seen['data']}, {seen['split']} split: n = {seen['n']}, K = {seen['classes']} classes"]
    if len(analysis.members) == 1:
        config, head = run.loaded.config, run.loaded.model.head
        kind = "learned" if head.trainable else "fixed"
        lines.append(
            f"{config.backbone.name}, {kind} {registry.label(config.head.vectors)} class vectors, D = {head.dim}, "
            f"{head.scoring} scoring, scale {run.scale:.4g}"
        )
        lines.append(f"seed {config.train.seed}, head seed {config.train.head_seed}")
        lines += [f"accuracy {percent(found.value)} ({found.interval.words()})" for found in analysis.accuracies]
    return lines


def _compares(found: Summary) -> str:
    """What the summary compares, as a sentence."""
    return f"{capitalised(found.title)}." if found.minus else ""


def _run_blocks(run: RunInputs, found: dict[str, Measurement], *, prefix: str = "") -> list[Block]:
    """The blocks of one run: its features in two dimensions, and each analysis; `prefix` is that of one of several."""
    names, title = run.loaded.class_names, "feature space"
    samples = projections.FEWER if prefix else projections.SAMPLES
    shown_pictures = projections.pictures(
        run.features, run.labels, run.class_vectors, names, samples=samples, seed=run.seed
    )
    lead = "Directions of features, coloured by class, with the class vectors among them."
    space = Block(title, prefix, lead, pictures=drawings(shown_pictures, prefix + title))
    return [space, *(_analysis(name, found[name], names, prefix=prefix) for name in in_order(found))]


def _comparison_blocks(analysis: Analysis) -> list[Block]:
    """The blocks of several runs: their names, their comparison, analyses of all together, and each run folded."""
    run_names = tuple(run.name for run in analysis.members)
    found = analysis.all_comparisons.values()
    what = "Differences are paired by seed" if any(one.differences for one in found) else "Means over runs"
    intervals = ", with 95 % intervals" if any(one.has_intervals for one in found) else ""
    lead = f"An arm is a set of runs that differ only in seeds. {what}{intervals}."
    notes = (*analysis.comparison_notes, analysis_tables.SPREAD, ARROWS)
    listing = replace(analysis_tables.runs(analysis), title="")
    blocks = [Block("runs", lead=lead, tables=[listing], notes=notes)]
    if analysis.accuracy:
        about = {accuracy.NAME: accuracy.metric(analysis.options.split)}
        blocks.append(_compared(accuracy.NAME, analysis.accuracy, about))
    for name in in_order(analysis.comparisons):
        about = {key: metric(name, key) for key in headlines(name, analysis.each[0][name].findings)}
        blocks.append(_compared(name, analysis.comparisons[name], about))
    blocks += [_analysis(name, measured, run_names) for name, measured in analysis.together.items()]
    for name in in_order(analysis.each[0]):
        known = {run: each[name].findings for run, each in zip(run_names, analysis.each, strict=True) if name in each}
        if pictures := sections.of_runs(name, known):
            title = f"{name} of every run"
            blocks.append(Block(title, lead="One line per run.", pictures=drawings(pictures, title)))
    folded = [
        FoldedRun(run.name, _run_blocks(run, found, prefix=f"run {i} "))
        for i, (run, found) in enumerate(zip(analysis.members, analysis.each, strict=True))
    ]
    return [*blocks, Block("every run", runs=folded)]


def _compared(name: str, found: Comparison, about: dict[str, Metric]) -> Block:
    """The means of the arms and their differences, in one analysis."""
    title = f"{name} compared"

    def describe(key: str) -> Metric:
        return about.get(key) or metric(name, key)

    return Block(
        title,
        tables=[
            replace(analysis_tables.means("", [(found, about)]), notes=()),
            *analysis_tables.differences([(found, about)]),
        ],
        pictures=drawings(differences.pictures(found, about, describe), title),
        folded=[analysis_tables.glossary(about.values()), *differences.everything(found, describe)],
    )


def _analysis(name: str, measured: Measurement, names: tuple[str, ...], *, prefix: str = "") -> Block:
    """One analysis: its headline metrics as tiles, its pictures, and everything else folded.

    That of one of several runs, which has a prefix, leaves out what the page has once: definitions, some pictures.
    """
    findings = measured.findings
    pictures = () if prefix and sections.draws_runs(name) else sections.pictures(name, findings, names)
    chosen = analysis_tables.metrics_of(name, findings)
    everything = ((metric(name, key), key, value) for key, value in findings.metrics.items())
    cells = rows((about.title, about.shown(value), key) for about, key, value in everything)
    return Block(
        name,
        prefix,
        lead=_lead(name),
        seen=_seen(measured.seen),
        tiles=[(about, shown(about.shown(value))) for about, value in chosen.items() if value is not None],
        pictures=drawings(pictures, f"{prefix}{name}"),
        notes=findings.notes,
        folded=[
            *([] if prefix else [analysis_tables.glossary(chosen)]),
            *sections.tables(name, findings, names),
            Table("All metrics", ("metric", "value", "name in files"), cells),
        ],
    )


def _lead(name: str) -> str:
    """The question of an analysis: the first line of its docstring after the colon."""
    documentation = inspect.getdoc(registry.load("analyses", name)) or ""
    lead = documentation.partition("\n")[0].partition(": ")[2]
    return capitalised(lead)


def _seen(seen: Seen) -> str:
    """What was analyzed, in words: "digits, test split, n = 359, 10 classes"."""
    return ", ".join(
        f"{key} = {value}" if key == "n" else f"{value} {key}" if key != "data" else str(value)
        for key, value in seen.items()
    )
