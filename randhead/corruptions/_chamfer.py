"""Distances to the nearest marked pixel in the 5 x 5 chamfer metric: Borgefors, CVGIP 1986, with OpenCV's weights.

A shortest path has steps of at most two neighbouring kinds out of eight (along an axis, a diagonal, or a knight's
move), in any order.  So it is enough to relax distances along one kind of step after another, and along a line a few
steps of doubling length reach every pixel.
"""

import torch
from torch import Tensor

LIMIT = 20  # distances beyond this many pixels are not distinguished
UNIT = 10000  # a pixel, in the integers that encode distances
# dy, dx, length in units; each also represents the opposite step.
STEPS = (
    (0, 1, 10000),
    (1, 0, 10000),
    (1, 1, 14000),
    (1, -1, 14000),
    (1, 2, 21969),
    (1, -2, 21969),
    (2, 1, 21969),
    (2, -1, 21969),
)


def distances(marked: Tensor) -> Tensor:
    """(B, H, W) bool -> (B, 1, H, W) int32 in units, at most LIMIT pixels."""
    far = LIMIT * UNIT
    distance = torch.where(marked, 0, far).to(torch.int32)
    for i, (dy, dx, length) in enumerate(STEPS):
        if distance.device.type == "cpu" and i and distance.numel():  # no path is longer than those found so far
            far = int(distance.amax())
        for doubling in range((far // length).bit_length()):
            scale = 1 << doubling
            _relax(distance, dy * scale, dx * scale, length * scale)
    return distance[:, None]


def _relax(distance: Tensor, dy: int, dx: int, length: int) -> None:
    """Lower each distance, in place, to that of the pixel (dy, dx) before or after it plus the length of the step."""
    height, width = distance.shape[1:]
    rows, columns = height - dy, width - abs(dx)
    if rows <= 0 or columns <= 0:
        return
    left, right = max(-dx, 0), max(dx, 0)
    through = distance + length
    start = slice(None), slice(0, rows), slice(left, left + columns)
    end = slice(None), slice(dy, height), slice(right, right + columns)
    torch.minimum(distance[end], through[start], out=distance[end])
    torch.minimum(distance[start], through[end], out=distance[start])
