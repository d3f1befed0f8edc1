"""Checkpoints of earlier versions are read as they were: every kind of head, a finished run, and one to resume."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

import randhead
from randhead import ClassVectorHead
from randhead.errors import RunError
from randhead.train.events import Started, Warned

FOLDER = Path(__file__).parent / "fixtures" / "checkpoints"
HEADS = sorted(path.stem for path in FOLDER.glob("*.safetensors") if not path.stem.endswith("-logits"))
CLOSE = {"rtol": 1e-5, "atol": 1e-5}  # products of matrices are rounded differently by another processor


def stored(name):
    """The arguments of a head, its state_dict, its features and logits."""
    with safe_open(FOLDER / f"{name}.safetensors", framework="pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        arguments = json.loads(file.metadata()["arguments"])
    features, logits = tensors.pop("features"), tensors.pop("logits")
    return arguments, {key.removeprefix("state."): value for key, value in tensors.items()}, features, logits


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A copy of the checkpoints as the current folder, and the small network that wrote those of the runs."""
    shutil.copytree(FOLDER, tmp_path / "old")
    monkeypatch.chdir(tmp_path / "old")
    monkeypatch.setattr("randhead.backbones.small_resnet.WIDTHS", (2, 4, 8))
    return tmp_path / "old"


@pytest.mark.parametrize("name", HEADS)
def test_the_checkpoint_of_a_head_gives_the_logits_of_its_time(monkeypatch, name):
    monkeypatch.chdir(FOLDER)  # of rows.npy
    arguments, state, features, logits = stored(name)
    head = ClassVectorHead(5, 16, **arguments).eval()
    head.load_state_dict(state)
    torch.testing.assert_close(head(features), logits, **CLOSE)


@pytest.mark.parametrize("name", HEADS)
def test_the_checkpoint_of_a_head_is_refused_by_one_with_other_class_vectors(monkeypatch, name):
    monkeypatch.chdir(FOLDER)
    arguments, state, _, _ = stored(name)
    other = {"vectors": "gaussian"} if "seed" in arguments or arguments.get("vectors", "").startswith("file") else {}
    with pytest.raises(RunError, match="class vectors are not those of the checkpoint"):
        ClassVectorHead(5, 16, **{**arguments, "seed": 8, **other}).load_state_dict(state)


def test_a_finished_run_is_read_without_its_file_of_class_vectors(here):
    kept = load_file("finished-run-logits.safetensors")
    run = randhead.load_run("finished-run", root=here, device="cpu")
    torch.testing.assert_close(run.model(kept["images"]), kept["logits"], **CLOSE)


@pytest.mark.slow
def test_a_stopped_run_resumes_to_the_same_end(here):
    kept, config = load_file("stopped-run-logits.safetensors"), json.loads(Path("stopped-run/config.json").read_text())
    settings = {
        f"{section}.{key}": value
        for section in ("data", "backbone", "head", "optim", "train", "machine")
        for key, value in config["config"][section].items()
    }
    seen = []
    randhead.fit(settings, root=here, name="stopped-run", on_event=seen.append, warn=lambda text: None)
    warnings = [event.message for event in seen if isinstance(event, Warned)]
    assert "does not say on which images it was trained" in " ".join(warnings)
    assert next(event for event in seen if isinstance(event, Started)).step == 4
    run = randhead.load_run("stopped-run", root=here, device="cpu")
    torch.testing.assert_close(run.model(kept["images"]), kept["logits"], rtol=1e-4, atol=1e-4)
