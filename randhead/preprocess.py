"""Preprocessing: uint8 images are moved to the device, normalised, and put into channels-last layout."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from randhead.device import resolve_dtype


@dataclass(frozen=True)
class Preprocess:
    """Maps uint8 images to the input of a backbone: on its device, normalised, channels last."""

    mean: Tensor  # (3,), of pixels in [0, 1]
    std: Tensor
    device: torch.device
    precision: torch.dtype

    @classmethod
    def of(
        cls, mean: Sequence[float], std: Sequence[float], *, precision: str = "auto", device: torch.device
    ) -> "Preprocess":
        """Make the preprocessing of a run on a device.

        Args:
            mean: mean of each channel, of pixels in [0, 1].
            std: standard deviation of each channel.
            precision: "fp32", "bf16" or "auto".
            device: the device of the backbone.
        """
        # On the device: a copy from the CPU for each batch would wait for the device.
        centre, spread = (torch.tensor(values, dtype=torch.float32, device=device) for values in (mean, std))
        return cls(centre, spread, device, resolve_dtype(precision, device))

    def prepare(self, images: Tensor) -> Tensor:
        """uint8 (B, 3, H, W) -> float (B, 3, H, W) on the device."""
        images = images.to(self.device, non_blocking=True)
        return normalise(images, self.mean, self.std, channels_last=True)

    def autocast(self) -> torch.autocast:
        """The autocast context in which the backbone runs.

        It keeps no copies of weights: torch drops them only at the end of the outermost context, so within one of the
        caller every step would run on the weights of the first.
        """
        enabled = self.precision != torch.float32
        dtype = self.precision if enabled else torch.bfloat16
        return torch.autocast(self.device.type, dtype=dtype, enabled=enabled, cache_enabled=False)


def normalise(
    images: Tensor, mean: Tensor, std: Tensor, *, dtype: torch.dtype = torch.float32, channels_last: bool = False
) -> Tensor:
    """(images / 255 - mean) / std: images (B, C, H, W) uint8, mean and std (C,) -> (B, C, H, W) of `dtype`.

    mean and std are those of pixels scaled to [0, 1], as from `datasets.channel_statistics`.  Computed in float32.
    """
    mean, std = (value.to(images.device, torch.float64)[:, None, None] for value in (mean, std))
    scaled = images.to(torch.float32).mul_((1 / (255 * std)).float()).add_((-mean / std).float()).to(dtype)
    # In this order because arithmetic with (C,) values on a channels-last batch takes seven times as long on a CPU.
    return scaled.contiguous(memory_format=torch.channels_last) if channels_last else scaled
