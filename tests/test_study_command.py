"""randhead study as a person or a scheduler uses it: options, messages, one command per run, merged results."""

import json
import re
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
import tiny
import torch
from typer.main import get_command

from randhead import cli
from randhead.cli.output import Output
from randhead.cli.study_display import StudyDisplay
from randhead.cli.study_running import _jobs
from randhead.study import metrics
from randhead.study.arms import named
from randhead.study.claims import parse
from randhead.study.design import Study
from randhead.study.events import RunDone, RunStarted
from randhead.study.plan import names, reported_runs
from randhead.study.records import RunRecord
from randhead.study.result import StudyResult

USAGE, DATA, RUN = 2, 3, 4
ARMS = ("dot-fixed", "dot-learned")
CLAIM = "dot-fixed > dot-learned on accuracy"


@pytest.fixture
def call(request, tmp_path, monkeypatch, capsys, no_pictures):
    """Run `randhead study` in an empty folder: (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    if not request.node.get_closest_marker("slow"):
        monkeypatch.setattr("randhead.study.running.run", lambda *args, **options: pytest.fail("a study was trained"))
        monkeypatch.setattr("randhead.report.study.write", lambda results, folder, warn: [])  # drawing takes seconds

    def run(*words):
        return tiny.main("study", *words), *capsys.readouterr()

    return run


# What is typed wrongly

REFUSED = [
    (("--arm", "sharp head.scale=64"), USAGE, "has no settings", '"sharp: head.scoring=cosine head.scale=64"'),
    (("--arm", "sharp: head.scal=64"), USAGE, "unknown setting 'head.scal'", "did you mean 'head.scale'"),
    (("--arm", "two: train.seed=1"), USAGE, "sets train.seed", "--seeds 5"),
    (
        ("--arm", "cosine-learned: head.scale=64"),
        USAGE,
        "has head.scoring=dot, and its name says cosine",
        "another name",
    ),
    (("--arm", "dot-learned-8: head.scale=8"), USAGE, "has head.trainable=false", "add head.trainable=true"),
    (("--arms", "dot-fixed"), USAGE, "two arms or more", "for example --arms dot-fixed,dot-learned"),
    (("--arms", "dot-fixd,dot-learned"), USAGE, "unknown arm 'dot-fixd'", "did you mean 'dot-fixed'"),
    (("--arms", "dot-fixed-simplx,dot-learned"), USAGE, "unknown geometry of class vectors 'simplx'", "simplex"),
    (("--control", "dot-lerned"), USAGE, "unknown control arm", "did you mean 'dot-learned'"),
    (("--seeds", "0"), USAGE, "seeds", ""),
    (("--seeds", "1,1"), USAGE, "the seed 1 twice", "every seed once"),
    (("--seeds", "many"), USAGE, "seeds must be seeds, got 'many'", "a number of seeds"),
    (("--head-seeds", "x"), USAGE, "head_seeds must be seeds", ""),
    (("--tune", "optim.lr"), USAGE, "has no value", ""),
    (("--tune", "optim.lr="), USAGE, "optim.lr has no values", "for example optim.lr=0.01,0.03"),
    (("--tune", "optim.lr=1", "--tune", "optim.lr=2"), USAGE, "optim.lr is given twice", "all values at once"),
    (("--tune", "optim.lrr=1,2"), USAGE, "unknown setting 'optim.lrr'", "optim.lr"),
    (("--claim", "fixed is better"), USAGE, "cannot read the claim", "on accuracy"),
    (("--claim", "dot-fixed > dot-lerned on accuracy"), USAGE, "unknown arm", "dot-learned"),
    (("--claim", "dot-fixed > dot-learned on speed"), USAGE, "unknown metric", "accuracy"),
    (("--claim", "dot-fixed > dot-learned on corruption_accuracy"), USAGE, "corruption_accuracy", "--corruptions"),
    (("--corruption-limit", "10"), USAGE, "corruption_limit", "--corruptions"),
    (("--epochs", "0"), USAGE, "must be from 1", ""),
    (("--set", "optim.lr"), USAGE, "has no value", ""),
    (("--data", "nowhere"), USAGE, "unknown dataset 'nowhere'", ""),
    (("--device", "tpu"), USAGE, "--device: unknown value 'tpu'", ""),
    (("--name", "a/b"), USAGE, "a study cannot be named 'a/b'", ""),
    (("cifar10",), USAGE, "cifar10 is a dataset, not a study", "--data cifar10"),
    (("nothing",), USAGE, "there is no study nothing", "a TOML file"),
    (("folder",), RUN, "is not the folder of a study", "study.json"),
    (("bad.toml",), USAGE, "bad.toml: unknown entry of a study 'sedes'", "seeds"),
    (("one.toml", "two.toml"), USAGE, "one study at a time", "--merge"),
    (("--qqqqq", "3"), USAGE, "randhead study takes no option --qqqqq", "all options: randhead study --help"),
    (("--merge",), USAGE, "--merge needs the files", "randhead study --merge"),
    (("--merge", "--seeds", "3", "a.json"), USAGE, "--merge takes no --seeds", ""),
    (("--merge", "nothing.json"), RUN, "nothing.json", ""),
]


@pytest.mark.parametrize(
    ("words", "code", "message", "hint"),
    REFUSED,
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_a_mistake_is_named_before_anything_is_made(call, tmp_path, words, code, message, hint):
    (tmp_path / "folder").mkdir()
    (tmp_path / "bad.toml").write_text("sedes = 3\n")
    before = tiny.tree(tmp_path)
    found, out, err = call(*words)
    assert found == code, err
    assert message in err.splitlines()[0]
    assert hint in err
    assert "Traceback" not in err and not out
    assert tiny.tree(tmp_path) == before


MISSES = {
    "--lr 0.1": "--set optim.lr=0.1",
    "--batch-size 64": "--set train.batch_size=64",
    "--backbone resnet9": "--set backbone.name=resnet9",
    "--recipe fast": "--set recipe=fast",
    "--seed 3": "--seeds 3",
    "--baseline dot-learned": "--control dot-learned",
    "--workers 4": "--jobs 4",
    "--grid optim.lr=0.1,0.2": "--tune optim.lr=0.1,0.2",
    "--learned": "--arms ... or --arm 'NAME: KEY=VALUE ...'",
    "--scoring cosine": "--arms ... or --arm 'NAME: KEY=VALUE ...'",
    "--robustness": "--corruptions",
    "--epoch 3": "--epochs 3",
}


@pytest.mark.parametrize("typed", MISSES)
def test_an_option_of_train_or_of_other_software_is_refused_with_what_to_type(call, typed):
    code, _, err = call(*typed.split())
    assert code == USAGE
    first, hint = err.splitlines()
    assert first == f"error: randhead study takes no option {typed.split()[0]}"
    assert hint == f"  use {MISSES[typed]}"


@pytest.mark.parametrize(("typed", "used"), [("auto", "cuda"), ("cpu", "cpu")])
def test_the_number_of_jobs_suits_the_device_of_the_design_unless_another_is_typed(monkeypatch, typed, used):
    asked = []
    monkeypatch.setattr("randhead.device.resolve_device", lambda name: asked.append(name) or torch.device(name))
    jobs = _jobs(Study("a", settings={"machine.device": "cuda"}, threads=256), typed)
    assert asked == [used] and jobs == 1


def test_help_shows_about_twenty_options():
    shown = [item for item in get_command(cli.app).commands["study"].params if not item.hidden]
    assert len(shown) <= 25


# One command per run


def test_print_commands_prints_one_line_per_run_that_the_command_accepts(call):
    words = ("--arms", "dot-fixed,dot-learned", "--seeds", "2", "--tune", "optim.lr=0.1,0.2", "--out", "my studies")
    code, out, err = call(*words, "--print-commands")
    assert code == 0, err
    lines = [shlex.split(line) for line in out.splitlines()]
    assert {tuple(line[:-1]) for line in lines} == {("randhead", "study", "my studies/digits", "--only")}
    design = Study.from_json(json.loads(Path("my studies/digits/study.json").read_text()))
    assert [line[-1] for line in lines] == names(design)
    assert [name for name in names(design) if not name.startswith("tune-")] == [
        f"{arm}-seed{seed}" for seed in (0, 1) for arm in ARMS
    ]
    assert len(set(names(design))) == 8
    assert json.loads(call(*words, "--print-commands", "--json")[1]) == {"commands": out.splitlines()}


def test_a_study_is_extended_from_inside_its_folder(call, monkeypatch):
    assert call("--seeds", "1", "--print-commands")[0] == 0
    monkeypatch.chdir("studies/digits")
    assert call(".", "--seeds", "2", "--print-commands")[0] == 0
    assert [path.name for path in Path().iterdir()] == ["study.json"]
    assert json.loads(Path("study.json").read_text())["seeds"] == [0, 1]


def test_a_run_that_is_not_of_the_study_is_refused(call):
    code, _, err = call("--seeds", "1", "--only", "dot-fixed-seed1")
    assert code == USAGE
    assert "unknown run of this study 'dot-fixed-seed1'" in err and "did you mean 'dot-fixed-seed0'" in err


@pytest.mark.slow
def test_a_single_run_of_a_tuned_arm_does_the_sweep_of_that_arm_first(call, tmp_path):
    tiny.image_folder(tmp_path / "images")
    words = ("--data", "images", "--arms", ",".join(ARMS), "--seeds", "2", "--epochs", "1", "--device", "cpu")
    code, out, err = call(*words, "--tune", "optim.lr=0.05,0.1", "--only", "dot-fixed-seed1", "--json")
    assert code == 0, err
    made = sorted(
        path.name.rpartition("-")[0] for path in (tmp_path / "studies" / "images" / "runs").iterdir() if path.is_dir()
    )
    assert made == ["dot-fixed-seed1", "tune-dot-fixed-seed1000000", "tune-dot-fixed-seed1000000"]
    assert json.loads(out) == {"study": "images", "path": "studies/images", "done": 3, "planned": 8}


# The display


def test_a_line_per_finished_run_says_its_result_and_the_time_left(capsys):
    seconds = iter([0.0, 5.0, 45.0, 46.0, 85.0])
    display = StudyDisplay(Output(as_json=False), 2, clock=lambda: next(seconds))
    first, second, third = (
        RunRecord(f"a-seed{seed}-0a1b2c", "a", 0, seed, seconds=30.0 * (seed + 1)) for seed in range(3)
    )
    display.event(RunStarted(next(reported_runs(Study("b", seeds=(0,)), {})), 0, 5))
    display.event(RunDone(replace(first, metrics={"accuracy": 0.978}), 1, 5))
    display.event(RunDone(replace(second, diverged="the loss is nan"), 2, 5))
    display.event(RunDone(replace(third, tuning=True, tuned={"optim.lr": 0.1}, val={"accuracy": 0.5}), 3, 5))
    assert capsys.readouterr().err.splitlines() == [
        "[1/5] a seed 0: accuracy 97.80 %, 30 s; 4 runs left, about 1 min",  # two rounds of 40 s
        "[2/5] a head seed 0 seed 1: diverged (the loss is nan), 1 min; 3 runs left, about 1 min",
        "[3/5] tuning a, optim.lr=0.1: val accuracy 50.00 %, 2 min; 2 runs left, about 40 s",
    ]


def test_a_warning_that_differs_only_in_numbers_is_shown_once(capsys):
    display = StudyDisplay(Output(as_json=False))
    for text in ("0.70 at most", "0.68 at most", "something else"):
        display.warn(text)
    assert capsys.readouterr().err.splitlines() == ["warning: 0.70 at most", "warning: something else"]


def test_a_warning_that_differs_only_in_its_arm_is_shown_once(capsys):
    display = StudyDisplay(Output(as_json=False))
    for text in ("first in arm a: 2 images are alike", "first in arm b: 2 images are alike", "first in arm b: cold"):
        display.warn(text)
    said = ["warning: first in arm a: 2 images are alike", "warning: first in arm b: cold"]
    assert capsys.readouterr().err.splitlines() == said


# Results


def result(name, seeds, *, lead=0.02):
    """A result of made-up numbers: dot-fixed is better by `lead`, more or less."""
    design = Study(name, tuple(map(named, ARMS)), seeds=seeds, claims=(parse(CLAIM, published="+1.2"),))
    records = [
        RunRecord(
            run=f"{arm}-seed{seed}-0a1b2c",
            arm=arm,
            head_seed=seed,
            seed=seed,
            metrics={
                "accuracy": 0.9 + 0.001 * (7 * seed % 5) + (arm == "dot-fixed") * (lead + 0.0007 * (seed % 3)),
                "nll": 0.3,
            },
            curves={"val_accuracy": (0.5, 0.9), "train_loss": (1.0, 0.5)},
            counts={"train": 80, "val": 10, "test": 10, "classes": 10},
            images="f00d",
            weights_sha256="0a",
        )
        for seed in seeds
        for arm in ARMS
    ]
    return StudyResult(design, tuple(records))


@pytest.fixture
def parts(tmp_path):
    """Two parts of a study, and another study."""
    for folder, made in (
        ("a", result("one", (0, 1))),
        ("b", result("one", (2, 3))),
        ("c", result("two", (0, 1, 2), lead=-0.02)),
    ):
        (tmp_path / folder).mkdir()
        made.save(tmp_path / folder)
    return tmp_path


def test_merge_makes_one_study_of_its_parts_and_keeps_others_apart(call, parts):
    code, out, err = call("--merge", "a", "b/result.json", "c", "--out", "all", "--json")
    assert code == 0, err
    first, second = json.loads(out)["studies"]
    assert first == result("one", (0, 1, 2, 3)).to_json()
    assert second == result("two", (0, 1, 2), lead=-0.02).to_json()
    assert json.loads((parts / "all" / "result.json").read_text()) == json.loads(out)


def test_the_verdict_is_the_first_line_of_the_tables(call, parts, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    code, out, err = call("--merge", "a", "b", "--out", "all")
    assert code == 0, err
    title, _, row = out.splitlines()[:3]
    assert "claims" in title
    assert re.match(rf"{CLAIM}\s+holds\s+\+2\.\d+ \[.*\] points\s+4\s+\+1.2", row), row


def test_explain_says_what_every_metric_statistic_and_verdict_means(call):
    code, out, _ = call("--explain")
    assert code == 0
    assert all(key in out for key in metrics.METRICS)
    assert all(
        word in out for word in ("95 % interval", "Holm", "sign", "pairs", "holds", "does not hold", "undecided")
    )
    document = json.loads(call("--explain", "--json")[1])
    assert set(document) == {"metrics", "statistics", "verdicts"}


def test_list_names_the_runs_of_studies(call, capsys):
    assert call("--name", "one", "--print-commands")[0] == 0
    assert tiny.main("list") == 0
    assert capsys.readouterr().err == "no runs in runs; those of a study: randhead list --runs studies/one/runs\n"
    assert call("--name", "two", "--print-commands")[0] == 0
    assert tiny.main("list") == 0
    assert capsys.readouterr().err.replace("\n", " ").endswith("studies/one/runs (and of two) ")


# A whole study


@pytest.mark.slow
def test_two_workers_train_a_study_and_the_same_command_shows_it_again(call, tmp_path):
    tiny.image_folder(tmp_path / "images")
    words = ("--data", "images", "--arms", ",".join(ARMS), "--seeds", "2", "--epochs", "1", "--claim", CLAIM)
    code, out, err = call(*words, "--jobs", "2", "--device", "cpu", "--json")
    assert code == 0, err
    document = json.loads(out)
    assert (document["done"], document["planned"]) == (4, 4)
    lines = [line for line in err.splitlines() if re.match(r"\[\d/4\] ", line)]
    assert [line[:5] for line in lines] == ["[1/4]", "[2/4]", "[3/4]", "[4/4]"]
    assert re.fullmatch(
        r"\[1/4\] dot-(fixed|learned) seed [01]: accuracy [\d.]+ %, .+; 3 runs left, about .+", lines[0]
    )
    code, again, err = call("studies/images", "--json")
    assert code == 0, err
    assert json.loads(again) == document
    assert "[1/4]" not in err  # nothing was trained
    code, merged, err = call("--merge", "studies/images", "--out", "all", "--json")
    assert code == 0, err
    assert {**json.loads(merged), "path": document["path"]} == document
    for folder in ("studies/images", "all"):
        files = {path.name for path in (tmp_path / folder).iterdir()}
        assert files >= {"report.html", "result.csv", "runs.csv", "result.json", "result.md", "result.tex"}
