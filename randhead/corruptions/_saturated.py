"""`_hue.with_saturation` on a CPU: the same roundings, two to three times as fast.

Its formulas need float64 for one channel only, the middle one.  The order of the channels gives the sixth of the colour
circle, by three comparisons of bytes.  NumPy writes to the same few arrays again and again, which stay in the cache.
"""

import numpy as np
import torch
from torch import Tensor

PART = 1 << 15  # pixels at a time: four arrays of float64 are 1 MB


def saturated(images: Tensor, factor: float, offset: float) -> Tensor:
    """As `_hue.with_saturation`."""
    planes = images.transpose(0, 1).flatten(1).numpy()
    out = np.empty_like(planes)
    size = min(planes.shape[1], PART)
    floats, octets = np.empty((4, size)), np.empty((11, size), dtype=np.uint8)
    for start in range(0, planes.shape[1], PART):
        channels = planes[:, start : start + PART]
        used = channels.shape[1]
        _fill(out[:, start : start + used], channels, factor, offset, floats[:, :used], octets[:, :used])
    return torch.from_numpy(out).view(3, len(images), *images.shape[2:]).transpose(0, 1)


def _fill(
    out: np.ndarray, channels: np.ndarray, factor: float, offset: float, floats: np.ndarray, octets: np.ndarray
) -> None:
    """Write the result for channels (3, N) to `out`; the other arrays are scratch."""
    red, green, blue = channels
    top, low, middle, lowest = octets[:4]
    np.maximum(np.maximum(red, green, out=top), blue, out=top)
    np.minimum(np.minimum(red, green, out=low), blue, out=low)
    np.bitwise_xor(np.bitwise_xor(red, green, out=middle), blue, out=middle)
    middle ^= top
    middle ^= low
    hues = _hues(channels, octets[4:])
    # Where a hue has no meaning any will do, but nothing may be divided by 0: value and depth become at least 1.
    value, least = octets[7], octets[8]
    np.maximum(top, 1, out=value)
    np.subtract(low, np.equal(value, low, out=least.view(bool)).view(np.uint8), out=least)
    _change(middle, lowest, (value, least), hues, (factor, offset), floats)
    _put(out, channels, (top, low, middle, lowest), octets[4:8])
    if offset:
        # A grey pixel has no depth, but gets the saturation `offset`, and the hue of red.
        faded = (np.arange(256) / 255 * (1 - np.clip(np.float64(offset), 0, 1)) * 255).astype(np.uint8)
        out[1:] -= (top - faded[top]) * np.equal(top, low)


def _hues(channels: np.ndarray, scratch: np.ndarray) -> tuple[np.ndarray, ...]:
    """Where the hue of each pixel is on the colour circle, of which a third is 2.

    Returns:
        The sign of the hue within its third, the middle of the third, 1 if the hue is below 0, and where the sixth ends
        at which the middle channel is the smallest.
    """
    red, green, blue = channels
    odd, twice, middle, green_is_less, red_is_less, below, end = scratch[:7]
    sign = twice.view(np.int8)
    np.less(green, blue, out=green_is_less.view(bool))
    np.less(red, green, out=red_is_less.view(bool))
    np.less(blue, red, out=odd.view(bool))
    np.bitwise_and(green_is_less, odd, out=below)  # red, blue, green
    odd ^= green_is_less
    odd ^= red_is_less  # an odd number of the three: the hue is above the middle of its third
    np.add(odd, odd, out=twice)
    sign -= 1
    np.bitwise_xor(green_is_less, below, out=middle)
    middle += middle
    middle += red_is_less
    middle -= np.bitwise_and(green_is_less, red_is_less, out=odd)
    middle += middle
    np.multiply(below, 6, out=end)
    end += middle
    end += twice  # modulo 256
    return sign, middle, below, end


def _change(
    middle: np.ndarray,
    lowest: np.ndarray,
    ends: tuple[np.ndarray, np.ndarray],
    hues: tuple[np.ndarray, ...],
    change: tuple[float, float],
    floats: np.ndarray,
) -> None:
    """Replace the middle channel and fill the lowest; `ends` are the largest and the smallest."""
    sign, start, below, end = hues
    (factor, offset), (value, saturation, hue, depth) = change, floats
    value[...], saturation[...], hue[...] = *ends, middle
    floats[:3] /= 255
    np.subtract(value, saturation, out=depth)
    hue -= saturation
    hue /= depth
    hue *= sign
    hue += start
    hue /= 6
    hue += below
    hue *= 6
    hue -= end
    np.abs(hue, out=hue)  # the share of the saturation
    np.divide(depth, value, out=saturation)
    saturation *= factor
    saturation += offset
    torch.from_numpy(saturation).clamp_(0, 1)  # NumPy's takes three times as long
    hue *= saturation
    for target, weight in ((middle, hue), (lowest, saturation)):
        np.subtract(1, weight, out=weight)
        weight *= value
        weight *= 255
        np.copyto(target, weight, casting="unsafe")


def _put(out: np.ndarray, channels: np.ndarray, values: tuple[np.ndarray, ...], scratch: np.ndarray) -> None:
    """Give each channel the new value of its rank; the largest stays."""
    top, low, middle, lowest = values
    rise, fall, is_top, is_low = scratch
    np.subtract(top, middle, out=rise)
    np.subtract(lowest, middle, out=fall)  # modulo 256
    for new, old in zip(out, channels, strict=True):
        np.equal(old, top, out=is_top.view(bool))
        np.equal(old, low, out=is_low.view(bool))
        np.greater(is_low, is_top, out=is_low.view(bool))
        np.multiply(is_top, rise, out=new)
        new += middle
        is_low *= fall
        new += is_low
