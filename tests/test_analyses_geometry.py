"""Separability, compactness and collapse against brute force in NumPy and scikit-learn, float64, to 1e-6 and better."""

import math

import numpy as np
import pytest
import torch
from scipy import optimize
from sklearn import metrics as sklearn_metrics
from sklearn.metrics.pairwise import cosine_distances

from randhead import registry, rng
from randhead.analyses import _margin, _pairs, class_statistics, collapse, compactness, separability
from randhead.analyses._largest import Largest
from randhead.vectors import draw

GEOMETRIES = [name for name in registry.names("vectors") if name not in ("file", "packed")]


def blobs(n=300, k=7, d=12, seed=0, spread=0.8, relu=True):
    """Unbalanced classes around random vectors, non-negative as features behind a ReLU are: NumPy float64."""
    ids = torch.arange(n)
    labels = (ids.double().sqrt() * 3).long() % k
    vectors = rng.normals(seed, "test/vectors", torch.arange(k), d).double()
    features = vectors[labels] + spread * rng.normals(seed, "test/noise", ids, d).double()
    return (features.relu() if relu else features), labels, vectors


def means_of(h, y):
    return np.stack([h[y == c].mean(axis=0) for c in np.unique(y)])


def normalised(x):
    lengths = np.linalg.norm(x, axis=1, keepdims=True)
    return x / np.where(lengths > 0, lengths, 1)


def off_diagonal(matrix):
    return matrix[~np.eye(len(matrix), dtype=bool)].reshape(len(matrix), -1)


def test_angles_between_class_means_equal_brute_force():
    features, labels, _ = blobs()
    found = separability.measure(features, labels, num_classes=7).metrics
    for prefix, shift in (("", 0), ("centred_", 1)):
        means = means_of(features.numpy(), labels.numpy())
        means = normalised(means - shift * means.mean(axis=0))
        cosines = off_diagonal(means @ means.T)
        angles = np.degrees(np.arccos(cosines))
        assert found[f"{prefix}mean_distance"] == pytest.approx((1 - cosines).mean(), abs=1e-9)
        assert found[f"{prefix}min_distance"] == pytest.approx((1 - cosines).min(), abs=1e-9)
        assert found[f"{prefix}mean_angle_deg"] == pytest.approx(angles.mean(), abs=1e-9)
        assert found[f"{prefix}min_angle_deg"] == pytest.approx(angles.min(), abs=1e-9)
        assert found[f"{prefix}nearest_angle_deg"] == pytest.approx(angles.min(axis=1).mean(), abs=1e-9)


def test_class_separation_equals_the_double_sum_over_all_pairs_of_samples():
    features, labels, _ = blobs()
    y, distances = labels.numpy(), cosine_distances(features.numpy())
    blocks = np.array([[distances[np.ix_(y == j, y == k)].mean() for k in range(7)] for j in range(7)])
    within, total = np.diag(blocks).mean(), blocks.mean()
    found = separability.measure(features, labels, num_classes=7).metrics
    assert found["within_distance"] == pytest.approx(within, abs=1e-9)
    assert found["total_distance"] == pytest.approx(total, abs=1e-9)
    assert found["class_separation_r2"] == pytest.approx(1 - within / total, abs=1e-9)


def test_silhouette_equals_scikit_learn():
    features, labels, _ = blobs()
    features[5] = 0
    labels = torch.where(torch.arange(300) == 7, 6, labels.clamp_max(5))  # class 6 has one sample
    expected = sklearn_metrics.silhouette_samples(features.numpy(), labels.numpy(), metric="cosine")
    found = separability.measure(features, labels, num_classes=7)
    assert found.metrics["silhouette"] == pytest.approx(expected.mean(), abs=1e-9)
    by_class = [expected[labels.numpy() == c].mean() for c in range(7)]
    assert found.arrays["silhouettes"].tolist() == pytest.approx(by_class, abs=1e-9)
    chosen = rng.permutation(4, "analyses/silhouette", 300)[:50]
    sampled = separability.measure(features, labels, num_classes=7, sample=50, seed=4).metrics
    assert sampled["silhouette"] == pytest.approx(expected[chosen.numpy()].mean(), abs=1e-9)


@pytest.mark.parametrize("rows", [1, 3, 1024])
def test_pairs_in_tiles_equal_a_full_matrix_and_ties_go_by_index(rows, monkeypatch):
    monkeypatch.setattr("randhead.analyses._pairs.ROWS", rows)
    vectors = torch.tensor([[1.0, 0], [0, 1], [1, 1], [1, 0], [2, 2]], dtype=torch.float64)
    found = _pairs.compare(vectors, keep=4)
    assert found.closest[:2].tolist() == [[0, 3], [2, 4]]
    assert found.closest.tolist() == [[0, 3], [2, 4], [0, 2], [0, 4]]
    assert found.nearest.tolist() == [3, 2, 4, 0, 2]
    cosines = off_diagonal(normalised(vectors.numpy()) @ normalised(vectors.numpy()).T)
    assert found.mean_cosine == pytest.approx(cosines.mean(), abs=1e-12)


def test_the_most_similar_classes_are_found_and_stand_side_by_side():
    features, labels, _ = blobs(k=6)
    features[labels == 4] = features[labels == 1].mean(dim=0) + 0.01 * features[labels == 4]
    found = separability.measure(features, labels, num_classes=6).arrays
    assert found["similar_pairs"][0].tolist() == [1, 4]
    assert found["nearest"][1] == 4 and found["nearest"][4] == 1
    order = found["order"].tolist()
    assert sorted(order) == list(range(6)) and abs(order.index(1) - order.index(4)) == 1
    assert found["centred_cosines"].shape == (6, 6)


def test_class_vectors_stand_beside_the_best_that_is_possible():
    simplex = separability.class_vector_metrics(draw("simplex", list(range(9)), dim=16, num_classes=9))
    assert simplex["class_vectors_largest_cosine"] == pytest.approx(simplex["simplex_cosine"], abs=1e-6)
    assert "welch_cosine" not in simplex
    # Three lines at 60 degrees in the plane meet Welch's bound.
    angles = torch.tensor([0.0, math.pi / 3, 2 * math.pi / 3], dtype=torch.float64)
    mercedes = separability.class_vector_metrics(torch.stack((angles.cos(), angles.sin()), dim=1))
    assert mercedes["class_vectors_largest_absolute_cosine"] == pytest.approx(mercedes["welch_cosine"], abs=1e-12)
    assert mercedes["welch_cosine"] == pytest.approx(0.5, abs=1e-12)


def test_both_cosines_of_compactness_equal_means_over_samples_and_differ():
    features, labels, vectors = blobs()
    h, y, means = features.numpy(), labels.numpy(), means_of(features.numpy(), labels.numpy())
    units = normalised(h)
    to_mean = (units * normalised(means)[y]).sum(axis=1)
    to_vector = (units * normalised(vectors.numpy())[y]).sum(axis=1)
    found = compactness.measure(features, labels, num_classes=7, class_vectors=vectors)
    for name, cosines in (("cosine_to_class_mean", to_mean), ("cosine_to_class_vector", to_vector)):
        balanced = np.mean([cosines[y == c].mean() for c in range(7)])
        assert found.metrics[name] == pytest.approx(balanced, abs=1e-9)
    assert abs(found.metrics["cosine_to_class_mean"] - found.metrics["cosine_to_class_vector"]) > 0.05
    assert found.arrays["angles_deg"].numpy() == pytest.approx(np.degrees(np.arccos(to_vector)), abs=1e-6)


def test_variances_of_compactness_equal_loops():
    features, labels, _ = blobs()
    h, y, means = features.numpy(), labels.numpy(), means_of(features.numpy(), labels.numpy())
    found = compactness.measure(features, labels, num_classes=7).metrics
    within = ((h - means[y]) ** 2).sum() / len(h)
    between = ((means - means.mean(axis=0)) ** 2).sum() / 7
    assert found["trace_ratio"] == pytest.approx(within / between, abs=1e-9)
    spread = [((h[y == c] - means[c]) ** 2).sum(axis=1).mean() for c in range(7)]
    pairs = [
        (spread[i] + spread[j]) / (2 * ((means[i] - means[j]) ** 2).sum()) for i in range(7) for j in range(7) if i != j
    ]
    assert found["cdnv"] == pytest.approx(np.mean(pairs), abs=1e-9)


def test_right_and_wrong_answers_have_their_own_norm_and_angle():
    features, labels, vectors = blobs()
    predictions = (features @ vectors.T).argmax(dim=1)
    found = compactness.measure(features, labels, num_classes=7, class_vectors=vectors, predictions=predictions)
    correct = predictions == labels
    cosines = torch.nn.functional.cosine_similarity(features, vectors[labels], dim=1)
    for side, mask in (("right", correct), ("wrong", ~correct)):
        assert mask.any()
        norm, angle = features[mask].norm(dim=1).mean(), cosines[mask].acos().rad2deg().mean()
        assert found.metrics[f"{side}_feature_norm"] == pytest.approx(norm.item(), abs=1e-9)
        assert found.metrics[f"{side}_angle_deg"] == pytest.approx(angle.item(), abs=1e-6)
    perfect = compactness.measure(features, labels, num_classes=7, predictions=labels).metrics
    assert perfect["wrong_feature_norm"] is None


@pytest.mark.parametrize(("k", "d"), [(7, 12), (12, 5), (2, 12), (9, 8)])
@pytest.mark.parametrize("scoring", ["dot", "cosine"])
def test_collapse_figures_equal_the_published_formulas(k, d, scoring):
    features, labels, vectors = blobs(k=k, d=d)
    h, y, w = features.numpy(), labels.numpy(), vectors.numpy()
    if scoring == "cosine":
        h, w = normalised(h), normalised(w)
    means = means_of(h, y)
    m, wc = means - means.mean(axis=0), w - w.mean(axis=0)
    found = collapse.measure(features, labels, class_vectors=vectors, scoring=scoring).metrics
    within = (h - means[y]).T @ (h - means[y]) / len(h)
    expected = {"nc1": np.trace(within @ np.linalg.pinv(m.T @ m / k, rcond=1e-12)) / k}
    for name, a in (("", m), ("_vectors", wc)):
        norms = np.linalg.norm(a, axis=1)
        gram = a @ a.T
        simplex = (np.eye(k) - 1 / k) / np.sqrt(k - 1)
        cosines = off_diagonal(normalised(a) @ normalised(a).T)
        expected[f"nc2_equinorm{name}"] = norms.std(ddof=1) / norms.mean()
        expected[f"nc2_equiangularity{name}"] = np.abs(cosines + 1 / (k - 1)).mean()
        expected[f"nc2_simplex{name}"] = np.linalg.norm(gram / np.linalg.norm(gram) - simplex)
    grams = [a @ a.T / np.linalg.norm(a @ a.T) for a in (m, wc)]
    expected["nc2_head"] = np.linalg.norm(grams[0] - grams[1])
    expected["nc3"] = np.linalg.norm(m / np.linalg.norm(m) - wc / np.linalg.norm(wc)) ** 2
    expected["nc3_raw"] = np.linalg.norm(m / np.linalg.norm(m) - w / np.linalg.norm(w)) ** 2
    expected["nc3_cosine"] = (normalised(m) * normalised(wc)).sum(axis=1).mean()
    distances = ((h[:, None] - means[None]) ** 2).sum(axis=2)
    expected["nc4"] = ((h @ w.T).argmax(axis=1) != distances.argmin(axis=1)).mean()
    if k > d:
        expected["gnc3"] = 1 - (normalised(m) * normalised(w)).sum(axis=1).mean()
        u = normalised(h)
        centre = means_of(u, y)
        moved = centre - centre.mean(axis=0)
        spread = (u - centre[y]).T @ (u - centre[y]) / len(u)
        expected["gnc1"] = np.trace(spread @ np.linalg.pinv(moved.T @ moved / k, rcond=1e-12)) / k
    if k == 2:
        expected |= dict.fromkeys(name for name in expected if name.startswith("nc2"))
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-7)
    assert ("gnc1" in found) == (k > d)


def test_nc4_counts_the_bias_and_takes_its_means_from_the_training_split():
    features, labels, vectors = blobs()
    train_features, train_labels, _ = blobs(n=400, seed=1)
    bias = torch.linspace(-9, 9, 7)
    train = class_statistics(train_features, train_labels, num_classes=7)
    found = collapse.measure(features, labels, class_vectors=vectors, bias=bias, scale=0.5, train=train).metrics
    means = means_of(train_features.numpy(), train_labels.numpy())
    nearest = ((features.numpy()[:, None] - means[None]) ** 2).sum(axis=2).argmin(axis=1)
    answers = (0.5 * features.numpy() @ vectors.numpy().T + bias.numpy()).argmax(axis=1)
    assert found["nc4"] == pytest.approx((nearest != answers).mean(), abs=1e-12)
    assert found["nc4"] != collapse.measure(features, labels, class_vectors=vectors).metrics["nc4"]


@pytest.mark.parametrize("scoring", ["dot", "cosine"])
@pytest.mark.parametrize(
    ("geometry", "size"),
    [
        (name, (k, d))
        for name in GEOMETRIES
        for k, d in ((10, 512), (9, 16), (40, 16), (2, 16))
        if k <= (registry.load("vectors", name).limit(d) or k)
    ],
)
def test_a_perfectly_collapsed_run_of_each_geometry_hits_its_floor(geometry, size, scoring):
    k, d = size
    vectors = draw(geometry, list(range(k)), dim=d, num_classes=k, seed=3).double()
    target = vectors - vectors.mean(dim=0) if scoring == "dot" else vectors
    labels = torch.arange(5 * k) % k
    # Collapse fixes directions only: a dot-product head's features may be scaled, a cosine head's one by one.
    size = 7.5 if scoring == "dot" else 1 + torch.arange(5 * k)[:, None] % 3
    found = collapse.measure(size * target[labels], labels, class_vectors=vectors, scoring=scoring).metrics
    floors = {name.removesuffix("_floor"): value for name, value in found.items() if name.endswith("_floor")}
    assert len(floors) == (12 if k > d else 9)
    assert {name: found[name] for name in floors} == pytest.approx(floors, abs=1e-6)
    assert found["nc1"] >= 0


def test_floors_of_the_simplex_figures_are_those_measured_before_for_a_random_head():
    # metrics table of floors: Gaussian head of 512 x 100, raw .42 and centred .41; 512 x 10 centred .33 or less.
    vectors = draw("gaussian", list(range(100)), dim=512, seed=0)
    labels = torch.arange(200) % 100
    found = collapse.measure(vectors[labels], labels, class_vectors=vectors).metrics
    assert found["nc2_simplex_floor"] == pytest.approx(0.41, abs=0.01)
    assert found["nc3_raw_floor"] == pytest.approx(0.010, abs=0.001)


def test_angles_of_pairs_in_tiles_are_counted_twice_beside_the_diagonal_tiles(monkeypatch):
    vectors = vectors_of("wide", 23, 5)
    monkeypatch.setattr(collapse, "ROWS", 4)
    gaps = np.abs(vectors.numpy() @ vectors.numpy().T + 1 / 22)[~np.eye(23, dtype=bool)]
    assert collapse._equiangularity(vectors) == pytest.approx(gaps.mean(), abs=1e-12)


@pytest.mark.parametrize("tightness", [1e-2, 1e-4, 1e-6])
def test_nc1_is_never_negative_and_vanishes_with_the_square_of_the_spread(tightness):
    features, labels, vectors = blobs(d=64, relu=False)
    tight = (vectors[labels] + tightness * (features - vectors[labels])).float()
    found = collapse.measure(tight, labels, class_vectors=vectors).metrics["nc1"]
    assert 0 <= found < 100 * tightness**2


def test_dot_product_collapse_does_not_see_a_shift_of_all_class_vectors():
    features, labels, vectors = blobs()
    a = collapse.measure(features, labels, class_vectors=vectors).metrics
    b = collapse.measure(features, labels, class_vectors=vectors + 3).metrics
    raw = {name for name in a if name.startswith(("nc3_raw", "gnc"))}
    assert {n: v for n, v in a.items() if n not in raw} == pytest.approx(
        {n: v for n, v in b.items() if n not in raw}, abs=1e-6
    )


def distance_to_hull(point, others):
    """The distance of a point (D,) to the convex hull of all others (M, D)."""
    return float(np.linalg.norm(_margin._nearest_mixture(point, others, _margin.GAP)))


def test_the_margin_equals_a_general_optimiser():
    vectors = normalised(rng.normals(0, "test/hull", torch.arange(9), 3).double().numpy())
    for k in range(9):
        others = np.delete(vectors, k, axis=0)
        best = optimize.minimize(
            lambda c, o=others, p=vectors[k]: ((c @ o - p) ** 2).sum(),
            np.full(8, 1 / 8),
            bounds=[(0, 1)] * 8,
            constraints={"type": "eq", "fun": lambda c: c.sum() - 1},
            method="SLSQP",
            options={"ftol": 1e-14, "maxiter": 500},
        )
        assert distance_to_hull(vectors[k], others) == pytest.approx(math.sqrt(best.fun), abs=1e-6)
    expected = min(distance_to_hull(vectors[k], np.delete(vectors, k, axis=0)) for k in range(9))
    assert _margin.smallest(torch.from_numpy(vectors), torch.arange(9)).distance == expected


def test_the_margin_of_a_square_is_the_distance_of_a_corner_to_its_diagonal():
    square = torch.tensor([[1.0, 0], [0, 1], [-1, 0], [0, -1]])
    found = _margin.smallest(square, torch.arange(4))
    assert found == (pytest.approx(1, abs=1e-9), pytest.approx(1, abs=1e-9)) and found.exact


def vectors_of(kind, k, d):
    """Unit vectors (K, D) around zero, with a wide or a narrow spectrum, of few signs, or with copies and a zero."""
    normal = rng.normals(k, f"test/margin/{kind}", torch.arange(k), d).double()
    if kind == "narrow":
        normal = normal[:, :2] @ rng.normals(k, "test/mixing", torch.arange(2), d).double()
    if kind == "signs":
        return normal.sign() / d**0.5
    if kind == "copies":
        normal[1], normal[2] = normal[3], 0
    return normal / normal.norm(dim=1, keepdim=True).clamp_min(1e-12)


@pytest.mark.parametrize("kind", ["wide", "narrow", "signs", "copies"])
@pytest.mark.parametrize(("k", "d"), [(90, 3), (150, 8), (150, 40)])
def test_a_margin_of_few_vectors_is_certified_by_all_of_them(kind, k, d):
    vectors = vectors_of(kind, k, d).numpy()
    rows = torch.arange(7, 12) if kind != "copies" else torch.arange(1, 6)
    whole = []
    for row in rows.tolist():
        found = _margin.smallest(torch.from_numpy(vectors), torch.tensor([row]))
        whole.append(distance_to_hull(vectors[row], np.delete(vectors, row, axis=0)))
        assert found.bound - 1e-12 <= found.distance <= found.bound + 1e-9
        assert found.distance == pytest.approx(whole[-1], abs=1e-9)
    assert _margin.smallest(torch.from_numpy(vectors), rows).distance == pytest.approx(min(whole), abs=1e-9)


def test_a_wrong_solution_of_scipy_is_seen_and_another_order_gives_the_right_one(k=7):
    vectors = np.sign(np.random.default_rng(1).standard_normal((150, 8))) / 8**0.5
    moved = (np.delete(vectors, k, axis=0) - vectors[k]).T
    system = np.vstack((moved, np.ones(149)))
    weights = optimize.nnls(system, np.eye(9)[-1], maxiter=9999)[0]
    first = np.linalg.norm(moved @ (weights / weights.sum()))  # 0.464 with SciPy 1.17, not 0.4
    mixture = _margin._nearest_mixture(vectors[k], np.delete(vectors, k, axis=0), _margin.GAP)
    found = np.linalg.norm(mixture)
    assert (mixture @ moved).min() / found == pytest.approx(found, abs=1e-9)  # a plane between the point and the hull
    assert found <= first + 1e-12


def test_a_search_ends_as_soon_as_the_distance_cannot_be_the_smallest(monkeypatch):
    vectors = vectors_of("wide", 300, 64)
    calls = []
    nearest = _margin._nearest_mixture
    monkeypatch.setattr(_margin, "_nearest_mixture", lambda *args: calls.append(len(args[1])) or nearest(*args))
    found = _margin.smallest(vectors, torch.arange(40))
    assert len(calls) < 60 and max(calls) <= 3 * _margin.STEP
    monkeypatch.setattr(_margin, "STEP", 400)
    assert found == pytest.approx(_margin.smallest(vectors, torch.arange(40)), abs=1e-9)


def test_a_solver_that_gives_up_or_is_wrong_leaves_a_bound_that_is_said(monkeypatch):
    k, d = 12, 4
    monkeypatch.setattr(_margin, "ORDERS", 2)
    vectors = vectors_of("wide", k, d)
    right = _margin.smallest(vectors, torch.arange(k)).distance
    monkeypatch.setattr(optimize, "nnls", lambda a, b, maxiter: (np.ones(a.shape[1]), 0.0))
    found = _margin.smallest(vectors, torch.arange(k))
    assert found.bound <= right < found.distance and not found.exact

    def gives_up(a, b, maxiter):
        raise RuntimeError

    monkeypatch.setattr(optimize, "nnls", gives_up)
    assert _margin.smallest(vectors, torch.arange(k)).distance >= right
    labels = torch.arange(2 * k) % k
    notes = collapse.measure(vectors[labels], labels, class_vectors=vectors).notes
    assert [note.split(" is at least")[0] for note in notes] == ["gnc2", "gnc2_floor", "gnc2_vectors"]


@pytest.mark.parametrize("scale", [1.0, 1e30, 1e-30, 1e100, 1e-100])
def test_the_largest_of_linear_functions_is_that_of_float64_also_if_float32_cannot_tell(scale):
    weights = scale * rng.normals(0, "test/weights", torch.arange(40), 16).double()
    weights[20:] = weights[:20] * (1 + 1e-9)  # the second of each pair is the larger one, by less than float32 sees
    shift = scale**2 * rng.normals(0, "test/shift", torch.arange(40), 1).double().squeeze(1)
    shift[20:] = shift[:20]
    rows = scale * rng.normals(1, "test/rows", torch.arange(500), 16).double()
    rows[0] = 0
    expected = (rows @ weights.T + shift).argmax(dim=1)
    assert torch.equal(Largest(weights, shift)(rows), expected)
    assert (expected >= 20).any()
    assert torch.equal(Largest(weights * 0, shift * 0)(rows), torch.zeros(500, dtype=torch.int64))


def test_figures_that_two_classes_have_by_construction_are_none_and_those_of_three_have_a_note():
    two, three = (blobs(k=k) for k in (2, 3))
    found = collapse.measure(two[0], two[1], class_vectors=two[2])
    assert {name for name, value in found.metrics.items() if value is None} == {n for n in found.metrics if "nc2" in n}
    assert "no nc2" in " ".join(found.notes)
    found = separability.measure(*two[:2])
    assert {name for name, value in found.metrics.items() if value is None} == {
        n for n in found.metrics if "centr" in n
    }
    assert found.metrics["mean_angle_deg"] > 0 and "always opposite" in " ".join(found.notes)
    found = separability.measure(*three[:2])
    assert found.metrics["centred_mean_angle_deg"] == pytest.approx(120, abs=15)
    assert "near 120 deg" in " ".join(found.notes)
    assert "centred" not in " ".join(separability.measure(*blobs(k=4)[:2]).notes)


@pytest.mark.parametrize("scale", [1.0, 1e-3, 7e5])
def test_features_that_are_all_equal_have_no_angle(scale):
    features = scale * torch.linspace(0.1, 1, 8).repeat(12, 1)
    found = separability.measure(features.float(), torch.arange(12) % 4)
    assert {value for name, value in found.metrics.items() if "deg" in name or "distance" in name} == {None}


def many_means(k=300, d=16):
    """Means of which some nearly coincide, some are opposite, and all are far from zero."""
    means = rng.normals(0, "test/many", torch.arange(k), d).double()
    means[1::3] = means[::3] * (1 + 1e-7) + 1e-9
    means[2::30] = -means[::30]
    return means


@pytest.mark.parametrize("rows", [7, 256])
def test_angles_of_many_pairs_equal_a_full_matrix_in_longer_floats(rows, monkeypatch):
    monkeypatch.setattr("randhead.analyses._pairs.ROWS", rows)
    vectors = many_means()
    found = _pairs.compare(vectors)
    units = vectors.numpy().astype(np.longdouble)
    units /= np.sqrt((units**2).sum(axis=1, keepdims=True))
    cosines = units @ units.T
    expected = off_diagonal(cosines).clip(-1, 1)
    assert found.mean_cosine == pytest.approx(float(expected.mean()), abs=1e-15)
    # arccos turns the rounding of a cosine near 1, 1e-16, into 1e-6 degrees; few pairs are that close
    assert found.mean_angle_deg == pytest.approx(float(np.degrees(np.arccos(expected)).mean()), abs=1e-9)
    np.fill_diagonal(cosines, -2)
    chosen = cosines[np.arange(300), found.nearest.numpy()]
    assert np.abs(chosen - cosines.max(axis=1)).max() < 1e-15
    assert np.abs(found.nearest_cosine.numpy() - cosines.max(axis=1)).max() < 1e-15
    assert found.lowest_cosine == pytest.approx(float(expected.min()), abs=1e-15)
    upper = np.sort(cosines[np.triu_indices(300, 1)])[::-1][:20]
    assert np.abs(found.closest_cosines.numpy() - upper).max() < 1e-15


@pytest.mark.parametrize("rows", [7, 256])
def test_cdnv_of_many_classes_equals_differences_of_each_pair(rows, monkeypatch):
    monkeypatch.setattr(compactness, "ROWS", rows)
    variances = 1 + torch.arange(300).double()
    both = (variances[:, None] + variances).numpy() / 2
    apart = rng.normals(1, "test/many", torch.arange(300), 16).double()
    clusters = 1e-3 * apart + torch.arange(300)[:, None] % 2  # half of all pairs are close
    for means in (many_means(), apart + 1e5, apart[:1] + 1e-6 * apart, clusters):
        exact = means.numpy().astype(np.longdouble)
        squares = np.stack([((row - exact) ** 2).sum(axis=1) for row in exact])
        expected = off_diagonal(both / np.where(squares, squares, 1)).mean()
        assert compactness.cdnv(means, variances) == pytest.approx(float(expected), rel=1e-9)
    means[17] = means[200]
    assert compactness.cdnv(means, variances) is None


def test_silhouettes_of_classes_that_nearly_coincide_equal_a_loop():
    means = many_means(20).repeat(3, 1) + 1e-4 * rng.normals(1, "test/many", torch.arange(60), 16).double()
    labels = torch.arange(240) % 60
    features = means[labels] + 1e-3 * rng.normals(0, "test/noise", torch.arange(240), 16).double()
    statistics = class_statistics(features, labels, num_classes=61)
    found = separability.silhouettes(features, labels, statistics)
    expected = sklearn_metrics.silhouette_samples(features.numpy(), labels.numpy(), metric="cosine")
    assert np.abs(found.numpy() - expected).max() < 1e-9
