"""Folders as strangers have them: which are splits, which are classes, and what is said about the rest."""

import os
import unicodedata
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

from randhead import datasets
from randhead.cli.output import Output
from randhead.cli.progress import TrainingDisplay
from randhead.config import configure, data_source
from randhead.datasets import image_folder as folders_of_images
from randhead.datasets._split_names import split_name
from randhead.errors import DataError
from randhead.escapes import printable
from randhead.evaluation import prediction

C = "bird", "cat"


def make(root, *folders, files=("0.png", "1.png"), classes=C):
    """Empty files: a layout is read without opening an image.  "train" has class folders, "train/." has none."""
    for folder in folders:
        for name in [""] if folder.endswith("/.") else classes:
            path = Path(root, folder.removesuffix("/."), name)
            path.mkdir(parents=True, exist_ok=True)
            for file in files:
                (path / file).touch()
    return root


def counts(root):
    found = folders_of_images.listing(root)
    return dict(Counter(found.splits)), found.class_names


SPLITS = {  # folders with class folders in them, and the splits that they are
    ("train", "test"): "train test",
    ("Training", "Testing"): "train test",  # as MRI scans on Kaggle
    ("training", "testing"): "train test",  # as MNIST in PNG
    ("train_set", "test_set"): "train test",
    ("training_set", "test-set"): "train test",
    ("TRAIN", "TEST"): "train test",
    ("TrainSet", "ValidationSet", "TestSet"): "train val test",
    ("trainset", "valset"): "train test",
    ("train_images", "test_images"): "train test",
    ("train", "valid", "test"): "train val test",  # as Roboflow exports
    ("train", "dev", "test"): "train val test",
    ("train", "dev"): "train test",
    ("train", "eval"): "train test",
    ("train", "eval", "test"): "train val test",
    ("train", "eval", "val"): "train val test",
    ("train", "hold_out"): "train test",
    ("train2017", "val2017"): "train test",
    ("1_train", "2_test"): "train test",
    ("seg_train/seg_train", "seg_test/seg_test"): "train test",  # as Intel's scenes
    ("seg_train/seg_train", "seg_test/seg_test", "seg_pred/seg_pred/."): "train test",
    ("asl_train/asl_train", "asl_test/asl_test/."): "train",
    ("set/train", "set/test"): "train test",
    ("set/set/Data/CLS-LOC/train", "set/set/Data/CLS-LOC/val"): "train test",
    ("images/TRAIN", "images/TEST", "images/TEST_SIMPLE"): "train test",
    ("set/train", "set/test", "__MACOSX/set/train"): "train test",
    ("train", "val", "test/."): "train test",
    ("train", "val", "test/images/."): "train test",
    ("train", "test/."): "train",
    ("train", "test", "unlabelled/."): "train test",
    ("train", "test", "set/train", "set/test"): "train test",  # a copy of itself
    ("images", "meta/."): "train",  # as Food-101, with files that are no images in meta/
    ("set/images/train", "set/images/test", "set/labels/."): "train test",
    ("train", "test1/."): "train",  # as Dogs vs. Cats
    ("",): "train",
    ("set",): "train",
    ("set/set", "__MACOSX"): "train",
}


@pytest.mark.parametrize("folders", SPLITS)
def test_folders_in_common_use_are_the_splits_that_their_names_say(folders, tmp_path):
    data = make(tmp_path / "data", *folders)
    for path in [*data.rglob("meta/*.png"), *data.rglob("labels/*.png")]:
        path.rename(path.with_suffix(".json"))
    assert counts(data) == (dict.fromkeys(SPLITS[folders].split(), 4), C)


CLASSES = {  # folders with images, and the classes that they are, though their names may say something else
    ("valid/.", "invalid/."): ("invalid", "valid"),
    ("bullet_train/.", "test_tube/.", "flask/."): ("bullet_train", "flask", "test_tube"),
    ("bullet_train/images/.", "test_tube/images/."): ("bullet_train", "test_tube"),
    ("bullet_train/x/.", "bullet_train/y/.", "test_tube/."): ("bullet_train", "test_tube"),
    (*(f"cat/{n}/." for n in "abcde"), *(f"dog/{n}/." for n in "abfgh")): ("cat", "dog"),
    ("training_real/.", "training_fake/."): ("training_fake", "training_real"),
    ("model_test/.", "plane/.", "ship/.", "train_model/."): ("model_test", "plane", "ship", "train_model"),
    ("test/.", "exam/.", "quiz/."): ("exam", "quiz", "test"),
    ("cat/siamese/.", "cat/persian/.", "dog/poodle/.", "dog/beagle/."): ("cat", "dog"),
    ("cat/images/.", "dog/images/."): ("cat", "dog"),
    ("cat/images/.", "cat/labels", "dog/images/.", "dog/labels"): ("cat", "dog"),
    ("cat/a/.", "cat/b/.", "dog/a/.", "dog/c/.", "emu/b/.", "emu/d/."): ("cat", "dog", "emu"),
    ("train/bus/.", "train/train/.", "val/bus/.", "val/train/."): ("bus", "train"),
}


@pytest.mark.parametrize("folders", CLASSES)
def test_folders_that_only_resemble_splits_are_classes(folders, tmp_path):
    data = make(tmp_path / "data", *folders)
    for path in data.rglob("labels/*/*.png"):
        path.rename(path.with_suffix(".xml"))
    assert counts(data)[1] == CLASSES[folders]


def test_in_a_folder_that_is_itself_a_split_all_folders_are_classes(tmp_path):
    assert counts(make(tmp_path / "a" / "train", "bus/.", "train/."))[1] == ("bus", "train")
    assert counts(make(tmp_path / "b" / "train", "art", "clipart"))[1] == ("art", "clipart")
    assert counts(make(tmp_path / "c" / "train", "train"))[1] == C  # an archive unpacked into a folder of its name
    assert counts(make(tmp_path / "test", "train", "val"))[0] == {"train": 4, "test": 4}
    assert folders_of_images.listing(tmp_path / "a" / "train").notes == ()


REFUSED = {
    ("lernen", "pruefen"): r"lernen/, pruefen/: all hold the same sub-folders bird/, cat/, .*look like splits",
    ("art", "clipart", "product", "real"): "all hold the same sub-folders",  # as OfficeHome
    ("train_a", "train_b", "other"): "all hold the same sub-folders",
    ("train_cats/.", "train_dogs/.", "test_cats/.", "test_dogs/."): "test_cats/, .*: each name is that of a split and",
    ("train_cats/.", "train_dogs/.", "test_cats/.", "docs/."): "test_cats/, train_cats/: each name is",
    ("cats_train/.", "cats_test/."): "each name is that of a split",
    ("train_cats/images/.", "val_cats/images/."): "each name is that of a split",
    ("trainA/.", "trainB/.", "testA/.", "testB/."): "each name is that of a split",  # as CycleGAN
    ("lernen", "pruefen", "more/x/.", "more/y/."): r"lernen/, pruefen/: all hold the same",
    (
        "cat/images/.",
        "cat/masks/.",
        "dog/images/.",
        "dog/masks/.",
    ): r"sub-folders images/, masks/\nhint: leave only images/",
    ("lernen/lernen", "pruefen/pruefen"): "all hold the same sub-folders",
    ("cat/train/.", "cat/test/.", "dog/train/.", "dog/test/."): "splits inside of classes",
    ("bus/.", "car/.", "train/."): r"train/ is taken for a split because of its name, .* beside it there is bus/, car/",
    ("rest/.", "Training/."): "Training/ is taken for a split because of its name",
    ("train", "val/."): "val: no class folders, so its images have no labels",  # as ImageNet
    ("train", "val", "Validation"): "the same split",
    ("train", "training", "test"): "the same split",
    ("train", "eval", "val", "test"): "the same split",
    ("train", "other"): r"there is train but neither val nor test \(other/: not named as a split\)",
    ("testing", "validation"): "there is testing and validation but no train",
    ("train/images/.", "train/labels/.", "val/images/.", "val/labels/."): "images/, labels/ are no classes",  # as YOLO
    ("train/images/.", "train/masks/."): "neither val nor test",
    ("", "flowers"): r"flowers: holds bird/, cat/, which are classes beside it",
    ("train/.", "test/."): "train: no class folders .the images are directly in it",
}


@pytest.mark.parametrize("folders", REFUSED)
def test_folders_that_could_be_either_are_refused_with_the_way_out(folders, tmp_path):
    with pytest.raises(DataError, match=REFUSED[folders]) as error:
        folders_of_images.listing(make(tmp_path / "data", *folders))
    assert error.value.hint


def test_a_class_without_images_does_not_make_the_other_one_the_set(tmp_path):
    data = make(tmp_path, "cat/siamese/.", "cat/persian/.")
    make(data, "dog/.", files=("0.heic",))
    with pytest.raises(DataError, match="dog: a class without images"):
        folders_of_images.listing(data)


def test_classes_that_differ_in_upper_and_lower_case_are_said_to(tmp_path):
    data = make(make(tmp_path, "train"), "test", classes=("Bird", "Cat"))
    with pytest.raises(DataError, match="test lacks the class folders bird, cat") as error:
        folders_of_images.listing(data)
    assert "upper and lower case" in error.value.hint


def test_a_folder_may_be_typed_in_either_form_of_unicode(tmp_path):
    forms = [unicodedata.normalize(form, "café") for form in ("NFC", "NFD")]
    (tmp_path / forms[1]).mkdir()
    assert [data_source.folder(tmp_path / form) for form in forms] == [tmp_path / forms[1]] * 2


def test_the_way_out_of_a_class_named_like_a_split_works(tmp_path):
    data = make(tmp_path / "vehicles", "bus/.", "car/.", "train/.")
    with pytest.raises(DataError) as error:
        folders_of_images.listing(data)
    assert "put all classes into a folder named train/ and give that folder" in error.value.hint
    (tmp_path / "train").mkdir()
    data.rename(tmp_path / "train" / "x")
    for folder in list((tmp_path / "train" / "x").iterdir()):
        folder.rename(tmp_path / "train" / folder.name)
    (tmp_path / "train" / "x").rmdir()
    assert counts(tmp_path / "train")[1] == ("bus", "car", "train")


def test_links_to_splits_and_around_sets_are_followed_and_loops_end(tmp_path):
    make(tmp_path / "away", "train", "test")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "set").symlink_to(tmp_path / "away")
    assert counts(tmp_path / "data") == ({"train": 4, "test": 4}, C)
    (tmp_path / "split").mkdir()
    for name in ("train", "test"):
        (tmp_path / "split" / name).symlink_to(tmp_path / "away" / name)
    assert counts(tmp_path / "split") == ({"train": 4, "test": 4}, C)
    (tmp_path / "loop").mkdir()
    (tmp_path / "loop" / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(DataError):
        folders_of_images.listing(tmp_path / "loop")


@pytest.mark.parametrize("inside", ["", "tiny-imagenet-200"])
def test_tiny_imagenet_as_unzipped_is_read_as_what_it_is(inside, tmp_path):
    base = make(tmp_path / "tiny" / inside, "train/n01/images/.", "train/n02/images/.", "val/images/.", "test/images/.")
    (base / "val" / "val_annotations.txt").write_text("0.png\tn02\t0\t0\t1\t1\n1.png\tn01\t0\t0\t1\t1\n")
    found = folders_of_images.listing(tmp_path / "tiny")
    held_out = [found.class_names[k] for k, split in zip(found.labels, found.splits, strict=True) if split == "test"]
    assert (found.name, found.class_names, held_out) == ("tiny", ("n01", "n02"), ["n02", "n01"])
    assert found.notes == (f"{base / 'test'}: no labels, left out; val/ is the test split",)


def test_tiny_imagenet_with_its_validation_images_sorted_into_classes_is_a_folder_as_any_other(tmp_path):
    data = make(tmp_path, "train/n01/images/.", "train/n02/images/.", "val/n01/.", "val/n02/images/.", "test/images/.")
    (data / "val" / "val_annotations.txt").write_text("0.png\tn02\t0\t0\t1\t1\n")
    assert counts(data) == ({"train": 4, "test": 4}, ("n01", "n02"))


# What is left out


def notes(root):
    return " | ".join(folders_of_images.listing(root).notes)


def test_what_is_no_class_and_no_split_is_named(tmp_path):
    data = make(tmp_path, "train", "val", "test/images/.", "pred/.", "docs/.", files=("0.png",))
    make(data / "docs", "/.", files=("readme.txt",))
    (data / "docs" / "0.png").unlink()
    for path in ("cover.jpg", "val/1.png"):
        (data / path).touch()
    said = notes(data)
    assert f"{data / 'test'} has no class folders" in said
    assert "val/ is the test split" in said
    assert "pred/ left out: not named as a split" in said  # docs/ has no images
    assert "2 images in no class folder left out" in said
    assert notes(make(tmp_path / "plain", "train", "val")) == ""


def test_a_class_with_the_name_of_a_split_is_said_to_be_one(tmp_path):
    assert "valid/ read as a class" in notes(make(tmp_path, "valid/.", "invalid/."))


@pytest.mark.parametrize("place", ["runs", "results", "cat/runs", "a", "train"])
def test_runs_in_a_folder_of_images_are_no_class_of_it(place, tmp_path):
    data = make(tmp_path, "bird/.", "cat/.")
    run = tmp_path / place / ("" if place == "a" else "a")
    make(run / "reports", "/.")
    (run / "config.json").touch()
    (run / "metrics.jsonl").touch()
    if place not in ("runs", "a"):  # the file may be gone; and a run can be in the folder itself
        (run.parent / "last").touch()
    assert counts(data) == ({"train": 4}, C)
    assert notes(data) == f"{tmp_path / place} left out: it holds runs"
    said = []
    assert len(datasets.image_files(data, said.append)) == 4
    assert said == [f"{data}: {tmp_path / place} left out: it holds runs"]


def test_files_with_other_endings_are_counted_per_ending_except_what_systems_leave(tmp_path):
    data = make(tmp_path, "train", "test")
    cat = data / "train" / "cat"
    for name in ("a.HEIC", "b.heic", "c.jpg_large", "none", "photo. A note", "labels.txt"):
        (cat / name).touch()
    for name in (".DS_Store", "._0.png", "Thumbs.db", "desktop.ini"):
        (cat / name).touch()
    for name in ("__MACOSX", "@eaDir", ".ipynb_checkpoints"):
        make(cat, f"{name}/.", files=("0.png", "x.odd"))
    (data / "README.txt").touch()  # in no class
    found = folders_of_images.listing(data)
    assert found.left_out == {".heic": 2, ".jpg_large": 1, "": 2, ".txt": 1}
    assert len(found.paths) == 8


def test_files_that_are_images_by_content_are_told_to_be_renamed_and_others_to_be_converted(tmp_path):
    data = make(tmp_path, "")
    contents = {
        "a.jpg_large": b"\xff\xd8\xff\xe0" + bytes(20),
        "b": b"\x89PNG\r\n\x1a\n" + bytes(20),
        "c.heic": b"\0\0\0\x18ftypheic" + bytes(20),
        "d.txt": b"a text that is long enough",
        "e.nef": b"II*\0" + bytes(20),  # a raw file of a camera: renamed to .tif, it would show its thumbnail
    }
    for name, content in contents.items():
        (data / "cat" / name).write_bytes(content)
    (data / "cat" / "pipe").symlink_to("/dev/zero")
    said = notes(data)
    assert "files ending in .jpg_large and those without an ending hold images: rename them" in said
    assert "files ending in .heic hold images of a format that is not read: convert them" in said
    assert ".txt" not in said and ".nef" not in said


def test_a_class_of_files_with_other_endings_is_named_with_them(tmp_path):
    data = make(tmp_path, "")
    make(data, "emu/.", files=("0.heic", "1.heic"))
    (data / "emu" / "0.heic").write_bytes(b"\xff\xd8\xff\xe0")
    words = r"emu: a class without images; left out 2 files without an image ending \(\.heic\)"
    with pytest.raises(DataError, match=words) as error:
        folders_of_images.listing(data)
    assert "rename them" in error.value.hint


def test_hidden_images_are_left_out_with_a_word_and_what_macos_notes_without(tmp_path):
    data = make(tmp_path, "")
    for name in ("._0.png", ".DS_Store", ".keep"):
        (data / "cat" / name).touch()
    make(data / "cat", ".cache/.")
    assert notes(data) == ""
    (data / "cat" / ".0.png").touch()
    assert notes(data) == f"1 hidden image left out, as {data / 'cat' / '.0.png'}"


def test_what_the_system_refuses_is_an_error_of_data(tmp_path, monkeypatch):
    data = make(tmp_path, "train", "val")

    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "is_file", refuse)  # in val/, which may be listed but not entered
    with pytest.raises(DataError, match=r"val_annotations.txt: Permission denied"):
        folders_of_images.listing(data)


def test_links_to_folders_inside_of_classes_are_named(tmp_path):
    data = make(tmp_path / "data", "")
    make(tmp_path / "away", "/.")
    (data / "cat" / "more").symlink_to(tmp_path / "away")
    assert "1 link to folders inside of classes not followed" in notes(data)


NAMES = {
    **dict.fromkeys(("train", "Training", "TRAIN", "train_set", "trainset", "TrainImages", "training-data"), "train"),
    **dict.fromkeys(("val", "Valid", "validation_set", "dev", "VAL-IMAGES"), "val"),
    **dict.fromkeys(("test", "Testing", "test set", "testdata"), "test"),
    **dict.fromkeys(("eval", "Evaluation", "hold_out", "held-out", "holdout"), "eval"),
    **dict.fromkeys(("trains", "trainers", "invalid", "valley", "latest", "testament", "train_test_split", ""), None),
}


def test_names_of_splits_are_whole_words_in_any_spelling():
    assert {name: (found := split_name(name)) and found.split for name in NAMES} == NAMES
    assert all(split_name(name).rest == () for name, split in NAMES.items() if split)
    assert split_name("seg_train").rest == ("seg",)


def test_what_is_left_out_is_in_the_report_of_the_dataset(image_folder):
    (image_folder / "test" / "cat" / "0.HEIC").touch()
    (image_folder / "pred").mkdir()
    Image.new("RGB", (9, 9)).save(image_folder / "pred" / "0.png")
    report = datasets.load(image_folder).report
    assert report.left_out == {".heic": 1}
    said = " | ".join(report.notes())
    assert "left out 1 file without an image ending" in said
    assert "pred/ left out" in said


def test_the_first_line_of_a_training_names_the_classes(capsys):
    config = configure({})
    for count, words in ((3, "3 classes (0, 1, 2)"), (7, "7 classes (0, 1, 2, 3, 4, ...)")):
        names = tuple(map(str, range(count)))
        settings = SimpleNamespace(
            images=dict.fromkeys(("train", "val", "test"), 9), image_size=8, num_classes=count, class_names=names,
            augment="crop", dim=4, scale=1.0,
        )  # fmt: skip
        started = SimpleNamespace(
            settings=settings, parameters=9, device="CPU", precision="fp32", step=0, notes=(), total_steps=1
        )
        display = TrainingDisplay(Output(as_json=True), config)
        display.warn("early")
        display._start(started)
        display.warn("late")
        lines = capsys.readouterr().err.splitlines()
        assert lines[0].endswith(words)
        assert lines.index("warning: early") == 1
        assert lines[-1] == "warning: late"


def test_a_training_that_does_not_start_shows_its_warnings_too(capsys):
    with pytest.raises(DataError), TrainingDisplay(Output(as_json=True), configure({})) as display:
        display.warn("early")
        raise DataError("late")
    assert "warning: early" in capsys.readouterr().err


def test_predicting_a_folder_says_what_is_left_out(tmp_path):
    make(tmp_path, "/.", files=("0.png", "1.heic", "Thumbs.db"))
    said = []
    assert prediction._find(tmp_path, said.append) == [tmp_path / "0.png"]
    assert said == [f"{tmp_path}: left out 1 file without an image ending (.heic)"]


@pytest.mark.parametrize(
    ("folders", "expected"),
    [({"z": 5}, {"all": 5}), ({".": 5}, {"all": 5}), ({"y": 1, "z": 1}, {"all": 2}), ({"train/z": 3}, {"all": 3}),
     ({"y": 20, "z": 20}, {"all": 40}), ({"train/y": 3, "train/z": 3, "test": 2}, {"all": 8}),
     ({"train/y": 3, "train/z": 3, "test/y": 2, "test/z": 2},
      {"train": 4, "val": 2, "test": 4})],
)  # fmt: skip
def test_images_whose_classes_do_not_matter_need_none(folders, expected, tmp_path):
    for folder, count in folders.items():
        (tmp_path / folder).mkdir(exist_ok=True, parents=True)
        for i in range(count):
            Image.new("RGB", (8, 8)).save(tmp_path / folder / f"{i}.png")
    (tmp_path / "0.heic").touch()
    loaded = datasets.load(tmp_path, labelled=False, image_size=8)
    assert {name: len(split) for name, split in loaded.splits.items()} == expected
    assert sum(loaded.report.left_out.values()) == (len(loaded.splits) == 1)


def test_a_folder_without_images_is_refused_also_if_classes_do_not_matter(tmp_path):
    with pytest.raises(DataError, match="no class folders"):
        datasets.load(tmp_path, labelled=False)


ODD = [
    *("a\nb.png", "\x1b[31mred.png", "-x.png", "tab\t.png", 'quote".png', "\u202egpj.png"),
    os.fsdecode(b"caf\xe9.png"),  # not UTF-8
]


@pytest.mark.parametrize("budget", [0, 1 << 30])
def test_images_of_any_name_are_read_and_known_again(budget, tmp_path):
    for label, name in enumerate(C):
        (tmp_path / name).mkdir()
        for i, file in enumerate(ODD):
            Image.new("RGB", (8, 8), (99 * label, 9 * i, 0)).save(tmp_path / name / file)
    loaded = datasets.load(tmp_path, memory_budget=budget)
    assert sum(map(len, loaded.splits.values())) == 2 * len(ODD)
    assert datasets.fingerprint(loaded.splits["train"])
    assert len(prediction._find(tmp_path, pytest.fail)) == 2 * len(ODD)


def test_a_bad_image_of_any_name_is_named_in_one_line(tmp_path):
    make(tmp_path, "", files=())
    (tmp_path / "bird" / "0.png").touch()
    for file in ODD:
        (tmp_path / "cat" / file).write_bytes(b"junk")
    with pytest.raises(DataError) as error:
        datasets.load(tmp_path)
    shown = printable(error.value.message)
    assert "red.png" in shown
    assert shown.isprintable() and shown.encode()
