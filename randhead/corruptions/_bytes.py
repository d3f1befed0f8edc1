"""Conversion between bytes and floats, as in the reference: divided by 255; clipped, then truncated."""

import torch
from torch import Tensor


def truncated(values: Tensor) -> Tensor:
    """Values in [0, 256) -> uint8, truncated.  The conversion through int16 vectorises: three times as fast."""
    return values.to(torch.int16).to(torch.uint8)


def divided(values: Tensor, number: float) -> Tensor:
    """Floats divided by a number, in place, rounded once: for a number of Python, CUDA rounds its reciprocal first."""
    return values.div_(torch.full((), number, dtype=values.dtype, device=values.device))


def clipped(values: Tensor) -> Tensor:
    """Values in grey levels -> uint8: clipped to 0..255 in place, then truncated."""
    return truncated(values.clamp_(0, 255))


def shaped(values: Tensor, size: tuple[int, int], channels: int | None = 3) -> Tensor:
    """(B, C * H * W) -> (B, C, H, W); with channels None, (B, H * W) -> (B, H, W)."""
    return values.view(len(values), *([channels] if channels else []), *size)
