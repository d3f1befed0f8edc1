"""Whether tensors have numbers that Python can read."""

import contextlib
from contextlib import AbstractContextManager

import torch
from torch._functorch.pyfunctorch import temporarily_clear_interpreter_stack


def is_traced() -> bool:
    """Whether this runs under torch.compile, torch.export, torch.jit.trace or a transform of torch.func.

    Example:
        >>> torch.func.vmap(lambda x: x + is_traced())(torch.zeros(2)), is_traced()
        (tensor([1., 1.]), False)
    """
    return is_recorded() or is_transformed()


def is_recorded() -> bool:
    """Whether this runs under torch.compile, torch.export or torch.jit.trace."""
    return torch.compiler.is_compiling() or torch.jit.is_tracing()


def untransformed() -> AbstractContextManager[object]:
    """A context outside of all transforms of torch.func, for tensors that are kept: theirs are of no use after them.

    Example:
        >>> def keep(x):
        ...     with untransformed():
        ...         return kept.append(torch.ones(1) + is_transformed()) or x
        >>> kept = []
        >>> torch.func.vmap(keep)(torch.zeros(2)), kept
        (tensor([0., 0.]), [tensor([1.])])
    """
    return temporarily_clear_interpreter_stack() if is_transformed() else contextlib.nullcontext()


def has_tangents() -> bool:
    """Whether `torch.autograd.forward_ad` is in use."""
    return torch.autograd.forward_ad._current_level >= 0


def is_transformed() -> bool:
    """Whether a transform of torch.func (grad, vmap, jvp, ...) is active."""
    return torch._C._are_functorch_transforms_active()
