"""Similarity, dynamics and seeds against SciPy, loops, and curves whose answer is known."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy import stats

from randhead import rng
from randhead.analyses import _mantel, dynamics, similarity
from randhead.analyses import seeds as seed_analysis
from randhead.errors import DataError, StopRequested, UsageError
from randhead.vectors import draw


def likeness(k, seed, round_to=None):
    matrix = rng.normals(seed, "test/likeness", torch.arange(k), k).double()
    matrix = matrix + matrix.T
    return matrix.round(decimals=round_to) if round_to is not None else matrix


def test_permutations_are_counted_and_can_be_stopped():
    vectors, other = likeness(9, 0), likeness(9, 1)
    arguments = {"references": {"one": other, "two": -other}, "class_means": vectors, "permutations": 5}
    seen = []
    expected = similarity.measure(vectors, **arguments)
    assert (
        similarity.measure(vectors, **arguments, progress=lambda *counts: seen.append(counts)).metrics
        == expected.metrics
    )
    assert seen == [(done, 5) for done in range(6)]
    with pytest.raises(StopRequested):
        similarity.measure(vectors, **arguments, should_stop=lambda: len(seen) > 8, progress=lambda *c: seen.append(c))
    assert len(seen) == 9


def naive_sums(a, b, orders):
    """Sums over i < j of twice the centred ranks of a, reordered, times those of b: whole numbers."""
    upper = np.triu_indices(len(a), 1)

    def whole(values):
        return (2 * stats.rankdata(values) - len(values) - 1).astype(np.int64)

    ranks = np.zeros((len(a), len(a)), dtype=np.int64)
    ranks[upper] = whole(a.numpy()[upper])
    ranks, other = ranks + ranks.T, whole(b.numpy()[upper])
    return [int((ranks[np.ix_(order, order)][upper] * other).sum()) for order in orders]


def mantel_tests(sides, references, permutations=40, seed=3):
    return _mantel.tests(
        sides,
        references,
        permutations=permutations,
        seed=seed,
        purpose="test/mantel",
        advanced=lambda done: None,
    )


@pytest.mark.parametrize("counts", [(2, 1), (1, 2)])
@pytest.mark.parametrize(("k", "ties"), [(7, 0), (140, None)])
def test_permutations_of_several_pairs_are_counted_in_whole_numbers(monkeypatch, k, ties, counts):
    sides, references = (
        [likeness(k, seed + i, ties) for i in range(n)] for seed, n in zip((0, 5), counts, strict=True)
    )
    found = mantel_tests(sides, references)
    orders = [np.arange(k), *(rng.permutation(3, "test/mantel", k, stream=s).numpy() for s in range(40))]
    upper = np.triu_indices(k, 1)
    for i, side in enumerate(sides):
        for j, reference in enumerate(references):
            observed, *others = naive_sums(side, reference, orders)
            rho = stats.spearmanr(side.numpy()[upper], reference.numpy()[upper]).statistic
            assert found.of(i, j)[0] == pytest.approx(rho, abs=1e-12)
            assert found.of(i, j)[1] == (1 + sum(other >= observed for other in others)) / 41
    monkeypatch.setattr(_mantel, "ROUNDING", 1)  # float32 decides nothing
    again = mantel_tests(sides, references)
    assert again.summed_again == 80 and torch.equal(again.p, found.p)


def test_a_permutation_that_changes_nothing_counts_whatever_the_rounding(monkeypatch, k=160):
    swaps = torch.arange(k).roll(k // 2)
    a, b = (m + m[swaps][:, swaps] for m in (likeness(k, 0), likeness(k, 1)))
    monkeypatch.setattr(rng, "permutations", lambda *_: iter([swaps] * 9))
    found = mantel_tests([a], [b], permutations=9)
    assert found.p.item() == 1 and found.summed_again == 9


def test_no_permutation_of_constant_similarities_is_summed_again(k=12):
    found = mantel_tests([torch.eye(k), likeness(k, 0)], [torch.eye(k), likeness(k, 1)], permutations=99)
    assert found.of(0, 0) == found.of(0, 1) == found.of(1, 0) == (None, None) and found.summed_again < 99
    assert found.of(1, 1) == mantel_tests([likeness(k, 0)], [likeness(k, 1)], permutations=99).of(0, 0)


def test_sums_in_float32_are_within_the_margin(k=300):
    a, b = likeness(k, 0), likeness(k, 1)
    ranks, other = _mantel._twice_centred_ranks(a), _mantel._twice_centred_ranks(b).triu(1)[:, None]
    length = math.sqrt(_mantel._squares(ranks[:, None]).item() / 2 * _mantel._squares(other).item())
    orders = [rng.permutation(1, "test/order", k, stream=s) for s in range(9)]
    for order, expected in zip(orders, naive_sums(a, b, orders), strict=True):
        assert _mantel._exact(ranks, other, order).tolist() == [expected]
        assert 0 < abs(_mantel._rounded(ranks, other, order[None]).item() - expected) <= length * k * _mantel.ROUNDING


def test_many_classes_are_compared_by_a_sample_that_is_said(k=40, sample=12):
    vectors, means = likeness(k, 0), likeness(k, 1)[:, :9]
    asked = []

    def reference(classes):
        asked.append(classes)
        return similarity.cosines(vectors[classes])

    options = {"permutations": 19, "seed": 4}
    given = {"whole": similarity.cosines(vectors), "drawn": reference}
    found = similarity.measure(vectors, references=given, class_means=means, sample=sample, **options)
    (classes,) = asked
    assert len(classes) == sample == len(classes.unique()) == found.metrics["classes_compared"]
    assert found.notes == ("a random sample of 12 of 40 classes is compared",)
    assert {array.shape for array in found.arrays.values()} == {(sample, sample)}
    alone = {"references": {"drawn": found.arrays["drawn"]}, "class_means": means[classes]}
    expected = similarity.measure(vectors[classes], **alone, **options)
    for name in expected.metrics:
        assert found.metrics[name] == expected.metrics[name]
    assert torch.equal(found.arrays["whole"], given["whole"][classes][:, classes])
    other = similarity.measure(vectors, references=given, sample=sample, permutations=1, seed=5)
    assert not torch.equal(asked[-1], classes) and other.metrics["classes_compared"] == sample
    everything = similarity.measure(vectors, references={"drawn": reference}, permutations=1)
    assert everything.metrics["classes_compared"] == k and everything.notes == ()
    assert torch.equal(asked[-1], torch.arange(k))


def test_permutations_drawn_together_are_those_drawn_alone():
    for n in (1, 7, 5000, 40_000):
        together = list(rng.permutations(3, "test/together", n, range(2, 10)))
        for stream, order in zip(range(2, 10), together, strict=True):
            assert torch.equal(order, rng.permutation(3, "test/together", n, stream=stream))


def test_common_ancestry_is_that_of_a_comparison_step_by_step():
    paths = [list(text) for text in ("abc", "abd", "ab", "x", "xbc", "abc", "")]
    found = similarity.common_ancestry(paths)
    for i, first in enumerate(paths):
        for j, second in enumerate(paths):
            common = next((d for d, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), None)
            common = min(len(first), len(second)) if common is None else common
            assert found[i, j] == 2 * common / max(1, len(first) + len(second))


@pytest.mark.parametrize("ties", [None, 0])
def test_mantel_equals_a_loop_of_scipys_spearman_over_the_same_permutations(ties):
    k, a, b = 9, likeness(9, 0, ties), likeness(9, 1, ties)
    upper = np.triu_indices(k, 1)

    def rho(matrix):
        return stats.spearmanr(matrix.numpy()[upper], b.numpy()[upper]).statistic

    orders = [rng.permutation(5, "analyses/mantel", k, stream=s) for s in range(99)]
    better = sum(rho(a[order][:, order]) >= rho(a) - 1e-12 for order in orders)
    found, p = similarity.mantel(a, b, permutations=99, seed=5)
    assert found == pytest.approx(rho(a), abs=1e-9)
    assert p == pytest.approx((1 + better) / 100, abs=1e-12)


def test_identical_likeness_has_correlation_one_and_the_smallest_p():
    a = likeness(12, 0)
    assert similarity.mantel(a, a, permutations=199) == (pytest.approx(1, abs=1e-12), 1 / 200)
    assert similarity.mantel(a, -a, permutations=199)[1] == 1


@pytest.mark.slow
def test_p_values_of_unrelated_matrices_are_uniform():
    p = [similarity.mantel(likeness(10, s), likeness(10, 1000 + s), permutations=99, seed=s)[1] for s in range(60)]
    assert stats.kstest(p, "uniform").pvalue > 0.01
    assert 0.3 < np.mean(p) < 0.7


@pytest.mark.slow
def test_random_vectors_do_not_know_the_likeness_that_learned_ones_and_means_know():
    k = 30
    groups = torch.arange(k) // 5
    prototypes = rng.normals(0, "test/prototypes", torch.arange(6), 64)
    means = prototypes[groups] + rng.normals(0, "test/means", torch.arange(k), 64)
    references = {"taxonomy": similarity.common_ancestry([["root", f"g{g}", f"c{i}"] for i, g in enumerate(groups)])}
    fixed = similarity.measure(draw("gaussian", list(range(k)), dim=64), references=references, class_means=means)
    assert abs(fixed.metrics["vectors_taxonomy"]) < 0.15 and fixed.metrics["vectors_taxonomy_p"] > 0.05
    assert fixed.metrics["means_taxonomy"] > 0.4 and fixed.metrics["means_taxonomy_p"] == 0.001
    learned = similarity.measure(means, references=references).metrics
    assert learned["vectors_taxonomy"] == fixed.metrics["means_taxonomy"]
    assert fixed.arrays["vectors"].shape == (k, k)


def test_references_equal_their_definitions():
    vectors = rng.normals(2, "test/vectors", torch.arange(5), 8).double()
    assert similarity.cosines(vectors).numpy() == pytest.approx(_cosines(vectors.numpy()), abs=1e-12)
    images = vectors.reshape(5, 2, 2, 2)
    assert torch.equal(similarity.cosines(images), similarity.cosines(vectors))
    confusion = torch.tensor([[8, 2, 0], [1, 1, 2], [0, 0, 5]])
    expected = [[0.8, (0.2 + 0.25) / 2, 0], [(0.2 + 0.25) / 2, 0.25, 0.25], [0, 0.25, 1]]
    assert similarity.symmetrised(confusion).numpy() == pytest.approx(np.array(expected), abs=1e-12)
    paths = [["animal", "cat"], ["animal", "dog", "poodle"], ["vehicle", "car"]]
    expected = [[1, 0.4, 0], [0.4, 1, 0], [0, 0, 1]]
    assert similarity.common_ancestry(paths).numpy() == pytest.approx(np.array(expected), abs=1e-12)


def _cosines(x):
    x = x - x.mean(axis=0)
    return 1 - np.array([[_cosine_distance(a, b) for b in x] for a in x])


def _cosine_distance(a, b):
    return 1 - a @ b / math.sqrt((a @ a) * (b @ b))


def test_a_constant_reference_has_no_correlation_and_few_classes_no_power():
    found = similarity.measure(likeness(5, 0), references={"flat": torch.ones(5, 5)})
    assert found.metrics == {"vectors_flat": None, "vectors_flat_p": None, "classes_compared": 5}
    assert "no correlation" in found.notes[0] and "no power" in found.notes[1]


STEPS = torch.arange(0, 2000, 10)


def curve(start, end, until, noise=0.05):
    """A loss that falls in a straight line to `end` at step `until`, then stays; NumPy-free noise."""
    share = (STEPS.double() / until).clamp_max(1)
    return start + (end - start) * share + noise * rng.normals(0, "test/loss", STEPS, 1).squeeze(1)


def test_a_loss_that_falls_and_rests_has_converged_near_its_knee():
    found = dynamics.measure(STEPS, curve(2.3, 0.2, 1000), num_classes=10).metrics
    assert found["verdict"] == "converged"
    assert 900 <= found["stopped_at_step"] <= 1150
    assert found["lowest_loss"] == pytest.approx(0.2, abs=0.05)


def test_a_loss_that_rests_near_guessing_did_not_converge():
    found = dynamics.measure(STEPS, curve(2.3, 1.6, 500, noise=0.01), num_classes=10, cosine_scale=1.0)
    assert found.metrics["verdict"] == "did not converge"
    assert 400 <= found.metrics["stopped_at_step"] <= 700
    # heads.md: at s = 1 a simplex head of 10 classes gives its target at most 0.252.
    assert found.metrics["reachable_loss"] == pytest.approx(-math.log(0.252), abs=0.002)
    assert "raise the scale" in found.notes[0]
    assert dynamics.measure(STEPS, curve(2.3, 0.1, 500), num_classes=10, cosine_scale=16.0).notes == ()


def test_a_loss_that_still_falls_is_still_improving():
    found = dynamics.measure(STEPS, curve(2.3, 0.3, 2000), num_classes=10).metrics
    assert found["verdict"] == "still improving" and found["stopped_at_step"] is None


def test_a_loss_that_rises_again_went_back_up_where_it_was_lowest():
    loss = torch.cat((curve(2.3, 0.5, 1000)[:100], curve(0.5, 1.5, 1000)[:100]))
    found = dynamics.measure(STEPS, loss, num_classes=10).metrics
    assert found["verdict"] == "went back up"
    assert abs(found["stopped_at_step"] - 1000) <= 100 and abs(found["lowest_loss_step"] - 1000) <= 100


def test_a_loss_that_is_not_a_number_has_diverged_at_its_step():
    loss = curve(2.3, 0.5, 1000)
    loss[120:] = math.nan
    found = dynamics.measure(STEPS, loss, num_classes=10).metrics
    assert found["verdict"] == "diverged" and found["stopped_at_step"] == 1200


def verdict(*loss):
    steps = torch.arange(len(loss)) * 10
    found = dynamics.measure(steps, torch.tensor(loss), num_classes=10)
    assert found.metrics["first_loss"] == pytest.approx(loss[0]) and found.metrics["last_loss"] == pytest.approx(
        loss[-1]
    )
    return found


@pytest.mark.parametrize("loss", [(0.937, 0.455), (2.3,), (2.3, 1.0, 0.5, 0.4), (0.5, 2.0)])
def test_few_epochs_have_their_measured_ends_and_no_verdict(loss):
    found = verdict(*loss)
    assert found.metrics["verdict"] is None and found.metrics["stopped_at_step"] is None
    assert f"no verdict on {len(loss)} point{'s' if len(loss) > 1 else ''}:" in found.notes[0]


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        ((2.3, 1.0, 0.5, 0.3, 0.2, 0.15, 0.12, 0.1, 9.0), "went back up"),  # only the last epoch
        ((2.3, 1.0, 0.5, 0.3, 0.2, 0.15, 0.1, 8.0, 9.0), "went back up"),
        ((0.1, 0.5, 1.0, 2.0, 3.0), "went back up"),
        ((9.0, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1), "converged"),  # only the first epoch is high
        ((2.3, 1.9, 1.5, 1.1, 0.7, 0.3), "still improving"),
        ((2.3, 0.2, 0.2, 0.2, 9.0, 0.2, 0.2, 0.2, 0.2, 0.2), "converged"),  # one epoch between is no trend
        ((2.3, 2.3, 2.3, 2.3, 2.3, 2.3), "did not converge"),
    ],
)
def test_a_verdict_sees_both_ends(loss, expected):
    assert verdict(*loss).metrics["verdict"] == expected


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        ((1.3863, 1.3861, 1.3864, 1.3862, 1.3863, 1.3865), "did not converge"),
        ((2.3026, 2.3026, 2.3026, 2.3026, 2.3027), "did not converge"),
        ((0.1, 0.1001, 0.0999, 0.1, 0.1002), "converged"),
        ((1e-9, 1e-9, 1e-9, 1e-9, 2e-9), "converged"),
    ],
)
def test_the_noise_of_a_flat_loss_is_neither_a_rise_nor_progress(loss, expected):
    found = verdict(*loss).metrics
    assert (found["verdict"], found["stopped_at_step"]) == (expected, 0)


@pytest.mark.parametrize("points", [5, 8, 20, 50])
def test_few_flat_curves_seem_to_move(points, repeats=40):
    noise = rng.normals(0, f"test/flat/{points}", torch.arange(repeats), points).double()
    found = [dynamics.convergence(torch.arange(points), 2.3 + 0.01 * row, 2.3)[0]["verdict"] for row in noise]
    assert found.count("did not converge") >= 0.85 * repeats


def test_the_lowest_loss_is_one_that_was_measured_and_no_spike_beside_it():
    found = verdict(1.0, 0.5, 0.2, 0.1, 9.0).metrics
    assert (found["lowest_loss"], found["lowest_loss_step"]) == (pytest.approx(0.1), 30)
    alternating = verdict(*[2.3, 0.01] * 8).metrics  # with a median of three
    assert alternating["lowest_loss"] == pytest.approx(0.01) and alternating["lowest_loss_step"] == 10


def test_a_window_of_the_median_is_never_even():
    values = torch.tensor([5.0, 1.0, 4.0, 2.0, 3.0, 9.0]).double()
    expected = [values[0], *(np.median(values[i - 1 : i + 2]) for i in range(1, 5)), values[5]]
    assert dynamics.running_median(values, 1).tolist() == expected
    assert dynamics.running_median(values, 2)[2] == np.median(values[:5])


def test_no_arrangement_of_unit_vectors_beats_the_reachable_loss_and_the_simplex_meets_it():
    for scale in (1.0, 4.0, 10.0):
        simplex = draw("simplex", list(range(6)), dim=8, num_classes=6).double()
        loss = torch.nn.functional.cross_entropy(scale * simplex @ simplex.T, torch.arange(6)).item()
        assert dynamics.reachable_loss(scale, 6) == pytest.approx(loss, abs=1e-6)
        other = draw("gaussian", list(range(6)), dim=8).double()
        assert torch.nn.functional.cross_entropy(scale * other @ other.T, torch.arange(6)).item() > loss


def test_drift_and_series_are_followed_to_the_end():
    first = torch.tensor([[1.0, 0], [0, 2]])
    kept = torch.stack((first, first, torch.tensor([[0.0, 1], [0, 4]])))
    gradients = (torch.tensor([5, 15]), torch.tensor([3.0, 0.5]))
    found = dynamics.measure(
        STEPS,
        curve(2, 1, 900),
        num_classes=10,
        series={"backbone_gradient": gradients},
        class_vectors=(torch.tensor([0, 10, 20]), kept),
    )
    assert found.metrics["class_vector_turn_deg"] == pytest.approx(45, abs=1e-9)
    assert found.metrics["class_vector_drift"] == pytest.approx(math.sqrt(6 / 5), abs=1e-12)
    assert found.arrays["drift"].tolist()[:2] == [0, 0]
    assert found.metrics["backbone_gradient_first"] == 3 and found.metrics["backbone_gradient_lowest"] == 0.5
    single = dynamics.measure(torch.tensor([0]), torch.tensor([2.0]), num_classes=3).metrics
    assert single["verdict"] is None


def test_logs_that_cannot_be_of_one_run_are_errors():
    with pytest.raises(DataError, match="steps of loss do not increase"):
        dynamics.measure(torch.tensor([0, 10, 5]), torch.ones(3), num_classes=3)
    with pytest.raises(UsageError, match="one value per step"):
        dynamics.measure(STEPS, torch.ones(3), num_classes=3)
    with pytest.raises(DataError, match="nothing was logged"):
        dynamics.measure(STEPS[:0], torch.ones(0), num_classes=3)


def layout(a, b, head, seed, rest, draw_seed=0):
    """A table of a grid of runs with given standard deviations, and its runs in a shuffled order."""
    normal = rng.normals(draw_seed, "test/layout", torch.arange(a + 1), a + b + b).double()
    rows, columns = normal[0, :a, None], normal[0, a : a + b]
    table = 0.8 + head * rows + seed * columns + rest * normal[1:, :b]
    order = rng.permutation(draw_seed, "test/order", a * b)
    grid = torch.cartesian_prod(torch.arange(a) + 100, torch.arange(b) + 7)[order]
    return table, grid[:, 0], grid[:, 1], table.flatten()[order]


def test_variance_components_equal_least_squares_of_nested_models():
    a, b = 4, 6
    table, heads, trains, values = layout(a, b, 0.02, 0.01, 0.005)
    y = values.numpy()
    one = np.ones((a * b, 1))
    by_head = np.eye(a)[heads.numpy() - 100]
    by_seed = np.eye(b)[trains.numpy() - 7]
    models = [one, np.hstack((one, by_head)), np.hstack((one, by_head, by_seed))]
    residuals = [((y - x @ np.linalg.lstsq(x, y, rcond=None)[0]) ** 2).sum() for x in models]
    squares = [r - s for r, s in pairwise(residuals)]
    mean_head, mean_seed, mean_rest = squares[0] / (a - 1), squares[1] / (b - 1), residuals[2] / ((a - 1) * (b - 1))
    found = seed_analysis.measure(heads, trains, values={"accuracy": values})
    assert torch.equal(found.arrays["accuracy"], table)
    expected = {"head": (mean_head - mean_rest) / b, "seed": (mean_seed - mean_rest) / a, "rest": mean_rest}
    for name, variance in expected.items():
        assert found.metrics[f"accuracy_{name}_std"] == pytest.approx(math.sqrt(variance), abs=1e-9)
        assert found.metrics[f"accuracy_{name}_share"] == pytest.approx(variance / sum(expected.values()), abs=1e-9)
    p = stats.f.sf(mean_head / mean_rest, a - 1, (a - 1) * (b - 1))
    assert found.metrics["accuracy_head_p"] == pytest.approx(p, abs=1e-9)


def test_components_recover_what_the_runs_were_made_of():
    found = [
        seed_analysis.measure(h, s, values={"x": v}).metrics
        for h, s, v in (layout(8, 8, 0.03, 0.01, 0.02, draw_seed=d)[1:] for d in range(60))
    ]
    for name, expected in (("head", 0.03), ("seed", 0.01), ("rest", 0.02)):
        variance = np.mean([f[f"x_{name}_std"] ** 2 for f in found])
        assert variance == pytest.approx(expected**2, rel=0.35)


def test_a_grid_with_holes_repeats_or_a_single_row_is_an_error():
    _, heads, trains, values = layout(3, 3, 1, 1, 1)
    with pytest.raises(DataError, match="has no run, expected one"):
        seed_analysis.measure(heads[1:], trains[1:], values={"x": values[1:]})
    with pytest.raises(DataError, match="has 2 runs"):
        seed_analysis.measure(heads[[0, *range(9)]], trains[[0, *range(9)]], values={"x": values[[0, *range(9)]]})
    with pytest.raises(DataError, match="at least 2 head seeds and 2 seeds, got 1 and 9"):
        seed_analysis.measure(heads * 0, torch.arange(9), values={"x": values})
    with pytest.raises(DataError, match="NaN"):
        seed_analysis.measure(heads, trains, values={"x": values * math.nan})
    flat = seed_analysis.measure(heads, trains, values={"x": torch.ones(9)}).metrics
    assert flat["x_head_share"] is None and flat["x_head_p"] is None and flat["x_std"] == 0


@pytest.mark.parametrize(("a", "b"), [(2, 2), (2, 6), (3, 3)])
def test_shares_of_a_small_grid_are_said_to_be_mostly_chance_and_shown_with_their_p_values(a, b):
    _, heads, trains, values = layout(a, b, 0, 0, 1)
    found = seed_analysis.measure(heads, trains, values={"accuracy": values})
    assert any("say little about shares" in note for note in found.notes) == (min(a, b) < 3)
    assert {"accuracy_head_share", "accuracy_head_p", "accuracy_seed_p"} <= {*seed_analysis.HEADLINES} & {
        *found.metrics
    }


def test_one_in_five_small_grids_without_an_effect_of_the_head_give_it_most_of_the_variance():
    tables = [layout(2, 2, 0, 0, 1, draw_seed=d)[0] for d in range(150)]
    large = np.mean([seed_analysis.components(table)[0]["head_share"] > 0.5 for table in tables])
    assert 0.1 < large < 0.3
