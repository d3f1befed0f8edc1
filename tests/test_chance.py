"""A validation accuracy at chance level is warned of, and batch normalisation is no cause of it."""

import types

import pytest
import tiny
import torch
from torch import nn

from randhead import backbones, registry
from randhead.datasets import Dataset, Split
from randhead.preprocess import Preprocess
from randhead.runs import Run
from randhead.train import batch_norm, chance
from randhead.train.events import EpochDone, Finished, Started, Warned

PLAIN = Preprocess.of((0.5,) * 3, (0.5,) * 3, precision="fp32", device=torch.device("cpu"))
BALANCED = torch.arange(100) % 10


def norms(*momenta):
    return nn.Sequential(*(nn.BatchNorm2d(4, momentum=momentum) for momentum in momenta))


@pytest.mark.parametrize("batches", [1, 20, 50, 400])
def test_after_one_epoch_a_slow_layer_has_forgotten_what_an_ordinary_one_has_or_95_percent(batches):
    """Counted with the layer itself: all images have the mean 1, the average starts at 0."""
    model = norms(0.01).train()
    batch_norm.keep_up(model, batches)
    for _ in range(batches):
        model(torch.ones(2, 4, 1, 1))
    left = 1 - model[0].running_mean[0].item()
    assert left <= max(0.9**batches, 0.05) * 1.01
    assert model[0].momentum <= 0.1


def test_ordinary_layers_and_long_epochs_do_not_change():
    model = norms(0.1, 0.3, None, 0.0)
    assert batch_norm.keep_up(model, 5) == ""
    assert [layer.momentum for layer in model] == [0.1, 0.3, None, 0.0]
    assert batch_norm.keep_up(norms(0.01), 1000) == ""
    note = batch_norm.keep_up(norms(0.1, 0.01), 20)
    assert note.startswith("batch normalisation: momentum 0.01 of the network raised to 0.1") and "20 batches" in note


def test_statistics_of_batches_are_used_in_evaluation_and_the_running_ones_are_kept():
    model, images = norms(0.1).eval(), torch.randn(8, 4, 3, 3) * 5 + 2
    with batch_norm.statistics_of_batches(model) as found:
        assert found
        assert model(images).mean().item() == pytest.approx(0, abs=1e-5)
    assert model[0].running_mean.equal(torch.zeros(4)) and model[0].running_var.equal(torch.ones(4))
    with batch_norm.statistics_of_batches(nn.Linear(1, 1)) as found:
        assert not found


def lines(*epochs):
    return [{"val_accuracy": accuracy, "val_nll": nll, "train_loss": loss} for accuracy, nll, loss in epochs]


CHANCE = [(0.1, 2.303, 2.3), (0.09, 2.31, 1.2), (0.11, 5.0, 0.4)]


@pytest.mark.parametrize(
    ("epochs", "labels", "words"),
    [
        (CHANCE, BALANCED, "while the training loss fell from 2.3 to 0.4: the labels or the kind of the validation"),
        (
            [(0.1, 2.3, 2.3), (0.1, 2.3, 2.3), (0.1, 2.3, 2.29)],
            BALANCED,
            "the training loss hardly fell: try another `optim.lr`",
        ),
        (
            [(0.9, 0.33, 1.0), (0.9, 0.33, 0.5), (0.9, 0.33, 0.2)],
            (torch.arange(100) >= 90).long(),
            "90.00 % at best",
        ),  # 9 of 10
        (CHANCE[:2], BALANCED, None),  # too short
        ([*CHANCE, (0.25, 2.0, 0.1)], BALANCED, None),
        (
            [(0.1, 2.2, 2.3), (0.1, 2.2, 1.5), (0.1, 2.1, 1.0)],
            BALANCED,
            None,
        ),  # the probabilities have learned something
        (CHANCE, BALANCED[:10], None),  # too few images
        ([(0.3, None, 2.3), (0.1, None, 1.0)], BALANCED, None),  # instance labels
    ],
)
def test_chance_level_is_recognised_by_accuracy_and_nll_of_all_epochs(epochs, labels, words):
    found = chance.warning(lines(*epochs), nn.Linear(1, 1), Split(None, labels), PLAIN)
    assert (words is None) == (found is None) and (words or "") in (found or "")


def mislabelled():
    """Digits whose validation and test labels are drawn at random."""
    images, random = tiny.digits(train=200, val=60, test=60), torch.Generator().manual_seed(0)
    splits = dict(images.splits)
    for name in ("val", "test"):
        split = splits[name]
        splits[name] = Split(split.images, torch.randint(10, (60,), generator=random))
    return Dataset("digits", images.class_names, splits, 8, (), False)


@pytest.mark.slow
def test_a_training_at_chance_level_ends_with_a_warning_that_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(chance, "NO_BETTER", 0.9)  # with so few images the NLL is below log K by chance
    events = tiny.fit(tmp_path / "a", tiny.config(train__epochs=4), mislabelled())
    (warned,) = [event.message for event in events if isinstance(event, Warned)]
    assert "stayed near chance level" in warned and "labels or the kind" in warned
    assert Run(tmp_path / "a").summary().warnings == (warned,)
    assert isinstance(events[-1], Finished) and events[-2] == Warned(warned)


@pytest.fixture
def slow_network():
    """A small network like MobileNetV3 in what matters: batch normalisation of a small momentum, four times."""

    def build(*, name, image_size, pretrained):
        layers = []
        for width, wider in ((3, 16), (16, 32), (32, 32), (32, 32)):
            layers += [nn.Conv2d(width, wider, 3, padding=1, bias=False), nn.BatchNorm2d(wider, momentum=0.001)]
            layers += [nn.Hardswish()]
        return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())

    module = types.ModuleType("slow_network")
    module.build = build
    with registry.registered("backbones", module) as name:
        yield name


@pytest.mark.slow
def test_a_network_of_slow_batch_normalisation_trains_and_without_the_correction_the_cause_is_named(
    tmp_path, slow_network, monkeypatch
):
    config = tiny.config(backbone__name=slow_network, train__epochs=6)
    images = tiny.digits(train=400, val=100, test=20)
    events = tiny.fit(tmp_path / "with", config, images)
    assert [event for event in events if isinstance(event, EpochDone)][-1].metrics.val_accuracy > 0.5
    assert any("raised to 0.1," in note for event in events if isinstance(event, Started) for note in event.notes)
    monkeypatch.setattr(batch_norm, "keep_up", lambda model, batches: "")
    events = tiny.fit(tmp_path / "without", config, images)
    (warned,) = [event.message for event in events if isinstance(event, Warned) and "chance" in event.message]
    assert "the running statistics of batch normalisation are not those of the trained network" in warned


@pytest.mark.slow
def test_torchvisions_mobilenet_is_such_a_network_and_the_networks_of_randhead_are_not():
    mobilenet = backbones.build("torchvision:mobilenet_v3_small", image_size=32)
    assert "momentum 0.01 of the network raised to 0.1" in batch_norm.keep_up(mobilenet, 20)
    for name in ("small_resnet", "resnet18", "torchvision:resnet18"):
        assert batch_norm.keep_up(backbones.build(name, image_size=32), 1) == ""
