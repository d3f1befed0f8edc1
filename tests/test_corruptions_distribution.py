"""Our random numbers have the reference's distributions, and are independent where they should be.

Seeds are fixed, so a test that passes keeps passing.  Noise is compared with its law, structured noise with
results of the reference that `examples/benchmarks/corruption_parity.py` has stored.
"""

import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

from randhead import registry
from randhead.corruptions import corrupt, glass_blur

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "examples" / "benchmarks"))
import corruption_parity as parity  # noqa: E402

INPUTS = (0, 40, 128, 200, 255)  # input values
CELLS = [(p, s) for p in ("32", "64", "224") for s in (1, 3, 5)]
# Kolmogorov and Smirnov's distance at 1 percent, divided among all cells of a test.
BOUND = math.sqrt(-math.log(0.01 / (len(CELLS) * len(INPUTS)) / 2) / 2)


def reference(key):
    with np.load(Path(__file__).parent / "fixtures" / "corruptions" / "distributions.npz") as file:
        return file[key]


def outputs(name, value, parameters, severity, count=100):
    """307,200 results for pixels of one value."""
    images = torch.full((count, 3, 32, 32), value, dtype=torch.uint8)
    return corrupt(images, name, severity, parameters=parameters).flatten().numpy()


def cdf_of_truncated(law, scale):
    """P(output <= k) for k = 0..254, where the output is trunc(clip(scale * law, 0, 255)): below k + 1, that is."""
    return law.cdf(np.arange(1, 256) / scale)


def law_of(name, value, parameter):
    if name == "gaussian_noise":
        return stats.norm(value, 255 * parameter), 1
    if name == "speckle_noise":
        return stats.norm(value, max(value * parameter, 1e-9)), 1
    # A count of k gives k / c * 255; k below (j + 1) c / 255, half open, in the reference's roundings.
    return stats.poisson(value * parameter / 255), 255 / parameter


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gaussian_noise", "speckle_noise", "shot_noise"])
@pytest.mark.parametrize(("parameters", "severity"), CELLS)
def test_noise_follows_its_law(name, parameters, severity):
    parameter = registry.load("corruptions", name).SEVERITY_PARAMETERS[parameters][severity - 1]
    for value in INPUTS:
        out = outputs(name, value, parameters, severity)
        found = np.searchsorted(np.sort(out), np.arange(255), side="right") / len(out)
        law, scale = law_of(name, value, parameter)
        if name == "shot_noise":
            counts = np.arange(2000)
            grey = (np.clip(counts / parameter, 0, 1) * 255).astype(int)
            expected = np.array([law.pmf(counts)[grey <= k].sum() for k in range(255)])
        elif value == 0 and name == "speckle_noise":
            expected = np.ones(255)
        else:
            expected = cdf_of_truncated(law, scale)
        assert np.abs(found - expected).max() < BOUND / math.sqrt(len(out))


@pytest.mark.parametrize(("parameters", "severity"), CELLS)
def test_impulses_hit_their_share_of_values_and_are_salt_as_often_as_pepper(parameters, severity):
    share = registry.load("corruptions", "impulse_noise").SEVERITY_PARAMETERS[parameters][severity - 1]
    out = outputs("impulse_noise", 128, parameters, severity)
    salt, pepper, count = (out == 255).sum(), (out == 0).sum(), len(out)
    assert abs(salt + pepper - share * count) < 4 * math.sqrt(count * share * (1 - share))
    assert abs(salt - pepper) < 4 * math.sqrt(count * share)
    assert salt + pepper + (out == 128).sum() == count


@pytest.mark.slow
@pytest.mark.parametrize("name", parity.FIELDS)
def test_structured_noise_is_distributed_as_the_references(name):
    clean = parity.inputs(32)[0]
    out = corrupt(clean.expand(2000, -1, -1, -1), name, 3, seed=11)
    ours = parity.statistics(out, clean)
    for key in ("mean", "deviation", "lowest", "highest", "saturated", "distance"):
        assert stats.ks_2samp(ours[key].numpy(), reference(f"{name}/{key}")).pvalue > 0.01, key
    ratio = ours["spectrum"].log().mean(dim=0).numpy() - reference(f"{name}/spectrum")
    assert np.abs(ratio).mean() < 0.05


def test_angles_are_uniform_over_their_range():
    for name, low in (("motion_blur", -45), ("snow", -135)):
        module = registry.load("corruptions", name)
        angles = module.sample(torch.arange(5000), (8, 8), seed=0, parameter_set="32")["angles"].numpy()
        assert angles.min() >= low and angles.max() < low + 90
        assert stats.kstest(angles, stats.uniform(low, 90).cdf).pvalue > 0.01


def test_frost_uses_every_texture_and_every_place_equally():
    from randhead.corruptions import frost

    marked = tuple(torch.arange(40 * 40).view(1, 40, 40).expand(3, -1, -1) % 251 for _ in range(5))
    frost_images = frost.FrostImages(
        "folder", tuple((m * 0 + 40 * i + m % 8).to(torch.uint8) for i, m in enumerate(marked))
    )
    noise = frost.sample(torch.arange(4000), (32, 32), seed=0, parameter_set="224", frost_images=frost_images)
    which = noise["overlay"][:, 0, 0, 0] // 40
    assert stats.chisquare(torch.bincount(which.int()).numpy()).pvalue > 0.01
    places = noise["overlay"][:, 0, 0, 0] % 40  # the crop's column modulo 8, as rows are multiples of 8 long
    assert stats.chisquare(torch.bincount(places.int()).numpy()).pvalue > 0.01


@pytest.mark.parametrize(("size", "severity"), parity.GLASS)
def test_glass_moves_pixels_as_far_as_the_reference(size, severity):
    _, reach, passes = glass_blur.SEVERITY_PARAMETERS[str(size)][severity - 1]
    noise = glass_blur.sample(torch.arange(200), (size, size), seed=0, parameter_set=str(size))["offsets"]
    source = glass_blur.sources(noise[:, 0], reach)
    for i in range(1, passes):
        source = source.gather(1, glass_blur.sources(noise[:, i], reach))
    ours, theirs = parity.displacements(source, size).double(), torch.from_numpy(reference(f"glass/{size}/{severity}"))
    assert (ours / ours.sum() - theirs / theirs.sum()).abs().sum() / 2 < 0.02


def test_a_swap_instead_of_the_copy_would_be_noticed(size=32, severity=5):
    _, reach, passes = glass_blur.SEVERITY_PARAMETERS[str(size)][severity - 1]
    generator = np.random.default_rng(0)
    place = np.tile(np.arange(size * size), (60, 1))
    for _ in range(passes):
        for h in range(size - reach, reach, -1):
            for w in range(size - reach, reach, -1):
                offset = generator.integers(-reach, reach, (2, 60))
                here, there = h * size + w, (h + offset[0]) * size + w + offset[1]
                rows = np.arange(60)
                place[rows, there], place[rows, here] = place[rows, here], place[rows, there]
    swapped = parity.displacements(torch.from_numpy(place), size).double()
    theirs = torch.from_numpy(reference(f"glass/{size}/{severity}"))
    assert (swapped / swapped.sum() - theirs / theirs.sum()).abs().sum() / 2 > 0.02


@pytest.mark.parametrize(
    "name", ["gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise", "snow", "spatter", "fog"]
)
def test_neighbouring_samples_and_channels_are_independent(name):
    module = registry.load("corruptions", name)
    noise = next(iter(module.sample(torch.arange(101), (32, 32), seed=0, parameter_set="32").values())).double()
    first, second = noise[:-1].flatten(), noise[1:].flatten()
    pairs = [(first, second)]
    if noise.ndim == 4:
        pairs += [(noise[:, 0].flatten(), noise[:, 1].flatten()), (noise[..., :-1].flatten(), noise[..., 1:].flatten())]
    for a, b in pairs:
        assert abs(torch.corrcoef(torch.stack((a, b)))[0, 1]) < 4 / math.sqrt(len(a))


def test_the_noise_of_different_corruptions_is_unrelated():
    drawn = [
        registry.load("corruptions", name).sample(torch.arange(100), (32, 32), seed=0, parameter_set="32")["normals"]
        for name in ("gaussian_noise", "speckle_noise")
    ]
    assert abs(torch.corrcoef(torch.stack([f.flatten() for f in drawn]))[0, 1]) < 4 / math.sqrt(drawn[0].numel())
