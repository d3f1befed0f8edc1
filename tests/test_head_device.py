"""The head on a CUDA device: its loss is torch's, its bound that of the CPU; building, loading, growing, compiling."""

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


@pytest.mark.filterwarnings("ignore")  # of torch's compiler, also as torch 2.11 imports it
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


K, D, B = 300, 64, 24
OPTIONS = {
    "plain": {},
    "class weights": {"class_weights": torch.arange(K) % 7 / 3},
    "smoothed": {"label_smoothing": 0.1, "class_weights": torch.arange(K) % 7 / 3},
    "summed": {"reduction": "sum"},
    "each": {"reduction": "none"},
}


def on_device(options):
    return {name: value.cuda() if isinstance(value, torch.Tensor) else value for name, value in options.items()}


def of_torch(options):
    return {"weight" if name == "class_weights" else name: value for name, value in options.items()}


def labels_of(kind):
    generator = torch.Generator().manual_seed(3)
    if kind == "soft":
        return torch.rand(B, K, generator=generator).softmax(dim=1).cuda()
    labels = torch.randint(K, (B,), generator=generator)
    return labels.where(torch.arange(B) % 5 != 0, -100).cuda() if kind == "ignored" else labels.cuda()


@pytest.mark.parametrize("dtype", [torch.float32, BF16])
@pytest.mark.parametrize("kind", ["hard", "ignored", "soft"])
@pytest.mark.parametrize("normaliser", ["dense", "streaming"])
@pytest.mark.parametrize("options", OPTIONS)
def test_the_loss_is_torchs_cross_entropy_on_a_device(options, normaliser, kind, dtype):
    given, labels = on_device(OPTIONS[options]), labels_of(kind)
    head = ClassVectorHead(K, D, "rademacher", scoring="cosine", scale=9.0, normaliser=normaliser).cuda()
    found, exact = ((batch(B, D, K)[0].to(dtype).requires_grad_(), labels) for _ in range(2))
    loss = head.loss(*found, **given)
    loss.sum().backward()
    # Features (B, D) of cross-entropy in float32: classes come second in its logits.
    other = F.cross_entropy(head(exact[0]).float(), labels, **of_torch(given))
    other.sum().backward()
    rough = dtype == BF16
    torch.testing.assert_close(loss.float(), other, rtol=1e-2 if rough else 1e-4, atol=2e-2 if rough else 1e-4)
    difference = (found[0].grad.float() - exact[0].grad.float()).norm()
    assert difference < (3e-2 if rough else 1e-3) * exact[0].grad.float().norm()


@pytest.mark.parametrize("normaliser", ["dense", "streaming", "expected"])
def test_features_may_have_leading_dimensions_on_a_device(normaliser):
    head = ClassVectorHead(20_000, D, "uniform", scoring="cosine", scale=5.0, normaliser=normaliser).cuda()
    features, labels = batch(B, D, 20_000)
    for dtype in (torch.float32, BF16):
        flat, deep = (features.to(dtype, copy=True).requires_grad_() for _ in range(2))
        loss = head.loss(flat, labels, reduction="none")
        same = head.loss(deep.view(2, 3, 4, D), labels.view(2, 3, 4), reduction="none")
        assert same.shape == (2, 3, 4) and torch.equal(same.flatten(), loss)
        loss.sum().backward(), same.sum().backward()
        assert torch.equal(flat.grad, deep.grad)


def test_the_dense_loss_has_a_second_derivative_on_a_device():
    head = ClassVectorHead(K, D, "uniform", scoring="cosine", scale=9.0, normaliser="dense").cuda()
    features, labels = batch(B, D, K)
    found = []
    for loss_of in (head.loss, lambda x, y: F.cross_entropy(head(x), y)):
        x = features.clone().requires_grad_()
        gradient = torch.autograd.grad(loss_of(x, labels), x, create_graph=True)[0]
        found.append(torch.autograd.grad(gradient.square().sum(), x)[0])
    torch.testing.assert_close(*found, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("vectors", ["rademacher", "gaussian", "simplex"])
@pytest.mark.parametrize("trainable", [False, True])
def test_a_head_is_built_on_the_meta_device_and_loaded_on_cuda(trainable, vectors):
    made = ClassVectorHead(50, D, vectors, trainable=trainable)
    with torch.device("meta"):
        head = ClassVectorHead(50, D, vectors, trainable=trainable)
    head.to_empty(device="cuda")
    head.load_state_dict(made.state_dict())
    features, labels = batch(B, D, 50)
    assert torch.equal(head.class_vectors().cpu(), made.class_vectors())
    torch.testing.assert_close(head(features).cpu(), made(features.cpu()), rtol=1e-4, atol=1e-4)
    head.loss(features.requires_grad_(), labels).backward()
    assert features.grad.isfinite().all()
    assert all(torch.equal(value.cpu(), made.state_dict()[name]) for name, value in head.state_dict().items())


@pytest.mark.parametrize("trainable", [False, True])
@pytest.mark.parametrize("normaliser", ["dense", "streaming"])
def test_a_head_grows_on_a_device(normaliser, trainable):
    head = ClassVectorHead(20_000, D, "uniform", trainable=trainable, normaliser=normaliser, scale=0.5).cuda()
    features, labels = batch(B, D, 20_000)
    for _ in range(3):
        head.loss(features.to(BF16), labels)
    head.grow(20_000)
    large = ClassVectorHead(40_000, D, "uniform", trainable=trainable, normaliser=normaliser, scale=0.5).cuda()
    assert torch.equal(head.class_vectors(), large.class_vectors())
    labels = labels + 20_000
    for _ in range(3):
        assert torch.equal(head.loss(features.to(BF16), labels), large.loss(features.to(BF16), labels))
    exact = F.cross_entropy(large(features.to(BF16)).float(), labels)
    torch.testing.assert_close(head.loss(features.to(BF16), labels).float(), exact, rtol=1e-2, atol=1e-2)


@pytest.mark.filterwarnings("ignore")  # of torch's compiler
def test_the_dense_loss_compiles_as_one_graph_on_a_device():
    head = ClassVectorHead(K, D, "uniform", scoring="cosine", scale=9.0, normaliser="dense").cuda()
    compiled = torch.compile(head.loss, fullgraph=True)
    features, labels = batch(B, D, K)
    found, exact = (features.clone().requires_grad_() for _ in range(2))
    loss, other = compiled(found, labels), F.cross_entropy(head(exact), labels)
    loss.backward(), other.backward()
    torch.testing.assert_close(loss, other, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.grad, exact.grad, rtol=1e-3, atol=1e-6)
