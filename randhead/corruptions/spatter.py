"""Spatter: drops of water (severities 1 to 3) or mud (4 and 5) on the lens.

An extra corruption of Hendrycks and Dietterich, ICLR 2019.

Drops are the peaks of blurred noise.  Water is lit from one side: the distance to the nearest outline of a drop,
equalised and embossed, gives its brightness.
"""

import torch
from torch import Tensor

from randhead import rng
from randhead.corruptions._borders import padded
from randhead.corruptions._bytes import clipped, divided, shaped, truncated
from randhead.corruptions._canny import outlines
from randhead.corruptions._chamfer import LIMIT, UNIT, distances, units
from randhead.corruptions._gaussian import along_height, along_width, gaussian, kernel

GROUP, ORDER = "extra", 18
WATER, MUD = (175, 238, 238), (63, 42, 20)  # RGB
Parameters = tuple[float, float, float, float, float, tuple[int, int, int]]
# Mean and deviation of the noise, its blur, the threshold of a drop; the strength of water, the soft edge of mud.
SEVERITY_PARAMETERS: dict[str, tuple[Parameters, ...]] = {
    "32": (
        (0.62, 0.1, 0.7, 0.7, 0.5, WATER),
        (0.65, 0.1, 0.8, 0.7, 0.5, WATER),
        (0.65, 0.3, 1, 0.69, 0.5, WATER),
        (0.65, 0.1, 0.7, 0.69, 0.6, MUD),
        (0.65, 0.1, 0.5, 0.68, 0.6, MUD),
    ),
    "64": (
        (0.62, 0.1, 0.7, 0.7, 0.6, WATER),
        (0.65, 0.1, 0.8, 0.7, 0.6, WATER),
        (0.65, 0.3, 1, 0.69, 0.6, WATER),
        (0.65, 0.1, 0.7, 0.68, 0.6, MUD),
        (0.65, 0.1, 0.5, 0.67, 0.6, MUD),
    ),
    "224": (
        (0.65, 0.3, 4, 0.69, 0.6, WATER),
        (0.65, 0.3, 3, 0.68, 0.6, WATER),
        (0.65, 0.3, 2, 0.68, 0.5, WATER),
        (0.65, 0.3, 1, 0.65, 1.5, MUD),
        (0.67, 0.4, 1, 0.65, 1.5, MUD),
    ),
}
SOLID = 0.8  # mud thinner than this is left out


def sample(ids: Tensor, size: tuple[int, int], *, seed: int, parameter_set: str) -> dict[str, Tensor]:
    """Normals (B, H, W) float32."""
    normals = rng.long_normals(seed, "corruptions/spatter", ids, size[0] * size[1])
    return {"normals": shaped(normals, size, channels=None)}


def apply(images: Tensor, noise: dict[str, Tensor], parameters: Parameters) -> Tensor:
    """Images (B, 3, H, W) uint8 -> the same, behind drops of `parameters`."""
    mean, deviation, sigma, threshold, amount, colour = parameters
    liquid = gaussian(noise["normals"].to(torch.float64)[:, None].mul_(deviation).add_(mean), sigma)
    tint = torch.tensor(colour, dtype=torch.float32, device=images.device)[:, None, None]
    if colour is WATER:
        return clipped((_water(liquid, threshold) * amount * tint).add_(images))
    mask = _mud(liquid, threshold, amount)
    return clipped((1 - mask).mul(images).add_(mask * tint))


def _mud(liquid: Tensor, threshold: float, sigma: float) -> Tensor:
    """The coverage by mud: float32 in 0..1."""
    mask, weights = (liquid > threshold).to(torch.float64), kernel(sigma)
    mask = along_height(mask, weights).to(torch.float32).to(torch.float64)  # the reference keeps float32 between passes
    mask = along_width(mask, weights).to(torch.float32)
    return mask.masked_fill_(mask < SOLID, 0)


def _water(liquid: Tensor, threshold: float) -> Tensor:
    """The brightness of the drops: float32 in 0..1, with 1 for the brightest pixel of each image; 0 without drops."""
    depth = truncated(liquid.masked_fill_(liquid < threshold, 0).mul_(255))
    relief = units(_box_sum(distances(outlines(depth, low=50, high=150)).to(torch.int32))).to(torch.float64)
    relief = truncated(divided(relief, 9 * UNIT).to(torch.float32))
    light = _embossed(_equalised(relief))
    light = divided(_box_sum(light).to(torch.float32), 9).round_()
    light.mul_(depth)
    return light.div_(light.amax(dim=(1, 2, 3), keepdim=True).clamp_min_(1))


def _box_sum(values: Tensor) -> Tensor:
    """Sums over 3 x 3, mirrored without repeating the border."""
    wide = padded(values, 1)
    tall = wide[:, :, :-2] + wide[:, :, 1:-1] + wide[:, :, 2:]
    return tall[..., :-2] + tall[..., 1:-1] + tall[..., 2:]


def _embossed(values: Tensor) -> Tensor:
    """The correlation of bytes with (-2 -1 0 / -1 1 1 / 0 1 2), clipped to bytes: int16."""
    wide = padded(values, 1).to(torch.int16)
    height, width = values.shape[2:]

    def beside(y: int, x: int) -> Tensor:
        return wide[:, :, 1 + y : 1 + y + height, 1 + x : 1 + x + width]

    total = (beside(1, 1) - beside(-1, -1)).mul_(2).add_(beside(0, 0))
    return total.add_(beside(0, 1) - beside(0, -1)).add_(beside(1, 0) - beside(-1, 0)).clamp_(0, 255)


def _equalised(values: Tensor) -> Tensor:
    """OpenCV's histogram equalisation of each image (B, 1, H, W): bytes up to LIMIT are spread over 0..255."""
    flat = values.flatten(1).to(torch.int64)
    counts = torch.zeros((len(flat), LIMIT + 1), dtype=torch.int64, device=flat.device)
    counts.scatter_add_(1, flat, torch.ones_like(flat))
    total = counts.cumsum(dim=1)
    level = values.flatten(1).amin(dim=1, keepdim=True).to(torch.int64)
    lowest = counts.gather(1, level)  # the pixels of the lowest level become 0
    scale = 255 / (flat.shape[1] - lowest).to(torch.float32)
    table = ((total - lowest).clamp_min_(0) * scale).round_().clamp_max_(255)
    one_level = lowest == flat.shape[1]
    table = torch.where(one_level, torch.arange(LIMIT + 1, dtype=torch.int64, device=flat.device), table)
    return table.to(torch.uint8).gather(1, flat).view(values.shape)
