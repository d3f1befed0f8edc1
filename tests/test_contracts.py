"""Every member of every family keeps the contract of its family, and breaking it is an error that says how."""

import types

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from randhead import registry, rng, vectors
from randhead.analyses import Findings
from randhead.corruptions import PARAMETER_SETS
from randhead.datasets import Dataset, Split, TensorImages
from randhead.errors import UsageError
from randhead.testing import (
    check_analysis,
    check_backbone,
    check_corruption,
    check_dataset,
    check_geometry,
    check_loss,
)

# Corruptions that take an eighth of a second or more; of each group, one at least is not among them.
EXPENSIVE = {
    *("gaussian_noise", "shot_noise", "glass_blur", "motion_blur", "zoom_blur", "gaussian_blur"),
    *("snow", "frost", "fog", "elastic_transform", "spatter", "saturate", "jpeg_compression"),
}
LIBRARIES = ("torchvision", "timm")
DOWNLOADED = [
    name for name in registry.names("datasets") if {"SOURCE", "SOURCES"} & set(vars(registry.load("datasets", name)))
]


@pytest.mark.parametrize(
    "name",  # the search for lines takes longest, and packed is searched for in the same way
    [pytest.param(n, marks=pytest.mark.slow) if n == "equiangular" else n for n in registry.names("vectors")],
)
def test_geometries(name, tmp_path):
    if name != "file":
        check_geometry(name)
        return

    def spelling(name, k, d):
        save_file({"vectors": vectors.draw("gaussian", list(range(k)), dim=d)}, tmp_path / f"{k}x{d}.safetensors")
        return f"{name}:{tmp_path / f'{k}x{d}.safetensors'}"

    check_geometry(name, spelling=spelling, seeded=False)


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n in EXPENSIVE else n for n in registry.names("corruptions")]
)
def test_corruptions(name):
    check_corruption(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", registry.names("corruptions"))
def test_corruptions_of_large_images(name):
    check_corruption(name, large=True)


@pytest.mark.parametrize("name", registry.names("analyses"))
def test_analyses(name):
    check_analysis(name)


@pytest.mark.parametrize("name", registry.names("losses"))
def test_losses(name):
    if name == "expected":  # an approximation, whose error falls with the number of classes
        check_loss(name, num_classes=20_000, tolerance=0.1)
    else:
        check_loss(name)


@pytest.mark.parametrize(
    ("name", "size"),
    [
        pytest.param(name, size, marks=() if (name, size) == ("small_resnet", 8) else pytest.mark.slow)
        for name in registry.names("backbones")
        for size in (8, 15, 32)
        if name not in LIBRARIES
    ],
)
def test_backbones(name, size):
    check_backbone(name, image_size=size)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["torchvision:resnet18", "torchvision:mobilenet_v3_small", "timm:resnet18"])
def test_backbones_of_libraries(name):
    check_backbone(name)


@pytest.mark.parametrize("name", sorted(set(registry.names("datasets")) - set(DOWNLOADED) - {"image_folder"}))
def test_datasets_that_need_no_network(name):
    check_dataset(name)


@pytest.mark.parametrize("options", [{}, {"memory_budget": 0, "workers": 2}], ids=["resident", "streamed"])
def test_folders_of_images(options, image_folder):
    check_dataset(image_folder, options=options)


# A member that breaks its contract: the error says how


def module(name, **content):
    made = types.ModuleType(name, doc="A member that is made up.")
    vars(made).update(content)
    return made


def axes(ids, dim, *, seed, num_classes):
    """Signed axes, by seed."""
    return torch.eye(dim)[(ids + seed) % dim] * (1 - 2 * (seed % 2))


GEOMETRY = {"BY_ROW": False, "rows": axes, "limit": lambda dim: dim}
BROKEN_GEOMETRIES = {
    "unit norm": {"rows": lambda *a, **o: 2 * axes(*a, **o)},
    "float32": {"rows": lambda *a, **o: axes(*a, **o).double()},
    "another seed must change": {"rows": lambda ids, dim, *, seed, num_classes: torch.eye(dim)[ids]},
    "share a vector": {"rows": lambda ids, dim, **o: torch.eye(dim)[ids * 0 + o["seed"] % dim]},
    "the same bits as among all": {
        "rows": lambda ids, dim, **o: axes(ids - ids.min(), dim, **o) if len(ids) else axes(ids, dim, **o)
    },
    "global generator": {"rows": lambda ids, dim, **o: axes(ids, dim, **o) * torch.rand(1).sign()},
    "limit(64)": {"limit": lambda dim: 0.5},
    "BY_ROW must be": {"BY_ROW": "no"},
}


def test_a_geometry_of_ones_own_passes():
    check_geometry(module("axes", **GEOMETRY))
    assert "axes" not in registry.names("vectors")


@pytest.mark.parametrize("words", BROKEN_GEOMETRIES)
def test_a_broken_geometry_is_an_error_that_says_how(words):
    with pytest.raises(AssertionError) as caught:
        check_geometry(module("axes", **(GEOMETRY | BROKEN_GEOMETRIES[words])))
    assert words in str(caught.value)


def darker(images, noise, parameters):
    return (images.float() * parameters).to(torch.uint8)


CORRUPTION = {
    "SEVERITY_PARAMETERS": dict.fromkeys(PARAMETER_SETS, (0.9, 0.8, 0.7, 0.6, 0.5)),
    "sample": lambda ids, size, *, seed, parameter_set: {"x": rng.uniforms(seed, "test/x", ids, 3)},
    "apply": darker,
}
BROKEN_CORRUPTIONS = {
    "one per severity": {"SEVERITY_PARAMETERS": dict.fromkeys(PARAMETER_SETS, (1, 2, 3))},
    "SEVERITY_PARAMETERS must have": {"SEVERITY_PARAMETERS": {"32": (1, 2, 3, 4, 5)}},
    "depend": {"apply": lambda images, noise, p: darker(images, noise, p) + len(images) % 2},
    "writes to its input": {"apply": lambda images, noise, p: images.mul_(0)},
    "changes nothing": {"apply": lambda images, noise, p: images},
    "a row per image": {"sample": lambda ids, size, *, seed, parameter_set: {"x": torch.zeros(1)}},
    "the other images": {"sample": lambda ids, size, *, seed, parameter_set: {"x": ids - ids.min()}},
    "global generator": {"sample": lambda ids, size, *, seed, parameter_set: {"x": torch.rand(len(ids))}},
}


def test_a_corruption_of_ones_own_passes():
    check_corruption(module("darker", **CORRUPTION))
    assert "darker" not in registry.names("corruptions")


@pytest.mark.parametrize("words", BROKEN_CORRUPTIONS)
def test_a_broken_corruption_is_an_error_that_says_how(words):
    with pytest.raises(AssertionError) as caught:
        check_corruption(module("darker", **(CORRUPTION | BROKEN_CORRUPTIONS[words])))
    assert words in str(caught.value)


def norms(features, labels, *, num_classes):
    if not features.isfinite().all():
        raise UsageError("not finite")
    return Findings({"norm": float(features.double().norm())})


ANALYSIS = {"INPUT": "run", "measure": norms}
BROKEN_ANALYSES = {
    "INPUT must be one of": {"INPUT": "walk"},
    "Findings": {"measure": lambda features: {"norm": 1.0}},
    "not NaN": {"measure": lambda features: Findings({"norm": float("nan")})},
    "never a path": {"measure": lambda features, path=None: Findings({})},
    "which its input does not have": {"measure": lambda features, colour: Findings({})},
    "use float64": {"measure": lambda features: Findings({"square": float(features.square().mean())})},
    "must raise DataError": {"measure": lambda features: Findings({"n": len(features)})},
    "global generator": {"measure": lambda features: Findings({"x": float(torch.rand(1))})},
    "the second time": {"measure": lambda features, calls=[]: calls.append(0) or Findings({"n": len(calls)})},
}


def test_an_analysis_of_ones_own_passes():
    check_analysis(module("norms", **ANALYSIS))
    assert "norms" not in registry.names("analyses")


@pytest.mark.parametrize("words", BROKEN_ANALYSES)
def test_a_broken_analysis_is_an_error_that_says_how(words):
    with pytest.raises(AssertionError) as caught:
        check_analysis(module("norms", **(ANALYSIS | BROKEN_ANALYSES[words])))
    assert words in str(caught.value)


def grey(options, *, labels=2, dtype=torch.uint8, splits=("train", "val", "test"), seed=0):
    size = options.image_size or 8
    pixels = rng.uniforms(seed, "test/grey", torch.arange(12), 3 * size * size).view(12, 3, size, size)
    made = {
        name: Split(TensorImages((pixels * 255).to(dtype), torch.arange(12)), torch.arange(12) % labels)
        for name in splits
    }
    return Dataset("grey", ("a", "b"), made, size)


BROKEN_DATASETS = {
    "every class needs an image": {"load": lambda options: grey(options, labels=1)},
    "splits must be": {"load": lambda options: grey(options, splits=("train", "test", "val"))},
    "must be uint8": {"load": lambda options: grey(options, dtype=torch.float32)},
    "has other images": {"load": lambda options, calls=[]: calls.append(0) or grey(options, seed=len(calls))},
    "Dataset": {"load": lambda options: None},
}


def test_a_dataset_of_ones_own_passes():
    check_dataset(module("grey", load=grey))
    assert "grey" not in registry.names("datasets")


@pytest.mark.parametrize("words", BROKEN_DATASETS)
def test_a_broken_dataset_is_an_error_that_says_how(words):
    with pytest.raises(AssertionError) as caught:
        check_dataset(module("grey", **BROKEN_DATASETS[words]))
    assert words in str(caught.value)


class Unused(nn.Module):
    """A network with a parameter that no feature depends on."""

    def __init__(self):
        super().__init__()
        self.used, self.unused = nn.Linear(3, 5), nn.Linear(3, 5)

    def forward(self, images):
        return self.used(images.mean(dim=(2, 3)))


def test_a_broken_backbone_is_an_error_that_says_how():
    check_backbone(module("linear", build=lambda **_: nn.Sequential(nn.Flatten(), nn.Linear(192, 5))), image_size=8)
    with pytest.raises(AssertionError, match=r"without a gradient: unused\.weight, unused\.bias"):
        check_backbone(module("linear", build=lambda **_: Unused()), image_size=8)


def test_a_broken_loss_is_an_error_that_says_how():
    dense = registry.load("losses", "dense")
    check_loss(module("mine", scores=dense.scores))
    with pytest.raises(AssertionError, match="in float64"):
        check_loss(module("mine", scores=lambda queries, *rest: dense.scores(1.01 * queries, *rest)))
