"""Transfer: how well the features separate classes that the run was not trained on."""

from collections.abc import Iterator

from randhead.analyses import Findings
from randhead.report.canvas import BLUE, GREEN, INK, ORANGE, panels
from randhead.report.sections import Picture
from randhead.tables import Table, rows, words

CLASSIFIERS = ("knn_1", "knn_20", "linear_probe", "few_shot_1", "few_shot_5")
RETRIEVAL = ("recall_at_1", "recall_at_2", "recall_at_4", "recall_at_8", "r_precision", "map_at_r")


def pictures(findings: Findings, names: tuple[str, ...]) -> Iterator[Picture]:
    """Every metric as a bar; few-shot accuracies with their interval."""
    known = {name: value for name in CLASSIFIERS + RETRIEVAL if (value := findings.number(name)) is not None}
    figure, (axes,) = panels(height=0.8 + 0.26 * len(known))
    for row, (name, value) in enumerate(known.items()):
        colour = ORANGE if "few_shot" in name else BLUE if name in CLASSIFIERS else GREEN
        axes.barh(row, value, xerr=findings.number(f"{name}_interval"), color=colour, height=0.7, ecolor=INK)
        axes.annotate(f"{value:.3f}", (0, row), (4, 0), textcoords="offset points", va="center", color="white")
    axes.set_yticks(range(len(known)), [words(name) for name in known])
    axes.set(xlim=(0, 1), ylim=(len(known) - 0.4, -0.6), xlabel="share")
    count = len(findings.arrays["classes"])
    chance = f"guessing among {count} classes has an accuracy of {1 / count:.2f}"
    yield Picture("figures", f"Classification, few-shot episodes of up to 5 classes, retrieval; {chance}.", figure)


def tables(findings: Findings, names: tuple[str, ...]) -> Iterator[Table]:
    """Retrieval by sample and by class."""
    cells = [[words(name), findings.metrics[name], findings.metrics[f"{name}_by_class"]] for name in RETRIEVAL]
    yield Table("Retrieval", ("metric", "mean over samples", "mean over classes"), rows(cells))
