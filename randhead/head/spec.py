"""The spec that a checkpoint stores for class vectors, with a hash to recognise them.

In a state_dict it is an int64 tensor with one byte per entry: other software averages, casts and moves tensors of a
state_dict, and int64 survives that (uint8 overflows, and is cast to float).  What comes back is rounded.
"""

import hashlib
import json
import struct
from dataclasses import dataclass

import torch
from torch import Tensor

from randhead.errors import RunError
from randhead.losses import ClassRows

HASHED_ROWS = 65_536  # hashing more rows than this takes time and finds no more mistakes, ...
HASHED_ENTRIES = HASHED_ROWS * 8192  # ... nor do more entries, 2 GiB: fewer rows if D is larger
TILE_ENTRIES = 1 << 23  # hashed at once
FORMAT = 1
KEYS = ("index", "name")
LAYOUT = struct.Struct("<BBQQQ32sH")  # format, index in KEYS, seed, K, D, SHA-256, bytes of the geometry's name
NAME_BYTES = 24  # shorter names are padded to this: the specs of all built-in geometries have one shape
UNSURE = 0.25  # how far a rounded value may be from the whole number that is read
# How far the values of one spec may drift in averages: entries of int64 are truncated, bfloat16 has 8 significant bits.
# 32 random bytes of another hash are that close with a probability of 1e-40.
DRIFT, RELATIVE_DRIFT = 1.5, 1 / 64


@dataclass(frozen=True)
class VectorsSpec:
    """Everything that is needed to draw a head's class vectors again, and a hash to recognise them."""

    geometry: str
    seed: int
    num_classes: int
    dim: int
    keys: str  # "index" or "name"
    sha256: str

    def __str__(self) -> str:
        """One line for messages."""
        keys = "" if self.keys == "index" else " keyed by name"
        return (
            f"{self.num_classes} {self.geometry} vectors{keys}, D={self.dim}, seed {self.seed}, "
            f"SHA-256 {self.sha256[:12]}..."
        )


def vectors_sha256(rows: ClassRows, count: int | None = None) -> str:
    """Hash of class vectors as little-endian float32, of evenly spaced rows: at most HASHED_ROWS and HASHED_ENTRIES.

    Args:
        rows: the class vectors.
        count: hash as if there were only the first `count` classes; None for all.
    """
    digest, count = hashlib.sha256(), rows.num_classes if count is None else count
    step = -(-count // max(min(HASHED_ROWS, HASHED_ENTRIES // rows.dim), 1))
    tile = max(TILE_ENTRIES // rows.dim, 1)
    for classes in torch.arange(0, count, step, dtype=torch.int64, device=rows.device).split(tile):
        digest.update(rows.gather(classes).detach().cpu().numpy().astype("<f4").tobytes())
    return digest.hexdigest()


def pack_spec(spec: VectorsSpec) -> Tensor:
    """A spec as one byte per entry, (N,) int64 on the CPU."""
    name = spec.geometry.encode()
    fields = FORMAT, KEYS.index(spec.keys), spec.seed, spec.num_classes, spec.dim, bytes.fromhex(spec.sha256), len(name)
    data = LAYOUT.pack(*fields) + name.ljust(NAME_BYTES, b"\0")
    return torch.tensor(list(data), dtype=torch.int64, device="cpu")


def read_spec(packed: Tensor, own: VectorsSpec) -> VectorsSpec:
    """The spec that a state_dict holds, also after averages and casts.

    Args:
        packed: (N,) of any real dtype.
        own: a spec that it may be; it is recognised with more errors than `unpack_spec` corrects.

    Raises:
        RunError: if it is no spec, or the average of different ones.
    """
    expected = pack_spec(own).to(torch.float64)
    if packed.shape == expected.shape and not packed.is_complex():
        values = packed.detach().to(device="cpu", dtype=torch.float64)
        if ((values - expected).abs() <= DRIFT + RELATIVE_DRIFT * expected).all():
            return own
    return unpack_spec(packed)


def unpack_spec(packed: Tensor) -> VectorsSpec:
    """The spec that `pack_spec` made, or what rounds to it.  Raises RunError for anything else."""
    try:
        data = bytes(_whole(packed))
        number, keys, seed, num_classes, dim, sha256, length = LAYOUT.unpack_from(data)
        name = data[LAYOUT.size : LAYOUT.size + length]
        if number != FORMAT or len(name) != length or not length or any(data[LAYOUT.size + length :]):
            raise ValueError
        return VectorsSpec(name.decode(), seed, num_classes, dim, KEYS[keys], sha256.hex())
    except (ValueError, IndexError, struct.error):
        raise RunError(
            f"the spec of the class vectors is damaged: `vectors_spec`, {_named(packed)}, is no spec",
            hint="average only state_dicts of heads with the same class vectors; or use an older checkpoint",
        ) from None


def unpack_json_spec(packed: Tensor) -> VectorsSpec:
    """The spec of a checkpoint before `vectors_spec`: JSON as bytes, `spec`.  Raises RunError for anything else."""
    try:
        return unpack_spec(pack_spec(VectorsSpec(**json.loads(bytes(_whole(packed))))))
    except (ValueError, TypeError, AttributeError, struct.error):
        raise RunError(
            f"the spec of the class vectors is damaged: `spec`, {_named(packed)}, holds no JSON",
            hint="keep `spec` out of averages in uint8, which overflow; or use an older checkpoint",
        ) from None


def _whole(packed: Tensor) -> list[int]:
    """The values (N,) as whole numbers.  Raises ValueError if they are not close to whole numbers."""
    if packed.is_complex() or packed.ndim != 1:
        raise ValueError
    values = packed.detach().to(device="cpu", dtype=torch.float64)
    rounded = values.round()
    if not ((values - rounded).abs() <= UNSURE).all():
        raise ValueError
    return [int(value) for value in rounded.tolist()]


def _named(packed: Tensor) -> str:
    """A tensor in a message: its dtype, shape and first values."""
    values = packed.flatten()[:4].tolist()
    first = ", ".join(f"{value:g}" if isinstance(value, float) else str(value) for value in values)
    return f"{str(packed.dtype).removeprefix('torch.')} of shape {tuple(packed.shape)} ({first}, ...)"
