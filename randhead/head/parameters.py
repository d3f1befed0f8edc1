"""Parameters with an entry per class: set to given values, and extended by the entries of new classes."""

import torch
from torch import Tensor, nn


@torch.no_grad()
def write(parameter: Tensor, values: Tensor) -> None:
    """Set a parameter to values (K, ...) of any device and dtype.  It may be sharded, as `fully_shard` leaves it."""
    values = values.to(device=parameter.device, dtype=parameter.dtype)
    mesh = getattr(parameter, "device_mesh", None)
    if mesh is not None:
        from torch.distributed.tensor import distribute_tensor

        values = distribute_tensor(values, mesh, getattr(parameter, "placements", None))
    parameter.copy_(values)


@torch.no_grad()
def extended(parameter: Tensor, new: Tensor) -> nn.Parameter:
    """A parameter (K, ...) with more entries (N, ...) behind its own: (K + N, ...)."""
    return nn.Parameter(torch.cat([parameter, new.to(parameter)]), requires_grad=parameter.requires_grad)
