"""What `randhead doctor --data` says about a set of images."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from randhead import datasets
from randhead.cli.output import Output
from randhead.datasets import ReadReport, Scan
from randhead.errors import UsageError


@pytest.fixture
def animals(image_folder):
    """A folder of three classes with one fault of each kind."""
    train, test = image_folder / "train", image_folder / "test"
    shutil.copy(train / "cat" / "00.png", test / "cat" / "copy.png")
    shutil.copy(train / "cat" / "01.png", train / "dog" / "also.png")
    Image.new("RGB", (16, 16), "white").save(train / "dog" / "blank.png")
    Image.fromarray(np.random.default_rng(0).integers(0, 2**12, (20, 16), dtype=np.uint16)).save(
        train / "dog" / "x.tif"
    )
    (train / "bird" / "bad.png").write_bytes(b"text")
    (train / "bird" / "notes.heic").touch()
    return image_folder


def test_a_scan_finds_one_fault_of_each_kind(animals):
    found = datasets.scan(animals)
    assert {name: counts["test"] for name, counts in found.classes.items()} == {"bird": 4, "cat": 5, "dog": 4}
    totals = {name: sum(counts.values()) for name, counts in found.classes.items()}
    assert totals == {"bird": 14, "cat": 15, "dog": 17}
    assert found.imbalance == pytest.approx(17 / 14)
    assert found.sizes == {(16, 16): 45, (16, 20): 1}
    assert found.modes == {"RGB": 45, "I;16": 1}
    assert found.one_colour == ("train/dog/blank.png",)
    assert ("test/cat/copy.png", "train/cat/00.png") in found.copies
    assert found.two_classes == (("train/cat/01.png", "train/dog/also.png"),)
    assert found.duplicates == 2
    assert [path.name for path, _ in found.bad_images] == ["bad.png"]
    assert found.report.left_out == {".heic": 1}
    document = json.loads(json.dumps(found.to_json()))
    assert {"folder", "bad_images"} <= set(document)
    assert document["sizes"] == {"16x16": 45, "16x20": 1}


def test_a_scan_says_what_training_warns_of(animals):
    found, loaded = datasets.scan(animals), datasets.load(animals, skip_bad_images=True, image_size=64)
    assert found.report == loaded.report
    assert len(found.report.notes()) >= 5


def test_a_dataset_is_scanned_by_its_name():
    found = datasets.scan("digits")
    assert found.classes["3"] == {"train": 128, "val": 18, "test": 37}
    assert (found.sizes, found.bad_images, found.copies) == ({(8, 8): 1797}, (), ())
    with pytest.raises(UsageError, match="unknown dataset"):
        datasets.scan("digit")


def scan_of(classes):
    counts = {f"a class of a long name {k}": {"train": 100 + k, "val": 10, "test": 10} for k in range(classes)}
    copies = tuple((f"test/{k}.png", f"train/{k}.png") for k in range(99))
    return Scan("folder", classes=counts, report=ReadReport(images=999), sizes={(9, 9): 9, (8, 9): 3}, copies=copies)


@pytest.mark.parametrize("classes", [2, 24, 1000])
def test_tables_fit_80_columns_and_one_screen_for_any_number_of_classes(classes, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    Output(as_json=False).show(scan_of(classes))
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert len(lines) <= 55
    named = sum(line.startswith("a class of") for line in lines)
    assert named == (classes if classes <= 24 else 16)
    assert any("984 classes between them: see --json" in line for line in lines) is (classes == 1000)
    assert any("and 89 more: see --json" in line for line in lines)
