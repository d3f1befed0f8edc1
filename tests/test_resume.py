"""Signals: a polite one saves and ends, a second one ends at once, SIGKILL costs the running step and nothing else."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tiny

from randhead.cli.progress import TrainingDisplay
from randhead.datasets import _reading
from randhead.runs import Run, checkpoint

SCRIPT = Path(__file__).parent.parent / "examples" / "benchmarks" / "kill_resume.py"
TRAIN = ("train", "--data", "images", "--batch-size", "8", "--epochs", "2", "--device", "cpu", "--precision", "fp32")
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


@pytest.fixture(autouse=True)
def world(tmp_path, monkeypatch):
    """A folder with images in it; 24 of them train, in three steps per epoch."""
    tiny.image_folder(tmp_path / "images")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def train(monkeypatch, name, *options, signals=()):
    """The exit code of a training in this process that is sent `signals`: pairs of an event's number and a signal."""
    show, count = TrainingDisplay.event, 0

    def event(self, what):
        nonlocal count
        show(self, what)
        count += 1
        for moment, number in signals:
            if moment == count:
                os.kill(os.getpid(), number)

    with monkeypatch.context() as patch:
        patch.setattr(TrainingDisplay, "event", event)
        return tiny.main(*TRAIN, "--name", name, *options)


def weights(folder):
    return json.loads((folder / "summary.json").read_text())["weights_sha256"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Weights and log of a training that nothing stopped."""
    folder = tmp_path_factory.mktemp("whole")
    tiny.image_folder(folder / "images")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert train(patch, "whole") == 0
    return weights(folder / "runs" / "whole"), tiny.log(folder / "runs" / "whole")


# The events: started, steps 1 to 3, the end of an epoch, steps 4 to 6, the end of an epoch, finished.
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("moment", [1, 4, 8, *(pytest.param(n, marks=pytest.mark.slow) for n in (2, 3, 5))])
def test_a_signal_saves_the_step_and_the_same_command_resumes(world, whole, monkeypatch, capsys, number, code, moment):
    handlers = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    assert train(monkeypatch, "stopped", signals=[(moment, number)]) == code
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert "the same command resumes it" in capsys.readouterr().err
    run = Run(world / "runs" / "stopped")
    assert run.summary() is None
    steps = {1: 0, 2: 1, 3: 2, 4: 3, 5: 3, 8: 6}[moment]
    assert checkpoint.saved_steps(run.checkpoints)[-1] == steps
    assert train(monkeypatch, "stopped") == 0
    assert (weights(run.path), tiny.log(run.path)) == whole


def test_a_signal_while_the_test_split_is_read_is_heard_too(world, monkeypatch):
    assert train(monkeypatch, "stopped", signals=[(9, signal.SIGTERM)]) == 143  # the second epoch has just ended
    assert Run(world / "runs" / "stopped").summary() is None
    assert train(monkeypatch, "stopped") == 0


DECODING = {"train": TRAIN, "eval": ("eval", "run"), "analyze": ("analyze", "separability", "run")}
WORDS = {signal.SIGTERM: (143, "terminated"), signal.SIGINT: (130, "interrupted")}
QUICK = {("train", signal.SIGTERM), ("eval", signal.SIGINT)}


@pytest.mark.parametrize(
    ("verb", "number"),
    [
        pytest.param(verb, number, marks=() if (verb, number) in QUICK else pytest.mark.slow)
        for verb in DECODING
        for number in WORDS
    ],
)
def test_a_signal_while_images_are_decoded_ends_at_once_and_leaves_nothing(world, monkeypatch, capsys, verb, number):
    assert train(monkeypatch, "run") == 0
    before, real, decoded = tiny.tree(world), _reading.inspect, []
    code, word = WORDS[number]

    def inspect(path, size, rules):
        decoded.append(path)
        if len(decoded) == 3:
            os.kill(os.getpid(), number)
        time.sleep(0.02)
        return real(path, size, rules)

    monkeypatch.setattr(_reading, "inspect", inspect)
    assert tiny.main(*DECODING[verb]) == code
    assert len(decoded) < 10  # of 30: an image that is being decoded is finished, no other is begun
    assert capsys.readouterr().err.splitlines()[-1] == word
    assert tiny.tree(world) == before


def test_a_second_ctrl_c_ends_at_once(world, monkeypatch, capsys):
    assert train(monkeypatch, "stopped", signals=[(3, signal.SIGINT), (3, signal.SIGINT)]) == 130
    assert "the same command resumes" not in capsys.readouterr().err
    assert checkpoint.saved_steps(Run(world / "runs" / "stopped").checkpoints) == []  # nothing was saved for it
    assert train(monkeypatch, "stopped") == 0


def test_a_finished_run_shows_its_result_again_and_fresh_trains_it_again(world, monkeypatch, capsys):
    assert train(monkeypatch, "run") == 0
    first, folder = capsys.readouterr().out, world / "runs" / "run"
    before = tiny.tree(folder)
    assert train(monkeypatch, "run") == 0
    assert capsys.readouterr().out == first
    assert tiny.tree(folder) == before
    (folder / "reports").mkdir()
    (folder / "reports" / "evaluate-test.json").touch()
    (folder / "reports" / "mynotes.md").write_text("mine")
    assert train(monkeypatch, "run", "--fresh", "--set", "optim.lr=0.01") == 0
    assert [path.name for path in (folder / "reports").iterdir()] == ["mynotes.md"]
    assert json.loads((folder / "config.json").read_text())["config"]["optim"]["lr"] == 0.01
    assert len(tiny.log(folder)) == 2


@pytest.mark.slow
def test_a_training_that_starts_over_and_is_stopped_says_how_it_is_resumed(world, monkeypatch, capsys):
    assert train(monkeypatch, "run") == 0
    before = weights(world / "runs" / "run")
    assert train(monkeypatch, "run", "--fresh", signals=[(1, signal.SIGTERM)]) == 143
    assert "runs/run is what it was" in capsys.readouterr().err
    assert weights(world / "runs" / "run") == before
    assert train(monkeypatch, "run", "--fresh", signals=[(3, signal.SIGTERM)]) == 143
    assert "the same command without --fresh resumes it" in capsys.readouterr().err
    assert train(monkeypatch, "run") == 0
    assert weights(world / "runs" / "run") == before


def test_a_card_that_a_kill_prevented_is_written_by_the_next_start(world, monkeypatch):
    assert train(monkeypatch, "run") == 0
    card = world / "runs" / "run" / "README.md"
    text = card.read_text()
    card.unlink()
    assert train(monkeypatch, "run") == 0
    assert card.read_text() == text


# Real processes


def start(*options):
    command = [sys.executable, "-c", "from randhead.cli import main; main()", *TRAIN, "--name", "run", *options]
    return subprocess.Popen(command, env=ENVIRONMENT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)


def wait_for_a_step(process, folder, before):
    while process.poll() is None and checkpoint.saved_steps(folder) == before:
        time.sleep(0.01)


@pytest.mark.slow
def test_a_process_that_is_told_to_end_does_so_with_its_code(world):
    """It dies of SIGINT, as a shell expects, which shows that as 130."""
    folder = world / "runs" / "run" / "checkpoints"
    options = ("--set", "machine.checkpoint_minutes=0", "--epochs", "2000")
    codes = {"SIGTERM": 143, "SIGINT": -signal.SIGINT, "SIGHUP": 129, "SIGUSR1": 138, "SIGUSR2": 140}
    for number, code in ((getattr(signal, name), code) for name, code in codes.items()):
        before = checkpoint.saved_steps(folder)
        process = start(*options)
        wait_for_a_step(process, folder, before)
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == code, errors
        assert errors.count("saving before the command ends") == 1
        assert "the same command resumes it" in errors
        assert "Traceback" not in errors


@pytest.mark.slow
@pytest.mark.parametrize(("kills", "way"), [(20, "fork"), (4, "command")])
def test_killed_trainings_equal_one_that_was_left_alone(tmp_path, kills, way):
    command = [sys.executable, str(SCRIPT), "--kills", str(kills), "--start", way, "--out", str(tmp_path / "out.json")]
    subprocess.run(command, env=ENVIRONMENT, check=True, stdout=subprocess.DEVNULL)
    result = json.loads((tmp_path / "out.json").read_text())
    assert result["kills"] == kills
    assert result["equal_to_the_one_left_alone"] == result["trainings"] >= 1
    assert result["places"]["while a checkpoint was written"] >= kills // 4
