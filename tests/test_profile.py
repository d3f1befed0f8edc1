"""The profile of a training: its phases add up, work of a GPU is counted where it was launched, no bit changes."""

import gzip
import itertools
import json
from collections import Counter
from dataclasses import replace

import pytest
import tiny
import torch
from pytest import approx
from tiny import config, digits, fit

from randhead.errors import RunError, UsageError
from randhead.runs import Run, own_files
from randhead.train import events, fit_events, phases
from randhead.train.profile import EpochTime, PhaseTime, TrainingProfile, of_trace
from randhead.train.profiling import STEPS, TRACE, WARM_UP


@pytest.fixture(scope="module")
def images():
    return digits()  # 40 of them train, in three steps per epoch


def annotation(name, start_ms, end_ms, thread=1):
    times = {"ts": 1000.0 * start_ms, "dur": 1000.0 * (end_ms - start_ms)}
    return {"ph": "X", "cat": "user_annotation", "name": name, "pid": 1, "tid": thread, **times}


NUMBERS = itertools.count(1)


def kernel(launched_ms, takes_ms, category="kernel", thread=2):
    """The launch of a kernel by a thread of its own, and its work, long after all else."""
    found = {"ph": "X", "args": {"correlation": next(NUMBERS)}}
    launch = {"cat": "cuda_runtime", "name": "cudaLaunchKernel", "pid": 1, "tid": thread, "ts": 1000.0 * launched_ms}
    work = {"cat": category, "name": "gemm", "pid": 0, "tid": 7, "ts": 1e6, "dur": 1000.0 * takes_ms}
    return [{**found, **launch, "dur": 5.0}, {**found, **work}]


TWO_STEPS = [
    annotation("saving", 0, 8),  # before the first step
    annotation("training step", 10, 30),
    annotation("reading batches", 11, 15),
    annotation("augmentation", 12, 14),
    annotation("forward", 15, 20),
    annotation("backward", 20, 28),
    annotation("training step", 30, 60),
    annotation("reading batches", 31, 33),
    annotation("forward", 33, 34),
    annotation("backward", 34, 36),
    annotation("validating", 40, 58),
    annotation("forward", 41, 43, thread=3),  # another training
    {"ph": "X", "cat": "cpu_op", "name": "forward", "pid": 1, "tid": 1, "ts": 15_000.0, "dur": 9e9},
    {"ph": "s", "cat": "fwdbwd", "name": "fwdbwd", "pid": 1, "tid": 1, "ts": 0.0, "id": 1},
]


def test_times_of_nested_phases_are_apart_and_the_rest_of_a_step_is_other():
    count, step_ms, found = of_trace(TWO_STEPS)
    assert {each.phase: each.cpu_ms for each in found} == approx(
        {"reading batches": 2.0, "augmentation": 1.0, "forward": 3.0, "backward": 5.0, "other": 5.0}
    )
    assert (count, step_ms) == (2, approx(16))  # 50 ms, of which 18 were for validating
    assert {each.device_ms for each in found} == {None}


def test_work_of_a_gpu_belongs_to_the_phase_that_launched_it_on_any_thread():
    work = [*kernel(16, 10), *kernel(21, 30), *kernel(35, 2, "gpu_memcpy"), *kernel(29.5, 1), *kernel(45, 500)]
    *_, found = of_trace([*TWO_STEPS, *work, *kernel(5, 700), *kernel(70, 900)])
    device = {each.phase: each.device_ms for each in found}
    assert device == approx({"reading batches": 0, "augmentation": 0, "forward": 5, "backward": 16, "other": 0.5})


RESULT = TrainingProfile(
    first_step=11,
    last_step=20,
    device="NVIDIA H200",
    step_ms=10.0,
    images_per_second=51200.0,
    phases=(PhaseTime("forward", 2.5, 3.0), PhaseTime("other", 7.5, 1.0)),
    epoch=EpochTime(steps_s=3.0, validating_s=0.75, saving_s=0.25),
)


def test_tables_have_shares_of_a_step_and_of_an_epoch():
    step, epoch = RESULT.tables()
    assert step.columns == ("phase", "CPU (ms)", "share", "GPU (ms)")
    assert step.rows == (
        ("forward", "2.500", "25.00 %", "3.000"),
        ("other", "7.500", "75.00 %", "1.000"),
        ("step", "10.000", "100.00 %", "4.000"),
    )
    assert all(step.is_numeric(column) for column in (1, 2, 3))
    assert "the GPU works 40.00 % of the time" in step.notes
    one, _ = replace(RESULT, last_step=11).tables()
    assert (step.title, one.title) == ("Time per step, steps 11 to 20", "Time per step, step 11")
    assert [row[2] for row in epoch.rows] == ["75.00 %", "18.75 %", "6.25 %"]
    assert json.loads(json.dumps(RESULT.to_json()))["phases"][0] == {
        "phase": "forward",
        "cpu_ms": 2.5,
        "share": 0.25,
        "device_ms": 3.0,
    }


def test_a_phase_costs_nothing_while_no_profiler_runs():
    assert phases.phase("forward") is phases.phase("backward") is phases.NOTHING


def test_a_profile_is_kept_when_results_of_older_weights_are_deleted(tmp_path):
    run = Run(tmp_path)
    run.reports.mkdir()
    for name in ("profile.json", TRACE, "evaluate-test.json"):
        (run.reports / name).touch()
    own_files.delete_results(run)
    assert {path.name for path in run.reports.iterdir()} == {"profile.json", TRACE}
    own_files.delete_training(run)
    assert not run.reports.exists()


def profile_of(happened):
    found = [event.profile for event in happened if isinstance(event, events.Profiled)]
    assert len(found) <= 1
    return found[0] if found else None


def warnings_of(happened):
    return [event.message for event in happened if isinstance(event, events.Warned)]


@pytest.mark.slow
def test_a_profiled_training_has_the_same_bits_and_leaves_a_trace_of_ten_steps(tmp_path, images):
    settings = config(train__epochs=8)  # of 24 steps
    plain = fit(tmp_path / "plain", settings, images)[-1].summary
    happened = fit(tmp_path / "run", settings, images, profile=True)
    assert happened[-1].summary.weights_sha256 == plain.weights_sha256
    found, reports = profile_of(happened), Run(tmp_path / "run").reports
    assert (found.first_step, found.last_step) == (WARM_UP + 1, WARM_UP + STEPS)
    assert sum(each.cpu_ms for each in found.phases) == approx(found.step_ms)
    assert {each.phase for each in found.phases} == {*phases.OF_STEP, "other"}
    assert found.epoch.validating_s > 0 < found.epoch.saving_s
    assert json.loads((reports / "profile.json").read_text()) == found.to_json()
    assert found.trace == reports / TRACE
    trace = json.loads(gzip.decompress(found.trace.read_bytes()))
    assert not {"host_name", "traceName"} & trace.keys()
    named = Counter(event["name"] for event in trace["traceEvents"] if event.get("cat") == "user_annotation")
    assert named["training step"] == named["forward"] == named["optimiser"] == STEPS
    assert named["validating"] == 3  # after steps 12, 15 and 18
    assert all({"ph", "ts", "pid", "tid"} <= event.keys() for event in trace["traceEvents"] if "cat" in event)
    assert any(event.get("cat") == "cpu_op" and "conv" in event["name"] for event in trace["traceEvents"])
    assert found.trace.stat().st_size < 1e6


@pytest.mark.gpu
def test_on_a_gpu_every_phase_that_computes_has_time_of_it(tmp_path, images):
    found = profile_of(fit(tmp_path / "run", config(train__epochs=8, machine__device="cuda"), images, profile=True))
    device = {each.phase: each.device_ms for each in found.phases}
    assert min(device[name] for name in ("forward", "loss", "backward", "optimiser")) > 0
    assert sum(device.values()) <= 1.05 * found.step_ms


@pytest.mark.slow
def test_short_and_resumed_and_restarted_trainings_are_profiled_too(tmp_path, images):
    one_step = config(train__epochs=1, train__batch_size=40)
    found = profile_of(fit(tmp_path / "short", one_step, images, profile=True))
    assert (found.first_step, found.last_step) == (1, 1)
    assert any("so few steps" in note for table in found.tables() for note in table.notes)
    settings = config(train__epochs=3)
    stopped = fit(tmp_path / "run", settings, images, steps=4, profile=True)
    assert profile_of(stopped) is None
    assert any("nothing is profiled: stopped before step 9" in text for text in warnings_of(stopped))
    resumed = profile_of(fit(tmp_path / "run", settings, images, profile=True))
    assert (resumed.first_step, resumed.last_step) == (7, 9)  # two of five steps warm up
    with pytest.raises(RunError, match="finished, so that no step is left to profile"):
        fit(tmp_path / "run", settings, images, profile=True)
    again = fit(tmp_path / "run", settings, images, profile=True, fresh=True)
    assert profile_of(again).trace == Run(tmp_path / "run").reports / TRACE
    assert profile_of(again).trace.exists()


@pytest.mark.slow
def test_a_training_of_which_only_the_result_is_missing_says_that_nothing_is_profiled(tmp_path, images):
    fit(tmp_path / "run", config(), images)
    (tmp_path / "run" / "summary.json").unlink()
    happened = fit(tmp_path / "run", config(), images, profile=True)
    assert any("no step was left" in text for text in warnings_of(happened))
    assert isinstance(happened[-1], events.Finished)


@pytest.mark.slow
def test_without_space_for_temporary_files_nothing_is_profiled_and_training_goes_on(tmp_path, images, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    happened = fit(tmp_path / "run", config(), images, profile=True)
    assert any(f"{tmp_path}/missing" in text and "nothing is profiled" in text for text in warnings_of(happened))
    assert profile_of(happened) is None
    assert isinstance(happened[-1], events.Finished)


@pytest.mark.slow
def test_a_trace_that_cannot_be_written_costs_a_warning(tmp_path, images, monkeypatch):
    def full(path, content):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr("randhead.train.profiling.atomic_write", full)
    happened = fit(tmp_path / "run", config(), images, profile=True)
    assert any(f"{TRACE}: No space left on device: not written" in text for text in warnings_of(happened))
    assert profile_of(happened).trace is None
    assert isinstance(happened[-1], events.Finished)


def test_beside_another_profiler_it_is_refused(tmp_path, images):
    with (
        torch.autograd.profiler.profile(use_kineto=False),
        pytest.raises(UsageError, match="a profiler of torch is running already"),
    ):
        next(fit_events(config(), images, Run(tmp_path / "run"), profile=True))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_command_shows_the_profile_at_eighty_columns_and_in_json(tmp_path, monkeypatch, capsys):
    tiny.image_folder(tmp_path / "images")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    words = ("train", "--data", "images", "--batch-size", "8", "--epochs", "3", "--device", "cpu", "--profile")
    assert tiny.main(*words, "--name", "a") == 0
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 80
    assert "Time per step, steps 5 to 9" in shown
    assert "trace  runs/a/reports/profile-trace.json.gz" in shown
    assert tiny.main(*words, "--name", "b", "--json") == 0
    found = json.loads(capsys.readouterr().out)["profile"]
    assert found == json.loads((tmp_path / "runs/b/reports/profile.json").read_text())
    assert tiny.main(*words, "--name", "b") == 4
    assert "--fresh" in capsys.readouterr().err
