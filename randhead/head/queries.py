"""Features as they are scored: their directions, in products that stay in float32."""

import torch
from torch import Tensor


def directions(embedded: Tensor) -> Tensor:
    """Rows divided by their norms as by F.normalize, but with gradient 0, not 1e12, for a row of zeros."""
    norms = torch.linalg.vector_norm(embedded, dim=-1, keepdim=True)
    return embedded / norms.clamp_min(1e-12).masked_fill(norms == 0, torch.inf)
