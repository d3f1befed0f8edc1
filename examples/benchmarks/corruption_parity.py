"""Parity of the corruptions with the reference, cell by cell, with our random numbers put into the reference.

    python corruption_parity.py --reference FOLDER [--write tests/fixtures/corruptions] [--out results]

FOLDER is ImageNet-C/create_c of hendrycks/robustness; its scripts need OpenCV, scikit-image, scipy, Pillow, and for
motion blur and snow Wand with ImageMagick.  Prints one line per corruption and size, over severities and images: the
largest and the mean difference in grey levels, and the share of values that differ.  --write makes the fixtures of
the tests again.
"""

import argparse
import contextlib
import functools
import hashlib
import itertools
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import corruption_peers as peers
import numpy as np
import torch
from PIL import Image
from scipy.stats import poisson
from sklearn.datasets import load_sample_image
from torch import Tensor

from randhead import registry, rng
from randhead.corruptions import frost, impulse_noise, names, shot_noise

SIZES = (32, 64, 224)
SEED = 3  # of the noise
SEVERITIES = (1, 2, 3, 4, 5)
STORED = (1, 3, 5)
FIELDS = ("motion_blur", "snow", "frost", "fog", "elastic_transform", "spatter")
GLASS = ((32, 1), (32, 5), (64, 5))  # size and severity: 1 pixel and 1 pass, 1 and 2, 2 and 2
DRAWS = 400
CROP = 8  # pixels: a corner, the centre and the opposite corner of each image are stored


@functools.cache
def inputs(size: int) -> Tensor:
    """Four crops of two photographs, flat grey, noise, black, white: (8, 3, size, size) uint8, nothing resampled."""
    photos = [torch.from_numpy(load_sample_image(n).copy()).permute(2, 0, 1) for n in ("china.jpg", "flower.jpg")]
    step = {32: 8, 64: 5, 224: 1}[size]
    crops = [p[:, top::step, left::step][:, :size, :size] for p in photos for top, left in ((40, 60), (100, 280))]
    noise = rng.words(0, "parity/noise", torch.arange(1), 3 * size * size).view(3, size, size) >> 24
    flat = [torch.full((3, size, size), grey) for grey in (128, 0, 255)]
    return torch.stack([*crops, flat[0], noise, *flat[1:]]).to(torch.uint8)


def noise(name: str, size: int) -> dict[str, Tensor]:
    """Our random numbers for the inputs."""
    module = registry.load("corruptions", name)
    return module.sample(torch.arange(8), (size, size), seed=SEED, parameter_set=str(size))


def ours(name: str, size: int, severity: int) -> Tensor:
    """Our result for the inputs."""
    module = registry.load("corruptions", name)
    return module.apply(inputs(size), noise(name, size), module.SEVERITY_PARAMETERS[str(size)][severity - 1])


def theirs(script: ModuleType, name: str, size: int, severity: int, row: int, values: dict[str, Tensor]) -> Tensor:
    """The reference's result for one input, with one row of ours in place of its random numbers."""
    picture = Image.fromarray(inputs(size)[row].permute(1, 2, 0).contiguous().numpy())
    own = {key: value[row].numpy() for key, value in values.items()}
    with injected(script, name, size, severity, own, row):
        out = np.uint8(getattr(script, name)(picture, severity))
    return torch.from_numpy(out).permute(2, 0, 1)


@contextlib.contextmanager
def injected(
    script: ModuleType, name: str, size: int, severity: int, own: dict[str, np.ndarray], row: int
) -> Iterator[None]:
    """Numpy's random functions, and scikit-image's and OpenCV's where needed, give ours within this block."""
    replaced = replacements(script, name, size, severity, own, row)
    kept = [(owner, key, getattr(owner, key)) for owner, key, _ in replaced]
    for owner, key, function in replaced:
        setattr(owner, key, function)
    try:
        yield
    finally:
        for owner, key, function in kept:
            setattr(owner, key, function)


def replacements(
    script: ModuleType, name: str, size: int, severity: int, own: dict[str, np.ndarray], row: int
) -> list[tuple[object, str, object]]:
    random = np.random
    parameters = registry.load("corruptions", name).SEVERITY_PARAMETERS[str(size)][severity - 1]
    found = []
    if "normals" in own:
        values = own["normals"].astype(np.float64)
        values = values.transpose(1, 2, 0) if values.ndim == 3 else values
        found.append((random, "normal", lambda size, loc=0.0, scale=1.0: loc + scale * values))
    if "angles" in own:
        found.append((random, "uniform", lambda low, high: float(own["angles"])))
    if name == "shot_noise":
        uniform = shot_noise.uniforms(torch.from_numpy(own["ranks"])).numpy().transpose(1, 2, 0)
        found.append((random, "poisson", lambda mean: poisson.ppf(uniform, mean)))
    if name == "impulse_noise":
        masks = impulse_noise.masks(torch.from_numpy(own["ranks"]).permute(1, 2, 0), parameters)
        found.append((script.sk.util, "random_noise", lambda image, mode, amount: _salted(image, masks)))
    if name == "fog":
        found.append((random, "uniform", _in_turn(own["uniforms"].astype(np.float64))))
    if name == "elastic_transform":
        parts = [own["jitter"], *(own["noise"] / 65536.0)]
        found.append((random, "uniform", lambda low, high, size: parts.pop(0) * high))
    if name == "glass_blur":
        found.append((random, "randint", _glass_offsets(own["offsets"], size, parameters)))
    if name == "frost":
        found += _frost(script, size, row)
    return found


def _salted(image: np.ndarray, masks: tuple[Tensor, Tensor]) -> np.ndarray:
    pepper, salt = (mask.numpy() for mask in masks)
    return np.where(salt, 1.0, np.where(pepper, 0.0, image))


def _in_turn(values: np.ndarray):
    position = 0

    def uniform(low: float, high: float, shape: tuple[int, ...]) -> np.ndarray:
        nonlocal position
        count = int(np.prod(shape))
        position += count
        return values[position - count : position].reshape(shape) * high

    return uniform


def _glass_offsets(offsets: np.ndarray, size: int, parameters: tuple[float, int, int]):
    reach = parameters[1]
    visited = range(size - reach, reach, -1)
    order = ((p, h, w) for p in range(parameters[2]) for h in visited for w in visited)

    def randint(low: int, high: int, size: tuple[int]) -> np.ndarray:
        p, h, w = next(order)
        return (offsets[p, :, h, w].astype(np.int64) * (2 * reach) >> 16) - reach

    return randint


def _frost(script: ModuleType, size: int, row: int) -> list[tuple[object, str, object]]:
    """Our procedural texture in place of the photograph, and our choice of its crop."""
    frost_images = frost.procedural_frost_images().images
    words = rng.words(SEED, "corruptions/frost", torch.arange(8), 3)[row].tolist()
    which = words[0] * len(frost_images) >> 32
    side = round(frost_images[0].shape[1] * frost.SCALES[str(size)])
    answers = [which, *(word * (side - size) >> 32 for word in words[1:])]
    picture = frost_images[which].permute(1, 2, 0).flip(2).contiguous().numpy()
    return [
        (np.random, "randint", lambda *_: answers.pop(0)),
        (script.cv2, "imread", lambda _: picture),
    ]


def crops(images: Tensor) -> Tensor:
    """(N, 3, H, W) -> (N, 3 places, 3, CROP, CROP)."""
    middle = images.shape[2] // 2 - CROP // 2
    places = (slice(0, CROP), slice(middle, middle + CROP), slice(-CROP, None))
    return torch.stack([images[:, :, place, place] for place in places], dim=1)


def cell(script: ModuleType, name: str, size: int, severity: int) -> Tensor:
    """The reference's results for all inputs."""
    values = noise(name, size)
    return torch.stack([theirs(script, name, size, severity, row, values) for row in range(8)])


def statistics(images: Tensor, clean: Tensor) -> dict[str, Tensor]:
    """How structured noise is compared: numbers per image of (N, 3, H, W) uint8, and its power spectrum."""
    values = images.double().flatten(1)
    return {
        "mean": values.mean(dim=1),
        "deviation": values.std(dim=1),
        "lowest": values.amin(dim=1),
        "highest": values.amax(dim=1),
        "saturated": ((values == 0) | (values == 255)).double().mean(dim=1),
        "distance": (values - clean.double().flatten()).abs().mean(dim=1),
        "spectrum": spectrum(images),
    }


def spectrum(images: Tensor) -> Tensor:
    """The mean power of the grey images in 12 rings of spatial frequency, log-spaced: (N, 12)."""
    grey = images.double().mean(dim=1)
    power = torch.fft.fft2(grey - grey.mean(dim=(1, 2), keepdim=True)).abs().square()
    fy, fx = (torch.fft.fftfreq(side, dtype=torch.float64) for side in grey.shape[1:])
    radius = (fy[:, None] ** 2 + fx**2).sqrt()
    borders = torch.logspace(np.log10(0.03), np.log10(0.5), 13, dtype=torch.float64)
    rings = [(radius >= low) & (radius < high) for low, high in itertools.pairwise(borders)]
    return torch.stack([power[:, ring].mean(dim=1) for ring in rings if ring.any()], dim=1)


def displacements(source: Tensor, size: int, reach: int = 16) -> Tensor:
    """How often a pixel took its value from (dy, dx) away: source (N, H W) places -> (2 reach + 1)^2 counts."""
    place = torch.arange(size * size)
    dy = source // size - place // size
    dx = source % size - place % size
    index = (dy.clamp(-reach, reach) + reach) * (2 * reach + 1) + dx.clamp(-reach, reach) + reach
    return torch.bincount(index.flatten(), minlength=(2 * reach + 1) ** 2)


def distributions(folder: Path) -> dict[str, np.ndarray]:
    """Statistics of the reference with its own random numbers: 32 px, severity 3, one photograph many times."""
    script, clean = peers.reference(folder, 32), inputs(32)[0]
    picture = Image.fromarray(clean.permute(1, 2, 0).contiguous().numpy())
    frost_images = [t.permute(1, 2, 0).flip(2).contiguous().numpy() for t in frost.procedural_frost_images().images]
    order = [f"'{folder}/frost{i}.{'png' if i < 4 else 'jpg'}'".strip("'") for i in range(1, 7)]
    script.cv2.imread = lambda name: frost_images[order.index(name)]
    np.random.seed(0)
    stored = {}
    for name in FIELDS:
        out = np.stack([np.uint8(getattr(script, name)(picture, 3)) for _ in range(DRAWS)])
        for key, value in statistics(torch.from_numpy(out).permute(0, 3, 1, 2), clean).items():
            stored[f"{name}/{key}"] = (value.log().mean(dim=0) if key == "spectrum" else value).float().numpy()
    for size, severity in GLASS:
        stored[f"glass/{size}/{severity}"] = glass_displacements(peers.reference(folder, size), size, severity).numpy()
    return stored


def glass_displacements(script: ModuleType, size: int, severity: int) -> Tensor:
    """Displacements of the reference's glass blur, from images whose pixels tell their place, without its blur."""
    script.gaussian = lambda image, **_: image + 1e-9
    y, x = np.mgrid[:size, :size]
    picture = Image.fromarray(np.stack((y, x, y), axis=2).astype(np.uint8))
    moved = [np.uint8(script.glass_blur(picture, severity)).astype(np.int64) for _ in range(DRAWS // 2)]
    source = np.stack([out[..., 0] * size + out[..., 1] for out in moved]).reshape(len(moved), -1)
    return displacements(torch.from_numpy(source), size)


def compare(options: argparse.Namespace) -> list[str]:
    lines = ["| corruption | px | max | mean | share that differs |", "|---|---|---|---|---|"]
    scripts = {size: peers.reference(options.reference, size) for size in SIZES}
    for name in names():
        stored: dict[str, np.ndarray] = {}
        for size in SIZES:
            differences = []
            for severity in SEVERITIES:
                expected = cell(scripts[size], name, size, severity)
                differences.append((ours(name, size, severity).int() - expected.int()).abs())
                if severity in STORED:
                    stored[f"{size}/{severity}/crops"] = crops(expected).numpy()
                    digest = hashlib.sha256(expected.contiguous().numpy().tobytes()).digest()
                    stored[f"{size}/{severity}/sha256"] = np.frombuffer(digest, dtype=np.uint8)
            gap = torch.stack(differences).double()
            lines.append(f"| {name} | {size} | {gap.max():.0f} | {gap.mean():.1e} | {(gap > 0).double().mean():.1e} |")
            print(lines[-1], flush=True)
        if options.write:
            np.savez_compressed(options.write / f"{name}.npz", **stored)
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reference", type=Path, required=True)
    parser.add_argument("--write", type=Path, default=None)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    for folder in filter(None, (options.out, options.write)):
        folder.mkdir(parents=True, exist_ok=True)
    if options.write:
        np.savez_compressed(options.write / "distributions.npz", **distributions(options.reference))
    (options.out / "corruptions_parity.md").write_text("\n".join(compare(options)) + "\n")


if __name__ == "__main__":
    main()
