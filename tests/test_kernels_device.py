"""The Triton kernels on a CUDA device: rows to the bit, sums and gradients against float64, graphs and memory."""

import gc
import os
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import torch.nn.functional as F

pytest.importorskip("triton")
if os.environ.get("TRITON_INTERPRET") == "1":
    pytest.skip("kernels are interpreted", allow_module_level=True)

from randhead import rng, vectors
from randhead.errors import UsageError
from randhead.losses import DrawnRows, StoredRows, cross_entropy, dense, expected, streaming

pytestmark = pytest.mark.gpu
GEOMETRIES = ("rademacher", "uniform", "gaussian")
BF16 = torch.bfloat16


@pytest.fixture(autouse=True)
def _forgotten():
    from randhead.losses.kernels import kept

    kept.forget()
    yield
    kept.forget()


def drawn(geometry, k, d, *, seed=9, names=None):
    return DrawnRows(geometry, k, d, seed=seed, ids=names, device="cuda")


def batch(b, d, k, *, norm=8.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    queries = norm * F.normalize(torch.randn(b, d, generator=generator), dim=1)
    return queries.cuda(), torch.randint(0, k, (b,), generator=generator).cuda()


def wanted(queries, labels, rows):
    """Target logit, log-sum-exp over the other classes and the gradient of both's difference, in float64."""
    queries = queries.detach().double().requires_grad_()
    target, others = dense.split(queries @ rows.matrix().double().T, labels)[:2]
    return target.detach(), others.detach(), torch.autograd.grad((others - target).sum(), queries)[0]


def step(queries, labels, rows):
    """The same, from the kernels."""
    queries = queries.detach().clone().requires_grad_()
    target, others = streaming.scores(queries, labels, rows, precision=BF16)[:2]
    return target.detach(), others.detach(), torch.autograd.grad((others - target).sum(), queries)[0]


def check(found, exact):
    torch.testing.assert_close(found[0], exact[0], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found[1], exact[1], rtol=2e-3, atol=2e-2)
    assert (found[2] - exact[2]).norm() < 5e-3 * exact[2].norm()


def equal(found, other):
    return all(torch.equal(a, b) for a, b in zip(found, other, strict=True))


@pytest.mark.parametrize("dim", [5, 130, 512, 2048])
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_rows_are_those_of_the_cpu_bit_for_bit(geometry, dim):
    from randhead.losses.kernels import draw
    from randhead.losses.kernels.sweep import source_of

    ids = torch.cat([torch.arange(300), torch.tensor([2**32 - 1, 2**32, 2**62 + 5, 2**63 - 1])])
    found = draw.by_id(vectors.geometry(geometry), ids.cuda(), dim, 9)
    assert torch.equal(found.cpu(), vectors.draw(geometry, ids, dim=dim, seed=9))
    names = torch.tensor([rng.name_id(str(i)) for i in range(500)])
    for ids in (None, names):
        rows = drawn(geometry, 500, dim, names=ids)
        here = DrawnRows(geometry, 500, dim, seed=9, ids=ids)
        classes = torch.randint(0, 500, (77,))
        assert torch.equal(rows.gather(classes.cuda()).cpu(), here.gather(classes))
        assert torch.equal(rows.tile(100, 400, torch.float32).cpu(), here.tile(100, 400, torch.float32))
        space, clock = torch.empty(300, dim, device="cuda"), torch.tensor([60], device="cuda")
        draw.chunk_into(space, source_of(rows, space.device), 500, clock, 40)
        expected_rows = here.tile(100, 400, torch.float32)
        assert torch.equal(space.cpu(), expected_rows.sign() if rows.geometry.signs else expected_rows)


SHAPES = [(1024, 512), (4096, 512)]
SHAPES_OF_ONE = [(300, 2048), (77, 64), (1000, 256), (1000, 130), (1, 128)]
EACH = [(geometry, *shape) for geometry in (*GEOMETRIES, "hadamard", "stored") for shape in SHAPES]


@pytest.mark.parametrize(("geometry", "b", "d"), [*EACH, *(("rademacher", *shape) for shape in SHAPES_OF_ONE)])
def test_bfloat16_equals_float64_dense_and_every_step_has_the_same_bits(geometry, b, d):
    k = 40_000
    rows = drawn("uniform" if geometry == "stored" else geometry, k, d)
    rows = StoredRows(rows.matrix(), unit_norm=True) if geometry == "stored" else rows
    queries, labels = batch(b, d, k)
    first = step(queries, labels, rows)
    check(first, wanted(queries, labels, rows))
    for _ in range(3):  # from graphs
        assert equal(step(queries, labels, rows), first)


def test_graphs_read_what_each_step_is_given():
    rows = drawn("uniform", 30_000, 512)
    held = []
    for seed in range(6):  # other numbers at other addresses
        queries, labels = batch(256, 512, 30_000, seed=seed)
        held.append(torch.empty(seed * 1000 + 1, device="cuda"))
        check(step(queries, labels, rows), wanted(queries, labels, rows))
        del queries, labels
        gc.collect()
        torch.cuda.empty_cache()


def test_results_of_a_step_stay_when_another_follows():
    rows = drawn("uniform", 30_000, 512)
    one, two = batch(256, 512, 30_000, seed=1), batch(256, 512, 30_000, seed=2)
    for _ in range(3):
        a, b = (x[0].clone().requires_grad_() for x in (one, two))
        first, second = (streaming.scores(q, x[1], rows, precision=BF16) for q, x in ((a, one), (b, two)))
        (first.non_target - first.target).sum().backward()
        (second.non_target - second.target).sum().backward()
        check((first.target, first.non_target, a.grad), wanted(*one, rows))
        check((second.target, second.non_target, b.grad), wanted(*two, rows))


def test_shapes_seeds_names_and_heads_in_turns():
    names = torch.tensor([rng.name_id(str(i)) for i in range(9000)])
    several = [
        drawn("uniform", 9000, 512),
        drawn("uniform", 9000, 512, seed=8),
        drawn("uniform", 9000, 512, names=names),
    ]
    several += [drawn("rademacher", 9000, 512), drawn("gaussian", 9000, 128)]
    for _ in range(3):
        for rows in several:
            for b in (64, 200):
                queries, labels = batch(b, rows.dim, 9000)
                check(step(queries, labels, rows), wanted(queries, labels, rows))


@pytest.mark.parametrize("norm", [50.0, 71.0, 80.0, 300.0])
def test_logits_of_any_size(norm):
    rows = drawn("rademacher", 20_000, 512)
    queries, labels = batch(64, 512, 20_000, norm=norm)
    for _ in range(3):
        found, exact = step(queries, labels, rows), wanted(queries, labels, rows)
        torch.testing.assert_close(found[1], exact[1], rtol=1e-2, atol=1e-1)
        assert (found[2] - exact[2]).norm() < 3e-2 * exact[2].norm()


def test_features_opposite_to_all_classes_do_not_underflow():
    matrix = -torch.ones(5000, 64, device="cuda") / 8
    matrix[0] *= -1
    rows = StoredRows(matrix, unit_norm=True)
    labels = torch.zeros(4, dtype=torch.int64, device="cuda")
    for norm in (60.0, 71.0, 100.0, 500.0):
        queries = torch.full((4, 64), norm / 8, device="cuda")
        check(step(queries, labels, rows), wanted(queries, labels, rows))


def test_features_that_are_not_finite_give_no_number():
    rows = drawn("rademacher", 20_000, 512)
    queries, labels = batch(64, 512, 20_000)
    queries[3, 5] = torch.nan
    for _ in range(3):
        assert streaming.scores(queries, labels, rows, precision=BF16).non_target[3].isnan()


def test_a_step_takes_less_than_100_mb_at_any_number_of_classes_whatever_came_before():
    gc.collect()
    used, held = [], torch.cuda.memory_allocated()
    for k, before_it in ((1_000_000, []), (10_000_000, []), (1_000_000, [(4096, 512), (256, 2048), (700, 128)])):
        for b, d in before_it:
            step(*batch(b, d, 100_000), drawn("rademacher", 100_000, d))
        rows = drawn("rademacher", k, 512)
        queries, labels = batch(1024, 512, k)
        for _ in range(3):
            gc.collect()
            torch.cuda.reset_peak_memory_stats()
            step(queries, labels, rows)
        used.append(torch.cuda.max_memory_allocated() - held)
    assert max(used) < 1.05 * min(used) and max(used) < 100e6


def test_sweeps_that_share_memory_do_not_disturb_each_other():
    cases = [(256, 512, 9000), (256, 512, 30_000), (128, 130, 9000), (1000, 37, 3000), (2048, 512, 60_000)]
    several = [(drawn("gaussian", k, d), *batch(b, d, k)) for b, d, k in cases]
    exact = [wanted(queries, labels, rows) for rows, queries, labels in several]
    for order in ((0, 1, 2, 3), (0, 0, 1, 1, 0, 2, 2, 3, 3, 2, 0), (4, 0, 4, 4, 1, 1, 1)):
        for number in order:
            rows, queries, labels = several[number]
            check(step(queries, labels, rows), exact[number])


def test_without_gradient_and_in_inference_mode():
    rows = drawn("uniform", 30_000, 512)
    queries, labels = batch(256, 512, 30_000)
    exact = wanted(queries, labels, rows)
    for context in (torch.inference_mode, torch.no_grad, torch.enable_grad):
        for _ in range(3):
            with context():
                scores = streaming.scores(queries, labels, rows, precision=BF16)
            torch.testing.assert_close(scores.non_target, exact[1], rtol=2e-3, atol=2e-2)
    check(step(queries, labels, rows), exact)  # after memory was made in inference mode


def test_learned_rows_have_a_gradient():
    matrix = F.normalize(torch.randn(5000, 128, device="cuda"), dim=1).requires_grad_()
    queries, labels = batch(64, 128, 5000)
    queries.requires_grad_()
    scores = streaming.scores(queries, labels, StoredRows(matrix), precision=BF16)
    found = torch.autograd.grad(cross_entropy(*scores[:2]).mean(), (queries, matrix))
    exact = torch.autograd.grad(F.cross_entropy(queries @ matrix.T, labels), (queries, matrix))
    for one, other in zip(found, exact, strict=True):
        assert (one - other).norm() < 1e-2 * other.norm()


def test_a_second_derivative_is_refused():
    rows = drawn("uniform", 3000, 128)
    queries, labels = batch(64, 128, 3000)
    queries.requires_grad_()
    for scores in (streaming.scores(queries, labels, rows, precision=BF16), expected.scores(queries, labels, rows)):
        gradient = torch.autograd.grad(scores.non_target.sum(), queries, create_graph=True)[0]
        with pytest.raises(UsageError, match="no second derivative"):
            gradient.sum().backward()


def two_of_each():
    rows = drawn("uniform", 30_000, 512)
    pairs = [batch(256, 512, 30_000, seed=seed) for seed in range(2)]
    exact = [wanted(*pair, rows) for pair in pairs]
    torch.cuda.synchronize()
    return rows, pairs, exact, [torch.cuda.Stream() for _ in pairs]


def test_threads_do_not_share_memory():
    rows, pairs, exact, streams = two_of_each()

    def work(number):
        with torch.cuda.stream(streams[number]):
            found = [step(*pairs[number], rows) for _ in range(5)]
            streams[number].synchronize()
        return found

    with ThreadPoolExecutor(2) as threads:
        for number, several in enumerate(threads.map(work, range(2))):
            for found in several:
                check(found, exact[number])


def test_streams_in_turns_do_not_share_memory():
    rows, pairs, exact, streams = two_of_each()
    found = []
    for _ in range(4):
        for number, stream in enumerate(streams):
            with torch.cuda.stream(stream):
                found.append((number, step(*pairs[number], rows)))
    torch.cuda.synchronize()
    for number, results in found:
        check(results, exact[number])


def test_in_a_graph_that_the_caller_captures():
    rows = drawn("uniform", 30_000, 512)
    queries, labels = batch(256, 512, 30_000)
    with torch.no_grad():
        streaming.scores(queries, labels, rows, precision=BF16)  # all kernels are compiled
    graph = torch.cuda.CUDAGraph()
    with torch.no_grad(), torch.cuda.graph(graph):
        scores = streaming.scores(queries, labels, rows, precision=BF16)
    for seed in range(3):
        other = batch(256, 512, 30_000, seed=seed)
        queries.copy_(other[0]), labels.copy_(other[1])
        step(*other, rows)
        graph.replay()
        torch.testing.assert_close(scores.non_target, wanted(*other, rows)[1], rtol=2e-3, atol=2e-2)
