"""Each geometry's own claim, by a second derivation, and what is known of random class vectors."""

import math

import numpy as np
import pytest
import scipy.linalg
import scipy.stats
import torch

from randhead import rng, vectors
from randhead.errors import UsageError
from randhead.vectors import _spread, hadamard
from randhead.vectors._rotation import axes


def matrix(name, k, d, seed=0):
    return vectors.draw(name, torch.arange(k), dim=d, seed=seed, num_classes=k)


def cosines(w):
    """Cosines of all pairs, by numpy in float64."""
    w = w.numpy().astype(np.float64)
    w /= np.linalg.norm(w, axis=1, keepdims=True)
    return (w @ w.T)[np.triu_indices(len(w), 1)]


# Each geometry's own claim


def test_uniform_entries_are_integers_from_minus_100_to_99_over_their_norm():
    words = rng.words(3, "vectors/uniform", torch.tensor([11]), 4)[0].tolist()
    halves = [half for word in words for half in (word % 65536, word // 65536)]
    entries = [half * 200 // 65536 - 100 for half in halves]
    norm = math.sqrt(sum(entry**2 for entry in entries))
    row = vectors.draw("uniform", [11], dim=8, seed=3)[0].tolist()
    assert row == pytest.approx([entry / norm for entry in entries], abs=1e-7)


def test_uniform_entries_cover_their_range_evenly():
    row = vectors.draw("uniform", [0], dim=200_000)[0].double()
    entries = (row / row.abs().max() * 100).round().int()  # among 200,000 entries there is a -100
    assert (entries.min(), entries.max()) == (-100, 99)
    assert scipy.stats.chisquare(torch.bincount(entries + 100, minlength=200).numpy()).pvalue > 1e-3


def test_a_uniform_row_of_zeros_becomes_an_axis():
    ids = torch.arange(2000)
    zero = ((rng.halves(0, "vectors/uniform", ids, 1) * 200 >> 16) == 100)[:, 0]
    assert zero.any()
    assert (vectors.draw("uniform", ids, dim=1)[zero] == 1).all()


def test_gaussian_directions_are_uniform_on_the_sphere():
    # In three dimensions every coordinate of a uniform direction is uniform in [-1, 1] (Archimedes).
    w = vectors.draw("gaussian", torch.arange(4000), dim=3, seed=1)
    for coordinate in w.T.numpy():
        assert scipy.stats.kstest(coordinate, "uniform", (-1, 2)).pvalue > 1e-3


@pytest.mark.parametrize("d", [1, 7, 8, 33, 512])
def test_rademacher_is_one_bit_an_entry(d):
    ids = torch.arange(50)
    signs = 2 * rng.bits(4, "vectors/rademacher", ids, d) - 1
    assert torch.equal(vectors.draw("rademacher", ids, dim=d, seed=4), signs * torch.tensor(1 / math.sqrt(d)))


@pytest.mark.parametrize("k", [1, 2, 7, 16])
def test_orthogonal_vectors_have_cosine_0(k):
    w = matrix("orthogonal", k, 16).double()
    assert torch.allclose(w @ w.T, torch.eye(k, dtype=torch.float64), atol=2e-7)


@pytest.mark.slow
def test_random_axes_are_haar():
    # The diagonal of a Haar rotation in three dimensions is uniform in [-1, 1]; LAPACK's own signs would make it lean.
    diagonals = torch.stack([axes(3, 3, seed=seed, purpose="test").diagonal() for seed in range(800)])
    for entry in diagonals.T.numpy():
        assert scipy.stats.kstest(entry, "uniform", (-1, 2)).pvalue > 1e-3


@pytest.mark.parametrize(("k", "d"), [(2, 1), (2, 8), (3, 2), (9, 8), (10, 512), (100, 512), (129, 128)])
def test_simplex_vectors_meet_at_equal_angles_and_sum_to_zero(k, d):
    w = matrix("simplex", k, d)
    assert cosines(w) == pytest.approx(-1 / (k - 1), abs=1e-6)
    assert w.sum(dim=0).abs().max() < 1e-5
    # A second derivation: the Gram matrix is that of centred and normalised one-hot vectors.
    centred = torch.eye(k) - 1 / k
    assert torch.allclose(w @ w.T, (centred @ centred.T) * k / (k - 1), atol=1e-6)


@pytest.mark.parametrize(("k", "d"), [(2, 1), (16, 8), (7, 8), (20, 512)])
def test_orthoplex_vectors_are_opposite_in_pairs_and_orthogonal_otherwise(k, d):
    w = matrix("orthoplex", k, d).double()
    expected = torch.eye(k, dtype=torch.float64)
    for first in range(0, k - 1, 2):
        expected[first, first + 1] = expected[first + 1, first] = -1
    assert torch.allclose(w @ w.T, expected, atol=1e-6)


# Hadamard


@pytest.mark.parametrize(("d", "k"), [(1, 1), (2, 2), (4, 8), (16, 50), (64, 200), (512, 1000)])
def test_hadamard_rows_are_sylvesters_with_the_signs_of_their_block(d, k):
    w = matrix("hadamard", k, d, seed=9)
    sylvester = torch.from_numpy(scipy.linalg.hadamard(d)).to(torch.float32)
    for start in range(0, k, d):
        block = w[start : start + d]
        # Row 0 of a Hadamard matrix is all ones, so the first row of a block is its sign diagonal.
        assert torch.equal(block, sylvester[: len(block)] * block[0])
        negative = hadamard.signs(torch.tensor([start // d]), d, seed=9)[0].bool()
        assert torch.equal(block[0] < 0, negative)
    assert torch.equal(w.abs(), torch.full_like(w, 1 / math.sqrt(d)))


@pytest.mark.parametrize("d", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("seed", [0, 1])
def test_hadamard_names_every_corner_of_a_small_cube_once_up_to_sign(d, seed):
    k = hadamard.limit(d)
    corners = vectors.draw("hadamard", torch.arange(k), dim=d, seed=seed) > 0
    both = torch.cat((corners, ~corners)).int()
    assert len(torch.unique(both @ (1 << torch.arange(d, dtype=torch.int32)))) == 2**d


@pytest.mark.parametrize("d", [32, 64, 128, 512])
@pytest.mark.parametrize("k", [100, 1000, pytest.param(3000, marks=pytest.mark.slow)])
def test_hadamard_never_repeats_a_row_or_its_opposite(d, k):
    # Random signs in 32 dimensions do come as close as 0.8 among 3,000.
    assert abs(cosines(matrix("hadamard", k, d))).max() < (0.95 if d == 32 else 0.75)


def test_hadamard_blocks_look_like_independent_random_signs():
    w = matrix("hadamard", 64 * 40, 64, seed=2)
    across = (w[:64] @ w[64:].T).flatten()
    # A pair of blocks averages +-1/64, the product of the signs of its column 0.
    assert across.mean().abs() < 4 / 64 / math.sqrt(39)
    assert float(across.std()) == pytest.approx(1 / 8, rel=0.01)
    firsts = w[::64].double() * 8
    assert (firsts.mean(dim=0).abs() < 4 / math.sqrt(40)).all()


@pytest.mark.parametrize("length", [0, 1, 2, 5, 11])
def test_the_scramble_of_block_numbers_is_a_bijection(length):
    scrambled = hadamard._scramble(torch.arange(2**length), length, seed=3)
    assert torch.equal(scrambled.sort().values, torch.arange(2**length))


def test_hadamard_refuses_other_dimensions_and_names_what_fits():
    with pytest.raises(UsageError, match="a power of two for their dimension, got 500") as error:
        vectors.draw("hadamard", [0], dim=500)
    assert "256 or 512" in error.value.hint
    assert "rademacher" in error.value.hint


def test_hadamard_refuses_more_classes_than_corners():
    assert (hadamard.limit(32), hadamard.limit(64)) == (2**31, None)
    with pytest.raises(UsageError, match="at most 128 classes in 8 dimensions"):
        vectors.check("hadamard", dim=8, num_classes=129)
    with pytest.raises(UsageError, match=r"in 0\.\.127") as error:
        vectors.draw("hadamard", [128], dim=8)
    assert "gaussian" in error.value.hint


# Packed


@pytest.mark.parametrize(("k", "d"), [(1, 4), (2, 4), (5, 4), (100, 512)])
def test_packed_is_a_simplex_where_there_is_one(k, d):
    assert cosines(matrix("packed", k, d)) == pytest.approx(-1 / max(k - 1, 1), abs=1e-6)


@pytest.mark.parametrize(("k", "d"), [(6, 4), (8, 4), (3, 2), (100, 64), (1000, 512), (1024, 512)])
def test_packed_reaches_rankins_bound_up_to_two_classes_a_dimension(k, d):
    assert cosines(matrix("packed", k, d)).max() == pytest.approx(vectors.cosine_bound(k, d), abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("k", "d", "best"),
    [
        (12, 3, 1 / math.sqrt(5)),  # the icosahedron
        pytest.param(24, 3, math.cos(math.radians(43.6908)), marks=pytest.mark.slow),  # the snub cube (Robinson 1961)
        (16, 5, 1 / 5),  # the Clebsch code, sharp for Levenshtein's bound
        pytest.param(27, 6, 1 / 4, marks=pytest.mark.slow),  # the Schlaefli code, sharp as well
        (50, 2, math.cos(2 * math.pi / 50)),  # the regular polygon
    ],
)
def test_packed_finds_the_best_known_arrangements(k, d, best):
    assert cosines(matrix("packed", k, d)).max() == pytest.approx(best, abs=3e-3)


@pytest.mark.parametrize(("k", "d"), [(60, 16), pytest.param(200, 64, marks=pytest.mark.slow)])
def test_packed_lies_between_the_bounds_and_random_vectors(k, d):
    c = cosines(matrix("packed", k, d))
    assert vectors.cosine_bound(k, d) <= c.max() < 0.4 * cosines(matrix("gaussian", k, d)).max()
    assert abs(c).max() >= vectors.welch_bound(k, d)


@pytest.mark.slow
def test_packed_separates_1000_classes_in_128_dimensions():
    assert cosines(matrix("packed", 1000, 128)).max() < 0.08


@pytest.mark.slow
@pytest.mark.parametrize("name", ["packed", "equiangular"])
@pytest.mark.parametrize("fewer", [9, pytest.param(19, marks=pytest.mark.slow)])
def test_fewer_classes_are_at_least_as_far_apart(name, fewer):
    """K vectors are at least as far apart as the first K of K + 1, also where the optimiser alone is worse."""
    measure = max if name == "packed" else lambda c: max(abs(c))
    found = [measure(cosines(matrix(name, k, 4))) for k in (fewer, fewer + 1)]
    assert found[0] <= found[1] + 1e-6


def test_packed_grows_from_zero_just_above_two_classes_a_dimension():
    """One vector too many costs 0.8/D at most, as in small dimensions, where the best arrangements are known."""
    for d in (2, 16):
        assert 0 < cosines(matrix("packed", 2 * d + 1, d)).max() < 1 / d


@pytest.mark.slow
def test_packed_is_monotone_in_many_dimensions():
    for d, classes in ((64, (128, 129, 130, 132, 136, 144, 160, 192)), (256, (512, 513, 520))):
        found = [cosines(matrix("packed", k, d)).max() for k in classes]
        assert found == sorted(found), (d, found)


@pytest.mark.parametrize("absolute", [False, True])
def test_vectors_are_pushed_along_the_gradient_of_their_energy(absolute):
    w = matrix("gaussian", 9, 4).double().requires_grad_()
    exponents = 5 * (w @ w.T)[~torch.eye(9, dtype=torch.bool)]
    energy = (exponents.abs() if absolute else exponents).exp().sum() / 2
    (slope,) = torch.autograd.grad(energy, w)
    tangent = slope - (slope * w).sum(dim=1, keepdim=True) * w
    push = _spread._push(w.detach(), 5.0, absolute)
    assert torch.allclose(push / push.norm(), tangent / tangent.norm(), atol=1e-9)


def test_what_settling_does_not_improve_stays(monkeypatch):
    """Vectors of older versions change only for better ones."""
    monkeypatch.setattr(_spread, "settle", lambda apart, absolute: apart[:1].expand(len(apart), -1))
    start = torch.nn.functional.normalize(rng.normals(0, "vectors/packed", torch.arange(12), 3).double(), dim=1)
    assert torch.allclose(matrix("packed", 12, 3), _spread.spread(start).float(), atol=1e-4)


@pytest.mark.parametrize(
    ("name", "k", "d"),
    [
        ("orthogonal", 500, 512),
        pytest.param("packed", 300, 64, marks=pytest.mark.slow),
        pytest.param("equiangular", 300, 64, marks=pytest.mark.slow),
    ],
)
def test_the_number_of_threads_moves_no_vector(name, k, d):
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(matrix(name, k, d))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*found)


# Equiangular


@pytest.mark.slow
@pytest.mark.parametrize(
    ("k", "d", "best"),
    [
        (5, 5, 0),
        (9, 8, 1 / 8),  # the simplex
        (6, 3, 1 / math.sqrt(5)),  # the diagonals of the icosahedron
        pytest.param(7, 3, 1 / math.sqrt(3), marks=pytest.mark.slow),
        pytest.param(10, 5, 1 / 3, marks=pytest.mark.slow),  # equiangular, at Welch's bound
    ],
)
def test_equiangular_finds_the_best_known_lines(k, d, best):
    found = abs(cosines(matrix("equiangular", k, d))).max()
    assert found == pytest.approx(best, abs=2e-3)


@pytest.mark.parametrize(("k", "d"), [(30, 16), pytest.param(100, 32, marks=pytest.mark.slow)])
def test_equiangular_has_the_smallest_largest_absolute_cosine(k, d):
    found = {name: abs(cosines(matrix(name, k, d))).max() for name in ("equiangular", "packed", "uniform", "hadamard")}
    assert vectors.welch_bound(k, d) <= found["equiangular"] < 1.25 * vectors.welch_bound(k, d)
    assert found["equiangular"] < 0.75 * min(found[name] for name in ("packed", "uniform", "hadamard"))


@pytest.mark.slow
def test_equiangular_is_below_what_its_paper_reaches_for_1000_classes_in_100_dimensions():
    assert abs(cosines(matrix("equiangular", 1000, 100))).max() < 0.135


# Facts of the field: what a random head looks like


@pytest.mark.parametrize(
    ("d", "k", "largest"),
    [
        (512, 10, 0.09),
        (512, 100, 0.18),
        (512, 200, 0.18),
        (512, 1000, 0.20),
        (128, 1000, 0.39),
        (64, 200, 0.43),
        (2048, 1000, 0.10),
    ],
)
def test_gaussian_class_vectors_are_as_close_as_random_ones_are(d, k, largest):
    drawn = np.mean([cosines(matrix("gaussian", k, d, seed=seed)).max() for seed in range(2)])
    assert drawn == pytest.approx(largest, abs=0.045)  # `largest` is of one draw
    assert drawn == pytest.approx(math.cos(math.radians(vectors.random_angle(k, d))), abs=0.03)
    assert drawn < math.sqrt(4 * math.log(k) / d)


@pytest.mark.parametrize(
    ("name", "reached", "between"), [("uniform", 0.70, 0.37), ("gaussian", 0.71, 0.32), ("rademacher", 0.71, 0.50)]
)
def test_non_negative_features_reach_070_of_random_class_vectors(name, reached, between):
    w = matrix(name, 100, 4608).clamp_min(0)
    assert float(w.norm(dim=1).mean()) == pytest.approx(reached, abs=0.01)
    # The features that fit best are then far from orthogonal to each other.
    assert cosines(w).mean() == pytest.approx(between, abs=0.01)


def test_the_papers_pairwise_cosines_spread_as_stated():
    assert cosines(matrix("uniform", 100, 4608)).std() == pytest.approx(1 / math.sqrt(4608), rel=0.03)
