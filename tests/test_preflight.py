"""The pre-flight check: its figures by naive formulas, the published facts of fixed heads, and its advice."""

import json
import math
from dataclasses import asdict

import numpy as np
import pytest
import scipy.linalg
import scipy.stats
import torch

from randhead import vectors
from randhead.errors import UsageError
from randhead.head import ClassVectorHead, angle_histogram, default_scale, preflight, preflight_check
from randhead.head.scale import needed_scale
from randhead.vectors import cosine_bound, random_angle, welch_bound


def matrix(name, k, d, seed=0):
    return vectors.draw(name, torch.arange(k), dim=d, seed=seed, num_classes=k)


def look(w, scoring="cosine", scale=20.0, nonnegative=False):
    return preflight(w, scoring=scoring, scale=scale, nonnegative=nonnegative)


def truncated_sylvester(k, d):
    """The head of fix_your_classifier: the first K rows and D columns of the next Hadamard matrix."""
    size = 1 << (max(k, d) - 1).bit_length()
    return torch.from_numpy(scipy.linalg.hadamard(size)[:k, :d]).float()


def max_separation(k):
    """The recursive simplex of Kasarla et al. (NeurIPS 2022), in its canonical position: (K, K - 1)."""
    if k == 2:
        return np.array([[1.0], [-1.0]])
    n = k - 1
    below = max_separation(k - 1) * math.sqrt(1 - 1 / n**2)
    return np.block([[np.ones((1, 1)), np.zeros((1, n - 1))], [np.full((n, 1), -1 / n), below]])


# Figures, each by a second way


@pytest.mark.parametrize("nonnegative", [False, True])
@pytest.mark.parametrize("tile", [7, 1024])
def test_figures_agree_with_naive_formulas(monkeypatch, nonnegative, tile):
    monkeypatch.setattr(preflight_check, "TILE", tile)
    monkeypatch.setattr("randhead.vectors._cosines.ROWS", tile)
    w = torch.from_numpy(np.random.default_rng(0).normal(size=(30, 12))).float()
    check = look(w, scale=9.0, nonnegative=nonnegative)
    u = w.numpy().astype(float)
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    angles = [math.degrees(math.acos(u[i] @ u[j])) for i in range(30) for j in range(i)]
    f = np.maximum(u, 0) / np.linalg.norm(np.maximum(u, 0), axis=1, keepdims=True) if nonnegative else u
    chances = [np.exp(9 * f[i] @ u[i]) / sum(np.exp(9 * f[i] @ u[j]) for j in range(30)) for i in range(30)]
    gap = np.mean([f[i] @ u[i] - np.mean([f[i] @ u[j] for j in range(30) if j != i]) for i in range(30)])
    assert check.norm_min == pytest.approx(np.linalg.norm(w.numpy(), axis=1).min(), rel=1e-6)
    assert check.norm_max == pytest.approx(np.linalg.norm(w.numpy(), axis=1).max(), rel=1e-6)
    assert check.angle_min == pytest.approx(min(angles), abs=1e-3)
    assert check.angle_mean == pytest.approx(np.mean(angles), abs=1e-3)
    assert check.cosine_max == pytest.approx(math.cos(math.radians(min(angles))), abs=1e-5)
    assert check.abs_cosine_max == pytest.approx(max(abs(np.cos(np.radians(angles)))), abs=1e-5)
    assert check.reachable_cosine_mean == pytest.approx(np.linalg.norm(np.maximum(u, 0), axis=1).mean(), abs=1e-6)
    assert check.reachable_cosine_min == pytest.approx(np.linalg.norm(np.maximum(u, 0), axis=1).min(), abs=1e-6)
    assert check.max_probability_mean == pytest.approx(np.mean(chances), abs=1e-5)
    assert check.max_probability_min == pytest.approx(min(chances), abs=1e-5)
    assert check.scale_for_90 == pytest.approx(math.log(29 * 0.9 / 0.1) / gap, rel=1e-5)
    assert check.scale_for_99 == pytest.approx(math.log(29 * 0.99 / 0.01) / gap, rel=1e-5)


@pytest.mark.parametrize("k", [2, 5, 40])
def test_the_best_cosine_of_a_non_negative_feature_is_found_by_search_too(k):
    w = matrix("gaussian", k, 6)
    tried = torch.from_numpy(np.abs(np.random.default_rng(1).normal(size=(100_000, 6)))).float()
    tried *= torch.from_numpy(np.random.default_rng(2).random((100_000, 6)) < 0.6)
    tried = torch.nn.functional.normalize(tried, dim=1)
    best = (tried @ w.T).max(dim=0).values
    check = look(w)
    assert float(best.mean()) <= check.reachable_cosine_mean + 1e-6
    assert float(best.mean()) == pytest.approx(check.reachable_cosine_mean, abs=0.02)


def test_the_check_is_json_without_not_a_number():
    for nonnegative in (False, True):
        for scoring in ("dot", "cosine"):
            for w in (matrix("uniform", 5, 8), torch.zeros(3, 4), torch.ones(3, 4), torch.eye(2)[:, :1]):
                json.dumps(asdict(look(w, scoring=scoring, nonnegative=nonnegative)), allow_nan=False)


def test_histograms_count_every_pair_once():
    w = matrix("gaussian", 60, 5)
    edges, counts = angle_histogram(w, 36)
    angles = [math.degrees(math.acos(max(-1, min(1, float(w[i] @ w[j]))))) for i in range(60) for j in range(i)]
    assert edges.tolist() == pytest.approx(np.linspace(0, 180, 37), abs=1e-4)
    assert counts.tolist() == np.histogram(angles, np.linspace(0, 180, 37))[0].tolist()
    edges, counts = angle_histogram(torch.tensor([[1.0, 0], [-1, 0], [1, 0]]), 4)
    assert counts.tolist() == [1, 0, 0, 2]


def test_of_many_classes_a_sample_is_looked_at_and_said(monkeypatch):
    assert preflight_check.SAMPLE == 4096
    monkeypatch.setattr(preflight_check, "SAMPLE", 700)
    w = matrix("gaussian", 2000, 16)
    check, part = look(w, scale=10.0), look(w[:700])
    assert (check.num_classes, check.sampled, part.sampled) == (2000, 700, 700)
    assert check.angle_mean == pytest.approx(90, abs=0.3)
    assert check.random_angle_min == random_angle(700, 16)
    # The other classes count as often as those looked at, so the probability is that of 2,000 classes.
    exact = torch.softmax(10 * w.double() @ w.T.double(), dim=1).diagonal().mean()
    assert check.max_probability_mean == pytest.approx(float(exact), rel=0.03)
    assert int(angle_histogram(w)[1].sum()) == 700 * 699 // 2


def test_repeats_outside_the_sample_are_found(monkeypatch):
    monkeypatch.setattr(preflight_check, "SAMPLE", 100)
    w = matrix("rademacher", 6000, 64)
    assert look(w).duplicates == 0
    w[5000:5007] = w[17:24]
    assert look(w).duplicates == 7


def test_rows_with_the_same_fingerprint_are_compared(monkeypatch):
    monkeypatch.setattr(
        preflight_check.rng, "words", lambda seed, purpose, ids, count: torch.zeros(len(ids), count).long()
    )
    assert preflight_check._exact_repeats(torch.eye(5)) == 0
    assert preflight_check._exact_repeats(torch.eye(5)[[0, 0, 1]]) == 1


@pytest.mark.slow
def test_a_hundred_thousand_classes_are_checked_in_seconds():
    check = look(matrix("rademacher", 100_000, 512))
    assert (check.duplicates, check.sampled) == (0, 4096)


@pytest.mark.parametrize("shape", [(1, 8), (8,), (0, 4)])
def test_fewer_than_two_class_vectors_cannot_be_checked(shape):
    with pytest.raises(UsageError, match="K >= 2"):
        look(torch.ones(shape))


@pytest.mark.parametrize("vectors", [None, "x", np.ones((3, 3))])
def test_vectors_that_are_no_tensor_are_refused(vectors):
    with pytest.raises(UsageError, match="vectors must be a `ClassVectorHead` or a tensor"):
        preflight(vectors)


@pytest.mark.parametrize("wrong", [{"scoring": "cosin"}, {"scale": 0.0}, {"scale": -1.0}, {"nonnegative": "a"}])
def test_settings_that_no_head_has_are_refused(wrong):
    with pytest.raises(UsageError, match=next(iter(wrong))):
        preflight(torch.eye(3), **wrong)


# Bounds


@pytest.mark.parametrize("name", ["simplex", "packed"])
@pytest.mark.parametrize(("k", "d"), [(2, 4), (5, 4), (100, 512)])
def test_a_simplex_meets_its_bound(name, k, d):
    check = look(matrix(name, k, d))
    assert check.cosine_max == pytest.approx(check.cosine_bound, abs=1e-6)
    assert check.cosine_bound == check.simplex_cosine == -1 / (k - 1)
    assert (check.welch_bound is None) == (k <= d)


@pytest.mark.parametrize(
    ("k", "d", "cosine"),
    # Sharp configurations: the pentagon, the Clebsch, Schlaefli and McLaughlin codes.
    [(5, 2, math.cos(2 * math.pi / 5)), (16, 5, 1 / 5), (27, 6, 1 / 4), (275, 22, 1 / 6), (8, 4, 0), (9, 4, None)],
)
def test_levenshteins_bound_is_sharp_where_it_is_known_to_be(k, d, cosine):
    if cosine is None:
        assert 0 < cosine_bound(k, d) < 0.2
    else:
        assert cosine_bound(k, d) == pytest.approx(cosine, abs=1e-12)


def test_more_classes_never_lower_the_bound():
    assert cosine_bound(10**6, 22) == pytest.approx(1 / 6, abs=1e-12)
    for d in (2, 3, 8, 64):
        bounds = [cosine_bound(k, d) for k in range(2, 3000, 7)]
        assert bounds == sorted(bounds)


def test_welch_is_met_by_equiangular_lines():
    # The six diagonals of the icosahedron in three dimensions.
    golden = (1 + math.sqrt(5)) / 2
    ends = [(0, 1, golden), (0, 1, -golden), (1, golden, 0), (1, -golden, 0), (golden, 0, 1), (-golden, 0, 1)]
    u = torch.nn.functional.normalize(torch.tensor(ends, dtype=torch.float64), dim=1)
    largest = float((u @ u.T).abs().fill_diagonal_(0).max())
    assert welch_bound(6, 3) == pytest.approx(largest, abs=1e-12)
    assert welch_bound(3, 3) is None


@pytest.mark.slow
@pytest.mark.parametrize(("k", "d"), [(2, 2), (2, 8), (20, 2), (50, 3), (100, 64)])
def test_the_expected_smallest_angle_is_the_median_over_draws(k, d):
    median = random_angle(k, d)
    draws = (matrix("gaussian", k, d, seed=seed).double() for seed in range(200))
    below = sum(math.degrees(math.acos((w @ w.T).fill_diagonal_(-1).max().clamp_max(1))) < median for w in draws)
    assert scipy.stats.binomtest(below, 200, 0.5).pvalue > 1e-3


# Scale


@pytest.mark.parametrize(
    ("k", "at_one", "for_90", "for_99"),
    [
        (10, 0.252, 4.0, 6.1),
        (100, 0.027, 6.7, 9.1),
        (200, 0.0135, 7.5, 9.8),
        pytest.param(1000, 0.0027, 9.1, 11.5, marks=pytest.mark.slow),
    ],
)
def test_a_simplex_head_needs_the_scale_that_cosface_derived(k, at_one, for_90, for_99):
    w = matrix("simplex", k, 1024)
    check = look(w, scale=1.0)
    assert check.max_probability_mean == pytest.approx(at_one, rel=0.02)
    assert check.max_probability_min == pytest.approx(at_one, rel=0.02)
    assert (check.scale_for_90, check.scale_for_99) == pytest.approx((for_90, for_99), abs=0.06)
    assert check.scale_for_90 == pytest.approx((k - 1) / k * math.log((k - 1) * 0.9 / 0.1), rel=1e-5)
    # The needed scale is enough, and no more.
    assert look(w, scale=check.scale_for_90).max_probability_mean == pytest.approx(0.9, abs=1e-4)
    assert look(w, scale=check.scale_for_99).max_probability_mean == pytest.approx(0.99, abs=1e-4)


def test_an_orthogonal_head_needs_the_closed_form_scale():
    check = look(matrix("orthogonal", 100, 128), scale=needed_scale(100, 0.9))
    assert check.max_probability_mean == pytest.approx(0.9, abs=1e-4)
    assert check.scale_for_90 == pytest.approx(math.log(99 * 0.9 / 0.1), rel=1e-5)


@pytest.mark.parametrize("k", [2, 10, 100, 1000, pytest.param(3000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", ["uniform", "rademacher"])
def test_the_default_scale_lets_non_negative_features_be_certain(k, name):
    scale = default_scale(k, "cosine")
    check = look(matrix(name, k, 512), scale=scale, nonnegative=True)
    assert check.max_probability_mean > 0.99
    assert 14 <= scale <= 64
    assert not any("scale" in warning for warning in check.warnings)


def test_the_default_scale_grows_with_the_classes_and_is_1_for_dot_scores():
    assert [default_scale(k, "cosine") for k in (1, 2, 10, 100, 1000, 10**6)] == [16, 16, 16, 20, 25, 40]
    assert default_scale(1000, "dot") == 1


def test_dot_scoring_reaches_any_probability_by_feature_norm():
    w = 3 * matrix("orthogonal", 50, 64)
    check = look(w, scoring="dot", scale=2.0)
    assert check.max_probability_mean is check.scale_for_90 is check.scale_for_99 is None
    features = check.feature_norm_for_99 * w / 3
    chances = torch.softmax(2.0 * features @ w.T, dim=1).diagonal()
    assert chances.tolist() == pytest.approx([0.99] * 50, abs=1e-4)
    assert check.warnings == ()


# Facts of the field


@pytest.mark.parametrize(("k", "d", "repeats"), [(1000, 512, 488), (100, 64, 36), (200, 512, 0), (1000, 2048, 0)])
def test_truncated_hadamard_heads_repeat_rows(k, d, repeats):
    check = look(truncated_sylvester(k, d))
    assert check.duplicates == repeats
    assert any(f"{repeats} of {k} class vectors repeat" in warning for warning in check.warnings) == (repeats > 0)


@pytest.mark.parametrize(("name", "reached"), [("uniform", 0.70), ("gaussian", 0.71), ("simplex", 0.71)])
def test_non_negative_features_reach_070(name, reached):
    assert look(matrix(name, 100, 4608)).reachable_cosine_mean == pytest.approx(reached, abs=0.01)


def test_the_canonical_simplex_of_max_separation_has_a_class_out_of_reach():
    w = torch.from_numpy(max_separation(10)).float()
    assert look(w).cosine_max == pytest.approx(-1 / 9, abs=1e-6)
    reached = sorted(w.clamp_min(0).norm(dim=1).tolist(), reverse=True)
    assert reached == pytest.approx([1.00, 0.99, 0.99, 0.98, 0.96, 0.94, 0.91, 0.86, 0.75, 0.00], abs=0.006)
    check = look(w, nonnegative=True)
    assert check.reachable_cosine_min == 0
    assert any("reach a cosine of only 0.00" in warning for warning in check.warnings)


# Advice


def test_scale_1_with_100_cosine_classes_cannot_work_and_the_advice_does():
    w = matrix("simplex", 100, 512)
    (warning,) = look(w, scale=1.0).warnings
    assert "at scale 1 with 100 cosine classes the target's probability is 0.027 at most" in warning
    assert "use a scale of 20 (0.9 needs 6.7, 0.99 needs 9.1)" in warning
    assert look(w, scale=20.0).warnings == ()


def test_non_negative_features_are_told_of_the_neck_if_scores_are_cosines():
    """Dot products make up for a low cosine with larger features, so nothing limits them."""
    (warning,) = look(matrix("uniform", 100, 512), nonnegative=True).warnings
    assert "0.70 at most instead of 1; add a neck" in warning
    assert look(matrix("uniform", 100, 512), scoring="dot", nonnegative=True).warnings == ()
    assert look(matrix("uniform", 100, 512), nonnegative=False).warnings == ()
    assert look(torch.eye(8), nonnegative=True).warnings == ()


def test_zero_rows_are_told():
    w = torch.eye(4)
    w[2] = 0
    check = look(w, scoring="dot")
    assert check.zero_rows == 1
    assert check.norm_min == 0
    assert any("1 class vectors are zero" in warning for warning in check.warnings)


def test_unequal_norms_are_told_to_dot_scoring_alone():
    w = matrix("orthogonal", 4, 8) * torch.tensor([[1.0], [1], [1], [2]])
    assert any("norms from 1 to 2" in warning for warning in look(w, scoring="dot").warnings)
    assert look(w, scoring="cosine").warnings == ()


def test_class_vectors_too_close_for_the_scale_are_told():
    w = torch.eye(20)
    w[1] = torch.nn.functional.normalize(w[0] + 0.05 * w[1], dim=0)
    (warning,) = look(w).warnings
    assert "2.9 degrees apart" in warning


# Of a head


def test_a_head_is_checked_with_its_own_settings():
    head = ClassVectorHead(30, 16, "gaussian", scoring="cosine", scale=7.0, seed=3)
    by_hand = preflight(matrix("gaussian", 30, 16, seed=3), scoring="cosine", scale=7.0, nonnegative=True)
    check = preflight(head)
    assert (check.geometry, check.seed, by_hand.geometry, by_hand.seed) == ("gaussian", 3, None, None)
    assert check.to_json() == by_hand.to_json() | {"geometry": "gaussian", "seed": 3}
    assert not preflight(ClassVectorHead(30, 16, neck="linear")).nonnegative
    assert preflight(ClassVectorHead(30, 16)).scale == 1


def test_learned_vectors_are_checked_with_the_norms_they_have():
    head = ClassVectorHead(4, 8, trainable=True, scoring="cosine")
    with torch.no_grad():
        head.vectors[1] *= 3
    assert preflight(head).norm_max == pytest.approx(3)


def test_of_very_many_class_vectors_a_part_is_drawn_and_the_table_says_so(monkeypatch):
    monkeypatch.setattr(preflight_check, "CHECKED", 50)
    check = preflight(ClassVectorHead(10**9, 32, "rademacher"))
    (table,) = check.tables()
    assert check.num_classes == 50
    assert table.notes == ("the first 50 of 1000000000 class vectors were drawn and checked",)
    assert "unchecked" not in check.to_json()


def test_of_very_long_class_vectors_fewer_are_checked(monkeypatch):
    monkeypatch.setattr(preflight_check, "ENTRIES", 50 * 4096)
    monkeypatch.setattr(preflight_check, "PRODUCTS", 10**2 * 4096)
    check = preflight(ClassVectorHead(1000, 4096, "rademacher"))
    assert (check.num_classes, check.unchecked, check.sampled) == (50, 1000 - 50, 10)
    assert angle_histogram(ClassVectorHead(1000, 4096, "rademacher"))[1].sum() == 45


def test_the_table_holds_what_the_check_found():
    (table,) = preflight(ClassVectorHead(100, 32, scoring="cosine", scale=1.0)).tables()
    cells = {row[0]: row[1] for row in table.rows}
    assert table.title == "uniform: 100 class vectors in 32 dimensions, seed 0"
    assert cells["duplicates"] == "0" and "simplex cosine" not in cells  # it is the lower bound, where it exists
    assert cells["probability at scale 1"].endswith("at most")
    assert float(cells["largest absolute cosine"]) >= 0.1516  # Welch's bound
    assert "Welch's lower bound, for K > D: 0.14" in {row[0]: row[2] for row in table.rows}["largest absolute cosine"]
