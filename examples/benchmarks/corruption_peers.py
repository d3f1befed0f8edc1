"""The other implementations of the corruptions that the benchmarks run beside ours, as far as this machine has them.

Nothing is downloaded.  `imagecorruptions` and `torch_uncertainty` are used where installed (the first with shims for
today's numpy and scikit-image); the scripts of hendrycks/robustness and the head of bethgelab/imagecorruptions are read
from folders that the user names, with their calls of removed interfaces renamed.
"""

import functools
import importlib
import importlib.util
import sys
import types
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

SCRIPTS = {32: "make_cifar_c.py", 64: "make_tinyimagenet_c.py", 224: "make_imagenet_c.py"}
RENAMED = {
    "np.float_": "np.float64",
    "np.fromstring": "np.frombuffer",
    "multichannel=True": "channel_axis=-1",
    "scipy.ndimage.interpolation": "scipy.ndimage",
}
CLASSES = {  # of torch-uncertainty; it has no spatter
    "gaussian_noise": "GaussianNoise",
    "shot_noise": "ShotNoise",
    "impulse_noise": "ImpulseNoise",
    "defocus_blur": "DefocusBlur",
    "glass_blur": "GlassBlur",
    "motion_blur": "MotionBlur",
    "zoom_blur": "ZoomBlur",
    "snow": "Snow",
    "frost": "Frost",
    "fog": "Fog",
    "brightness": "Brightness",
    "contrast": "Contrast",
    "elastic_transform": "Elastic",
    "pixelate": "Pixelate",
    "jpeg_compression": "JPEGCompression",
    "speckle_noise": "SpeckleNoise",
    "gaussian_blur": "GaussianBlur",
    "saturate": "Saturation",
}
Peer = Callable[[Tensor, str, int], Tensor]  # uint8 (B, 3, H, W), name, severity -> uint8


def reference(folder: Path, size: int) -> types.ModuleType:
    """The functions of the reference's script for a size, from a copy of its folder `ImageNet-C/create_c`."""
    source = (folder / SCRIPTS[size]).read_text()
    start, end = source.index("# /////////////// Distortion Helpers"), source.index("# /////////////// End Distortions")
    source = source[start:end].replace("'./frost", f"'{folder}/frost")
    _stand_in_for_wand()
    return _run(source, f"reference_{size}", np=np, Image=Image)


def _stand_in_for_wand() -> None:
    """Without ImageMagick's library, modules that let the reference be imported; its motion_blur and snow then fail."""
    try:
        importlib.import_module("wand.api")
    except ImportError:
        image, api, package = (types.ModuleType(name) for name in ("wand.image", "wand.api", "wand"))
        image.Image, api.library = _NoImage, types.SimpleNamespace(MagickMotionBlurImage=types.SimpleNamespace())
        color = types.ModuleType("wand.color")
        package.image, package.api, package.color = image, api, color
        sys.modules |= {"wand": package, "wand.image": image, "wand.api": api, "wand.color": color}


class _NoImage:
    """In place of Wand's image, where the library of ImageMagick is missing."""

    def __init__(self, **_given: object):
        raise RuntimeError("the library of ImageMagick is not installed")


def imagecorruptions_head(folder: Path) -> types.ModuleType:
    """The module of imagecorruptions, from a copy of its repository; it needs numba."""
    return _run((folder / "imagecorruptions" / "corruptions.py").read_text(), "imagecorruptions.corruptions")


def imagecorruptions_release() -> types.ModuleType | None:
    """The installed release of imagecorruptions, or None."""
    found = importlib.util.find_spec("imagecorruptions")
    if found is None:
        return None
    return _run((Path(found.origin).parent / "corruptions.py").read_text(), "imagecorruptions.corruptions")


@functools.cache
def torch_uncertainty() -> types.ModuleType | None:
    """The module of torch-uncertainty's corruptions, or None; the rest of that package is not imported."""
    found = importlib.util.find_spec("torch_uncertainty")
    if found is None or importlib.util.find_spec("kornia") is None:
        return None
    root = Path(found.origin).parent
    for name, path in (("torch_uncertainty", root), ("torch_uncertainty.transforms", root / "transforms")):
        package = types.ModuleType(name)
        package.__path__ = [str(path)]
        sys.modules[name] = package
    datasets = types.ModuleType("torch_uncertainty.datasets")
    datasets.FrostImages = _FrostImages
    sys.modules["torch_uncertainty.datasets"] = datasets
    return importlib.import_module("torch_uncertainty.transforms.corruption")


class _FrostImages:
    """In place of torch-uncertainty's package of frost pictures: one of the same size, already decoded."""

    def __init__(self, *_args: object, transform: Callable | None = None, **_options: object):
        self.picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (600, 900, 3), dtype=np.uint8))
        self.transform = transform

    def __getitem__(self, index: int) -> object:
        return self.transform(self.picture) if self.transform else self.picture


def one_by_one(module: types.ModuleType) -> Peer:
    """A peer that takes one PIL image at a time."""

    def run(images: Tensor, name: str, severity: int) -> Tensor:
        function = getattr(module, name)
        pictures = images.permute(0, 2, 3, 1).contiguous().numpy()
        out = [np.uint8(function(Image.fromarray(picture), severity)) for picture in pictures]
        return torch.from_numpy(np.stack(out)).permute(0, 3, 1, 2)

    return run


def by_batch(module: types.ModuleType) -> Peer:
    """torch-uncertainty: the whole batch where its class takes one, else image by image."""
    made: dict[tuple[str, int], torch.nn.Module] = {}

    def run(images: Tensor, name: str, severity: int) -> Tensor:
        transform = made.get((name, severity))
        if transform is None:
            transform = made[name, severity] = getattr(module, CLASSES[name])(severity)
        values = images.to(torch.float32) / 255
        batched = getattr(transform, "batchable", False)
        out = transform(values) if batched else torch.stack([transform(value) for value in values])
        return (out * 255).to(torch.uint8)

    return run


def _run(source: str, name: str, **given: object) -> types.ModuleType:
    for old, new in RENAMED.items():
        source = source.replace(old, new)
    module = types.ModuleType(name)
    vars(module).update(given)
    found = importlib.util.find_spec("imagecorruptions")
    if found is not None:
        module.resource_filename = lambda _, path: str(Path(found.origin).parent / path)
        source = source.replace("from pkg_resources import resource_filename", "")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(compile(source, name, "exec"), vars(module))
    return module
