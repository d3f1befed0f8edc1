"""Fractal clouds: the "plasma" of the diamond-square algorithm, on a torus.

Fournier, Fussell and Carpenter, CACM 1982.  At each level, the points halfway between known points become their mean
plus a uniform random number.  The amplitude of that number starts at 100 and falls by a factor per level; the
reference multiplies by it twice.
"""

from torch import Tensor


def plasma(uniforms: Tensor, fall: float) -> Tensor:
    """Diamond-square clouds: uniforms (B, M^2 - 1) in -1..1 -> (B, M, M) float32 in 0..1."""
    batch, side = len(uniforms), round((uniforms.shape[1] + 1) ** 0.5)
    cloud = uniforms.new_zeros((batch, side, side))
    step, amplitude, used = side, 100.0, 0
    while step >= 2:
        half, points = step // 2, (side // step) ** 2
        noise = uniforms[:, used : used + 3 * points].view(batch, 3, side // step, side // step) * amplitude**2
        corners = cloud[:, ::step, ::step]
        rows = corners + corners.roll(-1, 1)
        middles = (rows + rows.roll(-1, 2)).mul_(0.25).add_(noise[:, 0])
        beside = (middles + middles.roll(1, 1)).add_(corners).add_(corners.roll(-1, 2))
        below = (middles + middles.roll(1, 2)).add_(corners).add_(corners.roll(-1, 1))
        cloud[:, half::step, half::step] = middles
        cloud[:, ::step, half::step] = beside.mul_(0.25).add_(noise[:, 1])
        cloud[:, half::step, ::step] = below.mul_(0.25).add_(noise[:, 2])
        step, amplitude, used = half, amplitude / fall, used + 3 * points
    cloud -= cloud.amin(dim=(1, 2), keepdim=True)
    return cloud.div_(cloud.amax(dim=(1, 2), keepdim=True))
