"""Our results against the reference's, with the same random numbers in both.

The fixtures hold the reference's results: pieces of every image, and a checksum of all bytes.  How they were made,
and how to make them again, is in examples/benchmarks/corruption_parity.py.
"""

import hashlib
import io
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "examples" / "benchmarks"))
import corruption_parity as parity  # noqa: E402

from randhead import registry  # noqa: E402
from randhead.corruptions import _blur, _hue, jpeg_compression, names  # noqa: E402
from randhead.corruptions._gaussian import exactly  # noqa: E402
from randhead.corruptions._jpeg import there_and_back  # noqa: E402

FIXTURES = Path(__file__).parent / "fixtures" / "corruptions"
EXACT = (
    *("pixelate", "jpeg_compression", "gaussian_blur", "contrast", "glass_blur", "impulse_noise", "shot_noise"),
    "saturate",
)
LIMITS = {  # largest difference in grey levels, mean difference, share of values that differ
    **dict.fromkeys(EXACT, (0, 0, 0)),
    **dict.fromkeys(
        ("zoom_blur", "defocus_blur", "spatter", "fog", "gaussian_noise", "speckle_noise"), (1, 1e-3, 1e-3)
    ),
    **dict.fromkeys(("motion_blur", "snow"), (1, 1e-3, 1e-3)),
    "brightness": (1, 0.02, 0.02),
    "frost": (1, 0.05, 0.05),
    "elastic_transform": (1, 0.01, 0.01),
}
PUBLISHED = [name for name in names() if (FIXTURES / f"{name}.npz").exists()]


def test_every_published_corruption_has_its_reference():
    assert set(names()[:19]) == set(PUBLISHED) == set(LIMITS)


def stored(name):
    with np.load(FIXTURES / f"{name}.npz") as file:
        return {key: torch.from_numpy(file[key]) for key in file.files}


@pytest.mark.parametrize("size", [32, 64, pytest.param(224, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", PUBLISHED)
def test_results_are_the_references(name, size):
    reference = stored(name)
    most, mean, share = LIMITS[name]
    for severity in parity.STORED:
        out = parity.ours(name, size, severity)
        gap = (parity.crops(out).int() - reference[f"{size}/{severity}/crops"].int()).abs().double()
        assert gap.max() <= most
        assert gap.mean() <= mean
        assert (gap > 0).double().mean() <= share
        if most == 0:
            digest = hashlib.sha256(out.contiguous().numpy().tobytes()).digest()
            assert digest == bytes(reference[f"{size}/{severity}/sha256"].tolist())


@pytest.mark.parametrize("name", ["brightness", "zoom_blur", "defocus_blur", "gaussian_blur", "fog"])
def test_another_severity_would_be_noticed(name):
    reference = stored(name)["32/3/crops"].int()
    gap = (parity.crops(parity.ours(name, 32, 4)).int() - reference).abs().double()
    assert gap.mean() > 0.5


@pytest.mark.parametrize("name", ["glass_blur", "motion_blur", "snow", "elastic_transform"])
def test_other_noise_would_be_noticed(name):
    reference = stored(name)["32/3/crops"].int()
    module = registry.load("corruptions", name)
    other = module.sample(torch.arange(8) + 8, (32, 32), seed=parity.SEED, parameter_set="32")
    out = module.apply(parity.inputs(32), other, module.SEVERITY_PARAMETERS["32"][2])
    gap = (parity.crops(out).int() - reference).abs().double()
    assert gap.mean() > 0.5


def by_pillow(image, quality):
    """An image (3, H, W), encoded and decoded by Pillow."""
    file = io.BytesIO()
    Image.fromarray(image.permute(1, 2, 0).contiguous().numpy()).save(file, "JPEG", quality=quality)
    with Image.open(file) as decoded:
        return torch.from_numpy(np.array(decoded)).permute(2, 0, 1)


@pytest.mark.parametrize("quality", [95, 80, 50, 25, 7])
@pytest.mark.parametrize(("height", "width"), [(8, 8), (28, 28), (33, 17), (45, 77), (9, 64), (64, 64)])
def test_jpeg_on_a_cpu_and_in_tensor_operations_is_pillows(quality, height, width, monkeypatch):
    images = parity.inputs(224)[:, :, 30 : 30 + height, 50 : 50 + width]
    pillows = torch.stack([by_pillow(image, quality) for image in images])
    assert torch.equal(there_and_back(images, quality), pillows)
    assert torch.equal(jpeg_compression.by_libraries(images, quality), pillows)
    monkeypatch.setattr(jpeg_compression, "simplejpeg", None)
    assert torch.equal(jpeg_compression.by_libraries(images, quality), pillows)


FLAT_AND_STEEP = {
    "one grey level": torch.full((1, 3, 40, 33), 200, dtype=torch.uint8),
    "two halves": torch.arange(33).ge(15).mul(255).to(torch.uint8).expand(1, 3, 40, 33),
    "a slope": (torch.arange(40)[:, None] * 3 + torch.arange(33) * 2).to(torch.uint8).expand(1, 3, 40, 33),
    "noise": torch.randint(0, 256, (9, 3, 40, 33), generator=torch.Generator().manual_seed(0)).to(torch.uint8),
    "spots": torch.randint(0, 40, (9, 3, 90, 33), generator=torch.Generator().manual_seed(0)).eq(0).to(torch.uint8)
    * 90,
}


@pytest.mark.parametrize("kind", FLAT_AND_STEEP)
@pytest.mark.parametrize("sigma", [0.4, 0.7, 1, 3, 6])
def test_blur_that_is_decided_in_float32_is_the_one_in_float64(kind, sigma):
    images = FLAT_AND_STEEP[kind]
    assert torch.equal(_blur.blurred(images, sigma), exactly(images, sigma))


def test_blur_computes_few_values_of_photographs_in_float64(monkeypatch):
    counted = []
    exactly_at = _blur._exactly_at
    monkeypatch.setattr(
        _blur, "_exactly_at", lambda values, at, *rest: counted.append(len(at)) or exactly_at(values, at, *rest)
    )
    monkeypatch.setattr(_blur, "exactly", lambda images, sigma: pytest.fail("all values are computed in float64"))
    images = parity.inputs(224)[:4]
    for image in images:
        _blur.blurred(image[None], 3)
    assert len(counted) == 4 and sum(counted) < images.numel() / 500


@pytest.mark.parametrize("change", [(0.3, 0), (0.1, 0), (1.5, 0), (2, 0), (2, 0.1), (2.5, 0.2), (30, 0.2)])
def test_saturation_on_a_cpu_is_the_one_of_tensor_operations(change):
    random = torch.randint(0, 256, (3, 3, 120, 120), generator=torch.Generator().manual_seed(1)).to(torch.uint8)
    for images in (random, random % 3, random // 128 * 255, random[:, :1].expand(-1, 3, -1, -1), parity.inputs(64)):
        assert torch.equal(_hue.with_saturation(images, *change), _hue.by_tensors(images, *change))
