"""A training goes on while its checkpoint is written: what it writes, in which order, and what becomes of errors."""

import errno
import os
import threading
from pathlib import Path

import pytest
import torch
from tiny import config, digits, fit

from randhead import files, runs, train
from randhead.errors import DivergedError, RunError
from randhead.runs import Run, checkpoint
from randhead.train import events, fit_events
from randhead.train.saving import Saver, host_copies
from randhead.train.trainer import Trainer

LONGEST_S = 30  # that a test waits for what must come
EVERY_STEP = config(machine__checkpoint_minutes=0, machine__keep_checkpoints=99)


@pytest.fixture(scope="module")
def images():
    return digits()  # 40 of them train, in three steps per epoch


@pytest.fixture
def disk(monkeypatch):
    """A disk that writes nothing before `disk.free.set()`; it knows which threads have written what."""
    return Disk(monkeypatch)


class Disk:
    def __init__(self, patch):
        self.free, self.begun, self.threads, self.written = threading.Event(), threading.Event(), [], []
        self._write = checkpoint.save_file
        patch.setattr(checkpoint, "save_file", self.save_file)

    def save_file(self, tensors, path, metadata):
        self.begun.set()
        self.threads.append(threading.current_thread())
        assert self.free.wait(LONGEST_S)
        self._write(tensors, path, metadata)
        self.written.append(path.name)


def steps(event):
    return event.step if isinstance(event, events.StepDone) else None


def test_the_next_step_is_made_while_a_checkpoint_is_written(tmp_path, images, disk):
    coming = fit_events(EVERY_STEP, images, Run(tmp_path / "run"))
    while steps(next(coming)) != 1:
        pass
    assert steps(next(coming)) == 2  # the checkpoint of step 1 was begun before it
    assert disk.begun.wait(LONGEST_S)
    assert disk.written == []
    disk.free.set()
    coming.close()
    assert disk.written == ["step-00000001.safetensors"]
    assert disk.threads != [threading.current_thread()]


@pytest.mark.parametrize("variant", [{}, pytest.param({"optim__name": "adamw"}, marks=pytest.mark.slow)])
def test_a_checkpoint_has_the_state_of_its_step_however_late_it_is_written(tmp_path, images, disk, variant):
    settings = config(machine__checkpoint_minutes=0, **variant)
    coming = fit_events(settings, images, Run(tmp_path / "late"))
    while steps(next(coming)) != 2:
        pass
    disk.free.set()
    coming.close()
    fit(tmp_path / "at once", settings, images, steps=1)
    late, at_once = (
        checkpoint.load(checkpoint.step_path(tmp_path / name / "checkpoints", 1)) for name in ("late", "at once")
    )
    assert checkpoint.state_sha256(late[0]) == checkpoint.state_sha256(at_once[0])
    for _, document in (late, at_once):
        document["progress"].pop("seconds")
    assert late[1] == at_once[1]


@pytest.mark.slow
def test_one_checkpoint_is_written_at_a_time_and_all_are_written_at_the_end(tmp_path, images, monkeypatch):
    write, running, most = checkpoint.save, [], []

    def save(path, tensors, document):
        running.append(path)
        most.append(len(running))
        write(path, tensors, document)
        running.remove(path)

    monkeypatch.setattr(checkpoint, "save", save)
    run = Run(tmp_path / "run")
    fit(run.path, EVERY_STEP, images)
    assert set(most) == {1}
    assert checkpoint.saved_steps(run.checkpoints) == [1, 2, 3, 4, 5, 6]


def test_the_weights_of_an_epoch_follow_its_checkpoint_and_nothing_old_is_deleted_before(tmp_path, images, monkeypatch):
    """In order: the log and the checkpoint are on disk, the old checkpoint and reports go, the weights are replaced."""
    happened, run = [], Run(tmp_path / "run")
    fsync, replace, unlink = os.fsync, files.Path.replace, files.Path.unlink

    def noted(verb, path):
        if path.name in ("metrics.jsonl", "model.safetensors", "evaluate-test.json") or path.name.startswith("step-"):
            happened.append((verb, path.name))

    def synced(handle):
        noted("fsync", Path(f"/proc/self/fd/{handle}").readlink())
        fsync(handle)

    def renamed(self, target):
        noted("rename", Path(target))
        return replace(self, target)

    def deleted(self, missing_ok=False):
        noted("delete", self)
        unlink(self, missing_ok=missing_ok)

    settings = config(machine__keep_checkpoints=1, machine__checkpoint_minutes=0)
    coming = fit_events(settings, images, run)
    while steps(next(coming)) != 3:
        pass
    run.reports.mkdir()
    (run.reports / "evaluate-test.json").touch()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", synced)
        patch.setattr(files.Path, "replace", renamed)
        patch.setattr(files.Path, "unlink", deleted)
        while not isinstance(next(coming), events.EpochDone):
            pass
        coming.close()
    three, two = "step-00000003.safetensors", "step-00000002.safetensors"
    mid_epoch = [("fsync", three), ("rename", three), ("delete", two)]
    assert happened == [
        *mid_epoch,
        ("fsync", "metrics.jsonl"),
        *mid_epoch[:2],
        ("delete", "evaluate-test.json"),
        ("fsync", "model.safetensors"),
        ("rename", "model.safetensors"),
    ]


@pytest.mark.parametrize(
    "which",
    [
        pytest.param("step-00000002", marks=pytest.mark.slow),
        "step-00000006",
        pytest.param("model", marks=pytest.mark.slow),
    ],
)
def test_a_full_disk_is_reported_by_the_next_save_or_at_the_end(tmp_path, images, monkeypatch, which):
    write = checkpoint.save_file

    def full(tensors, path, metadata):
        if path.name.startswith(which):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(tensors, path, metadata)

    found = []
    with monkeypatch.context() as patch, pytest.raises(RunError, match=f"{which}.*No space left on device") as caught:
        patch.setattr(checkpoint, "save_file", full)
        for event in fit_events(EVERY_STEP, images, Run(tmp_path / "run")):
            found.append(event)
    assert caught.value.exit_code == 4
    last = {"step-00000002": 3, "step-00000006": 6, "model": 4}[which]
    assert [steps(event) for event in found if steps(event)][-1] == last
    assert events.Finished not in map(type, found)


def test_weights_that_are_not_finite_are_not_written_and_end_the_training(tmp_path, images, monkeypatch):
    finite = Trainer._step

    def spoiled(self, group):
        loss = finite(self, group)
        if self.state.step == 6:  # the last: no later loss shows it
            self.model.backbone.register_buffer("unused", torch.full((2,), float("inf")))
        return loss

    monkeypatch.setattr(Trainer, "_step", spoiled)
    run = Run(tmp_path / "run")
    with pytest.raises(DivergedError, match="the weights are not finite after step 6"):
        fit(run.path, EVERY_STEP, images)
    assert checkpoint.saved_steps(run.checkpoints) == [1, 2, 3, 4, 5]
    assert run.diverged_path.exists()
    assert run.summary() is None


def test_an_error_of_a_caller_ends_the_training_with_the_checkpoint_written(tmp_path, images, disk):
    def on_event(event):
        if steps(event) == 2:
            disk.free.set()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as caught:
        train.fit(EVERY_STEP, dataset=images, root=tmp_path, name="run", warn=lambda text: None, on_event=on_event)
    assert checkpoint.saved_steps(tmp_path / "run" / "checkpoints") == [1]
    assert caught.value.__context__ is None
    with runs.locked(Run(tmp_path / "run")):  # nobody has the lock
        pass


def test_a_folder_that_was_moved_away_is_not_made_again(tmp_path, images):
    """By the thread, before the next line of the log would fail: the result would lack its configuration."""
    run = Run(tmp_path / "run")
    trainer = Trainer(config(), images, run, lambda: False)
    with trainer.saver as saver, pytest.raises(RunError, match="run: moved or deleted"):
        saver.save(run, trainer.state, trainer.model, trainer.stepper.optimizer)
        saver.wait()
    assert not run.path.exists()


def test_a_stop_is_reported_when_everything_is_written(tmp_path, images, disk):
    made = []
    for event in fit_events(config(), images, Run(tmp_path / "run"), should_stop=lambda: 2 in made):
        made.append(steps(event))
        if made[-1] == 2:
            threading.Timer(0.1, disk.free.set).start()  # a stop that does not wait comes before
        if event == events.Stopped(2):
            assert disk.written == ["step-00000002.safetensors"]
    assert event == events.Stopped(2)


@pytest.mark.slow
def test_the_model_of_the_best_epoch_is_written_once(tmp_path, images, disk):
    disk.free.set()
    happened = fit(tmp_path / "run", config(), images)
    best = sum(event.best for event in happened if isinstance(event, events.EpochDone))
    assert disk.written.count("model.safetensors") == best


def test_copies_share_no_memory_with_what_they_copy_and_use_their_own_again():
    tensors = {"a": torch.ones(2, 3, 4, 5).to(memory_format=torch.channels_last), "b": torch.arange(3)}
    kept = {}
    first = host_copies(tensors, kept)
    where = {name: copy.data_ptr() for name, copy in first.items()}
    assert where["a"] != tensors["a"].data_ptr()
    assert first["a"].stride() == tensors["a"].stride()  # so that it is one copy of memory
    tensors["a"].fill_(2)
    assert first["a"].eq(1).all()
    second = host_copies(tensors, kept)
    assert {name: copy.data_ptr() for name, copy in second.items()} == where
    assert second["a"].eq(2).all()
    assert host_copies(tensors)["a"].data_ptr() != where["a"]


@pytest.mark.gpu
def test_copies_of_a_gpu_are_pinned_and_are_of_their_moment_while_its_work_goes_on():
    weights = torch.zeros(64, 3, 512, 512, dtype=torch.float32, device="cuda").to(memory_format=torch.channels_last)
    step = torch.zeros((), dtype=torch.float32, device="cpu")  # of an optimiser that is not fused
    kept = {}
    for number in range(1, 4):
        weights.fill_(number)
        copies = host_copies({"weights": weights, "step": step}, kept)
        copied = torch.cuda.Event()
        copied.record()
        weights.fill_(-1)
        copied.synchronize()
        assert copies["weights"].eq(number).all()
        assert copies["weights"].is_pinned() and not copies["step"].is_pinned()
        assert copies["weights"].stride() == weights.stride()


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_every_checkpoint_has_the_weights_of_its_step_while_steps_go_on(tmp_path, images, device):
    settings = config(machine__device=device, machine__keep_checkpoints=99)
    trainer, expected = Trainer(settings, images, Run(tmp_path / "run"), lambda: False), {}
    with trainer.saver:
        list(trainer.start())
        for event in trainer.steps():
            weights = {name: tensor.cpu().clone() for name, tensor in trainer.model.state_dict().items()}
            expected[event.step] = checkpoint.state_sha256(weights)
            trainer.save()
    assert len(set(expected.values())) == 3
    for step, sha256 in expected.items():
        tensors, _ = checkpoint.load(checkpoint.step_path(trainer.run.checkpoints, step))
        assert checkpoint.state_sha256(checkpoint.select(tensors, "model/")) == sha256


def test_a_saver_that_has_saved_nothing_waits_for_nothing(images, tmp_path):
    trainer = Trainer(config(), images, Run(tmp_path / "run"), lambda: False)
    with Saver(trainer.config, trainer.settings) as saver:
        assert saver.wait() is None
    assert list(tmp_path.iterdir()) == []
