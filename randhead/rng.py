"""Random numbers as a function: every number depends only on (seed, purpose, id, stream, position).

The generator is Philox4x32-10 (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011)
written in int64 tensor operations, so CPU and GPU give the same bits.  The layout is part of the file format:

* key: the first 64 bits of SHA-256("<seed>/<purpose>"), low word first;
* counter: (block, stream, id & 0xFFFFFFFF, id >> 32); a block gives four 32-bit words, which are the words of an id in
  order;
* `id` is what the number belongs to (a class, a sample), `stream` is the number of the draw (an epoch, an episode).

Everything that is derived from the words is an exact integer, or has a single IEEE rounding.

Arrays of many numbers (the noise of an image) come from Philox4x64-10, of the same paper: `long_words`.  Its key is the
first 128 bits of the same hash, and its counter is (block, stream, id, 0) in 64-bit words, with blocks from 1.  On a
CPU NumPy computes them in C, eight times as fast; elsewhere the same bits come from int64 tensor operations.
"""

import functools
import hashlib
from collections.abc import Iterator
from statistics import NormalDist
from typing import Any

import numpy as np
import torch
from torch import Tensor

from randhead import ambient
from randhead.errors import UsageError

MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
KEY_STEPS = (0x9E3779B9, 0xBB67AE85)  # the golden ratio and sqrt(3) - 1, in 32 bits
LONG_MULTIPLIERS = (0xD2E7470EE14C6C93, 0xCA5A826395121157)
LONG_KEY_STEPS = (0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B)  # the same in 64 bits
ROUNDS = 10
MASK = 0xFFFFFFFF
SIGNS_OF_HALVES = 0x8000_8000_8000_8000 - (1 << 64)
CACHED = 1 << 15  # blocks that a CPU computes at once: they fit in the cache of a core
NORMAL_SCALE = 1 << 16  # normals are integers divided by this; the largest is 4.2 standard deviations


def philox(counter: tuple[Tensor, Tensor, Tensor, Tensor], key: tuple[int, int]) -> tuple[Tensor, ...]:
    """Philox4x32-10: four words of counter (int64 tensors in [0, 2^32), shapes that broadcast) -> four random words."""
    c0, c1, c2, c3 = (word.clone() for word in torch.broadcast_tensors(*counter))
    on_cpu = c0.device.type == "cpu"
    multiply: Any = np.multiply if on_cpu else torch.mul
    shift: Any = np.right_shift if on_cpu else torch.bitwise_right_shift
    if on_cpu:  # the same operations on the same memory, 1.5 times as fast
        c0, c1, c2, c3 = (word.numpy() for word in (c0, c1, c2, c3))
    first, second = c0 * 0, c0 * 0
    k0, k1 = key
    for _ in range(ROUNDS):
        # int64 products wrap modulo 2^64, so that their 64 bits are those of the unsigned product.
        multiply(c0, MULTIPLIERS[0], out=first)
        multiply(c2, MULTIPLIERS[1], out=second)
        for high, product, other, k in ((c0, second, c1, k0), (c2, first, c3, k1)):
            shift(product, 32, out=high)
            high ^= other
            high ^= k
            high &= MASK  # the low words keep their upper half: only these are multiplied
        c1, second, c3, first = second, c1, first, c3
        k0, k1 = (k0 + KEY_STEPS[0]) & MASK, (k1 + KEY_STEPS[1]) & MASK
    c1 &= MASK
    c3 &= MASK
    return tuple(torch.from_numpy(word) for word in (c0, c1, c2, c3)) if on_cpu else (c0, c1, c2, c3)


@functools.lru_cache(maxsize=1024)
def key(seed: int, purpose: str) -> tuple[int, int]:
    """The Philox key of a seed and a purpose.  The same seed gives unrelated numbers for two purposes."""
    digest = hashlib.sha256(f"{int(seed)}/{purpose}".encode()).digest()
    return int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:8], "little")


def name_id(name: str) -> int:
    """The id of a name: the first 63 bits of its SHA-256, so that an id does not depend on the other names."""
    return bytes_id(name.encode())


def bytes_id(content: bytes) -> int:
    """The id of some bytes, such as an image: the first 63 bits of their SHA-256."""
    return int.from_bytes(hashlib.sha256(content).digest()[:8], "little") >> 1


def words(seed: int, purpose: str, ids: Tensor, count: int, *, stream: int = 0) -> Tensor:
    """Random 32-bit words.

    Args:
        seed: any integer.
        purpose: a name for the use of the numbers; two purposes give unrelated numbers.
        ids: the id of each row, such as a sample or class (N,) int64.
        count: number of words per id.
        stream: number of the draw, such as an epoch.

    Returns:
        (N, count) int64 in [0, 2^32), on the device of `ids`.

    Raises:
        UsageError: for ids that are not an int64 tensor of shape (N,).

    Example:
        >>> both = words(0, "example", torch.tensor([3, 7]), 2)
        >>> torch.equal(both[1:], words(0, "example", torch.tensor([7]), 2))
        True
    """
    return _packed(seed, purpose, ids, count, stream).view(torch.int32)[:, :count].to(torch.int64) & MASK


def halves(seed: int, purpose: str, ids: Tensor, count: int, *, stream: int = 0) -> Tensor:
    """Random 16-bit integers: (N,) -> (N, count) int32 in [0, 2^16).  The low half of a word comes first."""
    return signed_halves(seed, purpose, ids, count, stream=stream).to(torch.int32).add_(1 << 15)


def signed_halves(seed: int, purpose: str, ids: Tensor, count: int, *, stream: int = 0) -> Tensor:
    """`halves` minus 2^15, in half the memory: (N,) -> (N, count) int16."""
    packed = _packed(seed, purpose, ids, -(-count // 2), stream)
    return packed.bitwise_xor_(SIGNS_OF_HALVES).view(torch.int16)[:, :count]


def octets(seed: int, purpose: str, ids: Tensor, count: int, *, stream: int = 0) -> Tensor:
    """Random 8-bit integers: (N,) -> (N, count) int32 in [0, 2^8).  The lowest octet of a word comes first."""
    return _packed(seed, purpose, ids, -(-count // 4), stream).view(torch.uint8)[:, :count].to(torch.int32)


def bits(seed: int, purpose: str, ids: Tensor, count: int, *, stream: int = 0) -> Tensor:
    """Random bits: (N,) -> (N, count) int64 in {0, 1}.  The lowest bit of a word comes first."""
    packed = words(seed, purpose, ids, -(-count // 32), stream=stream)
    shifts = ambient.indices(32, ids.device)
    return ((packed[..., None] >> shifts) & 1).flatten(1)[:, :count]


def integers(seed: int, purpose: str, ids: Tensor, count: int, *, high: int, stream: int = 0) -> Tensor:
    """Random integers in [0, high), high <= 2^31: (N,) -> (N, count) int64.  Their bias is below high / 2^32."""
    return words(seed, purpose, ids, count, stream=stream) * high >> 32


def uniforms(seed: int, purpose: str, ids: Tensor, count: int, *, stream: int = 0) -> Tensor:
    """Uniform numbers in [0, 1) on a grid of 2^-24, exact in float32: (N,) -> (N, count) float32."""
    return (words(seed, purpose, ids, count, stream=stream) >> 8).to(torch.float32) * 2.0**-24


def normals(seed: int, purpose: str, ids: Tensor, count: int, *, stream: int = 0) -> Tensor:
    """Standard normals: (N,) -> (N, count) float32, quantiles of 16 random bits, exact multiples of 1/NORMAL_SCALE."""
    return normals_of(signed_halves(seed, purpose, ids, count, stream=stream))


def normals_of(drawn: Tensor) -> Tensor:
    """The normals of signed halves: int16 -> float32 of the same shape."""
    indices = drawn.to(torch.int32).add_(1 << 15)
    return _quantiles(drawn.device).index_select(0, indices.flatten()).view(drawn.shape)


def permutation(seed: int, purpose: str, n: int, *, stream: int = 0, device: str | torch.device = "cpu") -> Tensor:
    """A random order of 0..n-1, int64 (n,): the order of n random 63-bit numbers."""
    drawn = words(seed, purpose, ambient.indices(n, device), 2, stream=stream)
    return _order(drawn[:, 0], drawn[:, 1])


def permutations(seed: int, purpose: str, n: int, streams: range) -> Iterator[Tensor]:
    """The `permutation` of each stream in turn, on the CPU, drawn together: five times as fast for n = 1,000."""
    ids, zero = ambient.indices(n)[None], torch.zeros((1, 1), dtype=torch.int64, device="cpu")
    for some in torch.tensor(streams, dtype=torch.int64, device="cpu").split(max(CACHED // max(n, 1), 1)):
        high, low, *_ = philox((zero, some[:, None], ids, zero), key(seed, purpose))
        yield from _order(high, low)


def _order(high: Tensor, low: Tensor) -> Tensor:
    """The order of 63-bit numbers along the last dimension: 32 bits of `high` before 31 of `low`."""
    return torch.argsort((high << 31) | (low >> 1), stable=True)


@ambient.kept(maxsize=8)
def _quantiles(device: torch.device) -> Tensor:
    """The table of normals in float32, which is exact since its integers have 20 bits."""
    return normal_table(device).to(torch.float32) / NORMAL_SCALE


def _packed(seed: int, purpose: str, ids: Tensor, count: int, stream: int) -> Tensor:
    """At least `count` random 32-bit words, two per int64; the first word is the lower half, as in memory."""
    if ids.dtype != torch.int64 or ids.ndim != 1:
        raise UsageError(f"ids must be an int64 tensor of shape (N,), got {ids.dtype} of shape {tuple(ids.shape)}")
    blocks = -(-count // 4)
    block = ambient.indices(blocks, ids.device)[None, :]
    second = torch.full((1, 1), stream, dtype=torch.int64, device=ids.device)
    out = torch.empty(len(ids), blocks, 2, dtype=torch.int64, device=ids.device)
    group = max(CACHED // max(blocks, 1), 1) if ids.device.type == "cpu" else max(len(ids), 1)
    for part, written in zip(ids[:, None].split(group), out.split(group), strict=True):
        w0, w1, w2, w3 = philox((block, second, part & MASK, part >> 32), key(seed, purpose))
        torch.bitwise_or(w0, w1.bitwise_left_shift_(32), out=written[..., 0])
        torch.bitwise_or(w2, w3.bitwise_left_shift_(32), out=written[..., 1])
    return out.flatten(1)


@ambient.kept(maxsize=8)
def normal_table(device: torch.device) -> Tensor:
    """Quantiles of the standard normal at (i + 1/2) / 2^16, as integers to be divided by NORMAL_SCALE."""
    quantile = NormalDist().inv_cdf
    upper = [round(quantile((i + 0.5) / 65536) * NORMAL_SCALE) for i in range(32768, 65536)]
    return torch.tensor([-q for q in reversed(upper)] + upper, dtype=torch.int64, device=device)


def long_words(seed: int, purpose: str, ids: Tensor, count: int, *, stream: int = 0) -> Tensor:
    """Random 64-bit words for large arrays: ids (N,) int64 -> (N, count) int64, all 64 bits random.

    Raises UsageError for ids that are not an int64 tensor of shape (N,).
    """
    _check_long_ids(ids)
    make = _long_words_of_numpy if ids.device.type == "cpu" else _long_words_of_torch
    return make(_long_key(seed, purpose), ids, count, stream)


def long_halves(seed: int, purpose: str, ids: Tensor, count: int, *, stream: int = 0) -> Tensor:
    """Random 16-bit integers for large arrays: (N,) -> (N, count) int32 in [0, 2^16), lowest bits of a word first."""
    packed = long_words(seed, purpose, ids, -(-count // 4), stream=stream)
    return packed.view(torch.uint16)[:, :count].to(torch.int32)


def long_normals(seed: int, purpose: str, ids: Tensor, count: int, *, stream: int = 0) -> Tensor:
    """Standard normals for large arrays: (N,) -> (N, count) float32, the quantiles of 16 random bits."""
    table = _quantiles(ids.device)
    if ids.device.type != "cpu":
        index = long_halves(seed, purpose, ids, count, stream=stream)
        return table.index_select(0, index.flatten()).view(index.shape)
    _check_long_ids(ids)
    quantiles, normals = table.numpy(), np.empty((len(ids), count), dtype=np.float32)
    rows = _rows_of_long_words(_long_key(seed, purpose), ids, -(-count // 4), stream)
    for normal, words in zip(normals, rows, strict=True):
        halves = words.view(np.uint16)
        for start in range(0, count, CACHED):  # what NumPy makes of 16-bit indices stays in the cache
            part = normal[start : start + CACHED]
            quantiles.take(halves[start : start + len(part)], out=part, mode="clip")
    return torch.from_numpy(normals)


@functools.lru_cache(maxsize=1024)
def _long_key(seed: int, purpose: str) -> tuple[int, int]:
    digest = hashlib.sha256(f"{int(seed)}/{purpose}".encode()).digest()
    return int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:16], "little")


def _check_long_ids(ids: Tensor) -> None:
    if ids.dtype != torch.int64 or ids.ndim != 1:
        raise UsageError(f"ids must be an int64 tensor of shape (N,), got {ids.dtype} of shape {tuple(ids.shape)}")


def _long_words_of_numpy(key: tuple[int, int], ids: Tensor, count: int, stream: int) -> Tensor:
    words = np.empty((len(ids), count), dtype=np.uint64)
    for row, drawn in zip(words, _rows_of_long_words(key, ids, count, stream), strict=True):
        row[:] = drawn
    return torch.from_numpy(words.view(np.int64))


def _rows_of_long_words(key: tuple[int, int], ids: Tensor, count: int, stream: int) -> Iterator[np.ndarray]:
    """The words of each id: uint64 (count,)."""
    generator = np.random.Philox(key=key[0] | key[1] << 64)
    state = generator.state  # setting the whole state is three times as fast as advancing it
    counter = state["state"]["counter"]
    for number in ids.tolist():
        counter[:] = 0, stream, number, 0
        generator.state = state
        yield generator.random_raw(count)


def _long_words_of_torch(key: tuple[int, int], ids: Tensor, count: int, stream: int) -> Tensor:
    zero = torch.zeros((1, 1), dtype=torch.int64, device=ids.device)
    block = torch.arange(1, 1 + -(-count // 4), dtype=torch.int64, device=ids.device)[None, :]
    c0, c1, c2, c3 = block, zero + stream, ids[:, None], zero
    k0, k1 = key
    for _ in range(ROUNDS):
        (high0, low0), (high1, low1) = _product(c0, LONG_MULTIPLIERS[0]), _product(c2, LONG_MULTIPLIERS[1])
        c0, c1, c2, c3 = high1 ^ c1 ^ _signed(k0), low1, high0 ^ c3 ^ _signed(k1), low0
        k0, k1 = k0 + LONG_KEY_STEPS[0], k1 + LONG_KEY_STEPS[1]
    return torch.stack(torch.broadcast_tensors(c0, c1, c2, c3), dim=-1).flatten(1)[:, :count]


def _product(a: Tensor, b: int) -> tuple[Tensor, Tensor]:
    """High and low 64 bits of the unsigned product of int64 bit patterns and a 64-bit constant."""
    a0, a1, b0, b1 = a & MASK, (a >> 32) & MASK, b & MASK, b >> 32
    low, mid0, mid1 = a0 * b0, a0 * b1, a1 * b0  # products of 32-bit factors keep all their bits modulo 2^64
    carry = ((low >> 32) & MASK) + (mid0 & MASK) + (mid1 & MASK)
    high = a1 * b1 + ((mid0 >> 32) & MASK) + ((mid1 >> 32) & MASK) + (carry >> 32)
    return high, a * _signed(b)


def _signed(word: int) -> int:
    """The int64 with the low 64 bits of `word`."""
    word &= (1 << 64) - 1
    return word - (1 << 64) if word >> 63 else word
