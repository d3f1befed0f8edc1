"""The spec that a checkpoint stores for class vectors that can be drawn again, with a hash to recognise them."""

import hashlib
import json
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from randhead.errors import RunError
from randhead.losses import ClassRows

HASHED_ROWS = 65_536  # hashing more rows than this takes time and finds no more mistakes
TILE = 4096


@dataclass(frozen=True)
class VectorsSpec:
    """Everything that is needed to draw a head's class vectors again, and a hash to recognise them."""

    geometry: str
    seed: int
    num_classes: int
    dim: int
    keys: str  # "index" or "name"
    sha256: str


def vectors_sha256(rows: ClassRows) -> str:
    """Hash of class vectors as little-endian float32, of at most HASHED_ROWS evenly spaced rows."""
    digest = hashlib.sha256()
    step = -(-rows.num_classes // HASHED_ROWS)
    for classes in torch.arange(0, rows.num_classes, step).split(TILE):
        digest.update(rows.gather(classes).detach().cpu().numpy().astype("<f4").tobytes())
    return digest.hexdigest()


def pack_spec(spec: VectorsSpec) -> Tensor:
    """A spec as bytes (N,) uint8, which a state_dict can hold."""
    return torch.tensor(list(json.dumps(asdict(spec)).encode()), dtype=torch.uint8)


def unpack_spec(packed: Tensor) -> VectorsSpec:
    """The spec that a state_dict holds as bytes.  Raises RunError if it is damaged."""
    try:
        return VectorsSpec(**json.loads(bytes(packed.tolist())))
    except (ValueError, TypeError):
        raise RunError("the spec of the class vectors is damaged", hint="use an older checkpoint of the run") from None
