"""What a run knows of its images: training is not resumed on others, and no stored result is taken for theirs."""

import dataclasses
import json
import os
import shutil
import time

import numpy as np
import pytest
import tiny
import torch
from PIL import Image

from randhead import datasets, runs
from randhead.datasets import FileImages, Split, TensorImages, fingerprint, fingerprints
from randhead.errors import RunError
from randhead.evaluation import evaluate, feature_cache
from randhead.robustness import benchmark
from randhead.runs import Run, checkpoint
from randhead.train import events, fit


def folder_of(path):
    for split, images in (("train", 6), ("test", 2)):
        tiny.image_folder(path, images=images, split=split)
    return path


def settings(folder, **changes):
    return tiny.config(data__name=str(folder), data__validation=0.2, train__epochs=1, **changes)


def train(run, folder, *, steps=None, **changes):
    """The events of a training, which is stopped after a number of steps."""
    config = settings(folder, **changes)
    return tiny.fit(run, config, datasets.from_config(config), steps=steps)


def warnings_of(found):
    return [event.message for event in found if isinstance(event, events.Warned)]


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    root = tmp_path_factory.mktemp("template")
    folder_of(root / "images")
    for name, steps in (("stopped", 0), ("finished", None)):
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(root)
            train(root / "runs" / name, "./images", steps=steps)
    return root


@pytest.fixture
def world(template, tmp_path, monkeypatch):
    """A stopped and a finished training of the images in ./images."""
    monkeypatch.chdir(shutil.copytree(template, tmp_path, dirs_exist_ok=True))
    return tmp_path


def noise(path, seed=0):
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (8, 8, 3), dtype=np.uint8)).save(path)


CHANGES = {
    "a training image is replaced": (
        lambda images: [noise(path) for path in (images / "train" / "cat").iterdir()],
        "other training images",
    ),
    "a test image is replaced": (lambda images: noise(images / "test" / "cat" / "0.png"), "other test images"),
    "a test image is moved": (
        lambda images: (images / "test" / "cat" / "0.png").rename(images / "test" / "dog" / "00.png"),
        "the same test images with other labels",
    ),
    "a class is renamed": (
        lambda images: [(images / split / "cat").rename(images / split / "zebra") for split in ("train", "test")],
        "other classes (new zebra; gone cat)",
    ),
    "two classes change places": (
        lambda images: [
            (images / "train" / old).rename(images / "train" / new)
            for old, new in (("cat", "dog_"), ("dog", "cat"), ("dog_", "dog"))
        ],
        "training images",
    ),
    "a test image is added": (
        lambda images: noise(images / "test" / "cat" / "9.png"),
        "7 test images instead of 6",
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_training_is_not_resumed_on_other_images(world, change):
    do, words = CHANGES[change]
    do(world / "images")
    before = tiny.tree(world / "runs")
    with pytest.raises(RunError) as caught:
        train(world / "runs" / "stopped", "./images")
    assert words in caught.value.message
    assert "fresh=True" in caught.value.hint
    assert tiny.tree(world / "runs") == before


def test_a_copy_of_the_images_with_other_times_is_the_same(world):
    for path in (world / "images").rglob("*.png"):
        os.utime(path, (1, 1))
    (world / "images" / "test" / "cat" / "0.png").rename(world / "images" / "test" / "cat" / "00.png")
    found = train(world / "runs" / "stopped", "./images", steps=0)
    assert warnings_of(found) == []


def test_a_run_that_does_not_know_its_images_says_so_once_and_learns_them(world):
    run = Run(world / "runs" / "stopped")
    [step] = checkpoint.saved_steps(run.checkpoints)
    path = checkpoint.step_path(run.checkpoints, step)
    tensors, document = checkpoint.load(path)
    for content in (document, config := json.loads(run.config_path.read_text())):
        del content["resolved"]["fingerprints"], content["environment"]
    checkpoint.save(path, tensors, document)
    run.config_path.write_text(json.dumps(config))
    [warning] = warnings_of(train(run.path, "./images", steps=0))
    assert "does not say on which images" in warning
    checkpoint.save(path, tensors, document)  # as if the process had been killed before the next checkpoint
    assert warnings_of(train(run.path, "./images", steps=0)) == []
    noise(world / "images" / "test" / "cat" / "0.png")
    with pytest.raises(RunError, match="other test images"):
        train(run.path, "./images")


@pytest.mark.parametrize(
    ("section", "key", "old", "words"),
    [
        ("environment", "device", "CPU (x86_64, 64 threads)", "after CPU (x86_64, 64 threads)"),
        ("environment", "precision", "bfloat16", "float32 after bfloat16"),
        ("versions", "torch", "2.0.0", "after 2.0.0"),
    ],
)
def test_another_number_of_threads_or_another_version_is_a_warning(world, section, key, old, words):
    run = Run(world / "runs" / "stopped")
    document = json.loads(run.config_path.read_text())
    assert document["environment"]["device"].endswith("1 thread)")
    document[section][key] = old
    run.config_path.write_text(json.dumps(document))
    [warning] = warnings_of(train(run.path, "./images", steps=0))
    assert words in warning
    assert "last bits" in warning
    assert warnings_of(train(run.path, "./images", steps=0)) == []


def test_a_finished_run_warns_when_its_images_have_changed(world, no_pictures, capsys):
    said = []
    evaluate("finished", warn=said.append)
    assert said == []
    noise(world / "images" / "test" / "cat" / "0.png")
    evaluate("finished", warn=said.append)
    benchmark("finished", corruptions="contrast", severities=[1], warn=said.append)
    assert said == ["images has changed since finished was trained: other test images"] * 2
    assert tiny.main("eval", "finished", "--json") == 0
    assert f"warning: {said[0]}" in capsys.readouterr().err


@pytest.mark.parametrize("change", ["nothing", "copied", "replaced", "moved", "gone"])
def test_a_finished_run_that_is_asked_for_again_warns_of_other_images(world, monkeypatch, change):
    folder, said, read = world / "images", [], []
    load = datasets.from_config
    monkeypatch.setattr(datasets, "from_config", lambda *given, **options: read.append(1) or load(*given, **options))
    again = lambda **options: fit(settings("./images"), root="runs", name="finished", warn=said.append, **options)  # noqa: E731
    began = time.time() + (60 if change == "nothing" else 0)
    os.utime("runs/finished/config.json", (began, began))
    if change == "copied":
        shutil.move(folder, "old")
        shutil.copytree("old", folder)
    elif change == "replaced":
        noise(folder / "test" / "cat" / "0.png")
    elif change == "moved":
        (folder / "test" / "cat" / "0.png").rename(folder / "test" / "dog" / "00.png")
    elif change == "gone":
        shutil.rmtree(folder)
    assert again() == again()
    words = {"replaced": "other test images", "moved": "the same test images with other labels"}.get(change)
    assert len(said) == 2 * (words is not None) and all(words in text for text in said)
    assert (len(read) == 0) == (change in ("nothing", "gone"))


def test_a_finished_run_is_compared_with_images_that_are_given(world):
    said, config = [], settings("./images")
    dataset = datasets.from_config(config)
    fit(config, root="runs", name="finished", dataset=dataset, warn=said.append)
    assert said == []
    test = dataset.splits["test"]
    other = dataclasses.replace(dataset, splits={**dataset.splits, "test": Split(test.images, test.labels.flip(0))})
    fit(config, root="runs", name="finished", dataset=other, warn=said.append)
    assert ["the same test images with other labels" in text for text in said] == [True]


def test_the_feature_cache_knows_images_and_labels(world):
    loaded = runs.load("finished")
    extracted = []

    def features():
        extracted.append(feature_cache.features(loaded, loaded.dataset(), "test"))
        return extracted[-1]

    first, again = features(), features()
    assert torch.equal(first.features, again.features)
    (world / "images" / "test" / "cat" / "0.png").rename(world / "images" / "test" / "dog" / "00.png")
    assert not torch.equal(features().labels, first.labels)
    noise(world / "images" / "test" / "cat" / "1.png")
    assert not torch.equal(features().features, extracted[-2].features)


def test_runs_of_one_folder_that_changed_between_them_are_not_compared(world):
    noise(world / "images" / "test" / "cat" / "0.png")
    train(world / "runs" / "later", "./images", train__seed=1)
    with pytest.raises(RunError, match="other test images"):
        benchmark("finished", baseline="later", corruptions="contrast", severities=[1], warn=lambda text: None)


def test_resident_and_streamed_images_have_one_fingerprint(world):
    resident, streamed = (
        datasets.load(world / "images", memory_budget=budget, validation=0.2) for budget in (1 << 20, 1 << 10)
    )
    assert isinstance(resident.splits["train"].images, TensorImages)
    assert isinstance(streamed.splits["train"].images, FileImages)
    assert fingerprints(resident) == fingerprints(streamed)
    paths = streamed.splits["test"].images.paths
    unread = Split(FileImages(paths, 8, workers=1, device="cpu"), streamed.splits["test"].labels)
    assert fingerprint(unread) == fingerprint(streamed.splits["test"])
    rows = torch.tensor([3, 1])
    assert fingerprint(unread, rows) == fingerprint(resident.splits["test"], rows)
    assert fingerprint(unread, rows) != fingerprint(unread, rows.flip(0))
