"""A setting is said once, on its field: the options of train, --settings and the hints of the command line follow."""

import dataclasses
import inspect
import json
import math
import re
import shlex
import sys
from pathlib import Path

import pytest
from typer import Context
from typer.main import get_command

from randhead import ClassVectorHead, cli
from randhead.cli import near_misses, train
from randhead.cli.hints import as_options, with_typed_options
from randhead.cli.output import Output
from randhead.config import Config, HeadConfig, check_value, configure, parse, recipes, settings
from randhead.config.schema import PANELS
from randhead.errors import UsageError
from randhead.runs import default_name

PARAMETERS = {
    word: item for item in get_command(cli.app).commands["train"].params for word in (*item.opts, *item.secondary_opts)
}
# Command lines that were written for the first version.
WORDS = """
data labels skip-bad-images hold-out-classes backbone pretrained scoring learned fixed vectors class-keys scale neck
normaliser head-seed recipe epochs batch-size seed device precision compile from config set out name fresh resume json
"""


@pytest.fixture
def chosen(monkeypatch, tmp_path):
    """The configuration that a command line comes to; nothing is trained."""
    monkeypatch.chdir(tmp_path)

    def run(*words):
        found = []
        monkeypatch.setattr(train, "run_training", lambda output, config, run, **options: found.append(config))
        monkeypatch.setattr(sys, "argv", ["randhead", "train", *words])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert not ended.value.code
        return found[0]

    return run


@pytest.mark.parametrize("key", settings())
def test_a_setting_says_what_it_is_and_its_default_is_allowed(key):
    about = settings()[key]
    assert about.help[0].isupper() and about.help.endswith("."), about.help
    assert about.convert(about.shown(about.default)) == about.default
    about.check(about.default)
    assert about.domain()
    assert not about.option or about.option.panel in PANELS


def test_every_field_of_the_configuration_is_a_setting():
    assert list(settings()) == list(parse.flatten(Config()))


def test_a_recipe_is_one_of_its_choices():
    assert settings()["recipe"].choices == tuple(recipes.RECIPES)


@pytest.mark.parametrize("word", WORDS.split())
def test_an_option_of_the_first_version_is_still_one(word):
    assert f"--{word}" in PARAMETERS


def test_help_is_an_option_without_a_value():
    group = get_command(cli.app)
    for command in (group, *group.commands.values()):
        assert command.get_help_option(Context(command)).metavar == ""


def test_help_shows_about_twenty_options():
    shown = {item.name for item in PARAMETERS.values() if not item.hidden} - {"help"}
    assert 20 <= len(shown) <= 23


@pytest.mark.parametrize("about", [about for about in settings().values() if about.option], ids=lambda about: about.key)
def test_an_option_sets_its_setting(chosen, tmp_path, about):
    if about.key == "train.start_from":
        (tmp_path / "runs" / "other").mkdir(parents=True)
        (tmp_path / "runs" / "other" / "config.json").write_text("{}")
        given, meant = "other", str((tmp_path / "runs" / "other").resolve())
    else:
        meant = {"data.name": "cifar10", "backbone.name": "resnet18", "head.vectors": "simplex", "recipe": "fair"}.get(
            about.key, {bool: True, int: 7, float: 2.5, str: "4"}[about.kind]
        )
        meant = "streaming" if about.key == "head.normaliser" else about.choices[-1] if about.choices else meant
        given = str(meant)
    words = [about.option.names()[0]] if about.kind is bool else [about.option.flags, given]
    assert parse.flatten(chosen(*words))[about.key] == meant


def test_options_win_over_a_file_and_set_over_options(chosen, tmp_path):
    (tmp_path / "run.toml").write_text("[train]\nepochs = 3\nseed = 4\n[head]\nscale = 2\n")
    words = ("--config", "run.toml", "--epochs", "5", "--seed", "6", "--set", "train.seed=7")
    found = chosen(*words)
    assert (found.train.epochs, found.train.seed, found.head.scale) == (5, 7, 2.0)


def test_fixed_undoes_a_file(chosen, tmp_path):
    (tmp_path / "run.toml").write_text("head.trainable = true\n")
    assert chosen("--config", "run.toml").head.trainable
    assert not chosen("--config", "run.toml", "--fixed").head.trainable


def test_the_command_makes_the_configuration_that_the_library_makes(chosen):
    given = {"recipe": "paper", "head.scoring": "cosine", "train.epochs": "9"}
    assert chosen("--recipe", "paper", "--scoring", "cosine", "--epochs", "9") == configure(given)


def test_the_config_of_a_run_repeats_it_under_its_name(chosen, tmp_path):
    words = ("--recipe", "fair", "--learned", "--epochs", "5", "--set", "optim.lr=0.3", "--device", "cpu")
    first = chosen(*words)
    content = json.loads(json.dumps(parse.nest(first)))
    del content["optim"]["warmup"]  # a run of 0.1.0 has no such setting
    (tmp_path / "config.json").write_text(json.dumps({"config": content, "resolved": {}, "versions": {}}))
    again = chosen("--config", "config.json")
    assert again == first
    assert default_name(again) == default_name(first)
    assert chosen("--config", "config.json", "--epochs", "6", "--fixed").optim == first.optim
    with pytest.raises(AssertionError):  # the recipe would set nothing
        chosen("--config", "config.json", "--recipe", "paper")
    (tmp_path / "flat.json").write_text('{"train": {"epochs": 3}, "optim.lr": 0.2}')
    assert (chosen("--config", "flat.json").train.epochs, chosen("--config", "flat.json").optim.lr) == (3, 0.2)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.json", "{", "a.json: not a JSON file"),
        ("a.json", "[1]", "a.json: not a file of settings"),
        ("a.json", '{"config": {"optim": {"rate": 1}}}', "unknown setting 'optim.rate'"),
        ("a.toml", "[", "a.toml: not a TOML file"),
        ("runs/x/config.json", "{}", "give runs/x/config.json"),
    ],
)
def test_a_file_that_has_no_settings_is_refused(tmp_path, monkeypatch, name, content, words):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    with pytest.raises(UsageError) as caught:
        parse.read_file(Path(name).parent if "x" in path.parts else Path(name))
    assert words in f"{caught.value.message} {caught.value.hint}"


# What users of timm, torchvision's references, Lightning, Hugging Face and Ultralytics type
MISSES = {
    "--lr 0.1": "--set optim.lr=0.1",
    "--lr=0.1": "--set optim.lr=0.1",
    "-lr 0.1": "--set optim.lr=0.1",
    "--learning-rate 1e-3": "--set optim.lr=1e-3",
    "--optim.lr 0.2": "--set optim.lr=0.2",
    "lr=0.1": "--set optim.lr=0.1",
    "--trainer.max_epochs 3": "--epochs 3",
    "--num_train_epochs 3": "--epochs 3",
    "-b 32 -j 4": "--batch-size 32 --set machine.workers=4",
    "--batch 32 --imgsz 64": "--batch-size 32 --set data.image_size=64",
    "--wd 1e-4 --smoothing 0.1": "--set optim.weight_decay=1e-4 --set optim.label_smoothing=0.1",
    "--opt adam": "--set optim.name=... (sgd | adamw)",
    "--opt adamw": "--set optim.name=adamw",
    "--warmup-epochs 5": "--set optim.warmup=... (a share of the training)",
    "--arch resnet18": "--backbone resnet18",
    "--batch_size 8": "--batch-size 8",
    "--Seed 3": "--seed 3",
    "--gpu": "--device ... (auto | cpu | cuda)",
    "--weights": "--pretrained",
    "--output-dir results": "--out results",
    "--resume-from other": "--from other",
    "--exist-ok": "--fresh",
    "photos": "--data photos",
    "'my photos'": "--data 'my photos'",
}


@pytest.mark.parametrize("words", MISSES)
def test_an_option_of_other_software_is_refused_with_ours(words):
    with pytest.raises(UsageError, match=r"^randhead train takes no (option|argument) ") as caught:
        near_misses.refuse(shlex.split(words), PARAMETERS.values())
    assert caught.value.hint == f"use {MISSES[words]}"


def test_every_synonym_is_one_of_a_setting_or_an_option_and_of_nothing_that_exists():
    assert set(near_misses.SYNONYMS) <= {*settings(), *PARAMETERS}
    assert not {f"--{word}" for word in near_misses.MEANT} & set(PARAMETERS)


def test_a_word_that_is_like_nothing_is_refused_with_where_to_look(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["randhead", "train", "--qqq", "--lr", "0.1", "--epochs", "1"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert capsys.readouterr().err == (
        "error: randhead train takes no option --qqq and no option --lr\n  use --set optim.lr=0.1\n"
    )
    with pytest.raises(UsageError) as caught:
        near_misses.refuse(["--qqq"], PARAMETERS.values())
    assert "randhead settings" in caught.value.hint


@pytest.mark.parametrize(
    ("environment", "refused"),
    [
        ({}, False),
        ({"SLURM_NTASKS": "4", "SLURM_PROCID": "1"}, False),
        ({"WORLD_SIZE": "1", "LOCAL_RANK": "0", "RANK": "0"}, False),
        ({"WORLD_SIZE": "2", "LOCAL_RANK": "0"}, True),
        ({"WORLD_SIZE": "8"}, True),
        ({"LOCAL_RANK": "0"}, True),
        ({"OMPI_COMM_WORLD_SIZE": "2"}, True),
        ({"WORLD_SIZE": "", "LOCAL_RANK": ""}, False),
    ],
)
def test_one_of_several_processes_of_a_launcher_is_refused(environment, refused):
    if refused:
        with pytest.raises(UsageError, match="processes of a launcher such as torchrun"):
            train.refuse_launcher(environment)
    else:
        train.refuse_launcher(environment)


@pytest.mark.parametrize("command", ["train", "settings", "evaluate", "corrupt-test", "analyze", "predict", "doctor"])
def test_help_has_no_types_of_python(monkeypatch, capsys, command):
    monkeypatch.setattr(sys, "argv", ["randhead", command, "--help"])
    with pytest.raises(SystemExit):
        cli.main()
    out = capsys.readouterr().out
    assert f"Usage: randhead {command}" in out and not re.search(r"<\w+(\[\w+\])?>", out)


def test_settings_can_be_searched_and_fit_80_columns(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    for words, some in (
        ((), "optim.warmup"),
        (("epochs",), "train.epochs"),
        (("optim",), "optim.lr"),
        (("cache",), "machine.decoded_cache_mb"),
    ):
        monkeypatch.setattr(sys, "argv", ["randhead", "settings", *words])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out = capsys.readouterr().out
        assert not ended.value.code and some in out
        assert max(map(len, out.splitlines())) <= 80
        assert ("head.scoring" in out) == (not words)


@pytest.mark.parametrize("command", [("train", "--settings"), ("settings",)])
def test_the_list_of_settings_has_them_all_in_words_and_in_json(monkeypatch, capsys, command):
    printed = []
    for words in ((), ("--json",)):
        monkeypatch.setattr(sys, "argv", ["randhead", *command, *words])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert not ended.value.code
        printed.append(capsys.readouterr().out)
    lines = {line.split()[0]: line for line in printed[0].splitlines() if line[0] != " "}
    assert list(lines) == list(settings())
    for key, about in settings().items():  # hidden options too, which no other list shows
        assert lines[key].endswith(f"  {about.option.flags}" if about.option else ")")
    assert {key: about["default"] for key, about in json.loads(printed[1]).items()} == parse.flatten(Config())


@pytest.mark.parametrize(
    ("hint", "typed"),
    [
        ('use `class_keys="name"` and the same `vectors`', "use --class-keys name and the same --vectors"),
        ("give another `head_seed` or `seed=3`", "give another --head-seed or --seed 3"),
        ("start over with `fresh=True`", "start over with --fresh"),
        ("`fresh=False`", "--resume"),
        ("`trainable=True` or `trainable=False`", "--learned or --fixed"),
        ("`trainable`", "--learned"),
        ("without `pretrained`", "without --pretrained"),
        ("`pretrained=False`", "no --pretrained"),
        ("`optim.lr=0.05`", "--set optim.lr=0.05"),
        ("`optim.lr=...`", "--set optim.lr=..."),
        ("a lower `optim.lr`, `clip_norm=1`", "a lower --set optim.lr=..., --set optim.clip_norm=1"),
        ('`head.neck="linear"`', "--neck linear"),
        ("`data='my photos'` or `backbone=...`", "--data 'my photos' or --backbone ..."),
        ('`split="test"` of the run, `reference=RUN`', "--split test of the run, --reference RUN"),
        ("another `root`, see `randhead list`", "another --out, see randhead list"),
        ("`torch.hub.get_dir()` and `my_function`", "torch.hub.get_dir() and my_function"),
        ("nothing to change", "nothing to change"),
    ],
)
def test_python_arguments_in_a_hint_become_options(hint, typed):
    assert as_options(hint) == typed


@pytest.mark.parametrize(
    ("message", "words", "shown"),
    [
        ("head.scale must be 1, got -1", ["--scale", "-1"], "--scale must be 1, got -1"),
        ("head.scale must be 1, got -1", ["--scale=-1"], "--scale must be 1, got -1"),
        ("head.scale must be 1, got -1", ["--set", "head.scale=-1"], "head.scale must be 1, got -1"),
        ("head.scale must be 1, got -1", ["--scale", "2", "--set", "head.scale=-1"], "head.scale must be 1, got -1"),
        ("train.epochs: 3 there, 5 here", ["--epochs", "5"], "--epochs: 3 there, 5 here"),
        ("head.trainable must be text", ["--fixed"], "--fixed must be text"),
        ("data.name: no; file a/data.name, 'data.name'", ["--data", "x"], "--data: no; file a/data.name, 'data.name'"),
        ("unknown recipe 'papr'", ["--recipe", "papr"], "unknown recipe 'papr'"),
    ],
)
def test_a_message_names_the_option_that_was_typed(message, words, shown):
    assert with_typed_options(message, words) == shown


def test_the_user_sees_the_option(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    for words, hint in ((("--set", "optim.lr=fast"), "--set optim.lr=..."), (("--epochs", "0"), "--epochs ...")):
        monkeypatch.setattr(sys, "argv", ["randhead", "train", *words])
        with pytest.raises(SystemExit):
            cli.main()
        assert capsys.readouterr().err.splitlines()[-1] == f"  give another value: {hint}"
    monkeypatch.setattr(sys, "argv", ["randhead", "train", "--epochs", "0"])
    with pytest.raises(SystemExit):
        cli.main()
    assert capsys.readouterr().err.startswith("error: --epochs must be from 1 to 100000")


def test_others_check_a_value_as_the_configuration_does():
    check_value("head.scoring", "cosine")
    check_value("head.scale", None)
    with pytest.raises(UsageError, match=r"^scoring: unknown value 'dots'") as caught:
        check_value("head.scoring", "dots", "scoring")
    assert "did you mean 'dot'" in caught.value.hint
    with pytest.raises(UsageError, match=r"^head.scale must be a positive number, got -1"):
        check_value("head.scale", -1)


def test_a_setting_of_the_head_is_an_argument_of_the_head_with_the_same_default():
    """So a new option of the head is one field of the configuration and one argument of the head."""
    arguments = inspect.signature(ClassVectorHead).parameters
    for item in dataclasses.fields(HeadConfig):
        if item.name != "class_keys":  # the names of the classes, or None
            assert arguments[item.name].default == item.default, item.name


@pytest.mark.parametrize(
    "wrong",
    [
        {"scoring": "dots"},
        {"scale": 0.0},
        {"scale": math.inf},
        {"bias": math.nan},
        {"neck": "batch"},
        {"normaliser_tolerance": -1.0},
        {"seed": -1},
    ],
    ids=str,
)
def test_the_head_refuses_what_the_configuration_refuses(wrong):
    with pytest.raises(UsageError, match=f"^{next(iter(wrong))}"):
        ClassVectorHead(10, 16, **wrong)


def test_a_warning_names_options_too(capsys):
    Output(as_json=False).warn('features are never negative: try `neck="linear"`')
    assert capsys.readouterr().err == "warning: features are never negative: try --neck linear\n"
