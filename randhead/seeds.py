"""Randomness as a function: every number depends on (seed, purpose, id, stream, position) and on nothing else.

The generator is Philox4x32-10 (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011)
written in int64 tensor operations, so CPU and GPU give the same bits.  The layout is part of the file format:

* key: the first 64 bits of SHA-256("<seed>/<purpose>"), low word first;
* counter: (block, stream, id & 0xFFFFFFFF, id >> 32); a block makes four 32-bit words, the words of an id follow
  each other;
* `id` names what the number belongs to (a class, a sample), `stream` which draw it is (an epoch, an episode).

Everything derived from the words is exact in integers, or one IEEE rounding away from it.
"""

import functools
import hashlib
from statistics import NormalDist

import torch
from torch import Tensor

from randhead.errors import UsageError

MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
KEY_STEPS = (0x9E3779B9, 0xBB67AE85)  # the golden ratio and sqrt(3) - 1, in 32 bits
ROUNDS = 10
MASK = 0xFFFFFFFF
NORMAL_SCALE = 1 << 16  # normals are integers over this; the largest is 4.2 standard deviations


def philox(counter: tuple[Tensor, Tensor, Tensor, Tensor], key: tuple[int, int]) -> tuple[Tensor, ...]:
    """Philox4x32-10: four words of counter (int64 tensors in [0, 2^32), shapes that broadcast) -> four random words."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(ROUNDS):
        # int64 products wrap modulo 2^64, which leaves all 64 bits of the unsigned product in place.
        first, second = c0 * MULTIPLIERS[0], c2 * MULTIPLIERS[1]
        c0, c1, c2, c3 = (
            ((second >> 32) & MASK) ^ c1 ^ k0,
            second & MASK,
            ((first >> 32) & MASK) ^ c3 ^ k1,
            first & MASK,
        )
        k0, k1 = (k0 + KEY_STEPS[0]) & MASK, (k1 + KEY_STEPS[1]) & MASK
    return c0, c1, c2, c3


@functools.lru_cache(maxsize=1024)
def key(seed: int, purpose: str) -> tuple[int, int]:
    """The Philox key of a seed and a purpose.  The same seed gives unrelated numbers for two purposes."""
    digest = hashlib.sha256(f"{int(seed)}/{purpose}".encode()).digest()
    return int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:8], "little")


def name_id(name: str) -> int:
    """The id of a name: the first 63 bits of its SHA-256, so that an id does not depend on the other names."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little") >> 1


def words(seed: int, purpose: str, ids: Tensor, count: int, *, stream: int = 0) -> Tensor:
    """Random 32-bit words: ids (N,) int64 -> (N, count) int64 in [0, 2^32), on the device of `ids`.

    Raises UsageError for ids that are negative or not integers.
    """
    if ids.dtype != torch.int64 or ids.ndim != 1:
        raise UsageError(f"ids must be an int64 tensor of shape (N,), got {ids.dtype} of shape {tuple(ids.shape)}")
    block = torch.arange(-(-count // 4), device=ids.device)[None, :]
    ids = ids[:, None]
    second = torch.full((1, 1), stream, dtype=torch.int64, device=ids.device)
    out = philox((block, second, ids & MASK, ids >> 32), key(seed, purpose))
    return torch.stack(torch.broadcast_tensors(*out), dim=-1).flatten(1)[:, :count]


def halves(seed: int, purpose: str, ids: Tensor, count: int, *, stream: int = 0) -> Tensor:
    """Random 16-bit integers: (N,) -> (N, count) int64 in [0, 2^16).  A word gives its low half first."""
    packed = words(seed, purpose, ids, -(-count // 2), stream=stream)
    return torch.stack((packed & 0xFFFF, packed >> 16), dim=-1).flatten(1)[:, :count]


def octets(seed: int, purpose: str, ids: Tensor, count: int, *, stream: int = 0) -> Tensor:
    """Random 8-bit integers: (N,) -> (N, count) int64 in [0, 2^8).  A word gives its lowest octet first."""
    packed = words(seed, purpose, ids, -(-count // 4), stream=stream)
    places = torch.arange(0, 32, 8, device=ids.device)
    return ((packed[..., None] >> places) & 0xFF).flatten(1)[:, :count]


def bits(seed: int, purpose: str, ids: Tensor, count: int, *, stream: int = 0) -> Tensor:
    """Random bits: (N,) -> (N, count) int64 in {0, 1}.  A word gives its lowest bit first."""
    packed = words(seed, purpose, ids, -(-count // 32), stream=stream)
    places = torch.arange(32, device=ids.device)
    return ((packed[..., None] >> places) & 1).flatten(1)[:, :count]


def integers(seed: int, purpose: str, ids: Tensor, count: int, *, high: int, stream: int = 0) -> Tensor:
    """Random integers in [0, high), high <= 2^31: (N,) -> (N, count) int64.  Their bias is below high / 2^32."""
    return words(seed, purpose, ids, count, stream=stream) * high >> 32


def uniforms(seed: int, purpose: str, ids: Tensor, count: int, *, stream: int = 0) -> Tensor:
    """Uniform numbers in [0, 1) on a grid of 2^-24, exact in float32: (N,) -> (N, count) float32."""
    return (words(seed, purpose, ids, count, stream=stream) >> 8).to(torch.float32) * 2.0**-24


def normal_integers(seed: int, purpose: str, ids: Tensor, count: int, *, stream: int = 0) -> Tensor:
    """Standard normals times NORMAL_SCALE, rounded: (N,) -> (N, count) int64.  Sums and norms of them are exact."""
    return _normal_table(ids.device)[halves(seed, purpose, ids, count, stream=stream)]


def normals(seed: int, purpose: str, ids: Tensor, count: int, *, stream: int = 0) -> Tensor:
    """Standard normals: (N,) -> (N, count) float32, the quantiles of 16 random bits."""
    return normal_integers(seed, purpose, ids, count, stream=stream).to(torch.float32) / NORMAL_SCALE


def permutation(seed: int, purpose: str, n: int, *, stream: int = 0, device: str | torch.device = "cpu") -> Tensor:
    """A random order of 0..n-1, int64 (n,): the order of n random 63-bit numbers."""
    drawn = words(seed, purpose, torch.arange(n, device=device), 2, stream=stream)
    return torch.argsort((drawn[:, 0] << 31) | (drawn[:, 1] >> 1), stable=True)


@functools.lru_cache(maxsize=8)
def _normal_table(device: torch.device) -> Tensor:
    """Quantiles of the standard normal at (i + 1/2) / 2^16, as integers over NORMAL_SCALE."""
    quantile = NormalDist().inv_cdf
    upper = [round(quantile((i + 0.5) / 65536) * NORMAL_SCALE) for i in range(32768, 65536)]
    return torch.tensor([-q for q in reversed(upper)] + upper, device=device)
