"""The Triton kernels: their numbers in Triton's interpreter, their machine code for sm_90, and both on a CUDA device.

The interpreter has to be chosen before Triton is imported, so those tests run in a process of their own.
"""

import importlib.metadata
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("triton")
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"

from randhead import rng, vectors  # noqa: E402
from randhead.losses import DrawnRows, StoredRows, dense, kernels, streaming  # noqa: E402

GEOMETRIES = ("rademacher", "uniform", "gaussian")
interpreted = pytest.mark.skipif(not INTERPRETED, reason="runs in a process with TRITON_INTERPRET=1")
compiled = pytest.mark.skipif(INTERPRETED, reason="needs the compiler")


def drawn(geometry, k, d, *, ids=None, device="cpu"):
    return DrawnRows(geometry, k, d, seed=9, ids=ids, device=device)


def batch(b, d, k, *, norm, device="cpu"):
    generator = torch.Generator().manual_seed(0)
    queries = torch.nn.functional.normalize(torch.randn(b, d, generator=generator), dim=1) * norm
    return queries.to(device), torch.randint(0, k, (b,), generator=generator).to(device)


def exact(queries, labels, rows):
    """The log-sum-exp over the other classes and its gradient, in float64."""
    queries = queries.double().requires_grad_()
    others = dense.split(queries @ rows.matrix().double().T, labels).non_target
    return others.detach(), torch.autograd.grad(others.sum(), queries)[0]


def check(swept, shift, wanted, rel):
    total, summed = swept
    found = total.log() + shift
    assert ((found - wanted[0]) / wanted[0]).abs().max() < rel
    assert (summed / total[:, None] - wanted[1]).norm() < rel * wanted[1].norm()


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


@interpreted
@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("dim", [1, 5, 64, 130])
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_interpreted_rows_are_those_of_the_geometry_bit_for_bit(geometry, dim, named):
    from randhead.losses.kernels import draw

    names = torch.tensor([rng.name_id(str(i)) for i in range(80)]) if named else None
    rows, space = drawn(geometry, 80, dim, ids=names), torch.zeros(40, dim)
    draw.into(space, rows, 17, 33)
    wanted = rows.tile(17, 50, torch.float32)
    assert torch.equal(space[:33], wanted.sign() if geometry == "rademacher" else wanted)
    assert not space[33:].any()


@interpreted
def test_interpreted_rows_of_large_ids_are_right():
    from randhead.losses.kernels import draw

    ids = torch.tensor([2**32 - 1, 2**32, 2**62 + 5, 2**63 - 1])
    space = torch.zeros(4, 64)
    draw.into(space, drawn("uniform", 4, 64, ids=ids), 0, 4)
    assert torch.equal(space, vectors.draw("uniform", ids, dim=64, seed=9))


@interpreted
@pytest.mark.parametrize(("dtype", "rel"), [(torch.float32, 2e-6), (torch.float16, 1e-3)])
@pytest.mark.parametrize("narrow", [True, False])
@pytest.mark.parametrize("geometry", [*GEOMETRIES, "hadamard"])
def test_interpreted_sums_and_gradients_equal_float64_dense(monkeypatch, geometry, narrow, dtype, rel):
    from randhead.losses.kernels import fused

    monkeypatch.setattr(fused, "LARGEST_DIM", 256 if narrow else 0)
    # Neither the batch, nor the dimensions, nor the classes of the last chunk fill their tiles.
    k, d, b = 700, 64 if geometry == "hadamard" else 40, 20
    rows = drawn(geometry, k, d)
    queries, labels = batch(b, d, k, norm=4.0)
    shift = torch.linspace(0, 1, b)
    swept = kernels.sweep(queries, labels, rows, shift, gradient=True, dtype=dtype, chunk=512)
    check(swept, shift, exact(queries, labels, rows), rel)


@interpreted
def test_interpreted_sums_need_no_gradient():
    rows = drawn("uniform", 300, 40)
    queries, labels = batch(5, 40, 300, norm=4.0)
    total, summed = kernels.sweep(queries, labels, rows, torch.zeros(5), gradient=False, dtype=torch.float32)
    assert summed is None
    torch.testing.assert_close(total.log(), exact(queries, labels, rows)[0], rtol=1e-6, atol=1e-6)


def resources(kernel, signature, constants, **options):
    """Registers, bytes of stack, bytes of shared memory and the SASS of a kernel compiled for sm_90."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    if not tool.exists():
        pytest.skip("this build of triton brings no cuobjdump")
    names = kernel.arg_names
    even = [n for n, kind in signature.items() if kind.startswith("*") or n in ("dim", "stride", "start", "part")]
    source = ASTSource(
        fn=kernel,
        signature={name: signature.get(name, "constexpr") for name in names},
        constexprs={(names.index(name),): value for name, value in constants.items()},
        attrs={(names.index(name),): [["tt.divisibility", 16]] for name in even},
    )
    compiled = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options)
    return compiled.asm["cubin"], compiled.metadata.shared, tool


def inspect(tmp_path, found):
    cubin, shared, tool = found
    file = tmp_path / "kernel.cubin"
    file.write_bytes(cubin)
    usage, sass = (
        subprocess.run([tool, flag, file], capture_output=True, text=True, check=True).stdout
        for flag in ("-res-usage", "-sass")
    )
    registers, stack = (int(number) for number in re.search(r"REG:(\d+) STACK:(\d+)", usage).groups())
    return {"registers": registers, "stack": stack, "shared": shared, "sass": sass}


@compiled
@pytest.mark.slow
@pytest.mark.parametrize("name", ["weigh", "add"])
def test_products_use_tensor_cores_and_spill_nothing_on_sm_90(tmp_path, name):
    from randhead.losses.kernels import products

    numbers = dict.fromkeys(("start", "count", "part", "batch", "dim", "stride"), "i32")
    pointers = {"queries": "*bf16", "rows": "*bf16", "weights": "*bf16", "shift": "*fp32", "labels": "*i64"}
    signature = {**pointers, "totals": "*fp32", "sums": "*fp32", **numbers}
    kernel, columns, stages = {
        "weigh": (products.weigh_kernel, products.COLUMNS, 3),
        "add": (products.add_kernel, products.WIDTH, 4),
    }[name]
    tile = {"ROWS": products.ROWS, "COLUMNS": columns, "DEPTH": products.DEPTH}
    signature = {key: kind for key, kind in signature.items() if key in kernel.arg_names}
    found = inspect(tmp_path, resources(kernel, signature, tile, num_warps=8, num_stages=stages))
    assert found["stack"] == 0 and "STL" not in found["sass"]
    assert "HGMMA" in found["sass"]
    assert found["shared"] <= 227 << 10


@compiled
@pytest.mark.slow
@pytest.mark.parametrize("dim", [16, 100, 128, 256])
def test_the_fused_product_uses_tensor_cores_and_spills_nothing_on_sm_90(tmp_path, dim):
    from randhead.losses.kernels import fused

    numbers = dict.fromkeys(("start", "count", "part", "batch", "dim"), "i32")
    pointers = {**dict.fromkeys(("sums", "totals", "shift"), "*fp32"), "queries": "*bf16", "rows": "*bf16"}
    at_once, padded = fused.shape(dim)
    tile = {"ROWS": at_once, "COLUMNS": fused.COLUMNS, "DIM": padded}
    signature = {**pointers, "labels": "*i64", **numbers}
    found = inspect(tmp_path, resources(fused.fused_kernel, signature, tile, num_warps=8, num_stages=3))
    assert found["stack"] == 0 and "STL" not in found["sass"]
    assert "HGMMA" in found["sass"]
    assert found["shared"] <= 227 << 10


@compiled
@pytest.mark.slow
@pytest.mark.parametrize("dim", [512, 2048])
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_drawing_spills_nothing_on_sm_90(tmp_path, geometry, dim):
    from randhead.losses.kernels import draw

    kind = draw.KINDS[vectors.geometry(geometry).cuda_draw.entries]
    at_once, blocks = draw.shape(kind, dim)
    numbers = {**dict.fromkeys(("start", "count", "dim"), "i32"), "key0": "i64", "key1": "i64"}
    signature = {"space": "*bf16", "names": "*i64", "table": "*i64", **numbers}
    constants = {"KIND": kind, "NAMED": True, "ROWS": at_once, "BLOCKS": blocks}
    found = inspect(tmp_path, resources(draw.draw_rows, signature, constants, num_warps=4))
    assert found["stack"] == 0 and found["registers"] <= 128


def test_without_triton_a_cuda_device_is_told_that_it_is_slow(monkeypatch):
    class OnDevice:
        is_cuda = True

    monkeypatch.setattr(kernels, "AVAILABLE", False)
    with pytest.warns(UserWarning, match="triton is not installed"):
        assert not streaming._has_kernel(OnDevice(), drawn("uniform", 2, 2), None, torch.bfloat16)


@pytest.mark.gpu
@compiled
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_on_a_device_rows_are_those_of_the_cpu(geometry):
    from randhead.losses.kernels import draw

    rows, space = drawn(geometry, 5000, 512, device="cuda"), torch.empty(1000, 512, device="cuda")
    draw.into(space, rows, 3000, 1000)
    wanted = drawn(geometry, 5000, 512).tile(3000, 4000, torch.float32)
    assert torch.equal(space.cpu(), wanted.sign() if geometry == "rademacher" else wanted)
    assert torch.equal(rows.tile(3000, 4000, torch.float32).cpu(), wanted)


@pytest.mark.gpu
@compiled
@pytest.mark.parametrize("norm", [5.0, 100.0])
@pytest.mark.parametrize(("b", "d"), [(1024, 512), (300, 2048), (77, 64), (1000, 256)])
@pytest.mark.parametrize("geometry", [*GEOMETRIES, "hadamard", "stored"])
def test_on_a_device_bfloat16_equals_float64_dense(geometry, b, d, norm):
    k = 20_000
    rows = drawn("uniform" if geometry == "stored" else geometry, k, d, device="cuda")
    rows = StoredRows(rows.matrix(), unit_norm=True) if geometry == "stored" else rows
    queries, labels = batch(b, d, k, norm=norm, device="cuda")
    log_sum, gradient = streaming.sweep(queries, labels, rows, precision=torch.bfloat16)
    wanted = exact(queries, labels, rows)
    assert ((log_sum - wanted[0]) / wanted[0]).abs().max() < 2e-2
    assert (gradient - wanted[1]).norm() < 2e-2 * wanted[1].norm()
    again = streaming.sweep(queries, labels, rows, precision=torch.bfloat16)
    assert torch.equal(again.log_sum, log_sum) and torch.equal(again.gradient, gradient)


@pytest.mark.gpu
@compiled
def test_on_a_device_memory_does_not_grow_with_the_classes():
    used = []
    for k in (1_000_000, 10_000_000):
        rows = drawn("rademacher", k, 512, device="cuda")
        queries, labels = batch(1024, 512, k, norm=5.0, device="cuda")
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        streaming.sweep(queries, labels, rows, precision=torch.bfloat16)
        used.append(torch.cuda.max_memory_allocated() - before)
    assert used[1] <= used[0] * 1.05 and used[1] < 100e6
