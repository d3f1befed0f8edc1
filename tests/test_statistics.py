"""Mean and standard deviation of the channels: exact, and gathered while the files are decoded."""

import numpy as np
import pytest
import torch
from PIL import Image

from randhead import datasets
from randhead.datasets import TensorImages, _images, _reading, _statistics


def pixels_of(split):
    return torch.cat(list(split.images.batches(torch.arange(len(split)), 100)))


def derived(split):
    """The statistics by another way: moments of float64 numbers in [0, 1]."""
    scaled = pixels_of(split).numpy() / 255
    return scaled.mean(axis=(0, 2, 3)), scaled.std(axis=(0, 2, 3))


def check(split):
    mean, std = datasets.channel_statistics(split.images)
    want_mean, want_std = derived(split)
    np.testing.assert_allclose(mean, want_mean.astype(np.float32), rtol=1e-7)
    np.testing.assert_allclose(std, want_std.astype(np.float32), rtol=1e-7)
    return mean.tolist(), std.tolist()


@pytest.mark.parametrize("size", [None, 11])
def test_images_in_memory_streamed_and_chosen_have_the_same_statistics_to_the_bit(image_folder, size):
    resident = datasets.load(image_folder, image_size=size).splits["train"]
    streamed = datasets.load(image_folder, image_size=size, memory_budget=0).splits["train"]
    pixels, rows = pixels_of(resident), torch.arange(len(resident))
    arrays = datasets.Split(TensorImages(pixels, rows), resident.labels)  # nothing is known of them
    found = [check(split) for split in (resident, streamed, arrays)]
    assert found[0] == found[1] == found[2]
    chosen = rows[1::3]
    parts = [
        datasets.Split(datasets.Subset(split.images, chosen), split.labels[chosen]) for split in (resident, arrays)
    ]
    parts += [datasets.Split(datasets.Subset(streamed.images, chosen), streamed.labels[chosen])]
    found = [check(split) for split in parts]
    assert found[0] == found[1] == found[2] != check(resident)


@pytest.mark.parametrize("options", [{}, {"memory_budget": 0}, {"train_images": 9}, {"memory_budget": 0, "workers": 3}])
def test_the_statistics_of_files_need_no_further_decoding(image_folder, monkeypatch, options):
    decoded = []
    inspect = _reading.inspect
    monkeypatch.setattr(_reading, "inspect", lambda path, *rest: decoded.append(path) or inspect(path, *rest))
    monkeypatch.setattr(_images, "decode", lambda *_: pytest.fail("decoded again"))
    monkeypatch.setattr(TensorImages, "batches", lambda *_: pytest.fail("looked at the pixels again"))
    split = datasets.load(image_folder, **options).splits["train"]
    datasets.channel_statistics(split.images)
    assert len(decoded) == len(set(decoded)) >= len(split)


def test_images_of_16_bits_have_the_sums_of_the_range_that_was_found_last(tmp_path):
    for number, top in enumerate((900, 1000, 3000, 4000, 800, 2000, 700, 600, 1023, 4095)):
        folder = tmp_path / "ab"[number % 2]
        folder.mkdir(exist_ok=True)
        pixels = np.random.default_rng(top).integers(0, top, (8, 8)).astype(np.uint16)
        Image.fromarray(pixels).save(folder / f"{top}.png")
    check(datasets.load(tmp_path).splits["train"])


def test_images_that_are_resized_when_needed_are_counted_at_their_new_size():
    digits = datasets.load("digits", image_size=20, memory_budget=1 << 20).splits["train"]
    assert type(digits.images).__name__ == "ResizedImages"
    check(digits)


@pytest.mark.parametrize("side", [1, 7, 300])
def test_the_sums_of_an_image_are_exact(side):
    image = np.random.default_rng(side).integers(250, 256, (3, side, side), dtype=np.uint8)
    values = image.astype(object)  # Python's integers
    want = [[int((values[c] ** power).sum()) for c in range(3)] for power in (1, 2)]
    found = _statistics.channel_sums(np.stack([image, image]))
    assert found.tolist() == [want, want]
    assert found.dtype == np.int64


def test_constant_channels_can_be_divided_by():
    images = TensorImages(torch.full((3, 3, 2, 2), 255, dtype=torch.uint8), torch.arange(3))
    mean, std = datasets.channel_statistics(images)
    assert mean.tolist() == [1, 1, 1]
    torch.testing.assert_close(std, torch.full((3,), 1 / 255))
