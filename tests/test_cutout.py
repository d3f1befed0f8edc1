"""Cutout, against torchvision, and that a square depends on nothing but its sample and the epoch."""

import dataclasses

import pytest
import tiny
import torch
from scipy import stats
from torchvision.transforms import functional as reference

from randhead import rng
from randhead.augment import cutout
from randhead.config import parse
from randhead.preprocess import normalise
from randhead.train import batches
from randhead.train.resolve import resolve_settings

IDS = torch.arange(300)
COLOUR = torch.tensor([255, 0, 7], dtype=torch.uint8)


def images(count=300, size=12):
    noise = rng.integers(7, "test", torch.arange(count), 3 * size**2, high=256)
    return noise.to(torch.uint8).view(count, 3, size, size)


def squares(ids=IDS, *, seed=3, epoch=2, image_size=12, side=4):
    return cutout.draw(ids, seed=seed, epoch=epoch, image_size=image_size, side=side)


@pytest.mark.parametrize("side", [1, 4, 11, 12])
def test_a_square_is_erased_as_by_torchvision(side):
    corners = squares(side=side)
    fill = COLOUR[:, None, None]
    one_by_one = [
        reference.erase(image, int(top), int(left), side, side, fill)
        for image, (top, left) in zip(images(), corners, strict=True)
    ]
    for batch in (images(), images().contiguous(memory_format=torch.channels_last)):
        found = cutout.apply(batch, corners, side, COLOUR)
        assert found.equal(torch.stack(one_by_one))
        assert batch.equal(images())  # images that stay in memory are not changed


def test_every_position_inside_the_image_is_equally_likely():
    corners = squares(torch.arange(81_000))
    assert stats.chisquare(torch.bincount(corners[:, 0] * 9 + corners[:, 1], minlength=81).numpy()).pvalue > 1e-3


def test_a_square_depends_on_the_sample_the_epoch_and_the_seed_and_is_its_own_draw():
    some = torch.tensor([210, 4, 77])
    assert squares(some).equal(squares()[some])
    assert not squares(epoch=1).equal(squares())
    assert not squares(seed=4).equal(squares())
    crops = rng.words(3, "augment", IDS, 2, stream=2) * 9 >> 32
    assert (crops == squares()).float().mean() < 0.2


@pytest.mark.parametrize("augment", ["crop", "views"])
def test_training_cuts_the_same_squares_whatever_the_batch_and_in_the_mean_colour(augment):
    data = tiny.digits()
    settings = resolve_settings(parse.build({"data.augment": augment, "data.cutout": 0.25}), data)
    ids = torch.arange(len(data.splits["train"]))[:30]
    pixels = next(data.splits["train"].images.batches(ids, 30))
    vary = batches.variation(ids, settings, seed=1, epoch=0)
    whole = vary(pixels, slice(0, 30))
    assert whole.equal(torch.cat([vary(pixels[i : i + 7], slice(i, i + 7)) for i in range(0, 30, 7)]))

    uncut = batches.variation(ids, dataclasses.replace(settings, cutout=0), seed=1, epoch=0)(pixels, slice(0, 30))
    corners = cutout.draw(ids, seed=1, epoch=0, image_size=8, side=2)
    normal = normalise(whole, torch.tensor(settings.mean), torch.tensor(settings.std))
    for image, before, values, (top, left) in zip(whole, uncut, normal, corners.tolist(), strict=True):
        square = (slice(None), slice(top, top + 2), slice(left, left + 2))
        assert (values[square].abs() <= 0.51 / 255 / torch.tensor(settings.std)[:, None, None]).all()
        image[square] = before[square]
        assert image.equal(before)


@pytest.mark.gpu
def test_a_gpu_cuts_as_a_cpu_does():
    assert squares(IDS.cuda()).cpu().equal(squares())
    assert (
        cutout.apply(images().cuda(), squares().cuda(), 4, COLOUR.cuda())
        .cpu()
        .equal(cutout.apply(images(), squares(), 4, COLOUR))
    )
