"""Whether tensors have numbers that Python can read."""

import torch


def is_traced() -> bool:
    """Whether this runs under torch.compile, torch.export, torch.jit.trace or a transform of torch.func.

    Example:
        >>> torch.func.vmap(lambda x: x + is_traced())(torch.zeros(2)), is_traced()
        (tensor([1., 1.]), False)
    """
    return torch.compiler.is_compiling() or torch.jit.is_tracing() or is_transformed()


def is_transformed() -> bool:
    """Whether a transform of torch.func (grad, vmap, jvp, ...) is active."""
    return torch._C._are_functorch_transforms_active()
