"""The expected normaliser: its moments, its gradients, and that its bound on the error holds."""

import math

import pytest
import torch
import torch.nn.functional as F

from randhead import ClassVectorHead, vectors
from randhead.errors import UsageError
from randhead.losses import DrawnRows, StoredRows, cross_entropy, dense, expected
from randhead.vectors import gaussian, rademacher, uniform

GEOMETRIES = ("rademacher", "gaussian", "uniform")


def drawn(geometry, k, d, *, seed=0):
    return DrawnRows(geometry, k, d, seed=seed)


def exact(queries, labels, rows):
    """By logits that are all in memory, in float64."""
    return dense.split(queries.double() @ rows.matrix().double().T, labels)


def directions(b, d, *, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(b, d, generator=generator, dtype=dtype), dim=1)


@pytest.mark.parametrize("norm", [0.0, 1.0, 8.0, 60.0])
def test_the_moment_of_signs_is_the_mean_over_all_corners(norm):
    d = 10
    corners = 1 - 2.0 * ((torch.arange(2**d)[:, None] >> torch.arange(d)) & 1).double()
    queries = norm * directions(4, d)
    wanted = torch.logsumexp(queries @ corners.T / math.sqrt(d), dim=1) - d * math.log(2)
    torch.testing.assert_close(rademacher.log_mean_exp(queries), wanted)


@pytest.mark.parametrize(
    ("dim", "norm"),  # without (300, 0.5), where scipy's Bessel function underflows
    [(d, norm) for d in (1, 2, 3, 7, 64, 300) for norm in (0.5, 5.0, 50.0) if (d, norm) != (300, 0.5)],
)
def test_the_moment_on_the_sphere_is_a_bessel_function(dim, norm):
    special = pytest.importorskip("scipy.special")
    order = dim / 2 - 1
    scaled = special.ive(order, norm)
    wanted = special.gammaln(dim / 2) + order * math.log(2 / norm) + math.log(scaled) + norm
    found = gaussian.log_mean_exp(norm * directions(1, dim))[0].item()
    assert found == pytest.approx(wanted, rel=1e-9, abs=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize(("dim", "norm"), [(16, 6.0), (64, 8.0), (256, 16.0)])
def test_the_moment_of_uniform_integers_is_within_its_error_of_the_mean_over_draws(dim, norm):
    rows = torch.cat([vectors.draw("uniform", range(i, i + 40_000), dim=dim) for i in range(0, 200_000, 40_000)])
    axis = torch.zeros(1, dim)
    axis[0, 3] = 1
    queries = norm * torch.cat((directions(3, dim, dtype=torch.float32), axis))
    terms = (rows @ queries.T).double().exp()
    error = terms.std(dim=0) / terms.mean(dim=0) / math.sqrt(len(rows))
    found, offset = uniform.log_mean_exp(queries)
    assert ((found - terms.mean(dim=0).log()).abs() <= offset + 4 * error).all()
    assert (offset <= 0.1 * norm**4 / dim**3 * 1.001).all()


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_moments_stay_finite_and_have_gradients_at_zero_and_far_out(geometry):
    for norm in (0.0, 1e-4, 500.0):
        queries = (norm * directions(3, 32, dtype=torch.float32)).requires_grad_()
        found = vectors.geometry(geometry).log_mean_exp(queries)
        found = found[0] if isinstance(found, tuple) else found
        assert found.isfinite().all() and torch.autograd.grad(found.sum(), queries)[0].isfinite().all()


# Norm of the part that is random, and of the part along the own class vector.
SETTINGS = [(4.0, 0.0), (8.0, 4.0), (12.0, 12.0), (16.0, 0.0), (0.0, 10.0)]


@pytest.mark.slow
@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("dim", [64, pytest.param(512, marks=pytest.mark.slow)])
@pytest.mark.parametrize("k", [100, pytest.param(2000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("b", [1, 8])  # one sample alone has no others to average its error with
def test_the_true_error_lies_inside_the_reported_bound_in_95_percent_of_draws(b, geometry, dim, k):
    inside = total = 0
    for seed in range(24):
        rows = drawn(geometry, k, dim, seed=seed)
        for free, aligned in SETTINGS:
            labels = torch.arange(b)
            queries = free * directions(b, dim, seed=seed, dtype=torch.float32) + aligned * rows.gather(labels)
            scores = expected.scores(queries, labels, rows)
            truth = exact(queries, labels, rows)
            error = (
                cross_entropy(scores.target, scores.non_target).mean()
                - cross_entropy(truth.target, truth.non_target).mean()
            )
            inside += abs(error.item()) <= expected.error_bound(scores).item()
            total += 1
    assert inside >= 0.95 * total


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_the_bound_is_not_idle(geometry):
    """It is within a factor of 50 of the errors, and shrinks with the square root of K."""
    bounds, errors = {}, {}
    for k in (2000, 32_000):
        rows = drawn(geometry, k, 128)
        labels = torch.arange(16)
        queries = 10 * directions(16, 128, dtype=torch.float32)
        scores, truth = expected.scores(queries, labels, rows), exact(queries, labels, rows)
        bounds[k] = expected.error_bound(scores).item()
        errors[k] = (scores.non_target - truth.non_target).abs().mean().item()
        assert bounds[k] < 50 * errors[k]
    assert bounds[32_000] == pytest.approx(bounds[2000] / 4, rel=0.1)


def test_a_sum_that_may_be_zero_has_no_bound():
    rows = drawn("rademacher", 10, 64)
    queries = 30 * directions(2, 64, dtype=torch.float32)
    assert expected.error_bound(expected.scores(queries, torch.tensor([0, 1]), rows)) == math.inf


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_with_every_class_exact_the_expected_normaliser_is_exact(geometry):
    rows = drawn(geometry, 50, 32)
    queries, labels = 5 * directions(6, 32, dtype=torch.float32), torch.arange(6)
    scores = expected.scores(queries, labels, rows, exact_classes=torch.randperm(50))
    torch.testing.assert_close(scores.non_target, exact(queries, labels, rows).non_target.float())
    assert expected.error_bound(scores) == 0


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_hard_negatives_are_summed_exactly(geometry):
    """Features that lean to another class: the mean does not know it, the exact part does."""
    k, d = 20_000, 128
    rows, labels = drawn(geometry, k, d), torch.arange(6)
    negatives = torch.arange(100, 106)
    queries = 8 * rows.gather(labels) + 12 * rows.gather(negatives)
    truth = exact(queries, labels, rows).non_target
    off = (expected.scores(queries, labels, rows).non_target - truth).abs()
    near = expected.scores(queries, labels, rows, exact_classes=torch.cat((labels, negatives)))
    assert (off > 0.5).all() and ((near.non_target - truth).abs() < 0.05).all()


def test_own_class_is_never_among_the_others():
    rows = drawn("rademacher", 1000, 64)
    queries, labels = 20 * rows.gather(torch.arange(4)), torch.arange(4)
    alone = expected.scores(queries, labels, rows).non_target
    torch.testing.assert_close(alone, rademacher.log_mean_exp(queries) + math.log(999))
    among = expected.scores(queries, labels, rows, exact_classes=labels)
    assert ((among.non_target - alone).abs() < 0.05).all()


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_time_and_numbers_do_not_depend_on_the_number_of_classes(geometry):
    features, labels = 10 * directions(8, 64, dtype=torch.float32), torch.arange(8)
    losses = [
        ClassVectorHead(k, 64, geometry, scale=1.0, normaliser="expected").loss(features, labels, label_smoothing=0.1)
        for k in (10**6, 10**9)
    ]
    assert losses[1].item() - losses[0].item() == pytest.approx(math.log(1000), rel=1e-2)


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_label_smoothing_takes_the_mean_row_at_its_expectation(geometry):
    rows = drawn(geometry, 4000, 64)
    distance = (expected.mean_row(rows) - rows.mean()).norm().item()
    assert distance == pytest.approx(1 / math.sqrt(4000), rel=0.3)


def test_the_bound_of_the_last_loss_is_at_hand():
    features, labels = 5 * directions(8, 64, dtype=torch.float32), torch.arange(8)
    head = ClassVectorHead(10_000, 64, scale=1.0, normaliser="expected")
    loss = head.loss(features, labels)
    exact = ClassVectorHead(10_000, 64, scale=1.0, normaliser="dense")
    assert 0 < head.last_error_bound < 0.05
    assert abs(loss - exact.loss(features, labels)) < head.last_error_bound
    assert exact.last_error_bound == 0


@pytest.mark.parametrize("geometry", ["hadamard", "orthogonal"])
def test_structured_vectors_are_refused(geometry):
    with pytest.raises(UsageError, match="independent draws"):
        ClassVectorHead(32, 64, geometry, normaliser="expected")


def test_learned_vectors_are_refused():
    with pytest.raises(UsageError, match="independent draws"):
        ClassVectorHead(32, 64, trainable=True, normaliser="expected")
    with pytest.raises(UsageError, match="independent draws"):
        expected.scores(torch.zeros(1, 8), torch.zeros(1, dtype=torch.int64), StoredRows(torch.eye(8)))


def test_too_few_classes_for_the_tolerance_are_refused_and_the_exact_way_named():
    features, labels = 12 * directions(8, 64, dtype=torch.float32), torch.arange(8)
    head = ClassVectorHead(100, 64, scale=1.0, normaliser="expected")
    with pytest.raises(UsageError, match=r"may be off by .* nats with 100 classes in 64 dimensions") as error:
        head.loss(features, labels)
    assert "streaming" in error.value.hint
    assert head.last_error_bound > 0.05
    ClassVectorHead(100, 64, scale=1.0, normaliser="expected", normaliser_tolerance=math.inf).loss(features, labels)


def test_exact_classes_must_be_different_classes():
    head = ClassVectorHead(10_000, 64, scale=1.0, normaliser="expected")
    features, labels = directions(8, 64, dtype=torch.float32), torch.arange(8)
    head.loss(features, labels, exact_classes=labels)
    for wrong in (torch.tensor([1, 1]), torch.tensor([0.5]), torch.tensor([[1, 2]])):
        with pytest.raises(UsageError, match="different classes"):
            head.loss(features, labels, exact_classes=wrong)
    with pytest.raises(UsageError, match=r"0\.\.9999"):
        head.loss(features, labels, exact_classes=torch.tensor([10_000]))
