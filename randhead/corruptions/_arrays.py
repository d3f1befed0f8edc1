"""Images of PIL and NumPy as tensors, and results back in their type, mode and layout."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from randhead.corruptions._arguments import check_bytes
from randhead.errors import UsageError

MODES = ("RGB", "L")  # of PIL


def is_array(image: object) -> bool:
    """Whether an image, or a batch, is of PIL or NumPy."""
    return isinstance(image, Image.Image | np.ndarray)


def opened(image: Any) -> tuple[Tensor, Callable[[Tensor], Any]]:
    """An image of PIL or NumPy as uint8 (..., C, H, W), and the function that gives a result its type and layout.

    Raises:
        UsageError: for other modes of PIL than RGB and L, and for arrays but uint8 (..., H, W, 3 or 1) and (H, W).
    """
    if isinstance(image, Image.Image):
        if image.mode not in MODES:
            raise UsageError(f"image has the mode {image.mode} of PIL", hint='`image.convert("RGB")` makes it RGB')
        channels_first, back = _opened_array(np.asarray(image))
        return channels_first, lambda out: Image.fromarray(back(out))
    return _opened_array(image)


def _opened_array(image: np.ndarray) -> tuple[Tensor, Callable[[Tensor], np.ndarray]]:
    check_bytes("image", image.dtype, "(image * 255).round().astype(np.uint8)")
    if image.ndim == 2:
        return torch.from_numpy(image[None].copy()), lambda out: out[0].numpy()
    if image.shape[-1] not in (1, 3):
        hint = "`image[..., :3]` leaves out the alpha channel" if image.shape[-1] == 4 else "an image is (H, W, 3)"
        hint = "`np.moveaxis(image, -3, -1)` puts channels last" if image.shape[-3] in (1, 3) else hint
        raise UsageError(f"an image of NumPy must be (H, W, 3) or (H, W), got {image.shape}", hint=hint)
    channels_first = torch.from_numpy(np.moveaxis(image, -1, -3).copy())
    return channels_first, lambda out: np.ascontiguousarray(np.moveaxis(out.numpy(), -3, -1))
