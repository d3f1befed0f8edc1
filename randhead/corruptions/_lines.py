"""Whether a chain of integer operations is NumPy's or PyTorch's."""

from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

NUMPY = ("cpu",)  # the devices where NumPy takes a fraction of the time, for comparisons of bytes and 16-bit integers


def with_module(values: Tensor) -> tuple[Any, ModuleType]:
    """An array of the same memory and `numpy` on a CPU, else the tensor and `torch`."""
    return (values.numpy(), np) if values.device.type in NUMPY else (values, torch)
