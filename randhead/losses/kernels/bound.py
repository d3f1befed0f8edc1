"""The error bound of the expected softmax (`expected.error_bound`) in one launch instead of twenty."""

# mypy: disallow-untyped-defs=False, disallow-incomplete-defs=False
# Triton reads the annotations of a kernel's arguments as types of its own.

import torch
import triton
import triton.language as tl
from torch import Tensor

from randhead.losses._scores import Scores

AT_ONCE = 1024  # samples


def error_bound(scores: Scores, weights: Tensor | None, deviations: float) -> Tensor:
    """The bound in nats (a scalar), of scores (B,) float32 with a relative standard deviation.

    Args:
        scores: of a batch.
        weights: of its samples (B,), or None.
        deviations: number of standard deviations.
    """
    target = scores.target
    found = torch.empty((), dtype=torch.float32, device=target.device)
    with torch.cuda.device_of(target):
        bound_kernel[(1,)](
            target, scores.non_target, scores.relative_std, target if scores.log_bias is None else scores.log_bias,
            target if weights is None else weights.float().contiguous(), found, len(target), deviations,
            BIASED=scores.log_bias is not None, WEIGHTED=weights is not None, AT_ONCE=AT_ONCE, num_warps=8,
        )  # fmt: skip
    return found


@triton.jit
def bound_kernel(
    target, non_target, relative_std, log_bias, weights, found, batch, deviations,
    BIASED: tl.constexpr, WEIGHTED: tl.constexpr, AT_ONCE: tl.constexpr,
):  # fmt: skip
    """See `expected.error_bound`: the weighted mean of the samples' bounds, by one program."""
    total = tl.zeros((AT_ONCE,), dtype=tl.float32)
    mass = tl.zeros((AT_ONCE,), dtype=tl.float32)
    for start in range(0, batch, AT_ONCE):
        sample = start + tl.arange(0, AT_ONCE)
        real = sample < batch
        excess = tl.load(non_target + sample, mask=real, other=0.0) - tl.load(target + sample, mask=real, other=0.0)
        deviation = deviations * tl.load(relative_std + sample, mask=real, other=0.0)
        bounds = softplus(excess) - softplus(excess + tl.log(tl.maximum(1 - deviation, 1e-37)))
        bounds = tl.where(deviation < 1, bounds, float("inf"))
        if BIASED:
            bounds += tl.load(log_bias + sample, mask=real, other=0.0) / (1 + tl.exp(-excess))
        share = tl.load(weights + sample, mask=real, other=0.0) if WEIGHTED else real.to(tl.float32)
        total += share * tl.where(share > 0, bounds, 0.0)
        mass += share
    tl.store(found, tl.sum(total, axis=0) / tl.maximum(tl.sum(mass, axis=0), 1e-37))


@triton.jit
def softplus(x):
    """log(1 + e^x)."""
    return tl.maximum(x, 0.0) + tl.log(1 + tl.exp(-tl.abs(x)))
