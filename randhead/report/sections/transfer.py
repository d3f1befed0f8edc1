"""Transfer: how well the features separate classes that the run was not trained on."""

from collections.abc import Iterator

from randhead.analyses import Findings
from randhead.analyses.transfer import METRICS
from randhead.report.canvas import BLUE, GREEN, INK, ORANGE, panels
from randhead.report.sections import Picture
from randhead.tables import Table, rows

CLASSIFIERS = ("knn_1", "knn_20", "linear_probe", "few_shot_1", "few_shot_5")
RETRIEVAL = ("recall_at_1", "recall_at_2", "recall_at_4", "recall_at_8", "r_precision", "map_at_r")


def pictures(findings: Findings, names: tuple[str, ...]) -> Iterator[Picture]:
    """Every metric as a bar; few-shot accuracies with their interval."""
    known = {name: value for name in CLASSIFIERS + RETRIEVAL if (value := findings.number(name)) is not None}
    figure, (axes,) = panels(height=0.8 + 0.26 * len(known))
    for row, (name, value) in enumerate(known.items()):
        half = findings.number(f"{name}_interval")
        colour = ORANGE if "few_shot" in name else BLUE if name in CLASSIFIERS else GREEN
        axes.barh(row, 100 * value, xerr=half and 100 * half, color=colour, height=0.7, ecolor=INK)
        axes.annotate(f"{100 * value:.1f}", (0, row), (4, 0), textcoords="offset points", va="center", color="white")
    axes.set_yticks(range(len(known)), [METRICS[name].name for name in known])
    axes.set(xlim=(0, 100), ylim=(len(known) - 0.4, -0.6), xlabel="%")
    count = len(findings.arrays["classes"])
    chance = f"guessing among {count} classes has an accuracy of {100 / count:.4g} %"
    yield Picture("figures", f"Classification, few-shot episodes of up to 5 classes, retrieval; {chance}.", figure)


def tables(findings: Findings, names: tuple[str, ...]) -> Iterator[Table]:
    """Retrieval by sample and by class."""
    cells = []
    for name in RETRIEVAL:
        about, found = METRICS[name], (findings.metrics[name], findings.metrics[f"{name}_by_class"])
        cells.append([about.title, *map(about.shown, found)])
    yield Table("Retrieval", ("metric", "mean over samples", "mean over classes"), rows(cells))
