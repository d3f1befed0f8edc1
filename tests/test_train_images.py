"""`data.train_images`: fewer training images, stratified by class, by seed, each number a part of a larger one."""

import types

import numpy as np
import pytest
import torch
from PIL import Image

import randhead
from randhead import datasets, registry
from randhead.config import configure, parse
from randhead.datasets import TensorImages
from randhead.errors import UsageError
from randhead.runs import Run
from randhead.study.images import ImageCache


def pixels(split):
    images = split.images
    return torch.cat(list(images.batches(torch.arange(len(images)), 512))).flatten(1)


def as_set(split):
    return {bytes(image.numpy()) for image in pixels(split)}


def unbalanced(options, sizes=(100, 50, 7)):
    labels = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    images = (torch.arange(len(labels) * 3 * 64) * 7919 % 251).to(torch.uint8).reshape(-1, 3, 8, 8)
    rows = {"train": torch.arange(len(labels))}
    return datasets.from_arrays("some", ("a", "b", "c"), images, labels, rows, options, test_share=0.1)


def test_the_number_is_that_of_the_training_split_and_a_smaller_one_is_a_part_of_a_larger_one():
    whole = datasets.load("digits")
    parts = [datasets.load("digits", train_images=number) for number in (100, 500)]
    for name in ("train", "val"):
        small, large, everything = (as_set(dataset.splits[name]) for dataset in (*parts, whole))
        assert small < large < everything
    assert [len(part.splits["train"]) for part in parts] == [100, 500]
    n = len(whole.splits["val"]) / len(whole.splits["train"])
    assert [len(part.splits["val"]) for part in parts] == [round(100 * n), round(500 * n)]
    assert all(torch.equal(pixels(part.splits["test"]), pixels(whole.splits["test"])) for part in parts)


def test_images_are_stratified_and_drawn_by_the_seed_of_the_splits():
    counts = datasets.load("digits", train_images=200).splits["train"].labels.bincount()
    assert counts.min() >= 19 and counts.max() <= 21
    first, again, other = (
        datasets.load("digits", train_images=200, split_seed=seed).splits["train"] for seed in (0, 0, 1)
    )
    assert torch.equal(pixels(first), pixels(again)) and as_set(first) != as_set(other)


def test_every_class_keeps_an_image_however_rare_it_is():
    found = unbalanced(datasets.Options(train_images=12))
    assert found.splits["train"].labels.bincount().tolist() == [7, 4, 1]
    assert unbalanced(datasets.Options(train_images=3)).splits["train"].labels.tolist() == [0, 1, 2]


@pytest.mark.parametrize("number", [9, 1_260])
def test_a_number_that_there_is_not_is_refused(number):
    with pytest.raises(UsageError) as caught:
        datasets.load("digits", train_images=number)
    assert "there are 1,259 training images in 10 classes" in str(caught.value)
    assert "from 10 to 1259" in caught.value.hint


@pytest.fixture
def folder(tmp_path):
    for i in range(60):
        path = tmp_path / "images" / "train" / ("ab"[i % 2]) / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8, 3), 4 * i, dtype=np.uint8) + np.arange(8, dtype=np.uint8)[:, None]).save(path)
    for name in "ab":
        (tmp_path / "images" / "test" / name).mkdir(parents=True)
        Image.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3)).save(tmp_path / f"images/test/{name}/x.png")
    return tmp_path / "images"


def test_the_other_files_of_a_folder_are_not_opened(folder):
    part = datasets.load(folder, train_images=10)
    kept = as_set(part.splits["train"]) | as_set(part.splits["val"])
    assert len(part.splits["train"]) == 10 and len(part.splits["val"]) == 2
    for path in sorted(folder.glob("train/*/*.png")):
        image = torch.from_numpy(np.asarray(Image.open(path)).copy()).permute(2, 0, 1).contiguous()
        if bytes(image.flatten().numpy()) not in kept:
            path.write_bytes(b"no image")
    again = datasets.load(folder, train_images=10)
    assert datasets.fingerprints(again) == datasets.fingerprints(part)
    streamed = datasets.load(folder, train_images=10, memory_budget=0)
    assert datasets.fingerprints(streamed) == datasets.fingerprints(part)


def test_a_member_from_outside_that_does_not_know_of_it_has_the_number_too():
    mine = types.ModuleType("mine")

    def load(options):
        split = datasets.Split(TensorImages(torch.zeros(40, 3, 8, 8, dtype=torch.uint8), torch.arange(40)), labels)
        return datasets.Dataset("mine", ("a", "b"), dict.fromkeys(("train", "val", "test"), split), 8)

    labels, mine.load = torch.arange(40) % 2, load
    with registry.registered("datasets", mine):
        found = datasets.load("mine", train_images=10)
    assert found.splits["train"].labels.bincount().tolist() == [5, 5] and len(found.splits["test"]) == 40


def test_it_is_a_setting_that_came_later_and_goes_with_classes_that_are_held_out():
    assert parse.digest(configure({})) == parse.digest(configure({"data.train_images": "none"}))
    config = configure({"data.train_images": "300", "data.hold_out_classes": "3"})
    kept, new = (datasets.from_config(config, held_out=held) for held in (False, True))
    assert len(kept.splits["train"]) + len(new.splits["train"]) == 300
    assert len(kept.class_names) == 7 and len(new.class_names) == 3
    other = datasets.from_config(config, "digits")  # other images are used as they are
    assert len(other.splits["train"]) == 1259


def test_a_worker_of_a_study_that_shares_images_between_runs_has_those_of_each(tmp_path):
    images, sizes = ImageCache(), []
    for number in (100, 200, 100):
        config = configure({"data.train_images": number, "data.cutout": number / 1000})
        sizes.append(len(images.dataset(config, Run(tmp_path / "none")).splits["train"]))
    assert sizes == [100, 200, 100] and len(images._kept) == 2  # cutting squares out needs no other images


@pytest.mark.slow
def test_a_run_resumes_and_is_evaluated_on_the_same_images(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = randhead.fit({"data.train_images": 200, "train.epochs": 1})
    run = randhead.load_run(done.run)
    assert run.run.resolved().images["train"] == 200
    assert run.image_changes(run.dataset(), "train") is None
    assert randhead.fit({"data.train_images": 200, "train.epochs": 1}).weights_sha256 == done.weights_sha256
