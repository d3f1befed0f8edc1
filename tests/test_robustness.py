"""The corruption grid: figures over it, what it keeps, resuming, subsets, and what tells two runs apart."""

from dataclasses import asdict

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from randhead import corruptions, intervals
from randhead.datasets import FileImages, Split, TensorImages, fingerprint
from randhead.errors import StopRequested, UsageError
from randhead.evaluation import classification, features
from randhead.head import ClassVectorHead
from randhead.model import Classifier
from randhead.preprocess import Preprocess
from randhead.robustness import (
    CLEAN,
    CorruptionSettings,
    RowDone,
    accumulator,
    comparison,
    contact_sheet,
    grid,
    grid_metrics,
    images,
    per_class,
    settings,
)
from randhead.robustness.accumulator import Accumulator
from randhead.robustness.images import CorruptedImages

N, K, SIZE = 50, 5, 8
GRID = {CLEAN: (0,), "gaussian_noise": (1, 5), "glass_blur": (3,), "pixelate": (2, 4)}


class Pixels(nn.Module):
    """A backbone that hands on some pixels: the features of an image do not depend on its batch."""

    dim, nonnegative = 24, False

    def forward(self, x):
        return x.flatten(1)[:, 40 : 40 + self.dim]


@pytest.fixture
def preprocess():
    return Preprocess(torch.tensor([0.5] * 3), torch.tensor([0.25] * 3), torch.device("cpu"), torch.float32)


@pytest.fixture
def model():
    return Classifier(Pixels(), ClassVectorHead(K, Pixels.dim, "gaussian", scale=0.3, bias=0.1))


@pytest.fixture
def small_batches(monkeypatch):
    """Batches of seven images, blocks of fourteen: the 50 images take four blocks, the last of them short."""
    monkeypatch.setattr(features, "batch_size", lambda side: 7)
    monkeypatch.setattr(images, "BLOCK_BYTES", 14 * 3 * SIZE * SIZE)


def split(n=N, seed=0):
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (n, 3, SIZE // 2, SIZE // 2), dtype=np.uint8)
    pixels = torch.from_numpy(coarse.repeat(2, axis=2).repeat(2, axis=3))
    labels = torch.from_numpy(random.integers(0, K, n))
    return Split(TensorImages(pixels, torch.arange(n)), labels)


def filled(model, source, preprocess, cells=GRID, path=None, **options):
    found = Accumulator(len(source.labels), source.identity(), path)
    for _ in grid.run(model, source, cells, preprocess, found, **options):
        pass
    return found


# The grid --------------------------------------------------------------------------------------------------------


def test_the_figures_of_a_cell_are_those_of_the_corrupted_images(model, preprocess, small_batches):
    part = split()
    cells = filled(model, CorruptedImages(part, CorruptionSettings(seed=4)), preprocess)
    rows = model.head.class_vectors()
    for name, severity in [(name, s) for name, severities in GRID.items() for s in severities]:
        clean = part.images.pixels
        images = clean if name == CLEAN else corruptions.corrupt(clean, name, severity, 4)
        corrupted = Split(TensorImages(images, torch.arange(N)), part.labels)
        naive = classification.full_metrics(model, corrupted, preprocess).to_json()
        embedded = features.embed(model, images, preprocess)
        cosines = torch.cosine_similarity(embedded[:, None], rows[None], dim=2)
        own = cosines[torch.arange(N), part.labels]
        others = torch.stack([torch.cat([c[:y], c[y + 1 :]]).max() for c, y in zip(cosines, part.labels, strict=True)])
        expected = {
            "accuracy": naive["accuracy"],
            "error": 1 - naive["accuracy"],
            "standard_error": naive["accuracy_standard_error"],
            "accuracy_low": naive["accuracy_interval"]["low"],
            "accuracy_high": naive["accuracy_interval"]["high"],
            "nll": naive["nll"],
            "ece": naive["ece"],
            "feature_norm": embedded.norm(dim=1).mean().item(),
            "cosine": own.mean().item(),
            "margin": (own - others).mean().item(),
        }
        assert asdict(cells.metrics(name, severity)) == pytest.approx(expected, rel=1e-5), (name, severity)


def test_ids_are_indices_in_the_split_so_that_a_subset_has_the_same_noise(model, preprocess):
    part = split()
    whole = CorruptedImages(part, CorruptionSettings())
    some = CorruptedImages(part, CorruptionSettings(), ids=torch.tensor([3, 20, 41]))
    everything = filled(model, whole, preprocess).correct("gaussian_noise", 5)
    assert filled(model, some, preprocess).correct("gaussian_noise", 5).tolist() == everything[[3, 20, 41]].tolist()
    (_, images), *_ = some.cells("gaussian_noise", (5,), 0, 3)
    assert torch.equal(images, corruptions.corrupt(part.images.pixels, "gaussian_noise", 5)[[3, 20, 41]])


@pytest.mark.parametrize("batches", [0, 9, 24, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 2, 17))])
def test_a_grid_that_was_stopped_goes_on_to_the_same_bits(model, preprocess, small_batches, tmp_path, batches):
    source, path = CorruptedImages(split(), CorruptionSettings()), tmp_path / "cells.safetensors"
    whole = filled(model, source, preprocess)
    asked = iter(range(1000))
    with pytest.raises(StopRequested):
        filled(model, source, preprocess, path=path, should_stop=lambda: next(asked) == batches)
    again = Accumulator(N, source.identity(), path)
    done = [event for event in grid.run(model, source, GRID, preprocess, again) if not isinstance(event, RowDone)]
    assert len(done) == 8 * len(GRID) - batches  # four blocks of 14, 14, 14 and 8 images are eight batches
    assert done[-1].done == done[-1].total == N * 6
    for cell in whole.cells:
        assert torch.equal(again.cells[cell].correct, whole.cells[cell].correct)
        assert torch.equal(again.cells[cell].sums, whole.cells[cell].sums)


def test_a_finished_grid_is_read_and_a_larger_one_computes_what_it_lacks(model, preprocess, tmp_path, monkeypatch):
    source, path = CorruptedImages(split(), CorruptionSettings()), tmp_path / "cells.safetensors"
    filled(model, source, preprocess, path=path)
    asked = []
    cells = source.cells
    monkeypatch.setattr(source, "cells", lambda name, s, *rest: asked.append((name, tuple(s))) or cells(name, s, *rest))
    filled(model, source, preprocess, cells={**GRID, "gaussian_noise": (1, 2, 5), "fog": (1,)}, path=path)
    assert asked == [("gaussian_noise", (2,)), ("fog", (1,))]


@pytest.mark.parametrize("change", ["seed", "parameters", "ids", "images", "labels", "code"])
def test_cells_of_another_identity_are_never_mixed_in(model, preprocess, tmp_path, monkeypatch, change):
    first = CorruptedImages(split(), CorruptionSettings())
    filled(model, first, preprocess, path=(path := tmp_path / "cells.safetensors"))
    other = {
        "seed": lambda: CorruptedImages(split(), CorruptionSettings(seed=1)),
        "parameters": lambda: CorruptedImages(split(), CorruptionSettings(parameters="224")),
        "ids": lambda: CorruptedImages(split(), CorruptionSettings(), ids=torch.arange(1, N + 1) % N),
        "images": lambda: CorruptedImages(split(seed=1), CorruptionSettings()),
        "labels": lambda: CorruptedImages(Split(split().images, split().labels.flip(0)), CorruptionSettings()),
        "code": lambda: CorruptedImages(split(), CorruptionSettings()),
    }[change]()
    before = first.identity()
    if change == "code":
        monkeypatch.setattr(images, "_code", lambda: "a newer version")
    assert other.identity() != before
    assert Accumulator(N, other.identity(), path).cells == {}
    assert (
        accumulator.open_accumulator(tmp_path, N, before).path
        != accumulator.open_accumulator(tmp_path, N, other.identity()).path
    )


def test_a_damaged_file_starts_the_grid_again_and_says_so(model, preprocess, tmp_path):
    source, path = CorruptedImages(split(), CorruptionSettings()), tmp_path / "cells.safetensors"
    filled(model, source, preprocess, path=path)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    again = Accumulator(N, source.identity(), path)
    assert again.cells == {}
    assert "starts again" in again.note


def test_the_identity_of_files_follows_their_content(tmp_path, make_images):
    folder = make_images(tmp_path / "flat", {"a": 3}, size=SIZE)
    files = sorted(folder.rglob("*.png"))
    part = Split(FileImages(files, SIZE, workers=1, device="cpu"), torch.tensor([0, 1, 0]))
    before = fingerprint(part, torch.arange(3))
    assert fingerprint(part) == before
    files[1].write_bytes(files[0].read_bytes())
    assert fingerprint(part, torch.arange(3)) != before


def test_streamed_images_are_decoded_once(model, preprocess, small_batches, tmp_path, make_images, monkeypatch):
    files = sorted(make_images(tmp_path / "flat", {"a": 25, "b": 25}, size=SIZE).rglob("*.png"))
    images = FileImages(files, SIZE, workers=1, device="cpu", digests=np.zeros((N, 16), np.uint8))
    decoded = []
    batches = images.batches
    monkeypatch.setattr(images, "batches", lambda ids, size: decoded.extend(ids.tolist()) or batches(ids, size))
    filled(model, CorruptedImages(Split(images, torch.arange(N) % K), CorruptionSettings()), preprocess)
    assert decoded == list(range(N))


def test_a_users_corruption_must_give_back_images(model, preprocess):
    broken = CorruptionSettings(custom={"mine": lambda images, severity, ids, seed: images.float()})
    with pytest.raises(UsageError, match=r"mine made torch.float32 \(50, 3, 8, 8\)"):
        filled(model, CorruptedImages(split(), broken), preprocess, cells={"mine": (1,)})
    inverted = CorruptionSettings(custom={"mine": lambda images, severity, ids, seed: 255 - images})
    (_, images), *_ = CorruptedImages(split(), inverted).cells("mine", (1,), 0, N)
    assert torch.equal(images, 255 - split().images.pixels)


# Which cells, which images ---------------------------------------------------------------------------------------


def test_corruptions_are_chosen_by_name_and_group_in_the_benchmarks_order():
    assert list(settings.choose_grid(["benchmark"], (1, 2, 3, 4, 5))) == [CLEAN, *corruptions.names("benchmark")]
    assert list(settings.choose_grid(["all"], (1,))) == [CLEAN, *corruptions.names()]
    assert settings.choose_grid(["fog", "noise", "snow"], (5, 1), skip=["shot_noise"]) == {
        CLEAN: (0,),
        **dict.fromkeys(("gaussian_noise", "impulse_noise", "snow", "fog"), (1, 5)),
    }
    assert list(settings.choose_grid(["extra"], (1,), custom=["mine"])) == [CLEAN, *corruptions.names("extra"), "mine"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"names": ["fogg"]}, "unknown corruption 'fogg'"),
        ({"skip": ["frosty"]}, "unknown corruption 'frosty'"),
        ({"severities": (6,)}, "severities must be 1 to 5, got 6"),
        ({"severities": ()}, "severities must be 1 to 5, got none"),
        ({"names": ["fog"], "skip": ["fog"]}, "no corruption is left"),
    ],
)
def test_cells_that_do_not_exist_are_refused(options, message):
    with pytest.raises(UsageError, match=message):
        settings.choose_grid(**{"names": ["benchmark"], "severities": (1,), **options})


def test_a_subset_is_stratified_seeded_and_nested():
    labels = torch.cat([torch.full((count,), k) for k, count in enumerate((40, 20, 20, 0, 20))])
    labels = labels[torch.randperm(100, generator=torch.Generator().manual_seed(0))]
    some = images.subset(labels, 25, seed=1)
    assert torch.bincount(labels[some], minlength=5).tolist() == [10, 5, 5, 0, 5]
    assert some.tolist() == sorted(set(some.tolist()))
    assert set(images.subset(labels, 10, seed=1).tolist()) < set(some.tolist())
    assert images.subset(labels, 25, seed=2).tolist() != some.tolist()
    assert images.subset(labels, 1000).tolist() == list(range(100))
    with pytest.raises(UsageError, match="at least 1 image"):
        images.subset(labels, 0)


# Documents -------------------------------------------------------------------------------------------------------


def test_a_document_marks_a_partial_mean(model, preprocess):
    cells = filled(model, CorruptedImages(split(), CorruptionSettings()), preprocess)
    document = grid_metrics.grid_metrics(cells, GRID, [str(k) for k in range(K)], clean_error=0.5).to_json()
    errors = [[cells.metrics(name, s).error for s in GRID[name]] for name in list(GRID)[1:]]
    assert document["mean_corruption_accuracy"] is None
    assert document["partial_mean_corruption_accuracy"] == pytest.approx(1 - np.mean([np.mean(row) for row in errors]))
    assert document["mean_over"].startswith("3 of 15 corruptions")
    assert "imagenet" not in document
    assert document["corruptions"]["gaussian_noise"].keys() == {"1", "5"}


def test_a_comparison_is_paired_by_image(model, preprocess):
    part = split()
    other = Classifier(Pixels(), ClassVectorHead(K, Pixels.dim, "gaussian", scale=0.3, seed=1))
    ours, theirs = (filled(m, CorruptedImages(part, CorruptionSettings()), preprocess) for m in (model, other))
    found = asdict(comparison.compare(ours, theirs, GRID, "other"))
    for name in list(GRID)[1:]:
        rows = [[cells.metrics(name, s).error for s in GRID[name]] for cells in (ours, theirs)]
        assert found["corruptions"][name]["difference"] == pytest.approx(np.mean(rows[1]) - np.mean(rows[0]))
        assert found["corruptions"][name]["ce"] == pytest.approx(sum(rows[0]) / sum(rows[1]))
    scores = [grid_metrics.image_scores(cells, GRID) for cells in (ours, theirs)]
    gaps = np.mean([scores[0][name] - scores[1][name] for name in list(GRID)[1:]], 0)
    mean = found["mean_corruption_accuracy"]
    assert mean["difference"] == pytest.approx(gaps.mean())
    assert (mean["high"] - mean["low"]) / 2 == pytest.approx(1.96 * gaps.std() / N**0.5, rel=0.1)
    right, theirs_right = (cells.correct(CLEAN, 0) for cells in (ours, theirs))
    gained, lost = int((right & ~theirs_right).sum()), int((theirs_right & ~right).sum())
    exact = intervals.paired(gained, lost, N)
    assert (found["accuracy"]["low"], found["accuracy"]["high"]) == (exact.low, exact.high)
    assert (found["accuracy"]["method"], mean["method"]) == ("mcnemar", "student")


def test_equal_models_differ_by_nothing_within_an_interval(model, preprocess):
    cells = filled(model, CorruptedImages(split(), CorruptionSettings()), preprocess)
    found = comparison.compare(cells, cells, GRID, "itself")
    for row in (found.accuracy, found.mean_corruption_accuracy, *found.corruptions.values()):
        assert row.low < row.difference == 0 < row.high


def test_the_interval_of_a_mean_over_cells_is_over_images_and_stays_within_0_and_100_percent():
    half = torch.tensor([0.5, 0.75, 0.9, 0.25] * 25, dtype=torch.float64)
    found, expected = grid_metrics.accuracy_interval(half), stats.ttest_1samp(half.numpy(), 0).confidence_interval()
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    perfect = grid_metrics.accuracy_interval(torch.ones(100, dtype=torch.float64))
    assert 0.9 < perfect.low < perfect.high == 1


@pytest.mark.parametrize(("correct", "n"), [(0, 1), (1, 1), (0, 20), (20, 20), (5, 20)])
def test_images_that_are_right_or_wrong_in_all_cells_have_the_interval_of_a_single_cell(correct, n):
    scores = (torch.arange(n) < correct).double()
    assert grid_metrics.accuracy_interval(scores) == intervals.wilson(correct, n)


def test_images_with_equal_scores_between_right_and_wrong_have_an_interval_with_a_width():
    one = grid_metrics.accuracy_interval(torch.tensor([0.5], dtype=torch.float64))
    several = grid_metrics.accuracy_interval(torch.full((20,), 0.5, dtype=torch.float64))
    assert (one.low, one.high) == (0, 1) and 0.3 < several.low < 0.4 and 0.6 < several.high < 0.7


def test_accuracy_by_class_is_that_of_its_images(model, preprocess):
    part = split()
    cells = filled(model, CorruptedImages(part, CorruptionSettings()), preprocess)
    found = per_class.class_accuracies(cells, GRID, part.labels, ["a", "b", "c", "d", "e"])
    mine = part.labels == 2
    assert found["c"].n == int(mine.sum())
    assert found["c"].accuracy == pytest.approx(cells.correct(CLEAN, 0)[mine].double().mean().item())
    right = torch.stack([cells.correct("gaussian_noise", s)[mine].double() for s in (1, 5)])
    assert found["c"].corruptions["gaussian_noise"] == pytest.approx(right.mean().item())


def test_what_is_kept_does_not_grow_with_features(model, preprocess):
    """Per cell: one bit per image, in a byte, and nineteen numbers."""
    cells = filled(model, CorruptedImages(split(), CorruptionSettings()), preprocess)
    for cell in cells.cells.values():
        assert cell.correct.dtype == torch.bool and cell.correct.shape == (N,)
        assert cell.sums.shape == (len(accumulator.MEANS) + accumulator.BINS,)


def test_a_contact_sheet_has_a_row_per_corruption_and_a_column_per_severity():
    image = split(n=1).images.pixels[0]
    sheet = contact_sheet(image, CorruptionSettings(seed=2), image_id=7)
    assert sheet.tiles.shape == (len(corruptions.names()), 5, 3, SIZE, SIZE)
    assert torch.equal(sheet.tiles[9, 2], corruptions.corrupt(image[None], "fog", 3, seed=2, ids=[7])[0])
