"""What a head says of samples, swept over tiles of classes, against logits that are all in memory."""

import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from randhead import rng
from randhead.datasets import Split, TensorImages
from randhead.evaluation import classification, out_of_distribution, prediction
from randhead.head import ClassVectorHead
from randhead.losses import StoredRows, _topk, head_output
from randhead.model import Classifier
from randhead.preprocess import Preprocess
from randhead.robustness import CLEAN, CorruptionSettings
from randhead.robustness import grid as corruption_grid
from randhead.robustness.accumulator import Accumulator
from randhead.robustness.images import CorruptedImages

B, D = 23, 32
HEADS = {
    "dot": {"vectors": "rademacher"},
    "a constant": {"vectors": "gaussian", "bias": -2.5},
    "hadamard": {"vectors": "hadamard", "scale": 0.3},
    "cosine": {"scoring": "cosine", "vectors": "uniform"},
    "names": {"vectors": "uniform", "class_names": True},
    "learned": {"trainable": True, "vectors": "gaussian"},
    "biased": {"trainable": True, "vectors": "gaussian", "bias": 0.5},
    "learned cosine": {"trainable": True, "scoring": "cosine", "learn_scale": True, "bias": 0.5},
}


@pytest.fixture
def small_tiles(monkeypatch):
    """Tiles of seven classes."""
    monkeypatch.setattr(_topk, "TILE_LOGITS", 7)
    monkeypatch.setattr(_topk, "SMALLEST_TILE", 7)


def build(kind, k):
    """A head; what it has learned is no longer what it was drawn as: other norms, other biases."""
    options = dict(HEADS[kind])
    if options.pop("class_names", False):
        options["class_names"] = [f"class {i}" for i in range(k)]
    head = ClassVectorHead(k, D, **options)
    with torch.no_grad():
        if head.trainable:
            head.vectors *= 0.5 + rng.uniforms(0, "test/norms", torch.arange(k), 1)
        if head.bias is not None:
            head.bias += rng.normals(0, "test/bias", torch.arange(k), 1)[:, 0]
    return head


def samples(k, n=B):
    ids = torch.arange(n)
    labels = rng.integers(0, "test/labels", ids, 1, high=k)[:, 0].long()
    labels[0] = k - 1  # of 50 classes in tiles of seven, the only one of its tile
    return 4 * rng.normals(0, "test/features", ids, D), labels


def of_logits(logits, labels=None, k=5):
    """The output for logits (N, K) as they are: the class vectors are the unit vectors."""
    return head_output(logits, StoredRows(torch.eye(logits.shape[1], dtype=logits.dtype)), 0.0, labels, k=k)


def check(head, features, labels, found, k):
    """Every number against float64 logits of the whole matrix."""
    with torch.no_grad():
        rows = head.class_vectors().double()
        logits = head.queries(features).double() @ rows.T + (head.constant if head.bias is None else head.bias)
    cosines = F.cosine_similarity(features.double()[:, None], rows[None], dim=2)
    target, target_cosine = (values.gather(1, labels[:, None])[:, 0] for values in (logits, cosines))
    elsewhere = cosines.scatter(1, labels[:, None], -torch.inf)
    probabilities = logits.softmax(dim=1)
    best = logits.topk(min(k, logits.shape[1]), dim=1)
    expected = {
        "logits": best.values,
        "target": target,
        "lowest": logits.amin(dim=1),
        "target_cosine": target_cosine,
        "non_target_cosine": elsewhere.amax(dim=1),
        "largest_cosine": cosines.amax(dim=1),
        "losses": F.cross_entropy(logits, labels, reduction="none"),
        "log_sum": logits.logsumexp(dim=1),
        "probabilities": best.values.sub(logits.logsumexp(dim=1, keepdim=True)).exp(),
        "confidences": probabilities.amax(dim=1),
    }
    for name, value in expected.items():
        torch.testing.assert_close(getattr(found, name), value, rtol=1e-4, atol=2e-5, msg=name)
    torch.testing.assert_close(logits.gather(1, found.classes), best.values, rtol=1e-5, atol=1e-5)
    assert torch.equal(found.predictions, logits.argmax(dim=1))


@pytest.mark.parametrize("k", [2, 6, 7, 50, 150])
@pytest.mark.parametrize("kind", HEADS)
def test_outputs_are_those_of_all_logits(small_tiles, kind, k):
    head, (features, labels) = build(kind, k), samples(k)
    check(head, features, labels, head.output(features, labels, k=9), 9)


@pytest.mark.parametrize("kind", HEADS)
def test_tiles_of_any_size_give_the_same_output(small_tiles, monkeypatch, kind):
    head, (features, labels) = build(kind, 300), samples(300)
    tiled = head.output(features, labels)
    monkeypatch.setattr(_topk, "SMALLEST_TILE", 4096)
    whole = head.output(features, labels)
    assert torch.equal(tiled.classes, whole.classes)
    for name in tiled._fields:
        torch.testing.assert_close(getattr(tiled, name), getattr(whole, name), rtol=1e-5, atol=1e-5, msg=name)


def test_without_a_label_or_with_that_of_another_data_set_the_sums_are_over_all_classes(small_tiles):
    head, (features, labels) = build("dot", 40), samples(40)
    known = head.output(features, labels)
    for found in (head.output(features), head.output(features, torch.full_like(labels, 40))):
        assert (found.target == -torch.inf).all() and (found.target_cosine == -torch.inf).all()
        for name in ("confidences", "log_sum", "largest_cosine", "probabilities"):
            torch.testing.assert_close(getattr(found, name), getattr(known, name), rtol=1e-12, atol=1e-12)


def test_equal_logits_rank_by_class_index(small_tiles):
    found = of_logits(torch.zeros(1, 20), k=12)
    assert found.classes.tolist() == [list(range(12))]
    assert found.confidences.item() == pytest.approx(1 / 20, abs=1e-15)


def test_logits_that_are_no_numbers_are_never_passed_over(small_tiles):
    rows = torch.eye(20)
    rows[13, 0] = math.nan
    found = head_output(torch.ones(2, 20), StoredRows(rows), 0.0, torch.tensor([0, 1]), k=3)
    assert found.classes[:, 0].tolist() == [13, 13]
    for name in ("losses", "lowest", "log_sum", "confidences"):
        assert getattr(found, name).isnan().all(), name


def test_a_feature_or_a_class_vector_of_zeros_has_a_cosine_of_zero(small_tiles):
    rows = StoredRows(torch.cat((torch.zeros(1, 4), torch.eye(4))))
    found = head_output(torch.tensor([[0.0] * 4, [-1.0] * 4]), rows, 0.0, torch.tensor([2, 1]), k=1)
    assert found.largest_cosine.tolist() == [0, 0]


@pytest.mark.parametrize("margin", [5.0, 30.0, 60.0, 300.0, -20.0, -700.0])
def test_loss_stays_exact_for_samples_that_are_fitted_well_and_badly(margin):
    logits = torch.tensor([[margin, 0.0, 0.0, 0.0]], dtype=torch.float64)
    x = math.log(3) - margin
    expected = max(x, 0) + math.log1p(math.exp(-abs(x)))
    assert of_logits(logits, torch.tensor([0])).losses.item() == pytest.approx(expected, rel=1e-12)


def test_confidence_keeps_its_last_digits_without_a_label():
    logits = torch.tensor([[136.0, 100.0, 100.0]], dtype=torch.float64)
    assert 1 - of_logits(logits).confidences.item() == pytest.approx(2 * math.exp(-36), rel=0.05, abs=0)


def test_outputs_of_float64_logits_equal_their_formulas(small_tiles):
    logits = 3 * rng.normals(0, "test/logits", torch.arange(50), 30).double()
    labels = torch.arange(50) % 30
    found = of_logits(logits, labels)
    assert torch.equal(found.logits, logits.topk(5).values)
    for name, expected in (
        ("confidences", logits.softmax(dim=1).amax(dim=1)),
        ("log_sum", logits.exp().sum(dim=1).log()),
        ("losses", F.cross_entropy(logits, labels, reduction="none")),
    ):
        torch.testing.assert_close(getattr(found, name), expected, rtol=1e-12, atol=1e-12)


# Memory ----------------------------------------------------------------------------------------------------------


class Largest(TorchDispatchMode):
    """The entries of the largest tensor that any operation gave."""

    entries = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, torch.Tensor):
                self.entries = max(self.entries, leaf.numel())
        return out


class Pixels(torch.nn.Module):
    """A backbone that hands on some pixels."""

    dim, nonnegative = D, False

    def forward(self, x):
        return x.flatten(1)[:, : self.dim]


class Loaded:
    """As much of a loaded run as a prediction needs."""

    def __init__(self, model, preprocess):
        self.model, self.preprocess, self.class_names = model, preprocess, range(model.head.num_classes)

    def check_features(self, features):
        assert features.isfinite().all()


N, K = 60, 50_000
PREPROCESS = Preprocess(torch.tensor([0.5] * 3), torch.tensor([0.25] * 3), torch.device("cpu"), torch.float32)


def grid(model, part):
    source = CorruptedImages(part, CorruptionSettings())
    return list(corruption_grid.run(model, source, {CLEAN: (0,)}, PREPROCESS, Accumulator(N, {})))


def predict(model, part):
    images = [(Path(str(i)), image) for i, image in enumerate(part.images.pixels)]
    return list(prediction._score(Loaded(model, PREPROCESS), images, 5))


@pytest.mark.parametrize(
    "work",
    [
        lambda model, part: classification.full_metrics(model, part, PREPROCESS),
        lambda model, part: classification.quick_metrics(model, part, PREPROCESS),
        lambda model, part: out_of_distribution.scores(model, part, PREPROCESS),
        grid,
        predict,
    ],
    ids=["full_metrics", "quick_metrics", "ood_scores", "grid", "predict"],
)
def test_nothing_of_the_size_of_all_logits_or_of_all_class_vectors_is_made(work, monkeypatch):
    head = ClassVectorHead(K, D, "rademacher")
    monkeypatch.setattr(type(head.rows()), "matrix", lambda self: pytest.fail("all class vectors were asked for"))
    pixels = rng.integers(0, "test/pixels", torch.arange(N), 192, high=256).to(torch.uint8).view(N, 3, 8, 8)
    part = Split(TensorImages(pixels, torch.arange(N)), torch.arange(N))
    with Largest() as largest:
        work(Classifier(Pixels(), head), part)
    assert largest.entries <= _topk.TILE_LOGITS < K * D < N * K
