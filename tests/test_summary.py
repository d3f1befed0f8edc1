"""The four lines of a summary: what they answer, from which interval, and what they say if something is missing."""

import json

import pytest
import torch

from randhead import evaluation, runs
from randhead.analyses import Findings
from randhead.evaluation import analysis_tables, feature_cache, stored_robustness
from randhead.evaluation.estimates import Estimate
from randhead.evaluation.measuring import Measurement
from randhead.evaluation.summary import NO, QUESTIONS, UNDECIDED, YES
from randhead.intervals import Interval
from randhead.report import page
from randhead.tables import Metric

UP, DOWN = Metric("up", better="higher"), Metric("down", better="lower")
KEPT, APART, TIGHTER, ROBUST = QUESTIONS

pytestmark = pytest.mark.usefixtures("few_permutations")


def corrupted(root, name, accuracy, **changes):
    """The document that `corrupt-test` leaves in a run."""
    loaded = runs.load(name, root=root, device="cpu")
    document = {"run": name, "weights_sha256": loaded.weights_sha256, "data": "data", "split": "test", "n": 12}
    document |= {"mean_corruption_accuracy": accuracy, "mean_over": "15 of 15 corruptions, all severities", **changes}
    loaded.run.reports.mkdir(exist_ok=True)
    (loaded.run.reports / "corrupt-test.json").write_text(json.dumps(document))
    return loaded


@pytest.mark.parametrize(
    ("question", "metric", "interval", "answer"),
    [
        (KEPT, UP, (-0.009, 0.2), YES),
        (KEPT, UP, (-0.011, 0.2), UNDECIDED),
        (KEPT, UP, (-0.3, -0.02), NO),
        (KEPT, UP, (0.0, 0.0), UNDECIDED),
        (APART, UP, (0.1, 2.0), YES),
        (APART, UP, (-0.1, 2.0), UNDECIDED),
        (APART, UP, (0.0, 0.0), UNDECIDED),
        (KEPT, UP, (-0.05000000000000037, -0.04999999999999966), UNDECIDED),
        (APART, UP, (-2.0, -0.1), NO),
        (TIGHTER, DOWN, (-2.0, -0.1), YES),
        (TIGHTER, DOWN, (0.1, 2.0), NO),
        (ROBUST, UP, None, UNDECIDED),
    ],
)
def test_an_answer_is_yes_or_no_only_if_the_whole_interval_says_so(question, metric, interval, answer):
    assert question.answer(metric, Estimate(0.0, interval and Interval(*interval), 3)) == answer


def test_a_summary_has_four_lines_and_names_the_command_for_what_is_missing(root):
    names = ["learned0", "fixed0", "learned1", "fixed1"]
    found = evaluation.analyze("all", names, root=root, device="cpu")
    summary = found.to_json()["summary"]
    assert summary["minus"] == "learned"
    assert [each["question"] for each in summary["answers"]] == [each.text for each in QUESTIONS[:3]]
    compared = found.comparisons["separability"].differences[0].metrics["mean_angle_deg"]
    assert summary["answers"][1]["difference"] == compared.value
    assert summary["answers"][1]["interval"] == [compared.interval.low, compared.interval.high]
    assert summary["missing"] == {"as robust?": "not measured: `randhead corrupt-test learned0 fixed0 learned1 fixed1`"}
    first = next(found.tables())
    assert first.title == "fixed compared with learned" and len(first.rows) == 3
    assert "corrupt-test learned0" in first.notes[0]


@pytest.mark.slow
def test_a_page_begins_with_the_summary(root):
    text = page.render(evaluation.analyze("all", ["learned0", "fixed0"], root=root, device="cpu"))
    assert text.index("Accuracy kept?") < text.index("Classes further apart?") < text.index("<table")
    assert "<code>randhead corrupt-test learned0 fixed0</code>" in text


def test_robustness_is_read_from_what_corrupt_test_has_left_of_these_weights(root):
    difference = {"mean_corruption_accuracy": {"difference": 0.1, "low": 0.02, "high": 0.2}}
    members = [
        corrupted(root, "learned0", 0.5),
        corrupted(root, "fixed0", 0.6, compared_with={"run": "learned0", **difference}),
    ]
    found = evaluation.analyze("all", ["learned0", "fixed0"], root=root, device="cpu").summary
    answer = found.answers[-1]
    assert (answer.question, answer.answer, answer.n) == ("as robust?", YES, "12 images")
    assert answer.found.value == pytest.approx(0.1) and answer.found.interval == Interval(0.02, 0.2, method="images")
    back = stored_robustness.compare(members, stored_robustness.documents(members, "data", "test"), baseline=1)
    assert back.differences[0].metrics["mean_corruption_accuracy"].interval == Interval(-0.2, -0.02, method="images")
    one = evaluation.analyze("all", "fixed0", root=root, device="cpu").summary
    assert [each.question for each in one.answers] == [each.noun for each in QUESTIONS]
    assert one.answers[0].found.interval and one.answers[-1].shown == "60 %"
    corrupted(root, "fixed0", 0.6, weights_sha256="of other weights")
    assert stored_robustness.documents(members, "data", "test") is None
    assert stored_robustness.command(members, "data", "test") == "`randhead corrupt-test fixed0`"
    few = {"images": "6 of 12 images, stratified by class, seed 0"}
    for changes in ({"mean_over": "2 of 15 corruptions, severity 3"}, few, {"seed": 1}):
        corrupted(root, "fixed0", 0.6, **changes)  # measured in another way than learned0, and than the command does it
        assert stored_robustness.documents(members, "data", "test") is None
        assert stored_robustness.command(members, "data", "test") == "`randhead corrupt-test fixed0`"
    corrupted(root, "fixed0", 0.6, parameters="64")
    assert stored_robustness.command(members, "data", "test") == "`randhead corrupt-test learned0 fixed0`"
    assert stored_robustness.documents(members, "data", "test") is None


def test_an_accuracy_under_corruptions_says_how_many_of_the_images_were_tested():
    over = "15 of 15 corruptions, all severities"
    shown = {"all 12 images": over, "6 of 12 images, stratified by class, seed 0": f"{over}, 6 of 12 images"}
    for images, words in shown.items():
        document = {"mean_over": over, "images": images}
        assert stored_robustness.metric(document).name == f"accuracy under {words}"


def test_runs_whose_features_are_all_equal_have_no_value_and_no_bug(root, monkeypatch):
    monkeypatch.setattr(feature_cache, "features", lambda loaded, dataset, split, **options: constant(dataset, split))
    found = evaluation.analyze("all", ["learned0", "fixed0"], root=root, device="cpu")
    json.dumps(found.to_json(), allow_nan=False)
    assert list(found.tables())
    assert found.summary.missing["classes tighter?"].startswith("unknown")

    alone = evaluation.analyze("all", "fixed0", root=root, device="cpu").summary.missing
    assert "unknown: it is undefined" in alone.values()  # there are no seeds to share


def test_one_epoch_is_no_epochs():
    assert [analysis_tables.where(Measurement(Findings({}), {"epochs": n})) for n in (1, 2)] == ["1 epoch", "2 epochs"]


def constant(dataset, split):
    """Features of a dead encoder."""
    labels = dataset.splits[split].labels
    return feature_cache.Extracted(torch.ones(len(labels), 32), labels, torch.zeros_like(labels))
