"""Batched strong views of images, for tasks in which every image is its own class.

Instance discrimination learns only what the views of an image have in common.  These are those of Wu et al.
("Unsupervised feature learning via non-parametric instance discrimination", CVPR 2018, arXiv 1805.01978): a window of
20 to 100 percent of the area, resized to the whole image, half of them mirrored, with brightness, contrast and
saturation changed by up to 0.4, and a fifth of them in grey.  The hue is shifted by up to 0.1 instead of 0.4 of a turn,
as in SimCLR (Chen et al., arXiv 2002.05709): trained on 5,000 CIFAR-10 images, the 20-NN accuracy on 2,000 others was
38.6 instead of 37.9 percent.

The view of a sample is a function of (seed, sample id, epoch) and does not depend on its batch.

All colour changes are one affine map of RGB: values are clamped once, at the end, not after each change.  So the
changes commute, and their order does not matter: brightness and contrast change luma and chroma alike, saturation and
grey scale the chroma, and hue rotates it (in the IQ plane, which keeps luma).
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from randhead import ambient, rng

PURPOSE = "views"
AREAS = 0.2, 1.0  # share of the image
ASPECT = 4 / 3  # largest aspect ratio of a window relative to the image; the smallest is its inverse
JITTER = 0.4  # factors of brightness, contrast and saturation are within 1 +- this
HUE = 0.1  # of a full turn, at most
GREY = 0.2  # share of the images
YIQ = ((0.299, 0.587, 0.114), (0.596, -0.274, -0.322), (0.211, -0.523, 0.312))  # ITU-R BT.470, system M


@dataclass(frozen=True)
class Views:
    """The views of B images.

    Attributes:
        boxes: top, left, height and width in pixels (B, 4) int64.
        flips: whether the view is mirrored (B,) bool.
        colours: factors of brightness, contrast and saturation, and the hue in full turns (B, 4) float32.
    """

    boxes: Tensor
    flips: Tensor
    colours: Tensor

    def __getitem__(self, rows: Tensor | slice) -> "Views":
        return Views(self.boxes[rows], self.flips[rows], self.colours[rows])


def draw(ids: Tensor, *, seed: int, epoch: int, size: tuple[int, int], flip: bool = True) -> Views:
    """Draw the views of samples in an epoch.

    Areas are uniform; so are the logarithm of the aspect ratio and the position of a box, within what fits into the
    image.

    Args:
        ids: of the samples (B,) int64.
        seed: of the augmentation.
        epoch: number of the epoch.
        size: height and width of the images in pixels.
        flip: whether to mirror half of the views.

    Returns:
        Views on the device of `ids`.

    Example:
        >>> views = draw(torch.arange(3), seed=0, epoch=0, size=(8, 8))
        >>> apply(torch.zeros(3, 3, 8, 8, dtype=torch.uint8), views).dtype
        torch.uint8
    """
    drawn = rng.uniforms(seed, PURPOSE, ids, 10, stream=epoch).double()
    area = AREAS[0] + (AREAS[1] - AREAS[0]) * drawn[:, 0]
    aspect = ((2 * drawn[:, 1] - 1) * (-area.log()).clamp(max=math.log(ASPECT))).exp()
    whole = torch.tensor(size, dtype=torch.int64, device=ids.device)
    sizes = (torch.stack(((area / aspect).sqrt(), (area * aspect).sqrt()), dim=1) * whole).round().long()
    sizes = sizes.clamp(min=1).minimum(whole)
    starts = (drawn[:, 2:4] * (whole - sizes + 1)).long()
    widest = torch.tensor((JITTER, JITTER, JITTER, HUE), dtype=torch.float32, device=ids.device)
    colours = widest * (2 * drawn[:, 5:9] - 1)
    colours[:, :3] += 1
    colours[:, 2] *= drawn[:, 9] >= GREY  # no saturation is grey
    return Views(torch.cat((starts, sizes), dim=1), (drawn[:, 4] < 0.5) & flip, colours.float())


def apply(images: Tensor, views: Views) -> Tensor:
    """Crop, resize, mirror and recolour: uint8 images (B, 3, H, W) -> the same shape and type."""
    resized = _resized(images.float(), views.boxes, views.flips)
    return _recoloured(resized, views.colours).round_().clamp_(0, 255).to(torch.uint8)


def _resized(images: Tensor, boxes: Tensor, flips: Tensor) -> Tensor:
    """The boxes of images, resized to the whole image, bilinear between the pixels of the box, in whole grey levels."""
    B, _, H, W = images.shape
    tops, lefts, heights, widths = boxes.unbind(1)
    down, across = _positions(tops, heights, H), _positions(lefts, widths, W)
    across = torch.where(flips[:, None], across.flip(1), across)
    grid = torch.stack((across[:, None].expand(B, H, W), down[:, :, None].expand(B, H, W)), dim=3)
    return functional.grid_sample(images, grid, padding_mode="border", align_corners=False).round_()


def _positions(starts: Tensor, lengths: Tensor, count: int) -> Tensor:
    """Positions of `count` samples within part of a side of `count` pixels: (B, count), in [-1, 1] from edge to edge.

    None is outside the centres of the first and last pixels of that part.
    """
    centres = (torch.arange(count, dtype=torch.float32, device=starts.device) + 0.5) / count
    sizes = lengths[:, None].to(torch.float32)
    inside = (centres * sizes).clamp(min=0.5).minimum(sizes - 0.5)
    return 2 * (starts[:, None] + inside) / count - 1


def _recoloured(images: Tensor, colours: Tensor) -> Tensor:
    """One affine map of RGB for every image: images (B, 3, H, W) in whole grey levels, colours (B, 4)."""
    brightness, contrast, saturation, turns = colours.double().unbind(1)
    to_yiq, to_rgb = _colour_maps(images.device)
    luma = to_yiq[0]
    # Sums of whole numbers, exact in any order: the mean does not depend on the batch.
    mean = (images.sum(dim=3).sum(dim=2, dtype=torch.float64) * luma).sum(dim=1) / (images.shape[2] * images.shape[3])
    offset = brightness * (1 - contrast) * mean
    matrix = to_rgb @ _of_yiq(saturation, 2 * math.pi * turns) @ to_yiq
    matrix = ((brightness * contrast)[:, None, None] * matrix).float()
    out = matrix[:, :, 0, None, None] * images[:, :1]
    out += offset.float()[:, None, None, None]
    for channel in (1, 2):
        out.addcmul_(matrix[:, :, channel, None, None], images[:, channel : channel + 1])
    return out


@ambient.kept(maxsize=4)
def _colour_maps(device: torch.device) -> tuple[Tensor, Tensor]:
    """The maps from RGB to YIQ and back, (3, 3) float64 each.  Made for each batch, they would wait for the device."""
    to_yiq = torch.tensor(YIQ, dtype=torch.float64, device="cpu")
    return to_yiq.to(device), torch.linalg.inv(to_yiq).to(device)


def _of_yiq(saturation: Tensor, angle: Tensor) -> Tensor:
    """Maps of RGB that keep luma and scale and rotate chroma: (B,), (B,) -> (B, 3, 3)."""
    zero = torch.zeros_like(angle)
    cosine, sine = saturation * angle.cos(), saturation * angle.sin()
    rows = (zero + 1, zero, zero), (zero, cosine, -sine), (zero, sine, cosine)
    return torch.stack([torch.stack(row, dim=1) for row in rows], dim=1)
