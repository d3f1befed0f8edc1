"""The next images are corrupted while a model runs on others, or while they are written; results are read per row."""

import threading

import pytest
import torch
from test_no_waits import HostRead, no_host_reads  # noqa: F401
from test_robustness import model, preprocess, small_batches, split  # noqa: F401

from randhead.datasets import Split, TensorImages
from randhead.evaluation import features
from randhead.robustness import CLEAN, CorruptionSettings, accumulator, export, grid
from randhead.robustness.accumulator import Accumulator
from randhead.robustness.images import CorruptedImages

NAMES = [f"class{i}" for i in range(5)]


class Watched(CorruptedImages):
    """Images that say how many batches were begun."""

    begun, more = 0, threading.Condition()

    def cells(self, *which):
        with self.more:
            self.begun += 1
            self.more.notify()
        yield from super().cells(*which)

    def wait_for(self, number):
        with self.more:
            return self.more.wait_for(lambda: self.begun >= number, timeout=20)


def test_the_next_batch_is_corrupted_while_the_model_runs(model, preprocess, small_batches, monkeypatch):  # noqa: F811
    source, batches, embed = Watched(split(), CorruptionSettings()), iter(range(1, 9)), features.embed

    def waiting(*args):
        number = next(batches)
        assert number == 8 or source.wait_for(number + 1)
        return embed(*args)

    monkeypatch.setattr(features, "embed", waiting)
    list(grid.run(model, source, {"pixelate": (3,)}, preprocess, Accumulator(50, {})))
    assert source.begun == 8


@pytest.mark.parametrize(("side", "severities"), [(8, (1, 5)), (32, (1, 2, 3, 4, 5))])  # 32: CIFAR-10-C has all
def test_the_next_batch_is_corrupted_while_one_is_written(side, severities, tmp_path, small_batches, monkeypatch):  # noqa: F811
    small = split()
    larger = TensorImages(small.images.pixels.repeat(1, 1, side // 8, side // 8), torch.arange(50))
    source, seen = Watched(Split(larger, small.labels), CorruptionSettings()), []

    def written(inner):
        def write(*args, **options):
            batch = len(seen) // len(severities)
            seen.append(batch == 15 or source.wait_for(batch + 2))
            return inner(*args, **options)

        return write

    if side == 32:
        monkeypatch.setattr(export, "_channels_last", written(export._channels_last))
    else:
        monkeypatch.setattr(export, "_save_images", written(export._save_images))
    list(export.write(tmp_path / "set", source, {"pixelate": severities, "contrast": severities}, NAMES))
    assert seen == [True] * 16 * len(severities) and source.begun == 2 * 8


def test_no_batch_of_a_row_is_read_by_the_host(model, preprocess, small_batches, request):  # noqa: F811
    source = CorruptedImages(split(), CorruptionSettings())
    events = grid.run(model, source, {CLEAN: (0,)}, preprocess, Accumulator(50, {}))
    mode = request.getfixturevalue("no_host_reads")
    for _ in range(2):
        with mode:
            assert isinstance(next(events), grid.Advanced)
    with pytest.raises(HostRead):  # the row ends after two batches
        next(events)


def test_what_waits_on_the_device_is_read_in_two_transfers(monkeypatch):
    found, random = Accumulator(12, {}), torch.Generator().manual_seed(0)
    sums = torch.rand(4, len(accumulator.MEANS) + accumulator.BINS, generator=random, dtype=torch.float64)
    right = torch.rand(4, 3, generator=random) < 0.5
    for i in range(4):
        found.add("fog", 1, 3 * i, right[i], sums[i])
    read, cpu = [], torch.Tensor.cpu
    monkeypatch.setattr(torch.Tensor, "cpu", lambda tensor: read.append(1) or cpu(tensor))
    assert found.correct("fog", 1).tolist() == right.flatten().tolist() and len(read) == 2
    assert torch.equal(found.cells["fog", 1].sums, sums[0] + sums[1] + sums[2] + sums[3])
    assert found.metrics("fog", 1).accuracy == right.double().mean() and len(read) == 2
