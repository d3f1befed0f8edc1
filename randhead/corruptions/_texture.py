"""Procedural frost: ridged fractal clouds with the colours of frost on glass.

Ridged noise (Musgrave, in "Texturing and modeling", 1994): the creases of a fractal cloud become bright veins.
"""

import torch
from torch import Tensor

from randhead import seeds
from randhead.corruptions._plasma import plasma

SIDE = 512
# Mean and deviation of red, green and blue: near those of the reference's five pictures, so that the effect is too.
COLOURS = (
    ((78, 149, 166), (27, 16, 15)),
    ((201, 205, 214), (21, 22, 23)),
    ((201, 205, 214), (21, 22, 23)),
    ((138, 153, 165), (29, 29, 30)),
    ((112, 123, 135), (44, 43, 42)),
)
FALL = 1.7  # of the amplitude a level: the pictures' spectra fall about as fast


def procedural() -> tuple[Tensor, ...]:
    """Five textures, uint8 (3, SIDE, SIDE), always the same."""
    ids = torch.arange(len(COLOURS))
    halves = [
        seeds.long_halves(0, "corruptions/frost/texture", ids, SIDE**2 - 1, stream=stream).to(torch.float32)
        for stream in (0, 1)
    ]
    cloud, creased = (plasma(h.add_(0.5).mul_(2.0**-15).sub_(1), FALL) for h in halves)
    middle = creased.flatten(1).median(dim=1).values[:, None, None]
    height = cloud - 3 * (creased - middle).abs().sqrt()
    height = (height - height.mean(dim=(1, 2), keepdim=True)) / height.std(dim=(1, 2), keepdim=True)
    mean, deviation = torch.tensor(COLOURS, dtype=torch.float32).unbind(1)
    colour = mean[..., None, None] + deviation[..., None, None] * height[:, None]
    return tuple(colour.round().clamp(0, 255).to(torch.uint8))
