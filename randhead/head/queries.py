"""Features as they are scored: their directions, in products that stay in float32."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def without_autocast(device: torch.device) -> AbstractContextManager[object]:
    """A context in which products stay in float32.  One of autocast takes 6 us, so there is none without need."""
    needed = device.type != "meta" and torch.is_autocast_enabled(device.type)
    return torch.autocast(device.type, enabled=False) if needed else nullcontext()


def directions(embedded: Tensor) -> Tensor:
    """Rows divided by their norms as by F.normalize, but with gradient 0, not 1e12, for a row of zeros."""
    norms = torch.linalg.vector_norm(embedded, dim=-1, keepdim=True)
    return embedded / norms.clamp_min(1e-12).masked_fill(norms == 0, torch.inf)
