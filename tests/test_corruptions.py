"""What corruptions claim beyond the contract of their family (tests/test_contracts.py); mistakes get clear answers."""

import hashlib

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils._python_dispatch import TorchDispatchMode

from randhead import registry, rng
from randhead.corruptions import (
    _blur,
    _gaussian,
    _hue,
    _lines,
    corrupt,
    corrupt_each,
    frost,
    jpeg_compression,
    names,
    parameters_for,
    pixelate,
)
from randhead.errors import DataError, UsageError
from randhead.testing.corruption import pictures

BENCHMARK = [
    "gaussian_noise",
    "shot_noise",
    "impulse_noise",
    "defocus_blur",
    "glass_blur",
    "motion_blur",
    "zoom_blur",
    "snow",
    "frost",
    "fog",
    "brightness",
    "contrast",
    "elastic_transform",
    "pixelate",
    "jpeg_compression",
]
EXTRA = ["speckle_noise", "gaussian_blur", "spatter", "saturate"]
RANDOM = (
    BENCHMARK[:3]
    + BENCHMARK[4:6]
    + BENCHMARK[7:10]
    + [
        "elastic_transform",
        "speckle_noise",
        "spatter",
    ]
)
every = pytest.mark.parametrize("name", registry.builtin_names("corruptions"))


def differing(a, b):
    return int((a != b).sum())


def test_names_are_in_the_order_of_the_benchmark():
    assert names()[:19] == BENCHMARK + EXTRA
    assert names("benchmark") == BENCHMARK
    assert names("extra")[:4] == EXTRA
    assert names("weather") == ["snow", "frost", "fog", "brightness"]
    assert sorted(n for g in ("noise", "blur", "weather", "digital") for n in names(g)) == sorted(BENCHMARK)


@every
def test_a_corruption_is_in_the_row_and_the_group_that_it_says(name):
    module = registry.load("corruptions", name)
    assert names()[module.ORDER - 1] == name
    assert name in names(module.GROUP)


@pytest.mark.parametrize("name", BENCHMARK + EXTRA)
def test_only_what_is_random_draws_noise(name):
    module = registry.load("corruptions", name)
    assert bool(module.sample(torch.tensor([4, 9]), (16, 24), seed=1, parameter_set="32")) == (name in RANDOM)


@pytest.mark.parametrize("name", RANDOM)
def test_seeds_and_ids_change_what_is_random(name):
    images = pictures(1).repeat(2, 1, 1, 1)
    first = corrupt(images, name, 4)
    assert differing(first[0], first[1]) > 0
    assert differing(corrupt(images, name, 4, seed=1)[0], first[0]) > 0


@pytest.mark.parametrize("name", sorted(set(BENCHMARK + EXTRA) - set(RANDOM)))
def test_seeds_and_ids_do_not_change_what_is_not_random(name):
    images = pictures(1).repeat(2, 1, 1, 1)
    out = corrupt(images, name, 4)
    assert torch.equal(out[0], out[1]) and torch.equal(corrupt(images, name, 4, seed=1), out)


@pytest.mark.parametrize(("side", "name"), [(8, "32"), (45, "32"), (46, "64"), (120, "64"), (121, "224"), (500, "224")])
def test_the_shorter_side_chooses_the_parameter_set(side, name):
    assert parameters_for((side, side + 9)) == name
    if side < 130:
        images = pictures(1, side, side)
        assert torch.equal(corrupt(images, "contrast", 2), corrupt(images, "contrast", 2, parameters=name))


# Not so in the reference either: frost darkens what it covers, saturate turns from grey to vivid, others move pixels.
IRREGULAR = ("elastic_transform", "snow", "saturate", "spatter", "glass_blur", "frost")
MONOTONE = [n for n in BENCHMARK + EXTRA if n not in IRREGULAR]


@pytest.mark.parametrize("name", MONOTONE)
@pytest.mark.parametrize("side", [32, 64])
def test_higher_severities_move_images_further(name, side):
    images = pictures(20, side, side)
    distance = [(out.float() - images.float()).abs().mean() for _, out in corrupt_each(images, name)]
    assert distance == sorted(distance)


def test_records_can_be_replayed_by_later_versions():
    """Bytes that are exact in integers on every machine, so that a change of random numbers or an operator shows."""
    images = rng.words(0, "test/replay", torch.arange(2), 3 * 32 * 32).view(2, 3, 32, 32).to(torch.uint8)
    found = {
        name: hashlib.sha256(corrupt(images, name, 3, seed=1).numpy().tobytes()).hexdigest()[:12]
        for name in ("impulse_noise", "shot_noise", "pixelate", "jpeg_compression")
    }
    assert found == {
        "impulse_noise": "0cceebcadd2f",
        "shot_noise": "d397e4c677e5",
        "pixelate": "49e2ee8db6a5",
        "jpeg_compression": "17ddd36895a5",
    }


def test_long_words_are_numpys_philox_and_the_same_bits_in_tensor_operations():
    ids = torch.tensor([0, 5, 2**40 + 7])
    drawn = rng.long_words(1, "x", ids, 13, stream=2)
    key = rng._long_key(1, "x")
    by_numpy = np.random.Philox(key=key[0] | key[1] << 64, counter=[0, 2, 5, 0]).random_raw(13)
    assert drawn[1].tolist() == by_numpy.view(np.int64).tolist()
    assert torch.equal(rng._long_words_of_torch(key, ids, 13, 2), drawn)


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (torch.zeros(1, 3, 32, 32), "uint8, got float32"),
        (torch.zeros(3, 32, 32, dtype=torch.uint8), "4 dimensions"),
        (torch.zeros(1, 4, 32, 32, dtype=torch.uint8), "1 or 3 channels, got 4"),
        (torch.zeros(1, 32, 32, 3, dtype=torch.uint8), "1 or 3 channels, got 32"),
        (torch.zeros(1, 3, 1, 1, dtype=torch.uint8), "1x1 are too small"),
        (torch.zeros(1, 3, 7, 32, dtype=torch.uint8), "7x32 are too small"),
        (np.zeros((1, 3, 32, 32), dtype=np.uint8), "NumPy must be"),
        ([[0]], "must be a tensor"),
    ],
)
def test_images_of_another_kind_are_refused_with_a_hint(images, words):
    with pytest.raises(UsageError, match=words) as caught:
        corrupt(images, "fog", 1)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("arguments", "words", "hint"),
    [
        ({"name": "fgo"}, "unknown corruption 'fgo'", "did you mean 'fog'"),
        ({"severity": 6}, "severity must be 0 to 5, got 6", "5: the strongest"),
        ({"severity": -1}, "got -1", ""),
        ({"severity": 2.5}, "got 2.5", ""),
        ({"parameters": "128"}, "unknown parameter set '128'", "224"),
        ({"ids": [1]}, "ids must be 2 integers", ""),
        ({"ids": [0.5, 1.5]}, "ids must be 2 integers", ""),
        ({"ids": [0, -1]}, "not be negative", ""),
        ({"name": None}, "unknown corruption None", "known: "),
        ({"name": ["fog"]}, "unknown corruption ", "known: "),
        ({"severity": 3.0}, "severity must be 0 to 5, got 3.0", ""),
        ({"severity": None}, "severity must be 0 to 5, got None", ""),
        ({"ids": 3}, "ids must be 2 integers, one per image, got 3", ""),
        ({"ids": ["a", "b"]}, "ids must be 2 integers, one per image", ""),
        ({"parameters": 32}, "parameters must be None or one of .*, got 32", ""),
        ({"frost_images": "x"}, "frost_images must be the result of `load_frost_images`, got 'x'", ""),
        *(({"seed": seed}, "seed must be", "") for seed in (1.5, -1, "a", float("nan"))),
    ],
)
def test_other_mistakes_are_named(arguments, words, hint):
    with pytest.raises(UsageError, match=words) as caught:
        corrupt(**{"images": pictures(2), "name": "fog", "severity": 1} | arguments)
    assert hint in (caught.value.hint or "")


def test_integers_of_numpy_give_the_same_bits():
    images = pictures(2)
    given = corrupt(images, "fog", np.int64(3), seed=np.int64(7), ids=np.array([4, 5]))
    assert torch.equal(given, corrupt(images, "fog", 3, seed=7, ids=[4, 5]))


def test_an_unknown_group_is_refused():
    with pytest.raises(UsageError, match="unknown group"):
        names("wether")


def test_frost_takes_the_pictures_of_a_folder(tmp_path):
    for i in range(2):
        Image.fromarray(np.full((200, 300, 3), 50 + 100 * i, dtype=np.uint8)).save(tmp_path / f"{i}.png")
    (tmp_path / "notes.txt").write_text("not a picture")
    frost_images = frost.load_frost_images(tmp_path)
    assert frost_images.name == "folder" and len(frost_images.images) == 2
    images = torch.full((30, 3, 32, 32), 100, dtype=torch.uint8)
    out = corrupt(images, "frost", 1, frost_images=frost_images)
    assert set(out.unique().tolist()) == {110, 130}
    assert torch.equal(corrupt(images, "fog", 1, frost_images=frost_images), corrupt(images, "fog", 1))


def test_a_texture_smaller_than_the_image_is_enlarged(tmp_path):
    Image.fromarray(np.full((20, 30, 3), 50, dtype=np.uint8)).save(tmp_path / "small.jpg")
    out = corrupt(pictures(1, 90, 150), "frost", 1, frost_images=frost.load_frost_images(tmp_path))
    assert out.shape == (1, 3, 90, 150)


def test_without_a_folder_frost_is_procedural_and_says_so():
    frost_images = frost.load_frost_images(None)
    assert frost_images.name == "procedural" and len(frost_images.images) == 5
    colours = torch.stack([t.float().mean(dim=(1, 2)) for t in frost_images.images]).mean(dim=0)
    # The mean colour of the reference's five pictures, and its order: blue above green above red.
    assert torch.allclose(colours, torch.tensor([145.9, 167.2, 178.9]), atol=4)


def test_frost_folders_without_readable_pictures_are_refused(tmp_path):
    with pytest.raises(DataError, match="no pictures"):
        frost.load_frost_images(tmp_path)
    with pytest.raises(DataError, match="no pictures"):
        frost.load_frost_images(tmp_path / "missing")
    (tmp_path / "broken.png").write_bytes(b"not a png")
    with pytest.raises(DataError, match=r"broken\.png: not a readable picture"):
        frost.load_frost_images(tmp_path)


def test_a_picture_of_frost_of_16_bits_is_refused_instead_of_becoming_white(tmp_path):
    Image.fromarray(np.full((20, 30), 3000, dtype=np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(DataError, match=r"deep\.png: grey pictures of more than 8 bits") as refused:
        frost.load_frost_images(tmp_path)
    assert "convert it to 8 bits" in refused.value.hint


aten = torch.ops.aten


class ReciprocalDivision(TorchDispatchMode):
    """Division by a number of Python as on CUDA: multiplication by its reciprocal, which is rounded twice."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func in (aten.div.Tensor, aten.div_.Tensor) and isinstance(args[1], int | float):
            times = aten.mul.Tensor if func is aten.div.Tensor else aten.mul_.Tensor
            return times(args[0], torch.full((), args[1], dtype=args[0].dtype).reciprocal())
        return func(*args, **(kwargs or {}))


@pytest.fixture
def no_shortcuts(monkeypatch):
    """Give a CPU the operations of other devices."""

    def begin():
        monkeypatch.setattr(_hue, "saturated", _hue.by_tensors)
        monkeypatch.setattr(_blur, "_decided", _gaussian.exactly)
        monkeypatch.setattr(_lines, "NUMPY", ())
        monkeypatch.setattr(pixelate, "resized_by_numpy", pixelate.resized)
        monkeypatch.setattr(jpeg_compression, "SMALL", 1 << 30)

    return begin


@every
def test_images_have_the_same_bits_if_a_device_divides_as_cuda_does(name, no_shortcuts):
    images = pictures(8)
    images[0], images[1, :, :, ::2] = 77, 0
    found = list(corrupt_each(images, name))  # also fills the tables, which are always made on a CPU
    no_shortcuts()
    for severity, out in found:
        with ReciprocalDivision():
            assert differing(corrupt(images, name, severity), out) == 0


@pytest.mark.gpu
@every
def test_a_gpu_draws_the_same_noise_and_gives_the_same_images(name):
    images, ids = pictures(40), torch.arange(40) + 11
    module = registry.load("corruptions", name)
    here = module.sample(ids, (32, 32), seed=5, parameter_set="32")
    there = module.sample(ids.cuda(), (32, 32), seed=5, parameter_set="32")
    assert all(torch.equal(there[key].cpu(), value) for key, value in here.items())
    for severity in (1, 3, 5):
        a = corrupt(images, name, severity, seed=5, ids=ids)
        b = corrupt(images.cuda(), name, severity, seed=5, ids=ids).cpu()
        assert differing(a, b) == 0
