"""The machine code of the Triton kernels for sm_90, and the sizes that are chosen for them."""

import os
import re
import subprocess
from pathlib import Path

import pytest
import torch

pytest.importorskip("triton")
if os.environ.get("TRITON_INTERPRET") == "1":
    pytest.skip("needs the compiler", allow_module_level=True)

from randhead import vectors
from randhead.losses import DrawnRows

GEOMETRIES = ("rademacher", "uniform", "gaussian")


def inspect(tmp_path, kernel, signature, constants, **options):
    """Registers, bytes of stack, bytes of shared memory and the SASS of a kernel compiled for sm_90."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    if not tool.exists():
        pytest.skip("this build of triton brings no cuobjdump")
    names = kernel.arg_names
    signature = {name: signature[name] for name in names if name in signature}
    even = [name for name, kind in signature.items() if kind.startswith("*") or name in EVEN]
    source = ASTSource(
        fn=kernel,
        signature={name: signature.get(name, "constexpr") for name in names},
        constexprs={(names.index(name),): value for name, value in constants.items()},
        attrs={(names.index(name),): [["tt.divisibility", 16]] for name in even},
    )
    compiled = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options)
    file = tmp_path / "kernel.cubin"
    file.write_bytes(compiled.asm["cubin"])
    usage, sass = (
        subprocess.run([tool, flag, file], capture_output=True, text=True, check=True).stdout
        for flag in ("-res-usage", "-sass")
    )
    registers, stack = (int(number) for number in re.search(r"REG:(\d+) STACK:(\d+)", usage).groups())
    return {"registers": registers, "stack": stack, "shared": compiled.metadata.shared, "sass": sass}


EVEN = ("offset", "chunk", "part", "dim", "width", "stride")  # multiples of 16 in ordinary sizes
TYPES = {
    **dict.fromkeys(("shift", "totals", "bounds", "level", "own", "gradient", "sums", "found"), "*fp32"),
    **dict.fromkeys(("labels", "clock", "names", "classes"), "*i64"),
    **dict.fromkeys(("offset", "num_classes", "chunk", "part", "batch", "dim", "stride", "count", "total"), "i32"),
    **dict.fromkeys(("key0", "key1"), "i64"),
    "space": "*bf16",
    "scale": "fp32",
}


@pytest.mark.slow
@pytest.mark.parametrize("batch", [64, 1024, 4096])
@pytest.mark.parametrize("name", ["weigh", "add"])
def test_products_use_tensor_cores_and_the_copy_engine_and_spill_nothing_on_sm_90(tmp_path, name, batch):
    from randhead.losses.kernels import plan, products

    tile = getattr(plan.plan(batch, 512, 132), name)
    block = "tensordesc<{}[{}, {}]>".format
    if name == "weigh":
        tensors = {
            "queries": block("bf16", tile.rows, tile.depth),
            "rows": block("bf16", tile.columns, tile.depth),
            "weights": block("bf16", tile.rows, tile.columns // 2),
        }
    else:
        tensors = {
            "weights": block("bf16", tile.rows, tile.depth),
            "rows": block("bf16", tile.depth, tile.columns),
            "sums": f"tensordesc<fp32[1, {tile.rows}, {tile.columns // 2}]>",
        }
    constants = {"ROWS": tile.rows, "COLUMNS": tile.columns, "DEPTH": tile.depth, "KEPT": False, "EARLY": True}
    constants |= {"REDUCED": True} if name == "add" else {}
    kernel = {"weigh": products.weigh_kernel, "add": products.add_kernel}[name]
    options = {"num_warps": tile.warps, "num_stages": tile.stages}
    found = inspect(tmp_path, kernel, {**TYPES, **tensors}, constants, **options)
    assert found["stack"] == 0 and "STL" not in found["sass"]
    assert "HGMMA" in found["sass"] and "UTMALDG" in found["sass"]
    assert tile.resident * (found["shared"] + 1024) <= 228 << 10


@pytest.mark.slow
@pytest.mark.parametrize("dim", [512, 2048])
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_drawing_spills_nothing_on_sm_90(tmp_path, geometry, dim):
    from randhead.losses.kernels import draw

    kind = draw.KINDS[vectors.geometry(geometry).cuda_draw.entries]
    constants = {"NAMED": True, "EARLY": True}
    if kind == draw.NORMALS:
        at_once, blocks = draw.shape(kind, dim, draw.GATHERED)
        constants |= {"ROWS": at_once, "BLOCKS": blocks, "FIRST": 1, "SECOND": 2, "THIRD": 3, "FOURTH": 4}
        signature = {**TYPES, "table": "*i16"}
        found = inspect(tmp_path, draw.draw_gathered, signature, constants, num_warps=draw.GATHER_WARPS)
        assert found["stack"] <= 32 and found["shared"] >= 1 << 16  # 64 registers, as 1,024 threads share the table
        return
    at_once, blocks = draw.shape(kind, dim)
    constants |= {"ROWS": at_once, "BLOCKS": blocks, "KIND": kind, "LISTED": False}
    found = inspect(tmp_path, draw.draw_rows, {**TYPES, "table": "*i64"}, constants, num_warps=4)
    assert found["stack"] == 0 and found["registers"] <= 128


@pytest.mark.parametrize("dim", [64, 128, 512, 2048])
@pytest.mark.parametrize("batch", [1, 64, 100, 1024, 4096, 10_000])
def test_a_chunk_fits_its_workspace_and_fills_the_multiprocessors(batch, dim):
    from randhead.losses.kernels import plan

    chosen = plan.plan(batch, dim, 132)
    tiles = -(-batch // chosen.weigh.rows) * (chosen.chunk // chosen.weigh.columns)
    waves, size = tiles / (132 * chosen.weigh.resident), 2 * chosen.chunk * (batch + dim)
    assert chosen.chunk % chosen.weigh.columns == 0
    assert waves > 0.9 * -(-tiles // (132 * chosen.weigh.resident)) or waves < 1  # one does not fit
    assert size <= (66e6 if batch <= 1024 else 240e6)


@pytest.mark.parametrize("classes", [1000, 20_000, 100_000, 10**6, 10**8])
def test_the_memory_of_a_batch_of_1024_is_below_that_which_all_sweeps_may_share(classes, monkeypatch):
    from randhead.losses.kernels import draw, memory, sweep

    monkeypatch.setattr(draw, "multiprocessors", lambda device: 132)
    device = torch.device("cpu")
    sizes = {b: sweep.Sweep(DrawnRows("uniform", classes, 512), b, device).size for b in (1, 64, 256, 1024, 4096)}
    assert all(size <= memory.SHARED_BYTES for batch, size in sizes.items() if batch <= 1024)
    block = memory.Memory(sizes[1024], device)
    assert block.serves(sizes[1024]) and block.serves(sizes[1024] // 10)
    assert not block.serves(sizes[4096])
    large = sizes[4096] > memory.SHARED_BYTES
    assert memory.Memory(sizes[4096], device).serves(sizes[1024]) != large
