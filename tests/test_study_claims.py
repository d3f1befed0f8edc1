"""Claims of a study: what can be typed, what is refused with a way out, and the verdict of an interval."""

import itertools
import json

import pytest

from randhead.errors import UsageError
from randhead.intervals import Interval
from randhead.study import metrics
from randhead.study.claims import Claim, parse

READ = {
    "a > b on accuracy": ("a", "b", "accuracy", 0.0),
    "a>b on accuracy": ("a", "b", "accuracy", 0.0),
    "  a   >  b \n on  accuracy  ": ("a", "b", "accuracy", 0.0),
    "a > b on accuracy by 0": ("a", "b", "accuracy", 0.0),
    "a > b on nll by 0.05": ("a", "b", "nll", 0.05),
    "a>=b on accuracy within 1": ("a", "b", "accuracy", -1.0),
    "a \u2265 b on accuracy within 1": ("a", "b", "accuracy", -1.0),
    "dot-fixed > fixed-0.5 on epochs by 2": ("dot-fixed", "fixed-0.5", "epochs", 2.0),
    "s=16 > s=1 on accuracy": ("s=16", "s=1", "accuracy", 0.0),
    "a >= b on transfer within 0.333333": ("a", "b", "transfer", -0.333333),
}


@pytest.mark.parametrize("text", READ)
def test_a_claim_is_read_and_written_again(text):
    claim = parse(text, published="+1", source="a paper")
    assert (claim.first, claim.second, claim.metric, claim.threshold) == READ[text]
    assert parse(claim.text, published="+1", source="a paper") == claim
    assert Claim.from_json(json.loads(json.dumps(claim.to_json()))) == claim


REFUSED = {
    "a is better than b": "write for example",
    "a > b": "write for example",
    "a > b on accuracy by one": "write for example",
    "a > b on accuracy by -1": "write for example",
    "a > b on accuracy by 1e-3": "write for example",
    "a > b on accuracy by 0.1234567": "write for example",
    "a > b > c on accuracy": "write for example",
    "a >= b on accuracy": "`>=` needs `within`",
    "a > b on accuracy within 1": "`>=` needs `within`, and `>` may have `by`",
    "a >= b on accuracy by 1": "`>=` needs `within`",
    "a >= b on accuracy within 0": "give a margin above 0",
    "a < b on accuracy": 'write "b > a on accuracy"',
    "a < b on nll": '`>` means better, which is lower for nll: write "a > b on nll"',
    "a = b on accuracy": "two claims",
    "a == b on accuracy": "two claims",
    "a > b on acuracy": "did you mean 'accuracy'",
    "a > b on train_loss": "metrics: accuracy",
    "a > a on accuracy": "name two arms",
    "": "write for example",
    "a > b on accuracy" + " by 1" * 2000: "write for example",
}


@pytest.mark.parametrize("text", REFUSED, ids=lambda text: text[:30])
def test_text_that_is_no_claim_is_refused_with_a_way_out(text):
    with pytest.raises(UsageError) as caught:
        parse(text)
    assert REFUSED[text] in caught.value.hint


@pytest.mark.parametrize("document", [None, [], {}, {"claim": 1}, {"claim": "a > b on accuracy", "by": "me"}])
def test_a_document_of_another_form_is_refused(document):
    with pytest.raises(UsageError):
        Claim.from_json(document)


def verdict(claim, low, high):
    """A second derivation: every difference in the interval is judged, and all have to agree."""
    metric = metrics.METRICS[claim.metric]
    grid = [low + (high - low) * i / 100 for i in range(101)]
    towards_better = [-d if metric.better == "lower" else d for d in grid]
    margin = claim.threshold / (100 if metric.unit == "%" else 1)
    if all(d > margin for d in towards_better):
        return "holds"
    return "does not hold" if all(d < margin for d in towards_better) else "undecided"


CLAIMS = [
    f"a {sign} b on {metric}{tail}"
    for metric in ("accuracy", "nll", "epochs", "ece")
    for sign, tail in ((">", ""), (">", " by 0.5"), (">=", " within 0.5"))
]
LIMITS = (-2.0, -0.6, -0.4, -0.02, -0.006, -0.004, 0.0, 0.001, 0.004, 0.006, 0.02, 0.4, 0.6, 2.0)


@pytest.mark.parametrize("text", CLAIMS)
def test_a_verdict_is_that_of_all_differences_in_the_interval(text):
    claim = parse(text)
    found = {
        (low, high): claim.verdict(Interval(low, high))
        for low, high in itertools.combinations_with_replacement(LIMITS, 2)
    }
    assert found == {limits: verdict(claim, *limits) for limits in found}
    assert set(found.values()) == {"holds", "does not hold", "undecided"}


def test_points_are_points_and_lower_is_better_where_the_metric_says_so():
    gain = Interval(0.006, 0.02)  # 0.6 to 2 points
    assert parse("a > b on accuracy by 0.5").verdict(gain) == "holds"
    assert parse("a > b on accuracy by 1").verdict(gain) == "undecided"
    assert parse("a > b on accuracy by 3").verdict(gain) == "does not hold"
    assert parse("a > b on nll").verdict(gain) == "does not hold"
    assert parse("a >= b on nll within 0.05").verdict(gain) == "holds"


@pytest.mark.parametrize("interval", [None, Interval(float("nan"), float("nan")), Interval(0.0, 0.0)])
def test_without_an_interval_or_a_difference_better_is_undecided(interval):
    assert parse("a > b on accuracy").verdict(interval) == "undecided"
