"""A wrong argument is a UsageError that names the argument and what was given, and has a hint.

It is never accepted in silence, and never the error of another library.
"""

import math
import re
from functools import partial

import pytest
import torch

from randhead import ClassVectorHead, draw
from randhead.analyses import collapse, compactness, separability
from randhead.corruptions import Corrupt, corrupt
from randhead.errors import UsageError
from randhead.vectors import Geometry, from_matrix, geometry

K, D, B = 7, 16, 4
NAMES = list("abcdefg")
FEATURES, LABELS = torch.randn(B, D, generator=torch.Generator().manual_seed(0)), torch.arange(B)


def head(**changed):
    return ClassVectorHead(**{"num_classes": K, "dim": D, **changed})


def loss(features=FEATURES, labels=LABELS, *, scoring="dot", normaliser="auto", **changed):
    vectors = "rademacher" if normaliser == "expected" else "uniform"
    made = head(scoring=scoring, normaliser=normaliser, vectors=vectors, normaliser_tolerance=math.inf)
    return made.loss(features, labels, **changed)


def measure(analysis, features=FEATURES, labels=LABELS, **changed):
    needed = {"class_vectors": torch.eye(K, D)} if analysis is collapse else {"num_classes": K}
    return analysis.measure(features, labels, **{**needed, **changed})


def images(*shape, dtype=torch.uint8):
    return torch.zeros(shape, dtype=dtype)


# Argument -> wrong values, each with what the message says of it.
HEAD = [
    ("num_classes", 1, "1"),
    ("num_classes", 10.0, "10.0"),
    ("num_classes", "10", "'10'"),
    ("num_classes", True, "True"),
    ("dim", 0, "0"),
    ("dim", 16.5, "16.5"),
    ("vectors", "unifrom", "'unifrom'"),
    ("vectors", 3, "3"),
    ("vectors", torch.zeros(K, D + 1), f"({K}, {D + 1})"),
    ("vectors", torch.full((K, D), math.nan), "not finite"),
    ("scoring", "cosin", "'cosin'"),
    ("scoring", None, "None"),
    ("trainable", "yes", "'yes'"),
    ("trainable", 1, "1"),
    ("scale", -1, "-1"),
    ("scale", 0, "0"),
    ("scale", math.nan, "nan"),
    ("scale", math.inf, "inf"),
    ("scale", "16", "'16'"),
    ("scale", torch.tensor(16.0), "tensor(16.)"),
    ("bias", torch.zeros(K), "tensor"),
    ("bias", math.inf, "inf"),
    ("bias", True, "True"),
    ("neck", "foo", "'foo'"),
    ("neck", torch.nn.Linear(D, D), "Linear"),
    ("seed", -1, "-1"),
    ("seed", 1.5, "1.5"),
    ("class_names", "abcdefg", "'abcdefg'"),
    ("class_names", ["a", "b"], "2"),
    ("class_names", list("aabcdef"), "6"),
    ("class_names", list(range(K)), "0"),
    ("normaliser", "streamin", "'streamin'"),
    ("normaliser", None, "None"),
    ("learn_scale", "no", "'no'"),
    ("normaliser_tolerance", math.nan, "nan"),
    ("normaliser_tolerance", -0.1, "-0.1"),
]
LOSS = [
    ("features", FEATURES.numpy(), "ndarray"),
    ("features", torch.zeros(B, D + 1), f"({B}, {D + 1})"),
    ("features", torch.zeros(D), f"({D},)"),
    ("labels", LABELS.tolist(), "[0, 1, 2, 3]"),
    ("labels", LABELS[:2], "(2,)"),
    ("labels", LABELS + K, f"{K}"),
    ("labels", LABELS - 1, "-1"),
    ("labels", torch.zeros(B, K + 1), f"({B}, {K + 1})"),
    ("labels", torch.full((B, K), math.nan), "nan"),
    ("labels", torch.ones(B, K) - 2 * torch.eye(B, K), "-1"),
    ("reduction", "average", "'average'"),
    ("reduction", None, "None"),
    ("ignore_index", 1.5, "1.5"),
    ("label_smoothing", 10.0, "10.0"),
    ("label_smoothing", -0.1, "-0.1"),
    ("label_smoothing", math.nan, "nan"),
    ("label_smoothing", "0.1", "'0.1'"),
    ("weights", torch.ones(B, 1), f"({B}, 1)"),
    ("weights", torch.ones(1), "(1,)"),
    ("weights", torch.ones(K), f"({K},)"),
    ("weights", [1.0] * B, "[1.0, 1.0, 1.0, 1.0]"),
    ("weights", -torch.ones(B), "-1"),
    ("weights", torch.full((B,), math.nan), "nan"),
    ("class_weights", torch.ones(B), f"({B},)"),
    ("class_weights", [1.0] * K, "[1.0"),
    ("class_weights", -torch.ones(K), "-1"),
    ("exact_classes", torch.tensor([0, 1]), "dense"),
]


OTHERS = {
    "a margin that is a number": (lambda: loss(scoring="cosine", margin=0.35), "margin", "0.35"),
    "a margin without cosines": (lambda: loss(margin=lambda cosines: cosines), "margin", "dot"),
    "a margin of another shape": (lambda: loss(scoring="cosine", margin=lambda cosines: cosines.sum()), "margin", "()"),
    "exact classes beyond K": (lambda: loss(normaliser="expected", exact_classes=LABELS + K), "exact_classes", "6"),
    "exact classes as a list": (lambda: loss(normaliser="expected", exact_classes=[1]), "exact_classes", "[1]"),
    "forward of a list": (lambda: head()([[1.0] * D]), "features", "list"),
    "forward of another width": (lambda: head()(torch.zeros(2, D - 1)), "features", f"(2, {D - 1})"),
    "forward of integers": (lambda: head()(torch.zeros(2, D, dtype=torch.int64)), "features", "int64"),
    "embed of another width": (lambda: head().embed(torch.zeros(2, D - 1)), "features", f"(2, {D - 1})"),
    "predict of an array": (lambda: head().predict(FEATURES.numpy()), "features", "ndarray"),
    "predict k=0": (lambda: head().predict(FEATURES, k=0), "k", "0"),
    "predict k=-1": (lambda: head().predict(FEATURES, k=-1), "k", "-1"),
    "predict k=1.5": (lambda: head().predict(FEATURES, k=1.5), "k", "1.5"),
    "predict without numbers": (lambda: head().predict(FEATURES.to("meta")), "features", "meta"),
    "output without numbers": (lambda: head().output(FEATURES.to("meta")), "embedded", "meta"),
    "output of fractions": (lambda: head().output(FEATURES, LABELS.float()), "labels", "float32"),
    "output of few labels": (lambda: head().output(FEATURES, LABELS[:2]), "labels", "(2,)"),
    "output of a list of labels": (lambda: head().output(FEATURES, [1] * B), "labels", "[1, 1, 1, 1]"),
    "output k=0": (lambda: head().output(FEATURES, k=0), "k", "0"),
    "output of tokens": (lambda: head().output(FEATURES[None]), "embedded", f"(1, {B}, {D})"),
    "output of another width": (lambda: head().output(torch.zeros(2, 9)), "embedded", "(2, 9)"),
    "score of another width": (lambda: head().score(torch.zeros(2, 9)), "embedded", "(2, 9)"),
    "the normaliser for a word": (lambda: head().normaliser_for("x"), "batch_size", "'x'"),
    "the normaliser for less than none": (lambda: head().normaliser_for(-1), "batch_size", "-1"),
    "more classes than can be counted": (lambda: head(num_classes=2**63 - 1), "num_classes", f"{2**63 - 1}"),
    "grow beyond what can be counted": (lambda: head().grow(2**53), "classes", f"{2**53}"),
    "a geometry without a name": (lambda: Geometry("", print, print, by_row=True), "name", "''"),
    "frost of a word": (lambda: corrupt(images(1, 3, 8, 8), "frost", 3, frost_images="a"), "frost_images", "'a'"),
    "grow by no class": (lambda: head().grow(0), "classes", "0"),
    "grow by half a class": (lambda: head().grow(0.5), "classes", "0.5"),
    "grow by names without names": (lambda: head().grow(["a"]), "classes", "['a']"),
    "grow by a number with names": (lambda: head(class_names=NAMES).grow(2), "classes", "2"),
    "grow by a word": (lambda: head(class_names=NAMES).grow("cat"), "classes", "'cat'"),
    "grow by numbers with names": (lambda: head(class_names=NAMES).grow([1]), "classes", "1"),
    "grow by a known class": (lambda: head(class_names=NAMES).grow(["h", "a"]), "class", "'a'"),
    "grow by a class twice": (lambda: head(class_names=NAMES).grow(["h", "h"]), "class", "'h'"),
    "grow by too many": (lambda: head(vectors="hadamard").grow(10**6), "classes", "1000007"),
    "grow of a set": (lambda: head(vectors="simplex").grow(1), "simplex", "simplex"),
    "draw of another geometry": (lambda: draw("unifrom", [0], dim=D), "geometry", "'unifrom'"),
    "draw of fractions": (lambda: draw("uniform", [0.5], dim=D), "ids", "float32"),
    "draw of words": (lambda: draw("uniform", ["cat"], dim=D), "ids", "'cat'"),
    "draw of negative ids": (lambda: draw("uniform", [-1], dim=D), "ids", "-1"),
    "draw of a square": (lambda: draw("uniform", torch.zeros(2, 2, dtype=torch.int64), dim=D), "ids", "(2, 2)"),
    "draw in no dimension": (lambda: draw("uniform", [0], dim=0), "dim", "0"),
    "draw with half a seed": (lambda: draw("uniform", [0], dim=D, seed=0.5), "seed", "0.5"),
    "draw of a set without K": (lambda: draw("simplex", [0], dim=D), "num_classes", "simplex"),
    "draw of too many": (lambda: draw("simplex", [0], dim=D, num_classes=D + 2), "classes", f"{D + 2}"),
    "draw into another shape": (lambda: draw("uniform", [0], dim=D, out=torch.zeros(1, 3)), "out", "(1, 3)"),
    "a matrix of words": (lambda: from_matrix("abc"), "class_vectors", "'abc'"),
    "a matrix of one row": (lambda: from_matrix(torch.zeros(D)), "class_vectors", f"({D},)"),
    "a matrix of truths": (lambda: from_matrix(torch.ones(K, D).bool()), "class_vectors", "bool"),
    "a matrix named like a geometry": (lambda: from_matrix(torch.eye(3), name="uniform"), "name", "uniform"),
    "a geometry by number": (lambda: geometry(3), "geometry", "3"),
    "corrupt by another name": (lambda: corrupt(images(1, 3, 8, 8), "fogg", 3), "corruption", "'fogg'"),
    "corrupt too much": (lambda: corrupt(images(1, 3, 8, 8), "fog", 6), "severity", "6"),
    "corrupt a bit": (lambda: corrupt(images(1, 3, 8, 8), "fog", 1.5), "severity", "1.5"),
    "corrupt floats": (lambda: corrupt(images(1, 3, 8, 8, dtype=torch.float32), "fog", 3), "images", "float32"),
    "corrupt ids": (lambda: corrupt(images(1, 3, 8, 8), "fog", 3, ids=[0, 1]), "ids", "(2,)"),
    "corrupt seed": (lambda: corrupt(images(1, 3, 8, 8), "fog", 3, seed="a"), "seed", "'a'"),
    "corrupt parameters": (lambda: corrupt(images(1, 3, 8, 8), "fog", 3, parameters="33"), "parameter set", "'33'"),
    "Corrupt by another name": (lambda: Corrupt("fogg", 3), "corruption", "'fogg'"),
    "Corrupt without limit": (lambda: Corrupt("fog", "strong"), "severity", "'strong'"),
    "Corrupt seed": (lambda: Corrupt("fog", 3, seed=-1), "seed", "-1"),
    "Corrupt parameters": (lambda: Corrupt("fog", 3, parameters=32), "parameters", "32"),
    "Corrupt a word": (lambda: Corrupt("fog", 3)("cat.png"), "image", "str"),
    "Corrupt floats": (lambda: Corrupt("fog", 3)(torch.zeros(3, 8, 8)), "image", "float32"),
    "Corrupt four channels": (lambda: Corrupt("fog", 3)(images(4, 8, 8)), "image", "(4, 8, 8)"),
    "Corrupt half an id": (lambda: Corrupt("fog", 3)(images(3, 8, 8), id=0.5), "id", "0.5"),
    **{
        f"{analysis.__name__.rpartition('.')[2]} of {what}": (partial(measure, analysis, **changed), argument, given)
        for analysis in (separability, compactness, collapse)
        for what, changed, argument, given in [
            ("words", {"features": "abc"}, "features", "'abc'"),
            ("one row", {"features": FEATURES[0]}, "features", f"({D},)"),
            ("labels of another length", {"labels": LABELS[:2]}, "labels", "(2,)"),
            ("labels that are fractions", {"labels": LABELS.float()}, "labels", "float32"),
            ("wider vectors", {"class_vectors": torch.zeros(K, D + 1)}, "class.vectors", f"({K}, {D + 1})"),
        ]
    },
    "separability of half a class": (lambda: measure(separability, num_classes=2.5), "num_classes", "2.5"),
    "compactness of no class": (lambda: measure(compactness, num_classes=0), "num_classes", "0"),
}  # fmt: skip


TABLE = {
    **{
        f"head {argument}={given}": (partial(head, **{argument: value}), argument, given)
        for argument, value, given in HEAD
    },
    **{
        f"loss {argument}={given}": (partial(loss, **{argument: value}), argument, given)
        for argument, value, given in LOSS
    },
    **OTHERS,
}


@pytest.mark.parametrize("name", TABLE)
def test_a_wrong_argument_is_refused_with_its_name_its_value_and_a_hint(name):
    call, argument, given = TABLE[name]
    with pytest.raises(UsageError) as caught:
        call()
    message = caught.value.message
    assert isinstance(caught.value, ValueError)
    assert re.search(rf"\b{argument.replace('_', '[_ ]')}", message), message
    assert given in message, message
    assert caught.value.hint, f"no hint: {message}"


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        ({"vectors": "w.npy"}, 'vectors="file:w.npy"'),
        ({"vectors": "a/w.safetensors"}, 'vectors="file:a/w.safetensors"'),
        ({"bias": True}, "`bias=0.0` with `trainable=True`"),
    ],
)
def test_a_hint_says_what_was_meant(arguments, hint):
    with pytest.raises(UsageError) as found:
        head(**arguments)
    assert hint in found.value.hint


@pytest.mark.parametrize(
    "arguments",
    [
        {"class_names": torch.tensor(1)},
        {"normaliser_tolerance": torch.ones(3)},
        {"vectors": torch.eye(16)[:10].to_sparse()},
        {"vectors": 1e-20 * torch.eye(16)[:10], "scoring": "cosine"},
        {"vectors": 1e25 * torch.eye(16)[:10], "scoring": "cosine"},
    ],
)
def test_wrong_tensors_are_refused(arguments):
    with pytest.raises(UsageError) as found:
        ClassVectorHead(10, 16, **arguments)
    assert found.value.hint
