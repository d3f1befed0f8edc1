"""examples/benchmarks/on_device.sh: every part writes its rows as they come, and none keeps the others from running."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tiny import image_folder

SCRIPT = Path(__file__).parents[1] / "examples" / "benchmarks" / "on_device.sh"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a script for GPUs under Linux")


def measure(*words, limit):
    settings = {"RANDHEAD_TINY": "1", "RANDHEAD_LIMIT": str(limit), "PYTHON": sys.executable}
    return subprocess.run(["bash", SCRIPT, *map(str, words)], env=os.environ | settings, capture_output=True, text=True)


def rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.slow
def test_parts_leave_their_rows_and_one_that_dies_leaves_the_others_alone(tmp_path):
    for split in ("train", "test"):
        image_folder(tmp_path / "data", images=8, split=split)
    found = measure(tmp_path / "data", tmp_path / "out", "corruptions", "head", "walk", limit=300)
    assert found.returncode == 0, found.stdout + found.stderr
    assert json.loads((tmp_path / "out" / "device.json").read_text())["versions"]["torch"]
    made, tested, written, *rates = rows(tmp_path / "out" / "corruptions.jsonl")
    assert [row["cells"] for row in (made, tested, written)] == [75, 75, 75]
    assert len(rates) == 2 * 19
    head = rows(tmp_path / "out" / "head.jsonl")
    assert all("ended with" in row["error"] for row in head)  # its arms need a GPU: each dies, in a process of its own
    walked = rows(tmp_path / "out" / "walk.jsonl")
    assert not [row for row in walked if "failed" in row]
    assert walked[0]["of steps"] > 1


@pytest.mark.slow
def test_a_part_that_takes_too_long_is_ended(tmp_path):
    image_folder(tmp_path / "data")
    found = measure(tmp_path / "data", tmp_path / "out", "corruptions", "head", limit=16)
    assert found.returncode == 1
    assert "failed: " in found.stderr
    assert {path.name for path in (tmp_path / "out").iterdir()} >= {"device.json", "corruptions.log", "head.log"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "usage: "),
        (("nowhere", "out"), "nowhere is no folder"),
        ((".", "out", "nothing"), "there is no part nothing"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    found = measure(*words, limit=5)
    assert found.returncode == 2
    assert message in found.stderr
