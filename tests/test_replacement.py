"""Starting over: the old training stays until the new one has a checkpoint, and only files of randhead are touched."""

import itertools
import json
import os
import shutil
import time
import zipfile
from pathlib import Path

import pytest
import tiny
from tiny import config, digits, tree

from randhead import files, runs
from randhead.config import parse
from randhead.datasets import _download
from randhead.errors import RunError
from randhead.robustness import export
from randhead.runs import Run, checkpoint, own_files, replacement
from randhead.train import events, fit_events, log

CHANGING = ("unlink", "rename", "replace", "rmdir", "mkdir", "touch")


class Killed(BaseException):
    pass


@pytest.fixture(scope="module")
def images():
    return digits()


@pytest.fixture(scope="module")
def template(tmp_path_factory, images):
    root = tmp_path_factory.mktemp("template")
    tiny.fit(root / "run", config(train__epochs=1), images)
    return root


@pytest.fixture
def run(tmp_path, template):
    """A finished run with a report, features and a note of the user."""
    run = Run(shutil.copytree(template, tmp_path / "runs") / "run")
    for path in ("reports/evaluate-test.json", "reports/mynotes.md", "features/d-test-0123456789ab.safetensors"):
        (run.path / path).parent.mkdir(exist_ok=True)
        (run.path / path).write_text(path)
    return run


def start(run, images, *, steps=None, **changes):
    return tiny.fit(run.path, config(**{"train__epochs": 1, **changes}), images, steps=steps, fresh=True)


def test_until_its_first_checkpoint_a_new_training_changes_nothing_of_the_old_one(run, images):
    before = tree(run.path)
    for event in fit_events(config(train__epochs=1), images, run, fresh=True):
        if isinstance(event, events.StepDone):
            assert {name: text for name, text in tree(run.path).items() if not name.startswith(".fresh")} == before
            assert runs.load(str(run.path), device="cpu").weights_sha256
            break
    assert start(run, images, steps=0)[-1] == events.Stopped(0)
    assert run.summary() is not None
    with runs.locked(run):
        assert tree(run.path) == before


def test_with_its_first_checkpoint_a_new_training_takes_the_place_of_the_old_one(run, images):
    changed = config(train__epochs=1, optim__lr=0.01)
    start(run, images, steps=1, optim__lr=0.01)
    assert run.summary() is None
    assert run.config() == changed
    assert checkpoint.saved_steps(run.checkpoints) == [1]
    assert sorted(tree(run.path)) == [
        ".lock",
        "checkpoints/step-00000001.safetensors",
        "config.json",
        "reports/mynotes.md",
    ]
    assert isinstance(tiny.fit(run.path, changed, images)[-1], events.Finished)


def kill_at(patch, moment):
    """Raise Killed at the n-th change of a file, and prevent all that follow."""
    count = itertools.count(1)

    def killed(real):
        def change(*arguments, **options):
            if next(count) >= moment:
                raise Killed
            return real(*arguments, **options)

        return change

    for name in CHANGING:
        patch.setattr(Path, name, killed(getattr(Path, name)))


def test_a_run_whose_replacement_was_killed_is_listed(tmp_path):
    for stage in (replacement.REPLACING, replacement.MOVING):
        folder = tmp_path / stage.strip(".") / stage
        folder.mkdir(parents=True)
        (folder / "config.json").write_text("{}")
    assert [found.name for found in runs.list_runs(tmp_path).runs] == ["moving", "replacing"]


def test_the_next_training_deletes_what_a_killed_start_left(tmp_path):
    run, settings = Run(tmp_path / "run"), config()
    run.path.mkdir()
    run.config_path.write_text(json.dumps({"config": parse.nest(settings)}))
    with runs.locked(run):
        replacement.begin(run, fresh=True)
        runs.open_run(tmp_path, "run", settings)
        assert (run.path / replacement.FRESH).exists()  # it is being trained
    runs.open_run(tmp_path, "run", settings)
    assert not (run.path / replacement.FRESH).exists()
    assert run.config() == settings


def test_a_kill_at_any_moment_of_starting_over_leaves_a_run_that_is_old_or_new(run, images, tmp_path, monkeypatch):
    old, new = config(train__epochs=1), config(train__epochs=1, optim__lr=0.01)
    with runs.locked(run):
        staged = replacement.begin(run, fresh=True)
    tiny.fit(tmp_path / "new", new, images)
    for path in ("config.json", "metrics.jsonl", "checkpoints"):
        shutil.move(tmp_path / "new" / path, staged.path)
    ready, seen = tmp_path / "ready", set()
    shutil.copytree(run.path, ready)
    for moment in itertools.count(1):
        shutil.rmtree(run.path)
        shutil.copytree(ready, run.path)
        with monkeypatch.context() as patch:
            kill_at(patch, moment)
            try:
                replacement.commit(Run(run.path / ".fresh"))
            except Killed:
                ended = False
            else:
                ended = True
        found = runs.open_run(run.path.parent, "run", new, fresh=True)
        assert found.config() in (old, new)
        with runs.locked(found):
            pass
        is_new = found.config() == new
        assert (found.summary() is None) == is_new
        assert checkpoint.load(checkpoint.step_path(found.checkpoints, 3))[1]["config"]["optim"]["lr"] == (
            0.01 if is_new else 0.05
        )
        assert (found.reports / "evaluate-test.json").exists() != is_new
        assert (found.reports / "mynotes.md").exists()
        assert not [path for path in found.path.iterdir() if path.name in replacement.STAGES]
        seen.add(is_new)
        if ended:
            break
    assert seen == {True, False}
    assert moment > 10


def test_what_older_versions_left_when_they_were_killed_can_be_started_again(tmp_path):
    for name in ("checkpoints", "reports", "features"):
        (tmp_path / "run" / name).mkdir(parents=True)
    with pytest.raises(RunError, match="is not a run"):
        runs.open_run(tmp_path, "run", config())  # folders of somebody else
    (tmp_path / "run" / ".lock").touch()
    runs.open_run(tmp_path, "run", config())
    runs.open_run(tmp_path, "run", config(), fresh=True)


# Links


@pytest.fixture
def elsewhere(tmp_path):
    folder = tmp_path / "scratch"
    (folder / "thesis").mkdir(parents=True)
    (folder / "thesis" / "main.tex").write_text("text")
    (folder / "other.ckpt").write_text("x")
    (folder / "step-00000001.safetensors").write_text("of somebody else")
    return folder


def link(run, name, target):
    if (run.path / name).is_dir() and not (run.path / name).is_symlink():
        shutil.rmtree(run.path / name)
    (run.path / name).unlink(missing_ok=True)
    (run.path / name).symlink_to(target)


@pytest.mark.parametrize("name", own_files.FOLDERS)
def test_nothing_beyond_a_link_that_leaves_the_run_folder_is_touched(run, images, elsewhere, name):
    before = tree(elsewhere)
    link(run, name, elsewhere)
    with pytest.raises(OSError, match="a link that leaves the run folder"):
        files.atomic_write(run.path / name / "evaluate-test.json", "new")
    with pytest.raises(RunError, match="a link that leaves the run folder"), runs.locked(run):
        replacement.begin(run, fresh=False)
    start(run, images)
    assert tree(elsewhere) == before
    assert not (run.path / name).is_symlink()
    assert run.summary() is not None


def test_files_of_a_run_that_are_links_are_replaced_and_not_followed(run, images, elsewhere):
    victim = elsewhere / "thesis" / "main.tex"
    (run.path.parent / "last").unlink()
    (run.path.parent / "last").symlink_to(victim)
    for name in ("summary.json", "metrics.jsonl", "README.md", "model.safetensors"):
        link(run, name, victim)
    start(run, images)
    assert victim.read_text() == "text"
    assert (run.path.parent / "last").read_text() == "run\n"
    link(run, "metrics.jsonl", elsewhere / "new")
    with pytest.raises(OSError, match="symbolic links"):
        log.append(run.metrics_path, log.EpochMetrics(*range(15)))
    assert not (elsewhere / "new").exists()


@pytest.mark.parametrize("kind", ["link", "dangling link", "fifo"])
def test_a_lock_that_is_no_file_is_refused_and_never_emptied(run, elsewhere, kind):
    lock, victim = run.path / ".lock", elsewhere / "other.ckpt"
    lock.unlink()
    if kind == "fifo":
        os.mkfifo(lock)
    else:
        lock.symlink_to(victim if kind == "link" else elsewhere / "new")
    with pytest.raises(RunError, match="cannot be locked"), runs.locked(run):
        pass
    assert victim.read_text() == "x"
    assert not (elsewhere / "new").exists()


@pytest.mark.parametrize("name", ["config.json", "summary.json", "metrics.jsonl", "model.safetensors", ".fresh"])
def test_a_fifo_in_a_run_folder_is_not_waited_for(run, images, name):
    (run.path / name).unlink(missing_ok=True)
    os.mkfifo(run.path / name)
    with pytest.raises(RunError, match="not a regular file"):
        if name in (".fresh", "metrics.jsonl"):
            start(run, images)
            raise RunError("not a regular file")
        runs.open_run(run.path.parent, "run", config(train__epochs=1)).summary()
        checkpoint.load(run.model_path)


def test_a_run_folder_and_a_root_that_are_links_are_used_like_any_other(run, images, tmp_path):
    disk = tmp_path / "disk"
    shutil.move(run.path, disk / "run")
    run.path.symlink_to(disk / "run")
    (tmp_path / "linked").symlink_to(tmp_path / "runs")
    there = runs.open_run(tmp_path / "linked", "run", config(train__epochs=1))
    start(there, images)
    assert there.summary() is not None
    files.atomic_write(there.reports / "evaluate-test.json", "new")
    assert (disk / "run" / "reports" / "evaluate-test.json").read_text() == "new"


# Fragments


def fragment_of(pid, folder, name="evaluate-test.json", host=None):
    path = folder / f".{name}.{host or files._host()}-{pid}.abcdefgh.tmp"
    path.mkdir(parents=True)
    (path / name).write_text("half")
    return path


def test_fragments_are_swept_wherever_they_are_but_not_those_that_are_being_written(run):
    dead, day = 2**22 + 1, time.time() - 86400  # no process has such an id
    abandoned = [
        fragment_of(dead, run.reports),
        fragment_of(dead, run.features, "d-test-0123456789ab.safetensors"),
        fragment_of(dead, run.path, "config.json"),
        fragment_of(dead, run.path.parent, "last"),
        fragment_of(1, run.reports, "evaluate-val.json", host="another"),
        run.reports / ".evaluate-val.json.abcdefgh.tmp",
    ]
    abandoned[-1].write_text("of an older version")
    for path in (abandoned[-1], abandoned[-2], abandoned[-2] / "evaluate-val.json"):
        os.utime(path, (day, day))
    kept = [
        fragment_of(os.getpid(), run.reports),
        fragment_of(1, run.reports, host="another"),
        fragment_of(dead, run.reports, "notes.txt"),
        run.reports / ".analyze-all-test.json.abcdefgh.tmp",
    ]
    kept[-1].write_text("of an older version, now")
    runs.load(str(run.path), device="cpu")
    assert [path for path in abandoned if path.exists()] == []
    assert [path for path in kept if not path.exists()] == []


def test_fragments_of_written_images_and_of_downloads_are_swept_too(tmp_path):
    dead = 2**22 + 1
    left = fragment_of(dead, tmp_path / "written", export.MARKER), fragment_of(dead, tmp_path / "data", "set")
    export._claim(tmp_path / "written", {"seed": 0})
    with zipfile.ZipFile(tmp_path / "data" / "set.zip", "w") as archive:
        archive.writestr("set/a.txt", "a")
    _download.unpack(tmp_path / "data" / "set.zip", tmp_path / "data" / "set")
    assert [path for path in left if path.exists()] == []
    assert sorted(tree(tmp_path)) == ["data/set.zip", "data/set/a.txt", "written/corruptions.json"]


def test_a_fragment_says_whose_it_is_and_holds_what_its_writer_leaves(tmp_path):
    seen = []

    def write(path):
        (path.parent / ".tmpAbCdEf").touch()
        path.write_text("new")
        seen.extend(path.name for path in tmp_path.iterdir())

    files.atomic_write(tmp_path / "file.json", write)
    [name] = seen
    assert int(files.FRAGMENT.fullmatch(name)["pid"]) == os.getpid()
    assert list(tree(tmp_path)) == ["file.json"]


def test_a_file_system_that_cannot_sync_a_folder_or_change_modes_is_written_to(tmp_path, monkeypatch):
    def unsupported(*arguments):
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(os, "fsync", unsupported)
    monkeypatch.setattr(Path, "chmod", unsupported)
    files.atomic_write(tmp_path / "file", "new")
    assert (tmp_path / "file").read_text() == "new"
