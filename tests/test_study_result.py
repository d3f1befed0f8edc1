"""The result of a study from made-up records: means, paired differences, verdicts, tables; no training."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from randhead import intervals
from randhead.analyses import seeds
from randhead.cli.hints import as_options
from randhead.cli.output import Output
from randhead.errors import RunError, UsageError
from randhead.study import arms, claims, merging
from randhead.study.arms import StudyArm
from randhead.study.claim_tables import of_claims
from randhead.study.design import Study
from randhead.study.metrics import METRICS
from randhead.study.records import RunRecord
from randhead.study.result import StudyResult
from randhead.tables import shown

A, B, C, D = arms.DEFAULT  # dot-fixed, dot-learned (the control), cosine-fixed, cosine-learned
TWO = (arms.named(A), arms.named(B))
ACCURACY = {A: 0.93, B: 0.92, C: 0.90, D: 0.85}
SPREAD = 0.004
PUBLISHED = {"published": "+1.3 points, 3 runs", "source": "arXiv 0000.00000, table 2"}


def design(*texts, **changes):
    return Study("made-up", claims=tuple(claims.parse(text, **PUBLISHED) for text in texts), **changes)


def record(arm, head, seed, *, diverged=False, full=False, **metrics):
    """A run whose numbers are a function of its arm and seeds: accuracy and NLL, or all metrics."""
    random = np.random.default_rng([sum(map(ord, arm)), head, seed])
    known = {key: float(random.normal(0.6, SPREAD)) for key in METRICS} if full else {"nll": float(random.normal())}
    known["converged"] = 1.0
    known["accuracy"] = ACCURACY.get(arm, 0.9) + float(random.normal(0, SPREAD))
    return RunRecord(
        run=f"{arm}-head{head}-seed{seed}-0a1b2c",
        arm=arm,
        head_seed=head,
        seed=seed,
        diverged="the loss is NaN at step 3" if diverged else "",
        metrics={"converged": 0.0} if diverged else known | metrics,
        counts={"train": 1438, "test": 359, "classes": 10},
        images="0123",
        environment={"device": "cpu"},
    )


def done(study, *, missing=(), diverged=(), full=False, **metrics):
    """The records of a study.

    Args:
        study: the design.
        full: whether all metrics are there.
        missing: (arm, seed) of runs that are not done.
        diverged: (arm, seed) of runs that diverged.
        metrics: a function of arm and seed for each metric whose values matter.
    """
    runs = [(arm.name, head, seed) for head, seed in study.pairs_of_seeds for arm in study.arms]
    return tuple(
        record(
            arm,
            head,
            seed,
            diverged=(arm, seed) in diverged,
            full=full,
            **{key: found(arm, seed) for key, found in metrics.items()},
        )
        for arm, head, seed in runs
        if (arm, seed) not in missing
    )


def result(*texts, study=None, **of_records):
    study = study or design(*texts)
    return StudyResult(study, done(study, **of_records))


def column(found, arm, key):
    return np.array([each.metrics[key] for each in found.records if each.arm == arm])


def printed(found, capsys, monkeypatch, width=80):
    monkeypatch.setenv("COLUMNS", str(width))
    Output(as_json=False).tables(found.tables())
    return capsys.readouterr().out


def words(found):
    """All that tables say, on one line."""
    return " ".join(
        " ".join((table.title, *table.columns, *(shown(cell) for row in table.rows for cell in row), *table.notes))
        for table in found.tables()
    )


# Means and differences


@pytest.mark.parametrize("key", ["accuracy", "nll"])
def test_means_and_paired_differences_are_those_of_numpy_and_scipy(key):
    found = result()
    arm = found.arms[0]
    values = column(found, A, key)
    half = stats.t.ppf(0.975, 4) * stats.sem(values)
    mean = arm.means[key]
    assert (mean.value, mean.n, mean.std) == pytest.approx((values.mean(), 5, values.std(ddof=1)))
    assert mean.interval.high == pytest.approx(min(mean.value + half, METRICS[key].limits[1]))
    other = stats.ttest_rel(column(found, A, key), column(found, B, key))
    difference = next(each for each in found.differences if (each.first, each.metric) == (A, key))
    limits = other.confidence_interval(0.95)
    assert difference.second == B == found.study.control
    assert difference.estimate.value == pytest.approx((column(found, A, key) - column(found, B, key)).mean())
    assert (difference.estimate.interval.low, difference.estimate.interval.high) == pytest.approx(tuple(limits))
    assert difference.p == pytest.approx(other.pvalue)
    signs = 1 - 2 * (np.arange(32)[:, None] >> np.arange(5) & 1)
    sums = abs(signs @ (column(found, A, key) - column(found, B, key)))
    assert difference.sign_flip_p == (sums >= sums[0] - 1e-12).mean()


def test_holm_is_over_the_arms_of_one_metric():
    """By hand: the smallest of three p-values times 3, the next times 2, the largest times 1, never smaller."""
    found = result()
    for key in found.keys:
        members = [each for each in found.differences if each.metric == key]
        ordered = sorted((each for each in members if each.p is not None), key=lambda each: each.p)
        largest = 0.0
        for factor, each in zip(range(len(ordered), 0, -1), ordered, strict=True):
            largest = max(largest, min(1.0, factor * each.p))
            assert each.holm_p == pytest.approx(largest)
    assert {each.first for each in found.differences} == {A, C, D}


def test_the_number_of_pairs_is_of_accuracies_only():
    found = result(full=True)
    [accuracy] = [each for each in found.differences if (each.first, each.metric) == (A, "accuracy")]
    std = accuracy.estimate.std
    power = stats.nct.sf(
        stats.t.ppf(0.975, accuracy.pairs_needed - 1),
        accuracy.pairs_needed - 1,
        0.005 / std * accuracy.pairs_needed**0.5,
    )
    assert power >= 0.8 - 1e-6
    assert {each.metric for each in found.differences if each.pairs_needed} <= {
        "accuracy",
        "corruption_accuracy",
        "transfer",
        "transfer_1nn",
    }


def test_the_share_of_runs_that_converged_has_the_interval_of_paired_shares():
    found = result(f"{A} > {B} on converged", diverged={(B, 1), (B, 2), (A, 2)})
    [verdict] = found.verdicts
    assert verdict.difference.estimate.value == pytest.approx(0.2)
    assert verdict.difference.estimate.interval == intervals.paired(1, 0, 5)
    assert verdict.difference.p == intervals.mcnemar(1, 0)
    assert found.arms[1].means["converged"].interval == intervals.wilson(3, 5)
    assert [arm.not_converged for arm in found.arms] == [1, 2, 0, 0]
    assert verdict.words == "undecided at n = 5"


def test_all_equal_values_have_no_interval_and_decide_nothing():
    found = result(f"{A} > {B} on accuracy", accuracy=lambda arm, seed: {A: 0.95}.get(arm, 0.9))
    [verdict] = found.verdicts
    assert (verdict.words, verdict.difference.p, verdict.difference.pairs_needed) == ("undecided at n = 5", None, None)
    assert "the same in all pairs" in verdict.notes[0]
    assert list(found.tables())


def test_no_interval_leaves_what_a_metric_can_be():
    found = result(study=design(seeds=(0, 1)), accuracy=lambda arm, seed: 0.99 - 0.5 * (arm == B) * seed)
    accuracy = found.arms[1].means["accuracy"].interval
    assert (accuracy.low, accuracy.high) == (0.0, 1.0)
    difference = found.difference(A, B, "accuracy")
    assert (difference.estimate.interval.low, difference.estimate.interval.high) == (-1.0, 1.0)
    assert difference.p == pytest.approx(stats.ttest_1samp([0.0, 0.5], 0).pvalue)


# Crossed seeds


def test_crossed_seeds_have_the_interval_of_random_effects_and_no_permutation_test(capsys, monkeypatch):
    study = design(f"{A} > {B} on accuracy", seeds=(0, 1, 2), head_seeds=(4, 5, 6))
    found = StudyResult(study, done(study))
    [verdict] = found.verdicts
    table = np.array([pair.difference for pair in verdict.difference.pairs]).reshape(3, 3)
    expected = intervals.crossed(table)
    assert verdict.difference.estimate.interval == expected
    assert 0 < verdict.difference.p < 1
    assert (verdict.difference.p < 0.05) == (expected.low > 0 or expected.high < 0)
    assert (verdict.difference.sign_flip_p, verdict.difference.pairs_needed) == (None, None)
    assert "3 head seeds x 3 seeds: intervals of two-way random effects" in verdict.notes
    text = printed(found, capsys, monkeypatch)
    assert "pairs share seeds" in text


def test_the_variance_of_crossed_seeds_is_split_as_analyze_seeds_does():
    study = design(seeds=(0, 1, 2), head_seeds=(4, 5))
    found = StudyResult(study, done(study, missing={(C, 1)}, diverged={(D, 1)}))
    [table] = [table for table in found.tables() if table.title.startswith("variance")]
    assert [row[0] for row in table.rows] == [A, B, C, D]
    runs = [each for each in found.records if each.arm == A]
    columns = [[getattr(each, name) for each in runs] for name in ("head_seed", "seed")]
    values = {"accuracy": [each.metrics["accuracy"] for each in runs]}
    expected = seeds.measure(*map(torch.tensor, columns), values={"accuracy": torch.tensor(values["accuracy"])}).metrics
    shares = [f"{100 * expected[f'accuracy_{kind}_share']:.0f}" for kind in ("head", "seed", "rest")]
    assert table.rows[0][1:6] == (6, f"{100 * expected['accuracy_std']:.2f}", *shares)
    assert [row[1] for row in table.rows] == [6, 6, 4, 4]
    [first, *_] = found.to_json()["variance"]
    assert first["head_p"] == pytest.approx(expected["accuracy_head_p"])
    assert (first["head_seeds"], first["seeds"]) == ([4, 5], [0, 1, 2])
    additive = StudyResult(study, done(study, accuracy=lambda arm, seed: 0.5 + 0.25 * seed))
    assert additive.variance[0].figures["seed_p"] is None  # nothing is left over to test against
    assert list(additive.tables()) and json.dumps(additive.to_json(), allow_nan=False)
    assert any("2 head seeds x" in note for note in table.notes)


# Verdicts


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"{A} > {D} on accuracy", "holds"),
        (f"{A} > {D} on accuracy by 5", "holds"),
        (f"{A} > {D} on accuracy by 8", "undecided at n = 5"),
        (f"{A} > {D} on accuracy by 11", "does not hold"),
        (f"{D} > {A} on accuracy", "does not hold"),
        (f"{A} >= {B} on accuracy within 2", "holds"),
        (f"{D} >= {A} on accuracy within 2", "does not hold"),
    ],
)
def test_a_verdict_is_of_any_two_arms(text, words):
    [verdict] = result(text).verdicts
    assert verdict.words == words
    assert verdict.difference.n == 5


def test_a_difference_is_first_minus_second_whatever_is_better(capsys, monkeypatch):
    found = result(f"{A} > {B} on nll", nll=lambda arm, seed: (0.2 if arm == A else 0.3) + seed / len(arm) / 100)
    [verdict] = found.verdicts
    assert verdict.words == "holds"
    assert verdict.difference.estimate.value < 0
    assert verdict.shown.startswith("-0.0996")
    text = printed(found, capsys, monkeypatch)
    assert "NLL (nats) \u2193" in text
    assert "first arm minus second" in text


def test_a_diverged_run_is_left_out_and_said_with_its_number():
    found = result(f"{A} > {B} on accuracy", diverged={(B, 1), (B, 3)})
    [verdict] = found.verdicts
    kept = [0, 2, 4]
    accuracy = {arm: np.array([record(arm, s, s).metrics["accuracy"] for s in kept]) for arm in (A, B)}
    assert verdict.difference.estimate.value == pytest.approx((accuracy[A] - accuracy[B]).mean())
    assert [pair.seed for pair in verdict.difference.pairs] == kept
    assert f"2 of 5 runs of {B} diverged: the difference is over 3 pairs" in verdict.notes
    assert f"2 of 5 runs of {B} diverged: the difference is over 3 pairs" in words(found)
    assert found.arms[1].means["accuracy"].n == 3


@pytest.mark.parametrize(
    ("text", "diverged", "expected", "of_pairs"),
    [
        (f"{A} > {D} on accuracy", {(A, 1)}, "undecided at n = 4", "holds"),
        (f"{A} > {D} on accuracy", {(D, 1)}, "holds", "holds"),
        (f"{D} > {A} on accuracy", {(A, 1)}, "undecided at n = 4", "does not hold"),
        (f"{D} > {A} on accuracy", {(D, 1)}, "does not hold", "does not hold"),
    ],
)
def test_leaving_out_diverged_runs_does_not_help_their_arm(text, diverged, expected, of_pairs):
    [verdict] = result(text, diverged=diverged).verdicts
    assert (verdict.words, verdict.of_pairs) == (expected, of_pairs)
    withheld = [note for note in verdict.notes if "leaving out failed runs of" in note]
    assert len(withheld) == (expected != of_pairs)
    assert any("1 of 5 runs of" in note for note in verdict.notes)


def test_the_epochs_of_a_run_that_did_not_converge_are_not_left_out_in_silence():
    slow = {(A, 0), (A, 1)}
    found = result(
        f"{A} > {B} on epochs",
        epochs=lambda arm, seed: None if (arm, seed) in slow else 3.0 + seed / 7 + 9 * (arm == B) - seed * (arm == B),
        converged=lambda arm, seed: float((arm, seed) not in slow),
    )
    [verdict] = found.verdicts
    assert f"2 of 5 runs of {A} did not converge: the difference is over 3 pairs" in verdict.notes
    assert (verdict.words, verdict.of_pairs) == ("undecided at n = 3", "holds")


# Incomplete studies


def test_one_pair_is_undecided():
    found = result(study=design(f"{A} > {B} on accuracy", seeds=(0,)))
    [verdict] = found.verdicts
    assert verdict.words == "undecided at n = 1"
    assert "one pair of runs has no interval" in verdict.notes
    assert verdict.difference.estimate.interval is None
    assert verdict.to_json()["interval"] is None


def test_a_study_without_runs_has_tables_and_a_document():
    study = design(f"{A} > {B} on accuracy")
    found = StudyResult(study, ())
    assert found.verdicts[0].words == "undecided at n = 0"
    assert "0 of 20 runs done" in words(found)
    assert StudyResult.from_json(found.to_json()) == found


def test_missing_runs_are_counted_and_their_pairs_left_out():
    found = result(f"{A} > {B} on accuracy", missing={(B, 2), (C, 0)})
    [verdict] = found.verdicts
    assert [pair.seed for pair in verdict.difference.pairs] == [0, 1, 3, 4]
    assert "4 of 5 pairs done: the verdict can change" in verdict.notes
    assert "18 of 20 runs done" in words(found)
    assert [len(arm.records) for arm in found.arms] == [5, 4, 4, 5]


def test_a_number_of_pairs_that_differs_between_metrics_is_in_a_column_of_its_own():
    found = result(nll=lambda arm, seed: None if (arm, seed) == (A, 0) else 0.2 + seed / (7 + len(arm)))
    tables = {table.title: table for table in found.tables()}
    assert tables[f"{C} minus {B}, 5 pairs"].columns[2] == "p"
    mixed = tables[f"{A} minus {B}"]
    assert mixed.columns[2] == "n" and [row[2] for row in mixed.rows] == [5, 4]
    assert "NLL: 1 pair without a value left out" in mixed.notes
    means = next(table for title, table in tables.items() if "means over runs" in title)
    assert means.columns[1:3] == (A, B) and "5 runs per arm" in means.title
    assert "(n = 4)" in means.rows[1][1] and "(n" not in means.rows[0][1] + means.rows[1][2]


def test_a_note_names_the_claims_that_it_is_about():
    found = result(f"{A} > {B} on accuracy", f"{C} > {B} on nll", f"{A} > {C} on nll", diverged={(C, 0)})
    claims = next(found.tables())
    assert f"claims 2, 3: 1 of 5 runs of {C} diverged: the difference is over 4 pairs" in claims.notes
    assert [row[0].partition(" ")[0] for row in claims.rows] == ["1.", "2.", "3."]


# Documents


def test_a_document_gives_the_same_result_without_nan():
    study = design(f"{A} > {B} on accuracy", f"{A} > {B} on nll")
    found = StudyResult(study, done(study, diverged={(A, 1)}, missing={(B, 2)}, ece=lambda *_: math.nan))
    text = json.dumps(found.to_json(), allow_nan=False)
    again = StudyResult.from_json(json.loads(text))
    assert again == found
    assert json.dumps(again.to_json()) == text


def test_every_number_can_be_traced_to_its_runs(tmp_path):
    found = result(f"{A} > {B} on accuracy")
    document = json.loads(found.save(tmp_path).read_text())
    assert document["format"] == 1
    records = {each["run"]: each for each in document["records"]}
    for arm in document["arms"]:
        values = [records[name]["metrics"]["accuracy"] for name in arm["runs"]]
        assert arm["metrics"]["accuracy"]["mean"] == pytest.approx(np.mean(values))
    for each in (*document["differences"], *document["claims"]):
        key = each["metric"]
        pairs = [records[p["first"]]["metrics"][key] - records[p["second"]]["metrics"][key] for p in each["pairs"]]
        assert each["difference"] == pytest.approx(np.mean(pairs))
        assert [pair["difference"] for pair in each["pairs"]] == pairs


def test_the_order_of_records_does_not_matter():
    study = design(f"{A} > {B} on accuracy", seeds=(0, 1, 2), head_seeds=(0, 1))
    records = done(study)
    shuffled = tuple(records[i] for i in np.random.default_rng(0).permutation(len(records)))
    assert StudyResult(study, shuffled).to_json() == StudyResult(study, records).to_json()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: {**d, "format": 7}, "format 7"),
        (lambda d: {"accuracy": 0.9, "run": "a"}, "no result of a study"),
        (lambda d: [d], "no result of a study"),
        (lambda d: d["records"][0]["metrics"].update(accuracy=97.0) or d, "accuracy is 97, and must be from 0 to 1"),
        (lambda d: {**d, "records": [{"run": "a"}]}, "no result of a study"),
        (lambda d: {**d, "records": d["records"] + d["records"][:1]}, "the same run"),
    ],
)
def test_other_documents_are_refused(change, message):
    with pytest.raises(RunError, match=message):
        StudyResult.from_json(change(json.loads(json.dumps(result().to_json()))))


def test_runs_on_other_images_are_not_compared():
    study = design()
    first, *others = done(study)
    with pytest.raises(RunError, match="on the same images"):
        StudyResult(study, (replace(first, images="other"), *others))
    with pytest.raises(UsageError, match="seeds that the design does not have"):
        StudyResult(study, (replace(first, seed=9), *others))
    with pytest.raises(UsageError, match="unknown arm"):
        StudyResult(study, (replace(first, arm="other"), *others))


# Merging


def parts(study, folder, *seeds, **of_records):
    """A study in parts that have some of its seeds each, as files."""
    paths = []
    for i, some in enumerate(seeds):
        part = replace(study, seeds=some)
        paths.append(StudyResult(part, done(part, **of_records)).save(folder / f"part{i}"))
    return paths


def test_merged_halves_are_the_whole_to_the_last_digit(tmp_path):
    study = design(f"{A} > {B} on accuracy", arms=TWO)
    whole = StudyResult(study, done(study, diverged={(A, 1)}, missing={(B, 4)}))
    paths = parts(study, tmp_path, (0, 1), (2, 3, 4), diverged={(A, 1)}, missing={(B, 4)})
    for order in (paths, paths[::-1], [path.parent for path in paths]):
        [merged] = merging.merge(order)
        assert merged.to_json() == whole.to_json()
    study = replace(study, seeds=(1, 8))
    [merged] = merging.merge(parts(study, tmp_path / "others", (8,), (1,)))
    assert merged.to_json() == StudyResult(study, done(study)).to_json()
    study = replace(study, head_seeds=(3, 5))
    halves = [replace(study, head_seeds=(head,)) for head in study.head_seeds]
    paths = [StudyResult(half, done(half)).save(tmp_path / str(half.head_seeds)) for half in halves]
    [merged] = merging.merge(paths)
    assert merged.to_json() == StudyResult(study, done(study)).to_json()


def test_the_same_run_in_two_parts_counts_once_if_it_is_equal(tmp_path):
    study = design(arms=TWO)
    paths = parts(study, tmp_path, (0, 1, 2), (2, 3, 4))
    [merged] = merging.merge(paths)
    assert merged.to_json() == result(study=study).to_json()
    content = json.loads(paths[1].read_text())
    content["records"][0]["metrics"]["accuracy"] += 1e-9
    paths[1].write_text(json.dumps(content))
    with pytest.raises(RunError, match="different numbers of the same run") as error:
        merging.merge(paths)
    assert all(str(path) in error.value.message for path in paths)
    assert content["records"][0]["run"] in error.value.message
    assert "metrics" in error.value.message


def test_parts_with_other_images_are_refused(tmp_path):
    paths = parts(design(arms=TWO), tmp_path, (0, 1), (2, 3))
    paths[1].write_text(paths[1].read_text().replace('"images": "0123"', '"images": "4567"'))
    with pytest.raises(RunError, match="different images") as error:
        merging.merge(paths)
    assert all(str(path) in error.value.message for path in paths)


def test_parts_that_were_tuned_differently_are_refused(tmp_path):
    study = design(tune={"optim.lr": (0.1, 0.3)})
    paths = []
    for seed, rate in ((0, 0.1), (1, 0.3)):
        part = replace(study, seeds=(seed,))
        records = tuple(replace(each, tuned={"optim.lr": rate}) for each in done(part))
        paths.append(StudyResult(part, records).save(tmp_path / str(seed)))
    with pytest.raises(RunError, match="different tuned settings"):
        merging.merge(paths)


def test_other_studies_stay_apart_and_a_merge_can_be_merged(tmp_path):
    study = design(f"{A} > {B} on accuracy", arms=TWO)
    other = replace(study, name="other", seeds=(0, 1))
    paths = parts(study, tmp_path, (0, 1), (2, 3, 4))
    paths.insert(1, StudyResult(other, done(other)).save(tmp_path / "other"))
    merged = merging.merge(paths)
    assert [each.study.name for each in merged] == ["made-up", "other"]
    file = merging.save(merged, tmp_path / "merged")
    assert merging.merge([file]) == merged
    assert merging.merge([file, paths[0]]) == merged
    assert merging.merge([merging.save(merged[:1], tmp_path / "one")]) == merged[:1]


def test_parts_of_machines_with_other_paths_are_merged_and_another_study_of_the_name_is_refused(tmp_path):
    def part(seed, home, **settings):
        files = {"data.name": f"/{home}/photos", "machine.device": "cpu", **settings}
        mine = StudyArm("mine", {"head.vectors": f"/{home}/mine.py"})
        study = Study("made-up", arms=(arms.named(A), mine), settings=files, seeds=(seed,))
        return StudyResult(study, done(study)).save(tmp_path / f"{home}{seed}")

    first, second = part(0, "ann"), part(1, "bob")
    assert [each.study.seeds for each in merging.merge([first, second])] == [(0, 1)]
    with pytest.raises(RunError, match=r"both of a study made-up, but differ in optim\.lr\n"):
        merging.merge([first, second, part(2, "ann", **{"optim.lr": 0.2})])


def test_a_sweep_that_two_parts_have_run_has_the_numbers_of_the_first(tmp_path):
    study = design(tune={"optim.lr": (0.1, 0.3)}, tune_seeds=(70,), seeds=(0,))
    paths = []
    for seed in (0, 1):  # the last bits of a GPU may differ
        part = replace(study, seeds=(seed,))
        chosen = tuple(replace(each, tuned={"optim.lr": 0.3}) for each in done(part))
        sweep = tuple(
            replace(record(arm, 70, 70), tuning=True, tuned={"optim.lr": rate}, val={"accuracy": rate + 1e-9 * seed})
            for arm in (A, B, C, D)
            for rate in (0.1, 0.3)
        )
        paths.append(StudyResult(part, chosen, sweep).save(tmp_path / str(seed)))
    [merged] = merging.merge(paths)
    assert len(merged.records) == 8
    assert [each.val["accuracy"] for each in merged.sweep] == [0.1, 0.3] * 4


def test_claims_of_later_parts_are_appended(tmp_path):
    first, second = f"{A} > {B} on accuracy", f"{C} > {D} on nll"
    paths = parts(design(first), tmp_path / "a", (0, 1)) + parts(design(second, first), tmp_path / "b", (2, 3))
    [merged] = merging.merge(paths)
    assert [verdict.claim.text for verdict in merged.verdicts] == [first, second]
    assert all(verdict.difference.n == 4 for verdict in merged.verdicts)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"format": 1, "stu', "not complete JSON"),
        ('{"test": {"accuracy": 0.9}}', "no result of a study"),
        ('{"format": 2, "studies": []}', "format 2"),
        ("[]", "no result of a study"),
        ('{"format": 1, "studies": []}', "has the results of no study"),
        ('{"format": NaN}', "NaN is no number of JSON"),
        (100_000 * "[", "not complete JSON"),
        (b"\xff\xfe", "not complete JSON"),
        (None, "No such file"),
    ],
)
def test_files_that_are_no_results_are_named(tmp_path, content, message):
    path = tmp_path / "result.json"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    for given in (path, tmp_path):
        with pytest.raises(RunError, match=message) as error:
            merging.merge([given])
        assert str(path) in error.value.message
        assert error.value.hint


# Tables


@pytest.mark.parametrize(
    "study",
    [
        design(f"{A} > {B} on accuracy", f"{C} >= {D} on nll within 1"),
        design(
            arms=tuple(arms.parse(f"a-name-as-long-as-anybody-would-write-{i}: head.scale={i + 1}") for i in range(3))
        ),
        design(arms=tuple(arms.parse(f"scale{2**i}: head.scale={2**i}") for i in range(7)), seeds=(0, 1)),
    ],
    ids=["four arms", "long names", "many arms"],
)
def test_no_number_of_a_table_is_cut_at_80_columns(study, capsys, monkeypatch):
    found = StudyResult(study, done(study, full=True))
    text = printed(found, capsys, monkeypatch)
    said = {as_options(note) for table in found.tables() for note in (*table.notes, table.title)}
    assert [line for line in text.splitlines() if len(line.rstrip()) > 80 and line not in said] == []
    for table in found.tables():
        for row in table.rows:
            for cell in row:
                if "[" in shown(cell):
                    assert shown(cell).rpartition("]")[0] in text


def test_long_published_results_are_notes_on_a_terminal_and_a_column_elsewhere():
    texts = ("a" * 30, "b" * 30)
    study = replace(
        design(),
        claims=tuple(
            claims.parse(f"{A} > {B} on {metric}", published=text, source="there")
            for metric, text in zip(("accuracy", "nll"), texts, strict=True)
        ),
    )
    found = StudyResult(study, done(study))
    shown, whole = next(found.tables()), of_claims([found])
    assert shown.columns[-1] == "n"
    assert [note for note in shown.notes if note.startswith("published")] == [
        f"published on claim {i}: {text} (there)" for i, text in enumerate(texts, start=1)
    ]
    assert [row[-1] for row in whole.rows] == list(texts)
    assert whole.notes[-1] == "published: there"


def test_one_arm_that_is_compared_with_the_control_needs_no_correction():
    study = design(arms=TWO)
    tables = list(StudyResult(study, done(study)).tables())
    assert not any("Holm" in text for table in tables for text in (*table.columns, *table.notes))


def test_tables_come_in_order_and_say_that_nothing_was_tuned():
    titles = [table.title for table in result(f"{A} > {B} on accuracy").tables()]
    assert [title.partition(",")[0].partition(" [")[0] for title in titles] == [
        "made-up: claims",
        "made-up: means over runs",
        f"{A} minus {B}",
        f"{C} minus {B}",
        f"{D} minus {B}",
        "made-up: training",
        "tuning",
        "design",
    ]
    assert "nothing was tuned: all arms have the settings of the recipe `fair`" in words(result())


def test_a_setting_that_is_tuned_is_not_said_to_be_that_of_all_arms():
    plain = design(settings={"optim.lr": 0.07, "train.epochs": 3})
    tuned = replace(plain, tune={"optim.lr": (0.1, 0.3)})
    said, of_tuned = (words(StudyResult(study, ())) for study in (plain, tuned))
    assert "0.07" in said and "0.07" not in of_tuned and "train.epochs" in of_tuned


def test_arms_with_other_networks_or_batches_are_not_said_to_have_the_same():
    usual, other = (arms.named(A), StudyArm("other", {"optim.lr": 0.1})), StudyArm("more", {"train.batch_size": 8})
    said = [words(StudyResult(Study("a", arms=some), ())) for some in (usual, (*usual, other))]
    assert ["unless their own settings change that" in each for each in said] == [False, True]


def test_the_sweep_is_shown_with_what_was_chosen():
    study = design(tune={"optim.lr": (0.1, 0.3)}, tune_seeds=(70, 71))
    best = {A: 0.3, B: 0.1, C: 0.1, D: 0.3}
    sweep = tuple(
        replace(
            record(arm, seed, seed),
            tuning=True,
            tuned={"optim.lr": rate},
            val={"accuracy": 0.9 + 0.05 * (rate == best[arm]), "nll": 0.3},
        )
        for rate in (0.3, 0.1)
        for arm in (D, C, B, A)
        for seed in (71, 70)
    )
    found = StudyResult(study, (), sweep)
    [table] = [table for table in found.tables() if table.title.startswith("tuning")]
    chosen = {row[0]: row[1] for row in table.rows if row[-1] == "chosen"}
    assert chosen == {arm: f"optim.lr = {rate}" for arm, rate in best.items()}
    assert [row[:2] for row in table.rows] == [
        (arm, f"optim.lr = {rate}") for arm in (A, B, C, D) for rate in (0.1, 0.3)
    ]
    assert table.rows[0][2:5] == ("90.00", pytest.approx(0.3), 2)
    assert f"{A}, {B}, {C}, {D}: the chosen optim.lr is the smallest or the largest that was tried" in words(found)
    partial = StudyResult(study, (), sweep[:-1])
    assert "15 of 16 runs done" in words(partial)
    halved = (replace(sweep[0], diverged="the loss is NaN", val={}), *sweep[1:])
    [table] = [each for each in StudyResult(study, (), halved).tables() if each.title.startswith("tuning")]
    assert table.rows[-1][2:4] == ("diverged", None)  # the NLL of the other seed alone would flatter it
    assert StudyResult(study, (), sweep[::-1]).to_json() == found.to_json()


def test_a_joint_table_of_claims_names_studies_and_published_results():
    first = result(f"{A} > {D} on accuracy")
    second = result(study=replace(design(f"{A} > {B} on accuracy by 9"), name="other"))
    table = of_claims([first, second])
    assert table.columns == ("study", "claim", "verdict", "difference [95 % interval]", "n", "published")
    assert [row[0] for row in table.rows] == ["made-up", "other"]
    assert [row[2] for row in table.rows] == ["holds", "does not hold"]
    assert [row[5] for row in table.rows] == ["+1.3 points, 3 runs"] * 2
    assert any("without a correction" in note for note in table.notes)
    assert any("arXiv 0000.00000" in note for note in table.notes)
    together = list(merging.tables([first, second]))
    assert together[0] == table
    assert {each.title.partition(":")[0] for each in together[1:]} == {"made-up", "other"}
    assert list(merging.tables([first])) == list(first.tables())
