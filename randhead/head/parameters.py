"""Parameters with an entry per class: set to given values, and extended by the entries of new classes."""

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from randhead.errors import UsageError


@contextlib.contextmanager
def restored_on_error(module: nn.Module) -> Iterator[None]:
    """A context whose errors leave the attributes, parameters and buffers of a module as they were."""
    held = {name: dict(value) if name in ("_parameters", "_buffers") else value for name, value in vars(module).items()}
    try:
        yield
    except BaseException:
        vars(module).update(held)
        raise


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
    """A parameter (K, ...) with more entries (N, ...) behind its own: (K + N, ...).  Raises UsageError if sharded."""
    if hasattr(parameter, "device_mesh"):
        hint = "call `head.grow` before `fully_shard`, and load the state of the smaller head into the larger one"
        raise UsageError("a sharded head cannot grow", hint=hint)
    return nn.Parameter(torch.cat([parameter, new.to(parameter)]), requires_grad=parameter.requires_grad)
