"""examples/studies/on_device.sh: parts of a study are run apart, merged, and what is finished survives a kill."""

import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest
import tiny
import torch
from PIL import Image

from randhead import rng
from randhead.study import merging, reading

STUDIES = Path(__file__).parents[1] / "examples" / "studies"
SCRIPT = STUDIES / "on_device.sh"
PATIENCE_S = 240  # for a machine that does much else

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="a script for GPUs under Linux")]


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A folder with the image folder cifar10: ten classes of 16 px, which differ in their brightness."""
    root = tmp_path_factory.mktemp("data")
    for split, number in (("train", 12), ("test", 4)):
        for k in range(10):
            folder = root / "cifar10" / split / f"class{k}"
            folder.mkdir(parents=True)
            pixels = rng.integers(k, split, torch.arange(number), 16 * 16 * 3, high=60).view(number, 16, 16, 3) + 20 * k
            for i, each in enumerate(pixels.byte().numpy()):
                Image.fromarray(each).save(folder / f"{i}.png")
    return root


def start(*words, scratch, jobs=2):
    """The script in a session of its own, whose temporary files are in a folder of their own."""
    scratch.mkdir(exist_ok=True)
    settings = {"RANDHEAD_TINY": "1", "RANDHEAD_JOBS": str(jobs), "PYTHON": sys.executable, "TMPDIR": str(scratch)}
    return subprocess.Popen(
        ["bash", str(SCRIPT), *map(str, words)],
        env=os.environ | settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def kill_all(session):
    """End every process of a session by SIGKILL, as a machine does that is taken away."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[3]) == session:
                os.kill(int(stat.parent.name), signal.SIGKILL)
        except (FileNotFoundError, ProcessLookupError):
            continue


def test_parts_that_are_run_apart_are_merged_to_one_study(images, tmp_path, capsys):
    packed = tmp_path / "packed"
    packed.mkdir()
    with tarfile.open(packed / "cifar10.tar.xz", "w:xz") as archive:
        archive.add(images / "cifar10", arcname=".")
    for part, data in (("hadamard-a", images), ("hadamard-b", packed)):
        script = start(data, tmp_path / part, part, scratch=tmp_path / f"scratch-{part}", jobs=1)
        said, _ = script.communicate(timeout=PATIENCE_S)
        assert script.returncode == 0, said
        assert (tmp_path / part / f"{part}.log").read_text().startswith(f"== {part}: ")
        assert f"== {part}: " in said and "torch " in said and "3 of 3 trainings finished" in said
        assert sorted(path.name for path in (tmp_path / part).iterdir()) == [f"{part}.json", f"{part}.log"]
        assert not any((tmp_path / f"scratch-{part}").glob("randhead-studies-*"))  # nothing is left
    parts = [tmp_path / part / f"{part}.json" for part in ("hadamard-a", "hadamard-b")]
    assert tiny.main("study", "--merge", *map(str, parts), "--out", str(tmp_path / "merged")) == 0
    assert "6 of 6 runs" in capsys.readouterr().out and (tmp_path / "merged" / "report.html").exists()
    (merged,) = merging.merge(parts)
    design = reading.read(STUDIES / "hadamard.toml")
    assert merged.study.seeds == (0, 5)
    assert [arm.name for arm in merged.arms] == [arm.name for arm in design.arms]
    assert [len(runs) for runs in merged.by_arm.values()] == [2, 2, 2]
    assert [verdict.claim.text for verdict in merged.verdicts] == [claim.text for claim in design.claims]
    assert merged.difference("hadamard", "dot-learned", "accuracy").n == 2


def test_a_part_that_is_killed_leaves_what_is_finished(images, tmp_path):
    out, script = tmp_path / "out", start(images, tmp_path / "out", "scale-b", scratch=tmp_path / "scratch")
    try:
        until = time.monotonic() + PATIENCE_S
        while not (out / "scale-b.json").exists():
            assert script.poll() is None and time.monotonic() < until, script.communicate()
            time.sleep(0.05)
    finally:
        kill_all(script.pid)
        script.communicate()
    (found,) = merging.merge([out / "scale-b.json"])
    assert found.study.seeds == (1,)
    assert 0 < len(found.records) == json.loads((out / "scale-b.json").read_text())["done"] < found.planned == 14


def test_a_part_without_images_does_not_stop_others_and_a_signal_does(images, tmp_path):
    out = tmp_path / "out"
    script = start(images, out, "paper-tiny-a", "scale-c", "hadamard-a", scratch=tmp_path / "scratch", jobs=1)
    try:
        until = time.monotonic() + PATIENCE_S
        while not (out / "scale-c.json").exists():
            assert script.poll() is None and time.monotonic() < until, script.communicate()
            time.sleep(0.05)
        script.terminate()
        said, _ = script.communicate(timeout=PATIENCE_S)
    finally:
        kill_all(script.pid)
    assert script.returncode == 1 and "failed: paper-tiny-a scale-c hadamard-a" in said
    assert "has neither tiny50 nor tiny50.tar.xz" in (out / "paper-tiny-a.log").read_text()
    assert not (out / "hadamard-a.json").exists() and not any((tmp_path / "scratch").iterdir())
    assert merging.merge([out / "scale-c.json"])[0].records


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((".",), "usage"),
        ((".", "out", "nothing"), "there is no part nothing"),
        (("nowhere", "o", "speed"), "no folder"),
    ],
)
def test_what_cannot_be_run_is_refused_before_anything_is_made(tmp_path, words, message):
    found = subprocess.run(["bash", str(SCRIPT), *words], cwd=tmp_path, capture_output=True, text=True)
    assert found.returncode == 2 and message in found.stderr
    assert not any(tmp_path.iterdir())


def test_every_part_is_of_a_study_that_is_there_and_has_seeds_of_its_own():
    listed = subprocess.run(["bash", str(SCRIPT)], capture_output=True, text=True, check=True).stdout
    head, *rows = (line.split() for line in listed.splitlines())
    assert head == ["part", "study", "seeds", "jobs", "minutes"]
    taken = set()
    for part, study, seeds, jobs, minutes in rows:
        assert 1 <= int(jobs) <= 8 and 1 <= int(minutes) <= 9
        first, _, last = seeds.partition("-")
        found = {(study, seed) for seed in range(int(first), int(last or first) + 1)}
        assert study == "(benchmarks)" or (reading.read(STUDIES / f"{study}.toml") and not found & taken), part
        taken |= found
