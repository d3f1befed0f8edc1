"""The exact normalisers against float64, and what surrounds them: gradients, margins, weights, the best classes."""

import math

import pytest
import torch
import torch.nn.functional as F

from randhead import ClassVectorHead, losses, vectors
from randhead.errors import DivergedError, UsageError
from randhead.losses import DrawnRows, StoredRows, _tiles, dense, streaming, top
from randhead.vectors import hadamard

GEOMETRIES = ("rademacher", "gaussian", "uniform")


def drawn(geometry, k, d, *, seed=0):
    return DrawnRows(geometry, k, d, seed=seed)


def batch(b, d, k, *, norm=5.0, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    queries = F.normalize(torch.randn(b, d, generator=generator, dtype=torch.float64), dim=1) * norm
    return queries.to(dtype).requires_grad_(), torch.randint(0, k, (b,), generator=generator)


def loss_and_gradient(scores, queries):
    loss = losses.cross_entropy(scores.target, scores.non_target).mean()
    return loss, torch.autograd.grad(loss, queries)[0]


def exact(queries, labels, rows):
    """Loss and gradient of float64 logits that are all in memory."""
    queries = queries.detach().double().requires_grad_()
    return loss_and_gradient(dense.split(queries @ rows.matrix().double().T, labels), queries)


def assert_close(found, wanted, rel):
    assert found[0].item() == pytest.approx(wanted[0].item(), rel=rel)
    assert (found[1].double() - wanted[1]).norm() <= rel * wanted[1].norm()


def small_tiles(monkeypatch, rows=64):
    for name in ("LARGEST_TILE", "SMALLEST_TILE"):
        monkeypatch.setattr(_tiles, name, rows)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("learned", [False, True])
@pytest.mark.parametrize("norm", [3.0, 100.0, 150.0])
@pytest.mark.parametrize("name", ["dense", "streaming"])
def test_gradients_of_exact_normalisers_are_right(monkeypatch, name, norm, learned, bias):
    small_tiles(monkeypatch, rows=8)
    k, d = 11, 3
    queries, labels = batch(2, d, k, norm=norm, dtype=torch.float64)
    matrix = vectors.draw("gaussian", range(k), dim=d).double().requires_grad_(learned)
    offsets = torch.linspace(-1, 1, k, dtype=torch.float64).requires_grad_() if bias else None
    inputs = [queries, *([matrix] if learned else []), *([offsets] if bias else [])]
    member = {"dense": dense, "streaming": streaming}[name]

    def run(*_):
        scores = member.scores(queries, labels, StoredRows(matrix), offsets)
        return scores.target, scores.non_target

    assert torch.autograd.gradcheck(run, inputs, eps=1e-7 if norm > 50 else 1e-6, atol=1e-5)


@pytest.mark.parametrize("margin", [None, losses.cosface, losses.arcface])
@pytest.mark.parametrize(
    ("smoothing", "weighted"),
    [(0.0, False), (0.2, True), *(pytest.param(*both, marks=pytest.mark.slow) for both in ((0.2, False), (0.0, True)))],
)
@pytest.mark.parametrize(
    ("name", "geometry"), [("dense", "uniform"), ("streaming", "uniform"), *(("expected", g) for g in GEOMETRIES)]
)
def test_gradients_of_all_that_surrounds_a_normaliser_are_right(
    monkeypatch, name, geometry, weighted, smoothing, margin
):
    small_tiles(monkeypatch, rows=8)
    k, d = 11, 3
    scoring = "dot" if margin is None else "cosine"
    head = ClassVectorHead(k, d, geometry, scoring, scale=4.0, normaliser=name, normaliser_tolerance=math.inf)
    # queries() is the place where a head goes to float32.
    monkeypatch.setattr(head, "queries", lambda z: head.scale * (F.normalize(z, dim=1) if scoring == "cosine" else z))
    monkeypatch.setattr(head, "_rows", DoubleRows(head.rows()))
    features, labels = batch(2, d, k, norm=1.0, dtype=torch.float64)
    weights = torch.linspace(0.5, 2, 2, dtype=torch.float64) if weighted else None
    options = {"label_smoothing": smoothing, "weights": weights, "margin": margin}
    assert torch.autograd.gradcheck(lambda x: head.loss(x, labels, **options), features, atol=1e-6)


class DoubleRows(DrawnRows):
    """Rows in float64, for gradcheck."""

    def __init__(self, rows):
        super().__init__(rows.geometry, rows.num_classes, rows.dim, seed=rows.seed)

    def draw(self, ids, out=None):
        return super().draw(ids).double()

    def mean(self):
        return super().mean().double()


@pytest.mark.parametrize("norm", [1.0, 20.0, 90.0, 200.0])
@pytest.mark.parametrize("geometry", [*GEOMETRIES, "hadamard"])
def test_streaming_equals_float64_dense(geometry, norm):
    k, d = 5000, 64
    rows = drawn(geometry, k, d)
    queries, labels = batch(32, d, k, norm=norm)
    found = loss_and_gradient(streaming.scores(queries, labels, rows), queries)
    assert_close(found, exact(queries, labels, rows), 1e-6 if norm < 90 else 4e-6)


@pytest.mark.parametrize("geometry", [*GEOMETRIES, "hadamard"])
def test_streaming_in_bfloat16_equals_float64_dense(monkeypatch, geometry):
    # As on a CPU with bfloat16 instructions.
    monkeypatch.setattr(streaming, "_arithmetic", lambda precision, device: precision)
    k, d = 5000, 512
    rows = drawn(geometry, k, d)
    queries, labels = batch(4, d, k, norm=15.0)
    found = loss_and_gradient(streaming.scores(queries, labels, rows, precision=torch.bfloat16), queries)
    assert_close(found, exact(queries, labels, rows), 1e-4)


@pytest.mark.parametrize(("precision", "rel"), [(torch.float32, 1e-6), (torch.bfloat16, 2e-4)])
def test_well_fitted_samples_keep_their_digits(monkeypatch, precision, rel):
    monkeypatch.setattr(streaming, "_arithmetic", lambda precision, device: precision)
    k, d, b = 5000, 512, 4
    rows = drawn("rademacher", k, d)
    noise, labels = batch(b, d, k, norm=1.0)
    queries = (24 * rows.gather(labels) + noise.detach()).requires_grad_()
    wanted = exact(queries, labels, rows)
    assert 1e-7 < wanted[0] < 2e-6
    found = loss_and_gradient(streaming.scores(queries, labels, rows, precision=precision), queries)
    assert_close(found, wanted, rel)
    usual = F.cross_entropy(queries @ rows.matrix().T, labels)
    assert abs(usual.item() / wanted[0].item() - 1) > 0.03


def test_the_static_shift_never_loses_a_sum_to_underflow():
    """Two classes whose logits are both -110: a shift by the bound alone would give log 0."""
    matrix = torch.zeros(2, 64)
    matrix[:, 0] = 1.0
    queries, labels = torch.zeros(3, 64), torch.tensor([0, 1, 0])
    queries[:, 0] = -110.0
    scores = streaming.scores(queries, labels, StoredRows(matrix))
    torch.testing.assert_close(scores.non_target, torch.full((3,), -110.0, dtype=torch.float64))


@pytest.mark.parametrize("geometry", ["uniform", "hadamard"])
@pytest.mark.parametrize("k", [2, 63, 64, 65, 129])
def test_a_last_tile_of_any_size_is_right(monkeypatch, k, geometry):
    small_tiles(monkeypatch)
    rows = drawn(geometry, k, 16)
    queries, labels = batch(20, 16, k)
    assert_close(
        loss_and_gradient(streaming.scores(queries, labels, rows), queries), exact(queries, labels, rows), 1e-6
    )


@pytest.mark.parametrize("dim", [1, 2, 8, 32, 512])
def test_the_fast_transform_is_the_product_with_the_rows_of_a_block(dim):
    rows, x = vectors.draw("hadamard", range(dim), dim=dim).double(), torch.randn(3, 2, dim, dtype=torch.float64)
    signs = rows[0] * math.sqrt(dim)
    torch.testing.assert_close(hadamard.transform(x * signs) / math.sqrt(dim), x @ rows.T, rtol=1e-6, atol=1e-6)


def test_without_gradients_no_gradient_is_made(monkeypatch):
    rows = drawn("uniform", 100, 16)
    queries, labels = batch(4, 16, 100)
    monkeypatch.setattr(_tiles.MatrixTile, "add", lambda *_: pytest.fail("a gradient was made"))
    with torch.no_grad():
        assert streaming.scores(queries, labels, rows).non_target.shape == (4,)


def test_auto_takes_dense_while_logits_are_small_and_holds_no_rows_beyond():
    head = ClassVectorHead(200_000, 8, "rademacher")
    assert head.normaliser_for(32) == "dense" and head.normaliser_for(256) == "streaming"
    huge = ClassVectorHead(100_000_000, 64, "rademacher")
    assert huge.normaliser_for(1) == "streaming"
    features, labels = batch(2, 64, 1000)
    assert huge.rows()._matrix is None and not huge.state_dict().keys() - {"vectors_spec"}
    assert torch.equal(huge.rows().gather(labels), vectors.draw("rademacher", labels, dim=64))
    huge.normaliser = "expected"
    assert huge.loss(features, labels).isfinite()
    assert huge.rows()._matrix is None


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("trainable", [False, True])
@pytest.mark.parametrize("scoring", ["dot", "cosine"])
def test_every_gradient_of_a_head_is_the_same_by_streaming_and_dense(monkeypatch, scoring, trainable, smoothing):
    small_tiles(monkeypatch)
    gradients = []
    for name in ("dense", "streaming"):
        head = ClassVectorHead(300, 16, scoring=scoring, trainable=trainable, bias=0.1, learn_scale=True, scale=6.0,
                               neck="linear", normaliser=name)  # fmt: skip
        torch.nn.init.eye_(head.neck.weight), torch.nn.init.zeros_(head.neck.bias)
        features, labels = batch(10, 16, 300, norm=1.0)
        head.loss(features, labels, label_smoothing=smoothing).backward()
        gradients.append({"features": features.grad} | {n: p.grad for n, p in head.named_parameters()})
    for key, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][key], gradient, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("margin", [0.0, 0.3, 0.5])
def test_margins_are_their_formulas(margin):
    cosines = torch.linspace(-1, 1, 101, dtype=torch.float64)
    torch.testing.assert_close(losses.cosface(cosines, margin=margin), cosines - margin)
    angles = cosines.acos()
    inside = angles + margin < math.pi
    turned = losses.arcface(cosines, margin=margin)
    torch.testing.assert_close(turned[inside], (angles + margin).cos()[inside], atol=2e-4, rtol=0)
    assert (turned.diff() >= -1e-12).all()


def test_weights_are_a_weighted_mean_and_margins_touch_the_own_logit_alone():
    head = ClassVectorHead(9, 16, scoring="cosine", scale=7.0)
    features, labels = batch(5, 16, 9)
    weights = torch.tensor([1.0, 0.0, 2.0, 3.0, 0.5])
    one_by_one = torch.stack([head.loss(features[i : i + 1], labels[i : i + 1]) for i in range(5)])
    torch.testing.assert_close(head.loss(features, labels, weights=weights), (weights * one_by_one).sum() / 6.5)
    logits = head(features)
    logits = logits - 7.0 * 0.35 * F.one_hot(labels, 9)
    torch.testing.assert_close(head.loss(features, labels, margin=losses.cosface), F.cross_entropy(logits, labels))
    with pytest.raises(UsageError, match="cosine scoring"):
        ClassVectorHead(9, 16).loss(features, labels, margin=losses.cosface)


@pytest.mark.parametrize("k", [1, 5, 100, 1000])
@pytest.mark.parametrize("levels", [3, 1000])
def test_the_best_classes_are_exact_with_ties_by_class_index(monkeypatch, levels, k):
    monkeypatch.setattr("randhead.losses._topk.TILE_LOGITS", 100)
    generator = torch.Generator().manual_seed(0)
    rows = StoredRows(torch.randint(0, levels, (700, 3), generator=generator).float())
    queries = torch.randint(0, 3, (6, 3), generator=generator).float()
    classes, values = top(queries, rows, None, k=k)
    wanted = (queries @ rows.matrix().T).sort(dim=1, descending=True, stable=True)
    assert torch.equal(values, wanted.values[:, :k])
    assert torch.equal(classes, wanted.indices[:, :k])


def test_the_mean_row_of_drawn_vectors_is_that_of_the_matrix():
    rows = drawn("uniform", 3000, 32)
    torch.testing.assert_close(rows.mean(), rows.matrix().double().mean(dim=0).float())


def test_wrong_batches_are_named():
    head = ClassVectorHead(10, 16)
    features, labels = batch(4, 16, 10)
    for wrong in (labels.bool(), labels[:3], labels[None]):
        with pytest.raises(UsageError, match="labels must be an integer tensor of shape"):
            head.loss(features, wrong)
    for wrong in (-1, 10):
        with pytest.raises(UsageError, match=r"labels must be in 0\.\.9"):
            head.loss(features, torch.tensor([0, 1, 2, wrong]))
    with pytest.raises(UsageError, match="features must have shape"):
        head.loss(features[:, :8], labels)
    with pytest.raises(UsageError, match='`exact_classes` needs `normaliser="expected"`'):
        head.loss(features, labels, exact_classes=labels.unique())
    for value in (torch.nan, torch.inf):
        broken = features.detach().clone()
        broken[1, 2] = value
        with pytest.raises(DivergedError, match="features of 1 of 4 samples are not finite"):
            head.loss(broken, labels)
