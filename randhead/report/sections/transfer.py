"""Transfer: how well classes that the run never met can be told apart."""

from collections.abc import Iterator

from randhead.analyses import Findings
from randhead.report.canvas import BLUE, GREEN, INK, ORANGE, panels
from randhead.report.sections import Listing, Picture, words

CLASSIFIERS = ("knn_1", "knn_20", "linear_probe", "few_shot_1", "few_shot_5")
RETRIEVAL = ("recall_at_1", "recall_at_2", "recall_at_4", "recall_at_8", "r_precision", "map_at_r")


def pictures(findings: Findings, names: tuple[str, ...]) -> Iterator[Picture]:
    """Every figure as a bar; few-shot episodes with their interval."""
    figures = findings.figures
    known = [name for name in CLASSIFIERS + RETRIEVAL if figures.get(name) is not None]
    figure, (axes,) = panels(height=0.8 + 0.26 * len(known))
    for row, name in enumerate(known):
        colour = ORANGE if "few_shot" in name else BLUE if name in CLASSIFIERS else GREEN
        error = figures.get(f"{name}_interval")
        axes.barh(row, figures[name], xerr=error, color=colour, height=0.7, ecolor=INK)
        axes.annotate(f"{figures[name]:.3f}", (0, row), (4, 0), textcoords="offset points", va="center", color="white")
    axes.set_yticks(range(len(known)), [words(name) for name in known])
    axes.set(xlim=(0, 1), ylim=(len(known) - 0.4, -0.6), xlabel="share")
    count = len(findings.arrays["classes"])
    chance = f"guessing among {count} classes is right in {1 / count:.2f}"
    yield Picture("figures", f"Classification, few-shot episodes of up to 5 classes, retrieval; {chance}.", figure)


def tables(findings: Findings, names: tuple[str, ...]) -> Iterator[Listing]:
    """Retrieval by sample and by class."""
    rows = [[words(name), findings.figures[name], findings.figures[f"{name}_by_class"]] for name in RETRIEVAL]
    yield Listing("Retrieval", ("figure", "mean over samples", "mean over classes"), rows)
