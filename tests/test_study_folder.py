"""The folder of a study: its design, claims of runs by locks, and which records count."""

import errno
import fcntl
import json
from dataclasses import replace
from pathlib import Path

import pytest

from randhead.errors import RunError
from randhead.files import write_json
from randhead.study import folder as folders
from randhead.study import locks, tuning
from randhead.study.design import Study
from randhead.study.plan import grid, reported_runs, tuning_runs
from randhead.study.records import FILE, RunRecord
from randhead.study.result import StudyResult
from randhead.study.time_limit import TimeLimit

STUDY = Study("a", seeds=(0, 1), settings={"machine.device": "cpu"})
TUNED = Study("a", seeds=(0, 1), tune={"optim.lr": (0.1, 0.2)}, tune_seeds=(70, 71))


def finished(folder, planned, **changes):
    """Write what a finished run leaves, as far as the study reads it."""
    run, sha = folder.run(planned), "" if changes.get("diverged") else "ab"
    about = {name: getattr(planned, name) for name in ("arm", "head_seed", "seed", "tuned", "tuning")}
    found = RunRecord(run=planned.name, **about, **{"weights_sha256": sha, "counts": {"test": 30}, **changes})
    write_json(run.reports / FILE, found.to_json())
    write_json(run.summary_path if sha else run.diverged_path, {"weights_sha256": sha, "message": ""})
    return found


def test_a_study_is_read_as_it_was_opened(tmp_path):
    folder = folders.open_study(STUDY, tmp_path)
    assert folders.read(folder.path) == (folder, STUDY)
    assert folders.open_study(STUDY, tmp_path) == folder


def test_another_design_replaces_one_of_its_name_and_keeps_its_finished_runs(tmp_path):
    folder = folders.open_study(STUDY, tmp_path)
    kept = [finished(folder, planned) for planned in reported_runs(STUDY, {})]
    longer = replace(STUDY, seeds=(0, 1, 2))
    assert folders.open_study(longer, tmp_path) == folder
    assert folders.records(*folders.read(folder.path)) == (kept, [])
    other = replace(STUDY, settings={**STUDY.settings, "optim.lr": 0.03})
    assert folders.records(folders.open_study(other, tmp_path), other) == ([], [])


def test_a_run_that_was_trained_before_anything_was_tuned_counts_with_the_settings_that_are_chosen(tmp_path):
    plain = replace(STUDY, settings={**STUDY.settings, "optim.lr": 0.1}, seeds=(0,))
    folder = folders.open_study(plain, tmp_path)
    for planned in reported_runs(plain, {}):
        finished(folder, planned)
    tuned = replace(plain, settings=STUDY.settings, seeds=(0, 1), tune={"optim.lr": (0.1, 0.2)})
    for planned in tuning_runs(tuned):
        finished(folder, planned, val={"accuracy": 1 - planned.tuned["optim.lr"]})
    new = list(reported_runs(tuned, tuning.choices(tuned, folders.records(folder, tuned)[1])))
    for planned in new[len(tuned.arms) :]:
        finished(folder, planned)
    reported, sweep = folders.records(folder, tuned)
    assert [run.tuned for run in reported] == [{"optim.lr": 0.1}] * 8
    assert len(StudyResult(tuned, tuple(reported), tuple(sweep)).records) == 8


def test_a_design_is_not_replaced_while_a_worker_of_another_one_is_at_work(tmp_path):
    folder = folders.open_study(STUDY, tmp_path)
    planned = next(reported_runs(STUDY, {}))
    with locks.claim(folder.lock(planned)) as is_ours:
        assert is_ours
        folders.open_study(STUDY, tmp_path)
        with pytest.raises(RunError, match=planned.name) as caught:
            folders.open_study(replace(STUDY, seeds=(5,)), tmp_path)
        assert caught.value.hint
    folders.open_study(replace(STUDY, seeds=(5,)), tmp_path)


def test_a_folder_that_is_no_study_is_kept(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "thesis.tex").write_text("all")
    for use in (lambda: folders.open_study(STUDY, tmp_path), lambda: folders.read(tmp_path / "a")):
        with pytest.raises(RunError, match="not the folder of a study"):
            use()
    (tmp_path / "a" / "study.json").write_text('{"format": "randhead study 9"}')
    with pytest.raises(RunError, match="format is 'randhead study 9'") as caught:
        folders.read(tmp_path / "a")
    assert "newer version" in caught.value.hint
    (tmp_path / "a" / "study.json").write_text("{")
    with pytest.raises(RunError, match=r"study\.json"):
        folders.read(tmp_path / "a")


@pytest.mark.parametrize("spoil", ["weights", "no summary", "not JSON", "another run"])
def test_a_record_that_is_not_of_the_weights_in_the_folder_counts_as_none(tmp_path, spoil):
    folder, planned = folders.open_study(STUDY, tmp_path), next(reported_runs(STUDY, {}))
    found = finished(folder, planned)
    run, path = folder.run(planned), folder.run(planned).reports / FILE
    assert folders.record(folder, STUDY, planned) == found
    if spoil == "weights":
        write_json(run.summary_path, {"weights_sha256": "cd"})
    elif spoil == "no summary":
        run.summary_path.unlink()
    else:
        path.write_text("[" if spoil == "not JSON" else json.dumps({**found.to_json(), "run": "b"}))
    assert folders.record(folder, STUDY, planned) is None


def test_the_record_of_a_diverged_run_counts_until_the_run_is_trained_again(tmp_path):
    folder, planned = folders.open_study(STUDY, tmp_path), next(reported_runs(STUDY, {}))
    found = finished(folder, planned, diverged="the loss is nan")
    assert folders.record(folder, STUDY, planned) == found
    folder.run(planned).diverged_path.unlink()
    assert folders.record(folder, STUDY, planned) is None


def test_a_record_counts_only_if_the_corruptions_are_those_of_the_design(tmp_path):
    folder, planned = folders.open_study(STUDY, tmp_path), next(reported_runs(STUDY, {}))
    measured = {"counts": {"test": 30, "corrupted": 20}, "severities": (1, 3), "corruptions": {"fog": (0.5, 0.25)}}
    found = finished(folder, planned, metrics={"accuracy": 0.75, "corruption_accuracy": 0.375}, **measured)
    same = replace(STUDY, corruptions=True, severities=(3, 1), corruption_limit=20)
    assert folders.record(folder, same, planned) == found
    for other in ({"severities": (1, 2)}, {"corruption_limit": 21}, {"corruption_limit": None}):
        assert folders.record(folder, replace(same, **other), planned) is None
    without = folders.record(folder, STUDY, planned)
    assert (without.metrics, without.corruptions, without.severities) == ({"accuracy": 0.75}, {}, ())
    assert without.counts == {"test": 30}


def test_a_lock_is_had_by_one_and_released_at_the_end(tmp_path):
    path = tmp_path / "locks" / "a.lock"
    with locks.claim(path) as first:
        assert first
        assert locks.is_claimed(path)
        with locks.claim(path) as second:
            assert not second
    assert not locks.is_claimed(path)


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_an_error(tmp_path, monkeypatch, code):
    def fails(handle, operation):
        raise OSError(code, "no locks here")

    monkeypatch.setattr(fcntl, "flock", fails)
    with pytest.raises(RunError, match="lock") as caught, locks.claim(tmp_path / "a.lock"):
        pass
    assert "file system with locks" in caught.value.hint


def test_a_folder_that_cannot_be_written_to_is_an_error_of_the_lock(tmp_path):
    (tmp_path / "locks").write_text("a file")
    with pytest.raises(RunError, match="locks"), locks.claim(tmp_path / "locks" / "a.lock"):
        pass


@pytest.mark.parametrize(
    ("where", "options", "word"),
    [
        ("/data/a", "rw,vers=3,nolock,proto=tcp", "nolock"),
        ("/data/a", "rw,vers=3,local_lock=none", None),
        ("/data/a", "rw,flock,lazystatfs", None),
        ("/data/a", "rw,localflock,lazystatfs", "localflock"),
        ("/data/own disk/a", "rw,localflock", None),  # another file system that is mounted there
        ("/database/a", "rw,localflock", None),
    ],
)
def test_locks_that_other_machines_do_not_see_are_told_of(where, options, word):
    mounts = "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
    mounts += f"40 22 0:50 / /data rw,relatime shared:9 - nfs server:/home {options}\n"
    mounts += "41 40 8:2 / /data/own\\040disk rw - ext4 /dev/sdb1 rw\n"
    found = locks.local_only(Path(where), mounts)
    assert (word in found and "/data" in found) if word else found is None
    assert locks.local_only(Path(where), "") is None


def sweep(study, accuracies, **changes):
    """Records of the sweep: accuracies by arm and combination; NaN for a run that diverged."""
    found = []
    for planned in tuning_runs(study):
        accuracy = accuracies[planned.arm][grid(study).index(planned.tuned)]
        about = {name: getattr(planned, name) for name in ("arm", "head_seed", "seed", "tuned", "tuning")}
        about["diverged"] = "the loss is nan" if accuracy is None else ""
        found.append(RunRecord(run=planned.name, **about, val={"accuracy": accuracy, "nll": 1.0}, **changes))
    return found


def test_the_best_validation_accuracy_is_chosen_and_the_first_of_equal_ones():
    given = {
        "dot-fixed": (0.5, 0.6),
        "dot-learned": (0.6, 0.5),
        "cosine-fixed": (0.5, 0.5),
        "cosine-learned": (None, 0),
    }
    records = sweep(TUNED, given, metrics={"accuracy": 0.99})
    chosen = {arm: tuned["optim.lr"] for arm, tuned in tuning.choices(TUNED, records).items()}
    assert chosen == {"dot-fixed": 0.2, "dot-learned": 0.1, "cosine-fixed": 0.1, "cosine-learned": 0.2}


def test_of_equal_accuracies_the_lower_nll_is_chosen():
    records = sweep(TUNED, dict.fromkeys((arm.name for arm in TUNED.arms), (0.5, 0.5)))
    lower = [replace(r, val={**r.val, "nll": 0.5}) if r.tuned["optim.lr"] == 0.2 else r for r in records]
    assert {tuned["optim.lr"] for tuned in tuning.choices(TUNED, lower).values()} == {0.2}
    infinite = [replace(r, val={**r.val, "nll": float("inf")}) if r.tuned["optim.lr"] == 0.1 else r for r in records]
    assert {tuned["optim.lr"] for tuned in tuning.choices(TUNED, infinite).values()} == {0.2}


def test_an_arm_is_chosen_for_when_its_own_sweep_is_complete():
    records = sweep(TUNED, dict.fromkeys((arm.name for arm in TUNED.arms), (0.5, 0.6)))
    assert list(tuning.choices(TUNED, records[:7])) == ["dot-fixed"]
    assert {run.arm for run in reported_runs(TUNED, tuning.choices(TUNED, records[:7]))} == {"dot-fixed"}
    assert tuning.choices(STUDY, []) == {}


def test_no_seed_of_the_sweep_is_reported():
    records = sweep(TUNED, dict.fromkeys((arm.name for arm in TUNED.arms), (0.5, 0.6)))
    reported = list(reported_runs(TUNED, tuning.choices(TUNED, records)))
    assert len(reported) == 8
    assert {run.seed for run in reported}.isdisjoint(run.seed for run in tuning_runs(TUNED))
    assert {run.name for run in reported}.isdisjoint(run.name for run in tuning_runs(TUNED))


def test_no_run_is_started_for_which_the_time_is_too_short():
    now = [0.0]
    limit = TimeLimit(10, clock=lambda: now[0])
    assert limit.allows()
    with limit.run():
        now[0] = 301
    assert limit.allows() is False  # 299 s are left, and a run takes 301
    assert not limit.is_over()
    now[0] = 601
    assert limit.is_over()
    assert TimeLimit(None).allows()
    assert not TimeLimit(0, clock=lambda: 5.0).allows()


def test_the_folder_of_a_study_is_a_path_however_it_was_given():
    assert folders.StudyFolder("studies/a").result_path == Path("studies/a/result.json")
