"""The head's arithmetic on a CUDA device, in Triton.  This package can be imported without Triton.

`draw` draws class vectors.  `sweep` goes over all classes with three kernels per chunk of them: rows are drawn into a
small workspace once for the whole batch; one matrix product with exp in its epilogue writes the weights
p = exp(z - shift); a second one adds p @ rows to the gradient (`products`, in the sizes of `plan`).  `ends` is what
comes before and after.  `moments` is the closed form of the expected softmax.  `scores` gives all of this to autograd.
"""

import importlib.util

import torch
from torch import Tensor

from randhead.losses._tracing import is_traced

AVAILABLE = importlib.util.find_spec("triton") is not None


def can_read(tensor: Tensor) -> bool:
    """Whether a kernel can read a tensor: on a CUDA device, with numbers, and nothing is traced."""
    return tensor.is_cuda and type(tensor) in (Tensor, torch.nn.Parameter) and AVAILABLE and not is_traced()
