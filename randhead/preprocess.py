"""Preprocessing: uint8 images are moved to the device, normalised, and put into channels-last layout."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

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
        centre, spread = (torch.tensor(values, dtype=torch.float32, device="cpu") for values in (mean, std))
        return cls(centre, spread, device, resolve_dtype(precision, device))

    def prepare(self, images: Tensor) -> Tensor:
        """uint8 (B, 3, H, W) -> float (B, 3, H, W) on the device."""
        images = images.to(self.device, non_blocking=True)
        return _scaled(images, self.coefficients, torch.float32, channels_last=True)

    @cached_property
    def coefficients(self) -> tuple[Tensor, Tensor]:
        """Those of `normalise`, kept on the device: made for each batch, they would take ten launches and a wait."""
        with torch.inference_mode(False):
            return _coefficients(self.mean, self.std, self.device)

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
    return _scaled(images, _coefficients(mean, std, images.device), dtype, channels_last=channels_last)


def _coefficients(mean: Tensor, std: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
    """Factor and shift of pixels: (C,), (C,) -> (C, 1, 1) float32 each, computed in float64 on the CPU."""
    mean, std = (value.to("cpu", torch.float64)[:, None, None] for value in (mean, std))
    return (1 / (255 * std)).float().to(device), (-mean / std).float().to(device)


def _scaled(images: Tensor, coefficients: tuple[Tensor, Tensor], dtype: torch.dtype, *, channels_last: bool) -> Tensor:
    factor, shift = coefficients
    scaled = images.to(torch.float32).mul_(factor).add_(shift).to(dtype)
    # In this order because arithmetic with (C,) values on a channels-last batch takes seven times as long on a CPU.
    return scaled.contiguous(memory_format=torch.channels_last) if channels_last else scaled
