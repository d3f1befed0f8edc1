"""Canny's edge detector as OpenCV's, in integers: Canny, IEEE PAMI 1986; 3 x 3 Sobel gradients and their L1 norm.

Rows lie one after another with a pixel of border on both sides, so that every neighbour is at one distance along a
line.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from randhead.corruptions._borders import repeated
from randhead.corruptions._lines import with_module


def outlines(images: Tensor, *, low: int, high: int) -> Tensor:
    """Edges of (B, 1, H, W) uint8 -> (B, H, W) bool: ridges above `high`, and connected ridges above `low`."""
    wide = repeated(repeated(images[:, 0], 1, 1), 1, 2).to(torch.int16)
    stride, shape = wide.shape[2], wide.shape
    line, module = with_module(wide.flatten(1))
    dx, dy = _gradients(line, stride)
    run, steep = abs(dx), abs(dy)
    norm = module.zeros_like(line)
    norm[:, stride + 1 : -stride - 1] = run + steep
    norm.reshape(shape)[:, :, :: stride - 1] = 0
    ridge = module.zeros_like(norm > 0)
    ridge[:, stride + 1 : -stride - 1] = _is_ridge(norm, run, steep, (dx ^ dy) < 0, stride, module)
    ridge &= norm > low
    edges = _grown(ridge & (norm > high), ridge, stride, module)
    return (torch.from_numpy(edges) if module is np else edges).view(shape)[:, 1:-1, 1:-1]


def _gradients(line: Any, stride: int) -> tuple[Any, Any]:
    """Sobel: int16 (B, N), rows of `stride` -> two, without the first and last stride + 1."""
    across = line[:, 2:] - line[:, :-2]
    along = line[:, 2:] + 2 * line[:, 1:-1] + line[:, :-2]
    dx = across[:, : -2 * stride] + 2 * across[:, stride:-stride] + across[:, 2 * stride :]
    return dx, along[:, 2 * stride :] - along[:, : -2 * stride]


def _is_ridge(norm: Any, run: Any, steep: Any, falling: Any, stride: int, module: Any) -> Any:
    """Whether the norm is the largest of three pixels along the gradient, rounded to one of four directions.

    OpenCV's tangent of 22.5 degrees is 13573 / 2^15 with 13573 = 26 * 2^9 + 2^8 + 5, that of 67.5 is 2 more.
    """
    middle = norm[:, stride + 1 : -stride - 1]

    def beside(y: int, x: int) -> Any:
        start = (1 + y) * stride + 1 + x
        return norm[:, start : start + middle.shape[1]]

    slope = (26 * run + ((run + (5 * run >> 8)) >> 1)) >> 6  # run times the tangent, rounded down
    horizontal, vertical = steep <= slope, steep - 2 * run > slope
    # Of two equal neighbours, the left or upper one is the ridge; on diagonals neither is.
    rising = (middle > module.maximum(beside(-1, -1), beside(1, 1))) & ~falling
    diagonal = ((middle > module.maximum(beside(-1, 1), beside(1, -1))) & falling) | rising
    across = (middle > beside(0, -1)) & (middle >= beside(0, 1)) & horizontal
    along = (middle > beside(-1, 0)) & (middle >= beside(1, 0)) & vertical
    return (diagonal & ~(horizontal | vertical)) | across | along


def _grown(edges: Any, allowed: Any, stride: int, module: Any) -> Any:
    """Grow edges over neighbouring allowed pixels until nothing changes, which is checked every four steps."""
    inner, count = edges[:, stride + 1 : -stride - 1], -1
    allowed = allowed[:, stride + 1 : -stride - 1]
    while count != (count := int(module.count_nonzero(inner))):
        for _ in range(4):
            tall = edges[:, : -2 * stride] | edges[:, stride:-stride]
            tall |= edges[:, 2 * stride :]
            grown = tall[:, :-2] | tall[:, 1:-1]
            grown |= tall[:, 2:]
            grown &= allowed
            inner[:] = grown
    return edges
