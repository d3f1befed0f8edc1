"""Inputs that a head once failed on, one test each: what is right for them."""

import unicodedata

import pytest
import torch
import torch.nn.functional as F
from tiny import default_dtype

from randhead import ClassVectorHead
from randhead.corruptions import corrupt, names
from randhead.errors import UsageError

K, D, B = 8, 16, 6


def batch(k=K, d=D, b=B):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(b, d, generator=generator), torch.randint(k, (b,), generator=generator)


def test_weights_of_samples_and_of_classes_are_not_taken_for_one_another():
    head, (features, labels) = ClassVectorHead(K, D), batch(b=K)  # as many samples as classes
    weights = torch.rand(K, generator=torch.Generator().manual_seed(1))
    logits, each = head(features), head.loss(features, labels, reduction="none")
    torch.testing.assert_close(head.loss(features, labels, weights=weights), (weights * each).sum() / weights.sum())
    by_class = F.cross_entropy(logits, labels, weight=weights)
    torch.testing.assert_close(head.loss(features, labels, class_weights=weights), by_class)
    for wrong in (weights[:, None], torch.ones(1), torch.ones(K + 1)):
        for name in ("weights", "class_weights"):
            with pytest.raises(UsageError, match=name):
                head.loss(features, labels, **{name: wrong})
    with pytest.raises(UsageError, match="label_smoothing"):
        head.loss(features, labels, label_smoothing=10.0)


@pytest.mark.parametrize("first", ["forward", "loss", "predict", "smoothing", "building"])
def test_a_head_that_was_used_in_inference_mode_can_be_trained(monkeypatch, first):
    monkeypatch.setattr("randhead.head.class_vectors.DRAWN_AT_ONCE_BYTES", 0)  # rows are drawn when they are needed
    normaliser = "streaming" if first == "smoothing" else "auto"
    head, (features, labels) = ClassVectorHead(K, D, "gaussian", normaliser=normaliser), batch()
    with torch.inference_mode():
        match first:
            case "building":
                head = ClassVectorHead(K, D, "gaussian", neck="linear", trainable=True, learn_scale=True)
            case "smoothing":
                head.loss(features, labels, label_smoothing=0.1)
            case "loss":
                head.loss(features, labels)
            case _:
                getattr(head, first)(features)
    features.requires_grad_()
    head.loss(features, labels, label_smoothing=0.1).backward()
    head(features).sum().backward()
    assert features.grad.isfinite().all()
    assert all(parameter.grad is not None for parameter in head.parameters())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_the_default_dtype_moves_no_class_vector(dtype):
    geometries = ("uniform", "gaussian", "rademacher", "hadamard", "simplex", "orthogonal", "orthoplex", "packed")
    plain = {name: ClassVectorHead(K, D, name) for name in geometries}
    features, labels = batch()
    with default_dtype(dtype):
        for name, head in plain.items():
            other = ClassVectorHead(K, D, name)
            assert other.spec == head.spec
            assert other.class_vectors().dtype == torch.float32
            assert torch.equal(other.class_vectors(), head.class_vectors())
            assert torch.equal(other.loss(features, labels), head.loss(features, labels))
            assert ClassVectorHead(K, D, name, trainable=True).spec == head.spec


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_the_default_dtype_moves_no_pixel(dtype):
    images = torch.randint(256, (2, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    plain = {name: corrupt(images, name, severity=3) for name in names()}
    with default_dtype(dtype):
        assert [name for name in plain if not torch.equal(corrupt(images, name, severity=3), plain[name])] == []


@pytest.mark.parametrize(
    "arguments", [{}, {"neck": "linear"}, {"vectors": "simplex"}, {"trainable": True, "learn_scale": True}], ids=str
)
def test_a_head_can_be_built_on_the_meta_device_and_filled_later(arguments):
    plain, (features, _) = ClassVectorHead(K, D, **arguments), batch()
    with torch.device("meta"):
        head = ClassVectorHead(K, D, **arguments)
    head.to_empty(device="cpu").load_state_dict(plain.state_dict())
    assert torch.equal(head(features), plain(features))


@pytest.mark.parametrize(
    "arguments", [{"neck": "linear"}, {"vectors": "simplex"}, {"trainable": True, "class_names": list("abcdefgh")}],
    ids=str,
)  # fmt: skip
def test_the_mean_of_two_state_dicts_is_one(arguments):
    one, two = (ClassVectorHead(K, D, **arguments) for _ in range(2))
    with torch.no_grad():
        for parameter in two.parameters():
            parameter += 1
    mean = {name: ((one.state_dict()[name].double() + value) / 2).float() for name, value in two.state_dict().items()}
    one.load_state_dict(mean)
    for name, parameter in one.named_parameters():
        torch.testing.assert_close(parameter, mean[name], rtol=0, atol=0)


def test_the_dense_loss_has_what_cross_entropy_has_second_derivatives_and_functional_transforms():
    head, (features, labels) = ClassVectorHead(K, D), batch()

    def plain(features, labels):
        return F.cross_entropy(head(features), labels)

    def penalty(loss):
        inputs = features.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(loss(inputs, labels), inputs, create_graph=True)
        return torch.autograd.grad(gradient.square().sum(), inputs)[0]

    def per_sample(loss):
        return torch.func.vmap(torch.func.grad(lambda x, y: loss(x[None], y[None])))(features, labels)

    torch.testing.assert_close(penalty(head.loss), penalty(plain))
    torch.testing.assert_close(per_sample(head.loss), per_sample(plain))


def test_composed_and_decomposed_names_are_one_class():
    composed, decomposed = (
        ClassVectorHead(2, D, class_names=[unicodedata.normalize(form, "café"), "dog"]) for form in ("NFC", "NFD")
    )
    assert torch.equal(composed.class_vectors(), decomposed.class_vectors())
    decomposed.load_state_dict(composed.state_dict())
    with pytest.raises(UsageError, match="different class names"):
        ClassVectorHead(2, D, class_names=[unicodedata.normalize(form, "café") for form in ("NFC", "NFD")])


@pytest.mark.parametrize("normaliser", ["dense", "streaming", "expected"])
def test_an_empty_batch_has_one_answer(normaliser):
    head = ClassVectorHead(K, D, "rademacher", normaliser=normaliser)
    features, labels = torch.randn(0, D, requires_grad=True), torch.zeros(0, dtype=torch.int64)
    with pytest.raises(UsageError, match=r"empty|no sample"):
        head.loss(features, labels)
    assert head.loss(features, labels, reduction="none").shape == (0,)
    total = head.loss(features, labels, reduction="sum")
    total.backward()
    assert total.item() == 0 and features.grad.shape == (0, D)


def test_a_zero_feature_has_no_cosine_and_no_gradient():
    head, features = ClassVectorHead(K, D, scoring="cosine"), torch.zeros(B, D, requires_grad=True)
    head.loss(features, torch.arange(B)).backward()
    assert features.grad.abs().max() < 100


@pytest.mark.parametrize("k", [0, -1])
def test_no_class_is_no_prediction(k):
    with pytest.raises(UsageError, match="k must be at least 1"):
        ClassVectorHead(K, D).predict(batch()[0], k=k)
