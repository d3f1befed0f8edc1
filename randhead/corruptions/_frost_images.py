"""Procedural pictures of frost: needles of ice in all directions over a fractal cloud, in the colours of frost.

Needles are sparse bright points with a one-sided trail as in motion blur; if several cross, the brightest is visible.
"""

import torch
from torch import Tensor

from randhead import rng
from randhead.corruptions._motion import moved
from randhead.corruptions._plasma import plasma

SIDE = 512
# Mean and deviation of red, green and blue: near those of the reference's five pictures, for a similar effect.
COLOURS = (
    ((78, 149, 166), (27, 16, 15)),
    ((201, 205, 214), (21, 22, 23)),
    ((201, 205, 214), (21, 22, 23)),
    ((138, 153, 165), (29, 29, 30)),
    ((112, 123, 135), (44, 43, 42)),
)
NEEDLES = ((5, 1500, 40), (6, 4000, 14))  # directions, points in each, length in pixels
FALL = 1.8  # of the cloud's amplitude per level


def procedural() -> tuple[Tensor, ...]:
    """Generate five pictures, uint8 (3, SIDE, SIDE), always the same."""
    ids = torch.arange(len(COLOURS), dtype=torch.int64, device="cpu")
    halves = rng.long_halves(0, "corruptions/frost/cloud", ids, SIDE**2 - 1).to(torch.float32)
    cloud = _standardised(plasma(halves.add_(0.5).mul_(2.0**-15).sub_(1), FALL))
    needles = torch.cat([_needles(one) for one in ids.split(1)])  # one at a time, which fits in the cache
    height = _standardised(cloud + 1.2 * _standardised(needles))
    mean, deviation = torch.tensor(COLOURS, dtype=torch.float64, device="cpu").unbind(1)
    colour = mean[..., None, None] + deviation[..., None, None] * height[:, None]
    return tuple(colour.round().clamp(0, 255).to(torch.uint8))


def _needles(ids: Tensor) -> Tensor:
    """Brightness of the needles: (N, SIDE, SIDE) float32.  A margin in which trails begin is cut off."""
    margin = max(length for _, _, length in NEEDLES)
    side = SIDE + 2 * margin
    brightest = torch.zeros((len(ids), side, side), dtype=torch.float32, device="cpu")
    for stream, (directions, points, length) in enumerate(NEEDLES):
        for turn in range(directions):
            purpose = f"corruptions/frost/needles/{stream}/{turn}"
            index = rng.integers(0, purpose, ids, points, high=side * side)
            level = rng.integers(0, purpose, ids, points, high=200, stream=1) + 56
            spots = torch.zeros((len(ids), side * side), dtype=torch.uint8, device="cpu")
            spots.scatter_(1, index, level.to(torch.uint8))
            angle = rng.uniforms(0, purpose, ids, 1, stream=2)[:, 0].to(torch.float64) * 360
            trail = moved(spots.view(-1, 1, side, side), angle, radius=length // 2, sigma=length / 2)[:, 0]
            brightest = torch.maximum(brightest, trail.to(torch.float32) * length)
    return brightest[:, margin:-margin, margin:-margin].sqrt()


def _standardised(values: Tensor) -> Tensor:
    """Scale each of (N, H, W) to mean 0 and deviation 1; in float64 the order of sums does not change the bytes."""
    values = values.to(torch.float64)
    centred = values - values.mean(dim=(1, 2), keepdim=True)
    return centred / centred.std(dim=(1, 2), keepdim=True)
