"""What several analyses share beyond their contract (tests/test_contracts.py): streaming, and awkward input."""

import dataclasses
import inspect
import math

import numpy as np
import pytest
import torch
from torch.utils._pytree import tree_map

from randhead import registry, rng
from randhead.analyses import (
    _class_statistics,
    class_statistics,
    collapse,
    compactness,
    compatibility,
    separability,
    similarity,
    transfer,
    wrong_findings,
)
from randhead.errors import DataError, UsageError
from randhead.testing.analysis import example_arguments

K, D, N = 6, 10, 120
VECTORS = rng.normals(0, "test/vectors", torch.arange(K), D).double()
LABELS = torch.arange(N) % K
FEATURES = VECTORS[LABELS] + rng.normals(0, "test/noise", torch.arange(N), D).double()


def example(name, features=FEATURES, labels=LABELS, vectors=VECTORS):
    """A call of one analysis on small data."""
    module = registry.load("analyses", name)
    k = len(vectors)
    grid = torch.cartesian_prod(torch.arange(3), torch.arange(4))
    calls = {
        "separability": lambda: module.measure(features, labels, num_classes=k, class_vectors=vectors),
        "compactness": lambda: module.measure(
            features, labels, num_classes=k, class_vectors=vectors, predictions=labels * 0
        ),
        "similarity": lambda: module.measure(
            vectors, references={"means": similarity.cosines(vectors.flip(1))}, permutations=19
        ),
        "collapse": lambda: module.measure(features, labels, class_vectors=vectors),
        "dynamics": lambda: module.measure(torch.arange(50), 2 / torch.arange(1, 51), num_classes=k),
        "transfer": lambda: module.measure(
            features, labels, train_features=features + 0.1, train_labels=labels, episodes=3
        ),
        "compatibility": lambda: module.measure([features, features + 0.1], labels),
        "seeds": lambda: module.measure(grid[:, 0], grid[:, 1], values={"accuracy": grid.sum(dim=1).sin()}),
    }
    return calls[name]()


@pytest.mark.parametrize("name", ["separability", "compactness", "collapse", "transfer", "compatibility"])
def test_float32_features_are_measured_in_float64(name):
    features = FEATURES.float()
    exact, found = example(name, features.double()), example(name, features)
    assert found.metrics == pytest.approx(exact.metrics, abs=1e-12, nan_ok=False)


@pytest.mark.parametrize("name", ["separability", "compactness", "collapse", "transfer", "compatibility"])
def test_the_order_of_the_samples_does_not_matter(name):
    order = rng.permutation(0, "test/order", N)
    found = example(name, FEATURES[order], LABELS[order]).metrics
    skipped = {"few_shot_1", "few_shot_5", "few_shot_1_interval", "few_shot_5_interval"}
    skipped |= {k for k in found if k.startswith(("right_", "wrong_"))}
    expected = {k: v for k, v in example(name).metrics.items() if k not in skipped}
    assert {k: v for k, v in found.items() if k not in skipped} == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("sizes", [[120], [1, 119], [7] * 17 + [1]])
def test_statistics_do_not_depend_on_how_a_stream_is_cut(sizes):
    whole = class_statistics(FEATURES, LABELS, num_classes=K, class_vectors=VECTORS)
    batches = zip(FEATURES.split(sizes), LABELS.split(sizes), strict=True)
    found = _class_statistics.class_statistics_of_batches(batches, num_classes=K, class_vectors=VECTORS)
    for name, value in dataclasses.asdict(whole).items():
        torch.testing.assert_close(getattr(found, name), value, rtol=1e-12, atol=1e-12)


def test_streamed_separability_and_compactness_equal_those_of_tensors():
    statistics = _class_statistics.class_statistics_of_batches(
        zip(FEATURES.split(11), LABELS.split(11), strict=True), num_classes=K, class_vectors=VECTORS
    )
    whole = example("separability").metrics
    del whole["silhouette"]
    assert separability.from_statistics(statistics, class_vectors=VECTORS).metrics == pytest.approx(whole, abs=1e-9)
    found = compactness.from_statistics(statistics, class_vectors=VECTORS, correct=LABELS == 0)
    assert found.metrics == pytest.approx(example("compactness").metrics, abs=1e-9)


def test_class_statistics_of_tight_classes_far_from_zero_keep_their_digits():
    noise = rng.normals(3, "test/noise", torch.arange(N), D).double() * 2**-20
    found = class_statistics(noise + 2**20, LABELS, num_classes=K)
    exact = torch.stack([(noise[y == LABELS] - noise[y == LABELS].mean(0)).square().sum() for y in range(K)])
    # The sums of squares themselves are about 1e14, with a spacing of 0.02; the scatter is 1e-10.
    torch.testing.assert_close(found.scatter, exact, rtol=1e-3, atol=0)


def test_a_class_without_samples_is_left_out_and_said_to_be():
    labels = torch.where(LABELS == 2, 3, LABELS)
    fewer = torch.where(labels > 2, labels - 1, labels)
    kept = torch.arange(K) != 2
    for name in ("separability", "compactness", "collapse"):
        found = example(name, labels=labels)
        expected = example(name, labels=fewer, vectors=VECTORS[kept]).metrics
        shared = {k: v for k, v in found.metrics.items() if not k.startswith(("class_vectors", "simplex"))}
        assert shared == pytest.approx({k: expected[k] for k in shared}, abs=1e-9)
        assert found.arrays["classes"].tolist() == [0, 1, 3, 4, 5]
        assert found.notes == ("1 of 6 classes have no sample and are left out: 2",)


def test_a_class_with_one_sample_has_no_spread_and_counts():
    labels, features = LABELS.clone(), FEATURES
    labels[labels == 5] = 4
    labels[17] = 5
    for name in ("separability", "compactness", "collapse", "compatibility"):
        found = example(name, features, labels)
        assert all(v is not None for k, v in found.metrics.items())
        assert name == "compatibility" or "1 of 6 classes have one sample" in " ".join(found.notes)
    statistics = class_statistics(features, labels, num_classes=K)
    assert statistics.scatter[5] == 0
    assert separability.silhouettes(features, labels, statistics)[17] == 0
    assert "1 samples without another one" in compatibility.measure([features, features], labels).notes[0]


def test_constant_features_have_no_direction_to_compare_and_say_so():
    constant = (VECTORS[0] / 3).repeat(N, 1)
    constant[LABELS == 1] *= 1 + 2**-52  # as equal as rounding leaves them
    found = example("separability", constant)
    undefined = ("mean_distance", "mean_angle_deg", "nearest_angle_deg")
    undefined += ("centred_mean_distance", "centred_min_angle_deg", "class_separation_r2", "silhouette")
    assert all(found.metrics[name] is None for name in undefined)
    assert "lies at the mean of all classes" in found.notes[-1]
    found = example("compactness", constant)
    assert found.metrics["trace_ratio"] is None and found.metrics["cdnv"] is None
    assert found.metrics["within_distance"] is None and found.metrics["cosine_to_class_mean"] is None
    found = example("collapse", constant)
    assert all(found.metrics[name] is None for name in ("nc1", "nc2_equinorm", "nc2_head", "nc3", "nc4"))
    for name in ("transfer", "compatibility"):
        assert set(example(name, constant * 0 + 1).metrics.values()) == {None}


WITHIN = ("nc1", "nc4", "gnc1", "trace_ratio", "cdnv", "within_distance", "cosine_to_class_mean")
WITHIN += ("class_separation_r2", "silhouette")


@pytest.mark.parametrize("name", ["separability", "compactness", "collapse"])
@pytest.mark.parametrize("scoring", ["dot", "cosine"])
def test_one_sample_per_class_has_no_spread_and_no_metric_of_it(name, scoring):
    labels = torch.arange(K)
    arguments = {"scoring": scoring} if name == "collapse" else {}
    module = registry.load("analyses", name)
    found = module.measure(FEATURES[:K], labels, class_vectors=VECTORS, **arguments)
    assert {key: found.metrics[key] for key in WITHIN if key in found.metrics} == dict.fromkeys(
        key for key in WITHIN if key in found.metrics
    )
    assert "classes of one sample have no spread" in " ".join(found.notes)
    train = class_statistics(FEATURES, LABELS, num_classes=K)
    if name == "collapse":  # means of other samples: the nearest of them says something
        with_train = module.measure(FEATURES[:K], labels, class_vectors=VECTORS, train=train, **arguments)
        assert with_train.metrics["nc4"] is not None and with_train.metrics["nc1"] is None


def test_transfer_of_one_sample_per_class_has_neighbours_and_no_retrieval():
    labels = torch.arange(K)
    found = registry.load("analyses", "transfer").measure(
        FEATURES[:K], labels, train_features=FEATURES, train_labels=LABELS, episodes=3
    )
    assert found.metrics["knn_1"] is not None and found.metrics["map_at_r"] is None
    assert "nothing can be retrieved" in " ".join(found.notes)


DEGENERATE = {
    "one sample per class": (FEATURES[:K], torch.arange(K)),
    "equal features": (torch.ones(N, VECTORS.shape[1]), LABELS),
    "zero features": (torch.zeros(N, VECTORS.shape[1]), LABELS),
    "half of the classes dead": (FEATURES * (LABELS < K // 2)[:, None], LABELS),
    "one dead feature": (FEATURES * (torch.arange(VECTORS.shape[1]) > 0), LABELS),
}


@pytest.mark.parametrize("name", ["separability", "compactness", "collapse", "compatibility", "transfer"])
@pytest.mark.parametrize("case", DEGENERATE)
def test_a_metric_without_a_value_has_a_note(name, case):
    if (name, case) == ("compatibility", "one sample per class"):
        return  # an error: see below
    found = example(name, *DEGENERATE[case])
    assert wrong_findings(found) is None
    assert found.notes or None not in found.metrics.values()


def test_features_of_zero_have_cosine_zero_and_are_counted():
    features = FEATURES.clone()
    features[[3, 9]] = 0
    for name in ("separability", "compactness"):
        assert "2 features are zero; their cosines count as 0" in example(name, features).notes


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("name", ["separability", "compactness", "collapse", "transfer", "compatibility"])
def test_features_that_are_not_numbers_are_an_error_that_counts_them(name, bad):
    features = FEATURES.clone()
    features[[4, 8, 15], 2] = bad
    with pytest.raises(DataError, match=r"3 of \d+ features contain NaN or infinity"):
        example(name, features)


@pytest.mark.parametrize("factor", [1e200, 1e-200])
@pytest.mark.parametrize("name", ["separability", "compactness", "collapse", "transfer", "compatibility"])
def test_features_whose_squares_are_no_numbers_are_an_error(name, factor):
    with pytest.raises(DataError, match=r"rows of .*features.* have numbers around .*e[+-]") as found:
        example(name, factor * FEATURES)
    assert found.value.hint


@pytest.mark.parametrize("name", ["separability", "compactness", "collapse"])
def test_labels_of_other_classes_and_vectors_of_another_run_are_errors(name):
    with pytest.raises(DataError, match=r"labels must be in 0\.\.5, got 0\.\.6") as caught:
        example(name, labels=LABELS + (LABELS == 5))
    assert "one run" in caught.value.hint
    with pytest.raises(UsageError, match=r"class vectors must be \(6, 10\) .* got \(6, 9\)"):
        example(name, vectors=VECTORS[:, :9])
    with pytest.raises(UsageError, match=r"\(N, D\) and \(N,\)"):
        example(name, labels=LABELS[:-1])
    with pytest.raises(DataError, match="no samples"):
        example(name, FEATURES[:0], LABELS[:0])
    with pytest.raises(DataError, match="needs samples of at least two"):
        example(name, labels=torch.zeros_like(LABELS))


def test_mistakes_of_the_other_analyses_are_errors_with_their_cause():
    with pytest.raises(UsageError, match=r"pixels must be \(6, 6\), got \(5, 5\)"):
        similarity.measure(VECTORS, references={"pixels": torch.eye(5)})
    with pytest.raises(DataError, match="confusion is not symmetric"):
        similarity.measure(VECTORS, references={"confusion": torch.arange(36.0).reshape(6, 6)})
    with pytest.raises(DataError, match="confusion contains NaN"):
        similarity.measure(VECTORS, references={"confusion": similarity.symmetrised(torch.zeros(6, 6))})
    with pytest.raises(UsageError, match="compatibility needs two runs or more"):
        compatibility.measure([FEATURES], LABELS)
    with pytest.raises(UsageError, match=r"2 widths cannot be compared: \[9, 10\]"):
        compatibility.measure([FEATURES, FEATURES[:, :9]], LABELS)
    with pytest.raises(UsageError, match="the same width"):
        transfer.measure(FEATURES, LABELS, train_features=FEATURES[:, :4], train_labels=LABELS)
    with pytest.raises(DataError, match="at least two classes"):
        transfer.measure(FEATURES, LABELS, train_features=FEATURES, train_labels=torch.zeros_like(LABELS))
    with pytest.raises(DataError, match="no query has another sample"):
        compatibility.measure([FEATURES[:K], FEATURES[:K]], torch.arange(K))
    with pytest.raises(UsageError, match="unknown scoring 'cosin'"):
        collapse.measure(FEATURES, LABELS, class_vectors=VECTORS, scoring="cosin")
    with pytest.raises(UsageError, match="predictions"):
        compactness.measure(FEATURES, LABELS, num_classes=K, predictions=LABELS[:3])


def test_two_classes_are_always_opposite_once_centred():
    labels = LABELS % 2
    for name in ("separability", "compactness", "collapse", "compatibility", "transfer"):
        found = example(name, labels=labels, vectors=VECTORS[:2]).metrics
        opposite = {key for key in found if key.startswith(("centred_", "nc2"))}
        assert {key for key, value in found.items() if value is None} == opposite, name
    assert example("similarity", vectors=VECTORS[:2]).metrics == {
        "vectors_means": None,
        "vectors_means_p": None,
        "classes_compared": 2,
    }


def as_lists(tensor):
    return tensor.tolist()


def read_only(tensor):
    array = tensor.numpy().copy()
    array.setflags(write=False)
    return array


def with_gradient(tensor):
    return tensor.clone().requires_grad_() if tensor.is_floating_point() else tensor


FORMS = {
    "arrays": lambda tensor: tensor.numpy(),
    "arrays that are read-only": read_only,
    "lists": as_lists,
    "int32": lambda tensor: tensor if tensor.is_floating_point() else tensor.int(),
    "uint8": lambda tensor: tensor if tensor.is_floating_point() else tensor.numpy().astype(np.uint8),
    "tensors with a gradient": with_gradient,
}
every_analysis = pytest.mark.parametrize("name", registry.builtin_names("analyses"))


@every_analysis
@pytest.mark.parametrize("form", FORMS)
def test_arrays_lists_and_tensors_of_other_types_give_the_same_findings(name, form):
    module = registry.load("analyses", name)
    arguments = example_arguments(module.measure, module.INPUT)
    expected = module.measure(**arguments)
    convert = FORMS[form]
    given = tree_map(lambda value: convert(value) if isinstance(value, torch.Tensor) else value, arguments)
    found = module.measure(**given)
    assert found.metrics == expected.metrics and found.notes == expected.notes
    for key, value in expected.arrays.items():
        assert torch.equal(found.arrays[key].nan_to_num(7), value.nan_to_num(7)), key


@every_analysis
def test_arguments_have_the_same_order_in_every_analysis(name):
    module = registry.load("analyses", name)
    parameters = inspect.signature(module.measure).parameters
    order = ["steps", "loss", "features", "labels", "num_classes", "class_vectors", "bias", "predictions"]
    assert [p for p in parameters if p in order] == sorted((p for p in parameters if p in order), key=order.index)
    values = [p for p in parameters if p not in ("should_stop", "progress")]  # which stop and follow it
    assert "seed" not in parameters or values[-1] == "seed"
    if "labels" in parameters:
        assert list(parameters)[:2] == ["features", "labels"]
    if "num_classes" in parameters and module.INPUT == "run":
        assert parameters["num_classes"].default is None
        with_default = example_arguments(module.measure, "run")
        del with_default["num_classes"]
        assert module.measure(**with_default).metrics == module.measure(**with_default, num_classes=K).metrics


def test_collapse_without_class_vectors_is_that_of_the_features():
    found, whole = collapse.measure(FEATURES, LABELS).metrics, example("collapse").metrics
    assert set(found) == {"nc1", "nc1_floor", "nc2_equinorm", "nc2_equiangularity", "nc2_simplex"}
    assert found == {name: whole[name] for name in found}


STEPS = torch.arange(3)
WRONG = [
    *((name, {"features": value}) for name in ("separability", "transfer") for value in ("x", None, FEATURES[0], 3)),
    *((name, {"features": FEATURES > 0}) for name in ("compactness", "collapse")),
    *((name, {"labels": value}) for name in ("collapse", "transfer") for value in (LABELS + 0.5, LABELS[:, None])),
    *((name, {"labels": ["a"] * N}) for name in ("separability", "compactness", "compatibility")),
    *(("separability", {"num_classes": value}) for value in (0, 2.5, True, "6")),
    *((name, {"class_vectors": value}) for name in ("separability", "collapse") for value in ("x", VECTORS[:, :3])),
    *(("separability", {key: value}) for key, value in (("sample", 0), ("sample", 1.5), ("seed", -1), ("seed", "a"))),
    *(("compactness", {"predictions": value}) for value in (LABELS[:3], LABELS + 0.5, "x")),
    *(("collapse", {"scale": value}) for value in (math.nan, 0, -1, "1", True)),
    *(("collapse", {"bias": value}) for value in (torch.ones(5), "x")),
    *(("collapse", {"train": value}) for value in (FEATURES, class_statistics(FEATURES[:, :4], LABELS, num_classes=K))),
    ("collapse", {"scoring": "cosin"}),
    *(
        ("similarity", {key: value})
        for key, value in (("references", [1]), ("permutations", 0), ("seed", 0.5), ("sample", 1))
    ),
    *(("similarity", {"class_vectors": value}) for value in (VECTORS[0], "x")),
    ("similarity", {"class_means": VECTORS[0]}),
    ("similarity", {"references": {"pixels": torch.eye(5)}}),
    ("similarity", {"references": {"pixels": lambda classes: torch.eye(5)}}),
    *(
        ("transfer", {key: value})
        for key, value in (("episodes", 0), ("seed", None), ("train_features", FEATURES[:, :4]))
    ),
    *(("compatibility", {"features": value}) for value in (3, FEATURES, [FEATURES], [FEATURES, FEATURES[:, :9]])),
    *(("dynamics", {"cosine_scale": value}) for value in (0, math.inf, "16")),
    *(("dynamics", {"series": value}) for value in ([1], {"x": STEPS}, {"x": (STEPS, STEPS[:2])})),
    *(("dynamics", {"class_vectors": value}) for value in (VECTORS, (STEPS, VECTORS[:3]), (STEPS, "x"))),
    *(("dynamics", {key: value}) for key, value in (("num_classes", 0), ("loss", "x"), ("steps", STEPS))),
    *(("seeds", {"values": value}) for value in ([1], {"x": [1, 2]}, {"x": "y"})),
    *(("seeds", {"seeds": value}) for value in ([1, 2], [0.5] * 12)),
    ("collapse", {"scoring": np.array(["dot", "cosine"])}),
    *(("dynamics", {"series": value}) for value in (0, STEPS, np.array(["a", "b"]))),
    *(("similarity", {"class_vectors": value}) for value in (VECTORS[:0], VECTORS[:1], [])),
    *(("similarity", {key: value}) for key in ("should_stop", "progress") for value in (3, "x")),
]


@pytest.mark.parametrize(
    ("name", "wrong"), WRONG, ids=[f"{name}-{next(iter(wrong))}-{i}" for i, (name, wrong) in enumerate(WRONG)]
)
def test_a_wrong_argument_is_a_usage_error_with_a_hint(name, wrong):
    module = registry.load("analyses", name)
    with pytest.raises(UsageError) as caught:
        module.measure(**{**example_arguments(module.measure, module.INPUT), **wrong})
    assert caught.value.hint


@pytest.mark.slow
def test_the_number_of_threads_changes_no_bit_of_large_inputs():
    """Torch adds up more than 32,768 values in several threads, and LAPACK decomposes matrices in them."""
    k, d, n = 300, 64, 36_000
    vectors, labels = rng.normals(0, "test/vectors", torch.arange(k), d).double(), torch.arange(n) % k
    features = vectors[labels] + rng.normals(0, "test/noise", torch.arange(n), d).double()
    arguments = {"num_classes": k, "class_vectors": vectors}
    found, before = [], torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            few = {"vectors": similarity.cosines(vectors[:, :32])}
            found.append(
                separability.measure(features, labels, **arguments, sample=n).metrics
                | compactness.measure(features, labels, **arguments, predictions=labels.roll(n // 5)).metrics
                | collapse.measure(features, labels, **arguments).metrics
                | similarity.measure(vectors, references=few, permutations=3).metrics
            )
    finally:
        torch.set_num_threads(before)
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("change", [lambda x: x.to("meta"), lambda x: x.to_sparse()])
def test_tensors_without_dense_numbers_are_refused(change):
    with pytest.raises(UsageError, match="features are") as found:
        separability.measure(change(torch.eye(4)), torch.arange(4))
    assert found.value.hint


STATISTICS = class_statistics(FEATURES, LABELS, num_classes=K)
SQUARE = torch.eye(K, dtype=torch.float64)
NO_SQUARE = (
    "x",
    None,
    3,
    [],
    [1, 2],
    SQUARE[:2],
    SQUARE[0],
    SQUARE[:1, :1],
    SQUARE > 0,
    [[1], [2, 3]],
    SQUARE.to("meta"),
)
HELPERS = [
    *((lambda v=value: similarity.cosines(v)) for value in ("x", None, 3, [], [1.0, 2.0], VECTORS[:0], VECTORS[:1])),
    *((lambda v=value: similarity.symmetrised(v)) for value in NO_SQUARE),
    lambda: similarity.mantel(torch.ones(2401, 2401), torch.ones(2401, 2401)),
    *((lambda v=value: similarity.mantel(v, SQUARE)) for value in (*NO_SQUARE, SQUARE[:3, :3])),
    *((lambda v=value: similarity.mantel(SQUARE, SQUARE, permutations=v)) for value in (0, -1, 2.5, True, "9", None)),
    *((lambda v=value: similarity.common_ancestry(v)) for value in ("x", None, 3, [], [1, 2], ["a", "b"], [[1], [2]])),
    *((lambda v=value: separability.from_statistics(v)) for value in ("x", None, FEATURES, [])),
    *((lambda v=value: compactness.from_statistics(v)) for value in ("x", None, FEATURES, [])),
    *(
        (lambda v=value: compactness.from_statistics(STATISTICS, correct=v))
        for value in ("x", 3, LABELS[:3] > 0, [], (LABELS > 0)[:, None])
    ),
]


@pytest.mark.parametrize("call", HELPERS)
def test_a_wrong_argument_of_what_analyses_are_made_of_is_a_usage_error_with_a_hint(call):
    with pytest.raises(UsageError) as found:
        call()
    assert found.value.hint


@pytest.mark.parametrize(
    "call",
    [
        lambda: collapse.measure(FEATURES, LABELS, class_vectors=VECTORS, bias=torch.full((K,), math.nan)),
        lambda: collapse.measure(FEATURES, LABELS, class_vectors=VECTORS, bias=math.inf),
        lambda: compactness.measure(FEATURES, LABELS, predictions=LABELS - 1),
        lambda: compactness.measure(FEATURES, LABELS, predictions=LABELS + 1),
        lambda: similarity.symmetrised(SQUARE * math.nan),
        lambda: similarity.symmetrised(-SQUARE),
        lambda: similarity.mantel(SQUARE, SQUARE / 0),
        lambda: registry.load("analyses", "dynamics").measure(STEPS - 1, STEPS.double(), num_classes=3),
        lambda: registry.load("analyses", "dynamics").measure(STEPS / 0, STEPS.double(), num_classes=3),
    ],
)
def test_values_that_no_run_has_are_data_errors_with_a_hint(call):
    with pytest.raises(DataError) as found:
        call()
    assert found.value.hint
