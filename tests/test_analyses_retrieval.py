"""Retrieval, transfer and compatibility against pytorch-metric-learning, scikit-learn and loops."""

import warnings

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from randhead import rng
from randhead.analyses import _few_shot, _neighbours, _retrieval, compatibility, transfer
from randhead.errors import StopRequested, UsageError


def blobs(n=240, k=6, d=8, seed=0, spread=1.2):
    ids = torch.arange(n)
    labels = (ids.double().sqrt() * 4).long() % k
    vectors = rng.normals(9, "test/vectors", torch.arange(k), d).double()
    return vectors[labels] + spread * rng.normals(seed, "test/noise", ids, d).double(), labels


def tied(n=240):
    """Features on a few lattice points, so that most cosines have equals, also between classes."""
    ids = torch.arange(n)
    return rng.integers(0, "test/tied", ids, 3, high=3).double() - 1, blobs(n)[1]


def brute_force(queries, query_labels, gallery, gallery_labels, same):
    """Recall, R-precision and mAP@R by a loop over queries, ties by index; cosines as exact as float64 can be."""
    unit = [np.round(x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-300), 14) for x in (queries, gallery)]
    scores = []
    for i, label in enumerate(query_labels):
        cosines = np.round(unit[1] @ unit[0][i], 10)
        order = [j for j in np.argsort(-cosines, kind="stable") if not (same and j == i)]
        hits = gallery_labels[order] == label
        r = hits.sum()
        if r:
            precision = np.cumsum(hits[:r]) / np.arange(1, r + 1)
            recalls = [float(hits[:k].any()) for k in (1, 2, 4, 8)]
            scores.append([*recalls, hits[:r].mean(), (precision * hits[:r]).sum() / r])
    return dict(zip(NAMES, np.mean(scores, axis=0), strict=True))


NAMES = ("recall_at_1", "recall_at_2", "recall_at_4", "recall_at_8", "r_precision", "map_at_r")


@pytest.mark.parametrize("data", [blobs, tied])
@pytest.mark.parametrize("same", [True, False])
def test_retrieval_equals_a_loop_over_queries_with_ties_by_index(data, same):
    x, y = data()
    queries, labels = (x, y) if same else (x[:90], y[:90])
    gallery, gallery_labels = (x, y) if same else (x[90:], y[90:])
    expected = brute_force(*(t.numpy() for t in (queries, labels, gallery, gallery_labels)), same)
    found = _retrieval.retrieve(queries, labels, *(() if same else (gallery, gallery_labels))).metrics()
    assert {k: found[k] for k in NAMES} == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("data", [blobs, tied])
def test_retrieval_does_not_depend_on_the_tiles(data, monkeypatch):
    x, y = data()
    whole = _retrieval.retrieve(x, y)
    monkeypatch.setattr(_neighbours, "TILE", 1000)
    found = _retrieval.retrieve(x, y)
    torch.testing.assert_close(found.average_precision_at_r, whole.average_precision_at_r, rtol=0, atol=1e-12)
    assert torch.equal(found.hits, whole.hits) and torch.equal(found.labels, y)


@pytest.mark.parametrize("same", [True, False])
@pytest.mark.parametrize("data", [blobs, tied])
def test_retrieval_equals_pytorch_metric_learning(data, same):
    pytest.importorskip("pytorch_metric_learning")
    from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator

    def by_index(query, k, reference, ref_includes_query=False):
        """Neighbours for the calculator in the same total order: its own searches leave the order of ties open."""
        index = _neighbours.Gallery(reference)
        excluded = torch.arange(len(query)) if ref_includes_query else None
        return None, index.nearest(query, min(k, len(reference) - int(ref_includes_query)), excluded=excluded)

    x, y = data()
    queries, labels, gallery, gallery_labels = (x, y, x, y) if same else (x[:90], y[:90], x[90:], y[90:])
    names = {"precision_at_1": "recall_at_1", "r_precision": "r_precision", "mean_average_precision_at_r": "map_at_r"}
    for by_class, suffix in ((False, ""), (True, "_by_class")):
        calculator = AccuracyCalculator(
            include=tuple(names),
            avg_of_avgs=by_class,
            device=torch.device("cpu"),
            knn_func=by_index,
            kmeans_func=lambda *_: None,
        )
        expected = calculator.get_accuracy(queries, labels, gallery, gallery_labels, ref_includes_query=same)
        retrieval = _retrieval.retrieve(queries, labels, gallery, gallery_labels, same_images=same)
        found = retrieval.metrics()
        assert {k: found[v + suffix] for k, v in names.items()} == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("same", [True, False])
def test_retrieval_equals_pytorch_metric_learning_with_its_own_search(same):
    pytest.importorskip("pytorch_metric_learning")
    from pytorch_metric_learning.distances import CosineSimilarity
    from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
    from pytorch_metric_learning.utils.inference import CustomKNN

    x, y = blobs()
    queries, labels, gallery, gallery_labels = (x, y, x, y) if same else (x[:90], y[:90], x[90:], y[90:])
    calculator = AccuracyCalculator(
        include=("precision_at_1", "r_precision", "mean_average_precision_at_r"),
        device=torch.device("cpu"),
        knn_func=CustomKNN(CosineSimilarity()),
        kmeans_func=lambda *_: None,
    )
    expected = calculator.get_accuracy(queries, labels, gallery, gallery_labels, ref_includes_query=same)
    found = _retrieval.retrieve(queries, labels, gallery, gallery_labels, same_images=same).metrics()
    assert found["recall_at_1"] == pytest.approx(expected["precision_at_1"], abs=1e-6)
    assert found["r_precision"] == pytest.approx(expected["r_precision"], abs=1e-6)
    assert found["map_at_r"] == pytest.approx(expected["mean_average_precision_at_r"], abs=1e-6)


def test_copies_of_a_feature_tie_whatever_their_place_in_the_gallery():
    x, _ = blobs(n=40, d=33)
    gallery = x.repeat(5, 1)
    found = _neighbours.Gallery(gallery).nearest(x, 5)
    assert torch.equal(found, torch.arange(40)[:, None] + 40 * torch.arange(5))


def test_queries_with_nothing_to_find_are_left_out():
    x, y = blobs()
    y[:3] = torch.tensor([70, 71, 72])
    found = _retrieval.retrieve(x, y)
    assert found.lone == 3 and len(found.labels) == 237


@pytest.mark.parametrize("k", [1, 20])
def test_knn_equals_scikit_learn(k):
    x, y = blobs(300)
    test, train = (x[:100], y[:100]), (x[100:], y[100:])
    sklearn = KNeighborsClassifier(k, metric="cosine", algorithm="brute").fit(train[0].numpy(), train[1].numpy())
    expected = sklearn.score(test[0].numpy(), test[1].numpy())
    found = transfer.neighbours(*test, *train, num_classes=6)
    assert found[f"knn_{k}"] == pytest.approx(expected, abs=1e-9)


def test_linear_probe_equals_scikit_learns_pipeline():
    x, y = blobs(300)
    x[:, 3] = 2.0  # a feature that never fires
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    expected = pipeline.fit(x[100:].numpy(), y[100:].numpy()).score(x[:100].numpy(), y[:100].numpy())
    found, notes = transfer.linear_probe(x[:100], y[:100], x[100:], y[100:])
    assert found == pytest.approx(expected, abs=1e-9) and notes == ()


def test_a_probe_that_stops_early_is_said_to(monkeypatch):
    x, y = blobs()
    monkeypatch.setattr(transfer, "STEPS", 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "had not converged after 1 steps" in transfer.linear_probe(x, y, x, y)[1][0]


def test_few_shot_accuracy_equals_a_loop_over_the_same_episodes():
    x, y = blobs()
    found = _few_shot.accuracies(x, y, shots=(1, 5), episodes=4, seed=2)
    members = [(y == c).nonzero().flatten() for c in range(6)]
    unit = (x / x.norm(dim=1, keepdim=True)).numpy()
    for episode in range(4):
        drawn = _few_shot._drawn([m for m in members if len(m) >= 20], 20, episode, 2).numpy()
        assert drawn.shape == (5, 20)
        assert len(np.unique(drawn)) == 100 and all(len(np.unique(y.numpy()[row])) == 1 for row in drawn)
        assert len(np.unique(y.numpy()[drawn[:, 0]])) == 5
        for column, shot in enumerate((1, 5)):
            prototypes = [unit[row[:shot]].mean(axis=0) for row in drawn]
            right = 0
            for truth, row in enumerate(drawn):
                for query in row[5:]:
                    cosines = [p @ unit[query] / np.linalg.norm(p) for p in prototypes]
                    right += int(np.argmax(cosines) == truth)
            assert found[episode, column].item() == pytest.approx(right / 75, abs=1e-12)


@pytest.mark.slow
def test_few_shot_intervals_hold_the_mean_of_many_more_episodes():
    x, y = blobs()
    figures = transfer.measure(x, y, train_features=x, train_labels=y, episodes=100, seed=0).metrics
    many = _few_shot.accuracies(x, y, shots=(1, 5), episodes=600, seed=77)
    for column, shot in enumerate((1, 5)):
        mean, half = figures[f"few_shot_{shot}"], figures[f"few_shot_{shot}_interval"]
        assert half == pytest.approx(1.96 * many[:, column].std().item() / 10, rel=0.25)
        assert abs(mean - many[:, column].mean().item()) < 2 * half
    assert figures["few_shot_5"] > figures["few_shot_1"] + 0.05


def test_one_episode_has_no_interval():
    x, y = blobs()
    found = transfer.measure(x, y, train_features=x, train_labels=y, episodes=1).metrics
    assert found["few_shot_1"] > 0.2 and found["few_shot_1_interval"] is None


def test_transfer_takes_any_labels_and_says_what_it_could_not_measure():
    x, y = blobs(60)
    found = transfer.measure(x, y * 1000 + 17, train_features=x, train_labels=y * 1000 + 17, episodes=2)
    assert found.metrics["few_shot_1"] is None and "not measured" in found.notes[0]
    assert found.metrics["knn_1"] == 1
    assert found.arrays["classes"].tolist() == [17, 1017, 2017, 3017, 4017, 5017]
    unseen = transfer.measure(x, y, train_features=x[y < 5][:12], train_labels=y[y < 5][:12], episodes=2)
    assert any("classes without training samples" in note for note in unseen.notes)
    assert any("only 12 neighbours" in note for note in unseen.notes)


def test_compatibility_equals_retrieval_of_each_pair_and_its_summaries_by_hand():
    runs = [blobs(seed=s)[0] for s in range(3)]
    labels = blobs()[1]
    found = compatibility.measure(runs, labels)
    c = found.arrays["map_at_r"]
    for i in range(3):
        for j in range(3):
            if j > i:
                assert c[i, j].isnan()
                continue
            expected = brute_force(*(t.numpy() for t in (runs[i], labels, runs[j], labels)), True)
            assert c[i, j].item() == pytest.approx(expected["map_at_r"], abs=1e-9)
    c = c.tolist()
    wins = [c[1][0] >= c[0][0], c[2][0] >= c[0][0], c[2][1] >= c[1][1]]
    assert found.metrics["map_at_r_ac"] == pytest.approx(sum(wins) / 3, abs=1e-12)
    filled = [c[i][j] for i in range(3) for j in range(i + 1)]
    assert found.metrics["map_at_r_am"] == pytest.approx(np.mean(filled), abs=1e-12)
    assert found.metrics["map_at_r_own"] == pytest.approx((c[0][0] + c[1][1] + c[2][2]) / 3, abs=1e-12)


def test_runs_that_share_class_vectors_find_each_other_and_rotated_ones_do_not():
    first, labels = blobs(seed=0, spread=0.5)
    second, _ = blobs(seed=1, spread=0.5)
    rotation = torch.linalg.qr(rng.normals(0, "test/rotation", torch.arange(8), 8).double()).Q
    shared = compatibility.measure([first, second], labels).metrics
    apart = compatibility.measure([first, second @ rotation], labels).metrics
    assert shared["recall_at_1_across"] > 0.8
    assert apart["recall_at_1_own"] == pytest.approx(shared["recall_at_1_own"], abs=1e-9)
    assert apart["recall_at_1_across"] < 0.5


def test_a_gallery_of_another_width_is_an_error():
    with pytest.raises(UsageError, match="the same width, got 4 and 8"):
        _neighbours.Gallery(blobs()[0]).nearest(torch.zeros(2, 4), 1)


def test_compatibility_makes_each_gallery_once_says_how_far_it_is_and_can_be_stopped(monkeypatch):
    made, seen = [], []

    class Counted(_neighbours.Gallery):
        def __init__(self, features):
            made.append(len(features))
            super().__init__(features)

    monkeypatch.setattr(compatibility, "Gallery", Counted)
    runs = [blobs(seed=s)[0] for s in range(4)]
    compatibility.measure(runs, blobs()[1], progress=lambda *counts: seen.append(counts))
    assert made == [240] * 4
    assert seen == [(240 * pair, 2400) for pair in range(10)]
    seen.clear()
    with pytest.raises(StopRequested):
        compatibility.measure(
            runs, blobs()[1], should_stop=lambda: len(seen) == 3, progress=lambda *counts: seen.append(counts)
        )
    assert len(seen) == 3


def test_transfer_says_how_far_it_is_and_can_be_stopped():
    (x, y), seen = blobs(), []
    transfer.measure(x, y, train_features=x, train_labels=y, episodes=1, progress=lambda *counts: seen.append(counts))
    assert seen == [(0, 480), (240, 480)]
    with pytest.raises(StopRequested):
        transfer.measure(x, y, train_features=x, train_labels=y, should_stop=lambda: True)
