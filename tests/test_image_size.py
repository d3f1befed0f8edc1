"""The size of the images of a folder: found while they are decoded, not by opening every file twice."""

import os
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from randhead import datasets
from randhead.datasets import _image_size


def picture(path, size, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def folder(tmp_path):
    """Two classes of ten images of 16 px, as JPEG and PNG."""
    for number in range(20):
        (tmp_path / "ab"[number % 2]).mkdir(exist_ok=True)
        picture(tmp_path / "ab"[number % 2] / f"{number:02}.{'png' if number % 3 else 'jpg'}", (16, 16), number)
    return tmp_path


@pytest.fixture
def opened(monkeypatch):
    """How often each file is opened."""
    found, real = Counter(), os.open
    monkeypatch.setattr(os, "open", lambda path, *rest, **more: found.update([str(path)]) or real(path, *rest, **more))
    return found


@pytest.mark.parametrize("options", [{}, {"decoded_cache": 0}, {"decoded_cache": 0, "memory_budget": 0}])
@pytest.mark.parametrize("read", ["load", "scan"])
def test_every_file_is_opened_once_and_the_first_for_its_size(folder, opened, options, read):
    found = datasets.load(folder, **options) if read == "load" else datasets.scan(folder)
    times = {path: number for path, number in opened.items() if path.startswith(str(folder))}
    assert sorted(times.values()) == [1] * 19 + [2]
    if read == "load":
        assert found.image_size == 16


@pytest.mark.parametrize("row", [0, 7, 19])
@pytest.mark.parametrize("size", [(18, 18), (16, 17), (200, 200)])
@pytest.mark.parametrize("options", [{}, {"decoded_cache": 0}, {"memory_budget": 0}])
def test_one_image_of_another_size_makes_all_of_the_usual_one(folder, row, size, options):
    path = sorted(folder.rglob("*.*g"))[row]
    picture(path, size)
    found = datasets.load(folder, **options)
    want = datasets.load(folder, image_size=_image_size.FALLBACK_SIZE, decoded_cache=0)
    assert datasets.fingerprints(found) == datasets.fingerprints(want)
    assert found.image_size == _image_size.FALLBACK_SIZE


@pytest.mark.parametrize("row", [0, 19])
def test_a_bad_image_has_no_influence_on_the_size(folder, row):
    path = sorted(folder.rglob("*.*g"))[row]
    picture(path, (40, 40))
    path.write_bytes(path.read_bytes()[:-900])  # a header of another size, and pixels that are cut
    found = datasets.load(folder, skip_bad_images=True)
    assert (found.image_size, len(found.bad_images)) == (16, 1)
