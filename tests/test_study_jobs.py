"""Several workers on this machine, as processes of the command line: their errors, and their ends."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tiny import image_folder

from randhead import study
from randhead.errors import DataError, StopRequested
from randhead.study import folder as folders
from randhead.study import jobs, locks
from randhead.study.events import RunDone, RunStarted

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name != "posix", reason="sends signals")]
SETTINGS = {
    "backbone.name": "small_resnet",
    "recipe": "default",
    "train.epochs": 1,
    "train.batch_size": 16,
    "train.precision": "fp32",
    "machine.device": "cpu",
    "data.validation": 0.25,
}


@pytest.fixture
def design(tmp_path):
    """Two arms on a few images; a function of the seeds and of further settings."""
    data = image_folder(tmp_path / "data", classes=("cat", "dog", "eel", "fox"), images=20)

    def made(seeds=(0,), **settings):
        arms = study.Study("a").arms[:2]
        return study.Study("tiny", arms=arms, seeds=seeds, settings={**SETTINGS, "data.name": str(data), **settings})

    return made


@pytest.fixture
def started(monkeypatch):
    """The processes that were started, oldest first."""
    found = []

    class Watched(subprocess.Popen):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            found.append(self)

    monkeypatch.setattr(subprocess, "Popen", Watched)
    return found


def is_gone(pid):
    """Whether a process has ended; one that nobody has waited for has ended too."""
    status = Path(f"/proc/{pid}/status")
    return not status.exists() or "\nState:\tZ" in status.read_text()


def wait_for(condition, *, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_two_workers_do_a_study_and_one_that_is_killed_is_replaced_by_the_other(tmp_path, design, started):
    events, said = [], []

    def on_event(event):
        if not events:
            assert isinstance(event, RunStarted)
            os.kill(started[0].pid, signal.SIGKILL)
        events.append(event)

    result = study.run(design((0, 1, 2)), root=tmp_path, jobs=2, warn=said.append, on_event=on_event)
    assert len(started) == 2
    assert [event.done for event in events if isinstance(event, RunDone)] == [1, 2, 3, 4, 5, 6]
    assert [text for text in said if "killed by signal 9" in text] == said
    assert result.is_complete
    folder, saved = folders.read(tmp_path / "tiny")
    assert study.StudyResult.from_json(result.to_json()).records == tuple(folders.records(folder, saved)[0])
    assert folder.result_path.exists()
    again = []
    assert study.run(saved, root=tmp_path, jobs=2, warn=said.append, on_event=again.append) == result
    assert (again, len(started)) == ([], 2)  # nothing is left to do, so that no process is started


def test_an_error_that_both_workers_have_is_raised_once(tmp_path, design, started):
    planned = design()
    bad = Path(planned.settings["data.name"]) / "cat" / "0.png"
    bad.write_text("no picture")
    said = []
    with pytest.raises(DataError, match=rf"^dot-\w+-seed0-\w+: .*{bad.name}") as caught:
        study.run(planned, root=tmp_path, jobs=2, warn=said.append)
    assert caught.value.hint
    assert len(started) == 2
    assert len(said) <= 1  # the same error with the name of the run of the other worker


def test_workers_save_and_end_when_they_are_asked_to(tmp_path, design, started):
    planned, events = design(**{"train.epochs": 500}), []
    with pytest.raises(StopRequested):
        study.run(planned, root=tmp_path, jobs=2, warn=print, on_event=events.append, should_stop=lambda: bool(events))
    assert [process.returncode for process in started] == [128 + signal.SIGTERM] * 2
    folder, _ = folders.read(tmp_path / "tiny")
    assert folder.in_use() is None
    assert list(folder.runs.glob("*/checkpoints/*"))


def test_workers_end_when_their_parent_is_killed(tmp_path, design):
    planned = design(**{"train.epochs": 500, "machine.checkpoint_epochs": 1})
    folder = folders.open_study(planned, tmp_path)
    code = f"from randhead import study; from randhead.study import folder; _, s = folder.read({str(folder.path)!r}); "
    code += f"study.run(s, root={str(tmp_path)!r}, jobs=2)"
    parent = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    wait_for(lambda: len(list(folder.runs.glob("*/checkpoints/*.safetensors"))) >= 2)
    workers = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()
    assert len(workers) == 2
    parent.kill()
    parent.wait()
    wait_for(lambda: all(map(is_gone, workers)))
    assert not any(map(locks.is_claimed, folder.locks.iterdir()))


@pytest.mark.parametrize(("parent", "gone"), [(None, False), ("1", True), (str(os.getppid()), False), ("x", False)])
def test_a_process_knows_whether_the_one_that_started_it_has_ended(monkeypatch, parent, gone):
    monkeypatch.delenv(jobs.PARENT, raising=False)
    if parent:
        monkeypatch.setenv(jobs.PARENT, parent)
    assert jobs.parent_is_gone() is (gone and os.getppid() != 1)
