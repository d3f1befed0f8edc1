"""Whether a released set is of the images of the test split, corrupted as randhead does, and what is wrong if not."""

import numpy as np
import pytest
import torch

from randhead import corruptions
from randhead.corruptions import SEVERITIES
from randhead.datasets import Split, TensorImages
from randhead.robustness import CorruptionSettings, released
from randhead.robustness.images import CorruptedImages
from randhead.robustness.matching import CELLS, OTHER, SAME, UNKNOWN, Match, match

N, CLASSES = 9, ("cat", "dog", "eel")
NAMES = ("gaussian_noise", "glass_blur", "fog", "contrast", "jpeg_compression")
GRID = dict.fromkeys(NAMES, SEVERITIES)


@pytest.fixture(scope="module")
def pixels():
    """Images that are smooth, as photographs are."""
    coarse = torch.rand(N, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    smooth = torch.nn.functional.interpolate(coarse, size=(32, 32), mode="bicubic").clamp(0, 1)
    return (smooth * 255).byte()


def source(pixels, seed=0):
    return CorruptedImages(Split(TensorImages(pixels, torch.arange(N)), torch.arange(N) % 3), CorruptionSettings(seed))


@pytest.fixture(scope="module")
def arrays(pixels):
    """The corrupted images of another seed, as a released set has them: name -> uint8 (5, N, 32, 32, 3)."""
    made = {name: [out for _, out in corruptions.corrupt_each(pixels, name, seed=5)] for name in NAMES}
    return {name: torch.stack(images).permute(0, 1, 3, 4, 2).numpy() for name, images in made.items()}


def written(folder, arrays, labels=None):
    folder.mkdir(exist_ok=True)
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array.reshape(-1, 32, 32, 3))
    np.save(folder / "labels.npy", np.arange(N) % 3 if labels is None else labels)
    return released.open_set(folder, CLASSES, 32)


def test_the_same_images_with_other_noise_are_the_same(tmp_path, pixels, arrays):
    assert match(written(tmp_path / "all", arrays), source(pixels), GRID) == Match(True, SAME)
    for name in NAMES:  # each of them is enough to tell
        assert match(written(tmp_path / name, {name: arrays[name]}), source(pixels), {name: (1, 3)}) == Match(
            True, SAME
        )


@pytest.mark.parametrize("name", NAMES)
def test_severities_in_another_order_are_seen_in_every_corruption(tmp_path, pixels, arrays, name):
    found = match(written(tmp_path / "set", {**arrays, name: arrays[name][::-1]}), source(pixels), GRID)
    note = f"{name}: severity 1, 2, 4, 5 of the set is severity 5, 4, 2, 1 here"
    assert found == Match(False, CELLS, (note,))


def test_two_neighbours_of_noise_that_have_changed_places_are_seen(tmp_path, pixels, arrays):
    swapped = {"gaussian_noise": arrays["gaussian_noise"][[0, 1, 3, 2, 4]]}
    found = match(written(tmp_path / "set", swapped), source(pixels), {"gaussian_noise": SEVERITIES})
    assert found.notes == ("gaussian_noise: severity 3, 4 of the set is severity 4, 3 here",)


def test_one_severity_in_the_place_of_all_is_seen(tmp_path, pixels, arrays):
    constant = {name: arrays[name][[2] * 5] for name in ("gaussian_noise", "contrast")}
    found = match(written(tmp_path / "set", {**arrays, **constant}), source(pixels), GRID)
    assert found.same_images is False and found.relation == CELLS
    assert [note.partition(":")[0] for note in found.notes] == ["gaussian_noise", "contrast"]
    assert found.notes[1] == "contrast: severity 1, 2, 4, 5 of the set is severity 3, 3, 3, 3 here"


def test_the_parameters_of_another_size_are_seen(tmp_path, pixels, arrays):
    names = ("gaussian_noise", "defocus_blur")
    large = {
        name: [out for _, out in corruptions.corrupt_each(pixels, name, seed=5, parameters="224")] for name in names
    }
    other = {name: torch.stack(images).permute(0, 1, 3, 4, 2).numpy() for name, images in large.items()}
    found = match(written(tmp_path / "set", other), source(pixels), dict.fromkeys(names, SEVERITIES))
    assert found.relation == CELLS and {note.partition(":")[0] for note in found.notes} == set(names)


def test_another_order_of_the_images_is_seen_although_labels_agree(tmp_path, pixels, arrays):
    order = [3, 1, 2, 0, *range(4, N)]  # two images of a class have changed places
    found = match(written(tmp_path / "set", {k: a[:, order] for k, a in arrays.items()}), source(pixels), GRID)
    assert found.same_images is False and found.relation == OTHER
    one = {**arrays, "fog": arrays["fog"][:, ::-1]}
    found = match(written(tmp_path / "one", one), source(pixels), GRID)
    assert found == Match(False, OTHER, ("fog: other images, or in another order",))


def test_other_images_are_seen_without_a_deterministic_corruption(tmp_path, pixels, arrays):
    other = source(pixels.flip(0).roll(7, dims=3))
    assert match(written(tmp_path / "set", {"fog": arrays["fog"]}), other, {"fog": SEVERITIES}).relation == OTHER


def test_wrong_labels_and_another_number_of_images_are_named(tmp_path, pixels, arrays):
    found = match(written(tmp_path / "set", arrays, np.roll(np.arange(N) % 3, 1)), source(pixels), GRID)
    assert (found.same_images, found.relation) == (
        False,
        "the images of the test split, but 9 of 9 labels of the set are not theirs",
    )
    few = released.open_set(tmp_path / "set", CLASSES, 32).take(torch.arange(5))
    assert "5 and 9" in match(few, source(pixels), GRID).relation


def test_images_of_one_colour_tell_nothing_under_noise(tmp_path):
    flat = torch.full((N, 3, 32, 32), 90, dtype=torch.uint8)
    noisy = torch.stack([out for _, out in corruptions.corrupt_each(flat, "gaussian_noise", seed=5)])
    arrays = {"gaussian_noise": noisy.permute(0, 1, 3, 4, 2).numpy()}
    found = match(written(tmp_path / "set", arrays), source(flat), {"gaussian_noise": SEVERITIES})
    assert found == Match(None, UNKNOWN)
