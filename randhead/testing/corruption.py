"""The contract of the image corruptions."""

from types import ModuleType

import torch
from torch import Tensor

from randhead import rng
from randhead.ambient import as_tensor, indices
from randhead.corruptions import PARAMETER_SETS, SEVERITIES, corrupt, corrupt_each
from randhead.testing._members import Member, claim, known, without_global_randomness

SIDES = (32, 46)  # pixels, of images for the parameters of the 32 px and of the 64 px set
SHAPES = ((8, 8), (28, 28), (9, 40), (64, 33), (130, 90))
COUNT = 97  # images in a batch that is divided: more than a chunk of `corrupt` has


def check_corruption(member: Member, *, large: bool = False) -> None:
    """Check that a member of `randhead.corruptions` fulfils the contract of its family.

    Args:
        member: a module, the path of a Python file or the name of a member.
        large: also corrupt images of 224 px, and with more threads, which takes seconds.

    Raises:
        AssertionError: if the contract is broken.

    Example:
        >>> check_corruption("brightness")
    """
    with known("corruptions", member) as (name, module):
        _check_module(module)
        _check_noise(module)
        for side in SIDES:
            _check_images(name, side)
        _check_batches(name)
        _check_threads(name, 2)
        _check_layouts(name)
        _check_severities(name)
        _check_sizes(name)
        _check_channels(name)
        if large:
            _check_threads(name, 5)
            _check_large(name)


def pictures(count: int, height: int = 32, width: int = 32, seed: int = 0) -> Tensor:
    """Smooth colours with edges: (count, 3, height, width) uint8."""
    phase = rng.uniforms(seed, "test/pictures", indices(count), 6)
    y, x = (torch.arange(side, dtype=torch.float32, device="cpu") / side for side in (height, width))
    y = y[:, None]
    waves = [
        torch.sin(6.3 * (phase[:, i, None, None] + (1 + i) * x + phase[:, i + 3, None, None] * 3 * y)) for i in range(3)
    ]
    values = torch.stack(waves, dim=1) * 100 + 128
    values[:, :, height // 3 : height // 2, width // 4 : width // 2] = 230
    return values.to(torch.uint8)


def _check_module(module: ModuleType) -> None:
    found = module.SEVERITY_PARAMETERS
    claim(set(found) == set(PARAMETER_SETS), f"SEVERITY_PARAMETERS must have {[*PARAMETER_SETS]}, got {[*found]}")
    for key, values in found.items():
        different = len(values) == len(SEVERITIES) == len(set(map(str, values)))
        claim(different, f"SEVERITY_PARAMETERS[{key!r}] must be 5 different values, one per severity, got {values}")


def _check_noise(module: ModuleType) -> None:
    ids = as_tensor([4, 9])
    with without_global_randomness("sample"):
        noise = module.sample(ids, (16, 24), seed=1, parameter_set="32")
    for key, value in noise.items():
        claim(len(value) == 2, f"sample()[{key!r}] must have a row per image, 2, got shape {tuple(value.shape)}")
        single = module.sample(ids[1:], (16, 24), seed=1, parameter_set="32")[key]
        claim(torch.equal(single[0], value[1]), f"sample()[{key!r}] of an image depends on the other images")


def _check_images(name: str, side: int) -> None:
    images = pictures(3, side, side)
    before = images.clone()
    for severity in (1, 5):
        with without_global_randomness("apply"):
            out = corrupt(images, name, severity)
        claim(out.shape == images.shape, f"images {tuple(images.shape)} must keep their shape, got {tuple(out.shape)}")
        claim(out.dtype == torch.uint8, f"images must stay uint8, got {out.dtype}")
        claim(out.is_contiguous(), "images must be contiguous")
        claim(torch.equal(images, before), "apply writes to its input")
        claim(not torch.equal(out, images), f"severity {severity} changes nothing at {side} px")
    claim(torch.equal(corrupt(images, name, 0), images), "severity 0 must be the identity")


def _check_batches(name: str) -> None:
    images, ids = pictures(COUNT), indices(COUNT) * 3 + 5
    whole = corrupt(images, name, 3, seed=7, ids=ids)
    for size in (1, 7):
        for i in (0, 40, COUNT - size):
            part = corrupt(images[i : i + size], name, 3, seed=7, ids=ids[i : i + size])
            claim(torch.equal(part, whole[i : i + size]), f"images depend on their batch: {size} differ from {COUNT}")
    order = rng.permutation(0, "test/order", COUNT)
    shuffled = corrupt(images[order], name, 3, seed=7, ids=ids[order])
    claim(torch.equal(shuffled, whole[order]), "images depend on their order")
    some = corrupt(images[order[:50]], name, 3, seed=7, ids=ids[order[:50]].tolist())
    claim(torch.equal(some, whole[order[:50]]), "images depend on which others are in the batch")
    odd = pictures(5, 75, 61)
    whole = corrupt(odd, name, 4)
    for i in range(5):
        claim(torch.equal(corrupt(odd[i : i + 1], name, 4, ids=[i]), whole[i : i + 1]), "as before, at 75 x 61 px")


def _check_threads(name: str, threads: int) -> None:
    images, kept = pictures(12), torch.get_num_threads()  # enough values for torch to use threads
    try:
        torch.set_num_threads(1)
        single = corrupt(images, name, 4)
        torch.set_num_threads(threads)
        several = corrupt(images, name, 4)
    finally:
        torch.set_num_threads(kept)
    claim(torch.equal(single, several), "images depend on the number of threads: sum in a fixed order, or in integers")


def _check_layouts(name: str) -> None:
    images = pictures(6)
    expected = corrupt(images, name, 3)
    channels_last = corrupt(images.contiguous(memory_format=torch.channels_last), name, 3)
    claim(torch.equal(channels_last, expected), "images in another memory format are corrupted differently")
    wide = torch.zeros((6, 3, 40, 50), dtype=torch.uint8, device="cpu")
    wide[:, :, 4:36, 10:42] = images
    claim(torch.equal(corrupt(wide[:, :, 4:36, 10:42], name, 3), expected), "a view is corrupted differently")


def _check_severities(name: str) -> None:
    images = pictures(4)
    for severity, out in corrupt_each(images, name, (5, 0, 2), seed=3):
        claim(torch.equal(out, corrupt(images, name, severity, seed=3)), "severities depend on those drawn with them")


def _check_sizes(name: str) -> None:
    for height, width in SHAPES:
        images = pictures(2, height, width)
        for parameters in (None, *PARAMETER_SETS):
            for severity in (2, 5):
                shape = corrupt(images, name, severity, parameters=parameters).shape
                claim(shape == images.shape, f"{height} x {width} px became {tuple(shape)}, parameters {parameters}")


def _check_channels(name: str) -> None:
    grey = pictures(2)[:, :1]
    out = corrupt(grey, name, 3)
    claim(out.shape == grey.shape, "one channel must stay one channel")
    three = corrupt(grey.repeat(1, 3, 1, 1), name, 3)
    claim(torch.equal(out, three[:, :1]), "one channel must be the first of three equal ones")
    claim(corrupt(pictures(0), name, 3).shape == (0, 3, 32, 32), "an empty batch must stay empty")


def _check_large(name: str) -> None:
    images = pictures(4, 224, 224)
    for severity in (1, 5):
        whole = corrupt(images, name, severity)
        single = corrupt(images[2:3], name, severity, ids=[2])
        claim(torch.equal(single, whole[2:3]), f"images of 224 px depend on their batch at severity {severity}")
