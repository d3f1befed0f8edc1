"""The pictures and pages of each kind of result."""

from collections.abc import Callable
from pathlib import Path

from randhead.evaluation import Analysis, Evaluation
from randhead.evaluation.analysis import ALL
from randhead.evaluation.classification import DRAWN_CLASSES, ClassificationMetrics
from randhead.evaluation.measuring import Measurement
from randhead.files import atomic_write
from randhead.report import canvas, confusion, robustness, sections
from randhead.robustness import CorruptionReport
from randhead.runs import Run
from randhead.tables import Result


def draw(result: Result, run: Run, *, warn: Callable[[str], None]) -> list[Path]:
    """See `randhead.report.draw`."""
    match result:
        case Evaluation():
            return _draw_evaluation(result, run, warn)
        case Analysis():
            return _draw_analysis(result, run, warn)
        case CorruptionReport():
            return _draw_corruptions(result, run.reports / "corrupt-test")
    raise TypeError(f"there are no pictures of {type(result).__name__}")


def _draw_evaluation(evaluation: Evaluation, run: Run, warn: Callable[[str], None]) -> list[Path]:
    metrics, path, files = evaluation.metrics, evaluation.path(run), []
    if isinstance(metrics, ClassificationMetrics) and len(metrics.per_class_n) <= DRAWN_CLASSES:
        picture = path.with_suffix(".png")
        names = canvas.numbered(evaluation.class_names, warn)
        files.append(confusion.draw(picture, metrics.confusion(), names, run=evaluation.run))
    if isinstance(evaluation.corruptions, CorruptionReport):
        files += _draw_corruptions(evaluation.corruptions, path.with_name(f"{path.stem}-corruptions"))
    return files


def _draw_corruptions(report: CorruptionReport, base: Path) -> list[Path]:
    """The cells as a CSV file, and the pictures."""
    return [report.write_csv(base.with_name(f"{base.name}.csv")), *robustness.draw(report, base)]


def _draw_analysis(analysis: Analysis, run: Run, warn: Callable[[str], None]) -> list[Path]:
    stem = analysis.path(run).with_suffix("")
    if analysis.name == ALL:
        from randhead.report import page  # imports t-SNE, which the other pictures do not need

        rest = stem.name.removeprefix(f"analyze-{ALL}")
        path = stem.with_name("report.html" if rest == "-test" else f"report{rest}.html")
        atomic_write(path, page.render(analysis))
        return [path]
    files = []
    for i, (member, found) in enumerate(zip(analysis.members, analysis.each, strict=True)):
        ending = f"-{i + 1}" if len(analysis.members) > 1 else ""
        names = canvas.numbered(member.loaded.class_names, warn if i == 0 else _ignore)
        files += _draw_pictures(stem, found, names, ending, run=member.name)
    return files + _draw_pictures(stem, analysis.together, tuple(member.name for member in analysis.members), "")


def _ignore(text: str) -> None:
    """The names of the classes of several runs are warned of once."""


def _draw_pictures(
    stem: Path, found: dict[str, Measurement], names: tuple[str, ...], ending: str, *, run: str = ""
) -> list[Path]:
    """The pictures of the analyses of a run, or of several runs without `run`, because `names` are then theirs."""
    files = []
    for name, measured in found.items():
        for picture in sections.pictures(name, measured.findings, names):
            if run:
                canvas.name_run(picture.figure, run)
            path = stem.with_name(f"{stem.name}-{picture.name}{ending}.png")
            files.append(canvas.png(picture.figure, path))
    return files
