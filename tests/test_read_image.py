"""Image files that are predicted: decoded in threads, ahead of the model, with the results of one after the other."""

import threading

import numpy as np
import pytest
import torch
from PIL import Image

from randhead import datasets, evaluation
from randhead.datasets import _read_image
from randhead.errors import DataError, StopRequested
from randhead.evaluation import features

WAIT_S = 20  # for threads that would never come


@pytest.fixture
def files(tmp_path):
    """Ten images, of which one is no image and one becomes a single colour."""
    paths = [tmp_path / f"{i}.png" for i in range(10)]
    for i, path in enumerate(paths):
        pixels = np.random.default_rng(i).integers(0, 256, (8, 8, 4), dtype=np.uint8)
        Image.fromarray(pixels[..., :3]).save(path)
    paths[3].write_text("no image")
    hidden = np.random.default_rng(7).integers(0, 256, (8, 8, 4), dtype=np.uint8)
    hidden[..., 3] = 0
    Image.fromarray(hidden).save(paths[5])
    return paths


def read(files, **options):
    return datasets.read_images(files, 8, **{"workers": 3, "ahead": 6, **options})


def test_several_files_are_decoded_at_the_same_time_and_come_in_order(files, monkeypatch):
    together, inspect = threading.Barrier(3, timeout=WAIT_S), _read_image.inspect

    def meet(path, *rest):
        if path in files[:3]:
            together.wait()  # which raises unless three threads are here
        return inspect(path, *rest)

    monkeypatch.setattr(_read_image, "inspect", meet)
    found = list(read(files))
    monkeypatch.undo()
    assert [image.path for image in found] == files
    for path, image in zip(files, found, strict=True):
        if path == files[3]:
            with pytest.raises(DataError, match=r"3\.png: not a usable image"):
                image.pixels(pytest.fail)
        else:
            assert image.pixels(list).equal(datasets.read_image(path, 8, warn=list))
    assert [image.path for image in found if image.warning] == [files[5]]


def test_no_more_images_wait_than_are_allowed(files, monkeypatch):
    begun, inspect = [], _read_image.inspect
    monkeypatch.setattr(_read_image, "inspect", lambda *given: begun.append(given) or inspect(*given))
    reading = read(files * 3, ahead=4)
    for used in range(1, 12):
        next(reading)
        assert len(begun) <= used + 4
    reading.close()
    after = len(begun)
    assert after <= 11 + 4
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("randhead-images")]


def test_the_next_files_are_decoded_while_the_model_works(root, files, monkeypatch):
    begun, seen, inspect, embed = [], [], _read_image.inspect, features.embed
    ready = threading.Event()

    def noted(path, *rest):
        begun.append(path)
        if len(begun) == 4:
            ready.set()
        return inspect(path, *rest)

    def slow(*given):
        assert ready.wait(WAIT_S)  # the second batch is read while the first is in the model
        seen.append(len(given[1]))
        return embed(*given)

    monkeypatch.setattr(_read_image, "inspect", noted)
    monkeypatch.setattr(features, "embed", slow)
    monkeypatch.setattr(features, "batch_size", lambda size: 2)
    warned = []
    found = evaluation.predict(files, "fixed0", root=root, device="cpu", skip_bad_images=True, warn=warned.append)
    assert seen == [2, 1, 2, 2, 2]
    assert [image.image for image in found.images] == [str(path) for path in files if path != files[3]]
    assert ["3.png" in warned[0], "left out" in warned[0], "5.png has a single colour" in warned[1]] == [True] * 3
    assert len(warned) == 2
    alone = [evaluation.predict(file, "fixed0", root=root, device="cpu", warn=list).images[0] for file in files[:2]]
    for one, many in zip(alone, found.images, strict=False):
        torch.testing.assert_close(one.classes[0].probability, many.classes[0].probability, rtol=1e-5, atol=1e-6)


def test_the_first_bad_file_ends_a_prediction_after_the_batches_before_it(root, files, monkeypatch):
    monkeypatch.setattr(features, "batch_size", lambda size: 2)
    done = []
    with pytest.raises(DataError, match=r"3\.png: not a usable image") as caught:
        evaluation.predict(files, "fixed0", root=root, device="cpu", progress=lambda *given: done.append(given))
    assert "skip_bad_images" in caught.value.hint
    assert done == [(2, 10)]


def test_a_prediction_that_is_stopped_leaves_no_threads(root, files, monkeypatch):
    monkeypatch.setattr(features, "batch_size", lambda size: 2)
    answers = iter([False, True])
    with pytest.raises(StopRequested):
        evaluation.predict(files[:2] * 20, "fixed0", root=root, device="cpu", should_stop=lambda: next(answers))
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("randhead-images")]
