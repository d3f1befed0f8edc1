"""Distances to the nearest marked pixel in the 5 x 5 chamfer metric: Borgefors, CVGIP 1986, with OpenCV's weights.

A shortest path has steps of at most two neighbouring kinds out of eight (along an axis, a diagonal, or a knight's
move), in any order.  So it is enough to relax distances along one kind of step after another, and along a line a few
steps of doubling length reach every pixel.

The steps are 1, 1.4 and 2.1969 pixels long, and 21969 = 11 * 2000 - 31: a path with k knight's moves has length
2000 a - 31 k units, where a counts 5 per step along an axis, 7 per diagonal and 11 per knight's move.  Up to the limit
k is at most 9, so that lengths are ordered as the 16-bit integers 128 a - k, and add up as they do.
"""

from typing import Any

import torch
from torch import Tensor

from randhead.corruptions._lines import with_module

LIMIT = 20  # distances beyond this many pixels are not distinguished
UNIT = 10000  # a pixel, in the integers that encode distances
CODE, COARSE, FINE = 128, 2000, 31  # a length of COARSE * a - FINE * k units is encoded as CODE * a - k
FAR = LIMIT * UNIT // COARSE * CODE
# dy, dx, encoded length; each also represents the opposite step.
STEPS = (
    (0, 1, 5 * CODE),
    (1, 0, 5 * CODE),
    (1, 1, 7 * CODE),
    (1, -1, 7 * CODE),
    (1, 2, 11 * CODE - 1),
    (1, -2, 11 * CODE - 1),
    (2, 1, 11 * CODE - 1),
    (2, -1, 11 * CODE - 1),
)


def distances(marked: Tensor) -> Tensor:
    """(B, H, W) bool -> (B, 1, H, W) int16, encoded, at most LIMIT pixels."""
    height, width = marked.shape[1:]
    # Rows lie one after another with LIMIT pixels in between: no path within the limit leads from one end to the next.
    distance = torch.full((len(marked), height, width + LIMIT), FAR, dtype=torch.int16, device=marked.device)
    inner = distance[..., :width]
    inner.masked_fill_(marked, 0)
    (line, module), far = with_module(distance.view(len(marked), -1)), FAR
    for i, (dy, dx, length) in enumerate(STEPS):
        if distance.device.type == "cpu" and i and inner.numel():  # no path is longer than those found so far
            far = int(inner.amax())
        for doubling in range((far // length).bit_length()):
            _relax(line, module, (dy * (width + LIMIT) + dx) << doubling, length << doubling)
    return inner[:, None]


def units(total: Tensor) -> Tensor:
    """The units of an encoded length, or of a sum of up to 9: int32 of any shape, changed in place.

    128 a - k with k below 128 gives a and k, and 2000 a - 31 k = 31 (128 a - k) - 1968 a.
    """
    coarse = (total + (CODE - 1)).bitwise_right_shift_(CODE.bit_length() - 1)
    return total.mul_(FINE).sub_(coarse.mul_(FINE * CODE - COARSE))


def _relax(line: Any, module: Any, offset: int, length: int) -> None:
    """Lower each distance, in place, to that `offset` pixels before or after it plus the length of the step."""
    if offset >= line.shape[1]:
        return
    through = line + length
    module.minimum(line[:, offset:], through[:, :-offset], out=line[:, offset:])
    module.minimum(line[:, :-offset], through[:, offset:], out=line[:, :-offset])
