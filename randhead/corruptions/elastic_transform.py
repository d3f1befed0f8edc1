"""Elastic transform: a random affine map, then a random displacement of every pixel.

Hendrycks and Dietterich, ICLR 2019.

After Simard, Steinkraus and Platt, ICDAR 2003.  Both steps are bilinear.  Beyond the border the image is mirrored,
without repeating the border pixel in the affine map, and with it in the displacement.  The displacement is uniform
noise, smoothed by a wide Gaussian.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from randhead import ambient, rng
from randhead.corruptions._borders import mirrored, mirrored_whole
from randhead.corruptions._bytes import clipped, shaped
from randhead.corruptions._gaussian import kernel

GROUP, ORDER = "digital", 13
# Strength of the displacement, sigma of its Gaussian, and jitter of the affine map, in pixels.  For images of 224 px
# they are multiples of 244 px: a mistake of the reference, which was used for the published images.
SEVERITY_PARAMETERS = {
    "32": tuple((32 * a, 32 * s, 32 * j) for a, s, j in (
        (0, 0, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05), (0.1, 0.03, 0.03))),
    "64": tuple((64 * a, 64 * s, 64 * j) for a, s, j in (
        (0, 0, 0.08), (0.05, 0.3, 0.06), (0.1, 0.08, 0.06), (0.1, 0.03, 0.03), (0.16, 0.03, 0.02))),
    "224": tuple((244 * a, 244 * s, 244 * j) for a, s, j in (
        (2, 0.7, 0.1), (2, 0.08, 0.2), (0.05, 0.01, 0.02), (0.07, 0.01, 0.02), (0.12, 0.01, 0.02))),
}  # fmt: skip
TRUNCATE = 3.0  # the Gaussian ends at this many standard deviations


def sample(ids: Tensor, size: tuple[int, int], *, seed: int, parameter_set: str) -> dict[str, Tensor]:
    """Jitter (B, 3, 2) float64 in -1..1; noise (B, 2, H, W) int32, odd multiples of 2^-16: along x, then along y."""
    jitter = rng.uniforms(seed, "corruptions/elastic_transform", ids, 6).to(torch.float64) * 2 - 1
    halves = rng.long_halves(seed, "corruptions/elastic_transform", ids, 2 * size[0] * size[1], stream=1)
    noise = shaped((2 * halves).sub_(65535), size, channels=2)
    return {"jitter": jitter.view(-1, 3, 2), "noise": noise}


def apply(images: Tensor, noise: dict[str, Tensor], parameters: tuple[float, float, float]) -> Tensor:
    """Images (B, 3, H, W) uint8 -> the same, distorted by `parameters` (strength, sigma, jitter)."""
    strength, sigma, jitter = parameters
    height, width = images.shape[2:]
    y = torch.arange(height, dtype=torch.float64, device=images.device)[:, None]
    x = torch.arange(width, dtype=torch.float64, device=images.device)
    (xx, xy, x0), (yx, yy, y0) = _affine(noise["jitter"] * jitter, height, width)
    values = bilinear(images.to(torch.float32), xx * x + xy * y + x0, yx * x + yy * y + y0, mirrored)
    if strength:
        shift = smoothed(noise["noise"], sigma).mul_(strength)
        values = bilinear(values, x + shift[:, 0], y + shift[:, 1], mirrored_whole)
    return clipped(values)


def _affine(jitter: Tensor, height: int, width: int) -> list[list[Tensor]]:
    """The map from a pixel to its position in the source: it takes three jittered points back to where they were.

    The points are the centre moved by s along (x, y), (x, -y) and (-x, -y), s a third of the shorter side.
    """
    s, cx, cy = min(height, width) // 3, width // 2, height // 2
    fixed = jitter.new_tensor([[cx + s, cy + s], [cx + s, cy - s], [cx - s, cy - s]])
    # In the reference, points and jitter are float32, but the solution is float64.
    moved = (fixed + jitter).to(torch.float32).to(torch.float64)
    (ax, ay), (bx, by) = (moved[:, 0] - moved[:, 1]).T, (moved[:, 1] - moved[:, 2]).T
    scale = 2 * s / (ax * by - ay * bx)
    xx, xy, yx, yy = -ay * scale, ax * scale, by * scale, -bx * scale
    px, py = moved[:, 1].T
    rows = (xx, xy, cx + s - xx * px - xy * py), (yx, yy, cy - s - yx * px - yy * py)
    return [[entry[:, None, None] for entry in row] for row in rows]


def bilinear(values: Tensor, x: Tensor, y: Tensor, fold: Callable[[Tensor, int], Tensor]) -> Tensor:
    """Values (B, C, H, W) float32 at positions x, y (B, H, W) float64; `fold` maps indices into it -> the same."""
    batch, channels, height, width = values.shape
    left, top = x.floor(), y.floor()
    right_share = (x - left).to(torch.float32)[:, None]
    down_share = (y - top).to(torch.float32)[:, None]
    left, top = left.to(torch.int32), top.to(torch.int32)
    columns = fold(left, width), fold(left + 1, width)
    plane = torch.arange(batch * channels, dtype=torch.int32, device=values.device) * (height * width)
    plane = plane.view(batch, channels, 1, 1)
    flat, rows = values.flatten(), []
    for row in (fold(top, height) * width, fold(top + 1, height) * width):
        start, end = (flat.index_select(0, (plane + (row + c)[:, None]).flatten()).view(values.shape) for c in columns)
        rows.append(end.sub_(start).mul_(right_share).add_(start))
    upper, lower = rows
    return lower.sub_(upper).mul_(down_share).add_(upper)


def smoothed(noise: Tensor, sigma: float) -> Tensor:
    """Noise (B, 2, H, W) int32 in units of 2^-16, filtered by a Gaussian with mirrored borders -> float64.

    These are integers times fixed-point weights, with at most 52 bits in any sum: float64 matrix products are exact, so
    their bits do not depend on batch, threads or device.
    """
    down = _matrix(noise.shape[2], sigma, 36, noise.device) @ noise.to(torch.float64)
    rounded = down.mul_(2.0**10).round_().mul_(2.0**-10)
    return (rounded @ _matrix(noise.shape[3], sigma, 26, noise.device).T).mul_(2.0**-16)


@ambient.kept(maxsize=16)
def _matrix(size: int, sigma: float, bits: int, device: torch.device) -> Tensor:
    """The filter along a side of `size` pixels as a matrix, with mirrored borders, rounded to `bits` fraction bits."""
    side = torch.tensor(kernel(sigma, TRUNCATE), dtype=torch.float64, device="cpu")
    weights = torch.cat((side, side[:-1].flip(0)))
    radius = len(side) - 1
    pixels, taps = (torch.arange(*ends, dtype=torch.int64, device="cpu") for ends in ((0, size), (-radius, radius + 1)))
    source = mirrored_whole(pixels[:, None] + taps, size)
    matrix = torch.zeros((size, size), dtype=torch.float64, device="cpu")
    matrix.scatter_add_(1, source, weights.expand(size, -1))
    return (matrix * 2.0**bits).round().mul(2.0**-bits).to(device)
