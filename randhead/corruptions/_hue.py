"""Brightness and saturation in HSV without conversion: a change of only V or S keeps the hue, so RGB is rescaled.

With V = max(r, g, b) and S = (V - min) / V, every channel is x = V (1 - S k), with k in [0, 1] given by the hue.  With
a new V' it becomes x V' / V, and with a new S' it becomes V - (V - x) S' / S.
"""

import torch
from torch import Tensor

from randhead import ambient
from randhead.corruptions._bytes import divided, truncated
from randhead.corruptions._saturated import saturated


def with_value_raised(images: Tensor, amount: float) -> Tensor:
    """V' = min(V + amount, 1).  Black has no hue and becomes grey.  (B, 3, H, W) uint8 -> the same."""
    value = images.amax(dim=1, keepdim=True).to(torch.int32)
    index = value.mul_(256).add(images)
    return _raised(amount, images.device).index_select(0, index.flatten()).view(images.shape)


def with_saturation(images: Tensor, factor: float, offset: float) -> Tensor:
    """S' = clip(S factor + offset, 0, 1).  A grey pixel has the hue of red.  (B, 3, H, W) uint8 -> the same.

    The reference truncates results that rounding in float64 has pushed below an integer, in about 1 value of 100.  So
    its formulas are followed: the largest channel stays, the others are V (1 - S') and V (1 - S' k).
    """
    if images.device.type == "cpu":
        return saturated(images, factor, offset)
    return by_tensors(images, factor, offset)


def by_tensors(images: Tensor, factor: float, offset: float) -> Tensor:
    """`with_saturation` in tensor operations, for any device."""
    value, low = images.amax(dim=1, keepdim=True), images.amin(dim=1, keepdim=True)
    red, green, blue = divided(images.to(torch.float64), 255).unbind(1)
    top = torch.maximum(torch.maximum(red, green), blue)
    depth = top - torch.minimum(torch.minimum(red, green), blue)
    saturation = (depth / top).nan_to_num_(0).mul_(factor).add_(offset).clamp_(0, 1)
    by_red, by_green, by_blue = green - blue, blue - red, red - green
    hue = torch.where(top == blue, by_blue, torch.where(top == green, by_green, by_red)).div_(depth)
    hue.add_(torch.where(top == blue, 4, (top == green).to(torch.int32) * 2))
    divided(hue, 6)
    sixth = hue.add_(hue < 0).mul_(6)
    whole = sixth.floor()
    share = sixth.sub_(whole)
    share = torch.where(whole.remainder_(2) == 0, 1 - share, share)
    lowest = truncated(top * (1 - saturation) * 255)[:, None]
    middle = truncated((top * (1 - share * saturation)).nan_to_num_(0).mul_(255))[:, None]
    # Sums of products with 0 or 1: torch.where takes three times as long on bytes.
    is_top, is_low = images == value, images == low
    out = middle + is_top * (value - middle) + (is_low & ~is_top) * (lowest - middle)  # modulo 256
    if offset:
        out[:, 1:] -= (value - lowest) * (value == low)
    return out


@ambient.kept(maxsize=16)
def _raised(amount: float, device: torch.device) -> Tensor:
    """A table of the new channel for a pixel with value V and channel x, at 256 V + x, rounded as in the reference."""
    value = (torch.arange(256, dtype=torch.float64, device="cpu") / 255)[:, None]
    channel = value.T
    saturation = torch.where(value > 0, (value - channel) / value.clamp_min(1e-9), 0).clamp_min(0)
    raised = (value + amount).clamp(0, 1)
    return truncated(raised * (1 - saturation) * 255).flatten().to(device)
