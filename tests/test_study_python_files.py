"""Studies of the user's own Python files: they are named again to every process that goes on with the study."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from test_outside_members import DATASET, GEOMETRY

from randhead import registry
from randhead.cli import study_running
from randhead.study import arms, python_files
from randhead.study.arms import StudyArm
from randhead.study.design import Study
from randhead.study.folder import StudyFolder
from randhead.study.options import designed


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(registry, "_registered", {family: {} for family in registry.FAMILIES})
    (tmp_path / "stripes.py").write_text(DATASET.lstrip())
    (tmp_path / "my files").mkdir()
    (tmp_path / "my files" / "thirds.py").write_text(GEOMETRY.lstrip())
    return tmp_path


def options(words):
    """The arguments of `designed` for the words of a command."""
    pairs = list(zip(words[::2], words[1::2], strict=True))
    return {kind: [value for name, value in pairs if name == f"--{kind}"] for kind in ("set", "arm")}


def test_the_files_are_named_again_and_nothing_else_changes(folder):
    arm = 'own: head.vectors="my files/thirds.py" head.scale=0.30000000000000004 head.bias=none head.learn_scale=yes'
    study = designed(data="stripes.py", arms="dot-fixed,dot-learned", arm=[arm])
    assert study.arm("own").settings["head.scale"] == 0.1 + 0.2
    registry._registered = {family: {} for family in registry.FAMILIES}  # another process
    assert designed(study, **options(python_files.words(study))) == study


def test_the_command_that_goes_on_names_the_files(folder):
    study = designed(data="stripes.py", arms="dot-fixed,dot-learned")
    typed = shlex.split(study_running.command(StudyFolder(Path("my studies/stripes")), study, "--seeds", "6"))
    assert typed == ["randhead", "study", "my studies/stripes", *python_files.words(study), "--seeds", "6"]
    assert f"data.name={folder / 'stripes.py'}" in typed


def test_other_studies_name_nothing():
    assert python_files.words(Study("a", arms=(arms.named("dot-fixed"), StudyArm("b", {"head.scale": 3})))) == []


@pytest.mark.slow
def test_workers_and_printed_commands_know_the_files(folder):
    words = ["--data", "stripes.py", "--arms", "dot-fixed", "--arm", 'own: head.vectors="my files/thirds.py"']
    command = [sys.executable, "-m", "randhead", "study", *words, "--seeds", "1", "--epochs", "1"]
    printed = subprocess.run([*command, "--print-commands"], capture_output=True, text=True, check=True).stdout
    for line in printed.splitlines():
        assert {f"data.name={folder / 'stripes.py'}", "--only"} <= {*shlex.split(line)}
    subprocess.run([*command, "--jobs", "2"], check=True, capture_output=True)
    assert len(list((folder / "studies" / "stripes" / "runs").glob("*/summary.json"))) == 2
