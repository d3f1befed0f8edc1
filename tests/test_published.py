"""Released corrupted sets, made up in small: what is read, what is refused, and what is written reads the same."""

import json
import shutil
import unicodedata

import numpy as np
import pytest
import torch
from PIL import Image

from randhead import corruptions
from randhead.datasets import Split, TensorImages
from randhead.errors import DataError, UsageError
from randhead.robustness import CorruptionSettings, export, released
from randhead.robustness.images import CorruptedImages, subset
from randhead.robustness.settings import choose_grid

N, CLASSES = 6, ("cat", "dog", "eel")
NAMES = ("gaussian_noise", "frost", "fog")


def save_arrays(folder, *, side=32, labels=None, rows=5 * N):
    """The layout of CIFAR-10-C: image i of severity s is filled with 10 s + i."""
    folder.mkdir()
    values = np.array([10 * (1 + row // N) + row % N for row in range(rows)], dtype=np.uint8)
    for offset, name in enumerate(NAMES):
        np.save(folder / f"{name}.npy", np.broadcast_to((values + offset)[:, None, None, None], (rows, side, side, 3)))
    np.save(folder / "labels.npy", np.tile(np.arange(N) % 3, 5) if labels is None else np.asarray(labels))
    return folder


def save_folders(folder, *, side=64, names=NAMES, classes=CLASSES, severities=(1, 2, 3, 4, 5), ending="JPEG"):
    """The layout of Tiny-ImageNet-C: two images per class, the grey depends on class, file and severity."""
    for name in names:
        for severity in severities:
            for label, kind in enumerate(classes):
                (folder / name / str(severity) / kind).mkdir(parents=True, exist_ok=True)
                for i in range(2):
                    pixels = np.full((side, side, 3), 100 * i + 20 * label + 2 * severity, dtype=np.uint8)
                    Image.fromarray(pixels).save(
                        folder / name / str(severity) / kind / f"{kind}_{i}.{ending}", quality=95
                    )
    return folder


def values(found, name, severity):
    ((_, images),) = found.cells(name, (severity,), 0, len(found.labels))
    return images.float().mean(dim=(1, 2, 3)).round().int().tolist()


# Arrays ----------------------------------------------------------------------------------------------------------


def test_arrays_are_read_severity_by_severity_in_order(tmp_path):
    found = released.open_set(save_arrays(tmp_path / "CIFAR-10-C"), CLASSES, 32)
    assert found.name == "CIFAR-10-C"
    assert found.grid == dict.fromkeys(("gaussian_noise", "frost", "fog"), (1, 2, 3, 4, 5))
    assert found.labels.tolist() == [0, 1, 2, 0, 1, 2]
    assert values(found, "gaussian_noise", 4) == [40, 41, 42, 43, 44, 45]
    assert values(found, "fog", 1) == [12, 13, 14, 15, 16, 17]
    some = found.take(torch.tensor([1, 5]))
    assert some.labels.tolist() == [1, 2]
    assert values(some, "frost", 5) == [52, 56]
    assert some.identity() != found.identity()


def test_labels_may_be_given_once(tmp_path):
    found = released.open_set(save_arrays(tmp_path / "set", labels=[2, 1, 0, 2, 1, 0]), CLASSES, 32)
    assert found.labels.tolist() == [2, 1, 0, 2, 1, 0]


def test_channels_of_arrays_come_first(tmp_path):
    folder = save_arrays(tmp_path / "set")
    random = np.random.default_rng(0).integers(0, 256, (5 * N, 32, 32, 3), dtype=np.uint8)
    np.save(folder / "fog.npy", random)
    ((_, images),) = released.open_set(folder, CLASSES, 32).cells("fog", (2,), 1, 3)
    np.testing.assert_array_equal(images.numpy(), random[N + 1 : N + 3].transpose(0, 3, 1, 2))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"side": 31}, "31 x 31 pixels do not fit a run on images of 32 px"),
        ({"rows": 5 * N - 1}, r"not uint8 \(5 N, H, W, 3\)"),
        ({"labels": [0, 1, 2, 3, 0, 1]}, "labels 0..3 do not fit a run of 3 classes"),
        ({"labels": [0, 1, 2]}, "3 labels do not fit 6 images at 5 severities"),
        ({"labels": [0.5] * N}, "is no array of labels"),
        ({"labels": [0] * N + [1] * 4 * N}, "the severities have different labels"),
        ({"labels": [0] * N + [1] * 4 * N}, "is this one severity only?"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(tmp_path, options, message):
    with pytest.raises(DataError, match=message):
        released.open_set(save_arrays(tmp_path / "set", **options), CLASSES, 32)


def test_damaged_missing_and_unequal_arrays_are_refused(tmp_path):
    folder = save_arrays(tmp_path / "set")
    np.save(folder / "fog.npy", np.zeros((5, 32, 32, 3), dtype=np.uint8))
    with pytest.raises(DataError, match=r"fog\.npy: 5 images, but labels.npy has labels for 30"):
        released.open_set(folder, CLASSES, 32)
    (folder / "fog.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(DataError, match="not a readable array"):
        released.open_set(folder, CLASSES, 32)
    np.save(folder / "fog.npy", np.array([{}], dtype=object))
    with pytest.raises(DataError, match="not a readable array"):
        released.open_set(folder, CLASSES, 32)
    (folder / "labels.npy").unlink()
    with pytest.raises(DataError, match=r"labels\.npy is missing"):
        released.open_set(folder, CLASSES, 32)


def test_only_the_arrays_that_are_requested_are_looked_at(tmp_path):
    folder = save_arrays(tmp_path / "set")
    (folder / "frost.npy").write_bytes(b"unfinished")
    assert list(released.open_set(folder, CLASSES, 32, ("clean", "fog", "snow")).grid) == ["fog"]
    with pytest.raises(DataError, match=r"frost\.npy: not a readable array"):
        released.open_set(folder, CLASSES, 32, ("frost",))
    with pytest.raises(DataError, match="none of the requested corruptions") as caught:
        released.open_set(folder, CLASSES, 32, ("snow",))
    assert caught.value.hint == "it has: gaussian_noise, frost, fog"


@pytest.mark.parametrize("short", NAMES)
def test_the_array_that_does_not_fit_the_labels_is_named_wherever_it_stands(tmp_path, short):
    """The first array was the measure of the others."""
    folder = save_arrays(tmp_path / "set")
    np.save(folder / f"{short}.npy", np.zeros((10, 32, 32, 3), dtype=np.uint8))
    with pytest.raises(DataError, match=rf"{short}\.npy: 10 images, but labels.npy has labels for 30"):
        released.open_set(folder, CLASSES, 32)


@pytest.mark.parametrize(
    ("array", "hint"),
    [
        (np.zeros((5 * N, 3, 32, 32), dtype=np.uint8), "channels come last"),
        (np.zeros((5 * N, 32, 32, 3), dtype=np.float32), "astype"),
        (np.zeros((5 * N, 32, 32), dtype=np.uint8), "grey images are repeated"),
        (np.zeros((5 * N, 32, 32, 4), dtype=np.uint8), "make it or download it again"),
    ],
)
def test_arrays_of_other_layouts_come_with_the_way_out(tmp_path, array, hint):
    folder = save_arrays(tmp_path / "set")
    np.save(folder / "fog.npy", array)
    with pytest.raises(DataError, match=r"fog\.npy: .* is not uint8") as caught:
        released.open_set(folder, CLASSES, 32)
    assert hint in caught.value.hint


def test_a_set_inside_the_given_folder_is_suggested(tmp_path):
    save_arrays(tmp_path / "CIFAR-10-C")
    with pytest.raises(DataError, match="no folder of a corruption") as caught:
        released.open_set(tmp_path, CLASSES, 32)
    assert "did you mean" in caught.value.hint and "CIFAR-10-C" in caught.value.hint


# Folders ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", ["", "weather"])
def test_folders_are_read_by_class_name_also_below_the_archives_folders(tmp_path, depth):
    save_folders(tmp_path / "set" / depth)
    found = released.open_set(tmp_path / "set", ("eel", "cat", "dog"), 64)
    assert found.labels.tolist() == [1, 1, 2, 2, 0, 0]
    assert values(found, "fog", 3) == [6, 106, 26, 126, 46, 146]
    assert found.notes == ()


def test_a_frost_folder_of_other_classes_too_is_noticed_and_gives_the_runs_classes(tmp_path):
    folder = save_folders(tmp_path / "Tiny-ImageNet-C", names=("gaussian_noise", "fog"))
    save_folders(folder, names=("frost",), classes=("ant", *CLASSES, "yak"))
    found = released.open_set(folder, CLASSES, 64)
    assert found.notes == ("frost holds 5 classes; only the run's 3 are read",)
    assert found.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert values(found, "frost", 1) == [22, 122, 42, 142, 62, 162]  # cat is the second class of that folder


def test_a_frost_folder_of_other_files_is_left_out(tmp_path):
    folder = save_folders(tmp_path / "set", names=("gaussian_noise", "fog"))
    save_folders(folder, names=("frost",), classes=("ant", *CLASSES))
    for file in folder.glob("frost/*/cat/cat_0.JPEG"):
        file.rename(file.with_name("other.JPEG"))
    found = released.open_set(folder, CLASSES, 64)
    assert list(found.grid) == ["gaussian_noise", "fog"]
    expected = "frost is left out: its files are not those of the other corruptions (frost/1 has 5 of 6)"
    assert found.notes[-1] == expected


def test_an_incomplete_folder_is_left_out_also_if_it_is_the_first(tmp_path):
    folder = save_folders(tmp_path / "set")
    (folder / "gaussian_noise" / "4" / "dog" / "dog_0.JPEG").unlink()
    found = released.open_set(folder, CLASSES, 64)
    assert list(found.grid) == ["frost", "fog"]
    assert found.notes == (
        "gaussian_noise is left out: its files are not those of the other corruptions (gaussian_noise/4 has 5 of 6)",
    )


def test_a_run_on_some_of_the_classes_of_a_set_reads_these(tmp_path):
    folder = save_folders(tmp_path / "ImageNet-C", classes=("ant", *CLASSES))
    found = released.open_set(folder, ("cat", "eel"), 64)
    assert list(found.grid) == [*NAMES] and found.labels.tolist() == [0, 0, 1, 1]
    assert found.notes == ("each corruption holds 4 classes; only the run's 2 are read",)


def test_larger_images_are_cropped_and_never_resized(tmp_path):
    folder = save_folders(tmp_path / "set", names=("fog",), side=64, ending="png")
    random = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    for file in folder.rglob("cat_0.png"):
        Image.fromarray(random).save(file)
    ((_, images),) = released.open_set(folder, CLASSES, 56).cells("fog", (1,), 0, 1)
    np.testing.assert_array_equal(images[0].numpy(), random[4:60, 4:60].transpose(2, 0, 1))


@pytest.mark.parametrize("size", [65, 55])
def test_folders_of_another_size_are_refused(tmp_path, size):
    with pytest.raises(DataError, match=f"64 x 64 pixels do not fit a run on images of {size} px"):
        released.open_set(save_folders(tmp_path / "set", names=("fog",)), CLASSES, size)


def test_folders_that_are_no_such_set_are_refused(tmp_path):
    folder = save_folders(tmp_path / "set", names=("fog",))
    with pytest.raises(DataError, match=r"1 classes of the run are missing \(yak\)"):
        released.open_set(folder, (*CLASSES, "yak"), 64)
    shutil.rmtree(folder / "fog" / "2" / "cat")
    (folder / "fog" / "2" / "cat").mkdir()
    with pytest.raises(DataError, match=r"no corruption has"):
        released.open_set(folder, CLASSES, 64)
    shutil.rmtree(folder / "fog")
    (folder / "fog").mkdir()
    with pytest.raises(DataError, match="no folder of a severity"):
        released.open_set(folder, CLASSES, 64)
    (folder / "fog").rmdir()
    with pytest.raises(DataError, match="no folder of a corruption"):
        released.open_set(folder, CLASSES, 64)
    with pytest.raises(DataError, match="no such folder"):
        released.open_set(tmp_path / "nowhere", CLASSES, 64)


def test_a_damaged_image_is_named(tmp_path):
    folder = save_folders(tmp_path / "set", names=("fog",))
    (folder / "fog" / "2" / "dog" / "dog_1.JPEG").write_bytes(b"no image")
    found = released.open_set(folder, CLASSES, 64)
    with pytest.raises(DataError, match=r"dog_1\.JPEG: not a readable image"):
        values(found, "fog", 2)


# Writing ---------------------------------------------------------------------------------------------------------


def source(side, n=N, seed=0):
    random = np.random.default_rng(seed)
    pixels = torch.from_numpy(random.integers(0, 256, (n, 3, side, side), dtype=np.uint8))
    split = Split(TensorImages(pixels, torch.arange(n)), torch.arange(n) % 3)
    return CorruptedImages(split, CorruptionSettings(seed=seed), ids=torch.tensor([0, 2, 3, 5]))


@pytest.mark.parametrize("side", [32, 16])
def test_what_is_written_reads_as_what_was_corrupted(tmp_path, side):
    images, grid = source(side), choose_grid(["fog", "gaussian_noise"], (1, 2, 3, 4, 5))
    steps = list(export.write(tmp_path / "set", images, grid, CLASSES))
    assert steps[-1][0] == steps[-1][1]
    assert (tmp_path / "set" / "labels.npy").exists() == (side == 32)
    found = released.open_set(tmp_path / "set", CLASSES, side)
    assert list(found.grid) == ["gaussian_noise", "fog"]
    order = torch.argsort(images.labels, stable=True) if side == 16 else torch.arange(4)  # folders go by class
    assert found.labels.tolist() == images.labels[order].tolist()
    for name in found.grid:
        for severity in (1, 5):
            ((_, read),) = found.cells(name, (severity,), 0, 4)
            clean = images.split.images.pixels
            assert torch.equal(read, corruptions.corrupt(clean, name, severity)[images.ids[order]])


@pytest.mark.parametrize(
    ("labels", "mixed"),
    [
        (torch.arange(1000) // 100, True),
        (torch.arange(1000) // 100 % 7, True),  # by class, but some in two blocks
        (torch.arange(1000).flip(0) // 300, True),
        (torch.arange(1000) * 7 % 10, False),
        (torch.zeros(1000, dtype=torch.int64), False),
    ],
)
def test_the_first_images_of_an_array_have_all_classes(labels, mixed):
    """Readers of this layout take the first N images; those of an image folder are sorted by class."""
    split = Split(TensorImages(torch.zeros(1000, 3, 32, 32, dtype=torch.uint8), torch.arange(1000)), labels)
    images = CorruptedImages(split, CorruptionSettings(seed=3))
    order = export.order_of_arrays(images)
    assert (order is not None) == mixed
    assert ("mixes the classes (seed 3)" in export.described_order(images)) == mixed
    written = labels if order is None else labels[order]
    share = labels.bincount().double() / 1000
    for first in (50, 100, 500):
        counts = written[:first].bincount(minlength=len(share))
        assert ((counts - share * first).abs() <= 1).all()
    if order is not None:
        assert order[:100].sort().values.tolist() == subset(labels, 100, seed=3).tolist()


def test_a_mixed_set_is_read_in_the_order_of_the_split(tmp_path):
    random = np.random.default_rng(0)
    pixels = torch.from_numpy(random.integers(0, 256, (9, 3, 32, 32), dtype=np.uint8))
    labels = torch.arange(9) // 3
    images = CorruptedImages(Split(TensorImages(pixels, torch.arange(9)), labels), CorruptionSettings())
    grid = choose_grid(["contrast"], (1, 2, 3, 4, 5))
    for _ in range(2):  # the second time resumes
        list(export.write(tmp_path / "set", images, grid, CLASSES))
    array, stored = np.load(tmp_path / "set" / "contrast.npy"), np.load(tmp_path / "set" / "labels.npy")
    assert sorted(stored[:3]) == [0, 1, 2] and (stored.reshape(5, 9) == stored[:9]).all()
    for severity in (1, 5):  # the array and labels.npy have the same order
        made = corruptions.corrupt(pixels, "contrast", severity).permute(0, 2, 3, 1).numpy()
        rows = [next(i for i in range(9) if (made[i] == row).all()) for row in array[9 * (severity - 1) :][:9]]
        assert labels[rows].tolist() == stored[:9].tolist() and rows != list(range(9))
    found = released.open_set(tmp_path / "set", CLASSES, 32)
    assert found.labels.tolist() == labels.tolist()
    ((_, read),) = found.cells("contrast", (5,), 2, 7)
    assert torch.equal(read, corruptions.corrupt(pixels, "contrast", 5)[2:7])
    (tmp_path / "set" / "corruptions.json").unlink()  # a copy without it is read as it is
    assert released.open_set(tmp_path / "set", CLASSES, 32).labels.tolist() == stored[:9].tolist()


def test_class_folders_may_be_unpacked_in_the_decomposed_form_of_unicode(tmp_path):
    classes = ("caf\u00e9", "dog")
    for form in ("NFC", "NFD"):
        save_folders(tmp_path / form, classes=[unicodedata.normalize(form, name) for name in classes])
    composed, decomposed = (released.open_set(tmp_path / form, classes, 64) for form in ("NFC", "NFD"))
    assert decomposed.labels.tolist() == composed.labels.tolist() == [0, 0, 1, 1]
    assert values(decomposed, "fog", 3) == values(composed, "fog", 3)


def test_the_same_images_may_be_written_again_and_others_are_refused(tmp_path):
    grid = choose_grid(["fog"], (1, 2))
    list(export.write(tmp_path / "set", source(16), grid, CLASSES))
    before = {path: path.read_bytes() for path in (tmp_path / "set").rglob("*.png")}
    assert len(before) == 8
    list(export.write(tmp_path / "set", source(16), grid, CLASSES))
    assert {path: path.read_bytes() for path in (tmp_path / "set").rglob("*.png")} == before
    for other, names in ((source(16, seed=1), CLASSES), (source(16), ("ant", *CLASSES[1:]))):
        with pytest.raises(UsageError, match="has other content"):
            export.write(tmp_path / "set", other, grid, names)
    assert json.loads((tmp_path / "set" / "corruptions.json").read_text())["seed"] == 0


def test_a_folder_of_the_users_is_not_written_into(tmp_path):
    (tmp_path / "letter.txt").write_text("mine")
    with pytest.raises(UsageError, match="has other content"):
        export.write(tmp_path, source(16), choose_grid(["fog"], (1,)), CLASSES)
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]
    with pytest.raises(UsageError, match="not a folder"):
        export.write(tmp_path / "letter.txt", source(16), choose_grid(["fog"], (1,)), CLASSES)


def test_cifars_layout_needs_all_severities(tmp_path):
    with pytest.raises(UsageError, match="all five severities"):
        export.write(tmp_path / "set", source(32), choose_grid(["fog"], (1, 3)), CLASSES)


@pytest.mark.parametrize("name", ["../../out", "/tmp/out", "..", ""])
def test_no_class_is_written_outside_the_folder(tmp_path, name):
    with pytest.raises(UsageError, match="cannot be a folder"):
        list(export.write(tmp_path / "set", source(16), {"fog": (1,)}, ("cat", name)))
    assert not list(tmp_path.rglob("*"))
