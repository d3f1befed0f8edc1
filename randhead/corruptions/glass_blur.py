"""Glass blur: blur, replace every pixel by a near neighbour, blur again.

Hendrycks and Dietterich, ICLR 2019.

The reference is meant to swap two pixels but copies one: rows of a NumPy array are views, so the pixel takes the
neighbour's value and the neighbour keeps it.  Pixels are visited row by row from the bottom right, and a neighbour that
was visited before already has a copied value.  So a pass gives every pixel a pointer, either to a pixel that was not
yet overwritten when it was copied (a source) or to one that was (a link); following the links to their end is the whole
pass.  A few rounds of pointer doubling do this for all pixels at once.
"""

import torch
from torch import Tensor

from randhead import rng
from randhead.corruptions._blur import blurred
from randhead.corruptions._bytes import shaped

GROUP, ORDER = "blur", 5
SEVERITY_PARAMETERS = {  # sigma in pixels, largest offset in pixels, passes
    "32": ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)),
    "64": ((0.1, 1, 1), (0.5, 1, 1), (0.6, 1, 2), (0.7, 2, 1), (0.9, 2, 2)),
    "224": ((0.7, 1, 2), (0.9, 2, 1), (1.0, 2, 3), (1.1, 3, 2), (1.5, 4, 2)),
}


def sample(ids: Tensor, size: tuple[int, int], *, seed: int, parameter_set: str) -> dict[str, Tensor]:
    """Offsets (B, passes, 2, H, W) int32 in 0..65535: dx, then dy, as fractions of their range."""
    passes = max(passes for _, _, passes in SEVERITY_PARAMETERS[parameter_set])
    pixels = 2 * size[0] * size[1]
    drawn = [rng.long_halves(seed, "corruptions/glass_blur", ids, pixels, stream=i) for i in range(passes)]
    return {"offsets": torch.stack([shaped(halves, size, channels=2) for halves in drawn], dim=1)}


def apply(images: Tensor, noise: dict[str, Tensor], parameters: tuple[float, int, int]) -> Tensor:
    """Images (B, 3, H, W) uint8 -> the same, seen through glass of `parameters` (sigma, offset, passes)."""
    sigma, reach, passes = parameters
    images = blurred(images, sigma)
    source = sources(noise["offsets"][:, 0], reach)
    for i in range(1, passes):
        # Pass i reads the values that the passes before it have written.
        source = source.gather(1, sources(noise["offsets"][:, i], reach))
    moved = images.flatten(2).gather(2, source[:, None].expand(-1, images.shape[1], -1))
    return blurred(moved.view(images.shape), sigma)


def sources(offsets: Tensor, reach: int) -> Tensor:
    """The source of each pixel's value in one pass: offsets (B, 2, H, W) -> (B, H W) int64, row-major indices."""
    height, width = offsets.shape[2:]
    dx, dy = ((offsets * (2 * reach)) >> 16).sub_(reach).unbind(1)
    step = dy * width + dx
    visited = torch.zeros((height, width), dtype=torch.bool, device=offsets.device)
    visited[reach + 1 : height - reach + 1, reach + 1 : width - reach + 1] = True
    step = (step * visited).flatten(1)
    pixel = torch.arange(height * width, dtype=torch.int32, device=offsets.device)
    target = pixel + step
    # Later pixels are visited first: only a pointer to one of those, or to itself, may be a link.
    moved = visited.flatten().index_select(0, target.flatten()).view(target.shape)
    link = torch.where((step > 0) & moved, target, pixel).to(torch.int64)
    final = _ends(link)
    # The pixel at the end of the links has copied a source, or was never visited and points to itself.
    return target.to(torch.int64).gather(1, final)


def _ends(link: Tensor) -> Tensor:
    """Follow links to their end: each round doubles the length of pointers, until none changes."""
    while True:
        further = link.gather(1, link)
        if torch.equal(further, link):
            return link
        link = further
