"""Strong views of images, against torchvision and colorsys, and that they depend on nothing but their sample."""

import colorsys
import dataclasses
import math

import pytest
import tiny
import torch
from scipy import stats
from torchvision.transforms import functional as reference
from torchvision.transforms.functional import InterpolationMode

from randhead import rng, runs
from randhead.augment import views
from randhead.config import parse
from randhead.errors import UsageError
from randhead.train import batches
from randhead.train.resolve import resolve_settings

IDS = torch.arange(300)
PLAIN = (1.0, 1.0, 1.0, 0.0)


def images(count=64, height=32, width=32, low=0, high=256):
    """Noise of grey levels from `low` to below `high`."""
    noise = rng.integers(7, "test", torch.arange(count), 3 * height * width, high=high - low)
    return (noise + low).to(torch.uint8).view(count, 3, height, width)


def of(count, *, box=None, flips=False, colours=PLAIN, size=(32, 32)):
    """The same view of every image, or one box each."""
    box = torch.tensor([(0, 0, *size)]).expand(count, 4) if box is None else box
    return views.Views(box, torch.full((count,), flips), torch.tensor([colours]).expand(count, 4).float())


def boxes(count, height, width):
    drawn = views.draw(torch.arange(count), seed=4, epoch=2, size=(height, width))
    assert (drawn.boxes[:, :2] >= 0).all()
    assert (drawn.boxes[:, :2] + drawn.boxes[:, 2:] <= torch.tensor((height, width))).all()
    return drawn.boxes


@pytest.mark.parametrize("size", [(32, 32), (9, 16), (96, 96)])
def test_a_view_that_changes_nothing_gives_back_the_image(size):
    batch = images(8, *size)
    assert views.apply(batch, of(8, size=size)).equal(batch)
    assert views.apply(batch, of(8, size=size, flips=True)).equal(batch.flip(3))


@pytest.mark.parametrize("size", [(32, 32), (17, 24), (64, 64)])
@pytest.mark.parametrize("flip", [False, True])
def test_windows_are_those_of_torchvision(size, flip):
    batch, box = images(64, *size), boxes(64, *size)
    found = views.apply(batch, of(64, box=box, flips=flip))
    for image, place, ours in zip(batch, box.tolist(), found, strict=True):
        theirs = reference.resized_crop(image, *place, list(size), InterpolationMode.BILINEAR, antialias=True)
        theirs = reference.hflip(theirs) if flip else theirs
        assert (ours.int() - theirs.int()).abs().max() <= 1


COLOURS = {
    "brightness": (0, reference.adjust_brightness),
    "contrast": (1, reference.adjust_contrast),
    "saturation": (2, reference.adjust_saturation),
}


@pytest.mark.parametrize("factor", [0.0, 0.6, 1.0, 1.4])
@pytest.mark.parametrize("name", sorted(COLOURS))
def test_colours_are_those_of_torchvision(name, factor):
    place, theirs = COLOURS[name]
    batch, colours = images(), [*PLAIN]
    colours[place] = factor
    found = views.apply(batch, of(64, colours=colours)).int()
    want = 255 * torch.stack(
        [theirs(image, factor) for image in batch / 255]
    )  # of whole numbers, it cuts off fractions
    assert (found - want).abs().max() <= 1


def test_no_saturation_is_torchvisions_grey():
    found = views.apply(images(), of(64, colours=(1, 1, 0, 0.3))).int()
    assert (found - reference.rgb_to_grayscale(images(), 3).int()).abs().max() <= 1


def test_where_nothing_is_cut_off_colours_follow_each_other_as_torchvisions_do():
    # In any order: without clamping in between they commute.
    batch = images(low=90, high=150)
    found = views.apply(batch, of(64, colours=(1.1, 1.3, 0.7, 0))).int()
    want = batch.float() / 255
    for name, factor in (("saturation", 0.7), ("contrast", 1.3), ("brightness", 1.1)):
        want = torch.stack([COLOURS[name][1](image, factor) for image in want])
    assert (found - 255 * want).abs().max() <= 1


@pytest.mark.parametrize("turns", [-0.4, 0.25, 0.5])
def test_hue_turns_the_chroma_of_pythons_yiq(turns):
    batch = images(4, 8, 8, low=100, high=150)
    found = views.apply(batch, of(4, colours=(1, 1, 1, turns), size=(8, 8))).double() / 255
    turn = torch.polar(torch.tensor(1.0), torch.tensor(turns * 2 * torch.pi))
    pixels = zip((batch.double() / 255).permute(0, 2, 3, 1).reshape(-1, 3).tolist(), strict=True)
    for (rgb,), ours in zip(pixels, found.permute(0, 2, 3, 1).reshape(-1, 3), strict=True):
        luma, *chroma = colorsys.rgb_to_yiq(*rgb)
        turned = complex(*chroma) * complex(turn)
        want = torch.tensor(colorsys.yiq_to_rgb(luma, turned.real, turned.imag))
        assert (255 * (ours - want)).abs().max() <= 2  # Python's weights have two digits


def test_grey_stays_grey_whatever_the_hue():
    grey = images()[:, :1].expand(-1, 3, -1, -1)
    assert views.apply(grey, of(64, colours=(1, 1, 1, 0.37))).equal(grey)


def test_a_view_does_not_depend_on_the_batch():
    batch = images(300)
    drawn = views.draw(IDS, seed=5, epoch=3, size=(32, 32))
    whole = views.apply(batch, drawn)
    for size in (1, 7, 128):
        parts = [
            views.apply(part, views.draw(ids, seed=5, epoch=3, size=(32, 32)))
            for part, ids in zip(batch.split(size), IDS.split(size), strict=True)
        ]
        assert torch.cat(parts).equal(whole)
    backwards = views.apply(batch.flip(0), drawn[torch.arange(299, -1, -1)])
    assert backwards.flip(0).equal(whole)


def test_a_view_depends_on_the_seed_the_epoch_and_the_sample():
    whole = views.draw(IDS, seed=5, epoch=3, size=(32, 32))
    for other in ({"seed": 6, "epoch": 3}, {"seed": 5, "epoch": 4}):
        changed = views.draw(IDS, size=(32, 32), **other)
        for field in dataclasses.fields(views.Views):
            assert not getattr(changed, field.name).equal(getattr(whole, field.name))
    assert len(whole.colours.unique(dim=0)) == 300


def test_areas_are_uniform_and_aspects_within_their_bounds():
    drawn = views.draw(torch.arange(20_000), seed=0, epoch=0, size=(4096, 4096))  # rounding does not count
    heights, widths = drawn.boxes[:, 2:].double().unbind(1)
    area, aspect = heights * widths / 4096**2, widths / heights
    assert stats.kstest((area.numpy() - 0.2) / 0.8, "uniform").pvalue > 1e-3
    assert aspect.min() > 0.749
    assert aspect.max() < 1.335
    share = aspect[area < 0.7].log() / math.log(4 / 3)  # there any aspect fits
    assert stats.kstest(share.numpy() / 2 + 0.5, "uniform").pvalue > 1e-3


def test_windows_are_equally_likely_anywhere():
    drawn = views.draw(torch.arange(50_000), seed=1, epoch=0, size=(32, 32))
    for axis in range(2):
        chosen = drawn.boxes[:, 2 + axis] == 24
        counts = torch.bincount(drawn.boxes[chosen, axis], minlength=9)
        assert len(counts) == 9
        assert stats.chisquare(counts.numpy()).pvalue > 1e-3


def test_colours_flips_and_greys_are_drawn_as_often_as_they_should():
    drawn = views.draw(torch.arange(20_000), seed=2, epoch=0, size=(32, 32))
    brightness, contrast, saturation, hue = (column.numpy() for column in drawn.colours.unbind(1))
    coloured = saturation[saturation > 0]
    for shares in ((brightness - 0.6) / 0.8, (contrast - 0.6) / 0.8, (coloured - 0.6) / 0.8, (hue + 0.1) / 0.2):
        assert stats.kstest(shares, "uniform").pvalue > 1e-3
    assert stats.binomtest(20_000 - len(coloured), 20_000, 0.2).pvalue > 1e-3
    assert stats.binomtest(int(drawn.flips.sum()), 20_000, 0.5).pvalue > 1e-3
    assert not views.draw(IDS, seed=2, epoch=0, size=(32, 32), flip=False).flips.any()


@pytest.mark.parametrize(
    ("chosen", "found"),
    [
        ({}, "crop"),
        ({"data.labels": "instance"}, "views"),
        ({"data.labels": "instance", "data.augment": "crop"}, "crop"),
        ({"data.labels": "instance", "data.crop_padding": 4}, "crop"),
        ({"data.augment": "views"}, "views"),
    ],
)
def test_instances_are_seen_in_views_and_classes_in_crops_unless_told_otherwise(chosen, found):
    assert resolve_settings(parse.build(chosen), tiny.digits()).augment == found


def test_padding_is_refused_for_views():
    with pytest.raises(UsageError, match=r"data\.crop_padding must be auto with data\.augment=views"):
        parse.build({"data.augment": "views", "data.crop_padding": 2})


def seen(size, first=0):
    """The images of an epoch by their labels, as a training on instances sees them."""
    config, dataset = tiny.config(data__labels="instance", train__batch_size=size), tiny.digits()
    found = batches.of_epoch(
        dataset.splits["train"],
        torch.arange(40),
        resolve_settings(config, dataset),
        config.train,
        epoch=1,
        first=first,
    )
    return [(label, image) for part, labels in found for label, image in zip(labels.tolist(), part, strict=True)]


def test_a_training_sees_the_same_views_in_any_batch_size_and_after_a_resume():
    for other in (seen(5), seen(40)):
        for (label, image), (theirs, same) in zip(seen(16), other, strict=True):
            assert label == theirs
            assert image.equal(same)
    resumed = seen(16, first=1)
    assert all(image.equal(same) for (_, image), (_, same) in zip(seen(16)[16:], resumed, strict=True))
    assert len(resumed) == 24


@pytest.mark.slow
def test_a_stopped_training_on_views_ends_with_the_same_weights(tmp_path):
    config = tiny.config(data__labels="instance", head__scoring="cosine", head__neck="linear")
    tiny.fit(tmp_path / "whole", config, tiny.digits())
    asked = iter([False] * 4 + [True] * 100)
    tiny.fit(tmp_path / "parts", config, tiny.digits(), should_stop=lambda: next(asked))
    tiny.fit(tmp_path / "parts", config, tiny.digits())
    ends = [runs.Run(tmp_path / name).summary().weights_sha256 for name in ("whole", "parts")]
    assert ends[0] == ends[1]


@pytest.mark.gpu
def test_a_gpu_makes_the_same_views_within_a_grey_level():
    here = views.draw(IDS, seed=1, epoch=0, size=(32, 32))
    there = views.draw(IDS.cuda(), seed=1, epoch=0, size=(32, 32))
    assert all(getattr(there, f.name).cpu().equal(getattr(here, f.name)) for f in dataclasses.fields(views.Views))
    on_gpu = views.apply(images(300).cuda(), there).cpu().int()
    assert (on_gpu - views.apply(images(300), here).int()).abs().max() <= 2
