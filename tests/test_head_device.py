"""The head on a CUDA device: its loss is cross-entropy, its error bound that of the CPU."""

import pytest
import torch
import torch.nn.functional as F

pytest.importorskip("triton")
from randhead import ClassVectorHead

pytestmark = pytest.mark.gpu
GEOMETRIES = ("rademacher", "uniform", "gaussian")
BF16 = torch.bfloat16


def batch(b, d, k, *, norm=8.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    queries = norm * F.normalize(torch.randn(b, d, generator=generator), dim=1)
    return queries.cuda(), torch.randint(0, k, (b,), generator=generator).cuda()


EVERY = [(geometry, normaliser, False) for geometry in GEOMETRIES for normaliser in ("streaming", "expected")]


@pytest.mark.filterwarnings("ignore:`torch.jit.:DeprecationWarning")  # torch 2.11 imports its compiler with it
@pytest.mark.parametrize(("geometry", "normaliser", "compiled"), [*EVERY, ("rademacher", "streaming", True)])
def test_the_loss_of_a_head_is_cross_entropy(geometry, normaliser, compiled):
    head = ClassVectorHead(20_000, 512, geometry, scoring="cosine", scale=12.0, normaliser=normaliser).cuda()
    features, labels = batch(128, 512, 20_000)
    loss = torch.compile(head.loss) if compiled else head.loss
    for _ in range(3):
        queries = features.to(BF16).requires_grad_()
        found = loss(queries, labels)
        gradient = torch.autograd.grad(found, queries)[0]
        inputs = features.to(BF16).float().requires_grad_()
        exact = F.cross_entropy(12 * F.normalize(inputs, dim=1) @ head.class_vectors().T, labels)
        tolerance = 0.05 if normaliser == "expected" else 5e-3
        assert abs(found.item() - exact.item()) < tolerance
        other = torch.autograd.grad(exact, inputs)[0]
        assert (gradient - other).norm() < (0.1 if normaliser == "expected" else 1e-2) * other.norm()


@pytest.mark.parametrize("margin", [None, lambda cosines: cosines - 0.2])
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_the_error_bound_is_that_of_the_cpu(geometry, margin):
    bounds = []
    for device in ("cpu", "cuda"):
        head = ClassVectorHead(20_000, 512, geometry, scoring="cosine", scale=12.0, normaliser="expected").to(device)
        features, labels = (x.to(device) for x in batch(128, 512, 20_000))
        loss = head.loss(features, labels, margin=margin, weights=torch.arange(128.0, device=device))
        bounds.append((loss.item(), head.last_error_bound))
    assert bounds[1] == pytest.approx(bounds[0], rel=1e-4)
