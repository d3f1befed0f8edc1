"""Many classes through the command line, their logits in tiles: the same figures as all at once."""

import json
import re

import pytest
import tiny
from conftest import write_images

from randhead.evaluation import classification
from randhead.losses import _topk

CLASSES, TILE = 60, 16
TRAIN = ("train", "--data", "images", "--batch-size", "64", "--epochs", "4", "--device", "cpu", "--precision", "fp32")
# Another tile is another order of summation, on float32 logits.
ROUNDING = {"rel": 1e-5, "abs": 1e-6}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A folder with images of many classes, each seen a few times."""
    folder = tmp_path_factory.mktemp("many")
    names = [f"class {k:03}" for k in range(CLASSES)]
    write_images(folder / "images" / "train", dict.fromkeys(names, 4), size=8)
    write_images(folder / "images" / "test", dict.fromkeys(names, 1), size=8)
    write_images(folder / "strange", {"oak": 15, "pine": 15}, size=8)
    return folder


@pytest.fixture
def call(root, monkeypatch, capsys, no_pictures):
    """Run a command there: stdout."""
    monkeypatch.chdir(root)

    def run(*words):
        code, (out, err) = tiny.main(*words), capsys.readouterr()
        assert code == 0, err
        return out

    return run


def in_tiles(monkeypatch):
    for name in ("TILE_LOGITS", "SMALLEST_TILE"):
        monkeypatch.setattr(_topk, name, TILE)
    monkeypatch.setattr(classification, "DRAWN_CLASSES", CLASSES - 1)


def alike(one, other):
    """Whether two JSON documents are the same but for rounding."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(alike(value, other[key]) for key, value in one.items())
    if isinstance(one, list):
        return len(one) == len(other) and all(map(alike, one, other))
    return one == (pytest.approx(other, **ROUNDING) if isinstance(other, float) else other)


HEADS = [("--scoring", "cosine"), ("--learned", "--set", "head.bias=0.5")]


@pytest.mark.slow
@pytest.mark.parametrize("options", HEADS, ids=["fixed cosine", "learned with biases"])
def test_the_figures_of_a_run_do_not_depend_on_the_tiles(call, monkeypatch, options):
    evaluate, predict = ("eval", "--ood", "strange", "--json"), ("predict", "last", "images/test", "--k", "7", "--json")
    with monkeypatch.context() as patch:
        in_tiles(patch)
        trained = json.loads(call(*TRAIN, *options, "--json"))
        tiled, predicted, table = json.loads(call(*evaluate)), json.loads(call(*predict)), call("eval")
    whole = json.loads(call(*evaluate))

    assert {key: tiled[key] for key in trained["test"]} == trained["test"]
    assert json.loads(call("eval", "--split", "val", "--json"))["accuracy"] == trained["val"]["accuracy"]
    expected = whole["confused_pairs"]
    assert alike(tiled, whole)
    assert alike(predicted, json.loads(call(*predict)))
    assert f"no picture of more than {CLASSES - 1} classes: the report lists {len(expected)} confused pairs" in (
        " ".join(table.split())
    )
    hardest = re.findall(r"class \d{3}", table.partition("hardest")[2])
    assert [(int(own[-3:]), int(other[-3:])) for own, other in zip(hardest[::2], hardest[1::2], strict=True)] == [
        next((i, j) for i, j, _ in sorted(expected) if i == k)
        for k in [k for k, accuracy in enumerate(whole["per_class_accuracy"]) if accuracy == 0][:5]
    ]


@pytest.mark.slow
def test_a_grid_of_corruptions_does_not_depend_on_the_tiles(call, monkeypatch):
    command = ("corrupt-test", "--corruptions", "fog", "--severities", "3", "--json")
    call(*TRAIN, "--fresh")
    whole = json.loads(call(*command))
    with monkeypatch.context() as patch:
        in_tiles(patch)
        patch.setattr(
            "randhead.robustness.images._code", lambda: "other code"
        )  # so that nothing is taken from the first grid
        tiled = json.loads(call(*command))
    assert alike(tiled["corruptions"], whole["corruptions"])
