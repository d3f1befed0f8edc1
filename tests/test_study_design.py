"""The design of a study: what is refused before anything is trained, and documents that are read again to the bit."""

import json

import pytest

from randhead.errors import RandheadError, UsageError
from randhead.study import arms, plan
from randhead.study.arms import StudyArm
from randhead.study.claims import parse
from randhead.study.design import Study
from randhead.study.records import RunRecord

FULL = Study(
    "full",
    arms=(StudyArm("a", {"head.scale": "0.3"}), StudyArm("b", {"head.trainable": True}), arms.named("dot-fixed")),
    settings={"data.name": "cifar10", "data.hold_out_classes": 3, "optim.lr": "0.1"},
    seeds=(3, 4),
    head_seeds=(0, 2**62),
    tune={"optim.weight_decay": (0.1 + 0.2, "1e-4")},
    corruptions=True,
    severities=(1, 5),
    corruption_limit=100,
    claims=(parse("a >= b on corruption_accuracy within 0.123456", published="+1", source="a paper"),),
    title="a title",
)
RECORD = RunRecord(
    "a-seed0-123456",
    "a",
    0,
    1,
    tuned={"optim.lr": 0.1 + 0.2, "head.bias": None},
    metrics={"accuracy": 1 / 3, "nll": float("nan"), "ece": None},
    curves={"train_loss": (2 / 3, float("inf"))},
    corruptions={"fog": (0.1, 0.7)},
    counts={"test": 10_000},
    environment={"device": "cpu", "versions": {"torch": "2.7"}},
)


def through_json(document):
    return json.loads(json.dumps(document, allow_nan=False))


@pytest.mark.parametrize("study", [Study("plain"), FULL], ids=["plain", "full"])
def test_a_design_survives_json(study):
    assert Study.from_json(through_json(study.to_json())) == study


def test_severities_are_in_the_order_of_records_so_that_pictures_name_the_right_one():
    assert Study("a", corruptions=True, severities=(5, 1, 3)).severities == (1, 3, 5)


def test_a_record_survives_json_with_every_bit():
    assert RunRecord.from_json(through_json(RECORD.to_json())) == RECORD
    assert RECORD.metrics["nll"] is None and RECORD.curves["train_loss"] == (2 / 3, None)


DAMAGED = {
    "not an object": lambda d: [],
    "no format": lambda d: d.pop("format"),
    "another format": lambda d: d.update(format="randhead study 99"),
    "no name": lambda d: d.pop("name"),
    "an unknown entry": lambda d: d.update(seds=[1]),
    "seeds are text": lambda d: d.update(seeds="012"),
    "seeds are flags": lambda d: d.update(seeds=[True]),
    "a seed is negative": lambda d: d.update(seeds=[-1]),
    "a name that is a path": lambda d: d.update(name="../../etc"),
    "an arm that is no object": lambda d: d.update(arms=["dot-fixed", "dot-learned"]),
    "an unknown setting": lambda d: d["settings"].update({"optim.lrr": 1}),
    "a number that is none": lambda d: d["settings"].update({"optim.lr": "fast"}),
    "a claim on nothing": lambda d: d.update(claims=[{"claim": "a > b"}]),
    "an integer of 400 digits": lambda d: d.update(corruption_limit=10**400),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_design_is_refused(name):
    document = through_json(FULL.to_json())
    changed = DAMAGED[name](document)
    with pytest.raises(UsageError):
        Study.from_json(changed if isinstance(changed, list) and not changed else document)


@pytest.mark.parametrize("key", list(RECORD.to_json()))
def test_a_record_without_an_entry_or_with_a_wrong_one_is_refused(key):
    document = through_json(RECORD.to_json())
    for wrong in ({**document, key: object()}, {k: v for k, v in document.items() if k != key}):
        with pytest.raises(UsageError):
            RunRecord.from_json(wrong)


def test_the_run_of_a_record_is_no_path():
    with pytest.raises(UsageError, match="run must be the name of a folder"):
        RunRecord.from_json({**RECORD.to_json(), "run": "../x"})


def test_values_are_equal_however_they_are_typed():
    typed = Study("a", settings={"optim.lr": "0.1", "train.epochs": "5"}, tune={"optim.momentum": ("0.5", "0.9")})
    given = Study("a", settings={"optim.lr": 0.1, "train.epochs": 5}, tune={"optim.momentum": (0.5, 0.9)})
    assert typed == given and typed.identity() == given.identity()
    assert arms.parse("s: head.scale=16 head.trainable=yes") == StudyArm("s", {"head.scale": 16, "head.trainable": 1})
    assert [r.name for r in plan.tuning_runs(typed)] == [r.name for r in plan.tuning_runs(given)]


REFUSED = {
    "control": ({"control": "dot-lerned"}, "did you mean 'dot-learned'"),
    "a claim's arm": ({"claims": (parse("dot-fixd > dot-learned on accuracy"),)}, "did you mean 'dot-fixed'"),
    "an unmeasured claim": (
        {"claims": (parse("dot-fixed > dot-learned on corruption_accuracy"),)},
        "corruption_accuracy is not measured",
    ),
    "transfer": ({"claims": (parse("dot-fixed > dot-learned on transfer"),)}, "hold_out_classes=N"),
    "a seed twice": ({"seeds": (1, 1)}, "has the seed 1 twice"),
    "a negative seed": ({"seeds": (-1,)}, "seeds must be at least 0"),
    "no seeds": ({"head_seeds": ()}, "head_seeds is empty"),
    "one arm": ({"arms": (arms.named("dot-fixed"),)}, "two arms or more"),
    "an arm twice": ({"arms": (arms.named("dot-fixed"),) * 2}, "two arms are named dot-fixed"),
    "an arm on other images": (
        {"arms": (arms.named("dot-fixed"), StudyArm("x", {"data.name": "mnist"}))},
        "the same images",
    ),
    "a tuned setting of an arm": ({"tune": {"head.scoring": ("dot",)}}, "dot-fixed sets head.scoring, which is tuned"),
    "a tuned value": ({"tune": {"optim.lr": (0.1, "-1")}}, "tune: optim.lr must be a positive number"),
    "a tuned value twice": ({"tune": {"optim.lr": (0.1, "0.10")}}, "has the value 0.1 twice"),
    "no tuned value": ({"tune": {"optim.lr": ()}}, "has no values"),
    "a tuned seed": ({"tune": {"train.seed": (1,)}}, "tune sets train.seed"),
    "a tuning seed that is reported": (
        {"tune": {"optim.lr": (0.1, 0.2)}, "tune_seeds": (4,)},
        "seed 4 is of the sweep and of a reported run",
    ),
    "too many runs": ({"seeds": tuple(range(101)), "head_seeds": tuple(range(100))}, "a study of 40,400 runs"),
    "instance labels": ({"settings": {"data.labels": "instance"}}, "must be class"),
    "a seed among the settings": ({"settings": {"train.seed": 1}}, "sets train.seed"),
    "a setting": ({"settings": {"learning_rate": 1}}, "did you mean 'optim.lr'"),
    "severities": ({"severities": (6,)}, "severities must be at most 5"),
    "the name": ({"name": "a/b"}, "cannot be named 'a/b'"),
    "line breaks": ({"title": "a\nb"}, "title has control characters"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_design_that_cannot_be_run_or_tested_is_refused(name):
    changed, message = REFUSED[name]
    with pytest.raises(UsageError) as caught:
        Study(**{"name": "a", **changed})
    assert message in f"{caught.value} {caught.value.hint}"


def test_two_names_for_the_same_training_are_refused():
    default = StudyArm("also-fixed", {"head.scoring": "dot"})
    with pytest.raises(UsageError, match="arms dot-fixed and also-fixed have the same settings"):
        plan.check(Study("a", arms=(arms.named("dot-fixed"), default)))


def test_settings_that_do_not_go_together_are_refused_before_any_training():
    study = Study("a", settings={"optim.schedule": "onecycle"}, tune={"optim.warmup": (0.0, 0.1)})
    with pytest.raises(UsageError, match=r"arm dot-fixed: optim\.warmup must be 0"):
        plan.check(study)
    with pytest.raises(RandheadError, match="no such folder"):
        plan.check(Study("a", settings={"data.name": "./nowhere"}))
