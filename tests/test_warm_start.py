"""An encoder that is trained already: its images, its class vectors, and what a training says about them."""

import json
import types

import pytest
import tiny
import torch
from torch import nn

from randhead import backbones, datasets, registry, runs, train
from randhead.config import configure, parse
from randhead.datasets import Dataset
from randhead.errors import RunError, StopRequested, UsageError
from randhead.runs import Run
from randhead.train.events import Started
from randhead.train.notes import _few

CLIP = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
MEAN, STD = (0.5, 0.4, 0.3), (0.3, 0.2, 0.1)
ENCODER = RunError, "the encoder of a is not the one to train"
VECTOR = UsageError, "10 classes of a would get another vector"


@pytest.fixture
def member():
    """A backbone from outside whose weights were trained with images of 12 px."""

    def build(*, name, image_size, pretrained):
        return nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(12, 16))

    def weights_input(*, name):
        return backbones.EncoderInput("the weights of published", 12, MEAN, STD)

    module = types.ModuleType("published")
    module.build, module.weights_input = build, weights_input
    with registry.registered("backbones", module) as name:
        yield name


def fit(root, name, **settings):
    """Train on all digits for one epoch: the resolved settings of config.json, the notes, and the card."""
    found = []
    chosen = {"train.epochs": 1, "train.batch_size": 512, "train.precision": "fp32", "machine.device": "cpu"}
    chosen |= {key.replace("__", "."): value for key, value in settings.items()}
    train.fit(chosen, root=root, name=name, on_event=found.append)
    started = next(event for event in found if isinstance(event, Started))
    document = json.loads((root / name / "config.json").read_text())
    return document["resolved"], started.notes, (root / name / "README.md").read_text()


def test_pretrained_weights_get_the_images_they_were_trained_with(tmp_path, member):
    resolved, notes, card = fit(tmp_path, "a", backbone__name=member, backbone__pretrained=True)
    assert (resolved["image_size"], tuple(resolved["mean"]), tuple(resolved["std"])) == (12, MEAN, STD)
    assert resolved["input_of"] == "the weights of published"
    assert "recipe finetune" in notes[0] and "optim.lr=0.0001" in notes[0]
    assert notes[1].startswith(
        "images are resized and normalised as for the weights of published: 12 px, mean 0.5 0.4 0.3"
    )
    assert notes[1].endswith("deviation 0.3 0.2 0.1")
    assert notes[1][1:] in card


@pytest.mark.slow
def test_what_the_user_sets_wins_over_what_the_weights_were_trained_with(tmp_path, member):
    own = {"data__image_size": 10, "data__normalise": "half"}
    resolved, notes, _ = fit(tmp_path, "a", backbone__name=member, backbone__pretrained=True, **own)
    assert (resolved["image_size"], tuple(resolved["mean"])) == (10, (0.5,) * 3)
    assert notes[1].endswith("not so here, as set: 10 px, mean 0.5 0.5 0.5, deviation 0.5 0.5 0.5")
    without, notes, _ = fit(tmp_path, "b", backbone__name=member)
    assert without["image_size"] == 8 and notes == ()


def test_the_libraries_say_what_their_weights_were_trained_with():
    """The numbers of torchvision's and timm's documentation."""
    image_net = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    for name, size, normalisation in (
        ("torchvision:resnet50", 224, image_net),
        ("torchvision:inception_v3", 299, image_net),
        ("timm:vit_tiny_patch16_224", 224, ((0.5,) * 3, (0.5,) * 3)),
        ("timm:vit_base_patch16_clip_224.openai", 224, CLIP),
    ):
        found = backbones.weights_input(name)
        assert (found.image_size, (found.mean, found.std)) == (size, normalisation), name
    assert backbones.weights_input("small_resnet") is None
    with pytest.raises(UsageError, match="no pretrained weights of timm:botnet50ts_256"):
        backbones.weights_input("timm:botnet50ts_256")


@pytest.mark.slow
def test_a_run_that_continues_another_has_its_images(tmp_path):
    first, _, _ = fit(tmp_path, "a", data__image_size=10, data__normalise="half")
    again, notes, card = fit(tmp_path, "b", train__start_from=str(tmp_path / "a"))
    for key in ("image_size", "mean", "std"):
        assert again[key] == first[key], key
    assert notes[0].startswith("images are resized and normalised as for run a: 10 px, mean 0.5 0.5 0.5")
    assert "run a, with sgd and a learning rate of 0.1, the rate for training from scratch" in notes[1]
    assert notes[2] == "classes: 10 known (0, 1, 2, ...), 0 new, 0 dropped"
    assert "Starts from the encoder of run a" in card and "10 known" in card
    own, notes, _ = fit(tmp_path, "c", train__start_from=str(tmp_path / "a"), data__image_size=9)
    assert own["image_size"] == 9 and own["mean"] == first["mean"]
    assert notes[0].endswith("not so here, as set: 9 px")


@pytest.mark.slow
def test_a_training_that_is_resumed_keeps_the_images_that_it_began_with(tmp_path):
    """Also if the run that it started from has been trained again on others, and if it is a run of 0.1.0."""
    fit(tmp_path, "a", data__image_size=10, data__normalise="half")
    chosen = {"train.epochs": 1, "train.batch_size": 512, "train.start_from": str(tmp_path / "a")}
    with pytest.raises(StopRequested):
        train.fit(chosen, root=tmp_path, name="b", should_stop=lambda: True)
    train.fit({"train.epochs": 1, "train.batch_size": 512}, root=tmp_path, name="a", fresh=True)
    train.fit(chosen, root=tmp_path, name="b")
    resolved = Run(tmp_path / "b").resolved()
    assert (resolved.image_size, resolved.mean) == (10, (0.5,) * 3)
    train.fit(chosen, root=tmp_path, name="b", fresh=True)
    assert Run(tmp_path / "b").resolved().image_size == 8


def named(names):
    """The digits with other names."""
    images = tiny.digits()
    return Dataset("digits", tuple(names), images.splits, 8, (), False)


def test_a_single_further_class_is_named_too():
    assert _few("abcd") == " (a, b, c, d)"
    assert _few("abcde") == " (a, b, c, ...)"


def started(folder, config, images):
    return next(event for event in tiny.fit(folder, config, images) if isinstance(event, Started))


@pytest.mark.slow
def test_known_new_and_dropped_classes_are_counted_and_learned_ones_keep_vector_and_bias(tmp_path):
    arm = {"head__trainable": True, "head__bias": 0.5, "train__epochs": 1}
    tiny.fit(tmp_path / "a", tiny.config(**arm), named("abcdefghij"))
    config = tiny.config(**arm, train__start_from=str(tmp_path / "a"), optim__lr=1e-12)
    event = started(tmp_path / "b", config, named("jklmnopqrs"))
    assert " scoring " not in event.notes[-2]
    assert event.notes[-1] == "classes: 1 known (j), 9 new (k, l, m, ...), 9 dropped (a, b, c, ...)"
    old, new = (runs.load(str(tmp_path / name)).model.head for name in "ab")
    assert torch.allclose(new.vectors[0], old.vectors[9], atol=1e-6)
    assert torch.allclose(new.bias[0], old.bias[9], atol=1e-6) and not old.bias[9].equal(torch.tensor(0.5))
    assert not torch.allclose(new.vectors[1], old.vectors[0], atol=1e-2)


@pytest.mark.slow
def test_class_vectors_of_images_are_not_those_of_classes(tmp_path):
    """A run with instance labels has a vector per image: the first ten are not the ten classes."""
    arm = {"head__trainable": True, "train__epochs": 1}
    tiny.fit(tmp_path / "a", tiny.config(data__labels="instance", **arm), tiny.digits())
    config = tiny.config(**arm, train__start_from=str(tmp_path / "a"), optim__lr=1e-12)
    event = started(tmp_path / "b", config, tiny.digits())
    assert event.notes[-1].startswith("no class vector is taken")
    head = runs.load(str(tmp_path / "b")).model.head
    assert torch.allclose(head.vectors, head.draw(), atol=1e-6)


@pytest.mark.slow
def test_other_scores_than_those_of_the_run_are_said(tmp_path):
    tiny.fit(tmp_path / "a", tiny.config(train__epochs=1, head__scoring="cosine"), tiny.digits())
    config = tiny.config(train__epochs=1, train__start_from=str(tmp_path / "a"))
    event = started(tmp_path / "b", config, tiny.digits())
    assert event.notes[1].endswith("; dot scoring with scale 1, not cosine scoring with scale 16 as there")


def test_another_encoder_is_refused_before_images_are_read(tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    content = {"config": parse.nest(tiny.config(backbone__name="resnet18")), "resolved": {}}
    (tmp_path / "a" / "config.json").write_text(json.dumps(content))
    monkeypatch.setattr(datasets, "from_config", lambda *words, **more: pytest.fail("images are read"))
    with pytest.raises(RunError, match="backbone resnet18 there, small_resnet here"):
        train.fit(tiny.config(train__start_from=str(tmp_path / "a")), root=tmp_path, name="b")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("old", "new", "refused", "hint"),
    [
        ({}, {"backbone__name": "resnet18"}, ENCODER, '`backbone="small_resnet"`'),
        ({"head__neck": "linear"}, {}, ENCODER, '`neck="linear"`'),
        ({"head__learn_scale": True}, {}, ENCODER, "`head.learn_scale=true`"),
        ({"head__class_keys": "name"}, {}, VECTOR, "`class_keys='name'`"),
        ({}, {"train__head_seed": 1}, VECTOR, "`head_seed=0`"),
        ({"head__trainable": True}, {}, VECTOR, "`trainable=True`"),
    ],
)
def test_another_encoder_and_fixed_vectors_that_would_move_are_refused_with_the_settings_to_use(
    tmp_path, old, new, refused, hint
):
    kind, message = refused
    tiny.fit(tmp_path / "a", tiny.config(train__epochs=1, **old), tiny.digits())
    with pytest.raises(kind, match=message) as caught:
        tiny.fit(tmp_path / "b", tiny.config(train__start_from=str(tmp_path / "a"), **new), tiny.digits())
    assert hint in caught.value.hint


@pytest.mark.slow
def test_a_run_that_continues_another_fetches_no_published_weights(tmp_path, member, monkeypatch):
    chosen = {"backbone.name": member, "train.epochs": 1, "train.batch_size": 16, "machine.device": "cpu"}
    tiny.fit(tmp_path / "a", configure(chosen), tiny.digits())
    asked, build = [], backbones.build

    def record(name, *, image_size, pretrained=False):
        asked.append(pretrained)
        return build(name, image_size=image_size)

    monkeypatch.setattr(backbones, "build", record)
    more = {"backbone.pretrained": True, "train.start_from": str(tmp_path / "a")}
    tiny.fit(tmp_path / "b", configure({**chosen, **more}), tiny.digits())
    assert not any(asked)


@pytest.mark.slow
def test_what_a_recipe_sets_is_said(tmp_path):
    note = started(tmp_path / "a", tiny.config(recipe="fair", optim__lr=0.05, train__epochs=1), tiny.digits()).notes[0]
    assert note == "recipe fair sets optim.lr=0.05"  # the rest of this configuration is not what fair sets
    assert Run(tmp_path / "a").summary().notes == (note,)
