"""The run folder: names, finding a run, refusing what is not one, and loading a trained classifier."""

import dataclasses
import errno
import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy
import pytest
import torch
from tiny import config, digits, fit, tree

from randhead import runs
from randhead.config import parse, resolved
from randhead.config.resolved import ResolvedSettings
from randhead.datasets import _dataset
from randhead.errors import DataError, RunError, UsageError
from randhead.head import checks
from randhead.runs import Run, SelectedEpoch, checkpoint, folder
from randhead.runs.own_files import delete_training
from randhead.train import log
from randhead.train.events import Warned
from randhead.train.log import StepMetrics
from randhead.train.state import TrainState


@pytest.fixture(scope="module")
def images():
    return digits()


@pytest.fixture(scope="module")
def template(tmp_path_factory, images):
    root = tmp_path_factory.mktemp("runs")
    fit(root / "run", config(train__epochs=1), images)
    return root


@pytest.fixture
def trained(tmp_path, template):
    """The root of a folder with one finished run named "run"."""
    return shutil.copytree(template, tmp_path, dirs_exist_ok=True)


def refused(work, *words):
    with pytest.raises(RunError) as caught:
        work()
    for word in words:
        assert word in caught.value.message
    assert caught.value.hint
    return caught.value


# Names


def test_equal_configurations_have_equal_names_and_others_have_not():
    plain = runs.default_name(config())
    assert plain == runs.default_name(config(machine__workers=9))
    assert plain.startswith("digits-small_resnet-dot-fixed-uniform-seed0-")
    assert len({runs.default_name(config(optim__lr=rate)) for rate in (0.1, 0.2, 0.3)}) == 3


@pytest.mark.parametrize("data", ["/some/where/My Images (2)", "/x/" + "a" * 250, "/x/图片", "/x/..hidden..", "/"])
def test_any_folder_of_images_gives_a_usable_name(data):
    name = runs.default_name(config(data__name=data, head__vectors="file:/x/../w.npy", backbone__name="timm:a/b"))
    assert folder.ALLOWED.fullmatch(name), name


TRICKS = ["", ".", "..", "../x", "a/b", "/etc", "-x", ".x", "a\nb", "a b", "a\0b", "a\\b", "last", "é", "x" * 201]


@pytest.mark.parametrize("name", TRICKS)
def test_a_name_that_is_no_plain_folder_name_is_refused(tmp_path, name):
    with pytest.raises(UsageError, match="cannot be named"):
        runs.open_run(tmp_path / "runs", name, config())
    assert list(tmp_path.iterdir()) == []


# Opening


def test_another_configuration_is_refused_and_the_difference_named(trained):
    other = config(train__epochs=1, optim__lr=0.7, head__scoring="cosine")
    error = refused(lambda: runs.open_run(trained, "run", other), "optim.lr: saved 0.05, requested 0.7")
    assert "head.scoring: saved 'dot', requested 'cosine'" in error.message
    assert "fresh=True" in error.hint


def test_other_settings_of_the_machine_are_no_other_configuration(trained):
    assert runs.open_run(trained, "run", config(train__epochs=1, machine__workers=5)).summary()


def test_a_folder_that_is_something_else_is_refused(tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").touch()
    refused(lambda: runs.open_run(tmp_path, "thesis", config()), "exists and is not a run")


def test_an_empty_folder_and_what_a_killed_start_leaves_are_no_obstacle(tmp_path):
    (tmp_path / "run").mkdir()
    runs.open_run(tmp_path, "run", config())
    (tmp_path / "run" / ".lock").touch()
    (tmp_path / "run" / ".config.json.x.tmp").touch()
    runs.open_run(tmp_path, "run", config())


def test_starting_over_leaves_nothing_of_the_old_training(trained):
    run = Run(trained / "run")
    run.reports.mkdir()
    (run.reports / "evaluate-test.json").touch()
    (run.path / "README.md").touch()
    delete_training(run)
    assert list(tree(trained)) == ["last", "run/.lock"]


def test_starting_over_cut_short_still_leaves_a_run(trained, monkeypatch):
    """The configuration goes last, so that at every moment the folder is known for what it is."""
    run, gone = Run(trained / "run"), []
    unlink = Path.unlink

    def watched(self, missing_ok=False):
        if self.exists():
            gone.append(self.name)
        unlink(self, missing_ok)

    monkeypatch.setattr(Path, "unlink", watched)
    delete_training(run)
    assert gone[-1] == "config.json"
    assert len(gone) == 5  # a checkpoint, the summary, the model and the log before it


# Finding


def test_a_run_is_found_by_name_by_path_or_as_the_latest(trained, monkeypatch):
    assert runs.find("run", root=trained).path == trained / "run"
    assert runs.find(root=trained).path == trained / "run"
    assert runs.find(str(trained / "run"), root=Path("nowhere")).path == trained / "run"
    monkeypatch.chdir(trained)
    assert runs.find("run", root="nowhere").path == Path("run")
    assert [run.name for run in runs.all_runs(trained)] == ["run"]


def test_a_run_that_is_not_there_is_refused_with_those_that_are(trained):
    error = refused(lambda: runs.find("rum", root=trained), "there is no run rum in ", str(trained))
    assert error.hint == "did you mean 'run'? runs there: run"


@pytest.mark.parametrize("content", [None, b"", b"gone\n", b"../run\n", b"/etc\n", b"\xff\xfe", b"last\n"])
def test_without_a_usable_latest_run_one_has_to_be_trained(trained, content):
    (trained / "last").unlink()
    if content is not None:
        (trained / "last").write_bytes(content)
    assert runs.last(trained) is None
    assert "randhead train" in refused(lambda: runs.find(root=trained), "there is no run").hint


def test_every_run_that_can_be_read_is_listed(trained, images):
    asked = iter([False])
    fit(trained / "stopped", config(), images, should_stop=lambda: next(asked, True))
    fit(trained / "damaged", config(), images)
    (trained / "damaged" / "summary.json").write_text("{")
    warned = []
    found = runs.list_runs(trained, warn=warned.append)
    assert [(run.name, run.state) for run in found.runs] == [("run", "finished"), ("stopped", "stopped after step 1")]
    assert found.runs[0].test_accuracy == Run(trained / "run").summary().test["accuracy"]
    assert found.last == "damaged"
    assert len(warned) == 1 and "damaged" in warned[0]
    assert runs.list_runs(trained / "nothing") == runs.RunList((), None)


def of_the_first_version(run, pairs=8_000, **more):
    """A summary as version 0.1.0 wrote it: with a line per number, and the entries per class in the middle."""
    summary = json.loads(run.summary_path.read_text())
    found = {"per_class_accuracy": [0.5], "per_class_n": [2], "confusion": [[0, 1]] * pairs}
    summary["test"] = {key: value for key, value in summary["test"].items() if key != "diagnostics"} | found | {
        "diagnostics": summary["test"]["diagnostics"]
    }  # fmt: skip
    run.summary_path.write_text(json.dumps(summary | more, indent=2))
    return run.summary_path


def test_the_summary_of_an_older_version_is_the_same_without_its_entries_per_class(trained):
    run = Run(trained / "run")
    new = run.summary()
    for pairs in (1, 2_000, 5_000):
        of_the_first_version(run, pairs)
        assert run.summary() == new
    for kept in (["x" * 1000] * 100, ['"diagnostics": {']):  # a long end, and one that looks like the entries
        of_the_first_version(run, 5_000, bad_images=kept)
        assert run.summary() == dataclasses.replace(new, bad_images=tuple(kept))


def test_listing_runs_reads_little_of_large_summaries(trained):
    """The middle is overwritten: who reads it finds no JSON."""
    run = Run(trained / "run")
    accuracy, path = run.summary().test["accuracy"], of_the_first_version(run)
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(1 << 16)
        file.write(bytes(size - (2 << 16)))
    assert size > 3 << 16
    assert runs.list_runs(trained).runs[0].test_accuracy == accuracy


def test_a_missing_root_holds_no_runs(tmp_path):
    assert runs.all_runs(tmp_path / "nothing") == []
    refused(lambda: runs.find(root=tmp_path / "nothing"), "there is no run")
    refused(lambda: runs.find("run", root=tmp_path / "nothing"), "there is no run run in ")


# Reading


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "{}", '{"config": 3}', '{"config": {"optim": {"lr": "fast"}}}', "\0"]
)
def test_a_damaged_configuration_is_refused_by_name(trained, content):
    (trained / "run" / "config.json").write_text(content)
    refused(lambda: Run(trained / "run").config(), "config.json")


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"test": 3, "val": {}, "selected": {}}'])
def test_a_damaged_summary_is_refused_by_name(trained, content):
    (trained / "run" / "summary.json").write_text(content)
    refused(lambda: Run(trained / "run").summary(), "summary.json")


def test_the_log_is_cut_to_the_finished_epochs_whatever_is_in_it(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"epoch": 1}\n{"epoch": 2}\n{"epoch": 3}\n\xff\n[1]\n{"epo')
    log.truncate(path, 2)
    assert path.read_text() == '{"epoch": 1}\n{"epoch": 2}\n'
    log.truncate(tmp_path / "nothing", 2)
    assert not (tmp_path / "nothing").exists()


# Loading


@pytest.mark.parametrize(
    "head",
    [
        {},
        {"head__trainable": True},
        {"head__trainable": True, "head__bias": 0.01, "head__neck": "batchnorm"},
        {"head__vectors": "simplex", "head__scoring": "cosine", "head__neck": "linear"},
        {"head__vectors": "simplex", "head__trainable": True, "head__learn_scale": True},
        {"head__vectors": "gaussian", "head__class_keys": "name"},
    ],
)
def test_every_kind_of_head_loads_again_bit_for_bit(tmp_path, images, head):
    summary = fit(tmp_path / "run", config(train__epochs=1, **head), images)[-1].summary
    loaded = runs.load("run", root=tmp_path, device="cpu")
    assert loaded.weights_sha256 == summary.weights_sha256
    assert checkpoint.state_sha256(loaded.model.state_dict()) == summary.weights_sha256
    assert not loaded.model.training
    batch = next(images.splits["test"].images.batches(torch.arange(4), 4))
    assert loaded.model(loaded.preprocess.prepare(batch)).shape == (4, 10)


BY_NAME = {"head__class_keys": "name"}


@pytest.mark.parametrize("head", [{}, BY_NAME, {**BY_NAME, "head__trainable": True}])
def test_an_old_run_with_decomposed_names_has_the_vectors_that_were_drawn_for_them(tmp_path, images, head):
    names = ("cafe\u0301", *images.class_names[1:])
    with pytest.MonkeyPatch.context() as patch:  # as before names were composed
        for module in (checks, resolved, _dataset):
            patch.setattr(module, "composed", str)
        old = dataclasses.replace(images, class_names=names)
        fit(tmp_path / "run", config(train__epochs=1, **head), old)
        expected = runs.load("run", root=tmp_path, device="cpu").model.head
    loaded = runs.load("run", root=tmp_path, device="cpu")
    assert loaded.class_names[0] == "caf\u00e9"
    assert torch.equal(loaded.model.head.class_vectors(), expected.class_vectors())
    assert loaded.model.head.spec == expected.spec
    loaded.check_classes(dataclasses.replace(images, class_names=names))


def test_an_old_run_with_names_in_two_forms_of_unicode_says_so(tmp_path, images):
    names = ("cafe\u0301", "caf\u00e9s", *images.class_names[2:])
    with pytest.MonkeyPatch.context() as patch:
        for module in (checks, resolved, _dataset):
            patch.setattr(module, "composed", str)
        old = dataclasses.replace(images, class_names=names)
        fit(tmp_path / "run", config(train__epochs=1, **BY_NAME), old)
    refused(lambda: runs.load("run", root=tmp_path, device="cpu"), "not in one form of Unicode")


def test_a_run_that_is_not_finished_has_no_model_to_load(tmp_path, images):
    fit(tmp_path / "run", config(), images, should_stop=lambda: True)
    assert "resumes" in refused(lambda: runs.load("run", root=tmp_path), "no trained model yet").hint


def rewritten(path, change):
    tensors, document = checkpoint.load(path)
    tensors, document = change(dict(tensors), json.loads(json.dumps(document)))
    checkpoint.save(path, tensors, document)


CHANGES = {
    "no configuration": lambda t, d: (t, {key: value for key, value in d.items() if key != "config"}),
    "no facts": lambda t, d: (t, d | {"resolved": {}}),
    "a list": lambda t, d: (t, d | {"config": [1]}),
    "no weights": lambda t, d: ({}, d),
    "other classes": lambda t, d: (t, d | {"resolved": d["resolved"] | {"class_names": ["a", "b"]}}),
    "another width": lambda t, d: (t, d | {"config": d["config"] | {"backbone": {"name": "resnet18"}}}),
    "another seed": lambda t, d: (t, d | {"config": d["config"] | {"train": {"head_seed": 5}}}),
    "another geometry": lambda t, d: (t, d | {"config": d["config"] | {"head": {"vectors": "gaussian"}}}),
    "a weight that is missing": lambda t, d: ({name: t[name] for name in list(t)[1:]}, d),
    "no spec": lambda t, d: ({name: value for name, value in t.items() if name != "head.vectors_spec"}, d),
    "a weight too many": lambda t, d: (t | {"more": torch.zeros(1)}, d),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_model_whose_parts_do_not_fit_together_is_refused(trained, change):
    """Their hash is right: somebody wrote them so."""
    rewritten(trained / "run" / "model.safetensors", change)
    error = refused(lambda: runs.load("run", root=trained))
    assert "\n" not in error.message


NAMES = {
    "a backbone that is a path": {"backbone": {"name": "../../../etc/passwd"}},
    "a backbone that is a module": {"backbone": {"name": "os"}},
    "vectors that are a module": {"head": {"vectors": "os.system"}},
    "vectors of a missing file": {"head": {"vectors": "file:/nothing/w.npy"}},
    "a normaliser that is private": {"head": {"normaliser": "_rows"}},
}


NEEDED = ("class_names", "num_classes", "image_size", "mean", "std")


def test_a_model_of_an_older_version_loads_without_the_newer_keys(trained):
    def older(tensors, document):
        return tensors, document | {"resolved": {key: document["resolved"][key] for key in NEEDED}}

    before = runs.load("run", root=trained, device="cpu")
    rewritten(trained / "run" / "model.safetensors", older)
    after = runs.load("run", root=trained, device="cpu")
    assert after.weights_sha256 == before.weights_sha256
    assert (after.class_names, after.image_size) == (before.class_names, before.image_size)


def test_what_json_keeps_comes_back_as_it_was():
    settings = ResolvedSettings(
        ("a", "b"), 2, 8, (0.5,) * 3, (0.25,) * 3, "views", 1, True, {"train": 3}, {"train": {"images": "a"}}, 16, 1.5
    )
    assert ResolvedSettings.from_json(json.loads(json.dumps(settings.to_json()))) == settings
    for best in (None, SelectedEpoch(3, 0.5), SelectedEpoch(3, 0.5, 0.1)):
        for last_step in (None, StepMetrics(0.1, 2.0), StepMetrics(0.1, 2.0, 3.0, 0.5)):
            state = TrainState(7, 3, 1.5, 40, last_step, 2.5, best, {"lr": 0.1}, {})
            assert TrainState.from_json(json.loads(json.dumps(state.to_json())), {}) == state


def test_load_takes_what_find_takes_and_a_loaded_run(trained):
    loaded = runs.load(root=trained, device="cpu")
    for run in ("run", "last", trained / "run", str(trained / "run"), Run(trained / "run")):
        assert runs.load(run, root=trained, device="cpu").run.path.resolve() == (trained / "run").resolve()
    assert runs.load(loaded) is loaded


@pytest.mark.parametrize("section", NAMES.values(), ids=NAMES)
def test_a_name_in_a_file_reaches_only_what_is_built_in(trained, section):
    rewritten(trained / "run" / "model.safetensors", lambda t, d: (t, d | {"config": d["config"] | section}))
    with pytest.raises((RunError, UsageError, DataError)):
        runs.load("run", root=trained)


def test_a_class_name_that_is_a_path_writes_nothing_outside(tmp_path, images):
    names = ("../../x", "/etc/x", *images.class_names[2:])
    tricky = type(images)("tricky", names, images.splits, 8)
    root = tmp_path / "deep" / "runs"
    fit(root / "run", config(train__epochs=1), tricky)
    assert runs.load("run", root=root).class_names == names
    assert [path.name for path in tmp_path.iterdir()] == ["deep"]
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["runs"]


# The lock


HOLD = """
import fcntl, sys
file = open(sys.argv[1], "w")
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


def test_the_lock_keeps_another_process_out_and_goes_with_it(tmp_path):
    run = Run(tmp_path)
    command = [sys.executable, "-c", HOLD, str(tmp_path / ".lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(RunError, match="being trained by another process"), runs.locked(run):
            pass
        process.kill()
    with runs.locked(run):
        pass


def test_a_lock_that_cannot_be_made_is_no_bug(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    below = Run(tmp_path / "file" / "run")
    with pytest.raises(RunError, match="cannot be made") as caught, runs.locked(below):
        pass
    assert caught.value.hint.startswith("use another `root`")
    (tmp_path / "run" / ".lock").mkdir(parents=True)
    with pytest.raises(RunError, match=r"run cannot be locked \(Is a directory\)"), runs.locked(Run(tmp_path / "run")):
        pass


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.ENOSPC])
def test_a_folder_that_cannot_be_written_to_is_no_matter_of_its_lock(tmp_path, monkeypatch, number):
    def refuse(*words, **options):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("randhead.runs.lock.os.open", refuse)
    run = Run(tmp_path / "run")
    with pytest.raises(RunError, match=f"cannot be written to .{os.strerror(number)}") as caught, runs.locked(run):
        pass
    assert caught.value.hint.startswith("use another `root`") and ".lock" not in caught.value.hint


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL])
def test_a_file_system_without_locks_is_a_warning(tmp_path, monkeypatch, number):
    def no_locks(*arguments):
        raise OSError(number, "No locks available")

    monkeypatch.setattr("fcntl.flock", no_locks)
    with runs.locked(Run(tmp_path / "run")) as [warning]:
        assert "has no locks (No locks available)" in warning
    found = fit(tmp_path / "run", config(train__epochs=1), digits())
    assert warning in [event.message for event in found if isinstance(event, Warned)]
    assert Run(tmp_path / "run").summary()


def test_the_lock_is_given_back_after_an_error_and_by_another_thread(tmp_path):
    run = Run(tmp_path)
    with pytest.raises(KeyError), runs.locked(run):
        raise KeyError
    held = runs.locked(run)
    held.__enter__()
    thread = threading.Thread(target=held.__exit__, args=(None, None, None))
    thread.start()
    thread.join()
    with runs.locked(run):
        pass


def test_the_configuration_in_a_run_is_the_one_that_was_given(trained):
    content = json.loads((trained / "run" / "config.json").read_text())
    assert parse.build(parse.unnest(content["config"])) == config(train__epochs=1)
    assert content["resolved"]["class_names"] == list("0123456789")
    assert {"randhead", "torch", "python"} <= set(content["versions"])


@pytest.mark.parametrize("learned", [False, True])
def test_a_run_on_the_users_own_vectors_loads_without_their_file(tmp_path, learned):
    file = tmp_path / "mine.npy"
    numpy.save(file, torch.eye(32)[:10].numpy())
    mine = config(head__vectors=f"file:{file}", head__trainable=learned, train__epochs=1)
    fit(tmp_path / "run", mine, digits())
    before = runs.load(str(tmp_path / "run")).model.head.class_vectors()
    file.unlink()
    assert runs.load(str(tmp_path / "run")).model.head.class_vectors().equal(before)
    assert before.equal(torch.eye(32)[:10]) != learned
