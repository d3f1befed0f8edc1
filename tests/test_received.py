"""A file of a run may come from anybody: it is checked as what a user types, and nothing is written where it says."""

import json
import shutil

import pytest
import tiny
from PIL import Image

from randhead import datasets, runs
from randhead.config.resolved import ResolvedSettings
from randhead.datasets import _download
from randhead.errors import RunError
from randhead.evaluation import feature_cache, predict
from randhead.runs import checkpoint
from randhead.train import fit_events


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A run of one epoch on a few digits."""
    folder = tmp_path_factory.mktemp("received") / "r"
    config = tiny.config(train__epochs=1, data__name="digits")
    list(fit_events(config, tiny.digits(), runs.Run(folder)))
    return folder


@pytest.fixture
def run(template, tmp_path):
    return runs.Run(shutil.copytree(template, tmp_path / "r"))


def rewrite(run, change):
    """Make a model file of somebody else, whose hash is right: `change` gets the document."""
    tensors, document = checkpoint.load(run.model_path)
    change(document)
    checkpoint.save(run.model_path, tensors, document)


RESOLVED = {
    "image_size": [100_000, 0, -8, 8.5, "8", None, True, 10**30],
    "mean": [[0.5] * 2, [0.5] * 4, ["a"] * 3, [2.0] * 3, [-1.0] * 3, 0.5, [], None],
    "std": [[0.0] * 3, [-1.0] * 3, [0.5], "abc"],
    "class_names": [
        ["a\x1b]0;x\x07", "b"],
        ["a\nb", "c"],
        [1, 2],
        "ab",
        "abcdefghij",
        ["a"] * 10,
        [],
        None,
        ["a", "\x00"],
    ],
    "num_classes": [0, -1, 10**18, 3, "10", 10.0, None],
    "augment": ["other", 1],
    "crop_padding": [-1, 10**9, "a"],
    "flip": ["yes", 2],
    "cutout": [-1, 8, 0.25, "a"],
    "dim": [-1, "a", 1.5],
    "scale": ["a", 0.0, 1e300],
    "images": [{"train": -1}, {"train": "a"}, [1]],
    "fingerprints": [[1], "abc", None, {"test": "x"}, {"test": ["x"]}, {"test": {"images": 3}}],
    "input_of": [3],
    "bit_depth": [0, 17, "a"],
}
CONFIG = {
    ("data", "name"): ["", 3, "a\x00b"],
    ("data", "image_size"): [10**6, "a"],
    ("optim", "lr"): [1e300, -1, "a"],
    ("head", "bias"): [1e300],
    ("machine", "workers"): [10**9],
    ("head", "nonsense"): [1],
    ("backbone", "name"): [3],
}
SELECTED = [{}, {"epoch": "a", "accuracy": 0.5}, {"epoch": 1, "accuracy": "x"}, {"epoch": 1, "accuracy": None}, [], 3]


@pytest.mark.parametrize("key", RESOLVED)
def test_what_no_training_could_have_resolved_is_refused(run, key):
    for value in RESOLVED[key]:
        rewrite(run, lambda document, value=value: document["resolved"].update({key: value}))
        with pytest.raises(RunError) as caught:
            runs.load(run, device="cpu")
        assert caught.value.exit_code == 4 and caught.value.hint


@pytest.mark.parametrize(("section", "key"), CONFIG)
def test_what_no_user_could_set_is_refused(run, section, key):
    for value in CONFIG[section, key]:
        rewrite(run, lambda document, value=value: document["config"][section].update({key: value}))
        with pytest.raises(RunError, match=r"model\.safetensors"):
            runs.load(run, device="cpu")


def test_a_description_of_another_shape_is_refused(run):
    for value in SELECTED:
        rewrite(run, lambda document, value=value: document.update(selected=value))
        with pytest.raises(RunError):
            runs.load(run, device="cpu")
    for name in ("config", "resolved", "selected"):
        for value in (None, [], 3, "text", {}, [[]]):
            rewrite(run, lambda document, value=value, name=name: document.update({name: value}))
            with pytest.raises(RunError):
                runs.load(run, device="cpu")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e30])
def test_weights_that_give_no_numbers_are_no_model(run, value, tmp_path):
    tensors, document = checkpoint.load(run.model_path)
    for name, tensor in tensors.items():
        if name.endswith("weight") and tensor.ndim == 4:
            tensor[0] = value
    checkpoint.save(run.model_path, tensors, document)
    Image.new("L", (8, 8), 90).save(tmp_path / "a.png")
    with pytest.raises(RunError, match="NaN or infinite"):
        predict(tmp_path / "a.png", run, device="cpu")
    loaded = runs.load(run, device="cpu") if value == 1e30 else None
    if loaded:
        with pytest.raises(RunError, match="of 20 images are NaN or infinite"):
            feature_cache.features(loaded, tiny.digits(), "test")


@pytest.mark.parametrize("root", ["/nowhere/at/all", "theirs", "~nobodyatall/x", "a\x00b", 3, None])
def test_nothing_is_written_where_a_file_says(run, root, tmp_path, monkeypatch, capsys):
    """Its folder of datasets is looked at; what is missing is downloaded to the user's own."""
    asked = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(_download, "_fetch_one", lambda source, target, progress: asked.append(target) or 1 / 0)
    rewrite(
        run,
        lambda document: (
            document["config"]["machine"].update(data_root=root),
            document["config"]["data"].update(name="cifar10"),
        ),
    )
    loaded = runs.load(run, device="cpu")
    assert loaded.config.machine.data_root == "~/.cache/randhead"
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    with pytest.raises(ZeroDivisionError):
        loaded.dataset()
    assert asked and all(target.is_relative_to(tmp_path / "home") for target in asked)
    assert not (tmp_path / "theirs").exists()


def test_the_folder_of_datasets_of_a_training_is_still_looked_at(run, tmp_path, monkeypatch):
    roots = []

    def load(name, *, root, download=True, **options):
        roots.append((str(root), download))
        return "images"

    monkeypatch.setattr(datasets, "load", load)
    rewrite(run, lambda document: document["config"]["machine"].update(data_root="/data/sets"))
    runs.load(run, device="cpu").dataset()
    assert roots == [("/data/sets", False)]


@pytest.mark.parametrize("file", ["config.json", "summary.json", "model.safetensors"])
def test_a_truncated_or_strange_file_ends_a_command_with_4(run, file, monkeypatch, capsys):
    whole = (run.path / file).read_bytes()
    nested = b"[" * 100_000
    contents = [b"", b"{", whole[: len(whole) // 2], whole[:-1], b"null", b"[]", b"\xff\xfe", nested, b'{"a":NaN}']
    contents += [b"1" * 5000, b'{"config": {}, "resolved": {}}', bytes(range(256)) * 10]
    command = ("train", "--epochs", "1", "--name", "r", "--out", str(run.path.parent), "--batch-size", "16")
    words = {"config.json": command, "summary.json": command, "model.safetensors": ("eval", str(run.path))}[file]
    for content in contents:
        (run.path / file).write_bytes(content)
        assert tiny.main(*words) == 4, content[:20]
        out, err = capsys.readouterr()
        assert out == "" and err.startswith("error: ") and "bug" not in err


def test_figures_of_a_summary_are_numbers(run):
    content = json.loads(run.summary_path.read_text("utf-8"))
    for key, value in (("seconds", "a"), ("seconds", None), ("test", {"accuracy": "1"}), ("val", []), ("selected", {})):
        run.summary_path.write_text(json.dumps({**content, key: value}), "utf-8")
        with pytest.raises(RunError, match="summary"):
            run.summary()


def test_what_a_training_resolves_passes_its_own_checks():
    settings = ResolvedSettings(("a", "b"), 2, 8, mean=(0.0, 0.5, 1.0), std=(1.0, 1e-6, 0.5), scale=1e-3, dim=4)
    assert ResolvedSettings.from_json(json.loads(json.dumps(settings.to_json()))) == settings
