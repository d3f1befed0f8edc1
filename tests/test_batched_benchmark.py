"""The benchmark of many small trainings at once: networks that are trained together are those trained alone."""

import json
import os
import signal
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[1] / "examples" / "benchmarks"))
import batched_networks as ways
import batched_training as benchmark

from randhead.backbones import resnet9

# vmap has no rule for a step of the average pooling, and goes through the networks one by one there.
pytestmark = pytest.mark.filterwarnings("ignore:There is a performance drop")


@pytest.fixture
def narrow_resnet9(monkeypatch):
    monkeypatch.setattr(resnet9, "WIDTHS", (4, 8, 8, 16))


def setting(network, dtype):
    return ways.Setting(network, 8, image_size=16, images=24, dtype=dtype)


@pytest.mark.parametrize("network", ["small_resnet", pytest.param("resnet9", marks=pytest.mark.slow)])
def test_networks_trained_together_are_those_trained_alone(network, narrow_resnet9):
    found = ways.differences(setting(network, torch.float64), networks=2, steps=2)
    assert max(found["vmap"], found["grouped"]) < 1e-11
    assert found["other seed"] > 0.01


@pytest.mark.slow
@pytest.mark.parametrize("network", ["small_resnet", "resnet9"])
def test_in_float32_they_differ_as_two_memory_layouts_of_one_network_do(network, narrow_resnet9):
    found = ways.differences(setting(network, torch.float32), networks=3, steps=4)
    assert max(found["vmap"], found["grouped"]) < 10 * found["noise"] + 1e-6
    assert found["noise"] < 0.01 * found["other seed"]


def test_a_layer_without_a_grouped_form_is_refused():
    with pytest.raises(TypeError, match="LayerNorm has no grouped form"):
        ways.grouped([nn.Sequential(nn.LayerNorm(4)) for _ in range(2)])


def test_rates_are_those_of_the_common_window():
    """One process alone makes 10 images/s for a second; then both make 5 for two seconds, which count."""
    first = [[0.0, 0.0, 0], [1.0, 1.0, 10], [3.0, 2.0, 20]]
    second = [[1.0, 0.0, 0], [2.0, 0.5, 5], [3.0, 1.0, 10], [5.0, 3.0, 50]]
    found = benchmark.rates([first, second])
    assert (found["images_per_second"], found["seconds"]) == (10, 2)
    assert (found["images_per_processor_second"], found["processors_busy"]) == (10, 1)


def test_ratios_are_to_the_nearest_rows_of_alone():
    rates = [("alone", 10.0), ("vmap", 30.0), ("alone", 20.0), ("grouped", 30.0), ("grouped", None)]
    rows = [{"way": way, "layout": "channels_last"} for way, _ in rates]
    for row, (_, rate) in zip(rows, rates, strict=True):
        row |= {} if rate is None else dict.fromkeys(benchmark.RATIOS, rate)
    benchmark.compare(rows)
    assert [row.get("ratio") for row in rows] == [None, 2.0, None, 1.5, None]


@pytest.mark.slow
def test_a_process_that_dies_costs_its_own_row(tmp_path, monkeypatch):
    def dies(spec, rank, barrier):
        if spec["way"] == "processes" and rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        if spec["way"] == "vmap":
            raise RuntimeError("out of memory")
        return train(spec, rank, barrier)

    train = benchmark.train
    monkeypatch.setattr(benchmark, "train", dies)
    options = ["--cells", "small_resnet:4", "--counts", "2", "--seconds", "0.1", "--threads", "1"]
    benchmark.run(benchmark.parsed([*options, "--out", str(tmp_path / "found.json")]))
    document = json.loads((tmp_path / "found.json").read_text())
    rows = {row["way"]: row for row in document["rows"] if row["layout"] == "channels_last"}
    assert rows["processes"]["error"] == "a process ended with -9"
    assert rows["vmap"]["error"] == "RuntimeError: out of memory"
    assert {"images_per_second", "ratio", "peak_mb"} <= set(rows["grouped"])
    assert document["device"].startswith("CPU")
