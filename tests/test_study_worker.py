"""Workers of a study: what they train and measure, and that a study survives their death to the last digit."""

import json
import multiprocessing
import os
import random
import signal
import time
from dataclasses import replace
from itertools import groupby

import pytest
import torch
from PIL import Image
from tiny import image_folder

from randhead import datasets, evaluation, model, robustness
from randhead.backbones import small_resnet
from randhead.config import configure
from randhead.errors import DataError, RunError, StopRequested, UsageError
from randhead.intervals import wilson
from randhead.study import folder as folders
from randhead.study import locks, running, tuning, worker
from randhead.study.design import Study
from randhead.study.events import RunDone, RunStarted
from randhead.study.plan import reported_runs
from randhead.train import batches, tasks
from randhead.train.events import StepDone
from randhead.train.resolve import resolve_settings

NAMES = ("cat", "dog", "eel", "fox")
SETTINGS = {
    "backbone.name": "small_resnet",
    "recipe": "default",
    "train.epochs": 2,
    "train.batch_size": 16,
    "train.precision": "fp32",
    "machine.device": "cpu",
    "optim.lr": 0.05,
    "data.validation": 0.25,
}


@pytest.fixture
def images(tmp_path):
    return image_folder(tmp_path / "data", classes=NAMES, images=20)


def design(images, **changes):
    settings = {**SETTINGS, "data.name": str(images), **changes.pop("settings", {})}
    return Study("tiny", **{"seeds": (0, 1), "settings": settings, **changes})


def work(study, root, **options):
    """Do what a study lacks: the events, and the records of reported runs and of the sweep."""
    folder, events = folders.open_study(study, root), []
    worker.work(folder, study, **{"on_event": events.append, "warn": lambda text: None, **options})
    return events, *folders.records(folder, study)


def steps(events):
    return sum(isinstance(event, StepDone) for event in events)


def test_a_seed_gives_all_arms_the_same_weights_vectors_batches_and_crops():
    study = Study("a", seeds=(3, 4), settings={"backbone.name": "small_resnet", "recipe": "fair"})
    dataset = datasets.load("digits")
    made = {}
    for run in reported_runs(study, {}):
        settings = resolve_settings(run.config, dataset)
        built = model.from_config(run.config, settings)
        labels = tasks.of(run.config, dataset).labels
        of_epoch = batches.of_epoch(dataset.splits["train"], labels, settings, run.config.train, epoch=1, first=0)
        made[run.arm, run.seed] = {
            **{name: value for name, value in built.backbone.state_dict().items() if value.dtype.is_floating_point},
            "vectors": built.head.vectors.detach() if built.head.trainable else built.head.draw(),
            **{f"batch {i}": torch.cat([x.flatten(), y]) for i, (x, y) in zip(range(2), of_epoch, strict=False)},
        }
    assert len(made) == 8
    for (arm, seed), tensors in made.items():
        first = made["dot-fixed", seed]
        assert tensors.keys() == first.keys()
        assert all(torch.equal(value, first[name]) for name, value in tensors.items()), arm
    other = made["dot-fixed", 4]
    assert not any(torch.equal(made["dot-fixed", 3][n], other[n]) for n in ("vectors", "batch 0", "0.0.weight"))


@pytest.mark.slow
def test_every_figure_of_a_record_is_what_the_library_measures(tmp_path, images):
    study = design(images, seeds=(0,), corruptions=True, severities=(2, 4), corruption_limit=3)
    study = replace(study, settings={**study.settings, "data.hold_out_classes": "2"})
    read = []
    with pytest.MonkeyPatch.context() as patch:
        whole = datasets.from_config
        patch.setattr(datasets, "from_config", lambda *args, **more: read.append(1) or whole(*args, **more))
        events, records, _ = work(study, tmp_path)
    assert read == [1]  # for all runs and all analyses
    assert [type(event) for event in events if isinstance(event, RunStarted | RunDone)] == [RunStarted, RunDone] * 4
    folder, _ = folders.read(tmp_path / "tiny")
    for record in records:
        run = folder.runs / record.run
        assert not (run / "features").exists()
        assert len(list((run / "checkpoints").iterdir())) == 1
        quiet = {"device": "cpu", "warn": lambda text: None}
        found = evaluation.evaluate(run, **quiet).to_json()
        apart, tight, new = (
            evaluation.analyze(name, run, **quiet).to_json()[name]
            for name in ("separability", "compactness", "transfer")
        )
        assert {
            "accuracy": found["accuracy"],
            "nll": pytest.approx(found["nll"], rel=1e-6),
            "ece": pytest.approx(found["ece"], rel=1e-6),
            "separability": apart["mean_angle_deg"],
            "class_separation": apart["class_separation_r2"],
            "compactness": tight["within_distance"],
            "transfer": new["linear_probe"],
            "transfer_1nn": new["knn_1"],
        }.items() <= record.metrics.items()
        report = robustness.benchmark(run, severities=(2, 4), limit=3, **quiet)
        assert record.metrics["corruption_accuracy"] == report.grid.mean_accuracy
        assert record.corruptions == {name: tuple(row.values()) for name, row in report.corruptions.items()}
        assert (record.severities, record.counts["corrupted"], len(record.corruptions)) == ((2, 4), 3, 15)
        log = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        curve = [line["val_accuracy"] for line in log]
        assert record.curves["val_accuracy"] == tuple(curve)
        assert record.metrics["train_loss"] == log[-1]["train_loss"]
        above = wilson(round(record.val["accuracy"] * record.counts["val"]), record.counts["val"]).low > 1 / 2
        assert record.metrics["converged"] == above
        first = next(epoch for epoch, value in enumerate(curve, 1) if value >= curve[-1] - 0.01)
        assert record.metrics["epochs"] == (first if above else None)


@pytest.mark.slow
def test_a_training_that_diverges_is_a_result_and_is_not_repeated(tmp_path, images):
    wild = replace(Study("a").arms[1], settings={**Study("a").arms[1].settings, "optim.lr": 1e30})
    arms = [Study("a").arms[0], wild]
    study = design(images, arms=tuple(arms), seeds=(0,))
    _, (first, second), _ = work(study, tmp_path)
    assert first.diverged == ""
    assert second.diverged.startswith("the ")
    assert "checkpoint" not in second.diverged  # which depends on when it was stopped
    assert {key: value for key, value in second.metrics.items() if value is not None} == {"converged": 0.0}
    assert second.weights_sha256 == ""
    events, again, _ = work(study, tmp_path)
    assert (events, again) == ([], [first, second])


@pytest.mark.slow
def test_tuning_tests_nothing_and_chooses_by_the_validation_split(tmp_path, images):
    study = design(images, seeds=(0,), tune={"optim.lr": (1e-9, 0.05, 1e30)}, tune_seeds=(7, 8))
    study = replace(study, arms=study.arms[:2])
    events, records, sweep = work(study, tmp_path)
    assert [event.done for event in events if isinstance(event, RunDone)] == list(range(1, 15))
    assert all(record.metrics["accuracy"] is None and record.metrics["nll"] is None for record in sweep)
    for arm in study.arms:
        means = {lr: [] for lr in study.tune["optim.lr"]}
        for record in sweep:
            if record.arm == arm.name:
                means[record.tuned["optim.lr"]].append(record.val.get("accuracy", 0.0))
        best = max(means, key=lambda lr: sum(means[lr]))
        assert tuning.choices(study, sweep)[arm.name] == {"optim.lr": best}
        assert [dict(r.tuned) for r in records if r.arm == arm.name] == [{"optim.lr": best}]
    assert {record.seed for record in sweep} == {7, 8}
    assert {record.seed for record in records} == {0}


@pytest.mark.slow
def test_what_is_asked_for_later_is_measured_without_training(tmp_path, images):
    study = design(images, seeds=(0,))
    _, before, _ = work(study, tmp_path)
    events, after, _ = work(replace(study, corruptions=True, severities=(3,), corruption_limit=8), tmp_path)
    assert steps(events) == 0
    for old, new in zip(before, after, strict=True):
        assert new.weights_sha256 == old.weights_sha256
        assert new.metrics["corruption_accuracy"] is not None
        kept = {key: value for key, value in new.metrics.items() if key != "corruption_accuracy"}
        assert kept == old.metrics | {key: old.metrics[key] for key in kept}
    assert work(study, tmp_path) == ([], before, [])


@pytest.mark.slow
def test_a_finished_run_is_not_measured_on_other_images(tmp_path, images):
    study = design(images, seeds=(0,), settings={"train.epochs": 1})
    work(study, tmp_path)
    for path in images.rglob("*.png"):
        with Image.open(path) as picture:
            picture.rotate(180).save(path)
    with pytest.raises(DataError, match="has changed since dot-fixed") as caught:
        work(replace(study, corruptions=True), tmp_path)
    assert "another `name`" in caught.value.hint


@pytest.mark.slow
def test_a_run_that_fails_does_not_lose_the_others(tmp_path, images):
    study = design(images, seeds=(0,))
    folder = folders.open_study(study, tmp_path)
    bad = list(reported_runs(study, {}))[1]
    (folder.runs / bad.name).mkdir(parents=True)
    (folder.runs / bad.name / "notes.txt").write_text("mine")
    said = []
    with pytest.raises(RunError, match=f"{bad.name}: .*not a run"):
        work(study, tmp_path, warn=said.append)
    assert sum(bad.name in text for text in said) == 1
    assert [record.arm for record in folders.records(folder, study)[0]] == [
        arm.name for arm in study.arms if arm.name != bad.arm
    ]
    (folder.runs / bad.name / "notes.txt").unlink()
    (folder.runs / bad.name).rmdir()
    events, records, _ = work(study, tmp_path)
    assert [event.record.run for event in events if isinstance(event, RunDone)] == [bad.name]
    assert len(records) == 4
    folder.run(bad).summary_path.write_text("{")
    with pytest.raises(RunError, match=f"{bad.name}: .*cannot be read") as caught:
        work(study, tmp_path)
    assert caught.value.hint.startswith(f"delete {folder.runs / bad.name}, or move it away")


@pytest.mark.slow
def test_a_cause_that_all_runs_share_ends_the_worker_at_once(tmp_path, images):
    study = design(images)
    (images / "cat" / "0.png").write_text("no picture")
    with pytest.raises(DataError, match=r"^dot-fixed-seed0-\w+: .*0\.png"):
        work(study, tmp_path)
    study = design(images, settings={"data.skip_bad_images": True})
    folder = folders.open_study(study, tmp_path)
    for run in list(reported_runs(study, {}))[2:4]:
        (folder.runs / run.name).mkdir(parents=True)
        (folder.runs / run.name / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match=r"cosine-fixed-seed0-\w+: .*; 1 more failed: cosine-learned-seed0"):
        work(study, tmp_path)
    assert len(folders.records(folder, study)[0]) == 2


@pytest.mark.slow
def test_a_worker_that_is_stopped_resumes_and_gives_the_same_record(tmp_path, images):
    study = design(images, seeds=(0,))
    _, whole, _ = work(study, tmp_path / "whole")
    seen, threads = [], torch.get_num_threads()
    with pytest.raises(StopRequested):
        work(replace(study, threads=2), tmp_path / "other", on_event=seen.append, should_stop=lambda: steps(seen) >= 3)
    assert torch.get_num_threads() == threads
    seen.clear()
    with pytest.raises(StopRequested):
        work(study, tmp_path / "parts", on_event=seen.append, should_stop=lambda: steps(seen) >= 3)
    assert not (tmp_path / "parts" / "tiny" / "runs" / whole[0].run / "summary.json").exists()
    work(study, tmp_path / "parts", minutes=0)  # no time: nothing is started
    assert folders.records(folders.StudyFolder(tmp_path / "parts" / "tiny"), study) == ([], [])
    _, parts, _ = work(study, tmp_path / "parts")
    assert list(map(without_time, parts)) == list(map(without_time, whole))


@pytest.mark.slow
def test_only_one_run_is_done_if_asked_and_another_name_is_refused(tmp_path, images):
    study = design(images, settings={"train.epochs": 1})
    name = list(reported_runs(study, {}))[5].name
    _, records, _ = work(study, tmp_path, only=name)
    assert [record.run for record in records] == [name]
    with pytest.raises(UsageError, match="dot-fixde"):
        work(study, tmp_path, only="dot-fixde")


def test_a_run_of_another_worker_is_left_to_it(tmp_path, images):
    study = design(images, settings={"train.epochs": 1})
    folder, run = folders.open_study(study, tmp_path), next(reported_runs(study, {}))
    with locks.claim(folder.lock(run)):
        assert work(study, tmp_path, only=run.name, wait=False) == ([], [], [])


def without_time(record):
    return without_seconds(record.to_json())


def without_seconds(document):
    """A document without the times that trainings took."""
    if isinstance(document, list):
        return [without_seconds(item) for item in document]
    if isinstance(document, dict):
        return {key: without_seconds(value) for key, value in document.items() if key != "seconds"}
    return document


def in_process(path, log):
    """A worker as a process of its own, with the small networks of the tests.  It logs every event."""
    small_resnet.WIDTHS, os.fsync = (8, 16, 32), lambda handle: None
    handle = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def write(event):
        if isinstance(event, RunStarted):
            write.run = event.run.name
        if isinstance(event, RunStarted | StepDone | RunDone):
            step = event.step if isinstance(event, StepDone) else None
            line = {"worker": os.getpid(), "run": write.run, "kind": type(event).__name__, "step": step}
            os.write(handle, (json.dumps(line) + "\n").encode())

    worker.POLL_S = 0.05
    worker.work(*folders.read(path), on_event=write, warn=lambda text: None)


@pytest.mark.slow
def test_a_study_whose_workers_are_killed_ten_times_is_the_same_to_the_last_digit(tmp_path, images):
    study = design(images, settings={"machine.checkpoint_minutes": 0.001})
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(["randhead.study.worker", __name__])

    def start(name):
        process = server.Process(target=in_process, args=(tmp_path / name / "tiny", tmp_path / f"{name}.jsonl"))
        process.start()
        return process

    folder = [folders.open_study(study, tmp_path / name) for name in ("whole", "killed")]
    start("whole").join()
    total, log = len(lines(tmp_path / "whole.jsonl")), tmp_path / "killed.jsonl"
    moments = random.Random(0)
    workers = [start("killed") for _ in range(2)]
    for after in sorted(moments.sample(range(total * 9 // 10), k=10)):  # some number of events, and a bit
        while len(lines(log)) < after:
            time.sleep(0.002)
        time.sleep(moments.uniform(0, 0.05))
        victim = moments.randrange(2)
        os.kill(workers[victim].pid, signal.SIGKILL)
        workers[victim].join()
        workers[victim] = start("killed")
    for process in workers:
        process.join()
    assert [process.exitcode for process in workers] == [0, 0]
    results = [without_seconds(running.collect(each, study).to_json()) for each in folder]
    assert results[0]["done"] == 8
    assert json.dumps(results[0]) == json.dumps(results[1])
    check_events(lines(log))


def lines(log):
    """The events that workers have logged."""
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def check_events(events):
    """No run is trained twice, and none by two workers at the same time."""
    resumed = 0
    for run in {event["run"] for event in events}:
        of_run = [event for event in events if event["run"] == run]
        turns = [(worker, list(of)) for worker, of in groupby(of_run, lambda event: event["worker"])]
        assert len({worker for worker, _ in turns}) == len(turns), "two workers had it at the same time"
        kinds = [event["kind"] for event in of_run]
        assert kinds.count("RunDone") <= 1
        assert "RunDone" not in kinds[:-1], "it was trained after it was done"
        reached = 0
        for _, of in turns:
            trained = [event["step"] for event in of if event["step"]]
            assert trained == list(range(trained[0], trained[0] + len(trained))) if trained else True
            assert not trained or trained[0] <= reached + 1
            reached = max([reached, *trained])
        resumed += len(turns) - 1
    assert 0 < resumed <= 10


@pytest.mark.slow
def test_the_run_of_a_worker_that_died_is_taken_over(tmp_path, images):
    study = design(images, seeds=(0,), settings={"train.epochs": 1})
    study = replace(study, arms=study.arms[:2])
    folder = folders.open_study(study, tmp_path)
    server = multiprocessing.get_context("forkserver")
    process = server.Process(target=holds, args=(folder.lock(next(reported_runs(study, {}))), tmp_path / "held"))
    process.start()
    while not (tmp_path / "held").exists():
        time.sleep(0.01)
    seen = []

    def on_event(event):
        seen.append(event)
        if isinstance(event, RunDone) and event.done == 1:  # the other run; now only that of the process is left
            os.kill(process.pid, signal.SIGKILL)

    events, records, _ = work(study, tmp_path, on_event=on_event)
    process.join()
    assert events == []
    assert [event.run.arm for event in seen if isinstance(event, RunStarted)] == ["dot-learned", "dot-fixed"]
    assert len(records) == 2


def holds(lock, sign):
    with locks.claim(lock) as is_ours:
        assert is_ours
        sign.write_text("held")
        time.sleep(60)


@pytest.mark.slow
def test_a_worker_whose_design_was_replaced_stops(tmp_path, images):
    study = design(images, settings={"train.epochs": 1})
    folder = folders.open_study(study, tmp_path)

    def replaced(event):
        if isinstance(event, RunDone):
            folder.design_path.write_text(json.dumps(replace(study, seeds=(4,)).to_json()))

    with pytest.raises(RunError, match="another design"):
        worker.work(folder, study, on_event=replaced, warn=lambda text: None)


def test_settings_of_an_arm_that_do_not_go_together_are_refused_before_anything_is_written(tmp_path, images):
    study = design(images, settings={"optim.schedule": "onecycle", "optim.warmup": 0.1})
    with pytest.raises(UsageError, match=r"arm dot-fixed: optim\.warmup"):
        folders.open_study(study, tmp_path)
    assert configure(SETTINGS)
    assert not (tmp_path / "tiny").exists()
