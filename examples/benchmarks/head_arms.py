"""What `head.py` and `head_cuda.py` measure: losses, each made for a number of classes, and how long they take.

An arm is a function of (k, dtype) that gives a function which makes loss and gradient once.
"""

import statistics
import time

import torch
import torch.nn.functional as F

from randhead import ClassVectorHead
from randhead.losses import DrawnRows, StoredRows, cross_entropy, expected, streaming

B, D = 256, 512
GEOMETRIES = ("rademacher", "uniform", "gaussian")


def drawn(geometry, k, dim=D, device="cpu"):
    return DrawnRows(geometry, k, dim, device=device)


def batch(k, *, b=B, dim=D, norm=10.0, device="cpu"):
    generator = torch.Generator().manual_seed(0)
    queries = norm * F.normalize(torch.randn(b, dim, generator=generator), dim=1)
    return queries.to(device), torch.randint(0, k, (b,), generator=generator).to(device)


def matrix(k, dim=D, dtype=torch.float32, device="cpu"):
    """Class vectors in memory, for the arms that need them.  Random numbers of the same size, for speed."""
    out = torch.empty(k, dim, dtype=dtype, device=device)
    generator = torch.Generator(device).manual_seed(0)
    for part in out.split(1 << 16):
        part.copy_(torch.randn(part.shape, generator=generator, device=device) * dim**-0.5)
    return out


def ours(geometry, k, dtype=torch.float32, **size):
    return streamed(drawn(geometry, k, size.get("dim", D), size.get("device", "cpu")), dtype, **size)


def stored(weights):
    return streamed(StoredRows(weights))


def streamed(rows, dtype=torch.float32, **size):
    x, y = batch(rows.num_classes, **size)

    def step():
        q = x.clone().requires_grad_()
        scores = streaming.scores(q, y, rows, precision=dtype)
        cross_entropy(scores.target, scores.non_target).mean().backward()

    return step


def auto(k):
    """The head as it comes: dense, with the own class left out of the sum, while logits are small."""
    head = ClassVectorHead(k, D, "rademacher", scale=1.0)
    x, y = batch(k)
    return lambda: head.loss(x.clone().requires_grad_(), y).backward()


def expected_arm(k, geometry="rademacher", **size):
    rows = drawn(geometry, k, size.get("dim", D), size.get("device", "cpu"))
    x, y = batch(k, **size)

    def step():
        q = x.clone().requires_grad_()
        scores = expected.scores(q, y, rows)
        expected.error_bound(scores)
        cross_entropy(scores.target, scores.non_target).mean().backward()

    return step


def frozen(k, dtype=torch.float32, call=None, weights=None, **size):
    call = call or (lambda q, w, y: F.cross_entropy(q @ w.T, y))
    x, y = batch(k, **size)
    x = x.to(dtype)
    w = matrix(k, size.get("dim", D), dtype, size.get("device", "cpu")) if weights is None else weights
    return lambda: call(x.clone().requires_grad_(), w, y).backward()


def trained(k, dtype=torch.float32, call=None, **size):
    call = call or (lambda q, w, y: F.cross_entropy(q @ w.T, y))
    x, y = batch(k, **size)
    x = x.to(dtype)
    w = matrix(k, size.get("dim", D), dtype, size.get("device", "cpu")).requires_grad_()
    optimiser = torch.optim.SGD([w], lr=0.1, momentum=0.9)

    def step():
        optimiser.zero_grad(set_to_none=True)
        call(x.clone().requires_grad_(), w, y).backward()
        optimiser.step()

    return step


def linear(q, w, y, chunk=None):
    options = torch.nn.LinearCrossEntropyOptions(**({} if chunk is None else {"batch_chunk_size": chunk}))
    return F.linear_cross_entropy(q, w, y, options=options)


def in_turns(arms, repeats):
    """Median milliseconds of thread CPU time of every arm, run in turns after one round to warm up."""
    seconds = {name: [] for name in arms}
    for _ in range(repeats + 1):
        for name, step in arms.items():
            start = time.thread_time()
            step()
            seconds[name].append(time.thread_time() - start)
    return {name: 1e3 * statistics.median(runs[1:]) for name, runs in seconds.items()}
