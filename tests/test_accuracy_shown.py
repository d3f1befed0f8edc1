"""Wherever an accuracy is shown, its 95 percent interval is, and says so."""

from dataclasses import replace

import pytest
import torch
from tiny import config

from randhead.analyses import Findings
from randhead.evaluation import analysis_tables
from randhead.evaluation.classification import metrics_of
from randhead.evaluation.evaluation import Evaluation
from randhead.head import ClassVectorHead
from randhead.intervals import wilson
from randhead.runs import card
from randhead.runs.folder import Run
from randhead.runs.listing import ListedRun, RunList
from randhead.runs.summary import SelectedEpoch, TrainingSummary
from randhead.tables import shown

N = 40


def found(wrong=0, k=6):
    """The metrics of N predictions, of which some are wrong."""
    labels = torch.arange(N) % k
    targets = labels.clone()
    targets[:wrong] = (labels[:wrong] + 1) % k
    head = ClassVectorHead(k, k, "orthogonal")
    features = 9 * head.class_vectors()[targets]
    return metrics_of(features, head.output(features, labels), labels, k)


def evaluation(wrong):
    return Evaluation("run", "data", "test", tuple("abcdef"), found(wrong))


def summary(folder, wrong=1, **val):
    test = found(wrong).summary()
    return TrainingSummary(
        folder, "run", 3, SelectedEpoch(2, 1.0, 0.1), {"accuracy": 1.0, "nll": 0.1, **val}, test, 1.0, 1.0, "CPU", (),
        "0" * 64, {"randhead": "0"},
    )  # fmt: skip


def cells(table):
    return {shown(row[0]): [shown(cell) for cell in row[1:]] for row in table.rows}


@pytest.mark.parametrize("wrong", [0, 3, N])
def test_an_evaluation_shows_wilsons_interval_also_at_0_and_100_percent(wrong):
    right = wilson(N - wrong, N)
    document = evaluation(wrong).to_json()
    assert document["accuracy_interval"] == right.to_json()
    assert document["top5_accuracy_interval"]["low"] == wilson(round(document["top5_accuracy"] * N), N).low
    assert sum(document["per_class_n"]) == N
    first, *_ = evaluation(wrong).tables()
    assert first.columns == ("metric", "value", "95 % interval")
    assert cells(first)["accuracy"][1] == right.percent()
    assert right.low < right.high


def test_the_hardest_classes_have_their_intervals():
    hardest = list(evaluation(3).tables())[-1]
    assert hardest.columns[2] == "95 % interval"
    [first, *_] = hardest.rows
    assert first[2] == wilson(6, 7).percent() and first[1] == "85.71 %"


def test_the_end_of_a_training_and_its_card_show_intervals(tmp_path):
    text = summary(tmp_path, n=25)
    [table] = text.tables()
    assert table.columns[2] == "95 % interval"
    assert cells(table)["test accuracy"][1] == wilson(N - 1, N).percent()
    assert cells(table)["val accuracy"][1] == wilson(25, 25).percent() != "100.00 to 100.00 %"
    written = card.text(Run(tmp_path), config(), text)
    assert f"97.50 % (95 % interval {wilson(N - 1, N).percent()}, n = {N})" in written
    assert f"100.00 % (95 % interval {wilson(25, 25).percent()}; selected" in written
    assert f"15 bins of equal width | {cells(table)['test ECE'][0]} |" in written
    assert "+-" not in written


def test_the_card_names_a_folder_of_images_without_where_it_is(tmp_path):
    text = replace(summary(tmp_path), versions={"randhead": "0.1.0"})
    first = card.text(Run(tmp_path), config(data__name="/home/me/photos"), text).splitlines()[2]
    assert " trained on photos with " in first and first.endswith("by randhead 0.1.0.")


def test_a_summary_that_has_not_kept_its_number_of_validation_images_has_no_interval_of_them(tmp_path):
    text = summary(tmp_path)
    [table] = text.tables()
    assert cells(table)["val accuracy"][1] == ""
    assert "100.00 % (selected" in card.text(Run(tmp_path), config(), text)


def test_the_list_of_runs_has_intervals_and_says_how_far_they_reach():
    known = ListedRun("a", "finished", 0.9, 1.0, wilson(90, 100), wilson(20, 20))
    listed = RunList((known, ListedRun("b", "stopped after step 40", None, None)), None)
    assert listed.to_json()["runs"][0]["test"]["accuracy_interval"] == wilson(90, 100).to_json()
    assert listed.to_json()["runs"][1]["test"] == {"accuracy": None, "accuracy_interval": None}
    [table] = listed.tables()
    assert table.columns == ("", "run", "state", "test", "val") and table.rows[1][2] == "stopped at 40"
    assert table.notes == (
        "accuracies in percent",
        f"95 % intervals of the test accuracies: at most ±{100 * (0.9 - wilson(90, 100).low):.2f} points",
    )


def test_a_metric_without_a_value_is_a_dash_in_the_table_of_its_analysis():
    found = Findings({"nc1": None, "nc2_equinorm": 0.5}, notes=("why",))
    known = analysis_tables.metrics_of("collapse", found)
    table = analysis_tables.values("collapse", known, found.notes)
    assert [row[1] for row in table.rows] == ["-", 0.5] and table.is_numeric(1)
    assert "why" in table.notes
    assert analysis_tables.metrics_of("collapse", Findings({"nc1": None})) == {}  # the note is all there is
