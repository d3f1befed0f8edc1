"""Randomness as a function: known answers, a second Philox in plain integers, and statistics."""

import hashlib
import math
import random

import pytest
import scipy.stats
import torch

from randhead import rng
from randhead.errors import UsageError

# Known answers of Philox4x32-10, from the kat_vectors file of the Random123 library (Salmon et al., version 1.09).
KNOWN_ANSWERS = [
    (
        (0, 0, 0, 0),
        (0, 0),
        (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8),
    ),
    (
        (0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF),
        (0xFFFFFFFF, 0xFFFFFFFF),
        (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD),
    ),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


FAR = [0, 1, 5, 2**31, 2**32 - 1, 2**32, 2**32 + 1, 2**40 + 3, 2**62 + 9, 2**63 - 1]
DRAWS = {
    "words": lambda ids, count, **k: rng.words(1, "test", ids, count, **k),
    "halves": lambda ids, count, **k: rng.halves(1, "test", ids, count, **k),
    "octets": lambda ids, count, **k: rng.octets(1, "test", ids, count, **k),
    "bits": lambda ids, count, **k: rng.bits(1, "test", ids, count, **k),
    "integers": lambda ids, count, **k: rng.integers(1, "test", ids, count, high=1000, **k),
    "uniforms": lambda ids, count, **k: rng.uniforms(1, "test", ids, count, **k),
    "normals": lambda ids, count, **k: rng.normals(1, "test", ids, count, **k),
}


def plain_philox(counter, key):
    """Philox4x32-10 as the paper writes it, in Python's integers."""
    (a, b, c, d), (k, m) = counter, key
    for _ in range(10):
        left, right = 0xD2511F53 * a, 0xCD9E8D57 * c
        a, b, c, d = (right >> 32) ^ b ^ k, right % 2**32, (left >> 32) ^ d ^ m, left % 2**32
        k, m = (k + 0x9E3779B9) % 2**32, (m + 0xBB67AE85) % 2**32
    return a, b, c, d


def plain_words(seed, purpose, id, count, stream=0):
    """The words of one id, from the layout that the docstring of `seeds` promises."""
    digest = hashlib.sha256(f"{seed}/{purpose}".encode()).digest()
    key = int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:8], "little")
    blocks = [plain_philox((block, stream, id % 2**32, id // 2**32), key) for block in range(-(-count // 4))]
    return [word for block in blocks for word in block][:count]


def correlation(a, b):
    return float(torch.corrcoef(torch.stack((a.flatten().double(), b.flatten().double())))[0, 1])


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN_ANSWERS)
def test_philox_gives_the_published_answers(counter, key, answer):
    counter = tuple(torch.tensor([word]) for word in counter)
    assert tuple(int(word) for word in rng.philox(counter, key)) == answer


def test_philox_agrees_with_plain_integers():
    draw = random.Random(0)
    cases = [[draw.getrandbits(32) for _ in range(6)] for _ in range(500)]
    cases += [[draw.choice((0, 1, 2**31, 2**32 - 1)) for _ in range(6)] for _ in range(200)]
    for *counter, low, high in cases:
        found = rng.philox(tuple(torch.tensor([word]) for word in counter), (low, high))
        assert tuple(int(word) for word in found) == plain_philox(counter, (low, high))


@pytest.mark.parametrize("stream", [0, 1, 2**32 - 1])
@pytest.mark.parametrize("count", [1, 3, 4, 9])
def test_words_have_the_documented_layout(count, stream):
    found = rng.words(7, "vectors/uniform", torch.tensor(FAR), count, stream=stream)
    assert found.tolist() == [plain_words(7, "vectors/uniform", id, count, stream) for id in FAR]


def test_smaller_numbers_are_the_pieces_of_words_lowest_first():
    word = plain_words(1, "test", 5, 1)[0]
    ids = torch.tensor([5])
    assert rng.halves(1, "test", ids, 2)[0].tolist() == [word % 2**16, word >> 16]
    assert rng.octets(1, "test", ids, 4)[0].tolist() == list(word.to_bytes(4, "little"))
    assert rng.bits(1, "test", ids, 32)[0].tolist() == [word >> place & 1 for place in range(32)]
    assert rng.uniforms(1, "test", ids, 1).item() == (word >> 8) / 2**24
    assert rng.integers(1, "test", ids, 1, high=1000).item() == word * 1000 // 2**32


@pytest.mark.parametrize("name", DRAWS)
def test_an_id_has_the_same_numbers_in_any_company_and_at_any_count(name):
    draw = DRAWS[name]
    whole = draw(torch.tensor(FAR), 67)
    assert torch.equal(draw(torch.tensor(FAR[::-1]), 67), whole.flip(0))
    assert torch.equal(draw(torch.tensor(FAR[3:4]), 67), whole[3:4])
    for count in (1, 2, 5, 31, 33, 66):
        assert torch.equal(draw(torch.tensor(FAR), count), whole[:, :count])
    assert draw(torch.tensor([], dtype=torch.int64), 5).shape == (0, 5)


@pytest.mark.gpu
@pytest.mark.parametrize("name", DRAWS)
def test_cuda_gives_the_same_bits(name):
    ids = torch.tensor(FAR)
    assert torch.equal(DRAWS[name](ids.cuda(), 67).cpu(), DRAWS[name](ids, 67))
    assert torch.equal(rng.permutation(0, "test", 999, device="cuda").cpu(), rng.permutation(0, "test", 999))


@pytest.mark.parametrize("ids", [torch.tensor([0.0]), torch.tensor([1], dtype=torch.int32), torch.tensor([[1]])])
def test_ids_of_another_kind_are_refused(ids):
    with pytest.raises(UsageError, match="int64 tensor of shape"):
        rng.words(0, "test", ids, 1)


def test_uniforms_are_uniform_on_a_grid_in_0_to_1():
    drawn = rng.uniforms(2, "test", torch.arange(1000), 200)
    assert drawn.dtype == torch.float32
    assert 0 <= drawn.min() < drawn.max() < 1
    assert torch.equal(drawn * 2**24, (drawn * 2**24).round())
    assert scipy.stats.kstest(drawn.flatten().numpy(), "uniform").pvalue > 1e-3
    for moment in range(1, 5):
        spread = math.sqrt((1 / (2 * moment + 1) - 1 / (moment + 1) ** 2) / drawn.numel())
        assert abs(float(drawn.double().pow(moment).mean()) - 1 / (moment + 1)) < 4 * spread


def test_normals_are_normal():
    drawn = rng.normals(2, "test", torch.arange(1000), 200).flatten().double()
    assert scipy.stats.kstest(drawn.numpy(), "norm").pvalue > 1e-3
    assert abs(float(drawn.mean())) < 4 / math.sqrt(len(drawn))
    assert abs(float(drawn.square().mean()) - 1) < 4 * math.sqrt(2 / len(drawn))
    assert abs(float(drawn.pow(4).mean()) - 3) < 4 * math.sqrt(96 / len(drawn))
    assert 4 < drawn.abs().max() < 4.4


def test_the_table_of_normals_is_scipys_quantiles():
    table = rng.normal_table(torch.device("cpu"))
    places = (torch.arange(65536).double() + 0.5) / 65536
    exact = torch.from_numpy(scipy.stats.norm.ppf(places.numpy())) * rng.NORMAL_SCALE
    assert (table - exact).abs().max() < 0.501
    assert torch.equal(table, -table.flip(0))
    assert int(table.square().sum()) / 65536 / rng.NORMAL_SCALE**2 == pytest.approx(1, abs=1e-4)


def test_every_bit_of_a_word_is_fair_and_independent_of_the_others():
    drawn = rng.bits(3, "test", torch.arange(20_000), 64).double()
    assert (drawn.mean(dim=0) - 0.5).abs().max() < 4.5 * 0.5 / math.sqrt(20_000)
    others = torch.corrcoef(drawn.T).fill_diagonal_(0)
    assert others.abs().max() < 5 / math.sqrt(20_000)


def test_halves_and_octets_are_even():
    for drawn, size in (
        (rng.octets(4, "test", torch.arange(1000), 200), 256),
        (rng.halves(4, "test", torch.arange(1000), 200) >> 6, 1024),
        (rng.integers(4, "test", torch.arange(1000), 200, high=1000), 1000),
    ):
        counts = torch.bincount(drawn.flatten(), minlength=size)
        assert len(counts) == size
        assert scipy.stats.chisquare(counts.numpy()).pvalue > 1e-3


@pytest.mark.parametrize("high", [1, 2, 3, 1000, 2**31])
def test_integers_stay_below_their_limit_and_come_near_it(high):
    drawn = rng.integers(4, "test", torch.arange(1000), 100, high=high)
    assert 0 <= drawn.min() <= high // 1000
    assert high - 1 - high // 1000 <= drawn.max() <= high - 1


def test_neighbouring_ids_streams_purposes_seeds_and_positions_are_independent():
    ids = torch.arange(500)
    base = rng.uniforms(0, "test", ids, 200)
    neighbours = {
        "id": rng.uniforms(0, "test", ids + 1, 200),
        "id's high word": rng.uniforms(0, "test", ids + 2**32, 200),
        "stream": rng.uniforms(0, "test", ids, 200, stream=1),
        "purpose": rng.uniforms(0, "test2", ids, 200),
        "seed": rng.uniforms(1, "test", ids, 200),
        "position": rng.uniforms(0, "test", ids, 201)[:, 1:],
        "block": rng.uniforms(0, "test", ids, 204)[:, 4:],
    }
    for name, other in neighbours.items():
        assert abs(correlation(base, other)) < 4.5 / math.sqrt(base.numel()), name
    assert abs(correlation(base, base)) == pytest.approx(1)


def test_one_changed_bit_of_the_id_changes_half_of_the_output():
    ids = torch.arange(64)
    base = rng.bits(0, "test", ids, 512)
    for place in range(62):
        changed = rng.bits(0, "test", ids ^ (1 << place), 512)
        assert float((base != changed).double().mean()) == pytest.approx(0.5, abs=4.5 * 0.5 / math.sqrt(base.numel()))


def test_words_do_not_repeat_more_often_than_chance():
    drawn = rng.words(0, "test", torch.arange(25_000), 4).flatten()
    repeats = len(drawn) - len(torch.unique(drawn))  # 1.16 expected of 100,000 words of 32 bits
    assert repeats < 8


def test_a_permutation_is_the_order_of_63_bit_numbers():
    drawn = [plain_words(6, "test", id, 2, stream=3) for id in range(50)]
    order = sorted(range(50), key=lambda id: (drawn[id][0] << 32 | drawn[id][1]) >> 1)
    assert rng.permutation(6, "test", 50, stream=3).tolist() == order


@pytest.mark.parametrize("n", [0, 1, 2, 1000])
def test_a_permutation_holds_every_number_once(n):
    assert torch.equal(rng.permutation(0, "test", n).sort().values, torch.arange(n))


@pytest.mark.slow
def test_permutations_are_uniform_and_change_with_stream_and_seed():
    seen = [tuple(rng.permutation(0, "test", 4, stream=stream).tolist()) for stream in range(1200)]
    counts = [seen.count(order) for order in set(seen)]
    assert len(counts) == 24
    assert scipy.stats.chisquare(counts).pvalue > 1e-3
    orders = [rng.permutation(seed, "test", 100, stream=stream) for seed in (0, 1) for stream in (0, 1)]
    assert len({tuple(order.tolist()) for order in orders}) == 4


def test_names_have_63_bit_ids_of_their_own():
    ids = [rng.name_id(name) for name in ("cat", "Cat", "dog", "", "\N{SNOWMAN}")]
    assert len(set(ids)) == 5
    assert all(0 <= id < 2**63 for id in ids)
    digest = hashlib.sha256(b"cat").digest()
    assert rng.name_id("cat") == sum(byte << 8 * place for place, byte in enumerate(digest[:8])) // 2
