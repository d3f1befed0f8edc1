"""What reading images reports: what was left out, converted and found suspicious."""

import shutil
from dataclasses import replace

import pytest
import torch
from PIL import Image

from randhead import datasets, registry, train
from randhead.datasets import Copies, Options, ReadReport

REPORT = ReadReport(
    images=118,
    left_out={".heic": 30, ".jpg_large": 30, "": 10},
    converted={"of 16 bits": 3, "with transparency (put on white)": 2},
    one_colour={"of 16 bits": 3, "": 1},
    copies=(Copies("test", "train or val", 12, 12), Copies("val", "train", 1, 4)),
    two_classes=2,
    two_classes_files=5,
)
NOTES = (
    "left out 70 files without an image ending (30 .heic, 30 .jpg_large, 10 with none)",
    "converted: 3 of 16 bits, 2 with transparency (put on white)",
    "4 of 118 images have a single colour, or almost, after conversion (3 of 16 bits)",
    "12 of 12 test images are duplicates of training or validation images",
    "1 of 4 validation images is a duplicate of training images",
    "2 images have duplicates under other classes, 5 images in all",
)


def test_a_report_says_each_thing_in_a_sentence_and_nothing_if_there_is_nothing():
    assert REPORT.notes() == NOTES
    assert ReadReport(images=10).notes() == ()
    assert ReadReport(left_out={".txt": 1}).notes() == ("left out 1 file without an image ending (.txt)",)
    assert REPORT.to_json()["copies"][1] == {"split": "val", "of": "train", "images": 1, "total": 4}


@pytest.mark.slow
def test_training_warns_of_each_note_before_it_starts(tmp_path):
    digits, events = replace(datasets.load("digits"), report=REPORT), []
    settings = {"train.epochs": 1, "train.batch_size": 512}
    train.fit(settings, root=tmp_path, dataset=digits, on_event=events.append, warn=lambda text: None)
    begun = next(i for i, event in enumerate(events) if isinstance(event, train.events.Started))
    assert [event.message for event in events[:begun]] == list(NOTES)


# Copies


@pytest.mark.parametrize("budget", [0, 1 << 30])
def test_copies_of_training_images_in_other_splits_are_counted_whatever_their_files_are(budget, image_folder):
    train_cats, test_cats = image_folder / "train" / "cat", image_folder / "test" / "cat"
    shutil.copy(train_cats / "00.png", test_cats / "copy.png")
    Image.open(train_cats / "01.png").save(test_cats / "the same pixels.bmp")
    Image.open(train_cats / "02.png").rotate(90).save(test_cats / "turned.png")  # is another image
    report = datasets.load(image_folder, memory_budget=budget).report
    assert report.copies == (Copies("test", "train or val", 2, 15),)
    assert report.notes() == ("2 of 15 test images are duplicates of training or validation images",)


def test_images_under_two_classes_are_counted_and_blank_ones_are_no_copies(image_folder):
    train = image_folder / "train"
    for name in ("cat", "dog"):
        shutil.copy(train / "bird" / "00.png", train / name / "also.png")
        Image.new("RGB", (16, 16), "white").save(train / name / "blank.png")
        Image.new("RGB", (16, 16), "white").save(image_folder / "test" / name / "blank.png")
    report = datasets.load(image_folder).report
    assert (report.two_classes, report.two_classes_files) == (1, 3)
    assert "1 image has duplicates under other classes, 3 images in all" in report.notes()
    assert report.one_colour == {"": 4}
    assert all(found.split == "val" for found in report.copies)  # of the three, one may be in val


def noise(count, seed=0):
    return torch.randint(0, 256, (count, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def test_arrays_are_searched_too():
    pixels, labels = noise(60), torch.arange(60) % 2
    pixels[50], pixels[51] = pixels[2], pixels[3]  # in test
    pixels[5] = pixels[4]  # of the other class
    rows = {"train": torch.arange(40), "val": torch.arange(40, 50), "test": torch.arange(50, 60)}
    report = datasets.from_arrays("mine", ("a", "b"), pixels, labels, rows, Options()).report
    assert report == ReadReport(
        images=60, copies=(Copies("test", "train or val", 2, 10),), two_classes=1, two_classes_files=2
    )


def test_a_dataset_of_ones_own_is_searched_even_if_it_is_built_by_hand(tmp_path):
    (tmp_path / "handmade.py").write_text(
        "import torch\n"
        "from randhead.datasets import Dataset, Split, TensorImages\n"
        "def load(options):\n"
        "    pixels = torch.arange(4 * 3 * 64).reshape(4, 3, 8, 8).to(torch.uint8)\n"
        "    labels = torch.tensor([0, 1, 0, 1])\n"
        "    split = Split(TensorImages(pixels, torch.arange(4)), labels)\n"
        "    return Dataset('handmade', ('a', 'b'), dict.fromkeys(('train', 'val', 'test'), split), 8)\n"
    )
    name = registry.use("datasets", str(tmp_path / "handmade.py"))
    assert [found.images for found in datasets.load(name).report.copies] == [4, 4]


def test_published_sets_have_no_notes():
    assert datasets.load("digits").report == ReadReport()


@pytest.mark.parametrize("rows", [{"test": [1]}, {"val": [1, 2]}, {"val": [1, 2], "test": [3]}])
def test_splits_of_arrays_without_a_training_split_are_as_given(rows):
    pixels, labels = torch.zeros(4, 3, 8, 8, dtype=torch.uint8), [0, 1, 1, 1]
    found = datasets.from_arrays("mine", ("a", "b"), pixels, labels, rows, Options(), test_share=0.2)
    assert {name: len(split) for name, split in found.splits.items()} == {name: len(r) for name, r in rows.items()}


def test_copies_are_found_in_the_splits_that_there_are():
    pixels = torch.arange(192, dtype=torch.uint8).reshape(1, 3, 8, 8).repeat(2, 1, 1, 1)
    found = datasets.from_arrays("mine", ("a", "b"), pixels, [0, 0], {"val": [0], "test": [1]}, Options())
    assert [(each.split, each.of) for each in found.report.copies] == [("test", "val")]


def test_classes_without_a_training_image_are_said():
    pixels, rows = torch.zeros(4, 3, 8, 8, dtype=torch.uint8), {"train": range(4)}
    found = datasets.from_arrays("mine", ("a", "b", "c"), pixels, [0] * 4, rows, Options(), test_share=0.3)
    assert "2 of 3 classes have no training image: b, c" in found.report.notes()
