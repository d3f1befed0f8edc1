"""The loss of a head is torch's own cross-entropy of its logits, in every combination of arguments that it accepts."""

import itertools
import math
import re
from functools import partial

import pytest
import torch
import torch.nn.functional as F

from randhead import ClassVectorHead, losses
from randhead.errors import DivergedError, UsageError
from randhead.losses import _tiles, _topk, expected

K, D, B = 7, 16, 6
EXACT = ("dense", "streaming")
ALL = (*EXACT, "expected")
LABELS = {
    "hard": torch.tensor([3, 0, 6, 6, 2, 5]),
    "int32": torch.tensor([3, 0, 6, 6, 2, 5], dtype=torch.int32),
    "ignored": torch.tensor([3, -100, 6, -100, 2, 5]),
    "soft": torch.randn(B, K, generator=torch.Generator().manual_seed(1)).softmax(dim=1),
    "one-hot": F.one_hot(torch.tensor([3, 0, 6, 6, 2, 5]), K).float(),
}
CLASS_WEIGHTS = torch.tensor([1.0, 0.0, 2.0, 3.0, 0.5, 1.5, 0.25])
WEIGHTS = torch.tensor([1.0, 2.0, 0.0, 0.5, 3.0, 0.25])


def inputs(*shape, seed=0):
    features = 2 * torch.randn(*shape, D, generator=torch.Generator().manual_seed(seed))
    return features.requires_grad_()


def head(normaliser="dense", k=K, **changed):
    return ClassVectorHead(k, D, "rademacher", normaliser=normaliser, normaliser_tolerance=math.inf, **changed)


def torchs(made, features, labels, weights=None, reduction="mean", class_weights=None, **options):
    """torch's cross-entropy of the head's logits; torch has no weights of samples, they multiply its losses."""
    labels = labels if labels.is_floating_point() else labels.long()
    call = partial(F.cross_entropy, weight=class_weights, **options)
    if weights is None:
        return call(made(features), labels, reduction=reduction)
    each = weights * call(made(features), labels, reduction="none")
    if reduction != "mean":
        return each if reduction == "none" else each.sum()
    if labels.is_floating_point():
        return each.sum() / weights.sum()
    shares = weights * (torch.ones(made.num_classes) if class_weights is None else class_weights)[labels.clamp(min=0)]
    return each.sum() / shares[labels != options.get("ignore_index", -100)].sum()


def assert_same(found, wanted, parameters, rel=2e-5):
    """The same values, and the same gradients of their sum with weights that differ."""
    torch.testing.assert_close(found, wanted, rtol=rel, atol=rel)
    spread = torch.linspace(1, 2, found.numel()).reshape(found.shape)
    ours, theirs = (torch.autograd.grad((spread * loss).sum(), parameters) for loss in (found, wanted))
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=rel, atol=rel)


@pytest.mark.slow
@pytest.mark.parametrize("kind", LABELS)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("normaliser", EXACT)
def test_the_loss_is_torchs_cross_entropy_in_every_combination(monkeypatch, normaliser, reduction, kind):
    monkeypatch.setattr(_topk, "TILE_LOGITS", 64)
    monkeypatch.setattr(_topk, "SMALLEST_TILE", 3)
    labels, features = LABELS[kind], inputs(B)
    fixed = head(normaliser)
    learned = head(normaliser, trainable=True, bias=0.1, scoring="cosine", scale=5.0, learn_scale=True)
    torch.nn.init.normal_(learned.bias)
    for smoothing, weights, class_weights, made in itertools.product(
        (0.0, 0.3, 1.0), (None, WEIGHTS), (None, CLASS_WEIGHTS), (fixed, learned)
    ):
        options = {"label_smoothing": smoothing, "class_weights": class_weights, "reduction": reduction}
        found = made.loss(features, labels, weights=weights, **options)
        assert_same(found, torchs(made, features, labels, weights, **options), [features, *made.parameters()])


@pytest.mark.parametrize("normaliser", ALL)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_samples_with_any_ignored_label_are_left_out(normaliser, reduction):
    made, features = head(normaliser), inputs(B)
    for ignore_index in (-1, 6, 255):
        labels = LABELS["hard"].clone()
        labels[labels == 6] = ignore_index
        kept = labels != ignore_index
        found = made.loss(features, labels, ignore_index=ignore_index, reduction=reduction)
        alone = made.loss(features[kept], labels[kept], reduction=reduction)
        torch.testing.assert_close(found[kept] if reduction == "none" else found, alone)
        gradient = torch.autograd.grad(made.loss(features, labels, ignore_index=ignore_index), features)[0]
        assert not gradient[~kept].any() and gradient[kept].abs().sum() > 0
        if normaliser in EXACT:
            assert_same(
                found, torchs(made, features, labels, reduction=reduction, ignore_index=ignore_index), [features]
            )


@pytest.mark.parametrize("normaliser", ALL)
def test_class_weights_weighted_samples_and_ignored_labels_together_give_the_mean_of_the_rest(normaliser):
    made, features, labels = head(normaliser), inputs(B), LABELS["ignored"]
    each = made.loss(features, labels, reduction="none")
    kept = labels >= 0
    shares = WEIGHTS[kept] * CLASS_WEIGHTS[labels[kept]]
    wanted = (shares * each[kept]).sum() / shares.sum()
    torch.testing.assert_close(made.loss(features, labels, weights=WEIGHTS, class_weights=CLASS_WEIGHTS), wanted)


def test_the_error_bound_is_that_of_the_samples_that_count_with_their_weights_and_margin():
    made, features = head("expected", k=1000, scoring="cosine", scale=4.0), inputs(B)
    labels = torch.tensor([3, -100, 6, 700, 2, 5])
    bounds = []
    for i in range(B):
        if labels[i] >= 0:
            made.loss(features[i], labels[i], margin=losses.cosface)
            bounds.append(made.last_error_bound)
    made.loss(features, labels, weights=WEIGHTS, margin=losses.cosface)
    kept = WEIGHTS[labels >= 0]
    assert made.last_error_bound == pytest.approx(((torch.tensor(bounds) * kept).sum() / kept.sum()).item(), rel=1e-5)


@pytest.mark.parametrize("normaliser", EXACT)
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("class_weights", [None, CLASS_WEIGHTS])
def test_a_margin_replaces_the_logit_of_the_target_whatever_surrounds_it(normaliser, smoothing, class_weights):
    made = head(normaliser, scoring="cosine", scale=5.0, trainable=True, bias=0.1)
    torch.nn.init.normal_(made.bias)
    features, labels = inputs(B), LABELS["hard"]
    logits = made(features) - 5.0 * 0.2 * F.one_hot(labels, K)
    options = {"label_smoothing": smoothing, "reduction": "none"}
    wanted = F.cross_entropy(logits, labels, weight=class_weights, **options)
    margin = partial(losses.cosface, margin=0.2)
    found = made.loss(features, labels, margin=margin, class_weights=class_weights, **options)
    assert_same(found, wanted, [features, *made.parameters()])


@pytest.mark.parametrize("normaliser", ALL)
@pytest.mark.parametrize("neck", ["none", "linear", "batchnorm"])
@pytest.mark.parametrize("shape", [(), (1,), (2, 3), (1, 2, 3)])
def test_leading_dimensions_are_kept(normaliser, neck, shape):
    made, features = head(normaliser, neck=neck).eval(), inputs(*shape)
    labels = torch.arange(math.prod(shape)).reshape(shape)
    flat, flat_labels = features.reshape(-1, D), labels.reshape(-1)
    assert torch.equal(made(features), made(flat).reshape(*shape, K))
    assert torch.equal(made.embed(features), made.embed(flat).reshape(*shape, D))
    for a, b in zip(made.predict(features, k=3), made.predict(flat, k=3), strict=True):
        assert torch.equal(a, b.reshape(*shape, 3))
    weights = torch.linspace(1, 2, math.prod(shape)).reshape(shape)
    for options in ({}, {"weights": weights}, {"reduction": "none"}, {"reduction": "none", "weights": weights}):
        flat_options = {name: v.reshape(-1) if name == "weights" else v for name, v in options.items()}
        found, wanted = made.loss(features, labels, **options), made.loss(flat, flat_labels, **flat_options)
        assert found.shape == (shape if "reduction" in options else ())
        assert torch.equal(found.reshape(-1), wanted.reshape(-1))
    if normaliser in EXACT:
        soft = torch.rand(*shape, K)
        wanted = made.loss(flat, soft.reshape(-1, K), reduction="none").reshape(shape)
        assert torch.equal(made.loss(features, soft, reduction="none"), wanted)


def test_a_batchnorm_neck_counts_all_leading_dimensions_as_samples():
    made, features = head(neck="batchnorm"), inputs(2, 3)
    made.embed(features)
    torch.testing.assert_close(made.neck.running_mean, 0.1 * features.mean(dim=(0, 1)))
    for one in (inputs(), inputs(1), inputs(1, 1)):
        with pytest.raises(UsageError, match="batchnorm neck cannot be trained with one sample"):
            made(one)


@pytest.mark.parametrize("normaliser", ALL)
@pytest.mark.parametrize("shape", [(0,), (2, 0)])
def test_an_empty_batch_has_one_answer_for_all_normalisers(normaliser, shape):
    made, features, labels = head(normaliser), inputs(*shape), torch.zeros(shape, dtype=torch.int64)
    every = [{}] if normaliser == "expected" else [{}, {"label_smoothing": 0.1, "class_weights": CLASS_WEIGHTS}]
    for options in [*every, {"weights": torch.ones(shape)}]:
        assert made.loss(features, labels, reduction="none", **options).shape == shape
        total = made.loss(features, labels, reduction="sum", **options)
        assert total.item() == 0 and torch.autograd.grad(total, features)[0].shape == (*shape, D)
        with pytest.raises(UsageError, match="the batch is empty") as caught:
            made.loss(features, labels, **options)
        assert caught.value.hint
    if normaliser in EXACT:
        soft = torch.zeros(*shape, K)
        assert made.loss(features, soft, reduction="sum").item() == 0
        with pytest.raises(UsageError, match="the batch is empty"):
            made.loss(features, soft)
    assert made(features).shape == (*shape, K)
    assert [part.shape for part in made.predict(features, k=3)] == [(*shape, 3)] * 2


@pytest.mark.parametrize("normaliser", ALL)
def test_a_batch_without_a_sample_that_counts_has_one_answer_for_all_normalisers(normaliser):
    made, features = head(normaliser), inputs(B)
    nothing = [
        (torch.full((B,), -100), {}),
        (LABELS["hard"], {"weights": torch.zeros(B)}),
        (torch.full((B,), 1), {"class_weights": CLASS_WEIGHTS}),
        (LABELS["ignored"], {"weights": (LABELS["ignored"] < 0).float()}),
    ]
    for labels, options in nothing:
        with pytest.raises(UsageError, match="mean loss of no sample: all 6 samples are ignored or have a weight of 0"):
            made.loss(features, labels, **options)
        assert made.loss(features, labels, reduction="sum", **options).item() == 0
        assert torch.equal(made.loss(features, labels, reduction="none", **options), torch.zeros(B))
    assert made.last_error_bound == 0


def test_streaming_soft_labels_make_no_other_matrix_of_logits(monkeypatch):
    """Every tensor is smaller than the labels (B, K), apart from the labels and the rows (K, D) of a small head."""
    k, b = 2000, 32
    made, features, soft = head("streaming", k=k), inputs(b), torch.rand(b, k)
    for module, name in ((_tiles, "TILE_ENTRIES"), (_topk, "TILE_LOGITS")):
        monkeypatch.setattr(module, name, 1 << 12)
    sizes = []

    class Sizes(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
            found = operation(*args, **(kwargs or {}))
            if isinstance(found, torch.Tensor) and found.untyped_storage().data_ptr() != soft.data_ptr():
                sizes.append(found.numel())
            return found

    with Sizes():
        made.loss(features, soft, label_smoothing=0.1, class_weights=torch.rand(k)).backward()
    assert max(size for size in sizes if size != k * D) < b * k / 8


def test_a_fitted_one_hot_sample_keeps_its_digits():
    labels = torch.arange(4)
    for normaliser in EXACT:
        made = head(normaliser, k=50)
        features = 40 * made.class_vectors()[labels] + 0.1 * inputs(4).detach()
        hard = made.loss(features, labels, reduction="none")
        assert (hard < 1e-3).all() and (hard < 1e-6).any()
        soft = made.loss(features, F.one_hot(labels, 50).float(), reduction="none")
        torch.testing.assert_close(soft, hard, rtol=1e-5, atol=0)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"labels": LABELS["soft"]}, "no soft labels"),
        ({"class_weights": CLASS_WEIGHTS, "label_smoothing": 0.1}, "no class weights together with label smoothing"),
    ],
)
def test_what_has_no_closed_form_is_refused_with_the_way_that_works(options, words):
    with pytest.raises(UsageError, match=words) as caught:
        head("expected").loss(inputs(B), **{"labels": LABELS["hard"], **options})
    assert 'normaliser="streaming"' in caught.value.hint


def test_the_expected_loss_with_label_smoothing_and_reductions_is_the_sum_of_its_parts():
    made, features, labels = head("expected"), inputs(B), LABELS["hard"]
    one_by_one = torch.stack([made.loss(features[i], labels[i], label_smoothing=0.1) for i in range(B)])
    torch.testing.assert_close(made.loss(features, labels, label_smoothing=0.1, reduction="none"), one_by_one)
    torch.testing.assert_close(made.loss(features, labels, label_smoothing=0.1, reduction="sum"), one_by_one.sum())


def test_soft_labels_have_torchs_gradient_with_the_dense_normaliser_and_none_with_streaming():
    soft, features = LABELS["soft"].clone().requires_grad_(), inputs(B)
    options = {"label_smoothing": 0.2, "class_weights": CLASS_WEIGHTS}
    assert_same(head().loss(features, soft, **options), torchs(head(), features, soft, **options), [soft, features])
    with pytest.raises(UsageError, match="no gradient with respect to soft labels") as caught:
        head("streaming").loss(features, soft)
    assert "detach" in caught.value.hint


@pytest.mark.parametrize(
    ("options", "words", "hint"),
    [
        ({"reduction": "men"}, "unknown value 'men'", "did you mean 'mean'"),
        ({"ignore_index": True}, "ignore_index must be a whole number, got True", "-100"),
        ({"label_smoothing": True}, "label_smoothing must be a number from 0 to 1, got True", "0.1"),
        ({"labels": LABELS["hard"][:, None]}, r"got torch.int64 of shape \(6, 1\)", "squeeze"),
        ({"labels": LABELS["hard"].float()}, "got torch.float32", "labels.long"),
        ({"labels": F.one_hot(LABELS["hard"], K)}, r"got torch.int64 of shape \(6, 7\)", "labels.float"),
        ({"labels": -LABELS["soft"]}, "soft labels must be finite and not negative", "0"),
        ({"labels": LABELS["soft"] / 0}, "soft labels must be finite and not negative, got inf", "0"),
        ({"labels": LABELS["soft"], "ignore_index": 3}, "soft labels have none", "weights"),
        ({"labels": LABELS["soft"], "margin": losses.cosface}, "one class per sample", "argmax"),
        ({"labels": torch.tensor([0, 1, 2, 3, 4, K])}, r"labels must be in 0\.\.6, got 0\.\.7", "ignore_index"),
        ({"weights": torch.ones(B, 1)}, r"weights must have shape \(6,\), got \(6, 1\)", "class_weights"),
        ({"weights": torch.ones(B, dtype=torch.int64)}, "weights must be floating-point", r"weights.float\(\)"),
        ({"weights": WEIGHTS.to_sparse()}, "weights must be a dense tensor", "to_dense"),
        ({"weights": torch.full((B,), math.inf)}, "got inf", "leaves a sample"),
        ({"weights": torch.ones(B, device="meta")}, "weights are on meta, the features on cpu", r"weights\.to"),
        ({"labels": LABELS["hard"].to("meta")}, "labels are on meta, the features on cpu", r"labels\.to"),
        ({"class_weights": WEIGHTS}, r"class_weights must have shape \(7,\), got \(6,\)", "samples are `weights`"),
        ({"class_weights": CLASS_WEIGHTS.clone().requires_grad_()}, "class_weights are constants", "detach"),
        ({"class_weights": -CLASS_WEIGHTS}, "class_weights must be finite and not negative, got -1", "0"),
        ({"margin": 0.35}, "margin must be a function", r"functools\.partial.*cosface, margin=0\.35"),
        ({"margin": "cosface"}, "margin must be a function", "randhead.losses.cosface"),
        ({"margin": lambda cosines: 0.5}, "margin must return a floating-point tensor", "cosface"),
        ({"margin": lambda cosines: cosines > 0}, "got torch.bool", "cosface"),
        ({"margin": lambda cosines: cosines[:, None]}, r"got torch.float32 of shape \(6, 1\)", "cosface"),
        ({"exact_classes": torch.tensor([0])}, "this head uses dense", "leave it out"),
    ],
)
def test_arguments_that_do_not_fit_are_named_with_the_way(options, words, hint):
    made = head(scoring="cosine")
    with pytest.raises(UsageError, match=words) as caught:
        made.loss(inputs(B), **{"labels": LABELS["hard"], **options})
    assert re.search(hint, caught.value.hint)


def test_exact_classes_of_any_integer_dtype_are_the_same():
    made, features, labels = head("expected", k=50), inputs(B), LABELS["hard"]
    wanted = made.loss(features, labels, exact_classes=labels.unique())
    assert torch.equal(made.loss(features, labels.int(), exact_classes=labels.unique().byte()), wanted)
    for wrong in (torch.tensor([1, 1]), torch.tensor([50]), torch.tensor([-1]), torch.tensor([1.0]), torch.tensor(1)):
        with pytest.raises(UsageError, match="exact_classes must be") as caught:
            made.loss(features, labels, exact_classes=wrong)
        assert "labels.unique()" in caught.value.hint


def test_weights_of_low_precision_are_summed_in_float32():
    made, features, labels = head(), inputs(601), torch.arange(601) % K
    found = made.loss(features, labels, weights=torch.ones(601, dtype=torch.bfloat16))
    torch.testing.assert_close(found, made.loss(features, labels))


@pytest.mark.parametrize("normaliser", EXACT)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_soft_labels_of_other_dtypes_are_those_numbers_in_float32(normaliser, dtype):
    made, features, soft = head(normaliser, k=300), inputs(B), torch.rand(B, 300).to(dtype)
    options = {"label_smoothing": 0.1, "class_weights": torch.rand(300)}
    torch.testing.assert_close(made.loss(features, soft, **options), made.loss(features, soft.float(), **options))


def test_an_all_zero_row_scores_0_and_has_gradient_0_and_no_other_row_changes():
    made, features = head(scoring="cosine", scale=9.0), inputs(B).detach()
    features[2] = 0
    features.requires_grad_()
    theirs = features.detach().clone().requires_grad_()
    directions = 9.0 * F.normalize(theirs, dim=1)
    assert torch.equal(made.queries(features), directions)
    spread = torch.randn(B, D, generator=torch.Generator().manual_seed(3))
    ours = torch.autograd.grad(made.queries(features), features, spread)[0]
    plain = torch.autograd.grad(directions, theirs, spread)[0]
    assert not ours[2].any() and plain[2].abs().max() > 1e9
    kept = torch.arange(B) != 2
    assert torch.equal(ours[kept], plain[kept])
    assert not made(features)[2].any()
    assert not torch.autograd.grad(made.loss(features, LABELS["hard"]), features)[0][2].any()


@pytest.mark.parametrize("kind", ["hard", "ignored", "soft"])
@pytest.mark.parametrize("scoring", ["dot", "cosine"])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_second_derivatives_are_torchs(kind, scoring, smoothing):
    made, features = head(scoring=scoring, scale=1.0, trainable=True, bias=0.1), inputs(B)
    parameters = [features, *made.parameters()]
    seconds = []
    for loss in (made.loss, partial(torchs, made)):
        value = loss(features, LABELS[kind], label_smoothing=smoothing, class_weights=CLASS_WEIGHTS)
        gradients = torch.autograd.grad(value, parameters, create_graph=True)
        seconds.append(torch.autograd.grad(sum(g.square().sum() for g in gradients), parameters))
    for ours, theirs in zip(*seconds, strict=True):
        assert (ours - theirs).norm() <= 1e-4 * theirs.norm()


def test_derivatives_of_every_order_of_the_split_are_right():
    logits = torch.randn(3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    split = partial(losses.dense.split, labels=torch.tensor([0, 4, 2]))
    assert torch.autograd.gradgradcheck(lambda z: split(z)[:2], logits)
    assert torch.autograd.gradgradcheck(lambda z: split(z).non_target, logits)
    first = lambda z: torch.autograd.grad(split(z).non_target.square().sum(), z, create_graph=True)[0]  # noqa: E731
    assert torch.autograd.gradgradcheck(first, logits)


def test_a_gradient_penalty_of_streaming_is_refused_and_of_expected_is_right():
    features, labels = inputs(B), LABELS["hard"]
    made = head("streaming", trainable=True)
    gradients = torch.autograd.grad(made.loss(features, labels), [features, made.vectors], create_graph=True)
    plain = torch.autograd.grad(made.loss(features, labels), [features, made.vectors])
    for ours, wanted in zip(gradients, plain, strict=True):
        assert torch.equal(ours, wanted)
        with pytest.raises(UsageError, match="streaming softmax has no second derivative") as caught:
            ours.square().sum().backward(retain_graph=True)
        assert "F.cross_entropy" in caught.value.hint
    made = head("expected")
    wide = features.detach().double().requires_grad_()

    def first(x):
        scores = expected.scores(x, labels, made.rows())
        return torch.autograd.grad(losses.cross_entropy(scores.target, scores.non_target).sum(), x, create_graph=True)[
            0
        ]

    assert torch.autograd.gradcheck(first, wide)


@pytest.mark.parametrize("kind", ["hard", "ignored", "soft"])
@pytest.mark.parametrize("scoring", ["dot", "cosine"])
def test_per_sample_gradients_and_penalties_by_torch_func_are_torchs(kind, scoring):
    made, features, labels = head(scoring=scoring), inputs(B).detach(), LABELS[kind]
    options = {"label_smoothing": 0.2, "reduction": "sum", "class_weights": CLASS_WEIGHTS}

    def ours(x, y):
        return made.loss(x, y, **options)

    def theirs(x, y):
        return torchs(made, x, y, **options)

    def penalty(loss):
        return torch.func.grad(lambda x, y: torch.func.grad(loss)(x, y).square().sum())

    for one in (torch.func.grad, penalty, torch.func.jacrev):
        found, wanted = (torch.func.vmap(one(loss))(features, labels) for loss in (ours, theirs))
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(torch.func.grad(ours)(features, labels), torch.func.grad(theirs)(features, labels))


@pytest.mark.parametrize("normaliser", ["streaming", "expected"])
def test_torch_func_of_other_normalisers_is_refused_with_the_way(normaliser):
    made = head(normaliser)
    with pytest.raises(UsageError, match=f"{normaliser} softmax cannot be transformed by torch.func") as caught:
        torch.func.grad(made.loss)(inputs(B).detach(), LABELS["hard"])
    assert 'normaliser="dense"' in caught.value.hint


def test_one_synchronisation_with_the_device_per_step():
    """`bool(tensor)` and `tensor.item()` are what waits for a GPU."""
    made, features = head(), inputs(B)
    counted = []

    class Reads(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
            if operation in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default):
                counted.append(operation)
            return operation(*args, **(kwargs or {}))

    for options in ({}, {"weights": WEIGHTS, "class_weights": CLASS_WEIGHTS, "label_smoothing": 0.1}):
        for labels in (LABELS["hard"], LABELS["soft"]):
            counted.clear()
            with Reads():
                made.loss(features, labels, **options)
            assert len(counted) == 1


def test_shapes_of_features_without_numbers_are_known():
    made, features = head(scoring="cosine"), torch.zeros(2, 3, D, device="meta")
    labels = torch.zeros(2, 3, dtype=torch.int64, device="meta")
    assert made(features).shape == (2, 3, K)
    assert made.loss(features, labels).shape == () and made.loss(features, labels, reduction="none").shape == (2, 3)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["hard", "ignored", "soft"])
@pytest.mark.parametrize("vectors", ["uniform", "simplex"])
def test_the_dense_loss_compiles_as_one_graph_for_every_batch_size(kind, vectors):
    torch._dynamo.reset()
    options = {"label_smoothing": 0.1, "class_weights": CLASS_WEIGHTS}
    for extra in ({}, options):
        made = ClassVectorHead(K, D, vectors, "cosine", normaliser="dense")
        compiled = torch.compile(made.loss, fullgraph=True, dynamic=True, backend="aot_eager")
        for b in (6, 5, 4):
            features, labels = inputs(b), LABELS[kind][:b]
            assert_same(compiled(features, labels, **extra), made.loss(features, labels, **extra), [features])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("normaliser", ["streaming", "expected"])
def test_other_normalisers_compile_in_parts_and_say_so(normaliser):
    torch._dynamo.reset()
    made, features = head(normaliser), inputs(B)
    found = torch.compile(made.loss, backend="eager")(features, LABELS["hard"])
    torch.testing.assert_close(found, made.loss(features, LABELS["hard"]))
    torch._dynamo.reset()
    with pytest.raises(torch._dynamo.exc.Unsupported, match='use `normaliser="dense"`'):
        torch.compile(made.loss, backend="eager", fullgraph=True)(features, LABELS["hard"])


def test_features_beyond_float32_have_diverged():
    head = ClassVectorHead(10, 16)
    with pytest.raises(DivergedError):
        head.loss(torch.full((2, 16), 1e39, dtype=torch.float64), torch.tensor([0, 1]))


@pytest.mark.filterwarnings("ignore::FutureWarning")  # of torch, in its own derivatives
def test_the_dense_loss_has_a_forward_derivative():
    head, x, labels = ClassVectorHead(10, 16), torch.randn(2, 16), torch.tensor([0, 1])
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(x, torch.ones(2, 16))
        found = torch.autograd.forward_ad.unpack_dual(head.loss(dual, labels)).tangent
        right = torch.autograd.forward_ad.unpack_dual(F.cross_entropy(head(dual), labels)).tangent
    assert torch.allclose(found, right, atol=1e-6)


@pytest.mark.parametrize("normaliser", ["dense", "streaming", "expected"])
def test_the_loss_of_features_without_numbers_has_a_shape(normaliser):
    head = ClassVectorHead(10, 16, "rademacher", normaliser=normaliser)
    labels = torch.zeros(2, dtype=torch.int64, device="meta")
    assert head.loss(torch.zeros(2, 16, device="meta"), labels, reduction="none").shape == (2,)
