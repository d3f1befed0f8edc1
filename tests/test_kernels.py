"""The Triton kernels: their numbers in Triton's interpreter.

The interpreter has to be chosen before Triton is imported, so those tests run in a process of their own.
"""

import gc
import importlib.metadata
import os
import re
import subprocess
import sys
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("triton")
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"

from randhead import rng, vectors  # noqa: E402
from randhead.losses import DrawnRows, Scores, StoredRows, dense, expected, kernels, streaming  # noqa: E402

GEOMETRIES = ("rademacher", "uniform", "gaussian")
compiled = pytest.mark.skipif(INTERPRETED, reason="needs the compiler")


def interpreted(test):
    """The test where kernels are interpreted, and no test elsewhere."""
    return test if INTERPRETED else None


def drawn(geometry, k, d, *, ids=None):
    return DrawnRows(geometry, k, d, seed=9, ids=ids)


def batch(b, d, k, *, norm):
    generator = torch.Generator().manual_seed(0)
    queries = torch.nn.functional.normalize(torch.randn(b, d, generator=generator), dim=1) * norm
    return queries, torch.randint(0, k, (b,), generator=generator)


def exact(queries, labels, rows):
    """The log-sum-exp over the other classes and its gradient, in float64."""
    queries = queries.double().requires_grad_()
    others = dense.split(queries @ rows.matrix().double().T, labels).non_target
    return others.detach(), torch.autograd.grad(others.sum(), queries)[0]


@compiled
@pytest.mark.slow
@pytest.mark.skipif(
    importlib.metadata.version("triton") < "3.7" and np.lib.NumpyVersion(np.__version__) >= "2.4.0",
    reason="the interpreter of Triton 3.6 cannot loop up to a runtime number with NumPy 2.4",
)
def test_in_tritons_interpreter():
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-k", "interpreted", __file__]
    # NumPy, which interprets, warns of the products that the generator means to overflow.
    done = subprocess.run(
        [*command, "-W", "ignore::RuntimeWarning", "-W", "ignore::DeprecationWarning"],
        env={**os.environ, "TRITON_INTERPRET": "1", "CUDA_VISIBLE_DEVICES": ""},
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) >= 20


def small_plan():
    """Tiles that the interpreter does quickly, several of them along every side."""
    from randhead.losses.kernels import plan
    from randhead.losses.kernels.products import Tile

    return plan.Plan(Tile(16, 64, 16), Tile(16, 32, 32), parts=3, chunk=256)


@interpreted
@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("dim", [1, 5, 64, 130])
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_interpreted_rows_are_those_of_the_geometry_bit_for_bit(geometry, dim, named):
    from randhead.losses.kernels import draw
    from randhead.losses.kernels.sweep import source_of

    names = torch.tensor([rng.name_id(str(i)) for i in range(80)]) if named else None
    rows, space = drawn(geometry, 80, dim, ids=names), torch.zeros(40, dim)
    source, clock = source_of(rows, space.device), torch.tensor([10])
    draw.chunk_into(space[:33], source, 80, clock, 7)
    wanted = rows.tile(17, 50, torch.float32)
    assert torch.equal(space[:33], wanted.sign() if rows.geometry.signs else wanted)
    assert not space[33:].any()


@interpreted
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_interpreted_rows_of_any_ids_are_right(geometry):
    from randhead.losses.kernels import draw

    ids = torch.tensor([3, 2**32 - 1, 2**32, 3, 2**62 + 5, 2**63 - 1])
    out = torch.zeros(6, 64)
    found = draw.by_id(vectors.geometry(geometry), ids, 64, 9, out)
    assert found is out
    assert torch.equal(out, vectors.draw(geometry, ids, dim=64, seed=9))


@interpreted
@pytest.mark.parametrize(("dtype", "rel"), [(torch.float32, 2e-6), (torch.float16, 1e-3)])
@pytest.mark.parametrize("geometry", [*GEOMETRIES, "hadamard", "stored"])
def test_interpreted_sums_and_gradients_equal_float64_dense(geometry, dtype, rel):
    from randhead.losses.kernels.sweep import Sweep

    # Neither the batch, nor the dimensions, nor the classes of the last chunk fill their tiles.
    k, d, b = 700, 64 if geometry == "hadamard" else 37, 20
    rows = drawn("uniform" if geometry == "stored" else geometry, k, d)
    rows = StoredRows(1.3 * rows.matrix()) if geometry == "stored" else rows
    queries, labels = batch(b, d, k, norm=4.0)
    sweep = Sweep(rows, b, queries.device, dtype=dtype, chosen=small_plan())
    for norm in (1, 2, 1):  # the memory of the step before does not matter
        found, wanted = sweep(rows, norm * queries, labels), exact(norm * queries, labels, rows)
        assert found.is_certain
        assert ((found.log_sum - wanted[0]) / wanted[0]).abs().max() < rel
        assert (found.gradient - wanted[1]).norm() < rel * wanted[1].norm()
        assert torch.equal(found.own, rows.gather(labels))
        target = (norm * queries.double() * rows.gather(labels).double()).sum(dim=1)
        torch.testing.assert_close(found.target, target, rtol=1e-12, atol=1e-12)
    again = sweep(rows, queries, labels)
    assert torch.equal(again.log_sum, found.log_sum) and torch.equal(again.gradient, found.gradient)


@interpreted
def test_interpreted_graphs_of_chunks_go_over_all_classes(monkeypatch):
    from randhead.losses.kernels import sweep

    class Graph:
        def __init__(self, work):
            self.replay = work

    monkeypatch.setattr(sweep, "captured", Graph)
    monkeypatch.setattr(sweep, "CAPTURED", 2)  # of 3 chunks
    rows = drawn("uniform", 700, 37)
    made = sweep.Sweep(rows, 20, torch.device("cpu"), dtype=torch.float32, chosen=small_plan())
    made.can_capture = True
    queries, labels = batch(20, 37, 700, norm=4.0)
    first = made(rows, queries, labels)
    for norm in (2, 1):
        found = made(rows, norm * queries, labels)
    assert len(made.graphs) == 3 and made.runs == 2
    assert torch.equal(found.log_sum, first.log_sum) and torch.equal(found.gradient, first.gradient)


@interpreted
def test_interpreted_sweeps_share_memory_and_rows_of_one_chunk_stay_there(monkeypatch):
    from randhead.losses.kernels import draw, memory, sweep

    drawings, chunk_into = [], draw.chunk_into
    monkeypatch.setattr(draw, "chunk_into", lambda *given: drawings.append(given) or chunk_into(*given))
    sweeps, sizes = [], [(200, 37, 20), (700, 37, 20), (150, 40, 30)]
    for k, d, b in sizes:
        rows = drawn("uniform", k, d)
        made = sweep.Sweep(rows, b, torch.device("cpu"), dtype=torch.float32, chosen=small_plan())
        queries, labels = batch(b, d, k, norm=4.0)
        sweeps.append((made, (rows, queries, labels), exact(queries, labels, rows)))
    shared = memory.Memory(max(made.size for made, *_ in sweeps), torch.device("cpu"))
    shared.block.fill_(255)  # NaN
    for made, *_ in sweeps:
        made.use(shared)
    for number, drawn_chunks in ((0, 1), (0, 0), (2, 1), (2, 0), (0, 1), (1, 3), (1, 3), (2, 1), (0, 1), (0, 0)):
        made, given, wanted = sweeps[number]
        drawings.clear()
        found = made(*given)
        assert len(drawings) == drawn_chunks
        torch.testing.assert_close(found.log_sum, wanted[0], rtol=1e-6, atol=1e-6)
        assert (found.gradient - wanted[1]).norm() < 2e-6 * wanted[1].norm()


@interpreted
def test_interpreted_memory_is_free_as_soon_as_a_larger_block_takes_its_place():
    from randhead.losses.kernels import kept, sweep

    place, device, rows = kept.Kept(), torch.device("cpu"), drawn("uniform", 200, 37)
    made = place.sweeps["one"] = sweep.Sweep(rows, 20, device, dtype=torch.float32, chosen=small_plan())
    made.use(place.memory_for(made.size, device))
    made(rows, *batch(20, 37, 200, norm=4.0))
    block, larger = weakref.ref(made.memory), 2 * made.size + 100_000_000
    del made
    gc.disable()  # which would only be late
    try:
        place.memory_for(larger, device)
        assert block() is None
    finally:
        gc.enable()


@interpreted
def test_interpreted_sums_need_no_gradient():
    from randhead.losses.kernels.sweep import Sweep

    rows = drawn("uniform", 300, 40)
    queries, labels = batch(5, 40, 300, norm=4.0)
    sweep = Sweep(rows, 5, queries.device, gradient=False, dtype=torch.float32, chosen=small_plan())
    found = sweep(rows, queries, labels)
    assert found.gradient is None
    torch.testing.assert_close(found.log_sum, exact(queries, labels, rows)[0], rtol=1e-6, atol=1e-6)


@interpreted
def test_interpreted_logits_beyond_the_static_shift_are_not_a_number_and_said_to_be():
    from randhead.losses.kernels.sweep import SAFE, Sweep

    rows = StoredRows(torch.eye(8).repeat(40, 1)[:, :5] * 0 - 1 / 5**0.5, unit_norm=True)  # all alike
    along = torch.full((1, 5), -1 / 5**0.5)
    queries = torch.cat([(SAFE - 1) * along, -(SAFE - 1) * along, -300 * along])
    labels = torch.zeros(3, dtype=torch.int64)
    sweep = Sweep(rows, 3, queries.device, dtype=torch.float32, chosen=small_plan())
    found, wanted = sweep(rows, queries, labels), exact(queries, labels, rows)
    assert not found.is_certain
    torch.testing.assert_close(found.log_sum[:2], wanted[0][:2], rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(found.gradient[:2].double(), wanted[1][:2], rtol=1e-4, atol=1e-4)
    assert found.log_sum[2].isnan() and found.gradient[2].isnan().all()
    assert sweep(rows, queries[[0, 1, 1]], labels).is_certain


@interpreted
@pytest.mark.parametrize("norm", [0.01, 1.0, 30.0])
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_interpreted_closed_forms_and_their_gradients_are_those_of_the_geometry(geometry, norm):
    from randhead.losses.kernels.moments import moments

    rows = drawn(geometry, 1000, 40)
    queries, labels = batch(20, 40, 1000, norm=norm)
    found = moments(queries, labels, rows)
    queries.requires_grad_()
    wanted = expected.scores(queries, labels, rows)
    gradient = torch.autograd.grad(wanted.non_target.sum(), queries)[0]
    for name, other in wanted._asdict().items():
        if other is not None:
            atol = 2e-5 if name == "relative_std" else 3e-6
            torch.testing.assert_close(getattr(found, name), other.detach(), rtol=2e-4, atol=atol)
    torch.testing.assert_close(found.gradient, gradient, rtol=1e-4, atol=1e-6)
    assert torch.equal(found.own, rows.gather(labels))


@interpreted
@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("weights", [None, torch.arange(1500.0) % 3, torch.zeros(1500)])
def test_interpreted_error_bound_is_that_of_the_expected_softmax(weights, biased):
    from randhead.losses.kernels.bound import error_bound

    target, non_target, deviation, bias = torch.rand(4, 1500, generator=torch.Generator().manual_seed(0))
    scores = Scores(20 * target, 20 * non_target, deviation / 3.1, bias if biased else None)
    found = error_bound(scores, weights, expected.DEVIATIONS)
    torch.testing.assert_close(found, expected.error_bound(scores, weights), rtol=1e-5, atol=1e-6)
    scores.relative_std[1] = 0.5  # more than all of the sum
    weighs = weights is None or weights.any()
    assert error_bound(scores, weights, expected.DEVIATIONS).isinf() == weighs


def test_without_triton_a_cuda_device_is_told_that_it_is_slow(monkeypatch):
    class OnDevice:
        is_cuda = True

    monkeypatch.setattr(kernels, "AVAILABLE", False)
    with pytest.warns(UserWarning, match="triton is not installed"):
        assert not streaming._has_kernel(OnDevice(), drawn("uniform", 2, 2), None, torch.bfloat16)
