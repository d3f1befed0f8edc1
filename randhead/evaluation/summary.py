"""The questions of a reader, answered in four lines: accuracy kept, classes further apart, tighter, as robust?"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from randhead.evaluation import accuracy, stored_robustness
from randhead.evaluation.comparison import Comparison, arms
from randhead.evaluation.estimates import Estimate
from randhead.evaluation.measuring import metric
from randhead.evaluation.shown import INTERVAL, difference_shown, interval_shown
from randhead.tables import Cell, Metric, Table, count, rows, shown

if TYPE_CHECKING:
    from randhead.evaluation.analysis import Analysis

MARGIN = 0.01  # of accuracy: a loss below one percentage point counts as kept
RULE = "yes or no only if the whole 95 % interval agrees; a loss of less than 1 point of accuracy counts as none"
YES, NO, UNDECIDED = "yes", "no", "undecided"


@dataclass(frozen=True)
class Question:
    """A question and the metric that answers it.

    Attributes:
        text: the question about an arm.
        noun: what is asked for, of a single run.
        analysis: the analysis that measures it, or "accuracy" or "robustness".
        key: the metric.
        margin: a loss that is smaller counts as none.
    """

    text: str
    noun: str
    analysis: str
    key: str
    margin: float = 0.0

    def answer(self, about: Metric, found: Estimate) -> str:
        """Yes or no if all values in the interval of a difference say so; a few equal values decide nothing."""
        ends = found.interval
        if ends is None or ends.high - ends.low < 1e-9:  # narrower: rounding
            return UNDECIDED
        low, high = (ends.low, ends.high) if about.better == "higher" else (-ends.high, -ends.low)
        if low >= -self.margin and (self.margin or low > 0):
            return YES
        return NO if high < -self.margin else UNDECIDED


QUESTIONS = (
    Question("accuracy kept?", "accuracy", accuracy.NAME, accuracy.NAME, MARGIN),
    Question("classes further apart?", "distance of classes", "separability", "mean_angle_deg"),
    Question("classes tighter?", "spread of classes", "compactness", "within_distance"),
    Question("as robust?", "robustness", "robustness", stored_robustness.NAME, MARGIN),
)


@dataclass(frozen=True)
class Answer:
    """The answer for one arm, or, without a baseline, what was measured.

    Attributes:
        question: in words.
        metric: how the metric is shown.
        arm: the arm in question; None without a baseline.
        answer: "yes", "no" or "undecided"; None without a baseline.
        found: the difference from the baseline, or the value.
        n: number of pairs, runs or images of the interval, in words.
    """

    question: str
    metric: Metric
    arm: str | None
    answer: str | None
    found: Estimate
    n: str

    @property
    def shown(self) -> str:
        """The value or the difference with its unit, and its interval in brackets."""
        if self.arm is not None:
            return f"{difference_shown(self.metric, self.found)} {self.metric.difference_unit}".strip()
        ends = interval_shown(self.metric, self.found)
        value = f"{shown(float(self.found.value * self.metric.scale))} {self.metric.unit}".strip()
        return f"{value} [{ends}]" if ends else value

    def to_json(self) -> dict[str, Any]:
        """The document."""
        kind = "value" if self.arm is None else "difference"
        found = self.found.to_json(kind)
        return {"question": self.question, "metric": self.metric.name, "arm": self.arm, "answer": self.answer, **found}


@dataclass(frozen=True)
class Summary:
    """The answers, the baseline that arms are compared with, and why something was not measured, by question."""

    answers: tuple[Answer, ...]
    minus: str | None
    missing: dict[str, str]

    @property
    def title(self) -> str:
        """What is compared with what."""
        compared = " and ".join(dict.fromkeys(each.arm for each in self.answers if each.arm))
        return f"{compared} compared with {self.minus}" if self.minus else "summary"

    @property
    def several(self) -> bool:
        """Whether more than one arm is compared with the baseline."""
        return len({each.arm for each in self.answers}) > 1

    @property
    def notes(self) -> tuple[str, ...]:
        """How the answers are made."""
        return (RULE,) if self.minus else ()

    def to_json(self) -> dict[str, Any]:
        """The document."""
        return {"minus": self.minus, "answers": [each.to_json() for each in self.answers], "missing": self.missing}

    def table(self) -> Table:
        """One line per question, and per arm if several are compared with the baseline."""
        kind = "difference" if self.minus else "value"
        columns = ("", "arm", "answer", f"{kind} {INTERVAL}", "n")
        cells: list[list[Cell]] = [
            [each.question, each.arm if self.several else None, each.answer, each.shown, each.n]
            for each in self.answers
        ]
        missing = tuple(
            f"{question}{'' if question.endswith('?') else ':'} {why}" for question, why in self.missing.items()
        )
        measures = dict.fromkeys(f"{each.question.rstrip('?')}: {each.metric.title}" for each in self.answers)
        notes = (*missing, "; ".join(measures), *self.notes)
        return Table(self.title, columns, rows(cells), notes).without_empty_columns()


def summary(analysis: "Analysis") -> Summary:
    """The four questions about the runs of an analysis."""
    answers: list[Answer] = []
    missing, minus = {}, None
    several = len(arms([member.loaded.config for member in analysis.members])) > 1
    for question in QUESTIONS:
        asked = question.text if several else question.noun
        measured = _measured(analysis, question)
        if isinstance(measured, str):
            missing[asked] = f"not measured: {measured}"
            continue
        about, found, images = measured
        minus = found.arms[0].arm.label if several else None
        if known := _answers(question, about, found, images):
            answers += known
        else:
            missing[asked] = "unknown: it is undefined" + (", or no two runs share their seeds" if several else "")
    return Summary(tuple(answers), minus, missing)


def _answers(question: Question, about: Metric, found: Comparison, images: int) -> list[Answer]:
    """The answer for each arm but the baseline, or the value of a single arm, if it is defined."""
    answers = []
    for arm in found.differences:
        if one := arm.metrics.get(question.key):
            n = f"{images:,} images" if one.over_images else count(one.n, "pair")
            answers.append(Answer(question.text, about, arm.arm.label, question.answer(about, one), one, n))
    only = found.arms[0].metrics.get(question.key)
    if only and not found.differences:
        n = count(only.n, "run") if only.n > 1 else f"{images:,} images"
        answers.append(Answer(question.noun, about, None, None, only, n))
    return answers


def _measured(analysis: "Analysis", question: Question) -> tuple[Metric, Comparison, int] | str:
    """How the metric of a question is shown, its values by arm, and the number of images; or why there are none."""
    split = analysis.options.split
    if question.analysis == accuracy.NAME:
        if not analysis.accuracy:
            return "no analysis has used images of the run's classes"
        return accuracy.metric(split), analysis.accuracy, analysis.accuracies[0].n
    if question.analysis == "robustness":
        runs, data = [member.loaded for member in analysis.members], str(analysis.seen.get("data"))
        documents = stored_robustness.documents(runs, data, split)
        if documents is None:
            return stored_robustness.command(runs, data, split)
        compared = stored_robustness.compare(runs, documents, baseline=analysis.baseline)
        return stored_robustness.metric(documents[0]), compared, int(documents[0]["n"])
    name = question.analysis
    if name not in analysis.each[0]:
        return analysis.not_applicable.get(name, f"`randhead analyze {name}`")
    return metric(name, question.key), analysis.comparisons[name], int(analysis.each[0][name].seen["n"])
