"""Crops, mirrors and normalisation of batches, against torchvision and plain formulas."""

import pytest
import torch
from scipy import stats
from torchvision.transforms import functional as reference

from randhead import rng
from randhead.augment import crop
from randhead.preprocess import normalise

IDS = torch.arange(400)


def images(count=400, height=12, width=12):
    return (
        rng.integers(7, "test", torch.arange(count), 3 * height * width, high=256)
        .to(torch.uint8)
        .view(count, 3, height, width)
    )


def expected(image, top, left, flip, padding):
    padded = reference.pad(image, padding, fill=0)
    window = reference.crop(padded, int(top), int(left), *image.shape[1:])
    return reference.hflip(window) if flip else window


@pytest.mark.parametrize(("height", "width"), [(12, 12), (9, 16), (1, 1)])
@pytest.mark.parametrize("padding", [0, 1, 4])
def test_crops_are_those_of_torchvision_bit_for_bit(height, width, padding):
    batch, crops = images(64, height, width), crop.draw(IDS[:64], seed=3, epoch=2, padding=padding)
    one_by_one = [
        expected(image, top, left, flip, padding)
        for image, top, left, flip in zip(batch, crops.tops, crops.lefts, crops.flips, strict=True)
    ]
    assert crop.crop_flip(batch, crops, padding).equal(torch.stack(one_by_one))


def test_crops_do_not_depend_on_memory_layout():
    batch, crops = images(), crop.draw(IDS, seed=0, epoch=0, padding=2)
    last = batch.contiguous(memory_format=torch.channels_last)
    assert crop.crop_flip(last, crops, 2).equal(crop.crop_flip(batch, crops, 2))


def test_a_crop_depends_on_the_sample_and_the_epoch_and_on_no_batch():
    whole = crop.draw(IDS, seed=5, epoch=1, padding=4)
    some = torch.tensor([310, 4, 77])
    alone = crop.draw(some, seed=5, epoch=1, padding=4)
    assert all(getattr(alone, field).equal(getattr(whole[some], field)) for field in ("tops", "lefts", "flips"))
    for other in ({"epoch": 2, "seed": 5}, {"epoch": 1, "seed": 6}):
        changed = crop.draw(IDS, padding=4, **other)
        assert not changed.tops.equal(whole.tops)
        assert not changed.flips.equal(whole.flips)


def test_every_window_and_both_sides_are_equally_likely():
    crops = crop.draw(torch.arange(90_000), seed=0, epoch=0, padding=4)
    cells = (crops.tops * 9 + crops.lefts) * 2 + crops.flips
    assert stats.chisquare(torch.bincount(cells, minlength=162).numpy()).pvalue > 1e-3


def test_without_flip_nothing_is_mirrored_and_windows_stay_where_they_are():
    with_flip, without = (crop.draw(IDS, seed=0, epoch=0, padding=4, flip=flip) for flip in (True, False))
    assert not without.flips.any()
    assert without.tops.equal(with_flip.tops)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 1e-6), (torch.bfloat16, 1e-2)])
def test_normalise_agrees_with_torchvision(channels_last, dtype, error):
    mean, std = torch.tensor([0.4, 0.5, 0.6]), torch.tensor([0.2, 0.25, 0.3])
    out = normalise(images(), mean, std, dtype=dtype, channels_last=channels_last)
    want = reference.normalize(images().double() / 255, mean.tolist(), std.tolist())
    torch.testing.assert_close(out.double(), want, rtol=error, atol=error)
    assert out.dtype == dtype
    assert out.is_contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)


@pytest.mark.gpu
def test_a_gpu_crops_and_normalises_as_a_cpu_does():
    crops = crop.draw(IDS, seed=1, epoch=0, padding=4)
    on_gpu = crop.draw(IDS.cuda(), seed=1, epoch=0, padding=4)
    cropped = crop.crop_flip(images().cuda(), on_gpu, 4)
    assert cropped.cpu().equal(crop.crop_flip(images(), crops, 4))
    mean, std = torch.tensor([0.4, 0.5, 0.6]), torch.tensor([0.2, 0.25, 0.3])
    here, there = normalise(cropped.cpu(), mean, std), normalise(cropped, mean, std)
    torch.testing.assert_close(there.cpu(), here, rtol=1e-6, atol=1e-6)
