"""The contract of the geometries of class vectors, and each one's own claim by a second derivation."""

import hashlib
import math

import numpy as np
import pytest
import scipy.linalg
import scipy.stats
import torch
from safetensors.torch import save_file

from randhead import catalog, preflight, seeds, vectors
from randhead.errors import DataError, UsageError
from randhead.vectors import hadamard, packed
from randhead.vectors._rotation import axes

NAMES = catalog.names("vectors")
BY_ROW = [name for name in NAMES if vectors.is_by_row(name)]
TOGETHER = [name for name in NAMES if not vectors.is_by_row(name)]
FAR = [0, 1, 63, 64, 2**31, 2**32, 2**32 + 1, 2**33 + 7, 2**62 + 12345, 2**63 - 1]


@pytest.fixture
def spell(tmp_path):
    """How a user writes a geometry: its name, and for the file geometry the path of a file made for the purpose."""

    def of(name, k, d):
        if name != "file":
            return name
        save_file({"vectors": vectors.draw("gaussian", list(range(k)), dim=d)}, tmp_path / "w.safetensors")
        return f"file:{tmp_path / 'w.safetensors'}"

    return of


def matrix(name, k, d, seed=0):
    return vectors.draw(name, torch.arange(k), dim=d, seed=seed, num_classes=k)


def cosines(w):
    """Cosines of all pairs, by numpy in float64."""
    w = w.numpy().astype(np.float64)
    w /= np.linalg.norm(w, axis=1, keepdims=True)
    return (w @ w.T)[np.triu_indices(len(w), 1)]


# The contract, for every member


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("k", "d"), [(2, 2), (5, 8), (8, 8), (10, 64), (64, 64), (33, 512)])
def test_rows_are_float32_of_unit_norm(name, k, d, spell):
    w = matrix(spell(name, k, d), k, d)
    assert w.dtype == torch.float32
    assert w.shape == (k, d)
    assert (w.double().norm(dim=1) - 1).abs().max() < 3e-7


@pytest.mark.parametrize("name", NAMES)
def test_any_subset_in_any_order_gives_the_same_bits(name, spell):
    geometry = spell(name, 30, 32)
    w = matrix(geometry, 30, 32, seed=5)
    for ids in ([7], [29, 0, 13], [3, 3, 3], list(range(29, -1, -1)), []):
        part = vectors.draw(geometry, ids, dim=32, seed=5, num_classes=30)
        assert torch.equal(part, w[ids] if ids else torch.empty(0, 32))


@pytest.mark.parametrize("name", [name for name in NAMES if name != "file"])
def test_the_seed_changes_every_row(name):
    assert not (matrix(name, 16, 32, seed=0) == matrix(name, 16, 32, seed=1)).all(dim=1).any()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("d", [64, 128, 512])
@pytest.mark.parametrize("k", [2, 10, 65, 100, 128])
def test_no_two_classes_share_a_vector(name, k, d, spell):
    geometry = spell(name, k, d)
    try:
        vectors.check(geometry, dim=d, num_classes=k)
    except UsageError:
        assert k > d
        return
    assert cosines(matrix(geometry, k, d)).max() < 0.7


@pytest.mark.parametrize("name", NAMES)
def test_members_keep_the_contract(name):
    module = catalog.load("vectors", name)
    assert isinstance(module.BY_ROW, bool)
    assert module.limit(64) is None or module.limit(64) >= 64
    assert module.__doc__


@pytest.mark.parametrize("name", TOGETHER)
def test_rows_that_belong_together_need_num_classes_and_ids_below_it(name, spell):
    geometry = spell(name, 4, 8)
    with pytest.raises(UsageError, match="num_classes is needed"):
        vectors.draw(geometry, [0], dim=8)
    for ids in ([4], [-1]):
        with pytest.raises(UsageError, match=r"in 0\.\.3"):
            vectors.draw(geometry, ids, dim=8, num_classes=4)


@pytest.mark.parametrize("name", [name for name in TOGETHER if name != "file"])
def test_more_classes_than_fit_are_refused_with_the_limit_and_what_can(name):
    most = catalog.load("vectors", name).limit(8)
    matrix(name, min(most, 16), 8)
    with pytest.raises(UsageError, match=f"at most {most} classes in 8 dimensions, {most + 1} are asked for") as error:
        matrix(name, most + 1, 8)
    assert "uniform, gaussian and rademacher hold any number" in error.value.hint
    assert ("use packed" in error.value.hint) == (name != "packed")


# By row: a function of (seed, id, dim) alone


@pytest.mark.parametrize("name", BY_ROW)
def test_ids_far_above_32_bits_have_rows_of_their_own(name):
    w = vectors.draw(name, FAR, dim=128, seed=1)
    assert abs(cosines(w)).max() < 0.6
    for place, far in enumerate(FAR):
        assert torch.equal(vectors.draw(name, [far], dim=128, seed=1)[0], w[place])


@pytest.mark.parametrize("name", BY_ROW)
def test_drawing_in_tiles_changes_nothing(name, monkeypatch):
    whole = vectors.draw(name, list(range(50)), dim=64)
    monkeypatch.setattr(vectors, "TILE", 3 * 64)
    assert torch.equal(vectors.draw(name, list(range(50)), dim=64), whole)


@pytest.mark.parametrize("name", BY_ROW)
def test_the_number_of_classes_does_not_matter(name):
    assert torch.equal(matrix(name, 100, 64)[:10], matrix(name, 10, 64))


@pytest.mark.gpu
@pytest.mark.parametrize("name", BY_ROW)
@pytest.mark.parametrize("d", [1, 2, 64, 512])
def test_cuda_draws_the_same_bits(name, d):
    ids = torch.tensor(FAR) if d >= 64 else torch.arange(d)
    on_device = vectors.draw(name, ids.cuda(), dim=d, seed=7)
    assert on_device.is_cuda
    assert torch.equal(on_device.cpu(), vectors.draw(name, ids, dim=d, seed=7))


@pytest.mark.gpu
@pytest.mark.parametrize("name", TOGETHER)
def test_rows_come_back_on_the_device_of_the_ids(name, spell):
    rows = vectors.draw(spell(name, 4, 8), torch.arange(4).cuda(), dim=8, num_classes=4)
    assert rows.is_cuda


GOLDEN_BITS = {
    "gaussian": "8e73880a6a32d314b80f2f6841f081926cbe278b94446c4c579a75e0685723ce",
    "hadamard": "16224d44a950e7c7c0dda75ddd86d05f39bafb70c57ea288ad37921c8a1252c2",
    "rademacher": "3422522a8199590427b21710bf3a32445f8a8cbe74438bada165ce730f23efc8",
    "uniform": "40993dec725749698fc223fb1a9f26c6286789d51fd35eae21cbd588cd6de655",
}
GOLDEN_ROUNDED = {
    "orthogonal": "08194f29f95e342542eedb8a4a20ef6c7fb12cea43cc6a3bc4fcf997f38596c8",
    "orthoplex": "c8c7142dd44d5c7f0fb38fdabcb99c33c43ba45026027cd7aed7a9955f261b23",
    "packed": "1831d2bfc8ae820a62d24c1b277ac0b9ccc005a144ba0b45d6b1c7b2839142da",
    "simplex": "1b93ad3c842a2ab231c0debcd1bb9592b1cda60b970b4109e3dee65b00ba7521",
}


@pytest.mark.parametrize("name", BY_ROW)
def test_bits_stay_what_they_were(name):
    # A change here breaks every checkpoint that stores a seed instead of its class vectors.
    data = b"".join(vectors.draw(name, FAR, dim=d, seed=2024).numpy().astype("<f4").tobytes() for d in (64, 512))
    assert hashlib.sha256(data).hexdigest() == GOLDEN_BITS[name]


@pytest.mark.parametrize("name", [name for name in TOGETHER if name != "file"])
def test_numbers_stay_what_they_were_to_five_digits(name):
    k = 20 if name == "packed" else 5  # 20 classes in 4 dimensions are optimised
    w = matrix(name, k, 4 if name == "packed" else 8, seed=2024)
    data = (w.double() * 1e5).round().to(torch.int32).numpy().astype("<i4").tobytes()
    assert hashlib.sha256(data).hexdigest() == GOLDEN_ROUNDED[name]


# Each geometry's own claim


def test_uniform_entries_are_integers_from_minus_100_to_99_over_their_norm():
    words = seeds.words(3, "vectors/uniform", torch.tensor([11]), 4)[0].tolist()
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
    zero = ((seeds.halves(0, "vectors/uniform", ids, 1) * 200 >> 16) == 100)[:, 0]
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
    signs = 2 * seeds.bits(4, "vectors/rademacher", ids, d) - 1
    assert torch.equal(vectors.draw("rademacher", ids, dim=d, seed=4), signs * torch.tensor(1 / math.sqrt(d)))


@pytest.mark.parametrize("k", [1, 2, 7, 16])
def test_orthogonal_vectors_have_cosine_0(k):
    w = matrix("orthogonal", k, 16).double()
    assert torch.allclose(w @ w.T, torch.eye(k, dtype=torch.float64), atol=2e-7)


def test_random_axes_are_haar():
    # The diagonal of a Haar rotation in three dimensions is uniform in [-1, 1]; LAPACK's own signs would make it lean.
    diagonals = torch.stack([axes(3, 3, seed=seed, purpose="test").diagonal() for seed in range(800)])
    for entry in diagonals.T.numpy():
        assert scipy.stats.kstest(entry, "uniform", (-1, 2)).pvalue > 1e-3


@pytest.mark.parametrize(("k", "d"), [(2, 1), (2, 8), (3, 2), (9, 8), (10, 512), (100, 512), (513, 512)])
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
@pytest.mark.parametrize("k", [100, 1000, 3000])
def test_hadamard_never_repeats_a_row_or_its_opposite(d, k):
    assert abs(cosines(matrix("hadamard", k, d))).max() < 0.99


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
    assert cosines(matrix("packed", k, d)).max() == pytest.approx(preflight.cosine_bound(k, d), abs=1e-6)


@pytest.mark.parametrize(
    ("k", "d", "best"),
    [
        (12, 3, 1 / math.sqrt(5)),  # the icosahedron
        (24, 3, math.cos(math.radians(43.6908))),  # the snub cube (Robinson 1961)
        (16, 5, 1 / 5),  # the Clebsch code, sharp for Levenshtein's bound
        (27, 6, 1 / 4),  # the Schlaefli code, sharp as well
        (50, 2, math.cos(2 * math.pi / 50)),  # the regular polygon
    ],
)
def test_packed_finds_the_best_known_arrangements(k, d, best):
    assert cosines(matrix("packed", k, d)).max() == pytest.approx(best, abs=3e-3)


@pytest.mark.parametrize(("k", "d"), [(100, 16), (200, 64)])
def test_packed_lies_between_the_bounds_and_random_vectors(k, d):
    c = cosines(matrix("packed", k, d))
    assert preflight.cosine_bound(k, d) <= c.max() < 0.4 * cosines(matrix("gaussian", k, d)).max()
    assert abs(c).max() >= preflight.welch_bound(k, d)


@pytest.mark.slow
def test_packed_separates_1000_classes_in_128_dimensions():
    assert cosines(matrix("packed", 1000, 128)).max() < 0.08


def test_packed_follows_the_gradient_of_its_energy():
    w = matrix("gaussian", 9, 4).double().requires_grad_()
    energy = torch.exp(5 * (w @ w.T).fill_diagonal_(-torch.inf)).sum() / 2
    (slope,) = torch.autograd.grad(energy, w)
    tangent = slope - (slope * w).sum(dim=1, keepdim=True) * w
    push = packed._push(w.detach(), 5.0)
    assert torch.allclose(push / push.norm(), tangent / tangent.norm(), atol=1e-9)


# The user's own file


def test_a_file_keeps_its_numbers_and_norms(tmp_path):
    w = np.arange(1, 13, dtype=">f8").reshape(4, 3) / 7
    np.save(tmp_path / "w.npy", w)
    drawn = matrix(f"file:{tmp_path / 'w.npy'}", 4, 3)
    assert np.array_equal(drawn.numpy(), w.astype(np.float32))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.int64])
def test_a_safetensors_file_may_hold_one_tensor_or_one_named_vectors(tmp_path, dtype):
    w = torch.arange(1, 13).reshape(4, 3).to(dtype)
    save_file({"prototypes": w}, tmp_path / "one.safetensors")
    save_file({"other": torch.zeros(2), "vectors": w}, tmp_path / "two.safetensors")
    for name in ("one", "two"):
        assert torch.equal(matrix(f"file:{tmp_path / name}.safetensors", 4, 3), w.float())


class Trap:
    """Unpickling this creates a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("name", ["w.npy", "w.safetensors"])
@pytest.mark.parametrize("make", ["pickle", "torch", "object array"])
def test_a_pickle_by_another_name_is_refused_and_not_run(tmp_path, name, make):
    import pickle

    path, sprung = tmp_path / name, tmp_path / "sprung"
    if make == "pickle":
        path.write_bytes(pickle.dumps(Trap(sprung)))
    elif make == "torch":
        torch.save({"vectors": Trap(sprung)}, path)
    else:
        with path.open("wb") as file:
            np.save(file, np.array([[Trap(sprung)] * 3] * 4, dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="not a"):
        matrix(f"file:{path}", 4, 3)
    assert not sprung.exists()


def damage(path, array):
    np.save(path, array)
    return path


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.ones((4, 5)), r"shape \(4, 5\), \(classes, dimensions\) is \(4, 3\)"),
        (np.ones((5, 3)), r"shape \(5, 3\)"),
        (np.ones((3, 4)), r"shape \(3, 4\)"),
        (np.ones(12), r"shape \(12,\)"),
        (np.ones((4, 3), dtype=complex), "entries are complex128"),
        (np.array([["a"] * 3] * 4), "entries are <U1"),
        (np.full((4, 3), np.nan), r"row 0 is NaN or infinite in float32 \(4 such rows\)"),
        (np.full((4, 3), 1e300), "NaN or infinite in float32"),
        (np.eye(4, 3), r"row 3 is zero in float32 \(1 such rows\)"),
        (np.full((4, 3), 1e-300), "zero in float32"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_what_is_wrong(tmp_path, array, said):
    np.save(tmp_path / "w.npy", array)
    with pytest.raises(DataError, match=said) as error:
        vectors.check(f"file:{tmp_path / 'w.npy'}", dim=3, num_classes=4)
    assert error.value.hint
    assert "w.npy" in error.value.message


@pytest.mark.parametrize("kept", [0, 5, 40, 200])
@pytest.mark.parametrize("name", ["w.npy", "w.safetensors"])
def test_a_truncated_file_is_refused(tmp_path, name, kept):
    path = tmp_path / name
    if name.endswith("npy"):
        np.save(path, np.ones((40, 3)))
    else:
        save_file({"vectors": torch.ones(40, 3)}, path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DataError, match=name):
        matrix(f"file:{path}", 40, 3)


def test_two_tensors_without_the_name_are_refused(tmp_path):
    save_file({"a": torch.ones(4, 3), "b": torch.ones(4, 3)}, tmp_path / "w.safetensors")
    with pytest.raises(DataError, match="none of its 2 tensors is named 'vectors'"):
        matrix(f"file:{tmp_path / 'w.safetensors'}", 4, 3)


def test_a_missing_file_and_another_kind_of_file_are_refused(tmp_path):
    (tmp_path / "folder.npy").mkdir()
    for name, said in (("none.npy", "no such file"), ("folder.npy", "no such file"), ("w.pt", "not a .safetensors or")):
        with pytest.raises(DataError, match=said):
            matrix(f"file:{tmp_path / name}", 4, 3)


# Asking wrongly


@pytest.mark.parametrize(
    ("geometry", "ids", "options", "said"),
    [
        ("gausian", [0], {}, "unknown geometry of class vectors 'gausian'"),
        ("gaussian:path", [0], {}, "only the file geometry takes a path"),
        ("file", [0], {"num_classes": 1}, "only the file geometry takes a path"),
        ("gaussian", [-1], {}, "must be non-negative, got -1..-1"),
        ("gaussian", [0.5], {}, "ids must be integers"),
        ("gaussian", [2**63], {}, "ids must be integers below"),
        ("gaussian", [[0]], {}, "ids must be integers in a row"),
        ("gaussian", [0], {"dim": 0}, "at least 1 dimension"),
        ("simplex", [], {"num_classes": 0}, "at least 1 class"),
    ],
)
def test_wrong_requests_are_refused(geometry, ids, options, said):
    with pytest.raises(UsageError, match=said):
        vectors.draw(geometry, ids, **{"dim": 8, **options})


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
    assert drawn == pytest.approx(math.cos(math.radians(preflight.random_angle(k, d))), abs=0.03)
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
