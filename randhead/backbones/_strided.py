"""A 1x1 convolution with a stride, without the kernel of torch 2.14's CPU that writes past the end of its buffer.

The gradient of the input of a channels-last 1x1 convolution with a stride of 2 corrupts memory if there are fewer input
channels than fp32 numbers in a vector register: 16 with AVX-512, 8 with AVX2 (oneDNN's brgconv_strided, in fp32 and
bf16; found with a write-protected page behind each buffer).  The convolution reads only every second pixel, so the same
convolution of those pixels with a stride of 1 gives the same result and uses another kernel.
"""

from torch import Tensor, nn

SAFE_CHANNELS = 16  # with at least as many, the kernel is correct, and the built-in networks keep their bits


def avoid_broken_kernel(network: nn.Module) -> None:
    """Drop the unused pixels before each affected convolution of `network`.  Weights and their names do not change."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and _is_affected(module):
            module.register_forward_pre_hook(_Every(*module.stride))
            module.stride = (1, 1)


def _is_affected(conv: nn.Conv2d) -> bool:
    small = conv.in_channels < SAFE_CHANNELS and conv.kernel_size == (1, 1) and conv.groups == 1
    return small and max(conv.stride) > 1 and conv.padding == (0, 0)


class _Every:
    """A hook that keeps every `rows`-th row and `columns`-th column of (B, C, H, W).  It can be pickled."""

    def __init__(self, rows: int, columns: int):
        self.rows, self.columns = rows, columns

    def __call__(self, module: nn.Module, args: tuple[Tensor]) -> tuple[Tensor]:
        return (args[0][..., :: self.rows, :: self.columns],)
