"""The head in other people's software: the examples of examples/clients, each in a process of its own.

Each prints its claims, a line each.  An example is skipped if its package is not installed, unless the environment
variable RANDHEAD_CLIENTS is "all", as in .ci/run.
"""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "examples" / "clients"
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}
# Example -> the packages it needs, the lines that end with True, and the least accuracy.
CLIENTS = {
    "accelerate_loop": (["accelerate"], ["restored equal", "filled equal"], 0.8),
    "class_incremental": ([], ["old vectors equal", "equal to a head of all classes"], 0.7),
    "corrupted_data": (["webdataset"], ["workers equal", "webdataset equal", "repeatable"], None),
    "federated": (["flwr"], ["averaged equal"], 0.6),
    "lightning_module": (["lightning"], ["resumed equal"], 0.8),
    "metric_learning": (["pytorch_metric_learning"], ["equal to CosFaceLoss"], 0.8),
    "onnx_export": (["onnx", "onnxscript", "onnxruntime"], ["exported equal", "runtime equal"], None),
    "timm_model": (["timm"], ["resumed equal", "average equal"], 0.8),
    "transformers_trainer": (["transformers", "accelerate"], ["loaded equal"], 0.8),
}


def test_every_example_is_tested_and_fits_on_a_page():
    sources = {path.stem: path.read_text() for path in FOLDER.glob("*.py")}
    assert set(sources) == {*CLIENTS, "digits"}
    assert max(sum(map(bool, source.splitlines())) for source in sources.values()) <= 40


@pytest.mark.slow
@pytest.mark.parametrize("name", CLIENTS)
def test_what_an_example_claims_is_so(tmp_path, name):
    packages, claims, least = CLIENTS[name]
    missing = [package for package in packages if importlib.util.find_spec(package) is None]
    if missing and os.environ.get("RANDHEAD_CLIENTS") != "all":
        pytest.skip(f"{', '.join(missing)} is not installed")
    said = run(name, tmp_path)
    assert {claim: said.get(claim) for claim in claims} == dict.fromkeys(claims, "True")
    assert least is None or float(said["accuracy"]) > least
    if name == "transformers_trainer":
        assert "the class vectors are not those of the checkpoint" in said["other names refused"]


def run(name, folder):
    """What an example prints, run in another folder: the words before the first colon of a line -> those after it.

    A claim that is printed several times has to be the same each time.
    """
    command = [sys.executable, str(FOLDER / f"{name}.py")]
    done = subprocess.run(command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    pairs = {tuple(line.split(": ", 1)) for line in done.stdout.splitlines() if ": " in line}
    return {name: value for name, value in pairs if sum(name == other for other, _ in pairs) == 1}
