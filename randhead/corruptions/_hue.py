"""Brightness and saturation in HSV without the detour: what changes V or S alone keeps the hue, so RGB is rescaled.

With V = max(r, g, b) and S = (V - min) / V, every channel is x = V (1 - S k), with k in [0, 1] given by the hue.  A new V'
makes it x V' / V, and a new S' makes it V - (V - x) S' / S.
"""

import functools

import torch
from torch import Tensor

from randhead.corruptions._bytes import truncated


def with_value_raised(images: Tensor, amount: float) -> Tensor:
    """V' = min(V + amount, 1).  Black has no hue and becomes grey.  (B, 3, H, W) uint8 -> the same."""
    value = images.amax(dim=1, keepdim=True).to(torch.int32)
    index = (value << 8).add(images)
    return _raised(amount, images.device).index_select(0, index.flatten()).view(images.shape)


def with_saturation(images: Tensor, factor: float, offset: float) -> Tensor:
    """S' = clip(S factor + offset, 0, 1).  A grey pixel has the hue of red.  (B, 3, H, W) uint8 -> the same."""
    value = images.amax(dim=1, keepdim=True)
    depth = value - images.amin(dim=1, keepdim=True)
    bright = value.to(torch.float32)
    inverse = bright / depth.clamp_min(1)
    ratio = torch.minimum(inverse * offset + factor, inverse)  # S' / S
    out = truncated(bright - (value - images) * ratio)
    if offset:
        fallen = truncated(bright * (1 - offset))
        out[:, 1:] = torch.where(depth == 0, fallen, out[:, 1:])
    return out


@functools.lru_cache(maxsize=16)
def _raised(amount: float, device: torch.device) -> Tensor:
    """The channel x of a pixel with value V, by 256 V + x, in the roundings of the reference's float64."""
    value = (torch.arange(256, dtype=torch.float64) / 255)[:, None]
    channel = value.T
    saturation = torch.where(value > 0, (value - channel) / value.clamp_min(1e-9), 0).clamp_min(0)
    raised = (value + amount).clamp(0, 1)
    return truncated(raised * (1 - saturation) * 255).flatten().to(device)
