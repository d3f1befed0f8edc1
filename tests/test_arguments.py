"""A wrong argument of corruptions, robustness, vectors, datasets or models is an error of randhead that names it.

It is never accepted in silence, and never the error of another library.  `test_head_arguments` does the same for heads.
"""

import math
from functools import partial

import numpy as np
import pytest
import torch

from randhead import build_model, draw, evaluation, intervals, metrics, robustness, runs, vectors
from randhead.config import configure
from randhead.corruptions import corrupt, corrupt_each, load_frost_images, names, parameters_for
from randhead.datasets import Options, from_arrays
from randhead.errors import DataError, RandheadError, UsageError

IMAGES = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
PIXELS, LABELS = torch.zeros(10, 3, 8, 8, dtype=torch.uint8), torch.arange(10) % 2
NAN = math.nan


def arrays(**changed):
    given = {"name": "x", "class_names": ("a", "b"), "pixels": PIXELS, "labels": LABELS}
    given |= {"rows": {"train": torch.arange(10)}, "options": Options(), "test_share": 0.2}
    return from_arrays(**{**given, **changed})


def of(name, function, *given, **fixed):
    """Calls of a function with one argument that is wrong, by what the message says of it."""
    return {f"{name}: {key} {text}": (partial(function, **{**fixed, key: value}), text) for key, value, text in given}


TABLE = {
    **of(
        "from_arrays",
        arrays,
        ("labels", LABELS + 1, "1 to 2"),
        ("labels", LABELS - 1, "-1 to 0"),
        ("labels", LABELS.float(), "float32"),
        ("labels", LABELS.bool(), "bool"),
        ("labels", LABELS[:5], "(5,)"),
        ("labels", LABELS[:, None], "(10, 1)"),
        ("labels", torch.full((10,), NAN), "float32"),
        ("labels", "abc", "'abc'"),
        ("pixels", PIXELS.float(), "float32"),
        ("pixels", PIXELS.permute(0, 2, 3, 1), "(10, 8, 8, 3)"),
        ("pixels", PIXELS[:, :1], "(10, 1, 8, 8)"),
        ("pixels", PIXELS[..., :7], "(10, 3, 8, 7)"),
        ("pixels", PIXELS[0], "(3, 8, 8)"),
        ("class_names", "ab", "'ab'"),
        ("class_names", ("a", "a"), "('a', 'a')"),
        ("class_names", ("a",), "('a',)"),
        ("class_names", (1, 2), "1"),
        ("rows", {}, "[]"),
        ("rows", {"train": torch.arange(5), "dev": torch.arange(5, 10)}, "dev"),
        ("rows", {"train": torch.arange(12)}, "11"),
        ("rows", {"train": torch.tensor([-1, 0])}, "-1"),
        ("rows", {"train": torch.zeros(3, dtype=torch.int64)}, "2 images twice"),
        ("rows", {"train": torch.arange(8), "test": torch.arange(7, 10)}, "1 images twice"),
        ("rows", {"train": torch.ones(10).bool()}, "bool"),
        ("rows", [0, 1], "[0, 1]"),
        ("rows", {"train": torch.arange(10, device="meta")}, "device meta"),
        ("pixels", PIXELS.to("meta"), "device meta"),
        ("pixels", PIXELS.to_sparse(), "sparse"),
        ("labels", LABELS.to("meta"), "device meta"),
        ("test_share", NAN, "nan"),
        ("test_share", 1.0, "1.0"),
        ("test_share", -0.1, "-0.1"),
        ("options", None, "None"),
        ("name", 3, "3"),
    ),
    **of(
        "corrupt",
        lambda **given: corrupt(**{"images": IMAGES, "name": "fog", "severity": 3, **given}),
        ("severity", True, "True"),
        ("severity", NAN, "nan"),
        ("severity", torch.tensor(3), "tensor(3)"),
        ("severity", -1, "-1"),
        ("ids", [-1, 0], "-1"),
        ("ids", [True, False], "bool"),
        ("ids", [0.5, 1], "float64"),
        ("ids", [NAN, 1], "float64"),
        ("ids", 3, "3"),
        ("ids", [2**63, 0], "float64"),
        ("seed", True, "True"),
        ("seed", None, "None"),
        ("seed", 2**64, f"{2**64}"),
        ("images", IMAGES.bool(), "bool"),
        ("images", IMAGES.long(), "int64"),
        ("images", IMAGES[0], "(3, 8, 8)"),
        ("images", IMAGES[..., :4], "8x4"),
        ("images", IMAGES.to_sparse(), "sparse"),
        ("images", None, "NoneType"),
    ),
    **of(
        "each",
        lambda **given: corrupt_each(**{"images": IMAGES, "name": "fog", **given}),
        ("severities", "123", "'123'"),
        ("severities", 3, "3"),
        ("severities", (1, 6), "6"),
    ),
    **of(
        "parameters_for",
        parameters_for,
        ("size", 32, "32"),
        ("size", (), "()"),
        ("size", (-1, 3), "-1"),
        ("size", (NAN, 3), "nan"),
    ),
    **of("frost", load_frost_images, ("folder", 3, "3"), ("folder", "/nowhere", "/nowhere")),
    **of("names", names, ("group", 3, "3")),
    **of(
        "settings",
        robustness.CorruptionSettings,
        ("seed", -1, "-1"),
        ("seed", 0.5, "0.5"),
        ("parameters", "33", "'33'"),
        ("frost_images", "folder", "'folder'"),
        ("custom", {"mine": 3}, "3"),
        ("custom", [print], "print"),
    ),
    **of(
        "sheet",
        lambda **given: robustness.contact_sheet(**{"image": IMAGES[0], **given}),
        ("image", IMAGES, "(1, 2, 3, 8, 8)"),
        ("image", IMAGES[0].float(), "float32"),
        ("image", np.zeros((3, 8, 8), np.uint8), "object of type ndarray"),
        ("image_id", -1, "-1"),
        ("image_id", 0.5, "0.5"),
        ("settings", "fog", "'fog'"),
    ),
    **of(
        "benchmark",
        lambda **given: robustness.benchmark("nobody", **given),
        ("severities", 3, "3"),
        ("severities", [True], "True"),
        ("severities", [0], "0"),
        ("limit", 0, "0"),
        ("limit", 0.5, "0.5"),
        ("seed", -1, "-1"),
        ("corruptions", 3, "3"),
        ("split", "tset", "'tset'"),
        ("others", "x", "'x'"),
        ("parameters", 32, "32"),
    ),
    **of(
        "welch",
        vectors.welch_bound,
        ("num_classes", 0, "0"),
        ("num_classes", NAN, "nan"),
        ("dim", -1, "-1"),
        num_classes=3,
        dim=3,
    ),
    **of(
        "cosine bound",
        vectors.cosine_bound,
        ("num_classes", 1, "1"),
        ("num_classes", 5.5, "5.5"),
        ("dim", 0, "0"),
        num_classes=3,
        dim=3,
    ),
    **of("angle", vectors.random_angle, ("num_classes", 1, "1"), ("dim", True, "True"), num_classes=3, dim=3),
    **of("simplex", vectors.simplex_cosine, ("num_classes", 1, "1")),
    **of("entry", vectors.sign_entry, ("dim", 0, "0"), ("dim", -4, "-4")),
    **of(
        "draw",
        lambda **given: draw(**{"geometry": "simplex", "ids": [0], "dim": 4, "num_classes": 3, **given}),
        ("dim", 2**40, f"{2**40}"),
        ("ids", [True], "bool"),
        ("ids", [NAN], "float32"),
        ("ids", [2**63], "9223372036854775808"),
        ("ids", None, "None"),
        ("dim", True, "True"),
        ("seed", None, "None"),
        ("seed", 2**63, f"{2**63}"),
        ("num_classes", 0, "0"),
        ("num_classes", NAN, "nan"),
    ),
    **of(
        "build_model",
        lambda **given: build_model(**{"num_classes": 3, "image_size": 8, **given}),
        ("image_size", 0, "0"),
        ("image_size", -8, "-8"),
        ("image_size", 8.5, "8.5"),
        ("image_size", "8", "'8'"),
        ("num_classes", 10.0, "10.0"),
        ("seed", -1, "-1"),
        ("seed", 0.5, "0.5"),
        ("backbone", 3, "3"),
        ("pretrained", "yes", "'yes'"),
    ),
    **of(
        "predict",
        lambda **given: evaluation.predict("nothing", "nobody", **given),
        ("k", 0, "0"),
        ("k", -1, "-1"),
        ("k", 1.5, "1.5"),
        ("k", True, "True"),
    ),
    **of(
        "mean error",
        partial(robustness.metrics.mean_error, partial=True),
        ("errors", {"fog": [50.0]}, "50.0"),
        ("errors", {"fog": [NAN]}, "nan"),
        ("errors", {"fog": [-1]}, "-1"),
        ("errors", {"fog": []}, "[]"),
        ("errors", {"fog": 0.5}, "0.5"),
        ("errors", {"fog": "12"}, "'12'"),
        ("errors", {"fog": [None]}, "None"),
        ("errors", {"fog": [0.1], "frots": [0.1]}, "frots"),
        ("errors", ["fog"], "['fog']"),
    ),
    **of("group errors", robustness.metrics.group_errors, ("errors", {"fogg": [0.5]}, "fogg")),
    **of(
        "relative errors",
        robustness.metrics.relative_corruption_errors,
        ("errors", {"fog": [50]}, "50"),
        ("baseline", {"fog": [NAN]}, "nan"),
        ("clean", NAN, "nan"),
        ("baseline_clean", "0.1", "'0.1'"),
        errors={"fog": [0.5]},
        clean=0.1,
        baseline={"fog": [0.5]},
        baseline_clean=0.1,
    ),
    **of("mean ratio", robustness.metrics.mean_corruption_error, ("ratios", {"fog": NAN}, "nan"), partial=True),
    **of("imagenet", robustness.metrics.is_imagenet, ("class_names", 3, "3"), ("class_names", [1] * 1000, "1")),
    **of("coverage", robustness.metrics.coverage, ("names", "fog", "'fog'"), ("names", 3, "3")),
    **of(
        "interval of an accuracy",
        intervals.of_accuracy,
        ("accuracy", "x", "'x'"),
        ("accuracy", [0.5], "[0.5]"),
        ("accuracy", True, "True"),
        ("accuracy", torch.tensor(0.5), "tensor(0.5"),
        ("accuracy", 50, "50"),
        ("n", "3", "'3'"),
        ("n", False, "False"),
        accuracy=0.5,
        n=3,
    ),
    **of(
        "interval over images",
        intervals.per_image,
        *(("at_most", value, shown) for value, shown in (("x", "'x'"), (NAN, "nan"), (-1, "-1"), (True, "True"))),
        ("values", [1.5, 0.5], "1.5"),
        ("values", [-1.5, 0.5], "1.5"),
        values=[0.5, 0.0],
    ),
    **of(
        "interval of a mean",
        intervals.student,
        ("values", [1e308, -1e308], "1e+308"),
        ("values", torch.ones(2, requires_grad=True), "requires_grad"),
    ),
    **of("cosines", lambda given: next(vectors.cosine_tiles(given)), ("given", "x", "'x'"), ("given", IMAGES, "uint8")),
    **of("stored", vectors.is_stored, ("geometry", 3, "3")),
    **of("confusion", partial(metrics.confusion, [1, 0], [0, 1]), ("num_classes", 10**6, f"{10**6}")),
    **of(
        "gaps",
        metrics.calibration_gaps,
        ("confidences", [0.5], "[0.5]"),
        ("correct", torch.ones(3), "(3,)"),
        ("bins", 0, "0"),
        confidences=torch.ones(2),
        correct=torch.ones(2).bool(),
    ),
    **of("last", runs.last, ("root", 3, "3")),
    **of("all runs", runs.all_runs, ("root", None, "None")),
    **of("list", runs.list_runs, ("root", 3, "3"), ("warn", "print", "'print'")),
    **of("latest", runs.set_last, ("run", "r", "'r'")),
    **of("default name", runs.default_name, ("config", 3, "3")),
    **of("slug", runs.slug, ("text", None, "None")),
    **of("find", runs.find, ("run", 3, "3"), ("root", 3, "3")),
    **of("folder", runs.Run, ("path", 3, "3")),
    **of("open", partial(runs.open_run, "runs", name="a"), ("config", {}, "{}"), ("name", 3, "3"), config=None),
    **of("longer", partial(runs.is_longer, configure({})), ("run", "r", "'r'")),
    **of("load", runs.load, ("run", 3, "3"), ("root", 3, "3"), ("device", "gpu", "'gpu'")),
}


@pytest.mark.parametrize("case", TABLE)
def test_a_wrong_argument_is_named(case):
    call, given = TABLE[case]
    with pytest.raises(RandheadError) as caught:
        call()
    assert isinstance(caught.value, UsageError | DataError) and given in str(caught.value), caught.value


def test_a_folder_of_runs_can_be_text(tmp_path):
    assert runs.last(str(tmp_path)) is None and runs.all_runs(str(tmp_path)) == []
    assert runs.Run(str(tmp_path)).config_path == tmp_path / "config.json"


def test_arrays_of_numpy_and_lists_make_the_same_dataset():
    expected, found = arrays(), arrays(pixels=PIXELS.numpy(), labels=LABELS.tolist(), rows={"train": range(10)})
    assert torch.equal(found.splits["train"].labels, expected.splits["train"].labels)
    assert arrays(labels=LABELS.int()).splits["train"].labels.dtype == torch.int64
