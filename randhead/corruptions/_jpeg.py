"""Baseline JPEG, 4:2:0, encoding and decoding in int32: the lossy steps of libjpeg, bit for bit, in batches.

ITU-T T.81 with the Independent JPEG Group's choices: colours and the discrete cosine transform in fixed point (the
accurate "islow" transform: Loeffler, Ligtenberg and Moschytz, ICASSP 1989), chroma halved by a box filter with
alternating rounding and enlarged by a triangle filter.  Entropy coding is lossless and is left out.
"""

import functools

import torch
from torch import Tensor

from randhead import ambient

# Quantisation tables of Annex K, rows are vertical frequencies.
LUMA = (
    16, 11, 10, 16, 24, 40, 51, 61,
    12, 12, 14, 19, 26, 58, 60, 55,
    14, 13, 16, 24, 40, 57, 69, 56,
    14, 17, 22, 29, 51, 87, 80, 62,
    18, 22, 37, 56, 68, 109, 103, 77,
    24, 35, 55, 64, 81, 104, 113, 92,
    49, 64, 78, 87, 103, 121, 120, 101,
    72, 92, 95, 98, 112, 100, 103, 99,
)  # fmt: skip
CHROMA = (
    17, 18, 24, 47, 99, 99, 99, 99,
    18, 21, 26, 66, 99, 99, 99, 99,
    24, 26, 56, 99, 99, 99, 99, 99,
    47, 66, 99, 99, 99, 99, 99, 99,
    99, 99, 99, 99, 99, 99, 99, 99,
    99, 99, 99, 99, 99, 99, 99, 99,
    99, 99, 99, 99, 99, 99, 99, 99,
    99, 99, 99, 99, 99, 99, 99, 99,
)  # fmt: skip
BITS, EXTRA = 13, 2  # fraction bits of the transform's constants, and of the result of its first pass


def there_and_back(images: Tensor, quality: int) -> Tensor:
    """Encode and decode RGB images (B, 3, H, W) uint8, sides from 5 pixels, with a quality of 1..100."""
    height, width = images.shape[2:]
    luma, blue, red = _to_ycc(images)
    chroma = torch.stack((_halved(blue), _halved(red)), dim=1)
    luma = _quantised(luma[:, None], table(LUMA, quality, images.device))
    chroma = _quantised(chroma, table(CHROMA, quality, images.device))[..., : -(-width // 2)]
    chroma = _enlarged(chroma)[..., :height, :width]
    return _to_rgb(luma[:, 0], chroma[:, 0] - 128, chroma[:, 1] - 128)


@ambient.kept(maxsize=32)
def table(base: tuple[int, ...], quality: int, device: torch.device) -> Tensor:
    """Quantisation steps (8, 8, 1) int32 for a quality: rows are vertical frequencies."""
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    steps = [min(max((entry * scale + 50) // 100, 1), 255) for entry in base]
    return torch.tensor(steps, dtype=torch.int32, device=device).view(8, 8, 1)


def _fixed(value: float, bits: int = BITS) -> int:
    return int(value * (1 << bits) + 0.5)


def _descaled(values: Tensor, bits: int) -> Tensor:
    return (values + (1 << (bits - 1))) >> bits


def _to_ycc(images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    r, g, b = images.to(torch.int32).unbind(1)
    fixed = functools.partial(_fixed, bits=16)
    half, centre = 1 << 15, 128 << 16
    luma = (r * fixed(0.299) + g * fixed(0.587) + b * fixed(0.114) + half) >> 16
    blue = (b * fixed(0.5) - r * fixed(0.16874) - g * fixed(0.33126) + (centre + half - 1)) >> 16
    red = (r * fixed(0.5) - g * fixed(0.41869) - b * fixed(0.08131) + (centre + half - 1)) >> 16
    return luma, blue, red


def _to_rgb(luma: Tensor, blue: Tensor, red: Tensor) -> Tensor:
    fixed = functools.partial(_fixed, bits=16)
    half = 1 << 15
    r = luma + ((red * fixed(1.402) + half) >> 16)
    g = luma + ((half - blue * fixed(0.34414) - red * fixed(0.71414)) >> 16)
    b = luma + ((blue * fixed(1.772) + half) >> 16)
    return torch.stack((r, g, b), dim=1).clamp_(0, 255).to(torch.uint8)


def _halved(plane: Tensor) -> Tensor:
    """Means of 2 x 2 pixels, rounded down and up alternately, column by column.

    The last column is repeated before, up to whole blocks, and the last row afterwards, as in libjpeg.
    """
    plane = _repeated(plane, -(-plane.shape[1] // 2) * 2, -(-plane.shape[2] // 16) * 16)
    pairs = plane[:, 0::2] + plane[:, 1::2]
    total = pairs[..., 0::2] + pairs[..., 1::2]
    bias = 1 + torch.arange(total.shape[2], dtype=torch.int32, device=plane.device) % 2
    return (total + bias) >> 2


def _repeated(planes: Tensor, height: int, width: int) -> Tensor:
    """Repeat the last row and column of (..., H, W) until the size is height x width."""
    for dim, size in ((-2, height), (-1, width)):
        missing = size - planes.shape[dim]
        if missing:
            last = planes.narrow(dim, planes.shape[dim] - 1, 1)
            planes = torch.cat((planes, *[last] * missing), dim=dim)
    return planes


def _quantised(planes: Tensor, steps: Tensor) -> Tensor:
    """Planes (B, C, h, w) in 0..255 through transform, quantisation and back."""
    height, width = planes.shape[2:]
    whole = _repeated(planes, -(-height // 8) * 8, -(-width // 8) * 8)
    batch, channels, rows, columns = *whole.shape[:2], whole.shape[2] // 8, whole.shape[3] // 8
    blocks = whole.view(batch, channels, rows, 8, columns, 8).permute(3, 5, 0, 1, 2, 4).reshape(8, 8, -1) - 128
    levels = _rounded(_transformed(blocks), steps)
    values = (_restored(levels * steps) + 128).clamp_(0, 255)
    values = values.view(8, 8, batch, channels, rows, columns).permute(2, 3, 4, 0, 5, 1)
    return values.reshape(whole.shape)[:, :, :height, :width]


def _rounded(coefficients: Tensor, steps: Tensor) -> Tensor:
    """Coefficients (scaled by 8) divided by steps, halves away from zero.  Quotients have 11 bits: float32 is exact."""
    quotient = coefficients.to(torch.float32) / (8 * steps)
    return quotient.add_(torch.copysign(quotient.new_tensor(0.5), quotient)).to(torch.int32)


def _transformed(blocks: Tensor) -> Tensor:
    """Forward transform of (8, 8, N) blocks, rows first; the result is scaled by 8."""
    across = torch.stack(_forward(blocks.unbind(1), BITS - EXTRA), dim=1)
    return torch.stack(_forward(across.unbind(0), BITS + EXTRA), dim=0)


def _restored(coefficients: Tensor) -> Tensor:
    """Inverse transform of (8, 8, N) coefficients, columns first."""
    down = torch.stack(_inverse(coefficients.unbind(0), BITS - EXTRA), dim=0)
    return torch.stack(_inverse(down.unbind(1), BITS + EXTRA + 3), dim=1)


def _forward(x: tuple[Tensor, ...], shift: int) -> list[Tensor]:
    s0, s1, s2, s3 = x[0] + x[7], x[1] + x[6], x[2] + x[5], x[3] + x[4]
    even, odd = (s0 + s3, s1 + s2), (s0 - s3, s1 - s2)
    turned = (odd[0] + odd[1]) * _fixed(0.541196100)
    y1, y3, y5, y7 = _odd_part(x[3] - x[4], x[2] - x[5], x[1] - x[6], x[0] - x[7])
    out = [
        (even[0] + even[1]) << BITS,
        y7,
        turned + odd[0] * _fixed(0.765366865),
        y5,
        (even[0] - even[1]) << BITS,
        y3,
        turned - odd[1] * _fixed(1.847759065),
        y1,
    ]
    return [_descaled(value, shift) for value in out]


def _inverse(x: tuple[Tensor, ...], shift: int) -> list[Tensor]:
    turned = (x[2] + x[6]) * _fixed(0.541196100)
    low, high = turned - x[6] * _fixed(1.847759065), turned + x[2] * _fixed(0.765366865)
    total, difference = (x[0] + x[4]) << BITS, (x[0] - x[4]) << BITS
    even = (total + high, difference + low, difference - low, total - high)
    odd = _odd_part(x[7], x[5], x[3], x[1])[::-1]
    sums = [a + b for a, b in zip(even, odd, strict=True)]
    differences = [a - b for a, b in zip(even, odd, strict=True)]
    return [_descaled(value, shift) for value in (*sums, *differences[::-1])]


def _odd_part(a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The rotations of the odd frequencies, which forward and inverse transform share."""
    both = (a + b + c + d) * _fixed(1.175875602)
    ac, bd = both - (a + c) * _fixed(1.961570560), both - (b + d) * _fixed(0.390180644)
    ad, bc = (a + d) * -_fixed(0.899976223), (b + c) * -_fixed(2.562915447)
    return (
        a * _fixed(0.298631336) + ad + ac,
        b * _fixed(2.053119869) + bc + bd,
        c * _fixed(3.072711026) + bc + ac,
        d * _fixed(1.501321110) + ad + bd,
    )


def _enlarged(planes: Tensor) -> Tensor:
    """Chroma (B, 2, h, w) to twice the side by a triangle filter, 3 parts near and 1 part far on each axis."""
    above = torch.cat((planes[:, :, :1], planes[:, :, :-1]), dim=2)
    below = torch.cat((planes[:, :, 1:], planes[:, :, -1:]), dim=2)
    tall = torch.stack((planes * 3 + above, planes * 3 + below), dim=3).flatten(2, 3)
    left = torch.cat((tall[..., :1], tall[..., :-1]), dim=3)
    right = torch.cat((tall[..., 1:], tall[..., -1:]), dim=3)
    return torch.stack(((tall * 3 + left + 8) >> 4, (tall * 3 + right + 7) >> 4), dim=4).flatten(3)
