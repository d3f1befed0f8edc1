"""The last layer: its loss and gradients, what a checkpoint keeps of it, and what it refuses."""

import copy
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from randhead import ClassVectorHead, vectors
from randhead.errors import RunError, UsageError

K, D, B = 7, 16, 12
REDRAWN = ("uniform", "gaussian", "rademacher", "hadamard")  # a checkpoint holds their spec
STORED = ("orthogonal", "simplex")  # a checkpoint holds their numbers


def batch(b=B, d=D, k=K, *, seed=0, scale=3.0):
    generator = torch.Generator().manual_seed(seed)
    features = scale * torch.randn(b, d, generator=generator)
    return features, torch.randint(0, k, (b,), generator=generator)


def reference(head, features, labels, smoothing=0.0):
    """The loss by torch's own cross-entropy in float64."""
    embedded = head.double_neck(features.double()) if hasattr(head, "double_neck") else features.double()
    rows = (head.vectors if head.trainable else head.draw()).double()
    if head.scoring == "cosine":
        embedded, rows = F.normalize(embedded, dim=1), F.normalize(rows, dim=1)
    logits = head.scale * embedded @ rows.T
    logits = logits + (head.constant if head.bias is None else head.bias.double())
    return F.cross_entropy(logits, labels, label_smoothing=smoothing)


@pytest.mark.parametrize("geometry", REDRAWN + STORED)
def test_fixed_and_learned_heads_start_from_the_same_vectors(geometry):
    fixed, learned = (ClassVectorHead(K, D, geometry, trainable=flag, seed=3) for flag in (False, True))
    assert torch.equal(fixed.draw(), learned.vectors)
    assert torch.equal(fixed.draw(), vectors.draw(geometry, range(K), dim=D, seed=3, num_classes=K))
    features, labels = batch()
    torch.testing.assert_close(fixed(features), learned(features))
    torch.testing.assert_close(fixed.loss(features, labels), learned.loss(features, labels))


def test_another_seed_gives_other_vectors():
    assert not torch.equal(ClassVectorHead(K, D, seed=0).draw(), ClassVectorHead(K, D, seed=1).draw())


@pytest.mark.parametrize(("normaliser", "smoothing"), [("auto", 0.0), ("auto", 0.1), ("dense", 0.1)])
@pytest.mark.parametrize("neck", ["none", "linear", "batchnorm"])
@pytest.mark.parametrize(("bias", "scale"), [(None, None), (0.01, 4.0)])
@pytest.mark.parametrize("trainable", [False, True])
@pytest.mark.parametrize("scoring", ["dot", "cosine"])
def test_the_loss_is_torchs_cross_entropy(scoring, trainable, scale, bias, neck, smoothing, normaliser):
    head = ClassVectorHead(
        K, D, scoring=scoring, trainable=trainable, scale=scale, bias=bias, neck=neck, normaliser=normaliser
    )
    head.double_neck = copy.deepcopy(head.neck).double()
    features, labels = batch()
    features.requires_grad_()
    loss = head.loss(features, labels, label_smoothing=smoothing)
    expected = reference(head, features, labels, smoothing)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    ours, theirs = torch.autograd.grad(loss, features)[0], torch.autograd.grad(expected, features)[0]
    assert (ours - theirs).norm() <= 1e-5 * theirs.norm()


def test_gradients_reach_all_that_is_learned_and_nothing_else():
    head = ClassVectorHead(K, D, trainable=True, bias=0.01, learn_scale=True, scoring="cosine", neck="linear")
    head.loss(*batch()).backward()
    assert {name for name, p in head.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0} == {
        "vectors", "bias", "log_scale", "neck.weight", "neck.bias",
    }  # fmt: skip
    assert not list(ClassVectorHead(K, D).parameters())


@pytest.mark.parametrize("scale", [18.0, 24.0])
def test_well_fitted_samples_keep_their_digits_where_the_usual_form_loses_them(scale):
    head = ClassVectorHead(2000, 64, "rademacher", scale=1.0)
    labels = torch.arange(32)
    features = scale * head.draw()[labels] + 0.1 * batch(32, 64)[0]
    losses = {}
    for name, dtype in (("usual", torch.float32), ("exact", torch.float64)):
        x = features.to(dtype).requires_grad_()
        losses[name] = F.cross_entropy(x @ head.draw().to(dtype).T, labels)
        losses[name + " gradient"] = torch.autograd.grad(losses[name], x)[0].double()
    x = features.clone().requires_grad_()
    ours = head.loss(x, labels)
    gradient = torch.autograd.grad(ours, x)[0].double()
    exact, exact_gradient = losses["exact"], losses["exact gradient"]
    assert ours.item() == pytest.approx(exact.item(), rel=1e-5)
    assert (gradient - exact_gradient).norm() < 1e-5 * exact_gradient.norm()
    if exact < 1e-6:
        assert abs(losses["usual"].item() / exact.item() - 1) > 0.05


def test_learn_scale_starts_at_the_scale_and_stays_positive():
    head = ClassVectorHead(K, D, scoring="cosine", scale=5.0, learn_scale=True)
    assert head.scale == pytest.approx(5.0, rel=1e-6)
    features, labels = batch()
    fixed = ClassVectorHead(K, D, scoring="cosine", scale=5.0)
    torch.testing.assert_close(head(features), fixed(features))
    head.loss(features, labels).backward()
    with torch.no_grad():
        head.log_scale -= 1e3 * head.log_scale.grad.sign()
    assert head.scale >= 0


@pytest.mark.parametrize("geometry", REDRAWN + STORED)
@pytest.mark.parametrize("trainable", [False, True])
def test_saving_and_loading_keep_the_numbers_bit_for_bit(geometry, trainable):
    head = ClassVectorHead(K, D, geometry, trainable=trainable, neck="linear", seed=5)
    state = {name: tensor.clone() for name, tensor in head.state_dict().items()}
    other = ClassVectorHead(K, D, geometry, trainable=trainable, neck="linear", seed=5)
    other.load_state_dict(state)
    features, _ = batch()
    assert torch.equal(other(features), head(features))
    for name, tensor in other.state_dict().items():
        assert torch.equal(tensor, head.state_dict()[name])


def test_a_checkpoint_stores_vectors_that_cannot_be_drawn_again():
    head = ClassVectorHead(K, D, "orthogonal")
    assert torch.equal(head.state_dict()["vectors"], head.draw())
    assert "vectors" not in ClassVectorHead(K, D, "uniform").state_dict()
    again = ClassVectorHead(K, D, vectors.from_matrix(head.state_dict()["vectors"], name="orthogonal"))
    again.load_state_dict(head.state_dict())
    assert torch.equal(again.class_vectors(), head.class_vectors())


@pytest.mark.parametrize("geometry", ["rademacher", "orthogonal"])
@pytest.mark.parametrize("move", ["half", "double", "bfloat16", "float", "cpu"])
def test_moving_a_module_never_rounds_fixed_vectors(geometry, move):
    head = ClassVectorHead(K, D, geometry)
    before = head.class_vectors().clone()
    getattr(head, move)()
    assert head.class_vectors().dtype == torch.float32
    assert torch.equal(head.class_vectors(), before)
    assert torch.equal(copy.deepcopy(head).class_vectors(), before)


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"vectors": "gaussian"},
        {"num_classes": K + 1},
        {"dim": 2 * D},
        {"class_names": tuple("abcdefg")},
    ],
)
def test_the_state_of_another_head_is_refused(change):
    arguments = {"num_classes": K, "dim": D}
    state = ClassVectorHead(**arguments).state_dict()
    with pytest.raises(RunError, match="not those of the checkpoint"):
        ClassVectorHead(**arguments | change).load_state_dict(state)


@pytest.mark.parametrize("geometry", REDRAWN)
def test_a_class_known_by_name_keeps_its_vector_whatever_the_other_classes_are(geometry):
    few = ClassVectorHead(2, 64, geometry, class_names=("cat", "dog"))
    many = ClassVectorHead(4, 64, geometry, class_names=("ant", "dog", "bee", "cat"))
    assert torch.equal(few.draw(), many.draw()[[3, 1]])


def test_class_names_must_differ_and_need_rows_of_their_own():
    with pytest.raises(UsageError, match="different class names"):
        ClassVectorHead(3, D, class_names=("cat", "dog", "cat"))
    with pytest.raises(UsageError, match="different class names"):
        ClassVectorHead(4, D, class_names=("cat", "dog", "ant"))
    with pytest.raises(UsageError, match="cannot be keyed by class name"):
        ClassVectorHead(2, D, "orthogonal", class_names=("cat", "dog"))


def test_predict_gives_the_best_classes_first_and_ties_by_index():
    head = ClassVectorHead(40, D, seed=2)
    features, _ = batch(k=40)
    features[0] = 0  # all logits tie
    classes, scores = head.predict(features, k=5)
    assert classes.shape == scores.shape == (B, 5)
    logits = head(features)
    torch.testing.assert_close(scores, logits.topk(5).values)
    torch.testing.assert_close(logits.gather(1, classes), scores)
    assert classes[0].tolist() == [0, 1, 2, 3, 4]


def test_predict_gives_no_more_classes_than_there_are():
    assert ClassVectorHead(3, D).predict(batch()[0], k=5)[0].shape == (B, 3)


def test_logits_are_float32_also_under_autocast():
    head, (features, labels) = ClassVectorHead(K, D), batch()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert head(features.bfloat16()).dtype == torch.float32
        assert head.loss(features.bfloat16(), labels).dtype == torch.float32
    torch.testing.assert_close(head(features.bfloat16()), head(features.bfloat16().float()))


def test_wrong_use_is_named():
    for wrong in (torch.randn(B, D + 1), torch.randn(D + 1), torch.tensor(1.0)):
        with pytest.raises(UsageError, match=f"features must have shape \\(..., {D}\\)"):
            ClassVectorHead(K, D)(wrong)
    with pytest.raises(UsageError, match="num_classes must be at least 2"):
        ClassVectorHead(1, D)
    with pytest.raises(UsageError, match="unknown geometry"):
        ClassVectorHead(K, D, "unifrom")
    with pytest.raises(UsageError, match="unknown normaliser"):
        ClassVectorHead(K, D, normaliser="fast")
    with pytest.raises(UsageError, match="holds at most"):
        ClassVectorHead(D + 5, D, "simplex")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"num_classes": "3"}, "num_classes must be a whole number, got '3'"),
        ({"num_classes": None}, "num_classes must be a whole number, got None"),
        ({"num_classes": 2**63}, "num_classes must be at most 9007199254740992"),
        ({"dim": 1.5}, "dim must be a whole number, got 1.5"),
        ({"dim": 0}, "dim must be at least 1, got 0"),
        ({"vectors": None}, "vectors must be the name of a geometry"),
        ({"vectors": Path("w.npy")}, "vectors must be the name of a geometry"),
        ({"vectors": torch.zeros(K, D), "scoring": "cosine"}, "the class vector of class 0 is zero"),
        ({"vectors": torch.ones(D, K)}, f"the shape ({D}, {K}) must be"),
        ({"normaliser": None}, "normaliser must be text, got None"),
        ({"class_names": 5}, "class_names must be the names of the classes, as text, got 5"),
        ({"class_names": list(range(K))}, "class_names must be the names of the classes, as text, got 0"),
        ({"class_names": "a" * K}, "class_names must be"),
        ({"trainable": "yes"}, "trainable must be true or false, got 'yes'"),
        ({"scale": True}, "scale must be a positive number, got True"),
        ({"neck": None}, "neck: unknown value None"),
        *(({"seed": seed}, "seed must be") for seed in (1.5, -1, "a", math.nan, True, 2**63)),
    ],
)
def test_arguments_of_another_type_are_named(arguments, words):
    with pytest.raises(UsageError, match=re.escape(words)):
        ClassVectorHead(**{"num_classes": K, "dim": D} | arguments)


def test_a_matrix_of_class_vectors_is_copied():
    given = torch.randn(K, D, dtype=torch.float64, requires_grad=True)
    head, kept = ClassVectorHead(K, D, given), given.detach().float().clone()
    with torch.no_grad():
        given.zero_()
    assert torch.equal(head.class_vectors(), kept) and str(head.geometry) == head.spec.geometry == "given"
    assert "fixed given" in repr(head)


def test_batches_that_are_no_tensors_are_named():
    head, (features, labels) = ClassVectorHead(K, D), batch()
    for call in (head, head.predict, lambda wrong: head.loss(wrong, labels)):
        for wrong in (None, features.numpy()):
            with pytest.raises(UsageError, match="features must be a tensor"):
                call(wrong)
    with pytest.raises(UsageError, match="labels must be an integer tensor"):
        head.loss(features, labels.tolist())
    for k, words in ((0, "at least 1"), (-1, "at least 1"), (1.5, "a whole number")):
        with pytest.raises(UsageError, match=f"k must be {words}"):
            head.predict(features, k=k)


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "uint8", "uint16", "uint32", "uint64"])
def test_labels_of_any_integer_dtype_are_classes(dtype):
    head, (x, y) = ClassVectorHead(K, D), batch()
    labels = y.to(getattr(torch, dtype))
    assert torch.equal(head.loss(x, labels), head.loss(x, y))
    assert all(map(torch.equal, head.output(x, labels), head.output(x, y)))


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        ({}, "fixed uniform, dot, seed=0"),
        ({"scoring": "cosine", "scale": 8, "bias": 0.5}, "fixed uniform, cosine, seed=0, scale=8, bias=0.5"),
        (
            {"trainable": True, "learn_scale": True, "bias": 0},
            "learned uniform, dot, seed=0, learned scale, learned bias",
        ),
        ({"class_names": ["a", "b"]}, "fixed uniform, dot, seed=0, keyed by name"),
    ],
)
def test_a_head_is_printed_in_one_line_with_what_is_not_usual(arguments, shown):
    assert ClassVectorHead(2, 4, **arguments).extra_repr() == f"2 classes, D=4, {shown}"


def test_integers_of_numpy_are_integers():
    head = ClassVectorHead(np.int64(K), np.int32(D), seed=np.int64(3))
    assert torch.equal(head.class_vectors(), ClassVectorHead(K, D, seed=3).class_vectors())
    assert head.spec == ClassVectorHead(K, D, seed=3).spec
    assert head.predict(batch()[0], k=np.int64(2))[0].shape == (B, 2)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:(Attempted to insert a get_attr|Node getattr)")  # of torch 2.7, of its own doing
@pytest.mark.parametrize("geometry", ["uniform", "hadamard", "simplex"])
def test_a_model_with_a_head_compiles_as_one_graph_and_exports(geometry):
    def model():
        torch.manual_seed(0)
        return torch.nn.Sequential(torch.nn.Linear(8, 64), ClassVectorHead(50, 64, geometry, "cosine", neck="linear"))

    images = batch(5, 8)[0]
    compiled = torch.compile(model(), backend="eager", fullgraph=True)(images)
    exported = torch.export.export(model(), (images,)).module()(images)
    assert torch.allclose(compiled, model()(images)) and torch.allclose(exported, model()(images))


@pytest.mark.parametrize("vectors", ["uniform", "simplex"])
def test_nobody_changes_fixed_class_vectors_through_what_they_are_given(vectors):
    head, x = ClassVectorHead(10, 16, vectors=vectors), torch.randn(2, 16)
    before = head(x)
    head.class_vectors().zero_()
    assert torch.equal(head(x), before)
