"""The metrics of a trained model, against an independent computation, for any size of batch."""

import json
import math
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import image_folder
from torch import nn
from torchmetrics.classification import MulticlassCalibrationError
from trained import command, train

from randhead import evaluation, robustness, runs
from randhead.datasets import Split, TensorImages
from randhead.errors import DataError, StopRequested, UsageError
from randhead.evaluation import classification, features, out_of_distribution
from randhead.files import json_text
from randhead.head import ClassVectorHead
from randhead.losses import _topk
from randhead.model import Classifier
from randhead.preprocess import Preprocess

N, K, SIZE = 61, 7, 4


class Pixels(nn.Module):
    """A backbone that hands on some pixels: the features of an image do not depend on its batch."""

    dim, nonnegative = 12, False

    def forward(self, x):
        return x.flatten(1)[:, : self.dim]


@pytest.fixture
def preprocess():
    return Preprocess(torch.tensor([0.5] * 3), torch.tensor([0.25] * 3), torch.device("cpu"), torch.float32)


@pytest.fixture
def model():
    return Classifier(Pixels(), ClassVectorHead(K, Pixels.dim, "gaussian", scale=3.0, bias=0.1))


def split(n=N, seed=0, classes=K):
    draw = np.random.default_rng(seed)
    pixels = torch.from_numpy(draw.integers(0, 256, (n, 3, SIZE, SIZE), dtype=np.uint8))
    return Split(TensorImages(pixels, torch.arange(n)), torch.from_numpy(draw.integers(0, classes, n)))


def by_numpy(model, part):
    """Features, logits and labels in float64, image by image, without any of our code."""
    pixels = part.images.pixels.numpy().astype(np.float64) / 255
    found = ((pixels - 0.5) / 0.25).reshape(len(pixels), -1)[:, : Pixels.dim]
    rows = model.head.class_vectors().numpy().astype(np.float64)
    return found, 3.0 * found @ rows.T + 0.1, part.labels.numpy(), rows


@pytest.mark.parametrize("tile", [2, 1 << 20])
def test_figures_agree_with_an_independent_computation(model, preprocess, monkeypatch, tile):
    for name in ("TILE_LOGITS", "SMALLEST_TILE"):
        monkeypatch.setattr(_topk, name, tile)
    part = split()
    found = classification.full_metrics(model, part, preprocess).to_json()
    _, logits, labels, _ = by_numpy(model, part)
    shifted = logits - logits.max(axis=1, keepdims=True)
    probabilities = np.exp(shifted) / np.exp(shifted).sum(axis=1, keepdims=True)
    answers = logits.argmax(axis=1)
    right = answers == labels
    assert found["n"] == N
    assert found["accuracy"] == pytest.approx(right.mean())
    assert found["accuracy_standard_error"] == pytest.approx(math.sqrt(right.mean() * (1 - right.mean()) / N))
    best = np.argsort(-logits, axis=1)[:, :5]
    assert found["top5_accuracy"] == pytest.approx((best == labels[:, None]).any(axis=1).mean())
    assert found["nll"] == pytest.approx(-np.log(probabilities[np.arange(N), labels]).mean(), rel=1e-5)
    counts = np.zeros((K, K), dtype=int)
    np.add.at(counts, (labels, answers), 1)
    assert found["per_class_accuracy"] == pytest.approx((counts.diagonal() / counts.sum(axis=1)).tolist())
    ece = MulticlassCalibrationError(K, n_bins=15, norm="l1")(torch.from_numpy(probabilities), part.labels)
    assert found["ece"] == pytest.approx(ece.item(), abs=1e-5)


def test_the_confused_pairs_say_all_of_the_confusion_matrix(model, preprocess):
    part = split()
    _, logits, labels, _ = by_numpy(model, part)
    counts = np.zeros((K, K), dtype=int)
    np.add.at(counts, (labels, logits.argmax(axis=1)), 1)
    found = classification.full_metrics(model, part, preprocess)
    assert found.confusion() == counts.tolist()
    expected = [[i, j, n] for i, row in enumerate(counts.tolist()) for j, n in enumerate(row) if n and i != j]
    assert found.to_json()["confused_pairs"] == sorted(expected, key=lambda pair: -pair[2])


def test_what_a_training_keeps_of_its_test_split_does_not_grow_with_the_classes(model, preprocess):
    found = classification.full_metrics(model, split(), preprocess)
    kept = {name for name, value in found.summary().items() if isinstance(value, list)}
    assert found.summary().items() < found.to_json().items()
    assert not kept, f"{kept} are lists"


def test_diagnostics_are_the_official_codes(model, preprocess):
    """Feature norm and largest cosine, averaged over right and over wrong answers."""
    part = split()
    found = classification.full_metrics(model, part, preprocess).to_json()["diagnostics"]
    embedded, logits, labels, rows = by_numpy(model, part)
    right = logits.argmax(axis=1) == labels
    norms = np.linalg.norm(embedded, axis=1)
    cosines = (embedded @ rows.T / norms[:, None] / np.linalg.norm(rows, axis=1)).max(axis=1)
    for values in found.values():
        expected = norms if values["right"] > 1 else cosines
        assert values["right"] == pytest.approx(expected[right].mean(), rel=1e-5)
        assert values["wrong"] == pytest.approx(expected[~right].mean(), rel=1e-5)
    assert len(found) == 2


@pytest.mark.parametrize("size", [1, 2, 7, 60, 61, 62, 1000])
def test_every_image_counts_once_for_any_size_of_batch(model, preprocess, monkeypatch, size):
    whole = classification.full_metrics(model, split(), preprocess).to_json()
    quick = classification.quick_metrics(model, split(), preprocess)
    scores = out_of_distribution.scores(model, split(), preprocess)
    monkeypatch.setattr(features, "batch_size", lambda image_size: size)
    found = classification.full_metrics(model, split(), preprocess).to_json()
    assert found["confused_pairs"] == whole["confused_pairs"]
    assert sum(found["per_class_n"]) == N
    for key in ("n", "accuracy", "top5_accuracy", "nll", "ece", "ece_equal_mass"):
        assert found[key] == pytest.approx(whole[key], rel=1e-6), key
    assert classification.quick_metrics(model, split(), preprocess) == pytest.approx(quick, rel=1e-6)
    for name, values in out_of_distribution.scores(model, split(), preprocess).items():
        torch.testing.assert_close(values, scores[name], rtol=1e-5, atol=1e-6)


def test_the_quick_metrics_are_the_metrics(model, preprocess):
    quick, whole = (
        classification.quick_metrics(model, split(), preprocess),
        classification.full_metrics(model, split(), preprocess).to_json(),
    )
    assert quick["accuracy"] == whole["accuracy"]
    assert quick["nll"] == pytest.approx(whole["nll"], rel=1e-6)
    logits = by_numpy(model, split())[1]
    assert (quick["logit_min"], quick["logit_max"]) == pytest.approx((logits.min(), logits.max()), rel=1e-5)


def test_the_size_of_a_batch_depends_on_the_image_alone():
    assert [features.batch_size(size) for size in (8, 32, 64, 96, 1024)] == [1024, 512, 128, 56, 1]


def test_figures_that_do_not_exist_are_none_and_the_document_is_json(preprocess):
    model = Classifier(Pixels(), ClassVectorHead(3, Pixels.dim, "gaussian"))
    found = classification.full_metrics(model, split(n=4, classes=2), preprocess).to_json()
    assert found["top5_accuracy"] is None
    assert found["per_class_accuracy"][2] is None
    json.dumps(found, allow_nan=False)


def test_evaluation_leaves_the_weights_and_takes_the_model_out_of_training(preprocess):
    backbone = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(3 * SIZE * SIZE))
    model = Classifier(backbone, ClassVectorHead(K, 3 * SIZE * SIZE)).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    classification.full_metrics(model, split(), preprocess).to_json()
    assert not model.training
    assert all(tensor.equal(before[name]) for name, tensor in model.state_dict().items())


def test_a_stop_is_heard_between_batches(model, preprocess, monkeypatch):
    monkeypatch.setattr(features, "batch_size", lambda image_size: 10)
    for work in (classification.full_metrics, classification.quick_metrics, out_of_distribution.scores):
        asked = iter([False, False])
        with pytest.raises(StopRequested):
            work(model, split(), preprocess, should_stop=lambda asked=asked: next(asked, True))


def test_images_told_apart_completely_have_an_auroc_of_one_and_like_ones_of_a_half(preprocess):
    model = Classifier(Pixels(), ClassVectorHead(2, Pixels.dim, "gaussian", scale=1.0))
    rows = model.head.class_vectors()
    towards = (255 * (0.5 + 0.4 * rows / rows.abs().max())).round().to(torch.uint8)
    pixels = torch.full((6, 3 * SIZE * SIZE), 127, dtype=torch.uint8)
    pixels[:, : Pixels.dim] = towards[torch.arange(6) % 2]
    inside = Split(TensorImages(pixels.view(6, 3, SIZE, SIZE), torch.arange(6)), torch.arange(6) % 2)
    grey = torch.full((5, 3, SIZE, SIZE), 127, dtype=torch.uint8)
    outside = Split(TensorImages(grey, torch.arange(5)), torch.zeros(5, dtype=torch.int64))
    found = out_of_distribution.detection(model, inside, outside, preprocess)
    assert set(found) == set(out_of_distribution.SCORES)
    for name in ("maximum_probability", "maximum_logit"):
        assert found[name] == {"auroc": 1.0, "fpr_at_95_recall": 0.0, "aupr_in": 1.0, "aupr_out": 1.0}
    alike = out_of_distribution.detection(model, inside, inside, preprocess)
    assert all(values["auroc"] == pytest.approx(0.5) for values in alike.values())


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A run whose class names are markup."""
    folder = tmp_path_factory.mktemp("run")
    data = image_folder(folder / "data", classes=("<b>ant", "bee & co"), images=10)
    return train(folder / "runs", "run", data).parent


@pytest.mark.usefixtures("no_pictures")
def test_the_command_and_the_function_give_the_same_document(capsys, root):
    found = evaluation.evaluate("run", root=root, device="cpu", ood="digits")
    code, out, _ = command(capsys, "eval", "run", "--ood", "digits", "--runs", root, "--json")
    assert code == 0
    assert json.loads(out) == found.to_json()
    assert (found.run, found.split, found.accuracy) == ("run", "test", found.to_json()["accuracy"])
    written = json.loads((root / "run" / "reports" / "evaluate-test.json").read_text())
    assert written == found.to_json()
    assert found.save(runs.Run(root / "run")).read_text() == json_text(written) + "\n"


def test_a_run_that_is_not_finished_is_evaluated_with_a_warning(root, tmp_path):
    folder = shutil.copytree(root / "run", tmp_path / "run")
    (folder / "summary.json").unlink()
    warned = []
    evaluation.evaluate("run", root=tmp_path, device="cpu", warn=warned.append)
    evaluation.predict(next((root.parent / "data").rglob("*.png")), "run", root=tmp_path, warn=warned.append)
    evaluation.analyze("dynamics", ["run"], root=tmp_path, device="cpu", warn=warned.append)
    robustness.benchmark("run", corruptions="contrast", severities=[1], root=tmp_path, device="cpu", warn=warned.append)
    said = [text for text in warned if "not finished" in text]
    assert len(said) == 4
    assert said[0].startswith("run is not finished: this is its best epoch so far, ")


def test_strange_images_need_no_classes(root, tmp_path):
    for i in range(5):
        Image.linear_gradient("L").rotate(90 * i).resize((SIZE + i, SIZE)).save(tmp_path / f"{i}.png")
    (tmp_path / "0.heic").touch()
    warned = []
    found = evaluation.evaluate("run", root=root, device="cpu", ood=str(tmp_path), warn=warned.append)
    assert (found.ood.split, found.ood.n) == ("all", 5)
    assert all(row[2].endswith(" %") for row in found.ood.table("run").rows)
    assert all(0 <= score["auroc"] <= 1 for score in found.ood.scores.values())
    assert warned == [f"{tmp_path.name}: left out 1 file without an image ending (.heic)"]


def test_images_of_a_folder_of_classes_are_all_used_as_strange_ones_and_said_to_be_the_own_ones(root):
    warned = []
    found = evaluation.evaluate("run", root=root, device="cpu", ood=str(root.parent / "data"), warn=warned.append)
    assert (found.ood.split, found.ood.n) == ("all", 20)
    assert warned == ["data: has 2 classes of the run too (<b>ant, bee & co), and should have others only"]


def test_a_folder_of_classes_is_said_to_be_evaluated_in_part_unless_the_run_knows_the_split(root, tmp_path):
    warned = []
    image_folder(tmp_path / "more", classes=("<b>ant", "bee & co"), images=20)
    found = evaluation.evaluate("run", root=root, device="cpu", data=str(tmp_path / "more"), warn=warned.append)
    assert found.metrics.n == 4
    assert [warning.split(",")[0] for warning in warned] == ["more has no split folders: only 4 of its 40 images"]
    evaluation.evaluate("run", root=root, device="cpu", data=str(root.parent / "data"), warn=warned.append)
    assert len(warned) == 1


def test_a_notebook_shows_an_evaluation_as_tables_with_escaped_names(root):
    found = evaluation.evaluate(runs.Run(root / "run"), device="cpu")
    wrong = replace(found.metrics, per_class_accuracy=[0.0, 0.5], confused_pairs=[[0, 1, 2], [1, 0, 1]])
    shown = replace(found, metrics=wrong)._repr_html_()
    for words in ("test split of data, n = 2", "accuracy", "NLL", "hardest classes", "&lt;b&gt;ant", "bee &amp; co"):
        assert words in shown
    assert "<b>" not in shown
    assert shown.count("<caption>run: ") == shown.count("<table>") == 3


def test_classes_without_a_wrong_prediction_are_not_among_the_hardest(root):
    found = evaluation.evaluate(runs.Run(root / "run"), device="cpu")

    def hardest(accuracies, pairs):
        changed = replace(found.metrics, per_class_accuracy=accuracies, confused_pairs=pairs)
        return [table for table in replace(found, metrics=changed).tables() if "hardest" in table.title]

    assert [[row[0] for row in table.rows] for table in hardest([0.5, 1.0], [[0, 1, 1]])] == [["<b>ant"]]
    assert hardest([1.0, None], []) == []


def test_results_and_runs_are_short_when_printed(root):
    loaded = runs.load("run", root=root, device="cpu")
    report = robustness.benchmark(loaded, corruptions="fog", severities=[1], per_class=True)
    for result in (loaded, evaluation.evaluate(loaded), evaluation.analyze("compactness", loaded), report):
        assert repr(result).startswith(f"{type(result).__name__}(") and len(repr(result)) < 700


def test_what_cannot_be_evaluated_is_refused(root):
    with pytest.raises(UsageError, match="unknown value 'tets'") as caught:
        evaluation.evaluate("run", root=root, split="tets")
    assert "did you mean 'test'" in caught.value.hint
    with pytest.raises(DataError, match=r"other classes .*only in the images: 0, 1, .*; only in the run: "):
        evaluation.evaluate("run", root=root, data="digits", device="cpu")
    with pytest.raises(StopRequested):
        evaluation.evaluate("run", root=root, device="cpu", should_stop=lambda: True)


@pytest.mark.parametrize("verb", [runs.load, evaluation.evaluate, robustness.benchmark])
def test_a_device_is_one_of_the_choices(root, verb):
    for device in ("gpu", 0, None):
        with pytest.raises(UsageError, match="device: unknown value") as caught:
            verb("run", root=root, device=device)
        assert "known: auto, cpu, cuda" in caught.value.hint
    with pytest.raises(UsageError, match="root must be a path, got 3"):
        verb("run", root=3)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"corruptions": None}, "corruptions must be names of corruptions: text, or a list, got None"),
        ({"corruptions": 3}, "corruptions must be"),
        ({"skip": 3}, "skip must be names of corruptions"),
        ({"severities": 3}, "severities must be a list of numbers from 1 to 5, got 3"),
        ({"severities": None}, "severities must be a list"),
        ({"severities": [True]}, "severities must be a whole number, got True"),
        ({"others": 3}, "others must be a list of runs, got 3"),
        ({"others": "run"}, "others must be a list of runs, got 'run'"),
        ({"limit": 1.5}, "limit must be a whole number, got 1.5"),
        ({"limit": True}, "limit must be a whole number, got True"),
        ({"parameters": 32}, "parameters must be None or one of ['32', '64', '224'], got 32"),
        ({"published": 3}, "published must be a path, got 3"),
        ({"should_stop": None}, "should_stop must be a function, got None"),
        *(({"seed": seed}, "seed must be") for seed in (1.5, -1, "a", math.nan)),
    ],
)
def test_a_benchmark_names_an_argument_of_another_type(root, arguments, words):
    with pytest.raises(UsageError, match=re.escape(words)):
        robustness.benchmark("run", root=root, device="cpu", **arguments)


@pytest.mark.slow
@pytest.mark.usefixtures("no_pictures")
def test_a_report_on_corrupted_images_becomes_a_part_of_the_document(capsys, root):
    benchmarked = robustness.benchmark("run", root=root, device="cpu")
    found = evaluation.evaluate("run", root=root, device="cpu").with_corruptions(benchmarked)
    document = found.to_json()
    assert document["mean_corruption_accuracy"] == benchmarked.mean_corruption_accuracy
    assert document["corruptions"] == benchmarked.to_json()["corruptions"]
    code, out, _ = command(capsys, "eval", "run", "--corruptions", "--runs", root, "--json")
    assert code == 0
    assert json.loads(out) == document
    titles = [table.title for table in benchmarked.tables()]
    assert titles == [table.title for table in found.tables()][-len(titles) :]
