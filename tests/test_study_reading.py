"""A study from a TOML file and from options: one study however it is written, errors that name file and key."""

import dataclasses
import json

import pytest

from randhead.errors import RandheadError, UsageError
from randhead.study import reading
from randhead.study.arms import StudyArm, named
from randhead.study.claims import parse
from randhead.study.design import Study
from randhead.study.options import designed

FILE = """
title = '''
A title
of two lines'''
seeds = [3, 4]
head_seeds = 2
arms = ["sharp", "dot-learned"]
control = "dot-learned"
corruptions = true
severities = [1, 5]
corruption_limit = 100
cost = "an hour"

[settings]
data.name = "digits"
data.hold_out_classes = 3
train = {epochs = 2, batch_size = "32"}

[arm.sharp]
head.scale = 64

[arm.other.head]
trainable = true
vectors = "simplex"

[tune]
optim.lr = [0.1, "0.2"]

[[claims]]
claim = "sharp > dot-learned on accuracy"
published = "+1"
source = "a paper"
"""
STUDY = Study(
    "mine",
    arms=(
        StudyArm("sharp", {"head.scale": 64}),
        named("dot-learned"),
        StudyArm("other", {"head.trainable": True, "head.vectors": "simplex"}),
    ),
    settings={"data.name": "digits", "data.hold_out_classes": "3", "train.epochs": 2, "train.batch_size": 32},
    seeds=(3, 4),
    head_seeds=(0, 1),
    control="dot-learned",
    tune={"optim.lr": (0.1, 0.2)},
    corruptions=True,
    severities=(1, 5),
    corruption_limit=100,
    claims=(parse("sharp > dot-learned on accuracy", published="+1", source="a paper"),),
    title="A title of two lines",
    cost="an hour",
)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(FILE)
    return path


def test_a_file_is_the_study_that_it_describes(file):
    assert reading.read(file) == STUDY


def test_the_design_in_the_folder_of_a_study_is_read_too(tmp_path):
    path = tmp_path / "study.json"
    path.write_text(json.dumps(STUDY.to_json()))
    assert reading.read(path) == STUDY
    path.write_text("{}")
    with pytest.raises(UsageError, match=r"study\.json: not the design of a study"):
        reading.read(path)


def test_a_file_says_only_what_differs_from_the_default(tmp_path):
    (tmp_path / "short.toml").write_text("")
    assert reading.read(tmp_path / "short.toml") == Study("short")


def test_a_file_may_begin_as_editors_of_windows_begin_it(tmp_path):
    (tmp_path / "mine.toml").write_bytes(b"\xef\xbb\xbf" + FILE.replace("\n", "\r\n").encode())
    assert reading.read(tmp_path / "mine.toml") == STUDY


WRONG = {
    'titel = "x"': ("unknown entry of a study 'titel'", "did you mean 'title'"),
    "seeds = 0": ("seeds must be at least 1", ""),
    "seeds = [1, 1]": ("seeds has the seed 1 twice", ""),
    'seeds = "5"': ("seeds must be a number of seeds, or a list of seeds", ""),
    'arms = ["dot-fixd", "dot-learned"]': ("unknown arm 'dot-fixd'", "did you mean 'dot-fixed'"),
    'arms = "dot-fixed"': ("arms must be a list of texts", ""),
    "[arm]\nfast = 3": ("arm must be a table of tables of values", ""),
    "[arm.fast]\nhead.scal = 3": ("arm fast: unknown setting 'head.scal'", "did you mean 'head.scale'"),
    "[settings]\ntrain.seed = 3": ("study x sets train.seed", "seeds"),
    "[settings]\nepochs = 3": ("study x: unknown setting 'epochs'", "did you mean 'train.epochs'"),
    "[tune]\noptim.lr = [0.1, -1]": ("tune: optim.lr must be a positive number", ""),
    '[settings]\noptim.lr = 1\n"optim.lr" = 2': ("optim.lr is there twice", ""),
    "severities = [1]": ("severities without corruptions", "corruptions = true"),
    '[[claims]]\nclaim = "a > b"': ("claim 1: cannot read the claim", ""),
    '[[claims]]\nclam = "dot-fixed > dot-learned on accuracy"': ("claim 1: unknown entry", "did you mean 'claim'"),
    "[[claims]]\nclaim = 3": ("claim 1: a claim: claim must be text", ""),
    'needs = "a long-tailed set"': ("it cannot be run yet: it needs a long-tailed set", ""),
    "a = ": ("not a TOML file", ""),
    "corruptions = 1": ("corruptions must be true or false", ""),
    'control = "nobody"': ("unknown control arm 'nobody'", ""),
}


@pytest.mark.parametrize("text", WRONG)
def test_an_error_names_the_file_and_the_key(text, tmp_path):
    path = tmp_path / "x.toml"
    path.write_text(text)
    message, hint = WRONG[text]
    with pytest.raises(UsageError) as caught:
        reading.read(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value) and hint in (caught.value.hint or "")


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(UsageError, match="No such file"):
        reading.read(tmp_path / "no.toml")


def test_without_options_a_study_is_that_of_its_file(file):
    assert designed(reading.read(file)) == STUDY
    assert designed() == Study("digits")


def test_options_have_precedence_over_the_file(file):
    base = reading.read(file)
    changed = designed(
        base,
        name="small",
        arms="sharp,dot-fixed",
        arm=["mine: head.scale=2 head.bias=0.5"],
        seeds="7-8",
        head_seeds=[9],
        set=["train.epochs=1"],
        tune=["optim.lr=0.3,0.4"],
        claim=["sharp >= mine on accuracy within 1"],
        corruptions=False,
        hold_out_classes=2,
        threads=2,
    )
    mine = StudyArm("mine", {"head.scale": 2, "head.bias": 0.5})
    assert changed == dataclasses.replace(
        STUDY,
        name="small",
        arms=(STUDY.arm("sharp"), named("dot-fixed"), mine),
        control="sharp",  # that of the file is left out
        seeds=(7, 8),
        head_seeds=(9,),
        settings={**STUDY.settings, "train.epochs": 1, "data.hold_out_classes": "2"},
        tune={"optim.lr": (0.3, 0.4)},
        claims=(parse("sharp >= mine on accuracy within 1"),),  # that of the file is about an arm that is left out
        corruptions=False,
        threads=2,
        cost="",  # was that of the file
    )


def test_an_arm_as_text_replaces_one_of_its_name():
    assert designed(arm=["dot-fixed: head.scale=3"]).arm("dot-fixed") == StudyArm("dot-fixed", {"head.scale": 3})
    assert [arm.name for arm in designed(arm=["a: head.scale=3"]).arms][-2:] == ["cosine-learned", "a"]


def test_the_values_of_an_arm_may_have_spaces():
    assert designed(arm=['a: head.vectors="file:my vectors.npy"']).arm("a").settings == {
        "head.vectors": "file:my vectors.npy"
    }


def test_the_arms_of_the_file_are_among_those_that_are_suggested(file):
    with pytest.raises(UsageError) as caught:
        designed(reading.read(file), arms="shrap,dot-learned")
    assert caught.value.hint.startswith("did you mean 'sharp'? known: sharp, dot-learned, other, dot-fixed, ")


def test_a_folder_of_images_is_absolute_and_names_the_study(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my-images").mkdir()
    study = designed(data="./my-images")
    assert study.name == "my-images" and study.settings["data.name"] == str(tmp_path / "my-images")
    elsewhere = dataclasses.replace(study, settings={"data.name": "/elsewhere/my-images"})
    assert study.identity() == elsewhere.identity()


def test_the_default_has_what_suits_digits_and_settings_have_precedence():
    assert Study("a").common["train.epochs"] == 20
    assert Study("a", settings={"train.epochs": 3}).common["train.epochs"] == 3
    assert Study("a", settings={"data.name": "cifar10"}).common == {"recipe": "fair", "data.name": "cifar10"}
    assert Study("a", settings={"recipe": "paper"}).common == {"recipe": "paper"}


TYPED = {
    "no values": ({"tune": ["optim.lr"]}, "has no value\n  write for example `tune='optim.lr=0.01,0.03,0.1'`"),
    "a setting without a value": ({"arm": ["a: head.scale"]}, 'has no value\n  write for example "sharp: '),
    "an arm of the default": (
        {"arm": ["a: head.trainable=true"]},
        "arms dot-learned and a have the same settings\n  name those to compare, `arms='A,B'`",
    ),
    "an empty list": ({"tune": ["optim.lr=,"]}, "optim.lr has no values"),
    "seeds": ({"seeds": "9-5"}, "seeds must be seeds, got '9-5'"),
    "words for seeds": ({"head_seeds": "five"}, "head_seeds must be seeds"),
    "an arm without settings": ({"arm": ["sharp"]}, "has no settings"),
    "an arm twice": ({"arm": ["a: head.scale=1", "a: head.scale=2"]}, "two arms have the same name"),
    "a setting twice": ({"arm": ["a: head.scale=1 head.scale=2"]}, "has a setting twice"),
    "an open quote": ({"arm": ["a: head.vectors='x"]}, "a quotation mark is not closed"),
    "the same training": ({"arm": ["a: head.scale=1", "b: head.scale=1.0"]}, "arms a and b have the same settings"),
    "a member": ({"arm": ["a: head.vectors=simplx"]}, "arm a: unknown geometry of class vectors 'simplx'"),
    "data": ({"data": "cifar11"}, "unknown dataset 'cifar11'"),
    "a claim on what is not measured": ({"claim": ["dot-fixed > dot-learned on transfer"]}, "transfer is not measured"),
}


@pytest.mark.parametrize("name", TYPED)
def test_options_that_cannot_be_used_are_refused(name):
    given, message = TYPED[name]
    with pytest.raises(RandheadError) as caught:
        designed(**given)
    assert message in f"{caught.value}\n  {caught.value.hint}"
