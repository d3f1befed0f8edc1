"""Settings as text, their bounds, recipes, and what makes two configurations the same run."""

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from randhead.config import (
    BackboneConfig,
    Config,
    DataConfig,
    HeadConfig,
    OptimConfig,
    TrainConfig,
    configure,
    parse,
    recipes,
    settings,
)
from randhead.errors import UsageError

KINDS = {key: about.kind | None if about.optional else about.kind for key, about in settings().items()}
NUMBERS = {key: kind for key, kind in KINDS.items() if kind in (int, float, int | None, float | None)}


def built(**changes):
    return parse.build({key.replace("__", "."): value for key, value in changes.items()})


def refusal(values):
    with pytest.raises(UsageError) as caught:
        parse.build(values)
    return caught.value


def test_no_setting_is_the_defaults():
    assert parse.build({}) == Config()


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("optim.learning_rate", "optim.lr"),
        ("learning_rate", "optim.lr"),
        ("train.learning_rate", "optim.lr"),
        ("optimiser.lr", "optim.lr"),
        ("optim.epochs", "train.epochs"),
        ("head.temperature", "head.scale"),
        ("backbon.name", "backbone.name"),
        ("optim.momentun", "optim.momentum"),
        ("lr", "optim.lr"),
        ("trian.seed", "train.seed"),
    ],
)
def test_an_unknown_key_is_refused_and_the_nearest_named(key, meant):
    error = refusal({key: 1})
    assert key in error.message
    assert error.hint == f"did you mean {meant!r}?"


@pytest.mark.parametrize(
    ("key", "start"),
    [
        ("optim.zzzz", "settings in optim: name, lr, momentum,"),
        ("data.path", "settings in data: name, image_size"),
        ("optim", "it is a section, with the settings name, lr,"),
        ("zzzz", "sections: data, backbone,"),
        ("", "sections: data, backbone,"),
    ],
)
def test_an_unknown_key_that_is_like_no_other_lists_what_there_is(key, start):
    assert refusal({key: 1}).hint.startswith(start)


def test_a_section_is_not_a_setting():
    assert "optim" in refusal({"optim": 3}).message


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("optim.lr", "1e-2", 0.01),
        ("optim.lr", 1, 1.0),
        ("train.epochs", "7", 7),
        ("train.epochs", 7.0, 7),
        ("head.trainable", "true", True),
        ("head.trainable", "No", False),
        ("head.scale", "auto", None),
        ("head.bias", "none", None),
        ("data.flip", "1", True),
        ("data.name", "cifar10", "cifar10"),
    ],
)
def test_text_becomes_the_type_of_the_field(key, text, value):
    found = parse.flatten(parse.build({key: text}))[key]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("train.epochs", "3.5"),
        ("train.epochs", 3.5),
        ("train.epochs", True),
        ("train.epochs", math.inf),
        ("train.epochs", [3]),
        ("optim.lr", "fast"),
        ("optim.lr", False),
        ("optim.lr", {}),
        ("head.trainable", "maybe"),
        ("head.trainable", 2),
        ("data.name", 5),
        ("train.epochs", None),
    ],
)
def test_a_value_of_another_type_is_refused_by_name(key, value):
    assert key in refusal({key: value}).message


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -1])
@pytest.mark.parametrize("key", sorted(NUMBERS))
def test_no_number_may_be_negative_or_not_finite(key, value):
    if key == "head.bias" and value == -1:
        return  # a constant bias may have any sign
    assert key in refusal({key: value}).message


@pytest.mark.parametrize(
    ("key", "low", "high"),
    [
        ("data.image_size", 8, 1024),
        ("data.crop_padding", 0, 256),
        ("data.cutout", 0, 0.9),
        ("train.epochs", 1, 100_000),
        ("train.batch_size", 2, 1_000_000),
        ("train.seed", 0, 2**63 - 1),
        ("train.head_seed", 0, 2**63 - 1),
        ("machine.workers", 1, 256),
    ],
)
def test_bounds_include_their_ends_and_nothing_beyond(key, low, high):
    for value in (low, high):
        assert parse.flatten(parse.build({key: value}))[key] == value
    for value in (low - 1, high + 1):
        assert key in refusal({key: value}).message


@pytest.mark.parametrize(
    ("key", "beyond", "within"),
    [
        ("data.validation", (0, 1), (1e-9, 0.999)),
        ("head.scale", (0,), (1e-9, 1e9)),
        ("head.normaliser_tolerance", (0,), (1e-9,)),
        ("optim.lr", (0,), (1e-9,)),
        ("optim.momentum", (1,), (0, 0.999)),
        ("optim.weight_decay", (-1e-9,), (0,)),
        ("optim.plateau_factor", (0, 1), (0.001, 0.999)),
        ("optim.label_smoothing", (1,), (0, 0.999)),
        ("optim.clip_norm", (0,), (1e-9,)),
        ("machine.checkpoint_minutes", (-1e-9,), (0,)),
    ],
)
def test_an_open_bound_excludes_its_end(key, beyond, within):
    for value in within:
        assert parse.flatten(parse.build({key: value}))[key] == value
    for value in beyond:
        assert key in refusal({key: value}).message


@pytest.mark.parametrize(
    "key",
    [
        "head.scoring",
        "head.neck",
        "head.class_keys",
        "data.augment",
        "optim.name",
        "optim.schedule",
        "train.precision",
        "machine.device",
    ],
)
def test_a_word_outside_its_choices_is_refused_with_the_choices(key):
    error = refusal({key: "nonsense"})
    assert key in error.message
    assert "known: " in error.hint


def test_a_choice_that_is_nearly_right_is_guessed():
    assert "did you mean 'cosine'?" in refusal({"head.scoring": "cosin"}).hint


def test_toml_reads_as_the_same_dotted_keys(tmp_path):
    file = tmp_path / "run.toml"
    file.write_text('recipe = "fair"\n[optim]\nlr = 0.2\nname = "adamw"\n[head]\ntrainable = true\n')
    read = parse.read_file(file)
    assert read == {"recipe": "fair", "optim.lr": 0.2, "optim.name": "adamw", "head.trainable": True}


@pytest.mark.parametrize("content", [b"optim.lr =", b"[optim", b"a = 1\na = 2", b"\xff\xfe", b"lr: 0.1"])
def test_a_file_that_is_no_toml_is_refused_by_name(tmp_path, content):
    file = tmp_path / "run.toml"
    file.write_bytes(content)
    with pytest.raises(UsageError, match=r"run\.toml: not a TOML file"):
        parse.read_file(file)


def test_who_gives_another_file_of_a_run_is_told_of_its_configuration(tmp_path):
    (tmp_path / "config.json").write_text('{"config": {"optim": {"lr": 0.2}}}')
    (tmp_path / "summary.json").write_text('{"run": "a", "val": {"accuracy": 1}}')
    with pytest.raises(UsageError, match=r"summary\.json: not a file of settings") as caught:
        parse.read_file(tmp_path / "summary.json")
    assert caught.value.hint == f"give {tmp_path / 'config.json'}"
    assert parse.read_file(tmp_path / "config.json")["optim.lr"] == 0.2


def test_nesting_and_unnesting_are_inverse():
    config = built(optim__lr=0.3, head__scale=2.5, data__flip=True)
    assert parse.build(parse.unnest(parse.nest(config))) == config


def test_an_assignment_is_split_at_its_first_equals_sign():
    assert parse.parse_assignment(" data.name = a=b ") == ("data.name", "a=b")
    for text in ("optim.lr", "=3", " =3"):
        with pytest.raises(UsageError):
            parse.parse_assignment(text)


def test_fields_are_checked_in_python_too():
    for wrong in (
        lambda: HeadConfig(trainable="false"),
        lambda: HeadConfig(scoring=3),
        lambda: TrainConfig(epochs="3"),
        lambda: TrainConfig(seed=None),
        lambda: DataConfig(name=Path("photos")),
        lambda: DataConfig(hold_out_classes=3),
        lambda: OptimConfig(lr="0.1"),
    ):
        with pytest.raises(UsageError):
            wrong()


def test_numbers_of_numpy_are_numbers():
    assert TrainConfig(seed=np.int64(2**63 - 1)).seed == 2**63 - 1
    assert HeadConfig(scale=np.float32(2)).scale == 2
    with pytest.raises(UsageError):
        HeadConfig(scale=np.float32("nan"))


def test_configurations_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().train.epochs = 3


def test_the_machine_is_no_part_of_a_runs_identity():
    ours, theirs = built(), built(machine__workers=7, machine__checkpoint_minutes=0, machine__device="cpu")
    assert parse.digest(ours) == parse.digest(theirs)
    assert parse.differences(ours, theirs) == []


WORDS = {  # another value of each setting that has choices
    "recipe": "fair",
    "data.labels": "instance",
    "data.augment": "views",
    "data.normalise": "half",
    "head.scoring": "cosine",
    "head.neck": "linear",
    "head.class_keys": "name",
    "optim.name": "adamw",
    "optim.schedule": "cosine",
    "train.precision": "bf16",
}
UNSET = {bool: True, int: 32, float: 1.5, str: "other"}  # of each kind of setting that has no value at first


def another(key, value):
    """A value of a setting that is not `value`."""
    if key in WORDS:
        return WORDS[key]
    if value is None:
        kind = next(kind for kind in KINDS[key].__args__ if kind in UNSET)
        return UNSET[kind]
    return {bool: lambda: not value, int: lambda: value + 1, float: lambda: value / 2 + 0.01, str: lambda: "other"}[
        type(value)
    ]()


@pytest.mark.parametrize("key", [key for key in parse.flatten(Config()) if not key.startswith("machine.")])
def test_every_other_setting_is(key):
    value = parse.flatten(Config())[key]
    change = another(key, value)
    changed = parse.build({key: change, **({"optim.schedule": "cosine"} if key == "optim.warmup" else {})})
    assert parse.digest(changed) != parse.digest(Config())
    arms = {False: "fixed", True: "learned"} if key == "head.trainable" else {value: repr(value), change: repr(change)}
    assert parse.differences(changed, Config())[-1] == f"{key}: saved {arms[value]}, requested {arms[change]}"


ARMS = [(scoring, learned) for scoring in ("dot", "cosine") for learned in (False, True)]


@pytest.mark.parametrize(("scoring", "learned"), ARMS)
def test_the_paper_recipe_has_the_official_codes_unequal_settings(scoring, learned):
    config = parse.build(recipes.settings({"recipe": "paper", "head.scoring": scoring, "head.trainable": learned}))
    optim, train, data = config.optim, config.train, config.data
    assert optim.lr == (0.001 if (scoring, learned) == ("dot", True) else 0.1)
    assert optim.weight_decay == (5e-4 if scoring == "dot" else 0.0)
    assert (optim.name, optim.momentum, optim.schedule) == ("sgd", 0.9, "plateau")
    assert (optim.plateau_factor, optim.plateau_patience) == (0.2, 3)
    assert (train.batch_size, train.epochs) == (32, 80)
    assert (data.crop_padding, data.flip, data.normalise) == (10, True, "half")
    assert (config.backbone.name, config.head.bias) == ("resnet18", 0.01)


@pytest.mark.parametrize("spelling", ["true", "yes", "1", True])
def test_learned_is_understood_however_it_is_spelled(spelling):
    assert recipes.settings({"recipe": "paper", "head.trainable": spelling})["optim.lr"] == 0.001


@pytest.mark.parametrize("recipe", ["fair", "fast"])
def test_a_fair_recipe_is_the_same_in_all_arms(recipe):
    arms = [
        parse.build(recipes.settings({"recipe": recipe, "head.scoring": scoring, "head.trainable": learned}))
        for scoring, learned in ARMS
    ]
    for config in arms[1:]:
        changed = {line.partition(":")[0] for line in parse.differences(config, arms[0])}
        assert changed <= {"head.scoring", "head.trainable"}


def test_the_fast_recipe_has_the_settings_of_page():
    """With a summed loss he divides the rate by the batch and multiplies the decay by it; ours is the mean."""
    config = configure({"recipe": "fast"})
    optim, batch = config.optim, config.train.batch_size
    assert (config.backbone.name, batch, config.train.epochs) == ("resnet9", 512, 24)
    assert (optim.name, optim.momentum, optim.schedule) == ("sgd", 0.9, "onecycle")
    rate, decay = 0.4 / batch, 5e-4 * batch  # his
    assert optim.lr * optim.weight_decay == pytest.approx(rate * decay)
    assert optim.lr / batch == pytest.approx(rate)
    assert config.head == HeadConfig()
    assert config.data.cutout * 32 == 8
    assert optim.label_smoothing == 0


@pytest.mark.parametrize("recipe", sorted(recipes.RECIPES))
def test_what_the_user_sets_wins_over_the_recipe(recipe):
    chosen = {"recipe": recipe, "optim.lr": 0.123, "train.epochs": "5", "backbone.name": "small_resnet"}
    config = parse.build(recipes.settings(chosen))
    assert (config.optim.lr, config.train.epochs, config.backbone.name) == (0.123, 5, "small_resnet")
    assert config.recipe == recipe


@pytest.mark.parametrize(
    ("chosen", "name"),
    [
        ({"recipe": "paper", "head.trainable": True}, "a78d05"),
        ({"recipe": "fair", "data.name": "cifar10", "train.seed": 3}, "a4ddeb"),
        ({"head.vectors": "simplex", "optim.schedule": "cosine"}, "13621d"),
        ({"backbone.name": "torchvision:resnet18", "backbone.pretrained": True, "recipe": "default"}, "cd519e"),
        ({}, "489b3e"),
    ],
)
def test_a_configuration_of_the_first_version_keeps_its_name(chosen, name):
    """The digits were computed by 0.1.0: settings that came later count only if they are not at their default."""
    assert parse.digest(configure(chosen)) == name


@pytest.mark.parametrize("spelling", [True, "true", "1"])
def test_pretrained_weights_are_fine_tuned_unless_another_recipe_is_named(spelling):
    pretrained = {"backbone.name": "torchvision:resnet18", "backbone.pretrained": spelling}
    found = configure(pretrained)
    assert (found.recipe, found.optim.name, found.optim.lr, found.optim.warmup) == ("finetune", "adamw", 1e-4, 0.1)
    named = configure({**pretrained, "recipe": "default"})
    assert (named.recipe, named.optim) == ("default", Config().optim)
    assert configure({**pretrained, "optim.lr": "0.003"}).optim.lr == 0.003
    untrained = configure({"backbone.name": "torchvision:resnet18"})
    assert untrained == Config(backbone=BackboneConfig("torchvision:resnet18"))


def test_what_the_user_sets_never_collides_with_what_the_recipe_sets():
    sgd = configure({"recipe": "finetune", "optim.name": "sgd"}).optim
    assert (sgd.lr, sgd.weight_decay, sgd.warmup) == (Config().optim.lr / 10, Config().optim.weight_decay, 0.1)
    assert configure({"recipe": "finetune", "optim.schedule": "onecycle"}).optim.warmup == 0  # it rises by itself
    with pytest.raises(UsageError, match=r"optim\.warmup must be 0 with optim\.schedule=onecycle"):
        configure({"optim.warmup": 0.1})


@pytest.mark.parametrize("recipe", ["papr", "", 3, ["paper"]])
def test_an_unknown_recipe_is_refused_with_the_known_ones(recipe):
    with pytest.raises(UsageError, match="unknown recipe") as caught:
        recipes.settings({"recipe": recipe})
    assert "default, fair, fast, finetune, paper" in caught.value.hint


# Values beyond the limits of Python and of torch

ODD_FILES = {
    "optim.lr": ["1" + "0" * 400, "1e300", "1e400", "nan", "inf", "1e-60", "[1]", "1979-05-27", '"a\\u0000b"'],
    "head.bias": ["1e300", "-1e300", "nan"],
    "train.seed": ["1" * 5000, "1" * 4000, "-" + "1" * 400, "0x" + "f" * 5000, "1e30"],
    "data.name": ['"a\\u0000b"', '"/a\\u0000b"', "3", "[" * 900 + "]" * 900],
    "train.start_from": ['"a\\u0000b"'],
    "machine.data_root": ['"~nobodyatall/x"', '"~nobodyatall"', '"a\\u0000b"'],
    "machine.memory_budget_mb": ["99999999999999999999"],
    "machine.keep_checkpoints": ["99999999999999999999"],
    "machine.checkpoint_minutes": ["1e300"],
    "optim.accumulate": ["99999999999999999999"],
    "head.vectors": ['"file:a\\u0000b"'],
    "nonsense": ["[" * 3000 + "]" * 3000, "{a=" * 3000 + "1" + "}" * 3000, "1" * 5000],
}


@pytest.mark.parametrize("key", ODD_FILES)
def test_a_value_beyond_all_limits_is_an_error_that_names_its_key(tmp_path, key):
    for value in ODD_FILES[key]:
        (tmp_path / "a.toml").write_text(f"{key} = {value}\n")
        with pytest.raises(UsageError) as caught:
            parse.configure(parse.read_file(tmp_path / "a.toml"))
        assert key in caught.value.message, value[:20]
        assert len(caught.value.message) < 300 and caught.value.hint


@pytest.mark.parametrize("key", ["optim.lr", "train.seed", "machine.memory_budget_mb", "head.bias", "data.image_size"])
@pytest.mark.parametrize("text", ["1" * 5000, "1e400", "nan", "-inf", "9" * 25, "\x00", "1e-400x"])
def test_a_typed_value_beyond_all_limits_is_an_error_that_names_its_key(key, text):
    if (key, text) == ("optim.lr", "9" * 25) or (key, text) == ("head.bias", "9" * 25):
        return
    with pytest.raises(UsageError, match=key):
        parse.configure({key: text})


def test_the_largest_and_smallest_numbers_that_torch_has_are_values():
    limits = torch.finfo(torch.float32)
    for number in (limits.max, limits.tiny):
        assert parse.build({"head.scale": number}).head.scale == number
    assert parse.build({"train.seed": torch.iinfo(torch.int64).max}).train.seed == 2**63 - 1
